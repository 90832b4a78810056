//! What holds of every frame that went through the filter, whatever it was.

use filter_common::reason::Action;
use hickory_proto::op::Message;

use crate::{check::check_frame, engines::Verdict};

/// The most that an answer has beyond its question: a SOA, and an OPT with an extended error
/// and a cookie.
pub const GROWTH_MAX_BYTES: usize = 48 + 77 + 44;

/// Checks what became of `frame`.
///
/// # Errors
/// Says which promise was broken.
pub fn check(frame: &[u8], verdict: &Verdict) -> Result<(), String> {
    if verdict.reason.action() != Action::Transmit {
        return if verdict.frame == frame {
            Ok(())
        } else {
            Err(format!("{} changed the frame", verdict.reason.name()))
        };
    }
    let answer = check_frame(&verdict.frame).map_err(|error| error.to_string())?;
    let payload = answer.payload.as_slice();
    // Link and IP headers keep their length, so the message keeps its place.
    let query = &frame[verdict.frame.len() - payload.len()..];
    let end = question_end(query).ok_or("the query has no whole question")?;
    if payload.len() > end + GROWTH_MAX_BYTES {
        return Err(format!(
            "{} bytes to a question that ends at {end}",
            payload.len()
        ));
    }
    if payload.get(12..end) != query.get(12..end) || payload[..2] != query[..2] {
        return Err("id or question are not echoed byte for byte".into());
    }
    if payload[2] & 0xf8 != 0x80 || frame[..6] != verdict.frame[6..12] {
        return Err("not a response to the sender".into());
    }
    let message = Message::from_vec(payload).map_err(|error| error.to_string())?;
    let asks_edns = query[11] != 0;
    // What OPT says of a query that breaks the rules is not read: FORMERR comes without one.
    let is_format_error = payload[3] & 0x0f == 1;
    if !is_format_error && message.edns.is_some() != asks_edns {
        return Err(format!("asked with OPT: {asks_edns}, answered otherwise"));
    }
    Ok(())
}

/// Position behind the only question, if it is there.
fn question_end(query: &[u8]) -> Option<usize> {
    let mut at = 12;
    loop {
        let len = usize::from(*query.get(at)?);
        at += 1 + len;
        if len == 0 {
            return (at + 4 <= query.len()).then_some(at + 4);
        }
    }
}
