//! Lists and configuration change while the filter runs: all of it, or nothing.
//!
//! Reads, checks and compiles in the background, beside what is in force. Only
//! when all of that went well does anything change; the filter is without its
//! lists at no time.

use std::{path::Path, sync::Arc};

use filter_common::layout::CONTROL_PASSES;
use filter_lists::image::Image;
use tokio::task::JoinHandle;

use super::{
    Error, Service, answerer, clients, error_chain, kernel_handle, refresh::Judged, watch::Watch,
};
use crate::{
    config::{self, Config, LogConfig},
    enforcement::Plan,
    pipeline::{self, Compiled, Custom, Damaged, Part, Progress, Replacement, Request, Sources},
    policy::{Categories, Numbers},
};

/// Reads the configuration again, from where the first one came.
pub type Reread = dyn Fn() -> Result<Config, config::Error> + Send + Sync;

/// Why nothing was prepared.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] config::Error),
    /// The configuration asks for what a running filter cannot do.
    #[error(
        "the configuration changes {0}, which a running nxdp keeps: restart it, or take that back; \
         nothing of the configuration was changed"
    )]
    NeedsRestart(String),
    /// The lists cannot be compiled.
    #[error(transparent)]
    Pipeline(#[from] pipeline::Error),
}

impl Error {
    /// Whether the same lists would fail again.
    pub(super) fn is_of_lists(&self) -> bool {
        use pipeline::Error as Of;
        let Self::Prepare(PrepareError::Pipeline(error)) = self else {
            return false;
        };
        matches!(
            error,
            Of::Refused(_) | Of::Compile(_) | Of::Excess { .. } | Of::Memory { .. }
        )
    }

    /// The copy that has to be fetched again.
    pub(super) fn lost_copy(&self) -> Option<&Path> {
        match self {
            Self::Prepare(PrepareError::Pipeline(pipeline::Error::Lost { path, .. })) => Some(path),
            _ => None,
        }
    }
}

/// What is to be prepared.
#[derive(Debug)]
pub(super) struct Wanted {
    /// The image in force.
    pub(super) previous: Option<Arc<Image>>,
    /// That of custom categories.
    pub(super) previous_custom: Option<Arc<Image>>,
    /// Whether custom categories stay as they are.
    pub(super) part: Part,
    /// The numbers of its policies, which they keep.
    pub(super) numbers: Numbers,
    /// Lists that were fetched.
    pub(super) replacements: Vec<Replacement>,
    /// Whether an image is wanted even if no list that was fetched is fit for use.
    pub(super) is_needed: bool,
}

/// What goes into force together.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) config: Arc<Config>,
    pub(super) compiled: Compiled,
    pub(super) plan: Plan,
    pub(super) watch: Watch,
    pub(super) custom_watch: Watch,
    pub(super) part: Part,
    /// Why custom categories stay as they are, though they were to be read.
    pub(super) custom_error: Option<PrepareError>,
}

/// What was prepared.
#[derive(Debug)]
pub(super) enum Ready {
    /// Lists and configuration.
    All(Box<Prepared>),
    /// The operator's own names alone, and how their files were before.
    Custom(Option<Custom>, Watch),
}

/// What is being prepared in the background.
pub(super) type Preparing = JoinHandle<Result<Ready, PrepareError>>;

/// Everything is.
pub(super) type PreparingAll = JoinHandle<Result<Prepared, PrepareError>>;

/// Why something is loaded anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// The operator says so: the configuration may have changed, too.
    Hangup,
    /// The same, by the control socket.
    Asked,
    /// A list did.
    List,
    /// A file of a custom category did.
    Custom,
    /// The service has just started, beside what is in force.
    Start,
    /// Lists came from the network.
    Fetched,
    /// There is more room in the table.
    Room,
}

impl Cause {
    fn as_str(self) -> &'static str {
        match self {
            Self::Hangup => "SIGHUP",
            Self::Asked => "asked to",
            Self::List => "a list changed",
            Self::Custom => "names of a custom category changed",
            Self::Start => "start",
            Self::Fetched => "lists were fetched",
            Self::Room => "there is more room",
        }
    }
}

