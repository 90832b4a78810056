//! The hashes of a name and of all its parents, from the shortest to the longest.
//!
//! For everything that has a name in hand: the compiler, the queries of an
//! image, tests. [`descent`](crate::descent) walks the labels of a packet,
//! with the same [`label_hash`].

use crate::{
    hash::{HashKey, LABEL_BUFFER_LEN, label_hash},
    name::{NAME_MAX_BYTES, Name},
};

/// Most labels of a name: 127 of one byte and the root label fill 255 bytes.
pub const LABELS_MAX: usize = 127;

/// The buffer in which names are hashed; made once and used for many names.
pub struct SuffixHasher {
    bytes: [u8; LABEL_BUFFER_LEN],
    starts: [u8; LABELS_MAX + 1],
}

/// A name's last labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Suffix {
    /// Number of labels.
    pub depth: usize,
    /// Where the suffix starts in the wire format of the name.
    pub start: usize,
    /// Its keyed hash.
    pub hash: u64,
}

/// The suffixes of one name, from its last label to the whole name.
pub struct Suffixes<'a> {
    hasher: &'a SuffixHasher,
    key: &'a HashKey,
    left: usize,
    depth: usize,
    hash: u64,
}

impl SuffixHasher {
    /// Makes an empty buffer.
    pub const fn new() -> Self {
        Self {
            bytes: [0; LABEL_BUFFER_LEN],
            starts: [0; LABELS_MAX + 1],
        }
    }

    /// The suffixes of the name with these labels in wire format, the root
    /// label left out or not. The root itself is not among them.
    #[inline]
    pub fn suffixes<'a>(&'a mut self, wire: &[u8], key: &'a HashKey) -> Suffixes<'a> {
        let len = wire.len().min(NAME_MAX_BYTES);
        self.bytes[..len].copy_from_slice(&wire[..len]);
        let (mut at, mut labels) = (0, 0);
        while at < len && self.bytes[at] != 0 && labels < LABELS_MAX {
            self.starts[labels] = at as u8;
            labels += 1;
            at += 1 + usize::from(self.bytes[at]);
        }
        Suffixes {
            hasher: self,
            key,
            left: labels,
            depth: 0,
            hash: key.root,
        }
    }
}

impl Default for SuffixHasher {
    fn default() -> Self {
        Self::new()
    }
}

impl Iterator for Suffixes<'_> {
    type Item = Suffix;

    #[inline]
    fn next(&mut self) -> Option<Suffix> {
        self.left = self.left.checked_sub(1)?;
        let start = usize::from(self.hasher.starts[self.left]);
        let bytes = &self.hasher.bytes;
        let len = usize::from(bytes[start]);
        self.hash = label_hash(bytes, start + 1, len, self.key, self.hash);
        self.depth += 1;
        Some(Suffix {
            depth: self.depth,
            start,
            hash: self.hash,
        })
    }
}

/// The hash of a whole name.
pub fn name_hash(name: &Name, key: &HashKey) -> u64 {
    SuffixHasher::new()
        .suffixes(name.as_wire(), key)
        .last()
        .map_or(key.root, |suffix| suffix.hash)
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::vec::Vec;

    use super::*;

    const KEY: HashKey = HashKey::from_words([3, 5, 7]);

    #[test]
    fn every_suffix_has_the_hash_of_the_name_it_spells() {
        let name = Name::from_text(b"a.long-label-of-24-letters.example.org").unwrap();
        let mut hasher = SuffixHasher::new();
        let found: Vec<_> = hasher.suffixes(name.as_wire(), &KEY).collect();
        assert_eq!(found.len(), 4);
        for suffix in found {
            let parent = Name::from_wire(&name.as_wire()[suffix.start..]).unwrap();
            assert_eq!(parent.label_count(), suffix.depth);
            assert_eq!(name_hash(&parent, &KEY), suffix.hash);
        }
    }

    #[test]
    fn the_root_label_does_not_count() {
        let name = Name::from_text(b"a.b").unwrap();
        let mut hasher = SuffixHasher::new();
        let with: Vec<_> = hasher.suffixes(b"\x01a\x01b\0", &KEY).collect();
        let without: Vec<_> = hasher.suffixes(b"\x01a\x01b", &KEY).collect();
        assert_eq!(with, without);
        assert_eq!(with[1].hash, name_hash(&name, &KEY));
        assert_eq!(name_hash(&Name::ROOT, &KEY), KEY.root);
    }

    #[test]
    fn a_name_of_127_labels_has_127_suffixes() {
        let wire = b"\x01a".repeat(127);
        let mut hasher = SuffixHasher::new();
        assert_eq!(hasher.suffixes(&wire, &KEY).count(), LABELS_MAX);
    }
}
