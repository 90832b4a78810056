//! `nxdp daemon`: fills what `nxdp load` left, without any capability.
//!
//! It goes on with the generation that it finds: whoever ended before, and
//! however, the filter filtered in the meantime and goes on counting.

use std::{path::PathBuf, sync::Arc};

use super::{
    Cause, Display, Error, Observer, Reread, Service, Side, Signals, Socket, State, error_chain,
    refresh::open_refresh,
};
use crate::{
    config::Config,
    kernel::{Pinned, Pins},
    memory,
};

/// Where the daemon finds the filter and keeps its state.
#[derive(Clone, Debug)]
pub struct DaemonOptions {
    /// The pins that `nxdp load` made.
    pub pins: PathBuf,
    /// The folder of its state.
    pub state: PathBuf,
}

/// Runs until SIGINT or SIGTERM; the filter stays in force then.
///
/// SIGHUP takes the configuration from `reread`, and all that it names, if all of it is right.
pub async fn daemon(
    config: Config,
    reread: Arc<Reread>,
    options: DaemonOptions,
) -> Result<(), Error> {
    memory::return_large_blocks();
    let mut signals = Signals::new().map_err(Error::Signals)?;
    let pinned = Pinned::open(Pins::at(options.pins))?;
    let mut socket = Socket::open(&config)?;
    let side = Side::Pinned(Box::new(pinned));
    let display = Display::of_daemon();
    let mut refresh = open_refresh(&config, &display)?;
    refresh.hurry_missing();
    let observer = Observer::start(&config).await?;
    let mut service = Service::new(Arc::new(config), reread, side, refresh, observer, display);
    service.adopt(State::at(&options.state));
    service.start_reload(Cause::Start);
    let served = service.serve(&mut signals, &mut socket).await;
    service.observer.leave(&mut service.side);
    served
}

impl Service {
    /// Goes on with the active generation; the lists behind it are those of the last image.
    fn adopt(&mut self, state: State) {
        state.sweep();
        match state.open() {
            Ok(Some(image)) => self.compiled.image = Arc::new(image.outline()),
            Ok(None) => {}
            Err(error) => self.display.trouble(&error_chain(&error)),
        }
        self.state = Some(state);
        self.display.adopted(self.side.maps().active());
        let followed = self.observer.follow(&mut self.side, &self.compiled.image);
        self.note(followed);
    }
}
