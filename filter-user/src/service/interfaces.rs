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
    features::{self, Bindings, Hook, Obstacle, ObstacleKind, Purpose},
};
use netlink_sys::{
    AsyncSocket as _, AsyncSocketExt as _, SocketAddr, TokioSocket, protocols::NETLINK_ROUTE,
};

use super::{display::Display, error_chain};
use crate::{
    config::Config,
    control::{Attachment, AttachmentState},
};

/// How long a flood of changes may go on before the next look.
const AFTER_LOSS: Duration = Duration::from_millis(50);

/// Every so many looks it is asked what is in the way; that takes a question a device.
const OBSTACLE_LOOKS: u32 = 5;

/// The interfaces of a configuration.
pub(super) struct Interfaces {
    wanted: Vec<String>,
    mode: Mode,
    bindings: Bindings,
    /// The indexes of wanted interfaces that are there.
    bound: BTreeMap<String, u32>,
    /// Where the program was at the last look: names and modes by index.
    known: BTreeMap<u32, Known>,
    /// Wanted interfaces that refused the program, told once.
    refused: BTreeSet<String>,
    purpose: Purpose,
    /// Attaches in spite of what is in the way.
    is_forced: bool,
    /// What is in the way, as it was told.
    obstacles: Vec<Obstacle>,
    looks: u32,
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
    /// Wanted interfaces that are there without it.
    missing: Vec<(u32, String)>,
}

