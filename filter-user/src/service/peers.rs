//! Who may ask what on the control socket.
//!
//! The file's mode keeps out who is neither the service user nor in its group.
//! Inside, the kernel tells who is at the other end of each connection
//! (SO_PEERCRED), and each verb says what it takes.

use std::ffi::CString;

use nix::unistd::{Gid, Group, Uid, User, getgrouplist};
use tokio::net::unix::UCred;

use crate::{
    config::ControlConfig,
    control::{Access, Verb},
};

/// Users and groups with rights.
#[derive(Clone, Debug)]
pub(super) struct Peers {
    service_user: u32,
    readers: Option<Gid>,
    admins: Option<Gid>,
}

impl Peers {
    /// Those that a configuration names.
    ///
    /// # Errors
    ///
    /// The name of a group that is not there.
    pub(super) fn of(config: &ControlConfig) -> Result<Self, String> {
        let group = |name: &Option<String>| match name {
            None => Ok(None),
            Some(name) => match Group::from_name(name) {
                Ok(Some(group)) => Ok(Some(group.gid)),
                _ => Err(name.clone()),
            },
        };
        Ok(Self {
            service_user: Uid::effective().as_raw(),
            readers: group(&config.group)?,
            admins: group(&config.admin_group)?,
        })
    }

    /// The group that the socket's file belongs to; without one, that of the process.
    pub(super) fn group(&self) -> Option<u32> {
        self.readers.map(Gid::as_raw)
    }

    /// Whether a peer may ask for a change.
    pub(super) fn may_change(&self, peer: &UCred) -> bool {
        self.refuse(peer, &Verb::Reload).is_none()
    }

    /// Says why a peer must not ask something, if so.
    pub(super) fn refuse(&self, peer: &UCred, verb: &Verb) -> Option<String> {
        let user = peer.uid();
        if user == 0 || user == self.service_user {
            return None;
        }
        let is_in = |group: Option<Gid>| group.is_some_and(|group| is_member(peer, group));
        let own_group = self.readers.or(Some(Gid::effective()));
        let may = match verb.access() {
            Access::Read => is_in(own_group) || is_in(self.admins),
            Access::Names | Access::Change => is_in(self.admins),
        };
        (!may).then(|| {
            let who = match verb.access() {
                Access::Read => "the group of the socket",
                Access::Names | Access::Change => "the group `admin_group` of [control]",
            };
            format!(
                "user {user} must not ask for this: only root, the service's own user and {who}"
            )
        })
    }
}

/// Whether the peer has a group: as its own, or by the system's database.
fn is_member(peer: &UCred, group: Gid) -> bool {
    let own = Gid::from_raw(peer.gid());
    if own == group {
        return true;
    }
    let Ok(Some(user)) = User::from_uid(Uid::from_raw(peer.uid())) else {
        return false;
    };
    CString::new(user.name)
        .ok()
        .and_then(|name| getgrouplist(&name, user.gid).ok())
        .is_some_and(|groups| groups.contains(&group))
}
