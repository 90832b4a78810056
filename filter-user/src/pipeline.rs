//! From the lists of a configuration to an image.
//!
//! Owns which file is read when: lists are read side by side on all cores,
//! and one that did not change is not read again. What lines mean is `list`'s
//! business, what rules mean together is `compile`'s.

use std::{
    collections::HashMap,
    fs::File,
    io::{self, Read},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use filter_common::{layout::Settings, rule::AnswerKind};
use rayon::prelude::*;
use serde::Serialize;

use crate::{
    compile::{self, CompileError, ListBuilder, ListInfo},
    config::{Config, ListConfig, TTL_DEFAULT_S},
    image::Image,
    list,
    rule::Answer,
};

/// EDE INFO-CODE of a block that the operator decided (RFC 8914 §4.16).
const EDE_BLOCKED: u8 = 15;

/// Why no image came out.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file cannot be opened.
    #[error("open list '{path}'")]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file is no list.
    #[error("read list '{path}'")]
    List {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: list::Error,
    },
    /// A file has no rule at all: mostly the wrong file, and never a filter.
    #[error(
        "read list '{path}': no rule in {lines} lines; `nxdp compile` shows what became of them"
    )]
    Empty {
        /// The file.
        path: PathBuf,
        /// Lines read.
        lines: u64,
    },
    /// The rules do not fit together.
    #[error("compile lists")]
    Compile(#[source] CompileError),
}

/// How far reading is.
#[derive(Clone, Debug)]
pub struct Progress {
    /// The list that was read last.
    pub list: String,
    /// Bytes read of all lists.
    pub done_bytes: u64,
    /// Bytes to read of all lists.
    pub total_bytes: u64,
}

/// What became of the lists.
#[derive(Debug)]
pub struct Compiled {
    /// The image.
    pub image: Image,
    /// The account of each list, in the order of the configuration.
    pub lists: Vec<ListOutcome>,
    /// Reading.
    pub read: Duration,
    /// Merging, building and checking.
    pub build: Duration,
}

/// The account of one list.
#[derive(Clone, Debug, Serialize)]
pub struct ListOutcome {
    /// Its name.
    pub name: String,
    /// Its file.
    pub path: PathBuf,
    /// What became of its lines.
    pub report: list::Report,
}

/// The lists as they were read last.
#[derive(Debug, Default)]
pub struct Sources {
    read: Mutex<HashMap<PathBuf, Arc<ReadList>>>,
}

/// A list that was read.
#[derive(Debug)]
struct ReadList {
    stamp: Stamp,
    config: ListConfig,
    builder: ListBuilder,
    report: list::Report,
}

/// Inode, size and time of a file.
type Stamp = (u64, u64, i64, i64);

impl Sources {
    /// Reads what changed and compiles everything; `seed` makes the image reproducible.
    pub fn compile(
        &self,
        config: &Config,
        seed: Option<u64>,
        progress: &(impl Fn(Progress) + Sync),
    ) -> Result<Compiled, Error> {
        let start = Instant::now();
        let meter = Meter::new(config, progress);
        let lists: Vec<Arc<ReadList>> = config
            .lists
            .par_iter()
            .map(|list| self.list(list, &meter))
            .collect::<Result<_, _>>()?;
        let read = start.elapsed();
        let start = Instant::now();
        let builders: Vec<&ListBuilder> = lists.iter().map(|list| &list.builder).collect();
        let options = compile::Options {
            seed,
            settings: settings(config),
            ..compile::Options::default()
        };
        let image = compile::compile(&builders, &options).map_err(Error::Compile)?;
        Ok(Compiled {
            image,
            lists: lists.iter().map(|list| list.outcome()).collect(),
            read,
            build: start.elapsed(),
        })
    }

    /// The list as it is now, read again only if its file or its settings changed.
    fn list<P: Fn(Progress) + Sync>(
        &self,
        config: &ListConfig,
        meter: &Meter<'_, P>,
    ) -> Result<Arc<ReadList>, Error> {
        let open = |source| Error::Open {
            path: config.path.clone(),
            source,
        };
        let file = File::open(&config.path).map_err(open)?;
        let stamp = stamp(&file).map_err(open)?;
        let known = self.known().get(&config.path).cloned();
        if let Some(known) = known
            && known.stamp == stamp
            && known.config == *config
        {
            meter.skip(config, stamp.1);
            return Ok(known);
        }
        let list = Arc::new(ReadList::read(config, file, stamp, meter)?);
        self.known().insert(config.path.clone(), Arc::clone(&list));
        Ok(list)
    }

