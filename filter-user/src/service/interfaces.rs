//! Which interfaces the program is on, while they come, go and change their names.
//!
//! An attachment belongs to a device: it outlives a new name and ends with the
//! device. What is attached under a name that the configuration does not know
//! any more stays attached: to filter too much is the smaller harm.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    time::Duration,
};

use filter_kernel::{
    Hold, Mode,
    features::{self, Hook},
};
use netlink_sys::{
    AsyncSocket as _, AsyncSocketExt as _, SocketAddr, TokioSocket, protocols::NETLINK_ROUTE,
};

use super::{display::Display, error_chain};
use crate::control::{Attachment, AttachmentState};

/// How long a flood of changes may go on before the next look.
const AFTER_LOSS: Duration = Duration::from_millis(50);

/// The interfaces of a configuration.
pub(super) struct Interfaces {
    wanted: Vec<String>,
    mode: Mode,
    /// Where the program was at the last look: names and modes by index.
    known: BTreeMap<u32, Known>,
    /// Wanted interfaces that refused the program, told once.
    refused: BTreeSet<String>,
}

/// An interface with the program.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Known {
    name: String,
    mode: String,
}

/// What changed since the last look, and what is to be done.
#[derive(Debug, Default, PartialEq, Eq)]
struct Look {
    /// Interfaces with the program.
    live: Vec<u32>,
    /// Names of interfaces that had it.
    gone: Vec<String>,
    /// Old and new names.
    renamed: Vec<(String, String)>,
    /// Names of interfaces that have it now, and the modes in which it runs there.
    come: Vec<(String, String)>,
    /// Names of wanted interfaces that are there without it.
    missing: Vec<String>,
}

impl Interfaces {
    pub(super) fn new(wanted: &[String], mode: Mode) -> Self {
        Self {
            wanted: wanted.to_vec(),
            mode,
            known: BTreeMap::new(),
            refused: BTreeSet::new(),
        }
    }

    /// Looks, tells what changed, and attaches to what is there and wanted.
    pub(super) fn mend(
        &mut self,
        hold: &mut Hold<'_>,
        display: &Display,
    ) -> Result<(), super::Error> {
        let look = self.look(&features::hooks()?, hold.program_id()?);
        self.tell(&look, display);
        hold.give_up_others(&look.live)?;
        for name in &look.missing {
            match hold.attach(name, self.mode) {
                Ok(()) => {
                    self.refused.remove(name);
                    let known = Known {
                        name: name.clone(),
                        mode: self.mode.to_string(),
                    };
                    self.known
                        .insert(filter_kernel::interface_index(name)?, known);
                    display.attached(name, &self.mode.to_string());
                }
                Err(error) if self.refused.insert(name.clone()) => {
                    display.trouble(&error_chain(&error));
                }
                Err(_) => {}
            }
        }
        self.refused.retain(|name| look.missing.contains(name));
        Ok(())
    }

    /// Looks and tells what changed; somebody else attaches.
    pub(super) fn watch(&mut self, program_id: u32, display: &Display) -> Result<(), super::Error> {
        let look = self.look(&features::hooks()?, program_id);
        self.tell(&look, display);
        let missing: BTreeSet<String> = look.missing.into_iter().collect();
        for name in missing.difference(&self.refused) {
            display.trouble(&format!(
                "{name} is not filtered: `nxdp attach` attaches it, `nxdp attach --watch` always"
            ));
        }
        self.refused = missing;
        Ok(())
    }

    /// Fails if the program is not on every wanted interface.
    pub(super) fn complete(&self) -> Result<(), super::Error> {
        let has = |name: &&String| self.known.values().any(|known| known.name == **name);
        let missing: Vec<String> = self.wanted.iter().filter(|n| !has(n)).cloned().collect();
        if missing.is_empty() {
            Ok(())
        } else {
            Err(super::Error::NotAttached(missing))
        }
    }

    /// Every wanted interface and every other one with the program.
    pub(super) fn attachments(&self) -> Vec<Attachment> {
        let mut attachments: Vec<Attachment> = self
            .known
            .values()
            .map(|known| Attachment {
                interface: known.name.clone(),
                mode: known.mode.clone(),
                state: AttachmentState::Attached,
            })
            .collect();
        for name in &self.wanted {
            if !attachments.iter().any(|found| found.interface == *name) {
                attachments.push(Attachment {
                    interface: name.clone(),
                    mode: self.mode.to_string(),
                    state: match self.refused.contains(name) {
                        true => AttachmentState::Unfiltered,
                        false => AttachmentState::Absent,
                    },
                });
            }
        }
        attachments
    }

