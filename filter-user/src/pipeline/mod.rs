//! From the lists of a configuration to an image.
//!
//! Owns which file is read when: lists are read side by side on all cores,
//! and one that did not change is not read again. What lines mean is `list`'s
//! business, what rules mean together is `compile`'s.

mod account;
mod bypass;
mod choose;
mod custom;
mod error;
mod guards;
mod meter;
mod probes;
mod replace;
mod share;
mod terms;

use std::{
    collections::HashMap,
    io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use filter_lists::{
    compile::{self, ListBuilder},
    guard::{Finding, Refusal},
    image::{Image, Kind, ListInfo},
    input::Input,
    list,
};
use rayon::prelude::*;
use serde::Serialize;

pub use self::custom::Custom;
pub use self::error::Error;
pub use self::guards::{guarded_names, popular_names};
pub use self::probes::Probes;
pub use self::replace::{Rejected, Replacement};
use self::{
    guards::{guards, popular},
    meter::{Meter, Metered},
    terms::{info, settings},
};
use crate::{
    config::{Config, ListConfig},
    identity,
    policy::Categories,
};

/// What is wanted besides the configuration.
#[derive(Clone, Copy, Debug, Default)]
pub struct Request<'a> {
    /// Makes the image reproducible.
    pub seed: Option<u64>,
    /// The image that the new one is to replace: lists may not differ from it too much.
    pub previous: Option<&'a Image>,
    /// What the guards do.
    pub guarding: Guarding,
    /// Files that are read instead of those that the configuration names.
    pub replacements: &'a [Replacement],
    /// What becomes of lists with an address whose copy is missing or damaged.
    pub damaged: Damaged,
    /// What is compiled.
    pub part: Part,
    /// The image of custom categories that is in force.
    pub previous_custom: Option<&'a Image>,
}

/// What is compiled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Part {
    /// Lists and custom categories.
    #[default]
    All,
    /// Lists alone: the custom categories that are in force stay.
    Lists,
}

/// What becomes of lists with an address whose copy is missing or damaged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Damaged {
    /// They are an error.
    #[default]
    Refuse,
    /// They are left out, in [`Compiled::left_out`], if the image before had nothing of them:
    /// somebody fetches them.
    LeaveOut,
}

/// What the guards do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Guarding {
    /// They refuse: for images that go live.
    #[default]
    Refuse,
    /// They tell, in [`Compiled::findings`]; the caller refuses.
    Tell,
    /// They are not asked: for images that are only looked at.
    Skip,
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
#[derive(Debug, Default)]
pub struct Compiled {
    /// The image.
    pub image: Arc<Image>,
    /// The bits of the categories in the image.
    pub categories: Categories,
    /// The account of each list, in the order of the configuration.
    pub lists: Vec<ListOutcome>,
    /// What the guards found.
    pub findings: Vec<Finding>,
    /// Names that the image must decide alike wherever it is.
    pub probes: Probes,
    /// What became of custom categories; `None` if there are none, or if they were not compiled.
    pub custom: Option<Custom>,
    /// Lists without a copy that can be read; they have no rules in the image.
    pub left_out: Vec<Rejected>,
    /// Replacements that the guards did not let pass.
    pub refused: Vec<Rejected>,
    /// Reading.
    pub read: Duration,
    /// Merging, building and checking.
    pub build: Duration,
}

impl Compiled {
    /// The images that there are, of lists first.
    pub fn images(&self) -> Vec<&Image> {
        let custom = self.custom.iter().map(|custom| &*custom.image);
        [&*self.image].into_iter().chain(custom).collect()
    }

    /// Fails if the image must not go live.
    pub fn admit(&self) -> Result<(), Error> {
        refuse(&self.findings)?;
        self.custom.as_ref().map_or(Ok(()), Custom::admit)
    }

    /// Everything that the guards found.
    pub fn all_findings(&self) -> impl Iterator<Item = &Finding> {
        let custom = self.custom.iter().flat_map(|custom| &custom.findings);
        self.findings.iter().chain(custom)
    }

    /// The accounts of all lists, those of custom categories last.
    pub fn all_lists(&self) -> impl Iterator<Item = &ListOutcome> {
        let custom = self.custom.iter().flat_map(|custom| &custom.lists);
        self.lists.iter().chain(custom)
    }
}

