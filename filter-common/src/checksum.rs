//! The Internet checksum (RFC 1071).
//!
//! Sums are taken in the machine's byte order and in whatever width is at hand: folded to
//! 16 bits with end-around carry they are the same.

/// The sum of `bytes`, whose number is even.
#[inline(always)]
pub(crate) fn sum_of<const N: usize>(bytes: &[u8; N]) -> u64 {
    let mut sum = 0;
    let mut i = 0;
    while i + 4 <= N {
        let word = [bytes[i], bytes[i + 1], bytes[i + 2], bytes[i + 3]];
        sum += u64::from(u32::from_ne_bytes(word));
        i += 4;
    }
    if i + 2 <= N {
        sum += u64::from(u16::from_ne_bytes([bytes[i], bytes[i + 1]]));
    }
    sum
}

/// The sum of the eight bytes of `word`.
#[inline(always)]
pub const fn halves(word: u64) -> u64 {
    (word >> 32) + (word & 0xffff_ffff)
}

/// Folds a sum to 16 bits.
#[inline(always)]
pub const fn folded(sum: u64) -> u16 {
    let sum = (sum >> 32) + (sum & 0xffff_ffff);
    let sum = (sum >> 16) + (sum & 0xffff);
    let sum = (sum >> 16) + (sum & 0xffff);
    let sum = (sum >> 16) + (sum & 0xffff);
    sum as u16
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// As RFC 1071 §4.1 adds.
    fn by_the_book(bytes: &[u8]) -> u16 {
        let mut sum = 0u64;
        for pair in bytes.chunks(2) {
            sum += u64::from(u16::from_ne_bytes([pair[0], pair[1]]));
            sum = (sum & 0xffff) + (sum >> 16);
        }
        sum as u16
    }

    proptest! {
        #[test]
        fn any_width_gives_the_same_sum(bytes: [u8; 30], word: [u8; 8]) {
            prop_assert_eq!(folded(sum_of(&bytes)), by_the_book(&bytes));
            prop_assert_eq!(folded(halves(u64::from_ne_bytes(word))), by_the_book(&word));
        }
    }

    #[test]
    fn the_largest_sums_fold() {
        assert_eq!(folded(sum_of(&[0xff; 32])), 0xffff);
        assert_eq!(folded(u64::MAX), 0xffff);
        assert_eq!(folded(0), 0);
    }

    #[test]
    fn every_carry_is_added_again() {
        // One that only the third or the fourth step sees.
        for sum in [
            0xffff_ffff,
            0xffff_fffe,
            0x1_fffe_ffff,
            0xfffe_0002,
            0xffff_0001,
            1 << 63,
            0xffff_8000_ffff_8000,
        ] {
            // What is folded keeps its remainder, and only 0 becomes 0.
            let expected = (u128::from(sum) - 1) % 0xffff + 1;
            assert_eq!(u128::from(folded(sum)), expected, "{sum:x}");
        }
    }
}