    fn look(&mut self, hooks: &[Hook], program_id: u32) -> Look {
        let program = |hook: &'_ Hook| {
            let ours = hook
                .attached
                .iter()
                .find(|program| program.id == program_id)?;
            Some(ours.mode.to_string())
        };
        let mut look = Look::default();
        let mut now = BTreeMap::new();
        for (hook, mode) in hooks.iter().filter_map(|hook| Some((hook, program(hook)?))) {
            look.live.push(hook.index);
            match self.known.get(&hook.index) {
                None => look.come.push((hook.name.clone(), mode.clone())),
                Some(known) if known.name != hook.name => {
                    look.renamed.push((known.name.clone(), hook.name.clone()));
                }
                Some(_) => {}
            }
            let name = hook.name.clone();
            now.insert(hook.index, Known { name, mode });
        }
        let gone = self
            .known
            .iter()
            .filter(|(index, _)| !now.contains_key(index));
        look.gone = gone.map(|(_, known)| known.name.clone()).collect();
        let is_missing = |hook: &&Hook| self.wanted.contains(&hook.name) && program(hook).is_none();
        let missing = hooks.iter().filter(is_missing);
        look.missing = missing.map(|hook| hook.name.clone()).collect();
        self.known = now;
        look
    }

    fn tell(&self, look: &Look, display: &Display) {
        for name in &look.gone {
            display.trouble(&format!("{name} lost the program or is gone"));
        }
        for (old, new) in &look.renamed {
            display.trouble(&format!(
                "{old} is called {new} now and stays attached; change the configuration"
            ));
        }
        for (name, mode) in &look.come {
            display.attached(name, mode);
        }
    }
}

/// Hears of interfaces that come, go and change.
pub(super) struct Monitor(TokioSocket);

impl Monitor {
    /// Subscribes in the calling thread's namespace.
    pub(super) fn open() -> io::Result<Self> {
        /// The bit of rtnetlink(7) for changes of interfaces.
        const RTMGRP_LINK: u32 = 1;
        let mut socket = TokioSocket::new(NETLINK_ROUTE)?;
        socket.socket_mut().bind(&SocketAddr::new(0, RTMGRP_LINK))?;
        Ok(Self(socket))
    }

    /// Returns when something changed; nothing is lost if the wait is given up.
    pub(super) async fn changed(&mut self) {
        // What changed is looked up. A failure says that messages were lost: much changed.
        if self.0.recv_from_full().await.is_err() {
            tokio::time::sleep(AFTER_LOSS).await;
        }
        while self.0.socket_ref().recv_from_full().is_ok() {}
    }
}

#[cfg(test)]
mod tests {
    use filter_kernel::features::AttachedProgram;

    use super::*;

    const OURS: u32 = 7;

    fn hook(index: u32, name: &str, programs: &[u32]) -> Hook {
        let program = |id: &u32| AttachedProgram {
            id: *id,
            mode: features::Mode::Native,
            name: None,
        };
        Hook {
            index,
            name: name.to_owned(),
            attached: programs.iter().map(program).collect(),
        }
    }

    fn interfaces() -> Interfaces {
        Interfaces::new(&["lan0".to_owned()], Mode::Native)
    }

    #[test]
    fn an_interface_without_the_program_is_missing_until_it_has_it() {
        let mut interfaces = interfaces();
        let look = interfaces.look(&[hook(3, "lan0", &[9]), hook(4, "wan0", &[])], OURS);
        assert_eq!((look.missing, look.live), (vec!["lan0".to_owned()], vec![]));
        let look = interfaces.look(&[hook(3, "lan0", &[OURS])], OURS);
        let come = ("lan0".to_owned(), "native".to_owned());
        assert_eq!((look.come, look.missing), (vec![come], vec![]));
        let look = interfaces.look(&[hook(3, "lan0", &[OURS])], OURS);
        assert_eq!(
            look,
            Look {
                live: vec![3],
                ..Look::default()
            }
        );
    }

    #[test]
    fn a_deleted_interface_is_gone_and_its_successor_is_missing() {
        let mut interfaces = interfaces();
        interfaces.look(&[hook(3, "lan0", &[OURS])], OURS);
        let look = interfaces.look(&[hook(5, "lan0", &[])], OURS);
        assert_eq!(look.gone, ["lan0"]);
        assert_eq!(look.missing, ["lan0"]);
    }

    #[test]
    fn a_renamed_interface_stays_and_its_old_name_can_come_back() {
        let mut interfaces = interfaces();
        interfaces.look(&[hook(3, "lan0", &[OURS])], OURS);
        let look = interfaces.look(&[hook(3, "old", &[OURS])], OURS);
        assert_eq!(look.renamed, [("lan0".to_owned(), "old".to_owned())]);
        assert!(look.gone.is_empty() && look.missing.is_empty());
        let states = |interfaces: &Interfaces| -> Vec<_> {
            let attachments = interfaces.attachments().into_iter();
            attachments
                .map(|found| (found.interface, found.state))
                .collect()
        };
        assert_eq!(
            states(&interfaces),
            [
                ("old".to_owned(), AttachmentState::Attached),
                ("lan0".to_owned(), AttachmentState::Absent),
            ]
        );
        let look = interfaces.look(&[hook(3, "old", &[OURS]), hook(6, "lan0", &[])], OURS);
        assert_eq!(look.missing, ["lan0"]);
    }
}
