//! What is in force without a daemon, and what root may do about it.
//!
//! The filter goes on when its daemon is dead: whoever looks must see it, and an operator must be able to
//! let a name through at once. What is said here is written where the daemon would write it: into
//! the kernel's maps, under their lock, and into the journal, from which the next daemon goes on.

use std::path::PathBuf;

use filter_common::layout::{Header, RECORD_BYTES};
use filter_kernel::{Maps, Pinned, Pins, Prefix, features};
use filter_lists::image::ListInfo;

use super::{interfaces::Interfaces, kernel_handle::program_status, state::State};
use crate::{
    config::{self, Config, DEFAULT_POLICY, PolicyConfig},
    control::{ClientsStatus, ListStatus, PROTOCOL_VERSION, Stats, Status},
    enforcement::{self, Enforcement, EnforcementStatus, Outcome, OverridesStatus, Plan, Request},
    overrides::{Journal, JournalError, OverrideClients, OverrideSet},
    policy::{Categories, Numbers},
};

/// A filter whose daemon does not answer.
#[derive(Clone, Debug)]
pub struct Offline {
    /// Where it is pinned.
    pub pins: PathBuf,
    /// The folder of the daemon's state.
    pub state: PathBuf,
    /// The configuration, if it can be read.
    pub config: Option<Config>,
}

