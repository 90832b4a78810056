//! The query log in the format of the field: dnstap payloads in Frame Streams, to a file
//! or to a Unix socket.
//!
//! A thread of its own writes, so that neither a slow disk nor a reader that hangs holds
//! the filter up. What finds no place in its queue is counted as lost; verdicts never
//! depend on any of this.

mod frames;
mod message;
mod output;

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use self::output::Output;
use super::{Entry, TapStats};
use crate::config::LogConfig;

/// Queries that wait to be written.
const QUEUE_MAX: usize = 8192;
/// Bytes that are written at once.
const BLOCK_BYTES: usize = 64 * 1024;
/// How long a frame waits for others at most.
const FLUSH_INTERVAL: Duration = Duration::from_secs(1);
/// How long to wait before a file or socket that failed is tried again.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// Where dnstap goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A file, and its size in bytes at which it is put aside.
    File(PathBuf, u64),
    /// A Unix socket on which a reader listens.
    Socket(PathBuf),
}

impl Target {
    /// The targets of a configuration.
    pub fn of(config: &LogConfig) -> Vec<Self> {
        let max_bytes = config.dnstap_file_mib.saturating_mul(1 << 20);
        let file = config.dnstap_file.iter();
        let socket = config.dnstap_socket.iter();
        file.map(|path| Self::File(path.clone(), max_bytes))
            .chain(socket.map(|path| Self::Socket(path.clone())))
            .collect()
    }

    fn name(&self) -> String {
        let (Self::File(path, _) | Self::Socket(path)) = self;
        path.display().to_string()
    }
}

/// A place that dnstap is written to; dropping it writes what waits and ends the stream.
#[derive(Debug)]
pub(super) struct Tap {
    name: String,
    queue: Option<SyncSender<Arc<Entry>>>,
    tally: Arc<Tally>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Tally {
    written: AtomicU64,
    lost: AtomicU64,
    is_open: AtomicBool,
    is_ending: AtomicBool,
}

impl Tap {
    /// Starts writing to `target`, which is opened in the background.
    pub(super) fn start(target: Target) -> std::io::Result<Self> {
        let name = target.name();
        let (queue, entries) = sync_channel(QUEUE_MAX);
        let tally = Arc::new(Tally::default());
        let writer = Writer::new(target, entries, Arc::clone(&tally));
        let thread = thread::Builder::new()
            .name("nxdp-dnstap".to_owned())
            .spawn(move || writer.run())?;
        Ok(Self {
            name,
            queue: Some(queue),
            tally,
            thread: Some(thread),
        })
    }

    /// Hands a query over; it is lost if too many wait.
    pub(super) fn push(&self, entry: &Arc<Entry>) {
        let Some(queue) = &self.queue else { return };
        match queue.try_send(Arc::clone(entry)) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                self.tally.lost.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    pub(super) fn stats(&self) -> TapStats {
        TapStats {
            target: self.name.clone(),
            written: self.tally.written.load(Ordering::Relaxed),
            lost: self.tally.lost.load(Ordering::Relaxed),
            open: self.tally.is_open.load(Ordering::Relaxed),
        }
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.tally.is_ending.store(true, Ordering::Relaxed);
        self.queue = None;
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // It ends by itself: every write has a time limit. A panic there told of itself.
            let _ended = thread.join();
        }
    }
}

/// The thread's side.
struct Writer {
    target: Target,
    entries: Receiver<Arc<Entry>>,
    tally: Arc<Tally>,
    identity: String,
    output: Option<Output>,
    /// Whole frames that wait to be written, and their number.
    block: Vec<u8>,
    block_frames: u64,
}

impl Writer {
    fn new(target: Target, entries: Receiver<Arc<Entry>>, tally: Arc<Tally>) -> Self {
        let system = rustix::system::uname();
        Self {
            target,
            entries,
            tally,
            identity: system.nodename().to_string_lossy().into_owned(),
            output: None,
            block: Vec::with_capacity(BLOCK_BYTES),
            block_frames: 0,
        }
    }

    /// Until the sending side is gone and nothing waits.
    fn run(mut self) {
        while self.is_open() {
            let mut due = Instant::now() + FLUSH_INTERVAL;
            loop {
                let wait = due.saturating_duration_since(Instant::now());
                match self.entries.recv_timeout(wait) {
                    Ok(entry) => self.push(&entry),
                    Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => return self.end(),
                }
                if self.block.len() >= BLOCK_BYTES || Instant::now() >= due {
                    self.flush();
                    due = Instant::now() + FLUSH_INTERVAL;
                    if self.output.is_none() {
                        break;
                    }
                }
            }
        }
    }

    /// Opens the output, trying until it works; `false` when that is no longer wanted.
    ///
    /// The queue holds what comes meanwhile, and counts what it cannot hold.
    fn is_open(&mut self) -> bool {
        loop {
            if let Ok(output) = Output::open(&self.target) {
                self.output = Some(output);
                self.tally.is_open.store(true, Ordering::Relaxed);
                return true;
            }
            if self.tally.is_ending.load(Ordering::Relaxed) {
                self.lose_everything();
                return false;
            }
            thread::park_timeout(RETRY_INTERVAL);
        }
    }

    fn push(&mut self, entry: &Entry) {
        frames::push_data(&mut self.block, &message::encode(entry, &self.identity));
        self.block_frames += 1;
    }

    fn flush(&mut self) {
        let Some(output) = &mut self.output else {
            return;
        };
        match output.write(&self.block) {
            Ok(()) => {
                self.tally
                    .written
                    .fetch_add(self.block_frames, Ordering::Relaxed);
                self.block.clear();
                self.block_frames = 0;
            }
            Err(_) => {
                self.output = None;
                self.tally.is_open.store(false, Ordering::Relaxed);
                self.lose_block();
            }
        }
    }

    fn lose_block(&mut self) {
        self.tally
            .lost
            .fetch_add(self.block_frames, Ordering::Relaxed);
        self.block.clear();
        self.block_frames = 0;
    }

    fn lose_everything(&mut self) {
        self.lose_block();
        let waiting = self.entries.try_iter().count() as u64;
        self.tally.lost.fetch_add(waiting, Ordering::Relaxed);
    }

    fn end(mut self) {
        self.flush();
        if let Some(output) = self.output.take() {
            // What was written before is there all the same.
            let _unfinished = output.finish();
        }
        self.tally.is_open.store(false, Ordering::Relaxed);
    }
}
