//! `nxdp load`: makes maps and program, or goes on with the maps that are there.
//!
//! Everything is made beside what is in force and takes its place in two
//! steps: the folder of pins, then each attachment. Whoever dies in between
//! leaves a filter that works, and the next load brings it to its end.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap},
};

use aya::{EbpfLoader, maps::Map};

use crate::{
    Attachments, Error, Filter, Maps, Owner, Pins,
    filter::program,
    maps::data,
    object::{self, PROGRAM},
    pins::Lock,
    set::Set,
    table,
};

/// A filter that is loaded and pinned, and then put in force.
pub struct Load {
    /// The filter; its maps go on with what those before it held.
    pub filter: Filter,
    pins: Pins,
    next: Next,
    adopted: bool,
    _lock: Lock,
}

/// What is loaded already and can be gone on with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// Records of its table.
    pub capacity: u32,
    /// Whether its table holds an active generation.
    pub is_active: bool,
}

/// What is loaded below `pins`, if this build can go on with its maps.
pub fn loaded(pins: &Pins) -> Result<Option<Loaded>, Error> {
    if !pins.exist() {
        return Ok(None);
    }
    let named = pins.set().open_maps()?;
    if !fit(&named, &shapes()?)? {
        return Ok(None);
    }
    let maps = Maps::of(named)?;
    Ok(Some(Loaded {
        capacity: maps.capacity(),
        is_active: maps.active().is_some(),
    }))
}

impl Load {
    /// Loads the program over the maps that are pinned, or over new ones if those do not fit this
    /// build; a table with less than `capacity` records is copied into a larger one.
    ///
    /// Nothing that is in force changes before [`Load::commit`].
    pub fn stage(pins: Pins, capacity: u32) -> Result<Self, Error> {
        table::can_wait_for_running_programs().map_err(Error::Membarrier)?;
        let lock = pins.lock()?;
        let next = Next(pins.next());
        next.0.start()?;
        let shapes = shapes()?;
        let old = pins.set().open_maps()?;
        let old = if fit(&old, &shapes)? {
            Some(Maps::of(old)?)
        } else {
            None
        };
        let capacity = capacity.max(old.as_ref().map_or(0, Maps::capacity));
        if let Some(old) = &old {
            adopt(old, &next.0, capacity)?;
        }
        let mut filter = load(&next.0, &shapes, capacity)?;
        if let Some(old) = old.as_ref().filter(|old| old.capacity() < capacity) {
            filter.maps.copy_table(old)?;
        }
        let path = next.0.program();
        program(&mut filter.ebpf, PROGRAM)?
            .pin(&path)
            .map_err(|error| Error::open_pin("make", &path, &error))?;
        Ok(Self {
            filter,
            pins,
            next,
            adopted: old.is_some(),
            _lock: lock,
        })
    }

    /// Whether the maps of the filter before it go on.
    pub fn is_adopted(&self) -> bool {
        self.adopted
    }

    /// Whether maps that do not fit are in force now.
    pub fn replaces_another(&self) -> Result<bool, Error> {
        Ok(!self.adopted && !Attachments::open(&self.pins.links())?.is_empty())
    }

    /// Puts the filter in force: its pins take the place of those before, then its program that
    /// of the one before, on each interface in one step.
    ///
    /// Afterwards the filter has the attachments there are.
    pub fn commit(&mut self, owner: Owner) -> Result<(), Error> {
        if !self.adopted {
            self.carry_counts()?;
        }
        self.next.0.hand_over(owner)?;
        self.next.0.trade_places(&self.pins.set())?;
        self.filter.links = Attachments::open(&self.pins.links())?;
        let program = program(&mut self.filter.ebpf, PROGRAM)?;
        self.filter.links.change_program(program)?;
        table::wait_for_running_programs().map_err(Error::Membarrier)?;
        self.next.0.remove()?;
        self.pins.others()?.iter().try_for_each(Set::remove)
    }

    /// Starts to count where maps are that do not fit; what they count from here on is lost.
    fn carry_counts(&mut self) -> Result<(), Error> {
        for set in self.pins.others()?.iter().chain([&self.pins.set()]) {
            if let Some(counters) = set.open_maps()?.get("COUNTERS") {
                self.filter.maps.start_counting_at(counters)?;
            }
        }
        Ok(())
    }
}

/// The set that is being made; dropped, it is removed, and so is the one that it replaced.
struct Next(Set);

impl Drop for Next {
    fn drop(&mut self) {
        // The next load removes what is left.
        let _ = self.0.remove();
    }
}

/// Pins what goes on as part of the next set.
fn adopt(old: &Maps, next: &Set, capacity: u32) -> Result<(), Error> {
    let stays = |name: &str| name != "TABLE" || capacity == old.capacity();
    for (name, map) in old.iter().filter(|(name, _)| stays(name)) {
        let path = next.map(name);
        map.pin(&path)
            .map_err(|error| Error::open_pin("make", &path, &error))?;
    }
    Ok(())
}

/// Loads the program over the maps of a set; those that are missing are made.
fn load(set: &Set, shapes: &Shapes, capacity: u32) -> Result<Filter, Error> {
    let paths = shapes.keys().map(|name| (name.as_str(), set.map(name)));
    let mut loader = EbpfLoader::new();
    loader.map_max_entries("TABLE", capacity);
    for (name, path) in paths {
        loader.map_pin_path(name, Cow::Owned(path));
    }
    Filter::load_with(&mut loader, object::bytes()?, PROGRAM)
}

/// The maps of the embedded object, by name.
type Shapes = HashMap<String, aya_obj::Map>;

fn shapes() -> Result<Shapes, Error> {
    let object =
        aya_obj::Object::parse(object::bytes()?).map_err(|error| Error::load(error.into()))?;
    Ok(object
        .maps
        .into_iter()
        .filter(|(name, _)| is_pinned(name))
        .collect())
}

/// Whether a map outlives its program: not constants (`.rodata`), nor what a program for debugging
/// writes, which the process that loaded it reads.
fn is_pinned(name: &str) -> bool {
    !name.contains('.') && name != "AYA_LOGS"
}

/// Whether maps are those of this build; the table may have any size.
fn fit(named: &BTreeMap<String, Map>, shapes: &Shapes) -> Result<bool, Error> {
    if named.len() != shapes.len() {
        return Ok(false);
    }
    for (name, map) in named {
        let (Some(wanted), Some(map)) = (shapes.get(name), data(map)) else {
            return Ok(false);
        };
        let found = map.info().map_err(Error::Info)?;
        let is_same = found
            .map_type()
            .is_ok_and(|kind| kind as u32 == wanted.map_type())
            && found.key_size() == wanted.key_size()
            && found.value_size() == wanted.value_size()
            && found.map_flags() == wanted.map_flags()
            && (name == "TABLE" || found.max_entries() == wanted.max_entries());
        if !is_same {
            return Ok(false);
        }
    }
    Ok(true)
}
