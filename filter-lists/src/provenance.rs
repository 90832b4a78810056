//! Which list and line every rule came from, and what became of it.
//!
//! A row is 16 bytes and is found by the hash of the rule's name. This hash has
//! no key, so that two images can be compared; it decides nothing in the
//! kernel. Rows are ordered by partition (the name's last two labels), then by
//! hash, list and line.

use bytemuck::{Pod, Zeroable};
use filter_common::listed;
use xxhash_rust::xxh3::xxh3_64;

/// Number of partitions of names with two labels or more.
pub(crate) const PARTITIONS: usize = 512;
/// The partition of names with less than two labels.
pub(crate) const TOP: usize = PARTITIONS;

/// Highest number of a list.
pub const LIST_MAX: usize = (1 << LIST_BITS) - 1;
/// Highest number of a shape.
pub const SHAPE_MAX: usize = (1 << SHAPE_BITS) - 1;

const FATE_BITS: u32 = 3;
const LIST_BITS: u32 = 12;
const SHAPE_BITS: u32 = 17;

listed! {
    /// What became of a rule.
    pub enum Fate: u8 {
        /// It is in the table.
        InTable = 0, "in-table";
        /// An equal rule of the same name is in the table.
        Duplicate = 1, "duplicate";
        /// A rule of the same name or of a parent says the same for all that it matches.
        Redundant = 2, "redundant";
        /// A stronger rule matches all that it matches.
        Overridden = 3, "overridden";
        /// `$badfilter`, or a cancelled rewrite.
        Deleted = 4, "deleted";
        /// It has no form in the kernel.
        Unsupported = 5, "unsupported";
        /// It only acts on other rules while lists are compiled.
        Directive = 6, "directive";
        /// It does not fit: its name, or its list, has more rules of different effect than there is
        /// room for.
        NoRoom = 7, "no-room";
    }
}

const _: () = assert!(Fate::ALL.len() <= 1 << FATE_BITS);

/// One rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Row {
    /// [`origin_hash`] of the name.
    pub name_hash: u64,
    /// Line in the list, counted from 1.
    pub line: u32,
    /// Fate, list and shape.
    packed: u32,
}

const _: () = assert!(size_of::<Row>() == 16);

impl Row {
    /// Packs a row; `list` and `shape` are at most [`LIST_MAX`] and [`SHAPE_MAX`].
    pub fn new(name_hash: u64, list: u32, line: u32, shape: u32, fate: Fate) -> Self {
        Self {
            name_hash,
            line,
            packed: list << (SHAPE_BITS + FATE_BITS) | shape << FATE_BITS | fate as u32,
        }
    }

    /// Number of the list.
    pub fn list(&self) -> usize {
        (self.packed >> (SHAPE_BITS + FATE_BITS)) as usize
    }

    /// Number of the shape.
    pub fn shape(&self) -> usize {
        (self.packed >> FATE_BITS) as usize & SHAPE_MAX
    }

    /// What became of the rule; `None` in a damaged image.
    pub fn fate(&self) -> Option<Fate> {
        Fate::from_number((self.packed & ((1 << FATE_BITS) - 1)) as u8)
    }

    /// What rows inside a partition are sorted by.
    pub(crate) fn sort_key(&self) -> (u64, u64) {
        let place = (self.list() as u64) << 32 | u64::from(self.line);
        (self.name_hash, place)
    }
}

/// The hash of a name by its labels in wire format, without the root label.
pub fn origin_hash(labels: &[u8]) -> u64 {
    xxh3_64(labels)
}

/// The partition of a name given by its labels in wire format without the root label.
pub(crate) fn partition_of(labels: &[u8]) -> usize {
    let (mut at, mut last, mut before) = (0, None, None);
    while at < labels.len() {
        before = last;
        last = Some(at);
        at += 1 + usize::from(labels[at]);
    }
    // The high bits of a good hash; PARTITIONS is a power of two.
    before.map_or(TOP, |start| {
        (xxh3_64(&labels[start..]) >> (64 - PARTITIONS.trailing_zeros())) as usize
    })
}

/// The rows of all rules of an image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Provenance {
    /// Where each partition starts, and the end.
    pub(crate) starts: Vec<u32>,
    pub(crate) rows: Vec<Row>,
}

/// Entries of [`Provenance::starts`].
pub(crate) const START_COUNT: usize = PARTITIONS + 2;

impl Provenance {
    /// The rules whose name has these labels in wire format, without the root label.
    pub fn rules_of(&self, labels: &[u8]) -> &[Row] {
        let rows = self.partition(partition_of(labels));
        let hash = origin_hash(labels);
        let start = rows.partition_point(|row| row.name_hash < hash);
        let len = rows[start..].partition_point(|row| row.name_hash == hash);
        &rows[start..start + len]
    }

    /// Every row, by partition, hash, list and line.
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// The rows of one partition.
    pub(crate) fn partition(&self, partition: usize) -> &[Row] {
        let bound = |i: usize| self.starts.get(i).map_or(0, |&at| at as usize);
        self.rows
            .get(bound(partition)..bound(partition + 1))
            .unwrap_or(&[])
    }
}

#[cfg(test)]
mod tests {
    use filter_common::name::Name;

    use super::*;

    #[test]
    fn a_row_keeps_its_fields() {
        for fate in Fate::ALL {
            let row = Row::new(7, LIST_MAX as u32, u32::MAX, SHAPE_MAX as u32, fate);
            assert_eq!(row.fate(), Some(fate));
            assert_eq!((row.list(), row.shape()), (LIST_MAX, SHAPE_MAX));
            assert_eq!(row.line, u32::MAX);
        }
    }

    fn name(text: &str) -> Name {
        Name::from_text(text.as_bytes()).unwrap()
    }

    fn partition_of_name(name: &Name) -> usize {
        let wire = name.as_wire();
        partition_of(&wire[..wire.len() - 1])
    }

    #[test]
    fn a_name_and_what_is_below_it_share_a_partition() {
        let home = partition_of_name(&name("example.org"));
        assert_eq!(partition_of_name(&name("a.b.c.example.org")), home);
        assert_eq!(partition_of_name(&name("org")), TOP);
        assert_eq!(partition_of_name(&Name::ROOT), TOP);
    }
}
