//! Custom categories: a small image of the operator's own names, beside that of the lists.
//!
//! Owns what is asked of the operator's files: each line must be understood, for he wrote it,
//! and a file may be empty, for he may have emptied it. How much they change at once is his
//! business, too. Everything else is as for lists.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use filter_lists::{
    compile::{self, ListBuilder},
    guard::Finding,
    image::{Image, Kind},
    list,
};

use super::{
    Error, Guarding, ListOutcome, Probes, Progress, Sources, account,
    guards::{guards, popular},
    meter::Meter,
    refuse,
    terms::settings,
};
use crate::{
    config::{Config, ListConfig},
    policy::Categories,
};

/// What became of the files of custom categories.
#[derive(Clone, Debug, Default)]
pub struct Custom {
    /// The image.
    pub image: Arc<Image>,
    /// The account of each file, in the order of [`Config::custom_lists`].
    pub lists: Vec<ListOutcome>,
    /// What the guards found.
    pub findings: Vec<Finding>,
    /// Names that the image must decide alike wherever it is.
    pub probes: Probes,
    /// Reading, building and checking.
    pub took: Duration,
}

impl Custom {
    /// Fails if the image must not go live.
    pub fn admit(&self) -> Result<(), Error> {
        refuse(&self.findings)
    }
}

impl Sources {
    /// Compiles the operator's own names alone; `None` if there are none.
    ///
    /// `categories` are those of the policies in force.
    ///
    /// # Errors
    ///
    /// When a file cannot be read or has an invalid line, the rules do not fit into an image, or
    /// the guards refuse it.
    pub fn compile_custom(
        &self,
        config: &Config,
        categories: &Categories,
        seed: Option<u64>,
        guarding: Guarding,
    ) -> Result<Option<Custom>, Error> {
        if config.custom.is_empty() {
            return Ok(None);
        }
        let start = Instant::now();
        let guards = guards(config, categories, Kind::Custom)?;
        let files = config.custom_lists();
        let quiet = |_: Progress| {};
        let meter = Meter::new(&files, &quiet);
        let lists = files
            .iter()
            .map(|file| self.file(categories, file, &file.path, &meter, refuse_invalid))
            .collect::<Result<Vec<_>, _>>()?;
        let builders: Vec<&ListBuilder> = lists.iter().map(|list| &list.builder).collect();
        let mut check_names = popular(config)?;
        check_names.extend(guards.never_blocked());
        let options = compile::Options {
            seed,
            settings: settings(config),
            check_names: &check_names,
            kind: Kind::Custom,
        };
        let image = compile::compile(&builders, &options).map_err(Error::Compile)?;
        let findings = match guarding {
            Guarding::Skip => Vec::new(),
            Guarding::Refuse | Guarding::Tell => guards.check(&builders, &image, None),
        };
        let mut outcomes: Vec<_> = lists.iter().map(|list| list.outcome()).collect();
        account::finish(&mut outcomes, &image);
        let custom = Custom {
            probes: Probes::of(&builders, &image),
            image: Arc::new(image),
            lists: outcomes,
            findings,
            took: start.elapsed(),
        };
        if guarding == Guarding::Refuse {
            custom.admit()?;
        }
        Ok(Some(custom))
    }
}

fn refuse_invalid(config: &ListConfig, report: &list::Report) -> Result<(), Error> {
    let mut samples = report.samples.iter();
    match samples.find(|sample| sample.kind == list::Kind::Invalid) {
        Some(sample) => Err(Error::Line {
            path: config.path.clone(),
            line: sample.line,
            reason: sample.reason.clone(),
            text: sample.text.clone(),
        }),
        None => Ok(()),
    }
}