fn refuse(findings: &[Finding]) -> Result<(), Error> {
    match Refusal::of(findings) {
        Some(refusal) => Err(refusal.into()),
        None => Ok(()),
    }
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
    reads: AtomicUsize,
    /// Instead of what the system says.
    memory_bytes: Option<u64>,
}

/// A list that was read.
#[derive(Debug)]
struct ReadList {
    stamp: Stamp,
    config: ListConfig,
    /// What the configuration says of it.
    info: ListInfo,
    builder: ListBuilder,
    report: list::Report,
    /// Why it is empty, if it should not be.
    left_out: Option<String>,
}

/// Inode, size and times of a file.
///
/// The time of the last change cannot be set by whoever writes to it: a file that was written
/// without its size and its time of modification becoming others is known by it.
type Stamp = (u64, u64, [(i64, i64); 2]);

impl Sources {
    /// Reads what changed and compiles everything.
    ///
    /// # Errors
    ///
    /// When a list cannot be read, the rules do not fit into an image, or the guards refuse it.
    pub fn compile(
        &self,
        config: &Config,
        request: &Request<'_>,
        progress: &(impl Fn(Progress) + Sync),
    ) -> Result<Compiled, Error> {
        let start = Instant::now();
        let former = request.previous.into_iter().chain(request.previous_custom);
        let categories = Categories::after(config, former.flat_map(Image::lists));
        let guards = guards(config, &categories, Kind::Lists)?;
        let mut check_names = popular(config)?;
        check_names.extend(guards.never_blocked());
        let meter = Meter::new(&config.lists, progress);
        let lists: Vec<Arc<ReadList>> = config
            .lists
            .par_iter()
            .map(|list| self.list(config, &categories, request, list, &meter))
            .collect::<Result<_, _>>()?;
        self.known().retain(|path, _| {
            lists.iter().any(|list| list.config.path == *path)
                || config.custom_files().any(|own| own == *path)
        });
        let left_out: Vec<_> = lists.iter().filter_map(|list| list.rejected()).collect();
        if let Some(first) = left_out.first()
            && left_out.len() == lists.len()
            && config.custom.is_empty()
        {
            let first = first.clone();
            return Err(Error::Nothing { first });
        }
        self.refuse_too_much(&lists, request)?;
        let read = start.elapsed();
        let start = Instant::now();
        let built_in = bypass::list(config, &categories);
        // Behind the lists of the configuration, whose numbers are their positions.
        let builders: Vec<&ListBuilder> = lists
            .iter()
            .map(|list| &list.builder)
            .chain(&built_in)
            .collect();
        let options = compile::Options {
            seed: request.seed,
            settings: settings(config),
            check_names: &check_names,
            kind: Kind::Lists,
        };
        let image = compile::compile(&builders, &options).map_err(Error::Compile)?;
        let findings = match request.guarding {
            Guarding::Skip => Vec::new(),
            Guarding::Refuse | Guarding::Tell => guards.check(&builders, &image, request.previous),
        };
        let mut outcomes: Vec<_> = lists.iter().map(|list| list.outcome()).collect();
        account::finish(&mut outcomes, &image);
        let probes = Probes::of(&builders, &image);
        let build = start.elapsed();
        let custom = match request.part {
            Part::All => self
                .compile_custom(config, &categories, request.seed, request.guarding)
                .map_err(|error| Error::Custom(Box::new(error)))?,
            Part::Lists => None,
        };
        let compiled = Compiled {
            image: Arc::new(image),
            categories,
            custom,
            lists: outcomes,
            findings,
            probes,
            left_out,
            refused: Vec::new(),
            read,
            build,
        };
        if request.guarding == Guarding::Refuse {
            compiled.admit()?;
        }
        Ok(compiled)
    }

    /// Forgets what was read, and reads everything again next time.
    pub fn forget(&self) {
        self.known().clear();
    }

    /// How many times a list was read, over all compilations.
    pub fn reads(&self) -> usize {
        self.reads.load(Ordering::Relaxed)
    }

    /// The list that is in a file, read again only if the file or the settings changed.
    fn file<P: Fn(Progress) + Sync>(
        &self,
        categories: &Categories,
        config: &ListConfig,
        path: &Path,
        meter: &Meter<'_, P>,
        accept: fn(&ListConfig, &list::Report) -> Result<(), Error>,
    ) -> Result<Arc<ReadList>, Error> {
        let info = info(categories, config);
        self.file_as(info, config, path, meter, accept)
    }

