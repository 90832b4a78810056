//! Folders of pins: made, handed over, read and removed.

use std::{
    fs::{self, Permissions},
    io,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, lchown},
    path::{Path, PathBuf},
};

use crate::Error;

/// Who may use maps and program: the user and the group of the daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    /// User id.
    pub user: u32,
    /// Group id.
    pub group: u32,
}

/// What is in a folder; nothing if there is no folder.
pub(crate) fn entries(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let read = || -> io::Result<Vec<PathBuf>> {
        let entries = fs::read_dir(folder)?;
        entries.map(|entry| Ok(entry?.path())).collect()
    };
    match read() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        other => other.map_err(|source| Error::pin("read", folder, source)),
    }
}

pub(crate) fn make_folder(folder: &Path) -> Result<(), Error> {
    match fs::create_dir(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            Err(Error::pin("make", folder, error))
        }
        _ => Ok(()),
    }
}

pub(crate) fn remove_folder(folder: &Path) -> Result<(), Error> {
    match fs::remove_dir(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(Error::pin("remove", folder, error))
        }
        _ => Ok(()),
    }
}

/// Lets `owner` have a pin with this mode; what is right already is not touched.
///
/// The mode of another's file takes a capability (CAP_FOWNER) that `nxdp load` does without: the
/// pin is taken back first, which takes only the one that hands over.
pub(crate) fn give(path: &Path, owner: Owner, mode: u32) -> Result<(), Error> {
    let hand_over = || -> io::Result<()> {
        let found = fs::symlink_metadata(path)?;
        let mut user = found.uid();
        if found.permissions().mode() & 0o7777 != mode {
            let own = rustix::process::geteuid().as_raw();
            if user != own {
                lchown(path, Some(own), None)?;
                user = own;
            }
            fs::set_permissions(path, Permissions::from_mode(mode))?;
        }
        match (user, found.gid()) == (owner.user, owner.group) {
            true => Ok(()),
            false => lchown(path, Some(owner.user), Some(owner.group)),
        }
    };
    hand_over().map_err(|source| Error::pin("hand over", path, source))
}
