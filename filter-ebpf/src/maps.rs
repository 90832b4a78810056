//! The maps, and the only places where their values become references.

use aya_ebpf::{
    bindings::{BPF_F_MMAPABLE, BPF_F_NO_PREALLOC},
    helpers::generated::{bpf_get_prandom_u32, bpf_ktime_get_boot_ns, bpf_ktime_get_coarse_ns},
    macros::map,
    maps::{
        Array, HashMap, LruHashMap, PerCpuArray, RingBuf,
        lpm_trie::{Key, LpmTrie},
    },
};
use filter_common::{
    address::{Address, QueryClient},
    event,
    layout::{
        CLIENT_PREFIX_ROOM, ClientRecord, Control, Event, Header, INTERFACE_MAX, InterfaceRecord,
        LIST_TALLY_MAX, ON_LINK_MAX, OVERRIDE_RECORDS_MAX, OverrideRecord, POLICY_MAX,
        PolicyRecord, PolicyTally, RESOLVER_MAX, Record, RuleRecord,
    },
    limit,
    maps::{Flow, Maps, PART_COUNT, Part},
    reason::{COUNTER_COUNT, EVENTS_LOST, Reason, SLOT_COUNT, arrival_slot},
    rule::Best,
    scratch::Scratch,
    selector::{DESTINATION_MAX, MAC_MAX, Selector, VLAN_MAX},
    steps::{Asked, OptionStep, Steps},
    table::Records,
};

use crate::stages;

/// The generations. Userspace sizes it and writes it through a mapping, which the kernel
/// refuses for a map that is read-only to programs; nothing here writes it.
#[map]
static TABLE: Array<Record> = Array::with_max_entries(1, BPF_F_MMAPABLE);

#[map]
static COUNTERS: PerCpuArray<[u64; SLOT_COUNT]> = PerCpuArray::with_max_entries(1, 0);

#[map]
static SCRATCH: PerCpuArray<Scratch> = PerCpuArray::with_max_entries(1, 0);

/// What policies do; the first one is the default. Userspace writes it through a mapping.
#[map]
static POLICIES: Array<PolicyRecord> = Array::with_max_entries(POLICY_MAX + 1, BPF_F_MMAPABLE);

/// Prefixes of clients: their policy, and whether they may be answered.
#[map]
static CLIENTS: LpmTrie<Address, ClientRecord> =
    LpmTrie::with_max_entries(CLIENT_PREFIX_ROOM, BPF_F_NO_PREALLOC);

/// Prefixes behind the attached interfaces, whose addresses may be answered; the value says nothing.
/// A map of its own: whoever keeps attachments writes it, and knows no policy.
#[map]
static ON_LINK: LpmTrie<Address, u8> = LpmTrie::with_max_entries(ON_LINK_MAX, BPF_F_NO_PREALLOC);

/// Policies by source on the link; two zero bytes follow the address.
#[map]
static MACS: HashMap<[u8; 8], u32> = HashMap::with_max_entries(MAC_MAX, BPF_F_NO_PREALLOC);

/// Policies by VLAN identifier; 0 means none.
#[map]
static VLANS: Array<u32> = Array::with_max_entries(VLAN_MAX, 0);

/// Policies by index of the interface.
#[map]
static INTERFACES: HashMap<u32, u32> = HashMap::with_max_entries(INTERFACE_MAX, BPF_F_NO_PREALLOC);

/// Policies by destination address.
#[map]
static DESTINATIONS: HashMap<Address, u32> =
    HashMap::with_max_entries(DESTINATION_MAX, BPF_F_NO_PREALLOC);

/// Prefixes of resolvers that answer over HTTPS; the value says nothing.
#[map]
static RESOLVERS: LpmTrie<Address, u8> = LpmTrie::with_max_entries(RESOLVER_MAX, BPF_F_NO_PREALLOC);

/// What the operator said of single names, and records that lead there.
#[map]
static OVERRIDES: HashMap<u64, OverrideRecord> =
    HashMap::with_max_entries(OVERRIDE_RECORDS_MAX, BPF_F_NO_PREALLOC);

/// Token buckets of client prefixes.
#[map]
static LIMITS: Array<u64> = Array::with_max_entries(limit::BUCKET_COUNT, 0);

/// TCP connections whose query was answered here.
#[map]
static FLOWS: LruHashMap<u64, [u64; 3]> = LruHashMap::with_max_entries(16_384, 0);

/// Parts of queries over TCP, by the key of the connection.
#[map]
static PARTS: Array<Part> = Array::with_max_entries(PART_COUNT, 0);