/// Why nothing can be told or done.
#[derive(Debug, thiserror::Error)]
pub enum OfflineError {
    /// The pins cannot be used.
    #[error(transparent)]
    Kernel(#[from] filter_kernel::Error),
    /// The interfaces cannot be listed.
    #[error(transparent)]
    Interfaces(#[from] features::Error),
    /// The journal cannot be read.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The configuration makes no sense.
    #[error(transparent)]
    Config(#[from] config::Error),
    /// It cannot be put in force.
    #[error(transparent)]
    Enforcement(#[from] enforcement::Error),
    /// A daemon runs all the same.
    #[error(
        "a daemon uses this filter, and does not answer here: name its socket with `--socket`, or look at `journalctl -u nxdp`"
    )]
    HasDaemon,
}

impl Offline {
    /// Whether anything is pinned.
    pub fn is_loaded(&self) -> bool {
        Pins::at(&self.pins).exist()
    }

    /// What is in force.
    ///
    /// # Errors
    ///
    /// When the pins cannot be opened.
    pub fn status(&self) -> Result<Status, OfflineError> {
        let (maps, program) = filter_kernel::look(&Pins::at(&self.pins))?;
        let config = self.config.clone().unwrap_or_default();
        let mut interfaces = Interfaces::of(&config);
        let header = maps.active();
        let names = header.map_or(0, |header| header.name_count);
        let generation_bytes = bytes_of(header);
        let (overrides, overrides_error) = self.overrides_status(&maps)?;
        let looked = interfaces.look_once(program.id)?;
        // What the kernel has of them: without a keeper it may be behind the machine.
        let known = maps.on_link()?;
        let mut on_link = features::on_link(&interfaces.indexes())?;
        on_link.retain(|network, _| known.contains(&Prefix::from(*network)));
        Ok(Status {
            version: PROTOCOL_VERSION,
            interfaces: looked,
            clients: ClientsStatus {
                on_link,
                listed: config.clients.clone(),
                ..ClientsStatus::default()
            },
            generation: header.map_or(0, |header| header.generation),
            names,
            generation_bytes,
            table_bytes: u64::from(maps.capacity()) * RECORD_BYTES as u64,
            bytes_per_name: generation_bytes as f64 / f64::from(names.max(1)),
            lists: header.map_or_else(Vec::new, |header| self.lists_behind(&header)),
            program: Some(program_status(program)),
            overrides_error,
            enforcement: EnforcementStatus {
                policies: Vec::new(),
                overrides,
            },
            ..Status::default()
        })
    }

    /// What was counted.
    ///
    /// # Errors
    ///
    /// As [`Self::status`].
    pub fn stats(&self) -> Result<Stats, OfflineError> {
        let (maps, _) = filter_kernel::look(&Pins::at(&self.pins))?;
        let counters = maps.counters()?;
        let packets = counters.iter();
        Ok(Stats {
            version: PROTOCOL_VERSION,
            generation: maps.active().map_or(0, |header| header.generation),
            packets: packets
                .map(|(reason, count)| (reason.name().to_owned(), count))
                .collect(),
            ..Stats::default()
        })
    }

    /// Changes or lists overrides, as the daemon would.
    ///
    /// # Errors
    ///
    /// When there is a daemon, or as [`Enforcement::apply`].
    pub fn overrides(&self, request: Request) -> Result<Outcome, OfflineError> {
        let mut pinned = match Pinned::open(Pins::at(&self.pins)) {
            Err(filter_kernel::Error::SecondDaemon(_)) => return Err(OfflineError::HasDaemon),
            other => other?,
        };
        let journal = Journal::open(&self.journal())?;
        let names = policy_names(&journal.1, &request);
        let plan = self.plan(names, &pinned.maps)?;
        let outcome: Result<Outcome, enforcement::Error> =
            pinned.change(|maps| Enforcement::visit(plan, journal, maps)?.apply(request, maps));
        Ok(outcome?)
    }

    /// As much of a plan as overrides need: the policies that the maps hold, by those names that
    /// are known.
    fn plan(&self, names: Vec<String>, maps: &Maps) -> Result<Plan, OfflineError> {
        let configured = self.config.iter().flat_map(|config| config.policies.iter());
        let unfiltered = |name: &str| {
            let config = self.config.as_ref();
            config.is_some_and(|config| config.policies.get(name).is_some_and(|p| p.unfiltered))
        };
        let mut known = Config::default();
        for name in names
            .into_iter()
            .chain(configured.map(|(name, _)| name.clone()))
        {
            let unfiltered = unfiltered(&name);
            let policy = PolicyConfig {
                unfiltered,
                ..PolicyConfig::default()
            };
            known.policies.insert(name, policy);
        }
        let numbers: Numbers = enforcement::numbers_in(maps, &known)?;
        let is_in_force = |name: &str| name == DEFAULT_POLICY || numbers.contains_key(name);
        known.policies.retain(|name, _| is_in_force(name));
        Ok(Plan::of(&known, &Categories::default(), &numbers)?)
    }

    fn journal(&self) -> PathBuf {
        let config = self.config.clone().unwrap_or_default();
        State::at(&self.state).overrides(&config)
    }

    /// What the maps hold, and what the journal says of it or why it says nothing.
    fn overrides_status(
        &self,
        maps: &Maps,
    ) -> Result<(OverridesStatus, Option<String>), OfflineError> {
        let records = maps.override_records()?.len();
        let (book, why) = match Journal::open(&self.journal()) {
            Ok((_, book)) => (book, None),
            Err(error) => (OverrideSet::default(), Some(super::error_chain(&error))),
        };
        let standing = OverridesStatus {
            count: book.len(),
            records,
            next_end: book.next_end(),
        };
        Ok((standing, why))
    }

    /// The lists of the last image, if that is the one in force.
    fn lists_behind(&self, active: &Header) -> Vec<ListStatus> {
        let kept = State::at(&self.state).open().ok().flatten();
        let Some(image) = kept.filter(|image| image.header().key == active.key) else {
            return Vec::new();
        };
        let list = |list: &ListInfo| ListStatus {
            name: list.name.clone(),
            path: list.path.clone().into(),
            rules: image.rules_of(list).unwrap_or(0),
        };
        image.lists().iter().map(list).collect()
    }
}

fn bytes_of(header: Option<Header>) -> u64 {
    header.map_or(0, |header| {
        u64::from(header.record_count) * RECORD_BYTES as u64
    })
}

/// The policies that overrides are for.
fn policy_names(book: &OverrideSet, request: &Request) -> Vec<String> {
    let of_request: Vec<&OverrideClients> = match request {
        Request::Add(specs) => specs.iter().map(|spec| &spec.clients).collect(),
        Request::Resume(clients) => vec![clients],
        Request::Remove(_) | Request::List => Vec::new(),
    };
    let of_book = book.iter().map(|entry| &entry.spec.clients);
    let names = of_book
        .chain(of_request)
        .filter_map(|clients| match clients {
            OverrideClients::Policy(name) => Some(name.clone()),
            OverrideClients::Everybody | OverrideClients::Mac(_) | OverrideClients::Address(_) => {
                None
            }
        });
    names.collect()
}
