//! Work on files in folders that another user may write to, with that user's rights.
//!
//! The service user owns its state, the copies of its lists and the folder of its socket. Root that opens,
//! makes, renames or hands over something there could be led elsewhere by a link. So root acts as the
//! owner: a link leads no further than its owner could go, and what is made belongs to the owner.
//! Only the calling thread is meant, and only its file system accesses (setfsuid(2)).

use std::{
    ffi::OsString,
    fs, io,
    marker::PhantomData,
    os::unix::fs::MetadataExt as _,
    path::{Component, Path, PathBuf},
};

use nix::unistd::{Gid, Uid, setfsgid, setfsuid, setgid, setgroups, setuid};
use rustix::{process::getgroups, thread::set_thread_groups};

/// As many links on the way to a file as the kernel follows, too.
const LINKS_MAX: usize = 40;

/// Somebody who owns a folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Owner {
    user: Uid,
    group: Gid,
}

/// Whose rights this thread has to files while the value lives.
#[derive(Debug)]
pub(crate) struct Identity {
    /// The groups that come back, if anything was changed.
    groups: Option<Vec<rustix::process::Gid>>,
    /// A thread's identity is not another's.
    _thread: PhantomData<*const ()>,
}

/// Lets root act as the first on the way to `path` who is not root; others as they are.
///
/// # Errors
///
/// When the way cannot be seen, or root may not act as others.
pub(crate) fn of_owner(path: &Path) -> io::Result<Identity> {
    match stranger_on(path)? {
        Some(owner) => Identity::of(owner),
        None => Ok(Identity {
            groups: None,
            _thread: PhantomData,
        }),
    }
}

/// Does `work` on what is at `path` with the rights of its owner.
pub(crate) fn as_owner<T>(path: &Path, work: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    let _identity = of_owner(path)?;
    work()
}

/// Lets this whole process be the owner of what is at `path`, for good, if it is root's.
///
/// # Errors
///
/// As [`of_owner`].
pub(crate) fn become_owner(path: &Path) -> io::Result<()> {
    let Some(owner) = stranger_on(path)? else {
        return Ok(());
    };
    setgroups(&[])?;
    setgid(owner.group)?;
    Ok(setuid(owner.user)?)
}

/// Does `work` as root while the thread acts as somebody else; nothing is gained by others.
pub(crate) fn as_root<T>(work: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    let (user, group) = (setfsuid(Uid::effective()), setfsgid(Gid::effective()));
    let done = work();
    setfsgid(group);
    setfsuid(user);
    done
}

impl Identity {
    fn of(owner: Owner) -> io::Result<Self> {
        let identity = Self {
            groups: Some(getgroups()?),
            _thread: PhantomData,
        };
        set_thread_groups(&[])?;
        setfsgid(owner.group);
        setfsuid(owner.user);
        // Both tell what was before, and refuse in silence.
        match setfsgid(owner.group) == owner.group && setfsuid(owner.user) == owner.user {
            true => Ok(identity),
            false => Err(io::ErrorKind::PermissionDenied.into()),
        }
    }
}

impl Drop for Identity {
    fn drop(&mut self) {
        if let Some(groups) = &self.groups {
            setfsuid(Uid::effective());
            setfsgid(Gid::effective());
            // Where it fails, this thread may less than before.
            let _ = set_thread_groups(groups);
        }
    }
}

/// The owner of the first folder, link or file on the way to `path` that is not root's, for root.
///
/// All before it is root's, so that nobody else can change the way while it is walked.
fn stranger_on(path: &Path) -> io::Result<Option<Owner>> {
    if !Uid::effective().is_root() {
        return Ok(None);
    }
    let mut at = PathBuf::from("/");
    let mut ahead = steps(&std::path::absolute(path)?);
    let mut links = 0;
    while let Some(step) = ahead.pop() {
        if step == ".." {
            at.pop();
            continue;
        }
        let next = at.join(step);
        let found = match fs::symlink_metadata(&next) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other?,
        };
        if found.uid() != 0 {
            return Ok(Some(Owner {
                user: found.uid().into(),
                group: found.gid().into(),
            }));
        }
        if !found.is_symlink() {
            at = next;
            continue;
        }
        links += 1;
        if links > LINKS_MAX {
            return Err(rustix::io::Errno::LOOP.into());
        }
        let target = fs::read_link(&next)?;
        if target.is_absolute() {
            at = "/".into();
        }
        ahead.extend(steps(&target));
    }
    Ok(None)
}

