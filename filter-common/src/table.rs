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
