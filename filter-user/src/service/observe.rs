//! What the service tells of itself and of the traffic: query log, metrics, reloads.

use std::{
    os::unix::fs::MetadataExt as _,
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

use super::Error;
use crate::{
    config::{Config, LogQueries},
    control::Reloads,
    kernel::Filter,
    metrics::{self, Listener},
    pipeline::Compiled,
    querylog::{Names, QueryLog, Reader},
};

/// Policies by number.
pub(super) const POLICIES: [&str; 1] = ["default"];

/// What watches a running filter.
pub(super) struct Observer {
    pub(super) log: QueryLog,
    pub(super) reloads: Reloads,
    /// When the files of the active lists had changed last, in their order.
    pub(super) modified_at_s: Vec<u64>,
    reader: Option<Reader>,
    listener: Option<Listener>,
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
            modified_at_s: Vec::new(),
            reader: None,
            listener,
        })
    }

    /// Notes that these lists are in force now.
    pub(super) fn activated(&mut self, compiled: &Compiled) {
        let lists = compiled.lists.iter();
        self.log.set_names(Names {
            policies: POLICIES.map(Into::into).into(),
            lists: lists
                .clone()
                .map(|list| list.name.as_str().into())
                .collect(),
        });
        self.modified_at_s = lists.map(|list| modified_at_s(&list.path)).collect();
        self.reloads.done_at_s = seconds(SystemTime::now());
    }

    /// Reads what `filter` tells of queries; hands back the reader of the filter before it,
    /// which is to be dropped when that one sees no more packets.
    pub(super) fn read(&mut self, filter: &mut Filter) -> Result<Option<Reader>, Error> {
        if self.log.config().queries == LogQueries::Off {
            return Ok(None);
        }
        let reader = self.log.read(filter.take_events()?)?;
        filter.set_log(self.log.config());
        Ok(self.reader.replace(reader))
    }

    /// The next client that wants metrics; waits for ever if they are not listened for.
    pub(super) async fn scrape(&mut self) -> metrics::Asked {
        match &mut self.listener {
            Some(listener) => listener.next().await,
            None => std::future::pending().await,
        }
    }
}

fn modified_at_s(path: &Path) -> u64 {
    let modified = std::fs::metadata(path).map(|metadata| metadata.mtime());
    modified.map_or(0, |seconds| seconds.try_into().unwrap_or(0))
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs()
}
