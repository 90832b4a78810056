//! The pinned maps and the program of one load, in a folder of their own.

use std::{collections::BTreeMap, fs, os::unix::fs::MetadataExt as _, path::PathBuf};

use aya::{
    maps::{Map, MapData},
    programs::Xdp,
};
use aya_obj::programs::XdpAttachType;

use crate::{
    Error, Maps, Owner,
    folder::{entries, give, make_folder, remove_folder},
};

/// The maps and the program of one load, in a folder of their own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Set(PathBuf);

impl Set {
    /// The set in a folder.
    pub(crate) fn at(folder: PathBuf) -> Self {
        Self(folder)
    }

    /// The folder.
    pub(crate) fn path(&self) -> PathBuf {
        self.0.clone()
    }

    /// The pin of a map.
    pub(crate) fn map(&self, name: &str) -> PathBuf {
        self.0.join("maps").join(name)
    }

    /// The pin of the program.
    pub(crate) fn program(&self) -> PathBuf {
        self.0.join("program")
    }

    /// Makes the folders, in place of what a `nxdp load` left that did not come to its end.
    pub(crate) fn start(&self) -> Result<(), Error> {
        self.remove()?;
        make_folder(&self.0)?;
        make_folder(&self.0.join("maps"))
    }

    /// What tells this set from one that comes in its place; `None` if there is no set.
    pub(crate) fn identity(&self) -> Option<u64> {
        fs::metadata(&self.0).ok().map(|metadata| metadata.ino())
    }

    /// Opens every map.
    pub(crate) fn open_maps(&self) -> Result<BTreeMap<String, Map>, Error> {
        let mut maps = BTreeMap::new();
        for path in entries(&self.0.join("maps"))? {
            let name = path.file_name().unwrap_or_default();
            let map = MapData::from_pin(&path)
                .and_then(Map::from_map_data)
                .map_err(|error| Error::open_pin("open", &path, &error))?;
            maps.insert(name.to_string_lossy().into_owned(), map);
        }
        Ok(maps)
    }

    /// Opens one map.
    pub(crate) fn open_map(&self, name: &str) -> Result<Map, Error> {
        let path = self.map(name);
        MapData::from_pin(&path)
            .and_then(Map::from_map_data)
            .map_err(|error| Error::open_pin("open", &path, &error))
    }

    /// The numbers of the maps, whatever layout they have.
    pub(crate) fn map_ids(&self) -> Result<Vec<u32>, Error> {
        let paths = entries(&self.0.join("maps"))?;
        let id = |path: &PathBuf| {
            let map = MapData::from_pin(path).and_then(|map| map.info());
            let map = map.map_err(|error| Error::open_pin("open", path, &error));
            Ok(map?.id())
        };
        paths.iter().map(id).collect()
    }

    /// Opens the maps as those of a filter.
    pub(crate) fn maps(&self) -> Result<Maps, Error> {
        Maps::of(self.open_maps()?)
    }

    /// Opens the program.
    pub(crate) fn open_program(&self) -> Result<Xdp, Error> {
        let path = self.program();
        Xdp::from_pin(&path, XdpAttachType::Interface)
            .map_err(|error| Error::open_pin("open", &path, &error))
    }

    /// Lets the owner use everything, and nobody else.
    pub(crate) fn hand_over(&self, owner: Owner) -> Result<(), Error> {
        for path in entries(&self.0.join("maps"))?
            .iter()
            .chain([&self.program()])
        {
            give(path, owner, 0o600)?;
        }
        for folder in [self.0.join("maps"), self.0.clone()] {
            give(&folder, Owner { user: 0, ..owner }, 0o750)?;
        }
        Ok(())
    }

    /// Takes the place of `other` in one step; afterwards this is what `other` was, if it was.
    pub(crate) fn trade_places(&self, other: &Self) -> Result<(), Error> {
        let flags = if other.0.exists() {
            rustix::fs::RenameFlags::EXCHANGE
        } else {
            rustix::fs::RenameFlags::NOREPLACE
        };
        let here = rustix::fs::CWD;
        rustix::fs::renameat_with(here, &self.0, here, &other.0, flags)
            .map_err(|error| Error::pin("replace", &other.0, error.into()))
    }

    /// Removes the set; whoever has opened its maps keeps them.
    pub(crate) fn remove(&self) -> Result<(), Error> {
        if !self.0.exists() {
            return Ok(());
        }
        let maps = self.0.join("maps");
        let program = self.program();
        let program = program.exists().then_some(program);
        for path in entries(&maps)?.into_iter().chain(program) {
            fs::remove_file(&path).map_err(|source| Error::pin("remove", &path, source))?;
        }
        remove_folder(&maps)?;
        remove_folder(&self.0)
    }
}
