//! Segments to the TCP port: the messages in each, and what becomes of those that are blocked.
//!
//! [`tcp`] knows connections and headers, [`parts`](crate::parts) what came of a message before; this is the order
//! in which they are asked. What is found is kept in the scratch, where a verifier does not follow it.

use crate::{
    emit,
    frame::{BEHIND_MAX_BYTES, Frame},
    maps::PART_BYTES,
    net::{self, LENGTH_BYTES, Path},
    odd,
    parts::Start,
    reason::{Action, Reason},
    rule::AnswerKind,
    scratch::{Found, MESSAGES_MAX, Scratch, header_bytes},
    stages::{Stages, decide_parsed, judge_headers, load_headers},
    tcp::{self, LENGTH_AT},
};

/// Judges a segment to the TCP port (RFC 7766).
#[inline(always)]
pub(crate) fn judge<F: Frame, S: Stages>(
    frame: &mut F,
    stages: &mut S,
    path: &Path,
) -> Result<Reason, Reason> {
    let data = tcp::data(frame, path)?;
    if matches!(data, tcp::Data::Nothing) {
        return judge_headers(frame, stages, path);
    }
    load_headers(frame, path, stages.scratch()).ok_or(Reason::BadFrame)?;
    let is_opening = matches!(data, tcp::Data::Opening);
    let mut start = Start::default();
    // Without headers in the scratch there are no numbers to go by.
    if path.is_answerable && is_opening {
        stages.follow(path);
    } else if path.is_answerable {
        start = stages.resume(path);
    }
    stages.scratch().found = Found {
        at: start.rest as u32,
        first_at: start.rest as u32,
        kept: start.kept as u32,
        reason: Reason::TcpPart as u8,
        ..Found::default()
    };
    judge_messages(frame, stages, path)?;
    // Read again, for the stack's sake.
    let path = &net::path_of(&mut stages.scratch().path);
    if is_opening {
        return Err(opening(stages.scratch()));
    }
    if stages.scratch().found.blocked != 0 {
        return refuse(frame, stages, path);
    }
    let count = stages.scratch().found.count;
    if path.is_answerable && (count != 0 || start.rest != 0) {
        stages.pass(path, count);
    }
    Err(passing(&stages.scratch().found))
}

/// Why the last message passes.
#[inline(always)]
fn passing(found: &Found) -> Reason {
    Reason::from_number(found.reason).unwrap_or(Reason::Inconsistent)
}

/// What becomes of data beside SYN: one clean query passes.
///
/// Whose SYN is dropped sends it again without data (RFC 7413 §4.1.3), and the query afterwards.
#[inline(always)]
fn opening(scratch: &Scratch) -> Reason {
    let found = &scratch.found;
    if found.blocked != 0 {
        return match odd::refuse(odd::HEADERS, scratch.flags, false) {
            Ok(()) => Reason::OddDropped,
            Err(reason) => reason,
        };
    }
    if found.is_cut == 0 && found.count == 1 {
        passing(found)
    } else {
        Reason::TcpSegment
    }
}

/// Judges the messages of the segment; fails if it is not to pass with one of them.
#[inline(always)]
fn judge_messages<F: Frame, S: Stages>(
    frame: &F,
    stages: &mut S,
    path: &Path,
) -> Result<(), Reason> {
    let mut looked = 0;
    while looked < MESSAGES_MAX {
        let at = stages.scratch().found.at as usize;
        if at >= path.payload_len {
            return Ok(());
        }
        let decided = judge_message(frame, stages, path, at);
        let found = &mut stages.scratch().found;
        if found.is_cut != 0 {
            return decided.map(|_| ());
        }
        note(found, decided)?;
        looked += 1;
    }
    if (stages.scratch().found.at as usize) < path.payload_len {
        return Err(Reason::TcpSegment);
    }
    Ok(())
}

/// Notes what was decided for a whole message; fails if the segment is not to pass with it.
#[inline(always)]
fn note(found: &mut Found, decided: Result<AnswerKind, Reason>) -> Result<(), Reason> {
    match decided {
        Ok(AnswerKind::Truncate) => found.reason = Reason::TcpOnly as u8,
        Ok(kind) => {
            found.kind = kind as u8;
            found.blocked |= 1 << (found.count & 31);
        }
        Err(reason) => {
            let passes = matches!(reason.action(), Action::Pass);
            if !passes || odd::hides_question(reason) {
                return Err(reason);
            }
            if is_out_of_step(reason) {
                return Err(Reason::TcpSegment);
            }
            found.reason = reason as u8;
        }
    }
    found.count += 1;
    Ok(())
}

/// Whether what was read looks like a stream that is read from the middle of a message: who has pushed the
/// start of a query out of memory has the rest of it read so. dnsmasq answers what calls itself a response.
#[inline(always)]
const fn is_out_of_step(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::QuestionCount
            | Reason::LongName
            | Reason::ShortQuestion
            | Reason::ShortMessage
            | Reason::Response
            | Reason::Opcode
    )
}

