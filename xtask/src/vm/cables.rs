//! The cables between the cards of one emulated machine.
//!
//! A plain cable is a hub inside the emulator: it carries every frame, those of link aggregation too.
//! One with offloads is a bridge of two taps in a namespace of its own: only such a back end lets
//! virtio cards hand over merged frames and checksums that are not there yet.

use std::process::Command;

use anyhow::{Result, bail};

use crate::{privilege, process};

/// Cables of one machine.
pub(super) const CABLES: usize = 2;

/// What a cable with offloads carries at most, in bytes: more than any card of the table sends.
const MTU: u32 = 9216;

/// The emulator's arguments, and what must be there as long as it runs.
pub(super) struct Cables {
    arguments: Vec<String>,
    namespace: Option<String>,
}

impl Cables {
    /// A machine without network cards.
    pub(super) fn none() -> Self {
        Self {
            arguments: ["-nic", "none"].map(str::to_owned).to_vec(),
            namespace: None,
        }
    }

    /// Lays both cables; the cards at their ends are of this model.
    pub(super) fn lay(device: &str, offloads: bool) -> Result<Self> {
        if offloads && !privilege::is_root() {
            bail!("cables with offloads are taps: run it as root");
        }
        let mut cables = Self {
            arguments: Vec::new(),
            namespace: None,
        };
        if offloads {
            let name = format!("nxdp-vm-{}", std::process::id());
            ip(&format!("netns add {name}"))?;
            cables.namespace = Some(name);
        }
        for cable in 1..=CABLES {
            let bridge = format!("nxdpbr{cable}");
            if let Some(name) = &cables.namespace {
                ip(&format!("-n {name} link add {bridge} type bridge"))?;
                ip(&format!("-n {name} link set {bridge} up"))?;
            }
            for end in [1, 2] {
                let id = format!("c{cable}e{end}");
                let back_end = match &cables.namespace {
                    Some(name) => tap(name, &bridge, &id)?,
                    None => format!("hubport,id={id},hubid={cable}"),
                };
                let card = format!("{device},netdev={id},mac=52:54:00:00:0{end}:0{cable}");
                cables.arguments.extend([
                    "-netdev".to_owned(),
                    back_end,
                    "-device".to_owned(),
                    card,
                ]);
            }
        }
        Ok(cables)
    }

    /// What the emulator is told about network cards.
    pub(super) fn arguments(&self) -> &[String] {
        &self.arguments
    }

    /// The emulator's program and the words before it.
    pub(super) fn emulator(&self, program: &str) -> Command {
        let Some(name) = &self.namespace else {
            return Command::new(program);
        };
        let mut command = Command::new("ip");
        command.args(["netns", "exec", name, program]);
        command
    }
}

impl Drop for Cables {
    fn drop(&mut self) {
        if let Some(name) = &self.namespace {
            // The bridges and taps go with it. Nothing is left to do if it is not there any more.
            drop(ip(&format!("netns del {name}")));
        }
    }
}

/// A tap in the bridge.
fn tap(namespace: &str, bridge: &str, id: &str) -> Result<String> {
    let name = format!("nxdp{id}");
    let words = format!("netns exec {namespace} ip tuntap add dev {name} mode tap vnet_hdr");
    ip(&words)?;
    ip(&format!("-n {namespace} link set {name} master {bridge}"))?;
    ip(&format!("-n {namespace} link set {name} mtu {MTU}"))?;
    ip(&format!("-n {namespace} link set {name} up"))?;
    Ok(format!(
        "tap,id={id},ifname={name},script=no,downscript=no,vhost=off"
    ))
}

fn ip(words: &str) -> Result<()> {
    process::output(Command::new("ip").args(words.split(' '))).map(drop)
}
