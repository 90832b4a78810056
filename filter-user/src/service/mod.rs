//! The long-lived process: compiles, activates, and keeps at it until told to stop.
//!
//! `nxdp run` loads and attaches the program itself: the first generation is
//! active before the first interface is attached, and everything is detached
//! when it ends. `nxdp daemon` uses what `nxdp load` left ([`load`]) and leaves
//! it in force. In both a failed reload changes nothing. It knows neither flags
//! nor list syntax.
// tidy: long because the loop, its start and the swap read one state

mod answerer;
mod attach_watch;
mod capacity;
mod clients;
mod compiler;
mod connections;
mod counting;
mod custom;
mod daemon;
mod display;
mod error;
mod folders;
mod interfaces;
mod kernel_handle;
mod load;
mod looks;
mod observe;
mod offline;
mod peers;
mod refresh;
mod reload;
mod room;
mod signals;
mod socket;
mod state;
mod supervisor;
mod unload;
mod unseen;
mod update;
mod waiting;
mod watch;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use filter_common::layout::{CONTROL_PASSES, Header, Record};
use filter_kernel::{
    Filter, GenerationChange, Maps, Mode,
    features::{self, Bindings},
};
use filter_lists::image::Image;
use tokio::time::MissedTickBehavior;

pub use self::{
    attach_watch::attach,
    clients::is_client,
    daemon::{DaemonOptions, daemon},
    display::{error_chain, human_bytes, idle_policy, progress_bar},
    error::Error,
    load::{LoadError, LoadOptions, Room, load},
    offline::{Offline, OfflineError},
    reload::{PrepareError, Reread},
    state::STATE_DEFAULT,
    unload::{Error as UnloadError, Unloaded, unload},
    update::{become_owner_of_copies, lists, update},
};
use self::{
    clients::{Near, Strangers},
    custom::CustomState,
    display::Display,
    interfaces::{Interfaces, Monitor},
    kernel_handle::KernelHandle,
    observe::{Observer, now_s, policy_names},
    refresh::{Judged, Refresh, Turn, open_refresh},
    reload::{Cause, Prepared, Preparing, PreparingAll, Wanted, finished, prepare},
    room::Wish,
    signals::{SignalMeaning, Signals},
    socket::Socket,
    state::{Keeping, State},
    unseen::Unseen,
    waiting::Waiting,
    watch::Watch,
};
use crate::{
    config::{Config, ModeChoice},
    enforcement::{self, Enforcement, NamedCounters, Plan, Staged},
    memory,
    overrides::{Journal, OverrideSet},
    pipeline::{Compiled, Custom, Part, Probes, Sources},
    policy::Numbers,
};

/// How often list files are looked at.
const WATCH_INTERVAL: Duration = Duration::from_secs(1);

/// Runs until SIGINT or SIGTERM; returns after everything is detached.
///
/// SIGHUP takes the configuration from `reread`, and all that it names, if all of it is right.
pub async fn run(config: Config, reread: Arc<Reread>) -> Result<(), Error> {
    Interfaces::of(&config).must_be_there()?;
    let mut signals = Signals::new().map_err(Error::Signals)?;
    let mut socket = Socket::open(&config)?;
    let mut service = tokio::select! {
        service = Service::start(config, reread) => service?,
        () = signals.stop() => return Ok(()),
    };
    service.attach()?;
    service.serve(&mut signals, &mut socket).await?;
    service.display.end(&service.kernel.maps().counters()?);
    Ok(())
}

/// The state of a running service.
struct Service {
    config: Arc<Config>,
    reread: Arc<Reread>,
    sources: Arc<Sources>,
    kernel: KernelHandle,
    enforcement: Enforcement,
    named_counters: NamedCounters,
    compiled: Compiled,
    watch: Watch,
    custom: CustomState,
    /// Everything that the configuration says was in force once; not yet where a start failed.
    is_whole: bool,
    interfaces: Interfaces,
    /// What names of interfaces in policies mean.
    bindings: Bindings,
    near: Near,
    strangers: Strangers,
    unseen: Unseen,
    refresh: Refresh,
    reload: Option<Preparing>,
    /// SIGHUP came while something was being prepared.
    hung_up: bool,
    /// Who waits for what is being prepared, and who for what comes after it.
    waiting: Waiting,
    /// Where the last image is kept.
    state: Option<State>,
    /// Room that the lists need, and the table does not have yet.
    wish: Option<Wish>,
    /// How `nxdp load` is called for this filter.
    load_command: String,
    keeping: Keeping,
    last_error: Option<String>,
    /// What went wrong at the last look around.
    trouble: Option<String>,
    started: Instant,
    display: Display,
    observer: Observer,
}