impl Interfaces {
    pub(super) fn of(config: &Config) -> Self {
        let mode = super::mode(config);
        Self {
            wanted: config.interfaces.clone(),
            mode,
            purpose: Purpose {
                mode: mode.into(),
                has_vlan_policies: config.has_vlan_policies(),
            },
            is_forced: config.force,
            obstacles: Vec::new(),
            looks: 0,
            bindings: Bindings::default(),
            bound: BTreeMap::new(),
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
        for (index, name) in &look.missing {
            match self.attach(*index, name, hold) {
                Ok(()) => {
                    self.refused.remove(name);
                    let known = Known {
                        name: name.clone(),
                        mode: self.mode.to_string(),
                    };
                    self.known.insert(*index, known);
                    display.attached(name, &self.mode.to_string());
                }
                Err(error) if self.refused.insert(name.clone()) => {
                    display.trouble(&error_chain(&error));
                }
                Err(_) => {}
            }
        }
        let is_missing = |name: &String| look.missing.iter().any(|(_, missing)| missing == name);
        self.refused.retain(is_missing);
        Ok(())
    }

    /// Attaches to one interface, if nothing is in the way.
    pub(super) fn attach(
        &self,
        index: u32,
        name: &str,
        hold: &mut Hold<'_>,
    ) -> Result<(), super::Error> {
        let obstacles = self.obstacles_on(&BTreeSet::from([index]))?;
        let refusing = |obstacle: &Obstacle| obstacle.kind.refuses() && !self.is_forced;
        if let Some(obstacle) = obstacles.into_iter().find(refusing) {
            return Err(super::Error::Obstacle(obstacle));
        }
        Ok(hold.attach(index, name, self.mode)?)
    }

    /// What is in the way on interfaces with these indexes.
    pub(super) fn obstacles_on(
        &self,
        indexes: &BTreeSet<u32>,
    ) -> Result<Vec<Obstacle>, features::Error> {
        features::obstacles(indexes, self.purpose)
    }

    /// Tells what cannot be found out of interfaces that were just attached to.
    pub(super) fn tell_notes(
        &self,
        indexes: &BTreeSet<u32>,
        display: &Display,
    ) -> Result<(), features::Error> {
        let notes = features::notes(indexes, self.purpose.mode)?;
        notes.iter().for_each(|note| display.trouble(note));
        Ok(())
    }

    /// Tells what is in the way now, once.
    pub(super) fn keep_obstacles(
        &mut self,
        unseen: Vec<Obstacle>,
        display: &Display,
    ) -> Result<(), super::Error> {
        self.looks = self.looks.wrapping_add(1);
        let is_known = |kind: ObstacleKind| kind != ObstacleKind::Unseen;
        let mut obstacles = if self.looks % OBSTACLE_LOOKS == 1 {
            self.obstacles_on(&self.live())?
        } else {
            let known = self.obstacles.iter().filter(|found| is_known(found.kind));
            known.cloned().collect()
        };
        obstacles.extend(unseen);
        let same = |one: &Obstacle, other: &Obstacle| {
            (&one.interface, one.kind) == (&other.interface, other.kind)
        };
        for found in &obstacles {
            if !self.obstacles.iter().any(|known| same(known, found)) {
                display.trouble(&found.to_string());
            }
        }
        for known in &self.obstacles {
            if !obstacles.iter().any(|found| same(known, found)) {
                display.trouble(&format!(
                    "{}: nothing of this is in the way any more: {}",
                    known.interface,
                    known.kind.name()
                ));
            }
        }
        self.obstacles = obstacles;
        Ok(())
    }

    /// Looks for what is in the way at the next look: something changed.
    pub(super) fn hurry(&mut self) {
        self.looks = 0;
    }

    /// Looks and tells what changed; somebody else attaches.
    pub(super) fn watch(&mut self, program_id: u32, display: &Display) -> Result<(), super::Error> {
        let look = self.look(&features::hooks()?, program_id);
        self.tell(&look, display);
        let missing: BTreeSet<String> = look.missing.into_iter().map(|(_, name)| name).collect();
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
        let has = |name: &&String| self.has(name);
        let missing: Vec<String> = self.wanted.iter().filter(|n| !has(n)).cloned().collect();
        if missing.is_empty() {
            Ok(())
        } else {
            Err(super::Error::NotAttached(missing))
        }
    }

    /// Whether the interface that a wanted name means has the program.
    fn has(&self, name: &str) -> bool {
        let index = self.bound.get(name);
        index.is_some_and(|index| self.known.contains_key(index))
    }

    /// Finds out which interfaces the wanted names mean.
    pub(super) fn resolve(&mut self) -> Result<(), features::Error> {
        self.bind(&features::hooks()?);
        Ok(())
    }

    /// Finds out the same, and which interfaces have the program already.
    pub(super) fn meet(&mut self, program_id: Option<u32>) -> Result<(), features::Error> {
        let hooks = features::hooks()?;
        self.bind(&hooks);
        if let Some(program_id) = program_id {
            self.look(&hooks, program_id);
        }
        Ok(())
    }

    /// Fails if a wanted interface is not there.
    pub(super) fn must_be_there(mut self) -> Result<(), super::Error> {
        self.resolve()?;
        let absent = |name: &&String| !self.bound.contains_key(*name);
        match self.wanted.iter().find(absent) {
            Some(name) => Err(filter_kernel::Error::NoInterface(name.clone()).into()),
            None => Ok(()),
        }
    }

    fn bind(&mut self, hooks: &[Hook]) {
        self.bound = self.bindings.resolve_all(self.wanted.iter(), hooks);
    }

    /// Indexes of interfaces that have the program or should.
    pub(super) fn indexes(&self) -> BTreeSet<u32> {
        let wanted = self.bound.values().copied();
        self.known.keys().copied().chain(wanted).collect()
    }

    /// Indexes of interfaces that have the program.
    pub(super) fn live(&self) -> BTreeSet<u32> {
        self.known.keys().copied().collect()
    }

    /// Wanted names of interfaces that are there, with their indexes.
    pub(super) fn bound(&self) -> &BTreeMap<String, u32> {
        &self.bound
    }

    /// Looks where a program is, and says so of every wanted interface, too.
    pub(super) fn look_once(
        &mut self,
        program_id: u32,
    ) -> Result<Vec<Attachment>, features::Error> {
        let look = self.look(&features::hooks()?, program_id);
        self.refused = look.missing.into_iter().map(|(_, name)| name).collect();
        Ok(self.attachments())
    }

    /// Every wanted interface and every other one with the program.
    pub(super) fn attachments(&self) -> Vec<Attachment> {
        let configured = |index: u32, now: &str| {
            let mut names = self.bound.iter();
            let (name, _) = names.find(|(name, bound)| **bound == index && *name != now)?;
            Some(name.clone())
        };
        let attached = self.known.iter().map(|(index, known)| Attachment {
            interface: known.name.clone(),
            mode: known.mode.clone(),
            state: match self.is_unseen(&known.name) {
                true => AttachmentState::Unseen,
                false => AttachmentState::Attached,
            },
            configured_as: configured(*index, &known.name),
            obstacles: self.obstacles_of(&known.name),
        });
        let without = self.wanted.iter().filter(|name| !self.has(name));
        let without = without.map(|name| Attachment {
            interface: name.clone(),
            mode: self.mode.to_string(),
            state: match self.bound.contains_key(name) {
                true => AttachmentState::Unfiltered,
                false => AttachmentState::Absent,
            },
            configured_as: None,
            obstacles: Vec::new(),
        });
        attached.chain(without).collect()
    }

    fn obstacles_of(&self, name: &str) -> Vec<Obstacle> {
        let obstacles = self.obstacles.iter();
        let own = obstacles.filter(|obstacle| obstacle.interface == name);
        own.cloned().collect()
    }

    fn is_unseen(&self, name: &str) -> bool {
        let mut obstacles = self.obstacles.iter();
        obstacles.any(|found| found.interface == name && found.kind == ObstacleKind::Unseen)
    }

    fn look(&mut self, hooks: &[Hook], program_id: u32) -> Look {
        self.bind(hooks);
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
        let is_missing = |index: u32| !now.contains_key(&index);
        let wanted = self
            .bound
            .iter()
            .map(|(name, index)| (*index, name.clone()));
        look.missing = wanted.filter(|(index, _)| is_missing(*index)).collect();
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

/// Hears of interfaces and addresses that come, go and change.
pub(super) struct Monitor(TokioSocket);

impl Monitor {
    /// Subscribes in the calling thread's namespace.
    pub(super) fn open() -> io::Result<Self> {
        /// The bits of rtnetlink(7) for changes of interfaces and of their addresses.
        const RTMGRP_LINK: u32 = 1;
        const RTMGRP_IPV4_IFADDR: u32 = 0x10;
        const RTMGRP_IPV6_IFADDR: u32 = 0x100;
        let groups = RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR;
        let mut socket = TokioSocket::new(NETLINK_ROUTE)?;
        socket.socket_mut().bind(&SocketAddr::new(0, groups))?;
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
            altnames: Vec::new(),
            attached: programs.iter().map(program).collect(),
        }
    }

    fn interfaces() -> Interfaces {
        Interfaces::of(&Config {
            interfaces: vec!["lan0".to_owned()],
            ..Config::default()
        })
    }

    #[test]
    fn an_interface_without_the_program_is_missing_until_it_has_it() {
        let mut interfaces = interfaces();
        let look = interfaces.look(&[hook(3, "lan0", &[9]), hook(4, "wan0", &[])], OURS);
        let lan0 = (3, "lan0".to_owned());
        assert_eq!((look.missing, look.live), (vec![lan0], vec![]));
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
        assert_eq!(look.missing, [(5, "lan0".to_owned())]);
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
                .map(|found| (found.interface, found.configured_as, found.state))
                .collect()
        };
        let old = |configured: Option<&str>| {
            let configured = configured.map(str::to_owned);
            ("old".to_owned(), configured, AttachmentState::Attached)
        };
        assert_eq!(states(&interfaces), [old(Some("lan0"))]);
        assert_eq!(interfaces.indexes(), BTreeSet::from([3]));
        let look = interfaces.look(&[hook(3, "old", &[OURS]), hook(6, "lan0", &[])], OURS);
        assert_eq!(look.missing, [(6, "lan0".to_owned())]);
        let lan0 = ("lan0".to_owned(), None, AttachmentState::Unfiltered);
        assert_eq!(states(&interfaces), [old(None), lan0]);
        assert_eq!(interfaces.indexes(), BTreeSet::from([3, 6]));
    }
}
