//! The thread that reads the ring of events.

use std::{
    collections::HashMap,
    io::{self, PipeReader, PipeWriter},
    os::fd::AsFd as _,
    sync::Arc,
    thread::{self, JoinHandle},
    time::{Duration, SystemTime},
};

use filter_common::layout::Event;
use filter_kernel::EventRing;

use super::{Entry, Error, QueryLog};

/// Events that are taken from the ring at once.
const BATCH_MAX: usize = 512;
/// Events that are taken at the end: more than a ring holds.
const LAST_MAX: usize = 4096;

/// A thread that reads a ring; dropping it reads what is left and ends the thread.
#[derive(Debug)]
pub struct Reader {
    stop: Option<PipeWriter>,
    thread: Option<JoinHandle<()>>,
}

impl QueryLog {
    /// Reads `ring` until the reader is dropped.
    pub fn read(&self, ring: EventRing) -> Result<Reader, Error> {
        let (stopped, stop) = io::pipe().map_err(Error::Thread)?;
        let log = self.clone();
        let thread = thread::Builder::new()
            .name("nxdp-log".to_owned())
            .spawn(move || read(&log, ring, &stopped))
            .map_err(Error::Thread)?;
        Ok(Reader {
            stop: Some(stop),
            thread: Some(thread),
        })
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            // A panic there told of itself.
            let _ended = thread.join();
        }
    }
}

fn read(log: &QueryLog, mut ring: EventRing, stopped: &PipeReader) {
    let mut interfaces = Interfaces::default();
    let mut events = Vec::with_capacity(BATCH_MAX);
    // Waiting fails only where nothing works any more; what is there is read all the same.
    while !ring.wait(stopped.as_fd()).unwrap_or(true) {
        ring.take(&mut events, BATCH_MAX);
        log.push(entries(log, &events, &mut interfaces));
        events.clear();
    }
    ring.take(&mut events, LAST_MAX);
    log.push(entries(log, &events, &mut interfaces));
}

fn entries(log: &QueryLog, events: &[Event], interfaces: &mut Interfaces) -> Vec<Arc<Entry>> {
    let boot = boot_time();
    let entries = events.iter().filter_map(|event| {
        let time = boot + Duration::from_nanos(event.time_ns);
        let interface = interfaces.name(event.interface);
        let names = log.names(event.generation);
        Entry::of(event, time, interface, &names, &log.0.config).map(Arc::new)
    });
    entries.collect()
}

/// When the machine started, by the wall clock as it goes now.
fn boot_time() -> SystemTime {
    let since_boot = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let since_boot = Duration::new(
        since_boot.tv_sec.unsigned_abs(),
        since_boot.tv_nsec.unsigned_abs() as u32,
    );
    SystemTime::now()
        .checked_sub(since_boot)
        .unwrap_or(SystemTime::UNIX_EPOCH)
}

/// Names of interfaces by index, asked for once: an interface that comes again has another index.
#[derive(Default)]
struct Interfaces(HashMap<u32, Arc<str>>);

impl Interfaces {
    fn name(&mut self, index: u32) -> Arc<str> {
        let name =
            self.0
                .entry(index)
                .or_insert_with(|| match nix::net::if_::if_indextoname(index) {
                    Ok(name) => name.to_string_lossy().into(),
                    Err(_) => format!("if{index}").into(),
                });
        Arc::clone(name)
    }
}
