//! The maps, and the only places where their values become references.

use aya_ebpf::{
    bindings::{BPF_F_MMAPABLE, BPF_F_NO_PREALLOC},
    macros::map,
    maps::{
        Array, PerCpuArray,
        lpm_trie::{Key, LpmTrie},
    },
};
use filter_common::{
    client::{Address, Clients},
    layout::{Header, Record},
    reason::{COUNTER_COUNT, Reason},
    scratch::Scratch,
    table::Records,
    verdict::Steps,
};

/// The generations. Userspace sizes it and writes it through a mapping, which the kernel
/// refuses for a map that is read-only to programs; nothing here writes it.
#[map]
static TABLE: Array<Record> = Array::with_max_entries(1, BPF_F_MMAPABLE);

#[map]
static COUNTERS: PerCpuArray<[u64; COUNTER_COUNT]> = PerCpuArray::with_max_entries(1, 0);

#[map]
static SCRATCH: PerCpuArray<Scratch> = PerCpuArray::with_max_entries(1, 0);

/// Prefixes of clients that are not private; the value says nothing.
#[map]
static CLIENTS: LpmTrie<Address, u8> = LpmTrie::with_max_entries(4096, BPF_F_NO_PREALLOC);

/// Counts one packet.
#[inline(always)]
pub fn count(reason: Reason) {
    if let Some(counters) = COUNTERS.get_ptr_mut(0) {
        // SAFETY: the pointer is this CPU's live map value, and a program runs
        // to its end on one CPU before another one starts there.
        let counters = unsafe { &mut *counters };
        counters[reason as usize] += 1;
    }
}

/// This CPU's working memory.
#[inline(always)]
pub fn scratch() -> Option<*mut Scratch> {
    SCRATCH.get_ptr_mut(0)
}

/// The table map as records.
#[derive(Clone, Copy)]
pub struct Table;

impl Records for Table {
    #[inline(always)]
    fn record(&self, index: u32) -> Option<&Record> {
        TABLE.get(index)
    }
}

impl Clients for Table {
    #[inline(always)]
    fn covers(&self, address: &Address) -> bool {
        CLIENTS.get(Key::new(128, *address)).is_some()
    }
}

impl Steps for Table {
    #[inline(always)]
    fn visit(&self, scratch: &mut Scratch, header: &Header, depth: u32, parent: u64) -> u64 {
        crate::stages::nxdp_visit(scratch, header, depth, parent)
    }

    #[inline(always)]
    fn weigh(
        &self,
        class_base: u32,
        class: u16,
        asked: filter_common::verdict::Asked,
        best: filter_common::verdict::Best,
    ) -> filter_common::verdict::Best {
        crate::stages::weigh(class_base, class, asked, best)
    }
}
