//! The keyed 64-bit hash of a name and of every parent of it.
//!
//! A name is hashed from its last label to its first: the hash of `a.b` is the
//! hash of label `a` started from the hash of `b`. One pass therefore yields
//! the hash of the name and of all its parents. This module is the only maker
//! of look-up keys (ARCHITECTURE.md, invariant 2).
//!
//! A label is taken in chunks of 16 bytes; each chunk is folded into the state
//! with one 64x64-to-128-bit multiplication whose halves are combined. Both
//! factors carry secret key material, so that nobody who does not know the key
//! can construct two names with one hash.

use bytemuck::{Pod, Zeroable};

use crate::address::Address;

/// Bytes of the buffer that holds one DNS message while it is judged and answered.
///
/// The positions of labels stay below 512. The rest is room for one write of 64 bytes, and
/// for headers and message of the greatest lengths from wherever the headers start.
pub const LABEL_BUFFER_LEN: usize = 640;

/// The secret of one generation, drawn anew for each compiled image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct HashKey {
    /// Hash of the root name.
    pub root: u64,
    /// Whitens the second half of each chunk.
    pub chunk: u64,
    /// Multiplier of the label length; odd.
    pub length: u64,
}

impl HashKey {
    /// Makes a key of three random words.
    pub const fn from_words(words: [u64; 3]) -> Self {
        Self {
            root: words[0],
            chunk: words[1],
            length: words[2] | 1,
        }
    }
}

/// Extends `parent`, the hash of a name, by one label to its left.
///
/// The label is the `len` bytes of `bytes` from `at`; letters are folded to
/// lower case. Positions wrap inside the buffer, so that no caller can reach
/// beyond it; the caller keeps `at + len` within the buffer and `len <= 63`.
#[inline(always)]
pub fn label_hash(
    bytes: &[u8; LABEL_BUFFER_LEN],
    at: usize,
    len: usize,
    key: &HashKey,
    parent: u64,
) -> u64 {
    let mut state = parent.wrapping_add(key.length.wrapping_mul(len as u64));
    let mut at = at;
    let mut left = len;
    // RFC 1035 §2.3.4: a label has at most 63 bytes, four chunks.
    for _ in 0..4 {
        let low = word(bytes, at, left);
        // Most labels are short; an absent half is all zero.
        let high = if left > 8 {
            word(bytes, at + 8, left - 8)
        } else {
            0
        };
        state = fold(low ^ state, high ^ key.chunk);
        if left <= 16 {
            break;
        }
        at += 16;
        left -= 16;
    }
    state
}

/// The hash of an address.
#[inline(always)]
pub fn address_hash(address: &Address, key: &HashKey) -> u64 {
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = *address;
    let high = u64::from_be_bytes([a, b, c, d, e, f, g, h]);
    let low = u64::from_be_bytes([i, j, k, l, m, n, o, p]);
    mix(high, low, key)
}

/// The hash of two words, for keys that are not of names.
#[inline(always)]
pub const fn mix(a: u64, b: u64, key: &HashKey) -> u64 {
    let first = (a ^ key.root).wrapping_mul(key.length);
    let second = (first ^ first >> 32 ^ b ^ key.chunk).wrapping_mul(key.length.rotate_left(24) | 1);
    let third = (second ^ second >> 29).wrapping_mul(MIX);
    third ^ third >> 32
}

/// Odd, so that it permutes: the fraction of the golden ratio.
const MIX: u64 = 0x9e37_79b9_7f4a_7c15;

/// The first `left` (at most 8) bytes from `at` as a little-endian word in lower case.
#[inline(always)]
fn word(bytes: &[u8; LABEL_BUFFER_LEN], at: usize, left: usize) -> u64 {
    let raw = load(bytes, at);
    let kept = if left >= 8 {
        raw
    } else {
        raw & ((1u64 << (left * 8)) - 1)
    };
    lower(kept)
}

#[inline(always)]
fn load(bytes: &[u8; LABEL_BUFFER_LEN], at: usize) -> u64 {
    let at = at & POSITION_MASK;
    // One load: at + 8 <= 519 < 640.
    u64::from_le_bytes([
        bytes[at],
        bytes[at + 1],
        bytes[at + 2],
        bytes[at + 3],
        bytes[at + 4],
        bytes[at + 5],
        bytes[at + 6],
        bytes[at + 7],
    ])
}

