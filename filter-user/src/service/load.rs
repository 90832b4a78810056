//! `nxdp load`: what needs privileges, and ends at once.
//!
//! A boot must not let a name through that was blocked before it. So the table
//! is filled before anything is attached: with the generation that is there,
//! or with the image that the daemon kept, or with one that is compiled now.
//! Lists are never read here: whoever compiles them is the service user.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use filter_common::layout::{RECORD_BYTES, Record};
use filter_kernel::{
    Counters, Filter, GenerationChange, Load, Maps, Owner, Pins,
    features::{self, Hook, Obstacle, Traffic},
};
use filter_lists::image::{Image, ImageError, ListInfo};
use nix::unistd::User;

use super::{
    Interfaces, Near, capacity,
    compiler::{compile, compile_custom, compile_in_memory},
    display::{Display, human_bytes},
    error_chain, fill,
    folders::{let_through, make_socket_folder, make_state},
    mode, room,
    state::State,
    unseen::Unseen,
};
use crate::{
    config::{self, Config},
    enforcement::{self, Plan},
    overrides::Journal,
    policy::Categories,
};

/// How long the first frames after an attachment are waited for.
const FIRST_FRAMES: Duration = Duration::from_millis(200);
/// How long frames may come that the program does not see before that is told.
const TRAFFIC_PATIENCE: Duration = Duration::from_secs(6);

/// What `nxdp load` is to do, besides what the configuration says.
#[derive(Clone, Debug)]
pub struct LoadOptions {
    /// Where the filter is pinned.
    pub pins: PathBuf,
    /// The folder of the daemon's state.
    pub state: PathBuf,
    /// The user that the daemon runs as.
    pub user: String,
    /// How large the table is at least.
    pub room: Option<Room>,
    /// The image to start with, in place of what is active or was last.
    pub image: Option<PathBuf>,
    /// The file that the configuration came from, if lists may be compiled.
    pub config: Option<PathBuf>,
    /// Whether interfaces that are not there may be left to `nxdp attach`.
    pub absent_ok: bool,
    /// Whether only the room is to be made that the daemon asks for.
    pub as_asked: bool,
}

/// How large a table is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// For two generations of so many names.
    Names(u64),
    /// In bytes.
    Bytes(u64),
}

/// Why the filter was not loaded or unloaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] config::Error),
    /// Policies or overrides cannot be put in force.
    #[error(transparent)]
    Enforcement(#[from] enforcement::Error),
    /// The kernel side failed.
    #[error(transparent)]
    Kernel(#[from] filter_kernel::Error),
    /// The image cannot be used.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// The interfaces cannot be listed.
    #[error(transparent)]
    Interfaces(#[from] features::Error),
    /// The user of the daemon is not known.
    #[error(
        "find user '{0}' for the daemon: there is none; `useradd --system {0}`, or name one with `--user`"
    )]
    NoUser(String),
    /// The folder of the state cannot be made.
    #[error("make folder '{path}' for the daemon's state")]
    State {
        /// The folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The daemon could not reach its pins.
    #[error("let the daemon through '{path}'")]
    Passage {
        /// The folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// There is nothing to start with, and something in force that must not be replaced by it.
    #[error(
        "replace the loaded filter: its maps do not fit this version and there is no image to start with, so it stays in force; compile one with `nxdp compile --config FILE -o IMAGE` and name it with `--image`"
    )]
    NoImage,
    /// The daemon's wish for room cannot be read.
    #[error("read how much room the daemon asks for in '{path}'")]
    Asked {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// More room than a table gets by itself.
    #[error(
        "make room for the daemon's lists: they need a table of {}, and by itself it gets {} on this machine; `nxdp load --table-bytes {least_bytes}` makes it all the same, or leave out lists",
        human_bytes(*.least_bytes as usize),
        human_bytes(*.largest_bytes as usize)
    )]
    TooMuch {
        /// The smallest table that would do.
        least_bytes: u64,
        /// The largest one that is made.
        largest_bytes: u64,
    },
    /// Some interfaces are not filtered.
    #[error("attach to {}: not filtered; what else was loaded stays in force", .0.join(", "))]
    NotAttached(Vec<String>),
}

