//! `nxdp unload`: the way back, and proof that it was gone.

use std::{
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use crate::{
    features,
    kernel::{self, Pins},
};

/// How long what was removed may take to end.
const END_PATIENCE: Duration = Duration::from_secs(5);
const END_PAUSE: Duration = Duration::from_millis(10);

/// Why something is left.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The pins cannot be removed.
    #[error(transparent)]
    Kernel(#[from] kernel::Error),
    /// The interfaces cannot be listed.
    #[error(transparent)]
    Interfaces(#[from] features::Error),
    /// Something outlived its removal.
    #[error("unload: {what} after {} seconds; a process may hold it: `fuser -v {path}`", END_PATIENCE.as_secs())]
    Left {
        /// What is left.
        what: String,
        /// The folder of pins.
        path: PathBuf,
    },
}

/// Detaches and removes everything, and makes sure that nothing is left.
pub fn unload(pins: &Path) -> Result<(), Error> {
    let pins = Pins::at(pins);
    if !pins.exist() {
        return Ok(());
    }
    let programs = pins.remove()?;
    let left = |what: String| Error::Left {
        what,
        path: pins.root().to_owned(),
    };
    let is_ours = |id: u32| programs.contains(&id);
    wait_until(|| {
        let hooks = features::hooks()?;
        let attached = |hook: &features::Hook| hook.attached.iter().any(|p| is_ours(p.id));
        Ok(hooks
            .into_iter()
            .find(attached)
            .map(|hook| left(format!("the program is still on {}", hook.name))))
    })?;
    wait_until(|| {
        let loaded = programs.iter().find(|id| kernel::is_loaded(**id));
        Ok(loaded.map(|id| left(format!("program {id} is still loaded"))))
    })?;
    match pins.exist() {
        true => Err(left("pins are left".to_owned())),
        false => Ok(()),
    }
}

/// Asks until nothing is left.
fn wait_until(mut left: impl FnMut() -> Result<Option<Error>, Error>) -> Result<(), Error> {
    let end = Instant::now() + END_PATIENCE;
    loop {
        match left()? {
            None => return Ok(()),
            Some(error) if Instant::now() >= end => return Err(error),
            Some(_) => thread::sleep(END_PAUSE),
        }
    }
}