impl Service {
    pub(super) fn start_reload(&mut self, cause: Cause) {
        // One compilation at a time: two would need the memory of both.
        if self.reload.is_some() {
            // The running compilation may have read the file before it changed.
            match cause {
                Cause::Hangup | Cause::Asked => self.hung_up = true,
                Cause::List | Cause::Start | Cause::Fetched | Cause::Room => {
                    self.watch.look_again();
                }
                Cause::Custom => self.custom.watch.look_again(),
            }
            return;
        }
        self.display.reloading(cause.as_str());
        // Names of the operator's own are compiled alone, in milliseconds; not before the lists are
        // in force once.
        if cause == Cause::Custom && self.is_whole {
            self.custom.watch.note();
            self.custom.is_on_its_way = true;
            self.reload = Some(self.prepare_custom());
            return;
        }
        let part = match cause {
            // A file of names that is wrong keeps no list out.
            Cause::List | Cause::Fetched if self.is_whole && !self.lacks_custom() => Part::Lists,
            _ => Part::All,
        };
        let is_of_operator = matches!(cause, Cause::Hangup | Cause::Asked);
        // Noted before anything is read: a change that comes while it is read starts the next
        // reload.
        self.watch.note();
        if part == Part::All {
            self.custom.watch.note();
        }
        let custom = self.compiled.custom.as_ref();
        let running = Arc::clone(&self.config);
        let sources = Arc::clone(&self.sources);
        let wanted = Wanted {
            previous: Some(Arc::clone(&self.compiled.image)),
            previous_custom: custom.map(|custom| Arc::clone(&custom.image)),
            part,
            numbers: self.enforcement.numbers(),
            replacements: self.refresh.replacements(),
            is_needed: cause != Cause::Fetched,
        };
        // A list that changed on its own does not bring a half-edited configuration into force.
        let reread = is_of_operator.then(|| Arc::clone(&self.reread));
        self.reload = Some(tokio::task::spawn_blocking(move || {
            let config = match reread {
                Some(reread) => Arc::new(changed(&running, reread()?)?),
                None => running,
            };
            let prepared = match is_of_operator {
                true => {
                    // Who asks for it may know better than a file's times.
                    sources.forget();
                    prepare(config, &sources, &wanted, &|_| {})
                }
                false => prepare_lists_at_least(config, &sources, wanted),
            };
            Ok(Ready::All(Box::new(prepared?)))
        }));
    }

    /// Whether the configuration has custom categories and nothing of them is in force.
    fn lacks_custom(&self) -> bool {
        !self.config.custom.is_empty() && self.kernel.maps().active_custom().is_none()
    }

    pub(super) fn finish_reload(&mut self, ready: Result<Ready, Error>) {
        // Whose failure it is: a wrong file of own names must not be reported as one of the lists.
        let is_custom = std::mem::take(&mut self.custom.is_on_its_way);
        let done = ready.and_then(|ready| match ready {
            Ready::All(mut prepared) => {
                let left = prepared.custom_error.take();
                let done = self.put_in_force(*prepared);
                if let Some(error) = left {
                    self.refuse_custom(&error.into());
                }
                done
            }
            Ready::Custom(custom, watch) => self.put_custom_in_force(custom, watch),
        });
        let mut outcome = Ok(());
        match done {
            Ok(()) if is_custom => {}
            Err(error) if is_custom => self.refuse_custom(&error),
            Ok(()) => {
                (self.last_error, self.wish) = (None, None);
                self.observer.reloads.done += 1;
                self.admit();
            }
            Err(error) => {
                self.observer.reloads.failed += 1;
                let mut text = error_chain(&error);
                if let Some(way_out) = self.ask_for_room(&error) {
                    text = format!("{text}; {way_out}");
                }
                self.display.reload_failed(&text);
                // What was fetched is thrown away only where it is to blame.
                self.refresh.reject(&text, error.is_of_lists());
                if let Some(copy) = error.lost_copy() {
                    self.refresh.lose(copy, &text);
                }
                outcome = Err(text.clone());
                self.last_error = Some(text);
            }
        }
        answerer::reloaded(self, outcome);
        if std::mem::take(&mut self.hung_up) {
            self.start_reload(Cause::Hangup);
        }
    }

    /// Tells what is legal in the configuration in force and seldom meant.
    pub(super) fn warn(&mut self) {
        let policies = self.enforcement.policies();
        let warnings = policies.warnings(&self.config, &self.compiled.categories);
        self.display.warnings(warnings);
    }

    fn put_in_force(&mut self, prepared: Prepared) -> Result<(), Error> {
        let policies = prepared.plan.policies();
        let bindings = &mut self.bindings;
        let links = clients::links(&prepared.config, policies, &self.interfaces, bindings)?;
        // Numbers may mean something else afterwards.
        self.record_counts()?;
        let staged =
            (self.kernel).change(|maps| self.enforcement.stage(prepared.plan, links, maps))?;
        let judged = Judged::of(&prepared.compiled);
        if let Err(error) = self.swap(prepared.compiled, prepared.part, &staged) {
            self.kernel.change(|maps| self.enforcement.unstage(maps))?;
            if let Error::KernelHandle(kernel_handle::Error::TableFull { .. }) = error {
                // Nothing is wrong with the lists: what came is kept, and waits for room.
                self.refresh.admit(&judged);
            }
            return Err(error);
        }
        let limit = prepared.config.limit;
        let passing = prepared.config.passing_flags();
        self.kernel.change(|maps| {
            // After the switch, so that what failed has changed nothing.
            maps.set_limit(limit.answers_per_s, limit.burst);
            maps.put_flags(CONTROL_PASSES, passing);
            self.enforcement.commit(staged, maps)
        })?;
        let queries = prepared.config.log.queries;
        if queries != self.config.log.queries {
            let switched = self.observer.switch(&mut self.kernel, queries);
            self.note(switched);
        }
        if let Err(error) = self.refresh.follow(&self.config, &prepared.config) {
            self.display.no_refresh(&error_chain(&error));
        }
        self.config = prepared.config;
        self.watch = prepared.watch;
        if prepared.part == Part::All {
            self.custom.watch = prepared.custom_watch;
        }
        self.warn();
        Ok(())
    }
}