/// Loads the program, pins it with its maps, and attaches it; what is loaded already is replaced
/// without a gap.
pub fn load(config: &Config, options: &LoadOptions) -> Result<(), LoadError> {
    let display = Display::of_daemon();
    let owner = owner(&options.user)?;
    let pins = Pins::at(&options.pins);
    if options.as_asked {
        return grow(pins, options, owner, &display);
    }
    pins.prepare(owner)?;
    let_through(pins.root(), &display)?;
    make_socket_folder(config, owner);
    let loaded = filter_kernel::loaded(&pins)?;
    let image = match loaded {
        Some(loaded) if loaded.is_active && options.image.is_none() => None,
        _ => images(config, options, owner, &display)?,
    };
    let usual = || loaded.map_or_else(capacity::first, |loaded| loaded.capacity);
    let room = options.room.map_or_else(usual, Room::records);
    let needed = image
        .as_ref()
        .map_or(capacity::for_records(0), Images::capacity);
    let mut load = Load::stage(pins, needed.max(room))?;
    // Maps that go on are in force already; a new table, which tells which of their records count,
    // must be before they change.
    if load.is_adopted() {
        load.commit(owner)?;
    }
    match &image {
        Some(images) => {
            let path = State::at(&options.state).overrides(config);
            start_with(images, config, &path, &mut load.filter.maps, &display)?;
        }
        None if load.filter.maps.active().is_some() => {}
        None if load.replaces_another()? => return Err(LoadError::NoImage),
        None => display.trouble(
            "no image of an earlier run, and no list that could be compiled: every name passes until the daemon runs",
        ),
    }
    if !load.is_adopted() {
        load.commit(owner)?;
    }
    display.loaded(load.filter.maps.active(), load.is_adopted());
    attach(config, options, &mut load, &display)
}

/// Makes the room that the daemon asks for, over what is in force; it fills it then.
fn grow(
    pins: Pins,
    options: &LoadOptions,
    owner: Owner,
    display: &Display,
) -> Result<(), LoadError> {
    let asked = room::asked(&options.state).map_err(|source| LoadError::Asked {
        path: room::file_in(&options.state),
        source,
    })?;
    let Some(room) = asked else {
        display.trouble("the daemon asks for no room");
        return Ok(());
    };
    let Some(loaded) = filter_kernel::loaded(&pins)? else {
        return Err(filter_kernel::Error::NotLoaded(options.pins.clone()).into());
    };
    let granted = room.granted(loaded.capacity, capacity::largest());
    let granted = granted.map_err(|largest| LoadError::TooMuch {
        least_bytes: u64::from(room.least) * RECORD_BYTES as u64,
        largest_bytes: u64::from(largest) * RECORD_BYTES as u64,
    })?;
    let Some(records) = granted else {
        display.trouble("there is as much room as the daemon asks for");
        return Ok(());
    };
    let mut load = Load::stage(pins, records)?;
    load.commit(owner)?;
    display.grown(records as usize * RECORD_BYTES);
    Ok(())
}

/// What a filter starts with.
struct Images {
    lists: Image,
    /// That of custom categories.
    custom: Option<Image>,
}

impl Images {
    fn capacity(&self) -> u32 {
        let custom = self.custom.as_ref();
        let custom = custom.map_or(0, |custom| custom.records().len());
        capacity::for_generations(self.lists.records().len(), custom)
    }

    /// The lists of both.
    fn infos(&self) -> impl Iterator<Item = &ListInfo> {
        let custom = self.custom.iter().flat_map(Image::lists);
        self.lists.lists().iter().chain(custom)
    }
}