/// Judges the message at `at` of the data, and moves on to the next one.
#[inline(always)]
fn judge_message<F: Frame, S: Stages>(
    frame: &F,
    stages: &mut S,
    path: &Path,
    at: usize,
) -> Result<AnswerKind, Reason> {
    let scratch = stages.scratch();
    // Of the first one, a part may be there.
    let kept = if scratch.found.count == 0 && scratch.found.at == at as u32 {
        scratch.found.kept as usize
    } else {
        0
    };
    scratch.part_len = kept as u32;
    let left = path.payload_len - at;
    let loaded = left.min(BEHIND_MAX_BYTES);
    let to = LENGTH_AT + kept;
    frame
        .load_behind(path.payload_at() + at, loaded, &mut scratch.bytes, to)
        .ok_or(Reason::BadFrame)?;
    let len = u16::from_be_bytes(header_bytes(&scratch.bytes, LENGTH_AT));
    let total = LENGTH_BYTES + usize::from(len);
    let known = kept + loaded;
    if path.is_answerable && scratch.found.first_at == at as u32 && !stages.agrees(path, at, known)
    {
        return Err(Reason::TcpSegment);
    }
    let scratch = stages.scratch();
    if kept + left < LENGTH_BYTES || kept + left < total {
        scratch.found.is_cut = 1;
        return judge_part(stages, path, at, known, total);
    }
    scratch.found.at = (at + total).saturating_sub(kept) as u32;
    let there = (known - LENGTH_BYTES).min(usize::from(len));
    scratch.message_len = there as u32;
    scratch.query_len = u32::from(len);
    scratch.odd = path.odd;
    let decided = decide_parsed(frame, stages, path);
    let scratch = stages.scratch();
    let number = scratch.found.count as usize & (MESSAGES_MAX - 1);
    // The question was not whole before this segment: its last byte is here.
    let class_at = at + LENGTH_BYTES + scratch.question_end as usize;
    scratch.found.class_at[number] = class_at.wrapping_sub(kept + 1) as u16;
    decided
}

/// Judges a message by its start in the scratch: it is kept if its question is not whole.
#[inline(always)]
fn judge_part<S: Stages>(
    stages: &mut S,
    path: &Path,
    at: usize,
    known: usize,
    total: usize,
) -> Result<AnswerKind, Reason> {
    if !path.is_answerable {
        return Err(Reason::TcpSegment);
    }
    let flags = stages.flags();
    let scratch = stages.scratch();
    scratch.flags = flags;
    scratch.odd = path.odd;
    scratch.message_len = known.saturating_sub(LENGTH_BYTES) as u32;
    let decided = stages.parse_question().and_then(|()| {
        stages.scratch().edns = 0;
        stages.decide()
    });
    let reason = match decided {
        Ok(AnswerKind::Truncate) => Reason::TcpOnly,
        // The whole of it can be answered: whoever repeats the rest repeats it in one piece.
        Ok(_) => return Err(Reason::OddDropped),
        Err(Reason::ShortMessage | Reason::ShortQuestion) if known <= PART_BYTES => {
            return keep(stages, path, at, 0);
        }
        Err(reason) if odd::hides_question(reason) => return Err(reason),
        Err(reason) if is_out_of_step(reason) => return Err(Reason::TcpSegment),
        Err(reason) => reason,
    };
    stages.scratch().found.reason = reason as u8;
    keep(stages, path, at, total as u32)
}

/// Keeps a part and lets it pass, if it comes in order.
#[inline(always)]
fn keep<S: Stages>(
    stages: &mut S,
    path: &Path,
    at: usize,
    total: u32,
) -> Result<AnswerKind, Reason> {
    if stages.keep(path, at, total) {
        Ok(AnswerKind::Truncate)
    } else {
        Err(Reason::TcpSegment)
    }
}

/// What becomes of a segment with blocked queries: an answer to the first one, or an error of the server.
#[inline(always)]
fn refuse<F: Frame, S: Stages>(
    frame: &mut F,
    stages: &mut S,
    path: &Path,
) -> Result<Reason, Reason> {
    let found = &stages.scratch().found;
    let is_all_blocked =
        found.is_cut == 0 && found.blocked == (1u32 << (found.count & 31)).wrapping_sub(1);
    // Of several, the first one is not in the scratch any more, and cannot be had again if it was resumed.
    let is_alone = found.count == 1;
    let can_be_next = is_all_blocked && (is_alone || found.kept == 0) && found.first_at == 0;
    let is_next = can_be_next && !stages.is_waiting(path);
    let kind = AnswerKind::from_number(stages.scratch().found.kind);
    let mut kind = kind.ok_or(Reason::Inconsistent)?;
    if is_next && !is_alone {
        stages.scratch().found.count = 0;
        stages.scratch().found.at = 0;
        kind = judge_message(frame, stages, path, 0)?;
    }
    match stages.admit(path) {
        Ok(()) => {}
        // It asks over TCP already.
        Err(Reason::Slipped) => return Err(Reason::RateLimited),
        Err(reason) => return Err(reason),
    }
    if !is_next {
        return disarm(frame, stages, path);
    }
    let reason = stages.compose(kind)?;
    stages.rewrite_tcp(path);
    let len = path.dns_at() + stages.scratch().message_len as usize;
    emit::replace(frame, path, stages.scratch(), len).ok_or(Reason::NoRoom)?;
    Ok(reason)
}

/// Lets the server answer the segment's blocked queries with an error.
#[inline(always)]
fn disarm<F: Frame, S: Stages>(
    frame: &mut F,
    stages: &mut S,
    path: &Path,
) -> Result<Reason, Reason> {
    let mut number = 0;
    while number < MESSAGES_MAX as u32 && number < stages.scratch().found.count {
        let found = &stages.scratch().found;
        let class_at = found.class_at[number as usize & (MESSAGES_MAX - 1)];
        if found.blocked >> number & 1 != 0 {
            let class_at = path.payload_at() + usize::from(class_at);
            let checksum = stages.disarm(path, class_at);
            frame
                .write(class_at, [tcp::NO_CLASS])
                .ok_or(Reason::BadFrame)?;
            let checksum_at = path.transport_at + tcp::CHECKSUM_AT;
            frame.write(checksum_at, checksum).ok_or(Reason::BadFrame)?;
        }
        number += 1;
    }
    let count = stages.scratch().found.count;
    stages.pass(path, count);
    Ok(Reason::TcpError)
}
