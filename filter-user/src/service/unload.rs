//! `nxdp unload`: the way back, and proof that it was gone.

use std::{
    collections::BTreeSet,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use filter_kernel::{
    Pins, Removed,
    features::{self, Obstacle, ObstacleKind, Purpose},
};

/// How long what was removed may take to end.
const END_PATIENCE: Duration = Duration::from_secs(5);
const END_PAUSE: Duration = Duration::from_millis(10);

/// Why something is left.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The pins cannot be removed.
    #[error(transparent)]
    Kernel(#[from] filter_kernel::Error),
    /// The kernel would let the program run on.
    #[error("unload: {0}; then unload again, nothing was changed")]
    LargePackets(Obstacle),
    /// The interfaces cannot be listed.
    #[error(transparent)]
    Interfaces(#[from] features::Error),
    /// Something outlived its removal.
    #[error("unload: {what} after {} seconds; {way_out}", END_PATIENCE.as_secs())]
    Left {
        /// What is left.
        what: String,
        /// How to find who holds it.
        way_out: String,
    },
}

/// What is left on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unloaded {
    /// Nothing.
    Everything,
    /// Maps that no packet reaches any more: a running daemon has them open until it ends, or
    /// follows the next load.
    ButForDaemon,
}

/// Detaches and removes everything, and makes sure that nothing is left.
pub fn unload(pins: &Path) -> Result<Unloaded, Error> {
    let pins = Pins::at(pins);
    if !pins.exist() {
        return Ok(Unloaded::Everything);
    }
    stop_at_large_packets(&pins)?;
    let removed = pins.remove()?;
    wait_for_programs(&removed)?;
    let unloaded = wait_for_maps(&removed)?;
    match pins.exist() {
        true => Err(Error::Left {
            what: "pins are left".to_owned(),
            way_out: format!("look into {}", pins.root().display()),
        }),
        false => Ok(unloaded),
    }
}

/// A driver that finds packets too large for a program also refuses to let go of one: Linux 6.1 then
/// counts it as detached, and it goes on to answer.
fn stop_at_large_packets(pins: &Pins) -> Result<(), Error> {
    let native = Purpose {
        mode: features::Mode::Native,
        has_vlan_policies: false,
    };
    let is_native = |hook: &features::Hook| {
        let mut attached = hook.attached.iter();
        attached.any(|program| program.mode == features::Mode::Native)
    };
    let hooks = features::hooks()?.into_iter().filter(is_native);
    let natives: BTreeSet<u32> = hooks.map(|hook| hook.index).collect();
    let ours = pins.attached()?.intersection(&natives).copied().collect();
    let mut obstacles = features::obstacles(&ours, native)?.into_iter();
    match obstacles.find(|obstacle| obstacle.kind == ObstacleKind::LargePackets) {
        Some(obstacle) => Err(Error::LargePackets(obstacle)),
        None => Ok(()),
    }
}

/// Attachments end with their programs, and the other way round.
fn wait_for_programs(removed: &Removed) -> Result<(), Error> {
    let left = |what: String, id: u32| Error::Left {
        what,
        way_out: format!("`bpftool prog show id {id}` names the processes that hold it"),
    };
    let is_ours = |id: u32| removed.programs.contains(&id);
    wait_until(|| {
        let hooks = features::hooks()?;
        let ours =
            |hook: &features::Hook| hook.attached.iter().map(|p| p.id).find(|id| is_ours(*id));
        Ok(hooks.into_iter().find_map(|hook| {
            let id = ours(&hook)?;
            Some(left(format!("the program is still on {}", hook.name), id))
        }))
    })?;
    wait_until(|| {
        let mut ids = removed.programs.iter();
        let loaded = ids.find(|id| filter_kernel::is_loaded(**id));
        Ok(loaded.map(|id| left(format!("program {id} is still loaded"), *id)))
    })
}

/// Maps end when nobody has them open; a daemon may go on to have them.
fn wait_for_maps(removed: &Removed) -> Result<Unloaded, Error> {
    let left = || removed.maps.iter().find(|id| filter_kernel::has_map(**id));
    if removed.has_daemon && left().is_some() {
        return Ok(Unloaded::ButForDaemon);
    }
    wait_until(|| {
        Ok(left().map(|id| Error::Left {
            what: format!("map {id} is still there"),
            way_out: format!("`bpftool map show id {id}` names the processes that hold it"),
        }))
    })?;
    Ok(Unloaded::Everything)
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
