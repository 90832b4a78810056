//! Folders of pins: made, handed over, read and removed.

use std::{
    fs::{self, File, Permissions},
    io,
    os::{
        fd::AsRawFd as _,
        unix::fs::{MetadataExt as _, PermissionsExt as _},
    },
    path::{Path, PathBuf},
};

use rustix::fs::{AtFlags, Gid, Mode, OFlags, Uid};

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
        Err(_) => refuse_unless_folder(folder),
        Ok(()) => Ok(()),
    }
}

/// Fails if a path is there and is a link, or something else that is no folder.
pub(crate) fn refuse_unless_folder(path: &Path) -> Result<(), Error> {
    let foreign = |what: &str| {
        Err(Error::Foreign {
            path: path.to_owned(),
            what: what.to_owned(),
        })
    };
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => Ok(()),
        Ok(found) if found.is_symlink() => foreign("is a symbolic link"),
        Ok(_) => foreign("is no folder"),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(Error::pin("look at", path, error)),
    }
}

/// Fails if something in a folder is a link, or belongs neither to root nor to `owner`.
pub(crate) fn refuse_strangers_in(folder: &Path, owner: Owner) -> Result<(), Error> {
    let own = rustix::process::geteuid().as_raw();
    for path in entries(folder)? {
        let found = fs::symlink_metadata(&path);
        let found = found.map_err(|source| Error::pin("look at", &path, source))?;
        let what = match found.uid() {
            _ if found.is_symlink() => "is a symbolic link".to_owned(),
            user if [0, own, owner.user].contains(&user) => continue,
            user => format!("belongs to user {user}"),
        };
        return Err(Error::Foreign { path, what });
    }
    Ok(())
}

/// Removes a folder that another user may have put something into, and all of that.
pub(crate) fn remove_tree(folder: &Path) -> Result<(), Error> {
    if !folder.exists() {
        return Ok(());
    }
    let own = Owner {
        user: rustix::process::geteuid().as_raw(),
        group: rustix::process::getegid().as_raw(),
    };
    // Nobody adds anything from here on.
    give(folder, own, 0o700)?;
    for path in entries(folder)? {
        let found = fs::symlink_metadata(&path);
        if found.is_ok_and(|found| found.is_dir()) {
            remove_tree(&path)?;
        } else {
            fs::remove_file(&path).map_err(|source| Error::pin("remove", &path, source))?;
        }
    }
    remove_folder(folder)
}

pub(crate) fn remove_folder(folder: &Path) -> Result<(), Error> {
    match fs::remove_dir(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(Error::pin("remove", folder, error))
        }
        _ => Ok(()),
    }
}

/// Lets `owner` have a pin with this mode; what is right already is not touched, and no link is
/// followed.
///
/// The mode of another's file takes a capability (CAP_FOWNER) that `nxdp load` does without: the
/// pin is taken back first, which takes only the one that hands over.
pub(crate) fn give(path: &Path, owner: Owner, mode: u32) -> Result<(), Error> {
    let hand_over = || -> io::Result<()> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let pin = File::from(rustix::fs::open(path, flags, Mode::empty())?);
        let found = pin.metadata()?;
        if found.is_symlink() {
            return Err(io::Error::other("it is a symbolic link: remove it"));
        }
        let mut user = found.uid();
        if found.permissions().mode() & 0o7777 != mode {
            let own = rustix::process::geteuid().as_raw();
            if user != own {
                change_owner(&pin, own, None)?;
                user = own;
            }
            // Whatever the path leads to by now, this leads to what was looked at.
            let opened = format!("/proc/self/fd/{}", pin.as_raw_fd());
            fs::set_permissions(opened, Permissions::from_mode(mode))?;
        }
        match (user, found.gid()) == (owner.user, owner.group) {
            true => Ok(()),
            false => change_owner(&pin, owner.user, Some(owner.group)),
        }
    };
    hand_over().map_err(|source| Error::pin("hand over", path, source))
}

fn change_owner(pin: &File, user: u32, group: Option<u32>) -> io::Result<()> {
    let user = Some(Uid::from_raw(user));
    let group = group.map(Gid::from_raw);
    Ok(rustix::fs::chownat(
        pin,
        "",
        user,
        group,
        AtFlags::EMPTY_PATH,
    )?)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn own() -> Owner {
        Owner {
            user: rustix::process::geteuid().as_raw(),
            group: rustix::process::getegid().as_raw(),
        }
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn a_link_in_the_place_of_a_folder_of_pins_leads_nowhere() {
        let temporary = tempfile::tempdir().unwrap();
        let path = |name: &str| temporary.path().join(name);
        fs::create_dir(path("victim")).unwrap();
        fs::set_permissions(path("victim"), Permissions::from_mode(0o755)).unwrap();
        symlink(path("victim"), path("link")).unwrap();
        let error = make_folder(&path("link")).unwrap_err().to_string();
        assert!(
            error.contains("link': it is a symbolic link; remove it"),
            "{error}"
        );
        assert!(give(&path("link"), own(), 0o700).is_err());
        assert_eq!(mode(&path("victim")), 0o755);
        fs::write(path("file"), "").unwrap();
        assert!(make_folder(&path("file")).is_err());
        make_folder(&path("folder")).unwrap();
        make_folder(&path("folder")).unwrap();
        give(&path("folder"), own(), 0o710).unwrap();
        assert_eq!(mode(&path("folder")), 0o710);
        let error = refuse_strangers_in(temporary.path(), own()).unwrap_err();
        assert!(
            error.to_string().contains("link': it is a symbolic link"),
            "{error}"
        );
        fs::remove_file(path("link")).unwrap();
        refuse_strangers_in(temporary.path(), own()).unwrap();
    }

    #[test]
    fn what_another_user_put_into_a_folder_goes_with_it_and_what_links_lead_to_does_not() {
        let temporary = tempfile::tempdir().unwrap();
        let path = |name: &str| temporary.path().join(name);
        fs::create_dir_all(path("change/x/y")).unwrap();
        fs::create_dir(path("victim")).unwrap();
        fs::write(path("victim/kept"), "").unwrap();
        symlink(path("victim"), path("change/x/link")).unwrap();
        remove_tree(&path("change")).unwrap();
        remove_tree(&path("change")).unwrap();
        assert!(!path("change").exists() && path("victim/kept").exists());
    }
}
