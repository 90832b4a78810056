//! The rules of one list, packed as the merge wants them.
//!
//! A name goes to one of [`PARTITIONS`] by its last two labels, so that a name,
//! its parents and everything below it meet in one partition. A partition is
//! small enough to be merged inside the processor's cache. A row costs the
//! name and six bytes; nothing is allocated per rule.

use filter_common::name::Name;
use sha2::{Digest as _, Sha256};

use super::shapes::Shapes;
use crate::{
    image::ListInfo,
    provenance::{PARTITIONS, TOP, partition_of},
    rule::{Rule, Shape},
};

/// Number of categories that can be told apart.
pub const CATEGORY_MAX: usize = u64::BITS as usize;

/// A list's rules, collected line by line and kept for the next compilation.
///
/// One list needs no other: lists can be read on several threads, and a list
/// that did not change need not be read again.
#[derive(Clone, Debug)]
pub struct ListBuilder {
    info: ListInfo,
    shapes: Shapes,
    partitions: Vec<Vec<u8>>,
    rule_count: usize,
    skipped_names: usize,
    /// Bytes of all rows, and how many they may be.
    bytes: usize,
    bytes_max: usize,
}

/// Kinds of rules (scope, types, answer, exceptions) that one list may have.
pub const LIST_SHAPES_MAX: usize = 1 << 16;
/// Names that the rules of one list may skip (`$denyallow`), over all rules.
pub const LIST_SKIPPED_MAX: usize = 1 << 18;

/// Why a list is more work than a list may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Excess {
    /// Too many kinds of rules.
    #[error(
        "its rules differ in more than {LIST_SHAPES_MAX} combinations of options (scope, types, \
         answer, exceptions): leave the list out, or split it"
    )]
    Shapes,
    /// Too many names that are skipped.
    #[error(
        "its rules skip more than {LIST_SKIPPED_MAX} names (`$denyallow`): leave the list out, or \
         split it"
    )]
    Skipped,
    /// More than the memory is good for.
    #[error(
        "its rules take more than {} MiB, the part of the memory that one list may take here: \
         leave the list out, or give nxdp more memory",
        max_bytes >> 20
    )]
    Memory {
        /// Bytes that they may take.
        max_bytes: usize,
    },
}

impl ListBuilder {
    /// Starts an empty list.
    pub fn new(info: ListInfo) -> Self {
        Self {
            info,
            shapes: Shapes::default(),
            partitions: vec![Vec::new(); PARTITIONS + 1],
            rule_count: 0,
            skipped_names: 0,
            bytes: 0,
            bytes_max: usize::MAX,
        }
    }

    /// The same for rules of so many bytes.
    #[must_use]
    pub fn bounded(self, bytes_max: usize) -> Self {
        Self { bytes_max, ..self }
    }

    /// Bytes that the rules take until they are compiled.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds the rule found in `line`, counted from 1.
    ///
    /// Once the list is too much work, see [`Self::excess`], rules are no longer kept.
    pub fn rule(&mut self, line: u32, rule: &Rule) {
        self.skipped_names += rule.shape.except.len();
        if self.excess().is_some() {
            return;
        }
        let shape = self.shapes.intern(rule);
        let wire = rule.name.as_wire();
        let labels = &wire[..wire.len() - 1];
        let rows = &mut self.partitions[partition_of(labels)];
        let before = rows.len();
        reserve(rows, labels.len() + ROW_EXTRA_MAX);
        rows.push(labels.len() as u8);
        rows.extend_from_slice(labels);
        rows.extend_from_slice(&line.to_le_bytes());
        push_varint(rows, shape);
        self.bytes += rows.len() - before;
        self.rule_count += 1;
    }

    /// Why the list must be refused, if it must: compiling it would take too long, or too much memory.
    pub fn excess(&self) -> Option<Excess> {
        if self.shapes.as_slice().len() > LIST_SHAPES_MAX {
            return Some(Excess::Shapes);
        }
        if self.bytes > self.bytes_max {
            let max_bytes = self.bytes_max;
            return Some(Excess::Memory { max_bytes });
        }
        (self.skipped_names > LIST_SKIPPED_MAX).then_some(Excess::Skipped)
    }

    /// What is true of every rule of the list.
    pub fn info(&self) -> &ListInfo {
        &self.info
    }

    /// Says anew what is true of every rule; the rules stay.
    pub fn set_info(&mut self, info: ListInfo) {
        self.info = info;
    }

    /// Number of rules added.
    pub fn rule_count(&self) -> usize {
        self.rule_count
    }

