//! Custom categories change while the filter runs: their image alone, beside that of the lists.
//!
//! Owns what is known of their generation, and how a change of their files gets in force. The
//! generation of the lists keeps its number, its records and its place.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use filter_common::layout::{Header, RECORD_BYTES, Record};
use filter_kernel::GenerationChange;
use filter_lists::image::Image;

use super::{
    Error, PrepareError, Service, error_chain,
    observe::{now_s, policy_names},
    reload::{Preparing, Ready},
    watch::Watch,
};
use crate::{
    control::{CustomStatus, ListStatus},
    pipeline::{Custom, Guarding, Probes},
};

/// What became of custom categories since the start.
#[derive(Debug)]
pub(super) struct CustomState {
    pub(super) watch: Watch,
    pub(super) last_error: Option<String>,
    /// What is being prepared is their image alone.
    pub(super) is_on_its_way: bool,
    done_at_s: u64,
    took: Duration,
}

impl CustomState {
    pub(super) fn new(watch: Watch) -> Self {
        Self {
            watch,
            last_error: None,
            is_on_its_way: false,
            done_at_s: 0,
            took: Duration::ZERO,
        }
    }

    /// Notes that what was compiled is in force.
    pub(super) fn note_done(&mut self, took: Duration) {
        self.last_error = None;
        self.done_at_s = now_s();
        self.took = took;
    }
}

/// What is left of an image that is in force, for names and counters.
pub(super) fn outline(image: &Image) -> Custom {
    Custom {
        image: Arc::new(image.outline()),
        ..Custom::default()
    }
}

impl Service {
    /// Compiles the operator's own names in the background, for the categories in force.
    pub(super) fn prepare_custom(&self) -> Preparing {
        let config = Arc::clone(&self.config);
        let sources = Arc::clone(&self.sources);
        let categories = self.compiled.categories.clone();
        tokio::task::spawn_blocking(move || {
            let watch = Watch::new(config.custom_files());
            let custom = sources.compile_custom(&config, &categories, None, Guarding::Refuse);
            Ok(Ready::Custom(custom.map_err(PrepareError::from)?, watch))
        })
    }

    /// Puts the operator's own names in force that were compiled.
    pub(super) fn put_custom_in_force(
        &mut self,
        custom: Option<Custom>,
        watch: Watch,
    ) -> Result<(), Error> {
        let Some(custom) = custom else {
            return Ok(());
        };
        let start = Instant::now();
        // Numbers of lists may mean something else afterwards.
        self.record_counts()?;
        let policies = policy_names(self.enforcement.policies());
        let judge = |generation: &[Record]| {
            let header = generation.first().map(Header::of);
            header.inspect(|header| self.observer.announce(header, &policies, &custom.image));
            custom.probes.pass(generation)
        };
        let change = GenerationChange::To(custom.image.records(), &judge);
        let fill = |maps: &mut _| self.enforcement.install(maps);
        let numbers = (self.kernel).activate(GenerationChange::Keep, change, fill)?;
        let swap = start.elapsed();
        self.display.custom_swapped(&custom, numbers.custom, swap);
        self.custom.watch = watch;
        self.custom.note_done(custom.took + swap);
        self.let_go_of_custom(Some(custom));
        let followed = self.observe();
        self.note(followed);
        Ok(())
    }

    /// Tells that a change of the operator's own names is refused; those before stay.
    pub(super) fn refuse_custom(&mut self, error: &Error) {
        let mut text = error_chain(error);
        if let Some(way_out) = self.ask_for_room(error) {
            text = format!("{text}; {way_out}");
        }
        self.display.custom_refused(&text);
        self.custom.last_error = Some(text);
    }

    /// Keeps the image on disk, and in memory what tells what it was.
    pub(super) fn let_go_of_custom(&mut self, custom: Option<Custom>) {
        let image = custom.as_ref().map(|custom| Arc::clone(&custom.image));
        self.compiled.custom = custom.map(|custom| Custom {
            image: Arc::new(custom.image.outline()),
            probes: Probes::default(),
            ..custom
        });
        if let Some(state) = &self.state {
            self.sources.forget();
            match image {
                Some(image) => self.keeping.start(state.clone(), image),
                None => state.forget_custom(),
            }
        }
    }

    /// What is in force of custom categories, if there are any.
    pub(super) fn custom_status(&self) -> Option<CustomStatus> {
        let header = self.kernel.maps().active_custom();
        if header.is_none() && self.config.custom.is_empty() {
            return None;
        }
        let lists = self.compiled.custom.iter().flat_map(|custom| &custom.lists);
        Some(CustomStatus {
            generation: header.map_or(0, |header| header.generation),
            names: header.map_or(0, |header| header.name_count),
            generation_bytes: header.map_or(0, |header| {
                u64::from(header.record_count) * RECORD_BYTES as u64
            }),
            lists: lists.map(ListStatus::of).collect(),
            done_at_s: self.custom.done_at_s,
            took_ms: self.custom.took.as_secs_f64() * 1e3,
            last_error: self.custom.last_error.clone(),
        })
    }
}