    fn known(&self) -> std::sync::MutexGuard<'_, HashMap<PathBuf, Arc<ReadList>>> {
        // Lists are whole whenever they are in the map.
        self.read.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ReadList {
    fn read<P: Fn(Progress) + Sync>(
        config: &ListConfig,
        file: File,
        stamp: Stamp,
        meter: &Meter<'_, P>,
    ) -> Result<Self, Error> {
        let mut builder = ListBuilder::new(info(config));
        let options = list::Options {
            format: config.format,
            scope: config.scope.unwrap_or_default(),
            file_name: config
                .path
                .file_name()
                .map(|name| name.to_string_lossy().into_owned()),
        };
        let reader = Metered {
            file,
            meter,
            name: config.name(),
        };
        let report = list::parse(reader, &options, &mut |line: u32, rule: &_| {
            builder.rule(line, rule);
        })
        .map_err(|source| Error::List {
            path: config.path.clone(),
            source,
        })?;
        if report.rules == 0 {
            return Err(Error::Empty {
                path: config.path.clone(),
                lines: report.lines,
            });
        }
        Ok(Self {
            stamp,
            config: config.clone(),
            builder,
            report,
        })
    }

    fn outcome(&self) -> ListOutcome {
        ListOutcome {
            name: self.config.name(),
            path: self.config.path.clone(),
            report: self.report.clone(),
        }
    }
}

fn info(config: &ListConfig) -> ListInfo {
    let name = config.name();
    let text = config.text.clone().unwrap_or_else(|| truncated(&name));
    ListInfo {
        answer: config.answer.map(|answer| Answer::of(answer.into())),
        ede_text: Some(text),
        ..ListInfo::new(&name, &config.path.to_string_lossy())
    }
}

/// As much of `text` as an answer carries.
fn truncated(text: &str) -> String {
    let end = text.floor_char_boundary(filter_common::layout::TEXT_MAX_BYTES);
    text[..end].to_owned()
}

fn settings(config: &Config) -> Settings {
    Settings {
        ttl_s: config.ttl_s.unwrap_or(TTL_DEFAULT_S),
        answer: AnswerKind::from(config.answer) as u8,
        ede_code: EDE_BLOCKED,
        ..Settings::default()
    }
}

fn stamp(file: &File) -> io::Result<Stamp> {
    let metadata = file.metadata()?;
    Ok((
        metadata.ino(),
        metadata.size(),
        metadata.mtime(),
        metadata.mtime_nsec(),
    ))
}

/// Counts bytes over all lists and tells.
struct Meter<'a, P> {
    done_bytes: AtomicU64,
    total_bytes: u64,
    progress: &'a P,
}

impl<'a, P: Fn(Progress) + Sync> Meter<'a, P> {
    fn new(config: &Config, progress: &'a P) -> Self {
        let size = |path: &Path| std::fs::metadata(path).map_or(0, |metadata| metadata.len());
        Self {
            done_bytes: AtomicU64::new(0),
            total_bytes: config.lists.iter().map(|list| size(&list.path)).sum(),
            progress,
        }
    }

    fn skip(&self, list: &ListConfig, bytes: u64) {
        self.add(&list.name(), bytes);
    }

    fn add(&self, list: &str, bytes: u64) {
        let done_bytes = self.done_bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        (self.progress)(Progress {
            list: list.to_owned(),
            done_bytes,
            total_bytes: self.total_bytes,
        });
    }
}

/// A file whose reading is counted.
struct Metered<'a, P> {
    file: File,
    meter: &'a Meter<'a, P>,
    name: String,
}

impl<P: Fn(Progress) + Sync> Read for Metered<'_, P> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = self.file.read(buffer)?;
        self.meter.add(&self.name, bytes as u64);
        Ok(bytes)
    }
}