    fn file_as<P: Fn(Progress) + Sync>(
        &self,
        info: ListInfo,
        config: &ListConfig,
        path: &Path,
        meter: &Meter<'_, P>,
        accept: fn(&ListConfig, &list::Report) -> Result<(), Error>,
    ) -> Result<Arc<ReadList>, Error> {
        let open = |error: io::Error| match &config.url {
            Some(url) if error.kind() == io::ErrorKind::NotFound => Error::NoCopy {
                name: config.name(),
                url: url.to_string(),
            },
            _ => Error::Open {
                path: config.path.clone(),
                error,
            },
        };
        let file = match &config.url {
            // Whoever may write copies decides where a link there leads.
            Some(_) => identity::as_owner(path, || Input::open(path)),
            None => Input::open(path),
        };
        let file = file.map_err(open)?;
        let metadata = file.file().metadata().map_err(open)?;
        let stamp = stamp(&metadata, config.url.is_some());
        let known = self.known().get(&config.path).cloned();
        if let Some(known) = known
            && known.stamp == stamp
            && known.config == *config
            && known.info == info
        {
            meter.skip(config, stamp.1);
            return Ok(known);
        }
        self.reads.fetch_add(1, Ordering::Relaxed);
        let builder = ListBuilder::new(info).bounded(self.most_of_one());
        let list = Arc::new(ReadList::read(config, builder, file, stamp, meter)?);
        accept(config, &list.report)?;
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
        mut builder: ListBuilder,
        file: Input,
        stamp: Stamp,
        meter: &Meter<'_, P>,
    ) -> Result<Self, Error> {
        let info = builder.info().clone();
        let options = config.parse_options();
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
        if let Some(excess) = builder.excess() {
            let path = config.path.clone();
            return Err(Error::Excess { path, excess });
        }
        builder.set_info(ListInfo {
            serial: report.zone.as_ref().map(|zone| zone.serial),
            ..info.clone()
        });
        Ok(Self {
            stamp,
            config: config.clone(),
            info,
            builder,
            report,
            left_out: None,
        })
    }

    /// A list without rules in the place of one that cannot be read.
    fn left_out(config: &ListConfig, info: ListInfo, error: &Error) -> Self {
        Self {
            stamp: Stamp::default(),
            config: config.clone(),
            builder: ListBuilder::new(info.clone()),
            info,
            report: list::Report::new(config.format.unwrap_or(list::Format::Domains)),
            left_out: Some(with_cause(error)),
        }
    }

    fn rejected(&self) -> Option<Rejected> {
        Some(Rejected {
            path: self.config.path.clone(),
            why: self.left_out.clone()?,
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

/// So many lines of a list without a rule are told; an error is read on a terminal.
const SAMPLES_TOLD: usize = 3;

fn refuse_empty(config: &ListConfig, report: &list::Report) -> Result<(), Error> {
    match report.rules {
        0 if !config.may_be_empty => Err(Error::Empty {
            path: config.path.clone(),
            lines: report.lines,
            format: report.format,
            samples: telling(&report.samples),
        }),
        _ => Ok(()),
    }
}

/// The samples that tell best why there is no rule: lines that should have been some go first.
fn telling(samples: &[list::Sample]) -> Vec<list::Sample> {
    let is_aside = |sample: &&list::Sample| sample.kind == list::Kind::Ignored;
    let (aside, meant): (Vec<_>, Vec<_>) = samples.iter().partition(is_aside);
    let all = meant.into_iter().chain(aside);
    all.take(SAMPLES_TOLD).cloned().collect()
}

fn with_cause(error: &Error) -> String {
    match std::error::Error::source(error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

/// The stamp of a file; that of a copy does not change when a candidate takes its place.
fn stamp(metadata: &std::fs::Metadata, is_copy: bool) -> Stamp {
    let changed = match is_copy {
        true => (0, 0),
        false => (metadata.ctime(), metadata.ctime_nsec()),
    };
    (
        metadata.ino(),
        metadata.size(),
        [(metadata.mtime(), metadata.mtime_nsec()), changed],
    )
}
