//! Lists from the network: asked for, checked, and kept as copies on the disk.
//!
//! Whatever happens on the way, the copy that was fetched before stays as it is:
//! a list that arrives whole and is understood is a [`Candidate`] in a file of its
//! own, which takes the copy's place only when its [`Subscription`] is told that
//! guards and compiler admitted it. This module knows servers and files; what is
//! compiled when is the service's business.

mod account;
mod address;
mod client;
mod copies;
mod error;
mod gate;
mod receive;
mod retry;
mod state;
mod subscription;
mod trust;

use std::{
    collections::VecDeque,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use tempfile::TempPath;

pub use self::{
    account::{Accounts, LastTry, ListAccount, Outcome, told_span},
    copies::former as former_copy,
    error::Error,
    subscription::Subscription,
};
use self::{
    client::{Answer, Client, Validators},
    receive::{Received, TEMPORARY_PREFIX, receive},
    state::{Copy, now_s},
};
use crate::{
    config::{FetchConfig, ListConfig},
    identity,
};

/// So many lists are fetched at a time.
const SIDE_BY_SIDE: usize = 4;

/// Fetches lists into a folder that no other process fetches into.
#[derive(Debug)]
pub struct Fetcher {
    config: FetchConfig,
    /// The folder, whose lock says that it is in use.
    lock: Arc<File>,
}

/// A list to ask for.
#[derive(Debug)]
pub struct FetchRequest {
    list: ListConfig,
    known: Option<Copy>,
}

/// What asking for a list brought.
#[derive(Debug)]
pub enum Fetched {
    /// The copy is what the server has.
    Unchanged(Unchanged),
    /// Another list.
    New(Candidate),
}

/// What the server says now of the copy that it still has.
#[derive(Debug)]
pub struct Unchanged(Option<Validators>);

/// A list that may take the place of the copy; its file goes when this is dropped.
#[derive(Debug)]
pub struct Candidate {
    file: TempPath,
    copy: Copy,
}

impl Fetcher {
    /// Makes the folder if need be, and takes hold of it.
    ///
    /// # Errors
    ///
    /// When the folder cannot be used, or another process does.
    pub fn open(config: &FetchConfig) -> Result<Self, Error> {
        let unusable = |source| Error::Cache {
            path: config.cache.clone(),
            source,
        };
        let _owner = identity::of_owner(&config.cache).map_err(unusable)?;
        fs::create_dir_all(&config.cache).map_err(unusable)?;
        let lock = File::open(&config.cache).map_err(unusable)?;
        is_writable(&config.cache).map_err(unusable)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => return Err(Error::InUse(config.cache.clone())),
            Err(fs::TryLockError::Error(source)) => return Err(unusable(source)),
        }
        let fetcher = Self {
            config: config.clone(),
            lock: Arc::new(lock),
        };
        fetcher.sweep().map_err(unusable)?;
        Ok(fetcher)
    }

    /// The same by other settings, but for the folder.
    #[must_use]
    pub fn with(&self, config: &FetchConfig) -> Self {
        Self {
            config: FetchConfig {
                cache: self.config.cache.clone(),
                ..config.clone()
            },
            lock: Arc::clone(&self.lock),
        }
    }

    /// Asks for lists side by side, and tells of each, by the path of its copy, as soon as it is done.
    pub fn fetch_all(
        &self,
        requests: Vec<FetchRequest>,
        told: impl Fn(PathBuf, Result<Fetched, Error>) + Sync,
    ) {
        let workers = requests.len().min(SIDE_BY_SIDE);
        let requests = Mutex::new(VecDeque::from(requests));
        let next = || {
            let mut requests = requests.lock().unwrap_or_else(PoisonError::into_inner);
            requests.pop_front()
        };
        let work = || {
            while let Some(request) = next() {
                let outcome = self.fetch(&request);
                told(request.list.path, outcome);
            }
        };
        thread::scope(|scope| {
            for _ in 1..workers {
                // Without more threads this one does the work alone.
                let _ = thread::Builder::new().spawn_scoped(scope, work);
            }
            work();
        });
    }

    fn fetch(&self, request: &FetchRequest) -> Result<Fetched, Error> {
        let Some(url) = &request.list.url else {
            return Ok(Fetched::Unchanged(Unchanged(None)));
        };
        // Made anew for each list: certificates and proxies change while a service runs.
        let client = Client::new(&self.config)?;
        let known = request.known.as_ref();
        let nothing = Validators::default();
        let validators = known.map_or(&nothing, |copy| &copy.validators);
        let incoming = match client.ask(url.url(), validators)? {
            Answer::NotModified => return Ok(Fetched::Unchanged(Unchanged(None))),
            Answer::List(incoming) => incoming,
        };
        let validators = incoming.validators.clone();
        let received = receive(
            &client,
            &self.config,
            &request.list,
            incoming,
            &self.config.cache,
        )?;
        if known.is_some_and(|copy| copy.digest == received.digest) {
            return Ok(Fetched::Unchanged(Unchanged(Some(validators))));
        }
        Ok(Fetched::New(Candidate::of(received, validators)))
    }

    /// Removes what a process left that was ended in the middle.
    fn sweep(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.config.cache)? {
            let entry = entry?;
            let name = entry.file_name();
            if name
                .as_encoded_bytes()
                .starts_with(TEMPORARY_PREFIX.as_bytes())
            {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }
}

/// Fails early where no copy could be written.
fn is_writable(folder: &Path) -> io::Result<()> {
    tempfile::Builder::new()
        .prefix(TEMPORARY_PREFIX)
        .tempfile_in(folder)
        .map(drop)
}

impl Candidate {
    fn of(received: Received, validators: Validators) -> Self {
        Self {
            file: received.file,
            copy: Copy {
                validators,
                fetched_s: now_s(),
                file_bytes: received.file_bytes,
                rules: received.rules,
                digest: received.digest,
            },
        }
    }

    /// The file, for as long as this value lives.
    pub fn path(&self) -> PathBuf {
        self.file.to_path_buf()
    }
}
