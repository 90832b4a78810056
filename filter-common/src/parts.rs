//! Queries that come in several segments over TCP.
//!
//! What passes without a whole question is kept, so that the segment that completes it is judged by all of
//! it. The places are few and chosen by the key of the connection. Nobody pushes a part out of its place: what
//! follows it would be read as the start of a message, and could be made to look like a clean one. A
//! place that another connection holds lets no part pass; its sender repeats it, mostly with the rest.
//!
//! A sender that goes on where its last segment ended, or repeats from where the message started, is
//! understood; that is what network stacks do, in order, over one link. What repeats other bytes than came
//! before, or starts a message before what passed, does not pass. Anything else is read as the start of a
//! message.

use crate::{
    maps::{PART_BYTES, PART_COUNT, PART_HELD_NS, Part},
    net::{LENGTH_BYTES, Path},
    scratch::Scratch,
    steps::Steps,
    tcp::{self, LENGTH_AT},
};

/// How a segment starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Start {
    /// Bytes of a message whose question is still to be judged, which are put in front of the segment's.
    pub kept: usize,
    /// Bytes of the segment that end a message whose question was judged.
    pub rest: usize,
}

/// Tells how the segment starts whose headers are in `scratch`, where what was kept is put.
#[inline(always)]
pub fn resume<S: Steps + ?Sized>(steps: &S, scratch: &mut Scratch, path: &Path) -> Start {
    let Some(key) = tcp::flow_key(steps, &scratch.client) else {
        return Start::default();
    };
    let [seq, _] = tcp::numbers(&scratch.bytes, tcp::header_at(path));
    let payload_len = scratch.payload_len;
    let found = steps.with_part(key as u32 & (PART_COUNT - 1), |part| {
        if part.key != key {
            return Start::default();
        }
        let passed = seq.wrapping_sub(part.start);
        if part.total != 0 {
            // Somewhere behind the question, again or for the first time.
            let is_inside = passed != 0 && passed <= part.seen && passed < part.total;
            if !is_inside {
                return Start::default();
            }
            let rest = (part.total - passed).min(payload_len);
            part.seen = part.seen.max(passed.wrapping_add(rest));
            return Start {
                kept: 0,
                rest: rest as usize,
            };
        }
        if passed == 0 || passed > part.len || passed as usize > PART_BYTES {
            return Start::default();
        }
        copy(&part.bytes, &mut scratch.bytes);
        Start {
            kept: passed as usize,
            rest: 0,
        }
    });
    found.unwrap_or_default()
}

/// Puts what was kept to where length and message belong.
#[inline(always)]
fn copy(from: &[u8; PART_BYTES], to: &mut crate::scratch::FrameBytes) {
    let mut at = 0;
    while at < PART_BYTES {
        let mut word = [0; 8];
        word.copy_from_slice(&from[at..at + 8]);
        to[LENGTH_AT + at..LENGTH_AT + at + 8].copy_from_slice(&word);
        at += 8;
    }
}

/// Keeps the message in `scratch` that the segment's last bytes, from `at` of its data on, are a part of:
/// `known` bytes of length and message, whose question was judged if they are `total` in the end.
///
/// Whether it comes in order: what starts before something that passed, and is not known, is put in front of
/// it by the receiver alone.
#[inline(always)]
pub fn keep<S: Steps + ?Sized>(
    steps: &S,
    scratch: &Scratch,
    path: &Path,
    at: u32,
    total: u32,
) -> bool {
    let Some(key) = tcp::flow_key(steps, &scratch.client) else {
        return true;
    };
    let [seq, _] = tcp::numbers(&scratch.bytes, tcp::header_at(path));
    let earlier = scratch.part_len;
    let seen = scratch.payload_len.wrapping_sub(at).wrapping_add(earlier);
    let start = seq.wrapping_add(at).wrapping_sub(earlier);
    let is_behind = tcp::is_behind(steps, key, start);
    let now_ns = steps.now_ns();
    let kept = steps.with_part(key as u32 & (PART_COUNT - 1), |part| {
        let is_known = part.key == key && part.start == start;
        if !is_known && (is_behind || part.key == key && tcp::is_before(start, part.start)) {
            return false;
        }
        // The connection's own part has ended where something came behind it.
        let has_ended = part.key == key && scratch.found.count | scratch.found.first_at != 0;
        if !is_known && !has_ended && now_ns < part.held_until_ns {
            return false;
        }
        if is_known && part.total == 0 && total == 0 && part.len >= seen {
            return true;
        }
        part.key = key;
        part.held_until_ns = now_ns.wrapping_add(PART_HELD_NS);
        part.start = start;
        part.seen = seen;
        part.total = total;
        part.len = seen;
        let mut at = 0;
        while at < PART_BYTES {
            let mut word = [0; 8];
            word.copy_from_slice(&scratch.bytes[LENGTH_AT + at..LENGTH_AT + at + 8]);
            part.bytes[at..at + 8].copy_from_slice(&word);
            at += 8;
        }
        true
    });
    kept.unwrap_or(true)
}

/// Gives the place of the connection in `scratch` back, of which all messages passed that it has begun.
#[inline(always)]
pub fn release<S: Steps + ?Sized>(steps: &S, scratch: &Scratch) {
    let Some(key) = tcp::flow_key(steps, &scratch.client) else {
        return;
    };
    let is_whole = |part: &Part| part.total == 0 || part.seen >= part.total;
    steps.with_part(key as u32 & (PART_COUNT - 1), |part| {
        if part.key == key && scratch.found.is_cut == 0 && is_whole(part) {
            part.held_until_ns = 0;
        }
    });
}

/// Whether the message in `scratch`, that the segment has from `at` of its data on and of which `known` bytes
/// of length and message are there, is as it was if some of it came before.
///
/// Of bytes that came twice, a receiver takes those that it got first. Nobody here knows which it got.
#[inline(always)]
pub fn agrees<S: Steps + ?Sized>(
    steps: &S,
    scratch: &Scratch,
    path: &Path,
    at: u32,
    known: u32,
) -> bool {
    let Some(key) = tcp::flow_key(steps, &scratch.client) else {
        return true;
    };
    let [seq, _] = tcp::numbers(&scratch.bytes, tcp::header_at(path));
    let start = seq.wrapping_add(at).wrapping_sub(scratch.part_len);
    let agrees = steps.with_part(key as u32 & (PART_COUNT - 1), |part| {
        if part.key != key || part.start != start {
            return true;
        }
        let len = part.len.min(known);
        let mut difference = 0;
        let mut at = 0;
        while at < PART_BYTES {
            let (mut one, mut other) = ([0; 8], [0; 8]);
            one.copy_from_slice(&part.bytes[at..at + 8]);
            other.copy_from_slice(&scratch.bytes[LENGTH_AT + at..LENGTH_AT + at + 8]);
            let differs = u64::from_le_bytes(one) ^ u64::from_le_bytes(other);
            // The first ones of the eight: the low ones.
            let bits = len.saturating_sub(at as u32).min(8) * 8;
            difference |= differs & !u64::MAX.checked_shl(bits).unwrap_or(0);
            at += 8;
        }
        difference == 0
    });
    agrees.unwrap_or(true)
}

const _: () = assert!(PART_BYTES.is_multiple_of(8) && PART_BYTES > LENGTH_BYTES + 271);

#[cfg(test)]
mod tests;
