//! The files below /sys/fs/bpf that keep a filter alive without a process.
//!
//! ```text
//! nxdp/              root's; the service user's group may look
//!   vN/              named by the layout; replaced as a whole
//!     maps/NAME      the service user's
//!     program        the service user's
//!   links/INDEX      root's: who can open one can detach it
//!   next/            what the next `nxdp load` is making
//!   change/          the service user's: locked while maps change hands or a generation is written
//!   daemon/          the service user's: locked by the daemon as long as it lives
//! ```

use std::{
    collections::BTreeSet,
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use filter_common::layout::LAYOUT_VERSION;

use crate::{
    Error, Owner,
    filter::id_of,
    folder::{
        entries, give, make_folder, refuse_strangers_in, refuse_unless_folder, remove_folder,
        remove_tree,
    },
    set::Set,
};

/// Where pins are unless told otherwise.
pub const PINS_DEFAULT: &str = "/sys/fs/bpf/nxdp";
/// How long a lock is waited for; swaps and loads take less.
const LOCK_PATIENCE: Duration = Duration::from_secs(10);
const LOCK_PAUSE: Duration = Duration::from_millis(5);

/// The folder of a filter's pins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pins {
    root: PathBuf,
}

/// What was removed, by the kernel's numbers: it is gone when these are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// The programs.
    pub programs: Vec<u32>,
    /// The maps.
    pub maps: Vec<u32>,
    /// A daemon runs, which has the maps open for as long as it does.
    pub has_daemon: bool,
}

/// A lock that is held while the value lives, and goes with the process.
#[derive(Debug)]
pub struct Lock {
    _folder: File,
}

impl Pins {
    /// The pins below a folder on a BPF file system.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Whether anything is pinned.
    pub fn exist(&self) -> bool {
        self.root.exists()
    }

    /// The maps and the program of this build's layout.
    pub(crate) fn set(&self) -> Set {
        Set::at(self.root.join(format!("v{LAYOUT_VERSION}")))
    }

    /// The set that is being made.
    pub(crate) fn next(&self) -> Set {
        Set::at(self.root.join("next"))
    }

    /// Sets of other layouts.
    pub(crate) fn others(&self) -> Result<Vec<Set>, Error> {
        let own = self.set().path();
        let mut others = Vec::new();
        for entry in fs::read_dir(&self.root).map_err(self.failed("read"))? {
            let path = entry.map_err(self.failed("read"))?.path();
            let name = path.file_name().and_then(|name| name.to_str());
            let layout = name.and_then(|name| name.strip_prefix('v')?.parse::<u32>().ok());
            if layout.is_some() && path != own {
                others.push(Set::at(path));
            }
        }
        Ok(others)
    }

    /// The folder of pinned attachments.
    pub(crate) fn links(&self) -> PathBuf {
        self.root.join("links")
    }

    /// Indexes of the interfaces whose attachments are pinned.
    pub fn attached(&self) -> Result<BTreeSet<u32>, Error> {
        let paths = entries(&self.links())?;
        let index = |path: &PathBuf| path.file_name()?.to_str()?.parse().ok();
        Ok(paths.iter().filter_map(index).collect())
    }

    /// Makes the folders; fails if they would not be on a BPF file system.
    pub fn prepare(&self, owner: Owner) -> Result<(), Error> {
        let parent = self.root.parent().unwrap_or(Path::new("/"));
        let kind = rustix::fs::statfs(parent)
            .map_err(|error| Error::pin("look for", parent, error.into()))?;
        if kind.f_type != BPF_FS_MAGIC {
            return Err(Error::NoBpfFs(parent.to_owned()));
        }
        for folder in [self.root.clone(), self.links()] {
            make_folder(&folder)?;
            give(&folder, Owner { user: 0, ..owner }, 0o750)?;
        }
        // Who can open a folder can lock it.
        for folder in [self.change(), self.daemon()] {
            make_folder(&folder)?;
            give(&folder, owner, 0o700)?;
        }
        // Where everybody may write to the file system, somebody may have been here first.
        refuse_strangers_in(&self.root, owner)
    }

    fn change(&self) -> PathBuf {
        self.root.join("change")
    }

    fn daemon(&self) -> PathBuf {
        self.root.join("daemon")
    }

    /// Waits for the lock that whoever changes maps or pins holds.
    pub fn lock(&self) -> Result<Lock, Error> {
        let end = Instant::now() + LOCK_PATIENCE;
        loop {
            match try_lock(&self.change())? {
                Some(lock) => return Ok(lock),
                None if Instant::now() >= end => return Err(Error::Locked(self.root.clone())),
                None => thread::sleep(LOCK_PAUSE),
            }
        }
    }

    /// Takes the lock of the only daemon.
    pub(crate) fn lock_for_daemon(&self) -> Result<Lock, Error> {
        try_lock(&self.daemon())?.ok_or_else(|| Error::SecondDaemon(self.root.clone()))
    }

    /// Removes everything, and tells what ends with it.
    pub fn remove(&self) -> Result<Removed, Error> {
        for folder in [&self.root, &self.links(), &self.change(), &self.daemon()] {
            refuse_unless_folder(folder)?;
        }
        let _lock = self.lock()?;
        let sets = self.others()?.into_iter().chain([self.set(), self.next()]);
        let sets: Vec<Set> = sets.filter(|set| set.path().exists()).collect();
        let mut removed = Removed {
            has_daemon: matches!(try_lock(&self.daemon()), Ok(None)),
            ..Removed::default()
        };
        for set in &sets {
            if set.program().exists() {
                removed.programs.push(id_of(&set.open_program()?)?);
            }
            removed.maps.extend(set.map_ids()?);
        }
        let links = self.links();
        for path in entries(&links)? {
            fs::remove_file(&path).map_err(|source| Error::pin("remove", &path, source))?;
        }
        sets.iter().try_for_each(Set::remove)?;
        remove_folder(&links)?;
        // The daemon's user may have put something into them.
        for folder in [&self.daemon(), &self.change()] {
            remove_tree(folder)?;
        }
        remove_folder(&self.root)?;
        Ok(removed)
    }

    fn failed(&self, operation: &'static str) -> impl Fn(io::Error) -> Error {
        move |source| Error::pin(operation, &self.root, source)
    }
}

/// From linux/magic.h.
const BPF_FS_MAGIC: rustix::fs::FsWord = 0xcafe_4a11;

fn try_lock(folder: &Path) -> Result<Option<Lock>, Error> {
    let opened = match File::open(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let root = folder.parent().unwrap_or(folder);
            return Err(Error::NotLoaded(root.to_owned()));
        }
        other => other.map_err(|source| Error::pin("open", folder, source))?,
    };
    match opened.try_lock() {
        Ok(()) => Ok(Some(Lock { _folder: opened })),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(source)) => Err(Error::pin("lock", folder, source)),
    }
}
