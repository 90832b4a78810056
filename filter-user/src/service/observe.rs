//! What the service tells of itself and of the traffic: query log, metrics, reloads.
//!
//! Owns which ring of events is read. The maps may change hands at any time: this
//! process makes larger ones, or `nxdp load` puts others in their place.

use std::{
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use filter_common::{hash::HashKey, layout::Header};

use super::{Error, side::Side, tally::ListCounts};
use crate::{
    config::{Config, LogConfig, LogQueries},
    control::Reloads,
    image::Image,
    kernel::{self, InUse},
    metrics::{self, Listener},
    querylog::{Names, QueryLog, Reader},
};

/// Policies by number.
pub(super) const POLICIES: [&str; 1] = ["default"];

/// What watches a running filter.
pub(super) struct Observer {
    pub(super) log: QueryLog,
    pub(super) reloads: Reloads,
    pub(super) lists: ListCounts,
    reader: Option<Reader>,
    place: Option<Place>,
    listener: Option<Listener>,
}

/// Where a look found the filter: its ring of events and its generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    ring: u32,
    /// Drawn anew for each image.
    key: Option<HashKey>,
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
            lists: ListCounts::default(),
            reader: None,
            place: None,
            listener,
        })
    }

    /// Says whose lists a generation is of, before it judges the first packet.
    pub(super) fn announce(&self, generation: &Header, image: &Image) {
        self.log.set_names(
            generation.generation,
            Names {
                policies: POLICIES.map(Arc::from).into(),
                lists: image
                    .lists()
                    .iter()
                    .map(|list| list.name.as_str().into())
                    .collect(),
            },
        );
    }

    /// Goes on where the filter is now: with its ring, its counts, and the lists of `image` if
    /// that is what it has.
    pub(super) fn follow(&mut self, side: &mut Side, image: &Image) -> Result<(), Error> {
        let active = side.maps().active();
        let place = Place {
            ring: side.maps().events_id()?,
            key: active.map(|header| header.key),
        };
        let before = self.place;
        if before.map(|before| before.ring) == Some(place.ring) {
            self.count(side)?;
        } else {
            self.read(side)?;
            self.lists.start_at(&tallies(side, self.lists.len())?);
        }
        if before != Some(place) {
            self.name(
                side,
                active.filter(|active| active.key == image.header().key),
                image,
            )?;
        }
        self.place = Some(place);
        self.log.note_lost(side.maps().counters()?.events_lost());
        Ok(())
    }

    /// Names what is counted by the lists of an image, or leaves it without names.
    fn name(&mut self, side: &Side, active: Option<Header>, image: &Image) -> Result<(), Error> {
        let lists = active.map_or(&[][..], |_| image.lists());
        let counts = tallies(side, lists.len())?;
        self.lists.rename(lists, &counts);
        if let Some(active) = active {
            self.announce(&active, image);
        }
        Ok(())
    }

    /// Reads the ring of the maps as they are now, in place of the one before.
    fn read(&mut self, side: &mut Side) -> Result<(), Error> {
        // What is left in the one before is told first.
        self.reader = None;
        if self.log.config().queries != LogQueries::Off {
            self.reader = Some(self.log.read(side.maps().events()?)?);
        }
        // Off, too: a daemon that was killed may have left it on.
        Ok(tell(side, self.log.config())?)
    }

    /// Adds what was counted since the last time.
    pub(super) fn count(&mut self, side: &Side) -> Result<(), kernel::Error> {
        self.lists.add(&tallies(side, self.lists.len())?);
        Ok(())
    }

    /// Leaves a filter that goes on: nobody would read what it tells.
    pub(super) fn leave(&mut self, side: &mut Side) {
        // It may be gone; and full, the ring takes nothing more.
        let _ = tell(side, &LogConfig::default());
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
fn tell(side: &mut Side, log: &LogConfig) -> Result<(), kernel::Error> {
    side.change(|maps| {
        maps.set_log(log);
        Ok(())
    })
}

/// Queries of the first lists.
fn tallies(side: &Side, lists: usize) -> Result<Vec<u64>, kernel::Error> {
    let in_use = InUse { policies: 0, lists };
    Ok(side.maps().tallies(in_use)?.lists)
}

/// Seconds of the UNIX epoch.
pub(super) fn now_s() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs()
}