/// Compiles the lists of a configuration and notes how their files were before.
pub(super) fn prepare(
    config: Arc<Config>,
    sources: &Sources,
    wanted: &Wanted,
    progress: &(impl Fn(Progress) + Sync),
) -> Result<Prepared, PrepareError> {
    let watch = Watch::new(config.files());
    let custom_watch = Watch::new(config.custom_files());
    let request = Request {
        previous: wanted.previous.as_deref(),
        previous_custom: wanted.previous_custom.as_deref(),
        part: wanted.part,
        replacements: &wanted.replacements,
        damaged: Damaged::LeaveOut,
        ..Request::default()
    };
    let compiled = sources.compile_with(&config, &request, wanted.is_needed, progress)?;
    let plan = Plan::of(&config, &compiled.categories, &wanted.numbers)?;
    Ok(Prepared {
        config,
        compiled,
        plan,
        watch,
        custom_watch,
        part: wanted.part,
        custom_error: None,
    })
}

/// The same; where only custom categories are wrong, they stay as they are and the lists go on.
///
/// Their image has to fit: its categories must be those that the new lists have.
fn prepare_lists_at_least(
    config: Arc<Config>,
    sources: &Sources,
    mut wanted: Wanted,
) -> Result<Prepared, PrepareError> {
    let wrong = match prepare(Arc::clone(&config), sources, &wanted, &|_| {}) {
        Err(error @ PrepareError::Pipeline(pipeline::Error::Custom(_))) => error,
        other => return other,
    };
    let Some(custom) = wanted.previous_custom.clone() else {
        return Err(wrong);
    };
    wanted.part = Part::Lists;
    let prepared = prepare(config, sources, &wanted, &|_| {})?;
    let fits = Categories::agree(prepared.compiled.image.lists(), custom.lists());
    match fits {
        true => Ok(Prepared {
            custom_error: Some(wrong),
            ..prepared
        }),
        false => Err(wrong),
    }
}

/// The new configuration, if a filter that runs by the old one can take it over.
fn changed(running: &Config, new: Config) -> Result<Config, PrepareError> {
    let keys = [
        ("`interfaces`", running.interfaces != new.interfaces),
        ("`mode`", running.mode != new.mode),
        ("`socket`", running.socket() != new.socket()),
        ("`[control]`", running.control != new.control),
        ("`[metrics]`", running.metrics != new.metrics),
        // Which queries are logged may change; where they go is opened at the start.
        (
            "`[log]`",
            running.log
                != LogConfig {
                    queries: running.log.queries,
                    ..new.log.clone()
                },
        ),
        ("`overrides`", running.overrides() != new.overrides()),
        ("`fetch.cache`", running.fetch.cache != new.fetch.cache),
    ];
    let changed: Vec<_> = keys
        .into_iter()
        .filter_map(|(key, changed)| changed.then_some(key))
        .collect();
    match changed.is_empty() {
        true => Ok(new),
        false => Err(PrepareError::NeedsRestart(changed.join(" and "))),
    }
}

/// Waits for what is prepared in the background, for ever if nothing is.
pub(super) async fn finished(reload: &mut Option<Preparing>) -> Result<Ready, Error> {
    let Some(handle) = reload.as_mut() else {
        return std::future::pending().await;
    };
    let result = handle.await;
    *reload = None;
    Ok(result.map_err(Error::Background)??)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_running_filter_keeps_is_named_and_everything_else_may_change() {
        let config = |text: &str| toml::from_str::<Config>(text).unwrap();
        let running = config("interfaces = ['lan0']\nsocket = '/run/a.sock'");
        let other = config(
            "interfaces = ['lan0']\nsocket = '/run/a.sock'\nanswer = 'null'\nclients = ['192.0.2.0/24']\n\
             [[list]]\npath = 'a.txt'",
        );
        assert_eq!(changed(&running, other.clone()).unwrap(), other);
        let moved = config("interfaces = ['lan1']\nmode = 'skb'\nsocket = '/run/a.sock'");
        let error = changed(&running, moved).unwrap_err().to_string();
        assert!(
            error.contains("changes `interfaces` and `mode`, which"),
            "{error}"
        );
        assert!(error.contains("restart"), "{error}");
    }

    #[test]
    fn naming_the_default_socket_changes_nothing() {
        let running = Config::default();
        let named = Config {
            socket: Some(config::SOCKET_DEFAULT.into()),
            ..Config::default()
        };
        assert!(changed(&running, named).is_ok());
    }
}
