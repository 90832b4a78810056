//! Whether the finished table says about every hash what it must.
//!
//! The names of the lists must be found under their own classes, and the names
//! to check, with their parents, under the classes they have by name: mostly
//! none. Whatever differs is a collision, and another key is needed.

use filter_common::{
    hash::HashKey,
    layout::{Header, Record},
    name::Name,
    table::find,
};

use super::{
    partition::{Partition, without_root},
    tree::Collision,
};
use crate::provenance::partition_of;

/// The names to check and what was learned about them.
pub(super) struct Checks<'a> {
    /// Partition and labels, in order of partitions.
    names: Vec<(usize, &'a [u8])>,
    /// Hashes with the class that they must have.
    expected: Vec<(u64, u16)>,
}

impl<'a> Checks<'a> {
    pub(super) fn of(names: &'a [Name]) -> Self {
        let labels = names.iter().map(|name| without_root(name.as_wire()));
        let mut names: Vec<_> = labels
            .filter(|labels| !labels.is_empty())
            .map(|labels| (partition_of(labels), labels))
            .collect();
        names.sort_unstable_by_key(|(partition, _)| *partition);
        Self {
            names,
            expected: Vec::new(),
        }
    }

    /// Notes which classes the names of a partition have by name.
    pub(super) fn note(
        &mut self,
        number: usize,
        partition: &mut Partition,
        key: &HashKey,
    ) -> Result<(), Collision> {
        let start = self.names.partition_point(|(p, _)| *p < number);
        let of_partition = self.names[start..].iter();
        for (_, labels) in of_partition.take_while(|(p, _)| *p == number) {
            partition.tree.look_up(labels, key, |depth, hash, node| {
                // Top-level domains have their classes in the partition of their own.
                if depth >= 2 {
                    self.expected.push((hash, node.map_or(0, |n| n.class)));
                }
            })?;
        }
        Ok(())
    }

    /// Notes which classes the top-level domains of all names have.
    pub(super) fn note_top(
        &mut self,
        partition: &mut Partition,
        key: &HashKey,
    ) -> Result<(), Collision> {
        for (_, labels) in &self.names {
            partition
                .tree
                .look_up(last_label(labels), key, |_, hash, node| {
                    self.expected.push((hash, node.map_or(0, |n| n.class)));
                })?;
        }
        Ok(())
    }

    /// Looks up every hash, that of the lists' names and that of the names to check.
    pub(super) fn verify(
        &self,
        records: &[Record],
        header: &Header,
        hashes: &[u64],
        classes: &[u16],
    ) -> Result<(), Collision> {
        let listed = hashes.iter().copied().zip(classes.iter().copied());
        for (hash, class) in listed.chain(self.expected.iter().copied()) {
            if find(records, header.bucket_base, header.bucket_count, hash) != class {
                return Err(Collision);
            }
        }
        Ok(())
    }
}

fn last_label(labels: &[u8]) -> &[u8] {
    let mut last = labels;
    while last.len() > usize::from(last[0]) + 1 {
        last = &last[usize::from(last[0]) + 1..];
    }
    last
}