    /// Which rules these are: half of a SHA-256 in hexadecimal. Comments and line numbers do not count.
    pub fn digest(&self) -> String {
        let mut hash = Sha256::new();
        for shape in self.shapes() {
            let text = shape.display(&Name::ROOT).to_string();
            hash.update([u8::from(shape.host_rule)]);
            hash.update(text.len().to_le_bytes());
            hash.update(text);
        }
        for (labels, _, shape) in self.rules() {
            hash.update(shape.to_le_bytes());
            hash.update([labels.len() as u8]);
            hash.update(labels);
        }
        let half = &hash.finalize()[..16];
        half.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Every rule: its labels in wire format without the root label, its line, the number of its shape.
    pub fn rules(&self) -> impl Iterator<Item = (&[u8], u32, u32)> {
        let rows = (0..=TOP).flat_map(|partition| self.rows(partition));
        rows.map(|row| (row.labels, row.line, row.shape))
    }

    /// The shapes of the rules.
    pub(crate) fn shapes(&self) -> &[Shape] {
        self.shapes.as_slice()
    }

    pub(super) fn partition_bytes(&self, partition: usize) -> usize {
        self.partitions[partition].len()
    }

    /// The rows of one partition.
    pub(super) fn rows(&self, partition: usize) -> Rows<'_> {
        Rows {
            rest: &self.partitions[partition],
        }
    }
}

/// One rule of a list.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row<'a> {
    /// The name's labels in wire format, without the root label.
    pub(super) labels: &'a [u8],
    /// Line in the list, counted from 1.
    pub(super) line: u32,
    /// Number of its shape in the list.
    pub(super) shape: u32,
}

/// The rows of one partition in the order of lines.
pub(super) struct Rows<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Rows<'a> {
    type Item = Row<'a>;

    #[inline]
    fn next(&mut self) -> Option<Row<'a>> {
        let (&len, rest) = self.rest.split_first()?;
        let (labels, rest) = rest.split_at_checked(usize::from(len))?;
        let (line, mut rest) = rest.split_first_chunk()?;
        let shape = take_varint(&mut rest)?;
        self.rest = rest;
        Some(Row {
            labels,
            line: u32::from_le_bytes(*line),
            shape,
        })
    }
}

/// Bytes of a row besides its labels: length, line, shape.
const ROW_EXTRA_MAX: usize = 1 + 4 + 5;

/// Grows by a quarter: doubling would leave up to half of the memory unused.
fn reserve(rows: &mut Vec<u8>, more: usize) {
    if rows.capacity() - rows.len() < more {
        rows.reserve_exact(more.max(rows.len() / 4));
    }
}

fn push_varint(out: &mut Vec<u8>, mut number: u32) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn take_varint(bytes: &mut &[u8]) -> Option<u32> {
    let mut number = 0;
    for shift in (0..32).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u32::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use filter_common::{
        name::Name,
        rule::{QtypeSet, Scope},
    };

    use super::*;

    fn name(text: &str) -> Name {
        Name::from_text(text.as_bytes()).unwrap()
    }

    #[test]
    fn a_list_keeps_no_more_than_it_may() {
        let mut list = ListBuilder::new(ListInfo::new("a", "a.txt")).bounded(1000);
        for i in 0..1000u32 {
            let name = name(&format!("h{i}.example.org"));
            list.rule(i + 1, &Rule::block(name, Scope::Exact));
        }
        assert_eq!(list.excess(), Some(Excess::Memory { max_bytes: 1000 }));
        assert!((1000..1030).contains(&list.bytes()), "{}", list.bytes());
    }

    #[test]
    fn rows_come_back_as_they_were_added() {
        let mut list = ListBuilder::new(ListInfo::new("a", "a.txt"));
        let mut rules = Vec::new();
        for i in 0..1000u32 {
            let mut rule = Rule::block(name(&format!("h{i}.example.org")), Scope::Exact);
            rule.shape.qtypes = QtypeSet::only(&[(i % 200) as u16]).unwrap();
            list.rule(i + 1, &rule);
            rules.push(rule);
        }
        let rows: Vec<_> = list.rows(partition_of(b"\x07example\x03org")).collect();
        assert_eq!((rows.len(), list.rule_count()), (1000, 1000));
        for (i, row) in rows.iter().enumerate() {
            assert_eq!(row.line as usize, i + 1);
            assert_eq!([row.labels, b"\0"].concat(), rules[i].name.as_wire());
            assert_eq!(
                list.shapes()[row.shape as usize].qtypes,
                rules[i].shape.qtypes
            );
        }
        assert_eq!(list.shapes().len(), 200);
    }
}
