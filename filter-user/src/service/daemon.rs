//! `nxdp daemon`: fills what `nxdp load` left, without any capability.
//!
//! It goes on with the generation that it finds: whoever ended before, and
//! however, the filter filtered in the meantime and goes on counting.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use filter_kernel::{PINS_DEFAULT, Pinned, Pins};
use filter_lists::image::{Image, ImageError};

use super::{
    Cause, Display, Error, KernelHandle, Observer, PrepareError, Reread, STATE_DEFAULT, Service,
    Signals, Socket, State, custom::outline, error_chain, fill, refresh::open_refresh,
};
use crate::{
    config::{CONFIG_DEFAULT, Config},
    enforcement::{self, Enforcement, Plan},
    memory,
    overrides::{Journal, OverrideSet},
    policy::Categories,
};

/// Where the daemon finds the filter and keeps its state.
#[derive(Clone, Debug)]
pub struct DaemonOptions {
    /// The pins that `nxdp load` made.
    pub pins: PathBuf,
    /// The folder of its state.
    pub state: PathBuf,
    /// The file that the configuration comes from.
    pub config: Option<PathBuf>,
}

impl DaemonOptions {
    /// How `nxdp load` is called for the same filter.
    fn load_command(&self) -> String {
        let mut command = "nxdp load".to_owned();
        let config = self.config.as_deref();
        let flags = [
            ("--config", config, CONFIG_DEFAULT),
            ("--pins", Some(&*self.pins), PINS_DEFAULT),
            ("--state", Some(&*self.state), STATE_DEFAULT),
        ];
        for (flag, value, default) in flags {
            if let Some(value) = value.filter(|value| *value != Path::new(default)) {
                command.push_str(&format!(" {flag} {}", value.display()));
            }
        }
        command
    }
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
    let load_command = options.load_command();
    let mut pinned = Pinned::open(Pins::at(options.pins))?;
    let mut socket = Socket::open(&config)?;
    let display = Display::of_daemon();
    let mut refresh = open_refresh(&config, &display, pinned.maps.active().is_some())?;
    refresh.hurry_missing();
    let state = State::at(&options.state);
    state.sweep();
    let image = last_outline(state.open(), &display);
    let custom = last_outline(state.open_custom(), &display);
    let categories = Categories::after(&config, image.lists().iter().chain(custom.lists()));
    let path = state.overrides(&config);
    let journal = Journal::open(&path).unwrap_or_else(|error| {
        let why = error_chain(&error);
        display.trouble(&format!(
            "overrides stay as they are and cannot be changed: {why}"
        ));
        Journal::sealed(&path, why)
    });
    let enforcement = go_on(&config, &categories, journal, &mut pinned)?;
    let observer = Observer::start(&config).await?;
    let kernel = KernelHandle::Pinned(Box::new(pinned));
    let config = Arc::new(config);
    let mut service = Service::new(
        config,
        reread,
        kernel,
        enforcement,
        refresh,
        observer,
        display,
    );
    (service.compiled.image, service.compiled.categories) = (Arc::new(image), categories);
    let has_custom = !custom.lists().is_empty();
    service.compiled.custom = has_custom.then(|| outline(&custom));
    (service.state, service.load_command) = (Some(state), load_command);
    service.display.adopted(service.kernel.maps().active());
    // Policies are for the interfaces that are known.
    let looked = service.look_at_interfaces();
    service.note(looked);
    let followed = service.observe();
    service.note(followed);
    service.start_reload(Cause::Start);
    let served = service.serve(&mut signals, &mut socket).await;
    service.observer.leave(&mut service.kernel);
    served
}

impl Service {
    /// Puts overrides in force that could not be read before, once they can.
    pub(super) fn look_for_overrides(&mut self) -> Result<(), Error> {
        let is_sealed = self.enforcement.seal().is_some();
        if is_sealed && self.kernel.change(|maps| self.enforcement.unseal(maps))? {
            self.display
                .trouble("overrides can be read again, and are in force");
        }
        Ok(())
    }
}

/// What is known of the last image, whose lists are behind the active generation.
fn last_outline(kept: Result<Option<Image>, ImageError>, display: &Display) -> Image {
    match kept {
        Ok(Some(image)) => image.outline(),
        Ok(None) => Image::default(),
        Err(error) => {
            display.trouble(&error_chain(&error));
            Image::default()
        }
    }
}

/// Goes on with the policies and overrides that are in force.
fn go_on(
    config: &Config,
    categories: &Categories,
    journal: (Journal, OverrideSet),
    pinned: &mut Pinned,
) -> Result<Enforcement, Error> {
    let numbers = enforcement::numbers_in(&pinned.maps, config)?;
    let plan = Plan::of(config, categories, &numbers).map_err(PrepareError::Config)?;
    let program_id = Some(pinned.program().id);
    pinned.change(|maps| fill(config, plan, journal, program_id, maps))
}
