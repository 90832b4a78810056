//! What the service tells of itself and of the traffic: query log, metrics, reloads.
//!
//! Owns which ring of events is read. The maps may change hands at any time: this
//! process makes larger ones, or `nxdp load` puts others in their place.

use std::{
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use filter_common::{hash::HashKey, layout::Header};
use filter_kernel::Logged;
use filter_lists::image::Image;

use super::{Error, kernel_handle::KernelHandle};
use crate::{
    config::{Config, LogConfig, LogQueries},
    control::Reloads,
    metrics::{self, Listener},
    policy::Policies,
    querylog::{Names, QueryLog, Reader},
};

/// What watches a running filter.
pub(super) struct Observer {
    pub(super) log: QueryLog,
    pub(super) reloads: Reloads,
    reader: Option<Reader>,
    position: Option<RingPosition>,
    listener: Option<Listener>,
}

/// Where a look found the filter: its ring of events and its generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct RingPosition {
    ring: u32,
    /// Of the lists and of custom categories, drawn anew for each image.
    keys: [Option<HashKey>; 2],
}

impl Observer {
    /// Opens what the configuration wants opened.
    pub(super) async fn start(config: &Config) -> Result<Self, Error> {
        let listener = match config.metrics.listen {
            Some(address) => Some(Listener::open(address).await?),
            None => None,
        };
        Ok(Self {
            log: QueryLog::start(&config.log)?,
            reloads: Reloads::default(),
            reader: None,
            position: None,
            listener,
        })
    }

    /// Says whose policies and lists a generation is of, before it judges the first packet.
    pub(super) fn announce(&self, generation: &Header, policies: &[Arc<str>], image: &Image) {
        self.log.set_names(
            generation.generation,
            Names {
                policies: policies.to_vec(),
                lists: image
                    .lists()
                    .iter()
                    .map(|list| list.name.as_str().into())
                    .collect(),
                first_list: image.kind().first_list(),
            },
        );
    }

    /// Goes on where the filter is now: with its ring, its policies, and the lists of those of
    /// `images` that it has.
    pub(super) fn follow(
        &mut self,
        kernel: &mut KernelHandle,
        policies: &[Arc<str>],
        images: &[&Image],
    ) -> Result<(), Error> {
        let active = [kernel.maps().active(), kernel.maps().active_custom()];
        let position = RingPosition {
            ring: kernel.maps().events_id()?,
            keys: active.map(|header| header.map(|header| header.key)),
        };
        let before = self.position;
        // Named before the first event is read.
        if before != Some(position) {
            for active in active.iter().flatten() {
                let mut images = images.iter();
                if let Some(image) = images.find(|image| image.header().key == active.key) {
                    self.announce(active, policies, image);
                }
            }
        }
        if before.map(|before| before.ring) != Some(position.ring) {
            self.read(kernel)?;
        }
        self.position = Some(position);
        self.log.note_lost(kernel.maps().counters()?.events_lost());
        Ok(())
    }

    /// Reads the ring of the maps as they are now, in place of the one before.
    fn read(&mut self, kernel: &mut KernelHandle) -> Result<(), Error> {
        // What is left in the one before is told first.
        self.reader = None;
        if self.log.queries() != LogQueries::Off {
            self.reader = Some(self.log.read(kernel.maps().events()?)?);
        }
        // Off, too: a daemon that was killed may have left it on.
        Ok(tell(kernel, &self.log.config())?)
    }

    /// Logs other queries from now on.
    pub(super) fn switch(
        &mut self,
        kernel: &mut KernelHandle,
        queries: LogQueries,
    ) -> Result<(), Error> {
        if queries == self.log.queries() {
            return Ok(());
        }
        self.log.set_queries(queries);
        self.read(kernel)
    }

    /// Leaves a filter that goes on: nobody would read what it tells.
    pub(super) fn leave(&mut self, kernel: &mut KernelHandle) {
        // It may be gone; and full, the ring takes nothing more.
        let _ = tell(kernel, &LogConfig::default());
        self.reader = None;
    }

    /// The next client that wants metrics; waits for ever if they are not listened for.
    pub(super) async fn scrape(&mut self) -> metrics::Asked {
        match &mut self.listener {
            Some(listener) => listener.next().await,
            None => std::future::pending().await,
        }
    }
}

/// Has the program tell of the queries that a configuration wants told of.
fn tell(kernel: &mut KernelHandle, log: &LogConfig) -> Result<(), filter_kernel::Error> {
    let logged = match log.queries {
        LogQueries::Off => Logged::Nothing,
        LogQueries::Blocked => Logged::Blocked,
        LogQueries::All => Logged::All { every: log.sample },
    };
    kernel.change(|maps| {
        maps.set_log(logged);
        Ok(())
    })
}

/// The names of policies by number; numbers that are not in use have none.
pub(super) fn policy_names(policies: &Policies) -> Vec<Arc<str>> {
    let mut names = Vec::new();
    for policy in policies.iter() {
        let number = policy.number as usize;
        if names.len() <= number {
            names.resize(number + 1, Arc::from(""));
        }
        names[number] = policy.name.as_str().into();
    }
    names
}

/// Seconds of the UNIX epoch.
pub(super) fn now_s() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs()
}
