//! A filter that `nxdp load` left, as the daemon uses it: without any privilege.

use std::time::SystemTime;

use aya::programs::Xdp;

use crate::{Error, Maps, Pins, pins::Lock, set::Set};

/// What tells a loaded program from others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProgramFacts {
    /// The kernel's number.
    pub id: u32,
    /// A hash of its instructions.
    pub tag: u64,
    /// When it was loaded.
    pub loaded: Option<SystemTime>,
}

/// Opens what is pinned, to look at it beside whoever uses it.
pub fn look(pins: &Pins) -> Result<(Maps, ProgramFacts), Error> {
    let _lock = pins.lock()?;
    let (maps, _, program) = open(&pins.set())?;
    Ok((maps, program))
}

/// The maps of a pinned filter.
pub struct Pinned {
    /// What the program looks at and counts in.
    pub maps: Maps,
    pins: Pins,
    identity: u64,
    program: ProgramFacts,
    _only: Lock,
}

impl Pinned {
    /// Opens what is pinned; there can be one daemon.
    pub fn open(pins: Pins) -> Result<Self, Error> {
        let only = pins.lock_for_daemon()?;
        let lock = pins.lock()?;
        let (maps, identity, program) = open(&pins.set())?;
        drop(lock);
        Ok(Self {
            maps,
            pins,
            identity,
            program,
            _only: only,
        })
    }

    /// Changes the maps while nobody can put others in their place.
    pub fn change<T, E: From<Error>>(
        &mut self,
        work: impl FnOnce(&mut Maps) -> Result<T, E>,
    ) -> Result<T, E> {
        let _lock = self.pins.lock()?;
        self.follow()?;
        work(&mut self.maps)
    }

    /// Whether `nxdp load` put others in the place of maps and program, or removed them.
    pub fn is_replaced(&self) -> bool {
        self.pins.set().identity() != Some(self.identity)
    }

    /// The program.
    pub fn program(&self) -> ProgramFacts {
        self.program
    }

    fn follow(&mut self) -> Result<(), Error> {
        if self.is_replaced() {
            let (maps, identity, program) = open(&self.pins.set())?;
            self.maps = maps;
            self.identity = identity;
            self.program = program;
        }
        Ok(())
    }
}

fn open(set: &Set) -> Result<(Maps, u64, ProgramFacts), Error> {
    let identity = set.identity().ok_or_else(|| Error::NotLoaded(set.path()))?;
    let program = set.open_program()?;
    Ok((set.maps()?, identity, facts(&program)?))
}

fn facts(program: &Xdp) -> Result<ProgramFacts, Error> {
    let info = program.info().map_err(|error| Error::load(error.into()))?;
    Ok(ProgramFacts {
        id: info.id(),
        tag: info.tag(),
        loaded: info.loaded_at(),
    })
}
