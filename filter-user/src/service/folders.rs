//! The folders that `nxdp load` makes for the daemon, and those that it opens on the way to its pins.

use std::{
    fs, io,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, lchown},
    path::Path,
};

use filter_kernel::Owner;

use super::{display::Display, load::LoadError};
use crate::{config::Config, identity};

/// Makes the folder of the daemon's state, if there is none.
pub(super) fn make_state(path: &Path, owner: Owner) -> Result<(), LoadError> {
    make_folder(path, owner).map_err(|source| LoadError::State {
        path: path.to_owned(),
        source,
    })
}

/// Makes the folder of the control socket, as a supervisor would: a daemon that is started by
/// hand may not.
pub(super) fn make_socket_folder(config: &Config, owner: Owner) {
    if let Some(folder) = config.socket().parent() {
        // Where it cannot be made, a supervisor makes it, or the daemon tells.
        let _ = make_folder(folder, owner);
    }
}

/// Makes a folder of the daemon's, if there is none, or an empty one of root's.
fn make_folder(path: &Path, owner: Owner) -> io::Result<()> {
    let _stranger = identity::of_owner(path)?;
    if path.is_dir() {
        // An empty one of root's is left by whoever ran as root before.
        let is_roots = fs::symlink_metadata(path)?.uid() == 0;
        if !is_roots || owner.user == 0 || fs::read_dir(path)?.next().is_some() {
            return Ok(());
        }
    } else {
        fs::create_dir_all(path)?;
    }
    fs::set_permissions(path, fs::Permissions::from_mode(0o750))?;
    lchown(path, Some(owner.user), Some(owner.group))
}

/// Lets everybody pass through the folders above the pins, as the kernel's default has it; some
/// systems mount them for root alone. What is in them is not readable for that.
pub(super) fn let_through(pins: &Path, display: &Display) -> Result<(), LoadError> {
    const SEARCH: u32 = 0o001;
    for folder in pins.ancestors().skip(1) {
        let failed = |source| LoadError::Passage {
            path: folder.to_owned(),
            source,
        };
        let mode = fs::metadata(folder).map_err(failed)?.permissions().mode();
        if mode & SEARCH == 0 {
            let passable = fs::Permissions::from_mode(mode | SEARCH);
            fs::set_permissions(folder, passable).map_err(failed)?;
            display.trouble(&format!(
                "the daemon must pass through {}: chmod o+x",
                folder.display()
            ));
        }
    }
    Ok(())
}
