//! The maps of a test: ordinary collections, and what was counted and told.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
};

use bytemuck::Zeroable;

use crate::{
    address::{Address, QueryClient},
    direct::Direct,
    layout::{ClientRecord, InterfaceRecord, OverrideRecord, PolicyRecord, Record, RuleRecord},
    maps::{Flow, Maps, Part},
    reason::Reason,
    scratch::Scratch,
    selector::{Key, Selector},
    table::Records,
};

/// Prefixes: address, length, value.
pub(crate) type Prefixes = Vec<(Address, u32, u32)>;

/// The tables of one world.
#[derive(Default)]
pub(crate) struct World {
    pub(crate) records: Vec<Record>,
    pub(crate) policies: HashMap<u32, PolicyRecord>,
    pub(crate) prefixes: HashMap<String, Prefixes>,
    pub(crate) selected: HashMap<(Selector, Key), u32>,
    pub(crate) interfaces: HashMap<u32, u32>,
    pub(crate) overrides: HashMap<u64, OverrideRecord>,
    pub(crate) flows: RefCell<HashMap<u64, Flow>>,
    pub(crate) parts: RefCell<HashMap<u32, Part>>,
    pub(crate) buckets: RefCell<HashMap<u32, u64>>,
    pub(crate) now_ns: Cell<u64>,
    pub(crate) random: Cell<u32>,
    /// Queries counted: their policy, and whether they were blocked.
    pub(crate) counted: RefCell<Vec<(u32, bool)>>,
    /// What userspace hears of: the reason, and the list of the rule.
    pub(crate) told: RefCell<Vec<(Reason, Option<u32>)>>,
}

impl World {
    /// The value of the longest prefix that covers an address.
    fn longest(&self, what: &str, address: &Address) -> Option<u32> {
        let number = u128::from_be_bytes(*address);
        let entries = self.prefixes.get(what)?.iter();
        let covering = entries.filter(|(prefix, len, _)| {
            (u128::from_be_bytes(*prefix) ^ number).leading_zeros() >= *len
        });
        covering.max_by_key(|entry| entry.1).map(|entry| entry.2)
    }
}

impl Records for World {
    fn record(&self, index: u32) -> Option<&Record> {
        self.records.get(index as usize)
    }
}

impl Maps for World {
    fn policy(&self, number: u32) -> Option<&PolicyRecord> {
        self.policies.get(&number)
    }

    fn client(&self, address: &Address) -> ClientRecord {
        ClientRecord(self.longest("client", address).unwrap_or(0))
    }

    fn is_on_link(&self, address: &Address) -> bool {
        self.longest("link", address).is_some()
    }

    fn policy_of(&self, selector: Selector, client: &QueryClient) -> u32 {
        let key = (selector, selector.key(client));
        self.selected.get(&key).copied().unwrap_or(0)
    }

    fn interface(&self, interface: u32) -> InterfaceRecord {
        InterfaceRecord(self.interfaces.get(&interface).copied().unwrap_or(0))
    }

    fn is_resolver(&self, address: &Address) -> bool {
        self.longest("resolver", address).is_some()
    }

    fn override_record(&self, key: u64) -> Option<&OverrideRecord> {
        self.overrides.get(&key)
    }

    fn bucket(&self, index: u32) -> u64 {
        self.buckets.borrow().get(&index).copied().unwrap_or(0)
    }

    fn set_bucket(&self, index: u32, state: u64) {
        self.buckets.borrow_mut().insert(index, state);
    }

    fn flow(&self, key: u64) -> Option<Flow> {
        self.flows.borrow().get(&key).copied()
    }

    fn set_flow(&self, key: u64, flow: Flow) {
        self.flows.borrow_mut().insert(key, flow);
    }

    fn remove_flow(&self, key: u64) {
        self.flows.borrow_mut().remove(&key);
    }

    fn with_part<T>(&self, index: u32, look: impl FnOnce(&mut Part) -> T) -> Option<T> {
        let mut parts = self.parts.borrow_mut();
        Some(look(parts.entry(index).or_insert_with(Part::zeroed)))
    }

    fn count_policy(&self, policy: u32, is_blocked: bool) {
        self.counted.borrow_mut().push((policy, is_blocked));
    }

    fn tell(&self, _scratch: &Scratch, rule: Option<&RuleRecord>, reason: Reason) {
        let list = rule.map(|rule| rule.list);
        self.told.borrow_mut().push((reason, list));
    }

    fn random(&self) -> u32 {
        self.random.get()
    }

    fn now_ns(&self) -> u64 {
        self.now_ns.get()
    }

    fn ticks(&self) -> u32 {
        (self.now_ns.get() >> 20) as u32
    }
}

impl Direct for World {}
