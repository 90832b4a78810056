//! The query log: what the kernel tells of single queries, for people and for programs.
//!
//! Off unless the configuration says otherwise: it tells who asked for what. A thread
//! reads the ring of events, keeps the last queries in memory, and hands each one to
//! whoever follows on the control socket and to dnstap. It decides nothing, and nothing
//! waits for it: what it cannot take is lost, counted and told.

mod dnstap;
mod entry;
mod follow;
mod line;
mod reader;

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::sync::{Semaphore, broadcast};

use self::dnstap::{Tap, Target};
pub use self::{
    entry::{Entry, Names, Protocol},
    line::{LogHeader, LogLine, LogRequest, LogStats, LostLine, Outcome, QueryLine, TapStats},
    reader::Reader,
};
use crate::config::{LogConfig, LogQueries};

/// Version of the log's head and lines.
const LINES_VERSION: u32 = 1;
/// Queries that are kept in memory.
const RECENT_MAX: usize = 1000;
/// Queries that wait for whoever follows.
const FOLLOWED_MAX: usize = 4096;
/// Who may follow at the same time.
const FOLLOWERS_MAX: usize = 16;

/// Generations whose numbers are known, of lists and of custom categories: the ring may hold
/// events of those before.
const GENERATIONS_MAX: usize = 8;

/// What numbers stand for, by generation.
type Generations = VecDeque<(u32, Arc<Names>)>;

/// Why there is no query log.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nothing was told to be logged.
    #[error(
        "the query log is off: `nxdp log --set blocked` turns it on until nxdp ends, `queries = \"blocked\"` below `[log]` for good"
    )]
    Off,
    /// Everybody wants to know.
    #[error("{FOLLOWERS_MAX} readers follow the query log already: end one of them")]
    TooManyFollowers,
    /// A thread cannot be started.
    #[error("start a thread for the query log")]
    Thread(#[source] std::io::Error),
}

/// The query log of a running filter.
#[derive(Clone, Debug)]
pub struct QueryLog(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// What was configured; which queries are logged may be switched meanwhile.
    config: LogConfig,
    queries: RwLock<LogQueries>,
    names: RwLock<Generations>,
    recent: Mutex<VecDeque<Arc<Entry>>>,
    entries: broadcast::Sender<Arc<Entry>>,
    followers: Arc<Semaphore>,
    taps: Vec<Tap>,
    told: AtomicU64,
    lost: AtomicU64,
}

impl QueryLog {
    /// An empty log; dnstap is opened in the background.
    pub fn start(config: &LogConfig) -> Result<Self, Error> {
        let taps = Target::of(config).into_iter().map(Tap::start);
        Ok(Self(Arc::new(Shared {
            config: config.clone(),
            queries: RwLock::new(config.queries),
            names: RwLock::default(),
            recent: Mutex::default(),
            entries: broadcast::Sender::new(FOLLOWED_MAX),
            followers: Arc::new(Semaphore::new(FOLLOWERS_MAX)),
            taps: taps.collect::<Result<_, _>>().map_err(Error::Thread)?,
            told: AtomicU64::new(0),
            lost: AtomicU64::new(0),
        })))
    }

    /// What is logged at all.
    pub fn config(&self) -> LogConfig {
        LogConfig {
            queries: self.queries(),
            ..self.0.config.clone()
        }
    }

    /// Which queries are logged now.
    pub fn queries(&self) -> LogQueries {
        *self
            .0
            .queries
            .read()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Logs others from now on. What was logged is forgotten when nothing is logged any more.
    pub fn set_queries(&self, queries: LogQueries) {
        *self
            .0
            .queries
            .write()
            .unwrap_or_else(PoisonError::into_inner) = queries;
        if queries == LogQueries::Off {
            let mut recent = self.0.recent.lock().unwrap_or_else(PoisonError::into_inner);
            recent.clear();
        }
    }

    /// Says what the numbers in events of a generation stand for.
    pub fn set_names(&self, generation: u32, names: Names) {
        let mut known = self.0.names.write().unwrap_or_else(PoisonError::into_inner);
        known.retain(|(number, _)| *number != generation);
        if known.len() == GENERATIONS_MAX {
            known.pop_front();
        }
        known.push_back((generation, Arc::new(names)));
    }

    /// Notes how many events found no room in the ring, since the start.
    pub fn note_lost(&self, lost: u64) {
        self.0.lost.store(lost, Ordering::Relaxed);
    }

    /// What became of the log itself.
    pub fn stats(&self) -> LogStats {
        LogStats {
            queries: self.queries(),
            sample: self.0.config.sample,
            told: self.0.told.load(Ordering::Relaxed),
            lost: self.0.lost.load(Ordering::Relaxed),
            dnstap: self.0.taps.iter().map(Tap::stats).collect(),
        }
    }

    fn header(&self) -> LogHeader {
        LogHeader {
            version: LINES_VERSION,
            queries: self.queries(),
            sample: self.0.config.sample,
        }
    }

    /// What the numbers in events of a generation stand for; nothing if nobody said so.
    fn names(&self, generation: u32) -> Arc<Names> {
        let known = self.0.names.read().unwrap_or_else(PoisonError::into_inner);
        let names = known.iter().find(|(number, _)| *number == generation);
        names
            .map(|(_, names)| Arc::clone(names))
            .unwrap_or_default()
    }

    /// Takes queries in and hands them on.
    fn push(&self, entries: Vec<Arc<Entry>>) {
        self.0
            .told
            .fetch_add(entries.len() as u64, Ordering::Relaxed);
        let mut recent = self.0.recent.lock().unwrap_or_else(PoisonError::into_inner);
        for entry in entries {
            for tap in &self.0.taps {
                tap.push(&entry);
            }
            if recent.len() == RECENT_MAX {
                recent.pop_front();
            }
            recent.push_back(Arc::clone(&entry));
            // Nobody may be following.
            let _ = self.0.entries.send(entry);
        }
    }

    /// The last `count` queries, oldest first, and those that follow without a gap.
    fn recent(&self, count: usize) -> (Vec<Arc<Entry>>, broadcast::Receiver<Arc<Entry>>) {
        // `push` holds the lock while it sends.
        let recent = self.0.recent.lock().unwrap_or_else(PoisonError::into_inner);
        let skipped = recent.len().saturating_sub(count);
        let last = recent.iter().skip(skipped).cloned().collect();
        (last, self.0.entries.subscribe())
    }
}