/// Keeps a position inside the buffer with room for a whole-word read behind it.
pub const POSITION_MASK: usize = 511;

const ONES: u64 = u64::from_le_bytes([1; 8]);

/// Folds the ASCII capitals among eight bytes to lower case.
#[inline(always)]
pub fn lower(word: u64) -> u64 {
    let low7 = word & (ONES * 0x7f);
    // 0x41 is 'A', 0x5a is 'Z'.
    let from_a = low7 + ONES * (0x80 - 0x41);
    let above_z = low7 + ONES * (0x7f - 0x5a);
    let capital = (from_a ^ above_z) & !word & (ONES * 0x80);
    word | capital >> 2
}

/// The two halves of the 128-bit product, combined.
#[inline(always)]
#[cfg(not(target_arch = "bpf"))]
pub fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}

/// The two halves of the 128-bit product, combined.
///
/// BPF has no 128-bit multiplication; four of 32 bits do the same.
#[inline(always)]
#[cfg(target_arch = "bpf")]
pub fn fold(a: u64, b: u64) -> u64 {
    fold_by_parts(a, b)
}

/// [`fold`] by schoolbook multiplication of 32-bit halves.
#[inline(always)]
pub fn fold_by_parts(a: u64, b: u64) -> u64 {
    let (a_low, a_high) = (a & 0xffff_ffff, a >> 32);
    let (b_low, b_high) = (b & 0xffff_ffff, b >> 32);
    let low = a_low * b_low;
    let middle = a_high * b_low + (low >> 32);
    let middle2 = a_low * b_high + (middle & 0xffff_ffff);
    let high = a_high * b_high + (middle >> 32) + (middle2 >> 32);
    let low = (middle2 << 32) | (low & 0xffff_ffff);
    low ^ high
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KEY: HashKey = HashKey::from_words([
        0x9e37_79b9_7f4a_7c15,
        0xd1b5_4a32_d192_ed03,
        0x2545_f491_4f6c_dd1d,
    ]);

    fn hash(label: &[u8]) -> u64 {
        let mut bytes = [0xaa; LABEL_BUFFER_LEN];
        bytes[12..12 + label.len()].copy_from_slice(label);
        label_hash(&bytes, 12, label.len(), &KEY, KEY.root)
    }

    proptest! {
        #[test]
        fn folding_by_parts_is_the_128_bit_product(a: u64, b: u64) {
            prop_assert_eq!(fold(a, b), fold_by_parts(a, b));
        }

        #[test]
        fn lower_case_is_ascii_lower_case(bytes: [u8; 8]) {
            let expected = u64::from_le_bytes(bytes.map(|b| b.to_ascii_lowercase()));
            prop_assert_eq!(lower(u64::from_le_bytes(bytes)), expected);
        }

        #[test]
        fn case_does_not_change_a_hash(label in proptest::collection::vec(any::<u8>(), 1..64)) {
            prop_assert_eq!(hash(&label), hash(&label.to_ascii_uppercase()));
        }

        #[test]
        fn bytes_behind_a_label_do_not_count(label in proptest::collection::vec(any::<u8>(), 1..64), junk: u8) {
            let mut bytes = [junk; LABEL_BUFFER_LEN];
            bytes[40..40 + label.len()].copy_from_slice(&label);
            prop_assert_eq!(label_hash(&bytes, 40, label.len(), &KEY, KEY.root), hash(&label));
        }
    }

    #[test]
    fn labels_that_differ_only_in_trailing_zeros_differ() {
        for len in 1..63 {
            let label = [0u8; 63];
            assert_ne!(hash(&label[..len]), hash(&label[..=len]));
        }
    }
    /// Other numbers would make every image that is on a disk useless.
    #[test]
    fn hashes_stay_what_they_were() {
        assert_eq!(hash(b"com"), 0x7b78_505c_ab9d_1f84);
        assert_eq!(
            hash(b"a-label-of-more-than-sixteen-bytes"),
            0xec95_f314_230e_9cc0
        );
        assert_eq!(mix(1, 2, &KEY), 0x55f7_43ec_20fb_a4a2);
        assert_eq!(mix(2, 1, &KEY), 0x9d2f_914a_8fc5_a541);
        assert_eq!(
            mix(1, 2, &HashKey::from_words([4, 6, 8])),
            0x63d8_877d_4f3c_fdb7
        );
        assert_eq!(address_hash(&[7; 16], &KEY), 0x4c5a_5b06_3e2d_a8cb);
    }
}
