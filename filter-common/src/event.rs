//! What is counted and told of each query that was judged, if there are policies or a query log.

use crate::{
    dns::HEADER_BYTES,
    layout::{
        CONTROL_BY_ANY, CONTROL_LOG_ALL, CONTROL_LOG_BLOCKED, Control, Event, Header, RuleRecord,
    },
    maps::Maps,
    reason::{Action, Reason},
    scratch::{HEADERS_MAX_BYTES, Scratch},
    steps::Steps,
};

/// Flags of the control record by which queries that pass are told of too.
pub const TOLD: u32 = CONTROL_BY_ANY | CONTROL_LOG_ALL | CONTROL_LOG_BLOCKED;

/// Counts the query in `scratch` for its policy, and tells of it if asked to.
#[inline(always)]
pub fn tell<S: Steps + ?Sized>(steps: &S, scratch: &Scratch, reason: Reason) {
    let Some(control) = steps.record(0).map(Control::of) else {
        return;
    };
    let is_blocked = !matches!(reason.action(), Action::Pass);
    if scratch.flags & CONTROL_BY_ANY != 0 {
        steps.count_policy(scratch.policy, is_blocked);
    }
    // Nobody looks at what unfiltered clients ask: the log does not, either.
    let is_told = if matches!(reason, Reason::Unfiltered) {
        false
    } else if is_blocked || matches!(reason, Reason::Observed) {
        scratch.flags & (CONTROL_LOG_ALL | CONTROL_LOG_BLOCKED) != 0
    } else {
        scratch.flags & CONTROL_LOG_ALL != 0 && is_sampled(steps, control.log_every)
    };
    if is_told {
        let rule = match scratch.rule {
            0 => None,
            number => steps.record(number).map(RuleRecord::of),
        };
        steps.tell(scratch, rule, reason);
    }
}

/// Whether this is the one of `every` queries.
#[inline(always)]
fn is_sampled<M: Maps + ?Sized>(maps: &M, every: u32) -> bool {
    every < 2 || maps.random().is_multiple_of(every)
}

/// The numbers of the generation and of the rule's class in it, whose records `scratch` knows.
#[inline(always)]
fn numbers<S: Steps + ?Sized>(steps: &S, scratch: &Scratch) -> (u32, u32) {
    let Some(header) = steps.record(scratch.generation).map(Header::of) else {
        return (0, 0);
    };
    let first = scratch.generation.wrapping_add(header.class_base);
    let class = match scratch.rule {
        0 => 0,
        record => record.wrapping_sub(first),
    };
    (header.generation, class)
}

/// Fills an event in.
#[inline(always)]
pub fn fill<S: Steps + ?Sized>(
    steps: &S,
    event: &mut Event,
    scratch: &Scratch,
    rule: Option<&RuleRecord>,
    reason: Reason,
) {
    let client = &scratch.client;
    event.time_ns = steps.now_ns();
    event.source = client.source;
    event.destination = client.destination;
    event.mac = client.mac;
    event.vlan = client.vlan;
    event.interface = client.interface;
    event.policy = scratch.policy;
    event.list = rule.map_or(0, |rule| rule.list);
    event.override_id = scratch.decision.id;
    (event.generation, event.rule) = numbers(steps, scratch);
    event.port = client.port;
    event.qtype = scratch.qtype as u16;
    event.reason = reason as u8;
    event.protocol = client.protocol as u8;
    // A question ends four bytes behind its name.
    event.qname_len = (scratch.question_end.wrapping_sub(HEADER_BYTES as u32 + 4)) as u8;
    event.reserved = 0;
    let mut i = 0;
    while i < event.qname.len() {
        event.qname[i] = scratch.bytes[HEADERS_MAX_BYTES + HEADER_BYTES + i];
        i += 1;
    }
}
