//! How many answers a client prefix may cause: a token bucket each.
//!
//! Buckets are chosen by a keyed hash of the prefix from a fixed number of
//! them. A flood of forged sources costs the same as any other traffic, and
//! pushes nobody's bucket out; two prefixes seldom share one. Two CPUs that
//! spend from one bucket at once may spend one token twice.

use crate::{address::SourceAddress, hash, layout::Control, maps::Maps};

/// Number of buckets.
pub const BUCKET_COUNT: u32 = 1 << 16;
/// What tells addresses of one bucket apart: all but /24 of IPv4.
const HOST_IPV4: u64 = 0xff;
/// The same in the first half of an address: all but /56 of IPv6.
const HOST_IPV6: u64 = 0xff;

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
pub fn spend<M: Maps + ?Sized>(maps: &M, control: &Control, source: SourceAddress) -> Admission {
    if control.answers_per_s == 0 {
        return Admission::Send;
    }
    let (high, low) = match source.ipv4() {
        Some(_) => (0, source.low & !HOST_IPV4),
        None => (source.high & !HOST_IPV6, 0),
    };
    let index = hash::mix(high, low, &control.key) as u32 & (BUCKET_COUNT - 1);
    let (state, admission) = spent(
        maps.bucket(index),
        maps.ticks(),
        control.answers_per_s,
        control.answers_burst,
    );
    maps.set_bucket(index, state);
    admission
}

/// Tokens are counted in parts, of which one comes with each tick at a rate of one token a second:
/// a second has 953.7 ticks.
const TOKEN: u64 = 954;
/// Bit 32 tells that the last answer that found no token slipped; 31 bits of time are above.
const SLIPPED: u64 = 1 << 32;
const TIME_SHIFT: u32 = 33;
const TIME_MASK: u32 = u32::MAX >> 1;

/// The state of a bucket after one answer, and what becomes of that. A new bucket is all zero and full.
#[inline(always)]
fn spent(state: u64, now: u32, per_s: u32, burst: u32) -> (u64, Admission) {
    let now = now & TIME_MASK;
    let elapsed = now.wrapping_sub((state >> TIME_SHIFT) as u32) & TIME_MASK;
    let full = u64::from(burst) * TOKEN;
    let refilled = if state == 0 {
        full
    } else {
        (state & u64::from(u32::MAX)) + u64::from(elapsed) * u64::from(per_s)
    };
    let tokens = if refilled > full { full } else { refilled };
    let time = u64::from(now) << TIME_SHIFT;
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
        // Two seconds.
        for now in 5000..5000 + 2 * 954 {
            // Two answers a tick are asked for, a hundred a second are allowed.
            for _ in 0..2 {
                let (next, admission) = spent(state, now, 100, 50);
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
    /// Buckets, and how often each was spent from.
    #[derive(Default)]
    struct Buckets(std::cell::RefCell<std::collections::BTreeMap<u32, u64>>);

    impl Maps for Buckets {
        fn policy(&self, _number: u32) -> Option<&crate::layout::PolicyRecord> {
            None
        }

        fn bucket(&self, index: u32) -> u64 {
            self.0.borrow().get(&index).copied().unwrap_or(0)
        }

        fn set_bucket(&self, index: u32, state: u64) {
            self.0.borrow_mut().insert(index, state);
        }
    }

    #[test]
    fn a_prefix_has_one_bucket_of_those_there_are() {
        let control = Control {
            answers_per_s: 10,
            answers_burst: 10,
            key: hash::HashKey::from_words([1, 2, 3]),
            ..Control::default()
        };
        let used = |sources: &[SourceAddress]| {
            let buckets = Buckets::default();
            for source in sources {
                assert_eq!(spend(&buckets, &control, *source), Admission::Send);
            }
            let used: Vec<u32> = buckets.0.into_inner().into_keys().collect();
            assert!(used.iter().all(|index| *index < BUCKET_COUNT), "{used:?}");
            used.len()
        };
        let v4 = |a| SourceAddress::of(&crate::address::mapped(a));
        assert_eq!(used(&[v4([192, 0, 2, 1]), v4([192, 0, 2, 254])]), 1);
        assert_eq!(used(&[v4([192, 0, 2, 1]), v4([192, 0, 3, 1])]), 2);
        let v6 = |high, low| SourceAddress { high, low };
        assert_eq!(
            used(&[v6(0x2001_0db8_0000_0001, 1), v6(0x2001_0db8_0000_00ff, 2)]),
            1
        );
        assert_eq!(
            used(&[v6(0x2001_0db8_0000_0100, 1), v6(0x2001_0db8_0000_0200, 1)]),
            2
        );
        let many: Vec<SourceAddress> = (0..64).map(|i| v4([10, i, 0, 1])).collect();
        assert!(used(&many) > 60);
    }
}