/// The steps of a path, the first one last.
fn steps(path: &Path) -> Vec<OsString> {
    let named = path.components().rev().filter_map(|step| match step {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    });
    named.collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{chown, symlink};

    use super::*;

    /// A user that every system has and that owns nothing.
    const STRANGER: u32 = 65534;

    /// A folder of root's with one of a stranger's inside; nothing without root.
    fn folders() -> Option<(tempfile::TempDir, PathBuf)> {
        if !Uid::effective().is_root() {
            eprintln!("skipped: this takes root");
            return None;
        }
        let outer = tempfile::tempdir().unwrap();
        let passable = <fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o755);
        fs::set_permissions(outer.path(), passable).unwrap();
        let theirs = outer.path().join("theirs");
        fs::create_dir(&theirs).unwrap();
        chown(&theirs, Some(STRANGER), Some(STRANGER)).unwrap();
        Some((outer, theirs))
    }

    #[test]
    fn what_root_makes_in_a_strangers_folder_is_the_strangers() {
        let Some((outer, theirs)) = folders() else {
            return;
        };
        let file = theirs.join("file");
        as_owner(&file, || fs::write(&file, "text")).unwrap();
        let made = fs::metadata(&file).unwrap();
        assert_eq!((made.uid(), made.gid()), (STRANGER, STRANGER));
        let own = outer.path().join("own");
        as_owner(&own, || fs::write(&own, "text")).unwrap();
        assert_eq!(fs::metadata(&own).unwrap().uid(), 0);
    }

    #[test]
    fn a_strangers_link_leads_root_no_further_than_the_stranger() {
        let Some((outer, theirs)) = folders() else {
            return;
        };
        let own = outer.path().join("own");
        fs::write(&own, "root's").unwrap();
        for (link, target) in [("link", own.as_path()), ("folder", outer.path())] {
            symlink(target, theirs.join(link)).unwrap();
        }
        for way in [
            theirs.join("link"),
            theirs.join("folder/own"),
            theirs.join("folder/new"),
        ] {
            let written = as_owner(&way, || fs::write(&way, "stranger's"));
            assert_eq!(
                written.unwrap_err().kind(),
                io::ErrorKind::PermissionDenied,
                "{way:?}"
            );
        }
        assert_eq!(fs::read_to_string(&own).unwrap(), "root's");
    }

    #[test]
    fn roots_own_links_are_followed_to_whoever_is_behind_them() {
        let Some((outer, _theirs)) = folders() else {
            return;
        };
        let link = outer.path().join("state");
        symlink("./theirs", &link).unwrap();
        let owner = stranger_on(&link.join("lists/a")).unwrap().unwrap();
        assert_eq!(owner.user.as_raw(), STRANGER);
        symlink("turn", outer.path().join("turn")).unwrap();
        assert!(stranger_on(&outer.path().join("turn")).is_err());
        let back = outer.path().join("own/../none");
        assert_eq!(stranger_on(&back).unwrap(), None);
        let through = stranger_on(&link.join("../none")).unwrap();
        assert!(
            through.is_some(),
            "who owns a folder decides where it leads"
        );
    }

    #[test]
    fn afterwards_root_is_root_again() {
        let Some((outer, theirs)) = folders() else {
            return;
        };
        let before = getgroups().unwrap();
        drop(of_owner(&theirs).unwrap());
        assert_eq!(getgroups().unwrap(), before);
        let made = outer.path().join("made");
        fs::write(&made, "").unwrap();
        assert_eq!(fs::metadata(&made).unwrap().uid(), 0);
        chown(&made, Some(STRANGER), None).unwrap();
    }
}
