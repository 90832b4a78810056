//! The table: from the hash of a name to the class of its rules.
//!
//! A bucket is one record of eight entries. A name lives in its first bucket
//! or, when that was full, in its second. An entry holds 47 bits of the hash
//! (the bucket's place holds the others), one overflow bit and the class:
//!
//! ```text
//! 63            17   16        15     0
//! tag = hash << 17   overflow  class (0: empty entry)
//! ```
//!
//! The eight overflow bits of a bucket form a small filter: bit `hash & 7` is
//! set when a name with that remainder had to move to its second bucket. A
//! name that is not in the table therefore mostly costs one cache line.

use crate::layout::{Control, Header, Record, RuleRecord, Settings, TextRecord};

/// Entries of a bucket.
pub const BUCKET_ENTRIES: usize = 8;
/// Highest class number.
pub const CLASS_MAX: u16 = u16::MAX;

const CLASS_BITS: u32 = 16;
const CLASS_MASK: u64 = (1 << CLASS_BITS) - 1;
const OVERFLOW: u64 = 1 << CLASS_BITS;
const TAG_SHIFT: u32 = CLASS_BITS + 1;
/// Odd, so that it permutes hashes; spreads the second buckets of one first bucket.
const SECOND: u64 = 0x9e37_79b9_7f4a_7c15;

/// Where records come from: the kernel's map or a slice.
pub trait Records {
    /// The record at `index`; `None` beyond the end.
    fn record(&self, index: u32) -> Option<&Record>;
}

impl Records for [Record] {
    fn record(&self, index: u32) -> Option<&Record> {
        self.get(index as usize)
    }
}

/// Index of a name's first bucket.
#[inline(always)]
pub const fn first_bucket(hash: u64, bucket_count: u32) -> u32 {
    (((hash >> 32) * bucket_count as u64) >> 32) as u32
}

/// Index of a name's second bucket.
#[inline(always)]
pub const fn second_bucket(hash: u64, bucket_count: u32) -> u32 {
    first_bucket(hash.wrapping_mul(SECOND), bucket_count)
}

/// The entry of a name.
pub const fn entry(hash: u64, class: u16) -> u64 {
    hash << TAG_SHIFT | class as u64
}

/// Marks in `bucket`, the first of a name, that the name is in its second one.
pub fn mark_overflow(bucket: &mut Record, hash: u64) {
    bucket.0[(hash & 7) as usize] |= OVERFLOW;
}

/// The class of the name with this hash; 0 if the table does not hold it.
///
/// `bucket_base` is the index of the first bucket in `records`.
#[inline(always)]
pub fn find<R: Records + ?Sized>(
    records: &R,
    bucket_base: u32,
    bucket_count: u32,
    hash: u64,
) -> u16 {
    let first = bucket_base.wrapping_add(first_bucket(hash, bucket_count));
    let Some(bucket) = records.record(first) else {
        return 0;
    };
    let class = find_in(bucket, hash);
    if class != 0 || bucket.0[(hash & 7) as usize] & OVERFLOW == 0 {
        return class;
    }
    let second = bucket_base.wrapping_add(second_bucket(hash, bucket_count));
    match records.record(second) {
        Some(bucket) => find_in(bucket, hash),
        None => 0,
    }
}

#[inline(always)]
fn find_in(bucket: &Record, hash: u64) -> u16 {
    let tag = hash << TAG_SHIFT;
    let mut i = 0;
    while i < BUCKET_ENTRIES {
        let difference = bucket.0[i] ^ tag;
        if difference >> TAG_SHIFT == 0 && bucket.0[i] & CLASS_MASK != 0 {
            return (bucket.0[i] & CLASS_MASK) as u16;
        }
        i += 1;
    }
    0
}

macro_rules! view_of_record {
    ($($kind:ty),*) => {$(
        impl $kind {
            /// Reads a record as this kind.
            #[inline(always)]
            pub fn of(record: &Record) -> &Self {
                bytemuck::cast_ref(record)
            }
        }
    )*};
}
view_of_record!(Control, Header, Settings, RuleRecord, TextRecord);

#[cfg(test)]
mod tests {
    use super::*;

    /// A hash whose first bucket of `count` is `bucket`, and whose low half is `low`.
    fn hash(bucket: u64, count: u64, low: u64) -> u64 {
        // Rounded up: a bucket is as wide as its share of the high halves.
        ((bucket << 32).div_ceil(count)) << 32 | low
    }

    #[test]
    fn a_name_is_found_in_its_first_bucket_and_no_other_name_is() {
        let (name, bucket_count) = (hash(2, 4, 0x1234_5678), 4);
        assert_eq!(first_bucket(name, bucket_count), 2);
        let mut records = vec![Record::default(); 6];
        records[1 + 2].0[5] = entry(name, 7);
        let records = records.as_slice();
        assert_eq!(find(records, 1, bucket_count, name), 7);
        for other in [name ^ 1, name ^ 1 << 20, name ^ 1 << 46] {
            assert_eq!(find(records, 1, bucket_count, other), 0, "{other:#x}");
        }
        assert_eq!(find(records, 9, bucket_count, name), 0, "beyond the end");
    }

    #[test]
    fn the_second_bucket_is_looked_at_only_where_the_first_says_so() {
        let bucket_count = 8;
        let names = (1..).map(|low| hash(0, 8, low));
        let name = names
            .into_iter()
            .find(|name| second_bucket(*name, bucket_count) == 5)
            .unwrap();
        let mut records = vec![Record::default(); 8];
        records[5].0[0] = entry(name, 9);
        assert_eq!(find(records.as_slice(), 0, bucket_count, name), 0);
        mark_overflow(&mut records[0], name);
        assert_eq!(find(records.as_slice(), 0, bucket_count, name), 9);
        // The bit is that of the remainder: seven of eight other names do not look.
        let mut marked = Record::default();
        mark_overflow(&mut marked, name + 1);
        records[0] = marked;
        assert_eq!(find(records.as_slice(), 0, bucket_count, name), 0);
    }

    #[test]
    fn an_overflow_bit_is_no_part_of_the_entry_that_it_lies_in() {
        let name = hash(0, 1, 0xabcd_ef01);
        let mut records = vec![Record::default(); 1];
        records[0].0[1] = entry(name, CLASS_MAX);
        mark_overflow(&mut records[0], 1);
        assert_eq!(find(records.as_slice(), 0, 1, name), CLASS_MAX);
        // An empty entry has no class, whatever its tag.
        assert_eq!(find([Record::default()].as_slice(), 0, 1, 0), 0);
    }
}