impl Service {
    /// Compiles, loads and activates; nothing is attached yet.
    async fn start(config: Config, reread: Arc<Reread>) -> Result<Self, Error> {
        let sources = Arc::new(Sources::default());
        let display = Display::default();
        let observer = Observer::start(&config).await?;
        let mut refresh = open_refresh(&config, &display, false)?;
        for failed in refresh.fetch_missing().await {
            display.not_fetched(&failed);
        }
        let wanted = Wanted {
            previous: None,
            previous_custom: None,
            part: Part::All,
            numbers: Numbers::new(),
            replacements: refresh.replacements(),
            is_needed: true,
        };
        let first: PreparingAll = tokio::task::spawn_blocking({
            let sources = Arc::clone(&sources);
            move || prepare(Arc::new(config), &sources, &wanted, &progress_bar())
        });
        let Prepared {
            config,
            compiled,
            plan,
            watch,
            custom_watch,
            part,
            custom_error: _,
        } = first.await.map_err(Error::Background)??;
        let records = compiled.image.records().len();
        let custom = compiled.custom.as_ref();
        let custom = custom.map_or(0, |custom| custom.image.records().len());
        let mut filter = Filter::load(capacity::for_generations(records, custom))?;
        let journal = Journal::open(config.overrides()).map_err(enforcement::Error::Journal)?;
        let enforcement = fill::<Error>(&config, plan, journal, None, &mut filter.maps)?;
        let kernel = KernelHandle::Own(Box::new(filter));
        let mut service = Self::new(
            config,
            reread,
            kernel,
            enforcement,
            refresh,
            observer,
            display,
        );
        (service.sources, service.watch) = (sources, watch);
        service.custom.watch = custom_watch;
        service.activate(compiled, part, None)?;
        service
            .kernel
            .change(|maps| service.enforcement.narrow(maps))?;
        service.admit();
        service.warn();
        Ok(service)
    }

    fn new(
        config: Arc<Config>,
        reread: Arc<Reread>,
        kernel: KernelHandle,
        enforcement: Enforcement,
        refresh: Refresh,
        observer: Observer,
        display: Display,
    ) -> Self {
        Self {
            watch: Watch::new(config.files()),
            custom: CustomState::new(Watch::new(config.custom_files())),
            is_whole: false,
            interfaces: Interfaces::of(&config),
            bindings: Bindings::default(),
            near: Near::default(),
            strangers: Strangers::default(),
            unseen: Unseen::default(),
            config,
            reread,
            sources: Arc::default(),
            kernel,
            enforcement,
            named_counters: NamedCounters::default(),
            compiled: Compiled::default(),
            refresh,
            reload: None,
            hung_up: false,
            waiting: Waiting::default(),
            state: None,
            wish: None,
            load_command: "nxdp load".to_owned(),
            keeping: Keeping::default(),
            last_error: None,
            trouble: None,
            started: Instant::now(),
            display,
            observer,
        }
    }

    async fn serve(&mut self, signals: &mut Signals, socket: &mut Socket) -> Result<(), Error> {
        let mut monitor = Monitor::open().map_err(Error::Monitor)?;
        let mut watch = tokio::time::interval(WATCH_INTERVAL);
        watch.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut show = tokio::time::interval(self.display.interval());
        show.set_missed_tick_behavior(MissedTickBehavior::Delay);
        supervisor::ready();
        loop {
            tokio::select! {
                signal = signals.next() => match signal {
                    SignalMeaning::Stop => {
                        supervisor::stopping();
                        return Ok(());
                    }
                    SignalMeaning::Reload => self.start_reload(Cause::Hangup),
                },
                _ = watch.tick() => {
                    let looked = self.look();
                    self.note(looked);
                    if self.watch.has_settled_change() {
                        self.start_reload(Cause::List);
                    }
                    if self.custom.watch.has_settled_change() {
                        self.start_reload(Cause::Custom);
                    }
                }
                () = monitor.changed() => {
                    self.interfaces.hurry();
                    let looked = self.look_at_interfaces();
                    self.note(looked);
                }
                _ = show.tick() => self.display.tick(&self.kernel.maps().counters()?),
                turn = self.refresh.next(), if self.reload.is_none() => match turn {
                    Turn::Failed(list) => self.display.not_fetched(&list),
                    Turn::Resumed => self.display.refreshes(),
                    Turn::Compile => self.start_reload(Cause::Fetched),
                },
                ready = finished(&mut self.reload) => self.finish_reload(ready),
                kept = self.keeping.finished() => self.finish_keeping(kept),
                asked = socket.accept() => answerer::reply(self, asked),
                asked = self.observer.scrape() => answerer::scrape(self, asked),
            }
        }
    }

    /// Lets the query log follow the maps that are in force.
    fn observe(&mut self) -> Result<(), Error> {
        let policies = policy_names(self.enforcement.policies());
        let images = self.compiled.images();
        self.observer.follow(&mut self.kernel, &policies, &images)
    }

    /// Lets fetched lists that are in force take the place of their copies, and tells of those
    /// that are not.
    fn admit(&mut self) {
        for list in self.refresh.admit(&Judged::of(&self.compiled)) {
            self.display.not_fetched(&list);
            self.last_error = list.failure();
        }
    }

