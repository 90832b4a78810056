//! The maps of the kernel program, on the host: ordinary collections.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, HashMap},
};

use filter_common::{
    address::{Address, QueryClient},
    direct::Direct,
    layout::{
        CLIENT_ANSWERED, ClientRecord, Control, Event, InterfaceRecord, OverrideRecord, POLICY_MAX,
        PolicyRecord, Record, RuleRecord,
    },
    maps::{Flow, Maps, Part},
    reason::Reason,
    scratch::Scratch,
    selector::Selector,
    table::Records,
};
use filter_kernel::{Maps as KernelMaps, Prefix, Selected};

/// Everything that the core looks things up in.
pub struct HostTables {
    /// The table map.
    pub records: Vec<Record>,
    /// Policies by number.
    pub policies: BTreeMap<u32, PolicyRecord>,
    /// Client prefixes: address, length, record.
    pub clients: Vec<(Address, u32, ClientRecord)>,
    /// Policies by what is looked up as it is.
    pub selected: Selected,
    /// What is known of interfaces.
    pub interfaces: HashMap<u32, InterfaceRecord>,
    /// Resolvers that answer over HTTPS.
    pub resolvers: Vec<Prefix>,
    /// Prefixes behind the attached interfaces.
    pub on_link: Vec<Prefix>,
    /// Overrides by key.
    pub overrides: HashMap<u64, OverrideRecord>,
    /// Connections that were answered.
    pub flows: RefCell<HashMap<u64, Flow>>,
    /// Parts of queries, by place.
    pub parts: RefCell<HashMap<u32, Part>>,
    /// Token buckets that were used.
    pub buckets: RefCell<HashMap<u32, u64>>,
    /// What was told.
    pub events: RefCell<Vec<Event>>,
    /// CLOCK_BOOTTIME.
    pub now_ns: Cell<u64>,
    /// Whether a connection was looked for since this was cleared.
    pub has_followed: Cell<bool>,
}

impl HostTables {
    /// Tables with `records`, one policy that blocks everything, and nothing else.
    pub fn new(records: Vec<Record>) -> Self {
        let policy = PolicyRecord {
            categories: u64::MAX,
            ..PolicyRecord::default()
        };
        Self {
            records,
            policies: BTreeMap::from([(0, policy)]),
            clients: Vec::new(),
            selected: Selected::default(),
            interfaces: HashMap::new(),
            resolvers: Vec::new(),
            on_link: Vec::new(),
            overrides: HashMap::new(),
            flows: RefCell::default(),
            parts: RefCell::default(),
            buckets: RefCell::default(),
            events: RefCell::default(),
            now_ns: Cell::new(1),
            has_followed: Cell::new(false),
        }
    }

    /// Tables that say what the maps of a kernel program say, over the records of its images: of
    /// the lists, and of custom categories.
    ///
    /// # Errors
    ///
    /// When a map cannot be read.
    pub fn like(
        maps: &mut KernelMaps,
        image: &[Record],
        custom: Option<&[Record]>,
    ) -> Result<Self, filter_kernel::Error> {
        let control = Control {
            active: 1,
            custom: custom.map_or(0, |_| image.len() as u32 + 1),
            ..maps.control()
        };
        let first = [Record(bytemuck::cast(control))];
        let records = [&first, image, custom.unwrap_or_default()].concat();
        let assignments = maps.adopt_assignments()?;
        let policies = (0..=POLICY_MAX).map(|number| Ok((number, maps.policy(number)?)));
        let prefixes = assignments.prefixes.iter();
        Ok(Self {
            policies: policies.collect::<Result<_, filter_kernel::Error>>()?,
            clients: prefixes
                .map(|(prefix, record)| (prefix.address, prefix.len, *record))
                .collect(),
            selected: assignments.selected.clone(),
            interfaces: assignments.interfaces.clone().into_iter().collect(),
            resolvers: assignments.resolvers.clone(),
            on_link: maps.on_link()?.into_iter().collect(),
            overrides: maps.override_records()?.into_iter().collect(),
            ..Self::new(records)
        })
    }

    /// Changes the control record.
    pub fn update_control(&mut self, change: impl FnOnce(&mut Control)) {
        let mut control = *Control::of(&self.records[0]);
        change(&mut control);
        self.records[0] = Record(bytemuck::cast(control));
    }

    /// Answers these addresses too.
    pub fn answer_prefix(&mut self, address: Address, len: u32) {
        self.clients
            .push((address, len, ClientRecord(CLIENT_ANSWERED)));
    }
}

impl Records for HostTables {
    fn record(&self, index: u32) -> Option<&Record> {
        self.records.get(index as usize)
    }
}

impl Maps for HostTables {
    fn policy(&self, number: u32) -> Option<&PolicyRecord> {
        self.policies.get(&number)
    }

    fn client(&self, address: &Address) -> ClientRecord {
        let number = u128::from_be_bytes(*address);
        let covers = |&&(prefix, len, _): &&(Address, u32, ClientRecord)| {
            len == 0 || (u128::from_be_bytes(prefix) ^ number) >> (128 - len) == 0
        };
        let longest = self
            .clients
            .iter()
            .filter(covers)
            .max_by_key(|entry| entry.1);
        longest.map_or(ClientRecord(0), |entry| entry.2)
    }

    fn is_on_link(&self, address: &Address) -> bool {
        self.on_link.iter().any(|prefix| prefix.covers(address))
    }

    fn policy_of(&self, selector: Selector, client: &QueryClient) -> u32 {
        self.selected.policy(selector, client)
    }

    fn interface(&self, interface: u32) -> InterfaceRecord {
        self.interfaces.get(&interface).copied().unwrap_or_default()
    }

    fn is_resolver(&self, address: &Address) -> bool {
        self.resolvers.iter().any(|prefix| prefix.covers(address))
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
        self.has_followed.set(true);
        self.flows.borrow().get(&key).copied()
    }

    fn set_flow(&self, key: u64, flow: Flow) {
        self.has_followed.set(true);
        self.flows.borrow_mut().insert(key, flow);
    }

    fn with_part<T>(&self, index: u32, look: impl FnOnce(&mut Part) -> T) -> Option<T> {
        self.has_followed.set(true);
        let mut parts = self.parts.borrow_mut();
        let part = parts
            .entry(index)
            .or_insert_with(bytemuck::Zeroable::zeroed);
        Some(look(part))
    }

    fn remove_flow(&self, key: u64) {
        self.flows.borrow_mut().remove(&key);
    }

    fn tell(&self, scratch: &Scratch, rule: Option<&RuleRecord>, reason: Reason) {
        let mut event: Event = bytemuck::Zeroable::zeroed();
        filter_common::event::fill(self, &mut event, scratch, rule, reason);
        self.events.borrow_mut().push(event);
    }

    fn now_ns(&self) -> u64 {
        self.now_ns.get()
    }

    fn ticks(&self) -> u32 {
        (self.now_ns.get() >> 20) as u32
    }
}

impl Direct for HostTables {}
