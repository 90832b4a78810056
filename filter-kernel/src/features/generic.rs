//! Families of generic netlink, found by name.

use std::io;

use netlink_sys::protocols::NETLINK_GENERIC;

use super::netlink::{Attributes, Connection, Want, attribute};

/// From the kernel's `linux/genetlink.h`.
mod uapi {
    pub(super) const GENL_ID_CTRL: u16 = 16;
    pub(super) const CTRL_CMD_GETFAMILY: u8 = 3;
    pub(super) const CTRL_ATTR_FAMILY_ID: u16 = 1;
    pub(super) const CTRL_ATTR_FAMILY_NAME: u16 = 2;
}

/// Bytes of `struct genlmsghdr`: command, version, two reserved.
const HEADER_BYTES: usize = 4;

/// A family that this kernel has.
pub(super) struct Family {
    connection: Connection,
    id: u16,
}

impl Family {
    /// Finds a family; `None` when the kernel is too old for it.
    pub(super) fn find(name: &str) -> io::Result<Option<Self>> {
        let connection = Connection::open(NETLINK_GENERIC)?;
        let mut control = Self {
            connection,
            id: uapi::GENL_ID_CTRL,
        };
        let name = attribute(
            uapi::CTRL_ATTR_FAMILY_NAME,
            &[name.as_bytes(), &[0]].concat(),
        );
        let answer = control.ask(uapi::CTRL_CMD_GETFAMILY, &name)?;
        let id = answer.and_then(|family| family.u16(uapi::CTRL_ATTR_FAMILY_ID));
        Ok(id.map(|id| Self { id, ..control }))
    }

    /// Asks about one thing; `None` when the kernel or the device knows nothing of it.
    pub(super) fn ask(&mut self, command: u8, attributes: &[u8]) -> io::Result<Option<Attributes>> {
        let message = [&[command, 1, 0, 0], attributes].concat();
        match self.connection.ask(self.id, message, Want::One) {
            Ok(answers) => Ok(answers
                .first()
                .and_then(|answer| answer.get(HEADER_BYTES..))
                .map(Attributes::read)),
            Err(error) if means_unknown(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

fn means_unknown(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::ENOENT | libc::EOPNOTSUPP | libc::ENODEV | libc::EINVAL)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_family_that_no_kernel_has_is_none() {
        assert!(Family::find("nxdp-none").unwrap().is_none());
    }

    #[test]
    fn the_control_family_is_always_there() {
        assert_eq!(
            Family::find("nlctrl").unwrap().map(|family| family.id),
            Some(uapi::GENL_ID_CTRL)
        );
    }
}
