//! What a service does every second, and when the kernel tells of a change: it looks around.

use std::time::Instant;

use filter_common::reason::Reason;
use filter_kernel::features;

use super::{Error, KernelHandle, Service, clients, error_chain, supervisor};

impl Service {
    /// Attaches to every interface of the configuration, and tells what an operator should know of them.
    pub(super) fn attach(&mut self) -> Result<(), Error> {
        let ways = features::other_ways(&self.config.interfaces, &self.config.clients)?;
        self.display.other_ways(&ways);
        self.interfaces.resolve()?;
        if let KernelHandle::Own(filter) = &mut self.kernel {
            for (name, index) in self.interfaces.bound() {
                self.interfaces.attach(*index, name, &mut filter.hold()?)?;
            }
        }
        self.look_at_interfaces()?;
        let live = self.interfaces.live();
        Ok(self.interfaces.tell_notes(&live, &self.display)?)
    }

    /// Lets policies and overrides follow time and interfaces.
    fn keep_enforcement(&mut self) -> Result<(), Error> {
        let policies = self.enforcement.policies();
        let links = clients::links(&self.config, policies, &self.interfaces, &mut self.bindings)?;
        self.display.idle_policies(clients::idle(policies, &links));
        if self.kernel.is_replaced() {
            self.near.forget();
            self.kernel.change(|maps| self.enforcement.install(maps))?;
        }
        // The first reload may fail, and schedules go on.
        if !self.enforcement.is_narrow() && self.is_in_force() {
            self.kernel.change(|maps| self.enforcement.narrow(maps))?;
        }
        if self.enforcement.is_due(&links) {
            // What is in force stays where this fails; the next second tries again.
            self.kernel
                .change(|maps| self.enforcement.keep(links, maps))?;
        }
        Ok(())
    }

    /// Whether the active generations are those of the images that policies are made for.
    pub(super) fn is_in_force(&self) -> bool {
        let images = self.compiled.images();
        let maps = self.kernel.maps();
        let mut active = [maps.active(), maps.active_custom()].into_iter().flatten();
        active.all(|active| images.iter().any(|image| image.header().key == active.key))
    }

    /// Does what is due every second.
    pub(super) fn look(&mut self) -> Result<(), Error> {
        supervisor::alive();
        self.kernel.flush_log();
        // Policies are for the interfaces that are known.
        self.look_at_interfaces()?;
        self.keep_enforcement()?;
        self.observe()?;
        self.watch_traffic()?;
        self.look_for_room();
        self.look_for_overrides()?;
        Ok(self.enforcement.tidy_journal()?)
    }

    /// Compares what came with what the program saw.
    fn watch_traffic(&mut self) -> Result<(), Error> {
        let traffic = features::traffic(&self.interfaces.live())?;
        let counters = self.kernel.maps().counters()?;
        let of_strangers = [Reason::NotClient, Reason::Stranger].map(|reason| counters.of(reason));
        self.strangers.note(of_strangers.iter().sum());
        let seen_of = |index| counters.arrivals(index);
        self.unseen.note(traffic, seen_of, Instant::now());
        let unseen = self.unseen.obstacles();
        self.interfaces.keep_obstacles(unseen, &self.display)
    }

    /// Attaches what is missing, or tells of it, and follows the networks behind.
    pub(super) fn look_at_interfaces(&mut self) -> Result<(), Error> {
        match &mut self.kernel {
            KernelHandle::Own(filter) => self.interfaces.mend(&mut filter.hold()?, &self.display),
            KernelHandle::Pinned(pinned) => {
                self.interfaces.watch(pinned.program().id, &self.display)
            }
        }?;
        let put = |prefixes: &_| self.kernel.change(|maps| maps.put_on_link(prefixes));
        self.near.keep(&self.interfaces, &self.display, put)
    }

    /// Tells what went wrong beside reloads, once.
    pub(super) fn note(&mut self, result: Result<(), Error>) {
        let error = result.err().map(|error| error_chain(&error));
        let is_new = error != self.trouble;
        if let Some(text) = error.as_ref().filter(|_| is_new) {
            self.display.trouble(text);
        }
        self.trouble = error;
    }
}
