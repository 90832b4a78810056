//! How large a table has to be.

use filter_common::layout::RECORD_BYTES;
use filter_kernel::CUSTOM_RECORDS;

use crate::memory;

/// Records that the smallest table has: a few thousand names can come without growing it.
const LEAST: u32 = 16 * 1024;
/// A new table takes this part of the memory, so that lists can come and grow.
const FIRST_SHARE: u64 = 64;
/// And no more than this, in bytes: 1.5 million names, twice.
const FIRST_MAX_BYTES: u64 = 32 << 20;
/// A table that grows by itself takes at most this part of the memory.
const GROWN_SHARE: u64 = 4;
/// Kernel memory that a name of a large list takes at most, in bytes.
const NAME_BYTES: u64 = 12;

/// Room for two generations of so many records and a quarter more, record 0, and room for custom categories.
pub(super) fn for_records(records: usize) -> u32 {
    for_generations(records, 0)
}

/// The same where custom categories have so many records.
pub(super) fn for_generations(lists: usize, custom: usize) -> u32 {
    let custom = with_next(custom).max(CUSTOM_RECORDS as usize);
    let wanted = with_next(lists).saturating_add(custom).saturating_add(1);
    u32::try_from(wanted).unwrap_or(u32::MAX).max(LEAST)
}

/// What a new table has, whatever is known of the lists.
pub(super) fn first() -> u32 {
    for_bytes(FIRST_MAX_BYTES.min(memory::limit_bytes() / FIRST_SHARE))
}

/// How large a table gets without anybody's saying so.
pub(super) fn largest() -> u32 {
    for_bytes(memory::limit_bytes() / GROWN_SHARE)
}

/// The smallest table in which generations of so many records, lists and custom, fit beside others.
pub(super) fn least_beside(active: [usize; 2], next: [usize; 2]) -> u32 {
    let custom = (active[1] + next[1]).max(CUSTOM_RECORDS as usize);
    let wanted = (active[0] + next[0]).saturating_add(custom) + 1;
    u32::try_from(wanted).unwrap_or(u32::MAX).max(LEAST)
}

const fn with_next(records: usize) -> usize {
    records.saturating_mul(5) / 2
}

/// Room for two generations of so many names.
pub(super) fn for_names(names: u64) -> u32 {
    let bytes = names.saturating_mul(NAME_BYTES);
    let records = bytes.div_ceil(RECORD_BYTES as u64);
    for_records(usize::try_from(records).unwrap_or(usize::MAX))
}

/// Records of a table of so many bytes.
pub(super) fn for_bytes(bytes: u64) -> u32 {
    let records = bytes.div_ceil(RECORD_BYTES as u64);
    u32::try_from(records).unwrap_or(u32::MAX).max(LEAST)
}

/// For how many names a table must be to hold two generations of so many records.
pub(super) fn names_for(records: usize) -> u64 {
    (records as u64 * RECORD_BYTES as u64).div_ceil(NAME_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_for_the_names_that_an_error_tells_has_room() {
        for records in [1, 7000, 162_500, 3_000_000] {
            assert!(for_names(names_for(records)) >= for_records(records));
        }
    }

    #[test]
    fn sizes_that_no_table_can_have_are_the_largest() {
        assert_eq!(for_names(u64::MAX), u32::MAX);
        assert_eq!(for_bytes(u64::MAX), u32::MAX);
        assert_eq!(for_bytes(0), LEAST);
    }
}
