//! `nxdp attach`: attaches the loaded program to interfaces that came after it.

use std::{io, path::PathBuf};

use filter_kernel::{Hold, Pins, hold_pinned};
use tokio::time::MissedTickBehavior;

use super::{
    Display, Error, Interfaces, Monitor, Near, SignalMeaning, Signals, WATCH_INTERVAL, error_chain,
};
use crate::config::Config;

/// Attaches what is missing, and lets the kernel know the networks behind; with `watch`, stays and does so
/// whenever an interface or an address comes or goes, until SIGINT or SIGTERM. Attachments stay in either case.
pub async fn attach(config: &Config, pins: PathBuf, watch: bool) -> Result<(), Error> {
    let mut signals = Signals::new().map_err(Error::Signals)?;
    // Subscribed before the first look, so that nothing falls in between.
    let mut monitor = Monitor::open().map_err(Error::Monitor)?;
    let pins = Pins::at(pins);
    let mut interfaces = Interfaces::of(config);
    let display = Display::of_daemon();
    let mut near = Near::default();
    let mut keep = |hold: &mut Hold<'_>| {
        interfaces.mend(hold, &display)?;
        near.keep(&interfaces, &display, |prefixes| hold.put_on_link(prefixes))
    };
    let first = hold_pinned(&pins, &mut keep)
        .map_err(Error::from)
        .and_then(|kept| kept);
    if !watch {
        first?;
        return interfaces.complete();
    }
    let mut trouble = match first {
        Err(error) if is_before_load(&error) => Some(error_chain(&error)),
        other => other.map(|()| None)?,
    };
    trouble
        .iter()
        .for_each(|text| display.trouble(&format!("wait for `nxdp load`: {text}")));
    let mut tick = tokio::time::interval(WATCH_INTERVAL);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            signal = signals.next() => if signal == SignalMeaning::Stop {
                return Ok(());
            },
            () = monitor.changed() => {}
            _ = tick.tick() => {}
        }
        let kept = hold_pinned(&pins, &mut keep);
        let error = kept.map_err(Error::from).and_then(|kept| kept).err();
        let error = error.map(|error| error_chain(&error));
        if error != trouble {
            error.iter().for_each(|text| display.trouble(text));
            trouble = error;
        }
    }
}

/// Whether a load has not pinned everything yet.
fn is_before_load(error: &Error) -> bool {
    match error {
        Error::Kernel(filter_kernel::Error::NotLoaded(_)) => true,
        Error::Kernel(filter_kernel::Error::Pin { source, .. }) => {
            source.kind() == io::ErrorKind::NotFound
        }
        _ => false,
    }
}
