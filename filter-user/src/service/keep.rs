//! `nxdp attach`: attaches the loaded program to interfaces that came after it.

use std::path::PathBuf;

use filter_kernel::{Pins, hold_pinned};
use tokio::time::MissedTickBehavior;

use super::{
    Display, Error, Interfaces, Monitor, Order, Signals, WATCH_INTERVAL, error_chain, mode,
};
use crate::config::Config;

/// Attaches what is missing; with `watch`, stays and does so whenever an interface appears,
/// until SIGINT or SIGTERM. Attachments stay in either case.
pub async fn attach(config: &Config, pins: PathBuf, watch: bool) -> Result<(), Error> {
    let mut signals = Signals::new().map_err(Error::Signals)?;
    // Subscribed before the first look, so that nothing falls in between.
    let mut monitor = Monitor::open().map_err(Error::Monitor)?;
    let pins = Pins::at(pins);
    let mut interfaces = Interfaces::new(&config.interfaces, mode(config));
    let display = Display::of_daemon();
    hold_pinned(&pins, |hold| interfaces.mend(hold, &display))??;
    if !watch {
        return interfaces.complete();
    }
    let mut tick = tokio::time::interval(WATCH_INTERVAL);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut trouble = None;
    loop {
        tokio::select! {
            order = signals.next() => if order == Order::Stop {
                return Ok(());
            },
            () = monitor.changed() => {}
            _ = tick.tick() => {}
        }
        let mended = hold_pinned(&pins, |hold| interfaces.mend(hold, &display));
        let error = mended.map_err(Error::from).and_then(|mended| mended).err();
        let error = error.map(|error| error_chain(&error));
        if error != trouble {
            error.iter().for_each(|text| display.trouble(text));
            trouble = error;
        }
    }
}
