//! `nxdp run`: compiles, loads, attaches, and keeps at it until told to stop.
//!
//! Owns the order of things: the first generation is active before the first
//! interface is attached, a failed reload changes nothing, and everything is
//! detached when the service ends. It knows neither flags nor list syntax.

mod answerer;
mod clients;
mod display;
mod refresh;
mod reload;
mod socket;
mod update;
mod watch;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use filter_common::layout::Record;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    time::MissedTickBehavior,
};

use self::{
    answerer::answer,
    display::Display,
    refresh::{Refresh, Turn, open_refresh},
    reload::{Cause, Prepared, Preparing, Wanted, finished, prepare},
    socket::Socket,
    watch::Watch,
};
pub use self::{
    display::{human_bytes, progress_bar},
    reload::{PrepareError, Reread},
    update::{lists, update},
};
use crate::{
    config::{Config, ModeChoice},
    fetch,
    kernel::{self, Filter, InUse, Mode},
    pipeline::{Compiled, Sources},
    policy::Numbers,
    regime::{self, Ledger, Names, Regime, Staged},
};

/// How often list files are looked at.
const WATCH_INTERVAL: Duration = Duration::from_secs(1);
/// Records that the smallest table has: a few thousand names can come without growing it.
const CAPACITY_MIN: u32 = 16 * 1024;