/// Activates images, and puts in force what belongs to it; the daemon does from then on.
fn start_with(
    images: &Images,
    config: &Config,
    path: &Path,
    maps: &mut Maps,
    display: &Display,
) -> Result<(), LoadError> {
    let categories = Categories::beside(config, images.infos());
    let plan = Plan::of(config, &categories, &enforcement::numbers_in(maps, config)?)?;
    let journal = Journal::open(path).unwrap_or_else(|error| {
        // To filter without them is the smaller harm.
        display.trouble(&error_chain(&error));
        Journal::unread(path)
    });
    let mut enforcement = fill::<LoadError>(config, plan, journal, None, maps)?;
    let is_right = |_: &[Record]| true;
    let custom = match &images.custom {
        Some(custom) => GenerationChange::To(custom.records(), &is_right),
        None => GenerationChange::Remove,
    };
    maps.change_generations(
        GenerationChange::To(images.lists.records(), &is_right),
        custom,
    )?;
    Ok(enforcement.narrow(maps)?)
}

impl Room {
    fn records(self) -> u32 {
        match self {
            Self::Names(names) => capacity::for_names(names),
            Self::Bytes(bytes) => capacity::for_bytes(bytes),
        }
    }
}

/// Attaches to every interface that has the program not yet.
fn attach(
    config: &Config,
    options: &LoadOptions,
    load: &mut Load,
    display: &Display,
) -> Result<(), LoadError> {
    // What cannot be found out stands in nobody's way.
    let ways = features::other_ways(&config.interfaces, &config.clients);
    display.other_ways(&ways.unwrap_or_default());
    let mut interfaces = Interfaces::of(config);
    interfaces.resolve()?;
    Near::default().keep::<LoadError>(&interfaces, display, |on_link| {
        load.filter.maps.put_on_link(on_link)
    })?;
    let mut failed = Vec::new();
    let mut attached = BTreeSet::new();
    for interface in &config.interfaces {
        match attach_once(&mut load.filter, &interfaces, interface) {
            Ok(true) => {
                attached.extend(interfaces.bound().get(interface));
                display.attached(interface, &mode(config).to_string());
            }
            Ok(false) => {}
            Err(error) => {
                display.trouble(&super::error_chain(&error));
                let is_absent = !interfaces.bound().contains_key(interface);
                if !(is_absent && options.absent_ok) {
                    failed.push(interface.clone());
                }
            }
        }
    }
    tell_obstacles(&interfaces, &attached, &load.filter.maps, display)?;
    tell_other_modes(config, load.filter.hold()?.program_id()?, display)?;
    if failed.is_empty() {
        Ok(())
    } else {
        Err(LoadError::NotAttached(failed))
    }
}

/// Tells what is in the way, and whether frames that came meanwhile reach the program.
///
/// Without frames there is nothing to compare, and the daemon does when there are.
fn tell_obstacles(
    interfaces: &Interfaces,
    attached: &BTreeSet<u32>,
    maps: &Maps,
    display: &Display,
) -> Result<(), LoadError> {
    let tell = |obstacles: Vec<Obstacle>| {
        let texts = obstacles.iter().map(ToString::to_string);
        texts.for_each(|text| display.trouble(&text));
    };
    tell(interfaces.obstacles_on(attached)?);
    interfaces.tell_notes(attached, display)?;
    let mut unseen = Unseen::default();
    let before = features::traffic(attached)?;
    let begun = Instant::now();
    thread::sleep(FIRST_FRAMES);
    while begun.elapsed() < TRAFFIC_PATIENCE {
        let (traffic, counters) = (features::traffic(attached)?, maps.counters()?);
        if !has_unseen_frames(&before, &traffic, &counters) {
            return Ok(());
        }
        unseen.note(traffic, |index| counters.arrivals(index), Instant::now());
        thread::sleep(FIRST_FRAMES);
    }
    tell(unseen.obstacles());
    Ok(())
}

/// Whether some device received frames of which the program saw none.
fn has_unseen_frames(
    before: &BTreeMap<u32, Traffic>,
    now: &BTreeMap<u32, Traffic>,
    counters: &Counters,
) -> bool {
    let is_unseen = |(index, now): (&u32, &Traffic)| {
        let has_grown = before
            .get(index)
            .is_some_and(|before| before.received < now.received);
        has_grown && now.by.iter().all(|index| counters.arrivals(*index) == 0)
    };
    now.iter().any(is_unseen)
}