/// Queries and blocks by policy, as soon as there is more than one.
#[map]
static POLICY_TALLIES: PerCpuArray<PolicyTally> = PerCpuArray::with_max_entries(POLICY_MAX + 1, 0);

/// Queries that a rule of a list blocks, by list.
#[map]
static LIST_TALLIES: PerCpuArray<u64> = PerCpuArray::with_max_entries(LIST_TALLY_MAX, 0);

/// Events for userspace.
#[map]
static EVENTS: RingBuf = RingBuf::with_byte_size(512 * 1024, 0);

/// Whether some policy refuses encrypted transports. A map of its own, as short as can be: most
/// packets ask for it, and at a constant index that is a load.
#[map]
static SWITCHES: Array<u64> = Array::with_max_entries(1, 0);

/// [`SWITCHES`].
#[inline(always)]
pub fn watches_bypasses() -> bool {
    // SAFETY: a live word of the map, which userspace replaces as a whole.
    SWITCHES
        .get_ptr(0)
        .is_some_and(|word| unsafe { word.read_volatile() != 0 })
}

/// Counts one packet for its reason and for the interface that it came by.
///
/// Both in one value: a look-up in a map of its own would cost each packet more than the count.
#[inline(always)]
pub fn count(reason: Reason, interface: u32) {
    if let Some(counters) = COUNTERS.get_ptr_mut(0) {
        // SAFETY: the pointer is this CPU's live map value, and a program runs
        // to its end on one CPU before another one starts there.
        let counters = unsafe { &mut *counters };
        counters[reason as usize & (COUNTER_COUNT - 1)] += 1;
        counters[arrival_slot(interface)] += 1;
    }
}

#[inline(always)]
fn count_slot(slot: usize) {
    if let Some(counters) = COUNTERS.get_ptr_mut(0) {
        // SAFETY: as in `count`.
        let counters = unsafe { &mut *counters };
        counters[slot & (COUNTER_COUNT - 1)] += 1;
    }
}

/// This CPU's working memory.
#[inline(always)]
pub fn scratch() -> Option<*mut Scratch> {
    SCRATCH.get_ptr_mut(0)
}

/// Every map of the program.
#[derive(Clone, Copy)]
pub struct BpfMaps;

impl Records for BpfMaps {
    #[inline(always)]
    fn record(&self, index: u32) -> Option<&Record> {
        TABLE.get(index)
    }
}

/// The key of an address, placed so that the address is aligned: LLVM copies it by words, and the
/// verifier takes only aligned ones on the stack.
#[repr(C, align(8))]
struct AlignedKey {
    padding: u32,
    key: Key<Address>,
}

impl AlignedKey {
    #[inline(always)]
    fn of(address: &Address) -> Self {
        Self {
            padding: 0,
            key: Key::new(128, *address),
        }
    }
}

impl Maps for BpfMaps {
    #[inline(always)]
    fn policy(&self, number: u32) -> Option<&PolicyRecord> {
        POLICIES.get(number)
    }

    #[inline(always)]
    fn client(&self, address: &Address) -> ClientRecord {
        let AlignedKey { key, .. } = &AlignedKey::of(address);
        match CLIENTS.get(key) {
            Some(client) => *client,
            None => ClientRecord(0),
        }
    }

    #[inline(always)]
    fn is_on_link(&self, address: &Address) -> bool {
        ON_LINK.get(&AlignedKey::of(address).key).is_some()
    }

    #[inline(always)]
    fn policy_of(&self, selector: Selector, client: &QueryClient) -> u32 {
        let policy = match selector {
            Selector::Mac => {
                let [a, b, c, d, e, f] = client.mac;
                // SAFETY: a word that userspace replaces whole.
                unsafe { MACS.get([a, b, c, d, e, f, 0, 0]) }
            }
            Selector::Vlan => VLANS.get(u32::from(client.vlan)),
            Selector::Destination => {
                // On the stack: Linux 6.1 takes no key from memory that a global function is handed.
                let key = client.destination;
                // SAFETY: as above.
                unsafe { DESTINATIONS.get(key) }
            }
            // Their records say more: `client` and `interface`.
            Selector::Source | Selector::Interface => None,
        };
        policy.map_or(0, |policy| *policy)
    }

    #[inline(always)]
    fn interface(&self, interface: u32) -> InterfaceRecord {
        // SAFETY: as in `policy_of`.
        InterfaceRecord(unsafe { INTERFACES.get(interface) }.map_or(0, |record| *record))
    }

    #[inline(always)]
    fn is_resolver(&self, address: &Address) -> bool {
        RESOLVERS.get(&AlignedKey::of(address).key).is_some()
    }