/// Why the service ended early or did not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Configuration or lists cannot be used.
    #[error(transparent)]
    Prepare(#[from] PrepareError),
    /// Policies or overrides cannot be put in force.
    #[error(transparent)]
    Regime(#[from] regime::Error),
    /// The kernel side failed.
    #[error(transparent)]
    Kernel(#[from] kernel::Error),
    /// Lists cannot be fetched at all.
    #[error(transparent)]
    Fetch(#[from] fetch::Error),
    /// A list was asked for that does not exist, or is nobody's to fetch.
    #[error("{0}")]
    NoSuchList(String),
    /// The control socket cannot be opened.
    #[error(transparent)]
    Socket(#[from] socket::Error),
    /// Signals cannot be received.
    #[error("listen for signals")]
    Signals(#[source] std::io::Error),
    /// A task of this process died.
    #[error("compile in the background")]
    Background(#[source] tokio::task::JoinError),
}

/// Runs until SIGINT or SIGTERM; returns after everything is detached.
///
/// SIGHUP takes the configuration from `reread`, and all that it names, if all of it is right.
pub async fn run(config: Config, reread: Arc<Reread>) -> Result<(), Error> {
    for interface in &config.interfaces {
        kernel::check_interface(interface)?;
    }
    let mut signals = Signals::new().map_err(Error::Signals)?;
    let mut socket = Socket::open(config.socket())?;
    let mut service = tokio::select! {
        service = Service::start(config, reread) => service?,
        () = signals.stop() => return Ok(()),
    };
    service.attach()?;
    service.serve(&mut signals, &mut socket).await?;
    service.display.end(&service.filter.counters()?);
    Ok(())
}

/// The state of a running service.
struct Service {
    config: Arc<Config>,
    reread: Arc<Reread>,
    sources: Arc<Sources>,
    filter: Filter,
    regime: Regime,
    ledger: Ledger,
    compiled: Compiled,
    watch: Watch,
    refresh: Refresh,
    reload: Option<Preparing>,
    /// SIGHUP came while something was being prepared.
    hung_up: bool,
    last_error: Option<String>,
    started: Instant,
    display: Display,
}

impl Service {
    async fn start(config: Config, reread: Arc<Reread>) -> Result<Self, Error> {
        let sources = Arc::new(Sources::default());
        let display = Display::default();
        let mut refresh = open_refresh(&config, &display)?;
        for failed in refresh.fetch_missing().await {
            display.not_fetched(&failed);
        }
        let wanted = Wanted {
            previous: None,
            numbers: Numbers::new(),
            replacements: refresh.replacements(),
            is_needed: true,
        };
        let first: Preparing = tokio::task::spawn_blocking({
            let sources = Arc::clone(&sources);
            move || prepare(Arc::new(config), &sources, &wanted, &progress_bar())
        });
        let Prepared {
            config,
            compiled,
            plan,
            watch,
        } = first.await.map_err(Error::Background)??;
        let records = compiled.image.records();
        let mut filter = Filter::load(capacity_for(records.len()))?;
        let links = clients::links(&config, plan.policies());
        let mut regime = Regime::start(plan, links, config.overrides(), &mut filter)?;
        filter.set_limit(config.limit.answers_per_s, config.limit.burst);
        let generation = filter.activate(records)?;
        regime.settle(&mut filter)?;
        display.compiled(&compiled, generation);
        for rejected in refresh.admit(&compiled) {
            display.not_fetched(&rejected);
        }
        Ok(Self {
            config,
            reread,
            sources,
            filter,
            regime,
            ledger: Ledger::default(),
            compiled,
            watch,
            refresh,
            reload: None,
            hung_up: false,
            last_error: None,
            started: Instant::now(),
            display,
        })
    }

    fn attach(&mut self) -> Result<(), Error> {
        let mode = match self.config.mode {
            ModeChoice::Native => Mode::Native,
            ModeChoice::Skb => Mode::Skb,
        };
        for interface in &self.config.interfaces {
            self.filter.attach(interface, mode)?;
            self.display.attached(interface, mode);
        }
        Ok(())
    }

    async fn serve(&mut self, signals: &mut Signals, socket: &mut Socket) -> Result<(), Error> {
        let mut watch = tokio::time::interval(WATCH_INTERVAL);
        watch.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut show = tokio::time::interval(self.display.interval());
        show.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                order = signals.next() => match order {
                    Order::Stop => return Ok(()),
                    Order::Reload => self.start_reload(Cause::Hangup),
                },
                _ = watch.tick() => {
                    self.filter.flush_log();
                    self.keep_regime();
                    if self.watch.has_settled_change() {
                        self.start_reload(Cause::List);
                    }
                }
                _ = show.tick() => self.display.tick(&self.filter.counters()?),
                turn = self.refresh.next(), if self.reload.is_none() => match turn {
                    Turn::Failed(list) => self.display.not_fetched(&list),
                    Turn::Compile => self.start_reload(Cause::Fetched),
                },
                prepared = finished(&mut self.reload) => self.finish_reload(prepared),
                asked = socket.accept() => Socket::reply(asked, |verb| answer(self, verb)),
            }
        }
    }

    /// Lets policies and overrides follow time and interfaces.
    fn keep_regime(&mut self) {
        let links = clients::links(&self.config, self.regime.policies());
        let kept = self.regime.relink(links, &mut self.filter);
        if let Err(error) = kept.and_then(|()| self.regime.tick(&mut self.filter)) {
            // What is in force stays; the next second tries again.
            self.display.trouble(&error_chain(&error));
        }
    }

    /// Counts what came since the last time for the policies and lists that are in force.
    fn book(&mut self) -> Result<(), kernel::Error> {
        let policies = self.regime.policies().iter();
        let policies = policies.map(|policy| (policy.number as usize, policy.name.clone()));
        let lists = self.compiled.image.lists().iter();
        let names = Names {
            policies: policies.collect(),
            lists: lists
                .map(|list| (list.name.clone(), list.category.clone()))
                .collect(),
        };
        let highest = names.policies.keys().max().copied().unwrap_or(0);
        let tallies = self.filter.tallies(InUse {
            policies: highest + 1,
            lists: names.lists.len(),
        })?;
        self.ledger.book(&tallies, &self.filter.counters()?, &names);
        Ok(())
    }

    fn swap(&mut self, compiled: Compiled, staged: &Staged) -> Result<(), Error> {
        let start = Instant::now();
        let records = compiled.image.records();
        let generation = match self.filter.activate(records) {
            Err(kernel::Error::TableFull { .. }) => self.grow(records, staged)?,
            other => other?,
        };
        self.display.swapped(&compiled, generation, start.elapsed());
        self.compiled = compiled;
        Ok(())
    }

    /// Loads the program anew with a larger table and lets it take over the links.
    fn grow(&mut self, records: &[Record], staged: &Staged) -> Result<u32, Error> {
        let mut larger = Filter::load(capacity_for(records.len()))?;
        larger.continue_from(&self.filter)?;
        self.regime.install(&mut larger)?;
        self.regime.widen(staged, &mut larger)?;
        let generation = larger.activate(records)?;
        larger.take_over(&mut self.filter)?;
        self.filter = larger;
        Ok(generation)
    }
}

/// Room for two generations of this size and a quarter more, and record 0.
fn capacity_for(records: usize) -> u32 {
    let wanted = records.saturating_mul(5) / 2 + 1;
    u32::try_from(wanted).unwrap_or(u32::MAX).max(CAPACITY_MIN)
}

/// The signals that the service understands.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) -> Order {
        tokio::select! {
            _ = self.interrupt.recv() => Order::Stop,
            _ = self.terminate.recv() => Order::Stop,
            _ = self.hangup.recv() => Order::Reload,
        }
    }

    /// Waits for the order to stop; while nothing is loaded there is nothing to reload.
    async fn stop(&mut self) {
        while self.next().await != Order::Stop {}
    }
}

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    Stop,
    Reload,
}

/// An error with its causes, each said once.
pub fn error_chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        next = cause.source();
    }
    text
}