/// Attaches to an interface unless it has the program already; says whether it did.
fn attach_once(
    filter: &mut Filter,
    interfaces: &Interfaces,
    name: &str,
) -> Result<bool, super::Error> {
    let index = interfaces.bound().get(name);
    let index = *index.ok_or_else(|| filter_kernel::Error::NoInterface(name.to_owned()))?;
    let is_missing = !filter.is_attached(index);
    if is_missing {
        interfaces.attach(index, name, &mut filter.hold()?)?;
    }
    Ok(is_missing)
}

/// An attachment keeps its mode: there is no step from one to another without a gap.
fn tell_other_modes(config: &Config, program: u32, display: &Display) -> Result<(), LoadError> {
    let wanted = mode(config).to_string();
    let hooks = features::hooks()?.into_iter();
    let is_wanted = |hook: &Hook| config.interfaces.iter().any(|name| hook.is_called(name));
    for hook in hooks.filter(is_wanted) {
        let ours = hook.attached.iter().find(|found| found.id == program);
        if let Some(mode) = ours.map(|found| found.mode.to_string())
            && mode != wanted
        {
            display.trouble(&format!(
                "{} stays in {mode} mode; for {wanted} mode `nxdp unload` and load again",
                hook.name
            ));
        }
    }
    Ok(())
}

/// The images to start with.
///
/// Both were kept, or are compiled now: names of custom categories belong to the very bits that
/// the lists have in the other image.
fn images(
    config: &Config,
    options: &LoadOptions,
    owner: Owner,
    display: &Display,
) -> Result<Option<Images>, LoadError> {
    let state = State::at(&options.state);
    let kept = Images {
        lists: match &options.image {
            Some(path) => Image::open(path)?,
            None => kept_image(state.open(), display).unwrap_or_default(),
        },
        custom: kept_image(state.open_custom(), display).filter(|_| !config.custom.is_empty()),
    };
    let has_lists = !kept.lists.records().is_empty();
    let kept = match &kept.custom {
        Some(custom) if !Categories::agree(kept.lists.lists(), custom.lists()) => Images {
            custom: None,
            ..kept
        },
        _ => kept,
    };
    let is_whole = has_lists && kept.custom.is_some() != config.custom.is_empty();
    if let (false, Some(image), Some(config)) = (is_whole, &options.image, &options.config) {
        // The operator's own names go on, with bits that fit the image.
        make_state(&options.state, owner)?;
        if compile_custom(config, image, &state, owner)
            && let Some(custom) = kept_image(state.open_custom(), display)
            && Categories::agree(kept.lists.lists(), custom.lists())
        {
            let custom = Some(custom);
            return Ok(Some(Images { custom, ..kept }));
        }
    }
    if let (false, None, Some(config)) = (is_whole, &options.image, &options.config) {
        make_state(&options.state, owner)?;
        let compiled = |state: &State| {
            let lists = kept_image(state.open(), display)?;
            let custom = kept_image(state.open_custom(), display);
            Some(Images { lists, custom })
        };
        let images = compile(config, &state, owner)
            .then(|| compiled(&state))
            .flatten();
        let images = images.or_else(|| compile_in_memory(config, &state, owner, compiled));
        if images.is_some() {
            return Ok(images);
        }
    }
    if has_lists && !is_whole {
        display.trouble(
            "there is no image of the custom categories: their names pass until the daemon runs",
        );
    }
    Ok(has_lists.then_some(kept))
}

/// An image that was kept, if it can be used.
fn kept_image(opened: Result<Option<Image>, ImageError>, display: &Display) -> Option<Image> {
    opened.unwrap_or_else(|error| {
        // Mostly that of another version.
        display.trouble(&super::error_chain(&error));
        None
    })
}

fn owner(name: &str) -> Result<Owner, LoadError> {
    match User::from_name(name) {
        Ok(Some(user)) => Ok(Owner {
            user: user.uid.as_raw(),
            group: user.gid.as_raw(),
        }),
        _ => Err(LoadError::NoUser(name.to_owned())),
    }
}