    #[inline(always)]
    fn override_record(&self, key: u64) -> Option<&OverrideRecord> {
        // SAFETY: userspace replaces a record by another element, and the kernel frees the old
        // one when no program uses it any more.
        unsafe { OVERRIDES.get(key) }
    }

    #[inline(always)]
    fn bucket(&self, index: u32) -> u64 {
        LIMITS.get(index).map_or(0, |state| *state)
    }

    #[inline(always)]
    fn set_bucket(&self, index: u32, state: u64) {
        if let Some(bucket) = LIMITS.get_ptr_mut(index) {
            // SAFETY: a live word of the map; a store of another CPU in between is one token's worth.
            unsafe { *bucket = state };
        }
    }

    #[inline(always)]
    fn flow(&self, key: u64) -> Option<Flow> {
        // SAFETY: an element that is written as a whole.
        unsafe { FLOWS.get(key) }.map(|words| Flow::of_words(*words))
    }

    #[inline(always)]
    fn set_flow(&self, key: u64, flow: Flow) {
        // Without room the connection is as if it had not been answered: it ends by its timers.
        let _ = FLOWS.insert(key, flow.words(), 0);
    }

    #[inline(always)]
    fn remove_flow(&self, key: u64) {
        let _ = FLOWS.remove(key);
    }

    #[inline(always)]
    fn with_part<T>(&self, index: u32, look: impl FnOnce(&mut Part) -> T) -> Option<T> {
        let part = PARTS.get_ptr_mut(index)?;
        // SAFETY: a live value of the map. Segments of one connection come on one CPU; what another
        // one with the same place makes of it is a part that fits neither.
        Some(look(unsafe { &mut *part }))
    }

    #[inline(always)]
    fn count_policy(&self, policy: u32, is_blocked: bool) {
        if let Some(tally) = POLICY_TALLIES.get_ptr_mut(policy) {
            // SAFETY: as in `count`.
            let tally = unsafe { &mut *tally };
            tally.queries += 1;
            tally.blocked += u64::from(is_blocked);
        }
    }

    #[inline(always)]
    fn count_list(&self, list: u32) {
        if let Some(tally) = LIST_TALLIES.get_ptr_mut(list) {
            // SAFETY: as in `count`.
            unsafe { *tally += 1 };
        }
    }

    #[inline(always)]
    fn tell(&self, scratch: &Scratch, rule: Option<&RuleRecord>, reason: Reason) {
        let Some(mut entry) = EVENTS.reserve::<Event>(0) else {
            count_slot(EVENTS_LOST);
            return;
        };
        // SAFETY: `fill` writes every field, and every bit pattern is an event.
        let event = unsafe { &mut *entry.as_mut_ptr() };
        event::fill(self, event, scratch, rule, reason);
        entry.submit(0);
    }

    #[inline(always)]
    fn random(&self) -> u32 {
        // SAFETY: takes no arguments and reads no memory.
        unsafe { bpf_get_prandom_u32() }
    }

    #[inline(always)]
    fn now_ns(&self) -> u64 {
        // SAFETY: reads a clock.
        unsafe { bpf_ktime_get_boot_ns() }
    }

    #[inline(always)]
    fn ticks(&self) -> u32 {
        // SAFETY: reads a clock.
        let now_ns = unsafe { bpf_ktime_get_coarse_ns() };
        (now_ns >> 20) as u32
    }
}

impl Steps for BpfMaps {
    #[inline(always)]
    fn visit(&self, scratch: &mut Scratch, header: &Header, depth: u32, parent: u64) -> u64 {
        stages::nxdp_visit(scratch, header, depth, parent)
    }

    #[inline(always)]
    fn weigh(&self, class_base: u32, class: u16, asked: Asked, best: Best) -> Best {
        stages::weigh(class_base, class, asked, best)
    }

    #[inline(always)]
    fn walk(&self, scratch: &mut Scratch) -> u32 {
        stages::nxdp_walk(scratch)
    }

    #[inline(always)]
    fn consult_custom(&self, scratch: &mut Scratch) {
        stages::nxdp_consult_custom(scratch);
    }

    #[inline(always)]
    fn option(&self, scratch: &mut Scratch) -> OptionStep {
        stages::option(scratch)
    }

    #[inline(always)]
    fn select_policy(&self, scratch: &Scratch, flags: u32) -> u32 {
        stages::nxdp_select_policy(scratch, flags)
    }

    #[inline(always)]
    fn find_override(&self, scratch: &mut Scratch) {
        stages::nxdp_override(scratch);
    }

    #[inline(always)]
    fn override_visit(
        &self,
        scratch: &mut Scratch,
        control: &Control,
        depth: u32,
        parent: u64,
    ) -> u64 {
        stages::nxdp_override_visit(scratch, control, depth, parent)
    }
}
