//! A filter that `nxdp load` left, as the daemon uses it: without any privilege.

use crate::{Error, Maps, Pins, filter::id_of, pins::Lock, set::Set};

/// The maps of a pinned filter.
pub struct Pinned {
    /// What the program looks at and counts in.
    pub maps: Maps,
    pins: Pins,
    identity: u64,
    program_id: u32,
    _only: Lock,
}

impl Pinned {
    /// Opens what is pinned; there can be one daemon.
    pub fn open(pins: Pins) -> Result<Self, Error> {
        let only = pins.lock_for_daemon()?;
        let lock = pins.lock()?;
        let (maps, identity, program_id) = open(&pins.set())?;
        drop(lock);
        Ok(Self {
            maps,
            pins,
            identity,
            program_id,
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

    /// The id of the program.
    pub fn program_id(&self) -> u32 {
        self.program_id
    }

    fn follow(&mut self) -> Result<(), Error> {
        if self.is_replaced() {
            let (maps, identity, program_id) = open(&self.pins.set())?;
            self.maps = maps;
            self.identity = identity;
            self.program_id = program_id;
        }
        Ok(())
    }
}

fn open(set: &Set) -> Result<(Maps, u64, u32), Error> {
    let identity = set.identity().ok_or_else(|| Error::NotLoaded(set.path()))?;
    let program = set.open_program()?;
    Ok((set.maps()?, identity, id_of(&program)?))
}
