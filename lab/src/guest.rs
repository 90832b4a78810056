//! A client behind an interface of the router that comes and goes.
//!
//! ```text
//!  guest                     router
//!  guest0 ── veth ── lan1
//!  10.53.3.2         10.53.3.1
//! ```

use std::{cell::RefCell, time::Duration};

use anyhow::{Context as _, Result};
use aya::programs::XdpMode;
use hickory_proto::{op::ResponseCode, rr::RecordType};

use crate::{
    lab::{self, Lab},
    namespace::Namespace,
    query::Query,
    roles::wait_for,
    xdp_stub::{StubAction, XdpStub},
};

/// The router's interface towards the guest.
pub const GUEST_INTERFACE: &str = "lan1";

/// The guest, plugged in or not.
#[derive(Debug)]
pub struct Guest<'a> {
    lab: &'a Lab,
    namespace: Namespace,
    stub: RefCell<Option<XdpStub>>,
}

impl<'a> Guest<'a> {
    /// A guest that is not plugged in yet.
    pub fn new(lab: &'a Lab) -> Result<Self> {
        Ok(Self {
            lab,
            namespace: Namespace::new("guest")?,
            stub: RefCell::new(None),
        })
    }

    /// Deletes the interface, if it is there, and plugs the guest in anew.
    pub fn replug(&self) -> Result<()> {
        if self.stub.borrow_mut().take().is_some() {
            self.unplug()?;
        }
        let path = self.namespace.path();
        self.lab.router().ip_batch(&format!(
            "link add {GUEST_INTERFACE} type veth peer name guest0 netns {}\n\
             address add 10.53.3.1/24 dev {GUEST_INTERFACE}\nlink set {GUEST_INTERFACE} up\n",
            path.display()
        ))?;
        self.namespace.ip_batch(
            "address add 10.53.3.2/24 dev guest0\nlink set guest0 up\n\
             route add default via 10.53.3.1\n",
        )?;
        // Native answers reach only an end that has a program too.
        let mode = XdpMode::Driver;
        let stub = XdpStub::attach(&self.namespace, "guest0", StubAction::Pass, mode)?;
        self.stub.replace(Some(stub));
        Ok(())
    }

    /// Deletes the interface.
    pub fn unplug(&self) -> Result<()> {
        self.lab
            .router()
            .output("ip", &["link", "delete", GUEST_INTERFACE])?;
        Ok(())
    }

    /// Asks for a name until an answer comes, and tells what it says.
    ///
    /// # Errors
    /// Fails when none comes for a minute.
    pub fn first_answer(&self, name: &str) -> Result<ResponseCode> {
        let query = Query::new(name, RecordType::A)?.timeout(Duration::from_millis(100));
        let mut answer = None;
        wait_for("the guest's answer", || {
            // Until the link is up there is none.
            answer = query.ask_from(&self.namespace, lab::DNS_V4).ok();
            Ok(answer.is_some())
        })?;
        answer.map(|reply| reply.outcome()).context("no answer")
    }
}
