//! How many answers a client prefix may cause: a token bucket each.
//!
//! Buckets are chosen by a keyed hash of the prefix from a fixed number of
//! them. A flood of forged sources costs the same as any other traffic, and
//! pushes nobody's bucket out; two prefixes seldom share one. Two CPUs that
//! spend from one bucket at once may spend one token twice.

use crate::{
    hash,
    layout::Control,
    maps::{Address, Maps},
};

/// Number of buckets.
pub const BUCKET_COUNT: u32 = 1 << 16;
/// Leading bits of an address that share a bucket: /24 of mapped IPv4.
const PREFIX_IPV4_BITS: u32 = 96 + 24;
/// Leading bits of an address that share a bucket: /56 of IPv6.
const PREFIX_IPV6_BITS: u32 = 56;

/// What becomes of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It is sent.
    Send,
    /// A truncated one is sent instead, so that a real client asks again over TCP.
    Slip,
    /// Nothing is sent.
    Drop,
}

/// Spends a token of the prefix of `source`.
#[inline(always)]
pub fn spend<M: Maps + ?Sized>(maps: &M, control: &Control, source: &Address) -> Admission {
    if control.answers_per_s == 0 {
        return Admission::Send;
    }
    let bits = if is_mapped(source) {
        PREFIX_IPV4_BITS
    } else {
        PREFIX_IPV6_BITS
    };
    let index = hash::address_hash(source, bits, &control.key) as u32 & (BUCKET_COUNT - 1);
    let (state, admission) = spent(
        maps.bucket(index),
        maps.coarse_ms(),
        control.answers_per_s,
        control.answers_burst,
    );
    maps.set_bucket(index, state);
    admission
}

#[inline(always)]
fn is_mapped(address: &Address) -> bool {
    let [a, b, c, d, e, f, g, h, i, j, ..] = *address;
    u64::from_ne_bytes([a, b, c, d, e, f, g, h]) == 0 && i | j == 0
}

/// Tokens are counted in thousandths.
const TOKEN: u64 = 1000;
/// Bit 32 tells that the last answer that found no token slipped; 31 bits of time are above.
const SLIPPED: u64 = 1 << 32;
const TIME_SHIFT: u32 = 33;
const TIME_MASK: u32 = u32::MAX >> 1;

/// The state of a bucket after one answer, and what becomes of that. A new bucket is all zero and full.
#[inline(always)]
fn spent(state: u64, now_ms: u32, per_s: u32, burst: u32) -> (u64, Admission) {
    let now_ms = now_ms & TIME_MASK;
    let elapsed_ms = now_ms.wrapping_sub((state >> TIME_SHIFT) as u32) & TIME_MASK;
    let full = u64::from(burst) * TOKEN;
    let refilled = if state == 0 {
        full
    } else {
        // A token a second is a thousandth of one a millisecond.
        (state & u64::from(u32::MAX)) + u64::from(elapsed_ms) * u64::from(per_s)
    };
    let tokens = if refilled > full { full } else { refilled };
    let time = u64::from(now_ms) << TIME_SHIFT;
    if tokens >= TOKEN {
        return (time | (tokens - TOKEN), Admission::Send);
    }
    if state & SLIPPED == 0 {
        (time | SLIPPED | tokens, Admission::Slip)
    } else {
        (time | tokens, Admission::Drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_gives_its_burst_and_then_its_rate() {
        let mut state = 0;
        let mut sent = 0;
        for now_ms in 5000..7000 {
            // Two answers a millisecond are asked for, a hundred a second are allowed.
            for _ in 0..2 {
                let (next, admission) = spent(state, now_ms, 100, 50);
                state = next;
                sent += u32::from(admission == Admission::Send);
            }
        }
        assert!((249..=251).contains(&sent), "{sent}");
    }

    #[test]
    fn every_second_answer_without_a_token_slips() {
        let (mut state, _) = spent(0, 1, 1, 1);
        let mut outcomes = Vec::new();
        for _ in 0..4 {
            let (next, admission) = spent(state, 1, 1, 1);
            state = next;
            outcomes.push(admission);
        }
        use Admission::{Drop, Slip};
        assert_eq!(outcomes, [Slip, Drop, Slip, Drop]);
    }

    #[test]
    fn time_that_wraps_refills() {
        let (state, _) = spent(0, TIME_MASK, 1000, 1);
        assert_eq!(spent(state, TIME_MASK, 1000, 1).1, Admission::Slip);
        assert_eq!(
            spent(state, TIME_MASK.wrapping_add(6), 1000, 1).1,
            Admission::Send
        );
    }
}
