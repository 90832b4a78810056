//! Where the program is attached.
//!
//! An attachment belongs to an interface, not to its name: it stays when the
//! interface is renamed and ends when it is deleted. A pinned one outlives this
//! process.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
};

use aya::{
    maps::Map,
    programs::{
        ProgramError, Xdp,
        links::{FdLink, LinkError, PinnedLink},
        xdp::XdpLink,
    },
};

use crate::{Error, Mode, Pins, error::os_error, filter::id_of, on_link};

/// The attachments of a program, by the index of their interface.
#[derive(Debug, Default)]
pub struct Attachments {
    links: BTreeMap<u32, FdLink>,
    /// Where links are pinned, if they are: a file each, named by the index.
    pins: Option<PathBuf>,
}

impl Attachments {
    /// The attachments that are pinned in `folder`; those to come are pinned there too.
    pub(crate) fn open(folder: &Path) -> Result<Self, Error> {
        let failed = |source| Error::pin("read", folder, source);
        let mut links = BTreeMap::new();
        for entry in std::fs::read_dir(folder).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            let name = path.file_name().and_then(|name| name.to_str());
            if let Some(index) = name.and_then(|name| name.parse().ok()) {
                let link = PinnedLink::from_pin(&path)
                    .map_err(|error| Error::open_pin("open", &path, &error))?;
                links.insert(index, link.into());
            }
        }
        Ok(Self {
            links,
            pins: Some(folder.to_owned()),
        })
    }

    /// Whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.links.is_empty()
    }

    /// Whether there is one to the interface with this index.
    pub(crate) fn has(&self, index: u32) -> bool {
        self.links.contains_key(&index)
    }

    /// Attaches `program` to the interface with an index, which has a name here, in place of nothing.
    pub(crate) fn attach(
        &mut self,
        program: &mut Xdp,
        (index, interface): (u32, &str),
        mode: Mode,
    ) -> Result<(), Error> {
        let failed = |error| Error::attach(interface, mode, error);
        let id = program
            .attach_to_if_index(index, mode.into())
            .map_err(failed)?;
        let link = program.take_link(id).map_err(failed)?;
        // aya falls back to netlink when the kernel refuses a link: such an
        // attachment would outlive this process, and hides why it was refused.
        let link = FdLink::try_from(link).map_err(|_| Error::refused(interface, mode))?;
        let link = match &self.pins {
            Some(folder) => pin(link, &folder.join(index.to_string()))?,
            None => link,
        };
        self.links.insert(index, link);
        Ok(())
    }

    /// Lets `program` run in place of the one before it, on each interface in one atomic step.
    ///
    /// An attachment whose interface is gone is given up.
    pub(crate) fn change_program(&mut self, program: &mut Xdp) -> Result<(), Error> {
        for (index, link) in std::mem::take(&mut self.links) {
            match change(link, program) {
                Ok(link) => {
                    self.links.insert(index, link);
                }
                Err(error) if os_error(&error) == Some(libc::ENOLINK) => self.unpin(index)?,
                Err(source) => return Err(Error::Replace { index, source }),
            }
        }
        Ok(())
    }

    /// Gives up the attachments to interfaces that are not among `live`, and tells their indexes.
    pub(crate) fn give_up_others(&mut self, live: &[u32]) -> Result<Vec<u32>, Error> {
        let is_dead = |index: &&u32| !live.contains(index);
        let dead: Vec<u32> = self.links.keys().filter(is_dead).copied().collect();
        for index in &dead {
            self.links.remove(index);
            self.unpin(*index)?;
        }
        Ok(dead)
    }

    fn unpin(&self, index: u32) -> Result<(), Error> {
        let Some(folder) = &self.pins else {
            return Ok(());
        };
        let path = folder.join(index.to_string());
        std::fs::remove_file(&path).map_err(|source| Error::pin("remove", &path, source))
    }
}

/// A program and its attachments, to be kept up while interfaces come and go.
pub struct Hold<'a> {
    pub(crate) program: &'a mut Xdp,
    pub(crate) links: &'a mut Attachments,
    pub(crate) on_link: &'a mut Map,
}

impl Hold<'_> {
    /// The id of the program.
    pub fn program_id(&self) -> Result<u32, Error> {
        id_of(self.program)
    }

    /// Attaches to the interface with an index; see [`crate::Filter::attach`].
    pub fn attach(&mut self, index: u32, interface: &str, mode: Mode) -> Result<(), Error> {
        self.links.attach(self.program, (index, interface), mode)
    }

    /// Gives up the attachments to interfaces that are not among `live`, and tells their indexes.
    pub fn give_up_others(&mut self, live: &[u32]) -> Result<Vec<u32>, Error> {
        self.links.give_up_others(live)
    }
}

/// Does `work` on the pinned program and its attachments, while nobody else changes them.
///
/// They are let go of at once: what is open cannot be unloaded.
pub fn hold_pinned<T>(pins: &Pins, work: impl FnOnce(&mut Hold<'_>) -> T) -> Result<T, Error> {
    let _lock = pins.lock()?;
    Ok(work(&mut Hold {
        program: &mut pins.set().open_program()?,
        links: &mut Attachments::open(&pins.links())?,
        on_link: &mut pins.set().open_map(on_link::NAME)?,
    }))
}

/// Replaces the program of a link in one step.
fn change(link: FdLink, program: &mut Xdp) -> Result<FdLink, ProgramError> {
    let foreign = |error: LinkError| ProgramError::IOError(io::Error::other(error));
    let link = XdpLink::try_from(link).map_err(foreign)?;
    let id = program.attach_to_link(link)?;
    FdLink::try_from(program.take_link(id)?).map_err(foreign)
}

/// Pins a link; the attachment then outlives this process.
fn pin(link: FdLink, path: &Path) -> Result<FdLink, Error> {
    match link.pin(path) {
        Ok(link) => Ok(link.into()),
        Err(error) => Err(Error::open_pin("make", path, &error)),
    }
}
