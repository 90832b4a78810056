//! The map of overrides on the host: what the kernel would decide.

use filter_common::{
    address::QueryClient,
    direct::Direct,
    hash::HashKey,
    layout::{CONTROL_PAUSES, Control, Decision, OverrideRecord, PolicyRecord, Record},
    maps::Maps,
    name::Name,
    overrides,
    scratch::Scratch,
    table,
};
use filter_lists::image::put_question;
use rustc_hash::FxHashMap;

use super::Tree;

/// The records by key, the number of the batch in force, and the time.
#[derive(Clone, Debug)]
pub struct Records {
    control: Record,
    map: FxHashMap<u64, OverrideRecord>,
    now_ns: u64,
}

impl Records {
    /// No records, under a key.
    pub fn new(key: HashKey) -> Self {
        let control = Control {
            key,
            // The kernel is told so only where a client is paused; here it costs nothing.
            flags: CONTROL_PAUSES,
            ..Control::default()
        };
        Self {
            control: Record(bytemuck::cast(control)),
            map: FxHashMap::default(),
            now_ns: 0,
        }
    }

    /// The records of a tree, in force.
    pub fn of(tree: &Tree) -> Self {
        Self {
            map: tree.records().collect(),
            ..Self::new(*tree.key())
        }
    }

    /// Sets the time, in nanoseconds of CLOCK_BOOTTIME.
    pub fn set_now(&mut self, now_ns: u64) {
        self.now_ns = now_ns;
    }

    /// What is decided for a query.
    pub fn decide(&self, name: &Name, client: &QueryClient, policy: u32) -> Decision {
        self.walked(name, client, policy).decision
    }

    /// Whether a name below this one has an override, for whomever.
    pub fn varies_below(&self, name: &Name, client: &QueryClient, policy: u32) -> bool {
        self.walked(name, client, policy).leads_on != 0
    }

    fn walked(&self, name: &Name, client: &QueryClient, policy: u32) -> Scratch {
        let mut scratch: Scratch = bytemuck::Zeroable::zeroed();
        put_question(&mut scratch, name);
        scratch.client = *client;
        scratch.policy = policy;
        scratch.flags = Control::of(&self.control).flags;
        overrides::walk(self, &mut scratch);
        scratch
    }
}

impl table::Records for Records {
    fn record(&self, index: u32) -> Option<&Record> {
        (index == 0).then_some(&self.control)
    }
}

impl Maps for Records {
    fn policy(&self, _number: u32) -> Option<&PolicyRecord> {
        None
    }

    fn override_record(&self, key: u64) -> Option<&OverrideRecord> {
        self.map.get(&key)
    }

    fn now_ns(&self) -> u64 {
        self.now_ns
    }
}

impl Direct for Records {}

#[cfg(test)]
mod tests;