    fn swap(&mut self, compiled: Compiled, part: Part, staged: &Staged) -> Result<(), Error> {
        let (generation, took) = self.activate(compiled, part, Some(staged))?;
        self.display.swapped(&self.compiled, generation, took);
        Ok(())
    }

    /// Tests and activates an image, under policies that were staged for it; tells its number
    /// and how long that took.
    fn activate(
        &mut self,
        mut compiled: Compiled,
        part: Part,
        staged: Option<&Staged>,
    ) -> Result<(u32, Duration), Error> {
        let start = Instant::now();
        let policies = policy_names(staged.map_or(self.enforcement.policies(), Staged::policies));
        let judge = |image: &Image, probes: &Probes, generation: &[Record]| {
            let header = generation.first().map(Header::of);
            header.inspect(|header| self.observer.announce(header, &policies, image));
            probes.pass(generation)
        };
        let of_lists = |generation: &[Record]| judge(&compiled.image, &compiled.probes, generation);
        let of_custom = |generation: &[Record]| {
            let custom = compiled.custom.as_ref();
            custom.is_some_and(|custom| judge(&custom.image, &custom.probes, generation))
        };
        // A reload of the lists alone keeps the names of the operator's own.
        let custom = match (part, &compiled.custom) {
            (Part::Lists, _) => GenerationChange::Keep,
            (Part::All, None) => GenerationChange::Remove,
            (Part::All, Some(custom)) => GenerationChange::To(custom.image.records(), &of_custom),
        };
        let fill = |maps: &mut Maps| {
            self.enforcement.install(maps)?;
            staged.map_or(Ok(()), |staged| self.enforcement.stage_in(staged, maps))
        };
        let lists = GenerationChange::To(compiled.image.records(), &of_lists);
        let generation = self.kernel.activate(lists, custom, fill)?.lists;
        let took = start.elapsed();
        match part {
            Part::Lists => compiled.custom.clone_from(&self.compiled.custom),
            Part::All => {
                let compiling = compiled.custom.as_ref().map(|custom| custom.took);
                self.custom.note_done(compiling.unwrap_or_default() + took);
            }
        }
        // From here on a part may be reloaded alone.
        self.is_whole = true;
        let images = compiled.images();
        let followed = self.observer.follow(&mut self.kernel, &policies, &images);
        self.note(followed);
        self.observer.reloads.done_at_s = now_s();
        let names = compiled.image.header().name_count;
        supervisor::status(&format!("generation {generation}: {names} names"));
        if self.compiled.lists.is_empty() {
            self.display.compiled(&compiled, generation);
        }
        self.let_go(compiled, part);
        Ok((generation, took))
    }

    /// Keeps the image on disk, and of what was compiled only what tells what it was.
    fn let_go(&mut self, mut compiled: Compiled, part: Part) {
        let image = std::mem::take(&mut compiled.image);
        compiled.image = Arc::new(image.outline());
        compiled.probes = Probes::default();
        let custom: Option<Custom> = compiled.custom.take();
        // The old account is dropped last: it may be shown while the new one is put in place.
        let before = std::mem::replace(&mut self.compiled, compiled);
        match part {
            Part::Lists => self.compiled.custom = before.custom,
            // Before the lists: `nxdp load` must find both of one configuration.
            Part::All => self.let_go_of_custom(custom),
        }
        if let Some(state) = &self.state {
            self.sources.forget();
            self.keeping.start(state.clone(), image);
        }
    }

    fn finish_keeping(&self, kept: Result<(), Error>) {
        memory::trim();
        if let Err(error) = kept {
            self.display.trouble(&error_chain(&error));
        }
    }
}

/// Puts in force what the maps hold besides the lists, on interfaces of the configuration and on
/// those that have the program already.
fn fill<E>(
    config: &Config,
    plan: Plan,
    journal: (Journal, OverrideSet),
    program_id: Option<u32>,
    maps: &mut Maps,
) -> Result<Enforcement, E>
where
    E: From<features::Error> + From<filter_kernel::Error> + From<enforcement::Error>,
{
    let mut interfaces = Interfaces::of(config);
    interfaces.meet(program_id)?;
    let bindings = &mut Bindings::default();
    let links = clients::links(config, plan.policies(), &interfaces, bindings)?;
    let on_link = features::on_link(&interfaces.indexes())?;
    maps.put_on_link(&clients::prefixes(&on_link))?;
    maps.set_limit(config.limit.answers_per_s, config.limit.burst);
    maps.put_flags(CONTROL_PASSES, config.passing_flags());
    Ok(Enforcement::start(plan, links, journal, maps)?)
}

fn mode(config: &Config) -> Mode {
    match config.mode {
        ModeChoice::Native => Mode::Native,
        ModeChoice::Skb => Mode::Skb,
    }
}
