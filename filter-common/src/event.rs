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

#[cfg(test)]
mod tests {
    use bytemuck::Zeroable;

    use super::*;
    use crate::{layout::Record, world::World};

    /// A world whose control record samples so many; a generation and a rule of list 6 behind it.
    fn world(log_every: u32) -> World {
        let control = Control {
            log_every,
            ..Control::default()
        };
        let header = Header {
            generation: 77,
            class_base: 3,
            ..Header::zeroed()
        };
        let rule = RuleRecord {
            list: 6,
            ..RuleRecord::default()
        };
        let mut records = vec![Record::zeroed(); 10];
        records[0] = Record(bytemuck::cast(control));
        records[1] = Record(bytemuck::cast(header));
        records[9] = Record(bytemuck::cast(rule));
        World {
            records,
            ..World::default()
        }
    }

    fn scratch(flags: u32) -> Scratch {
        let mut scratch = Scratch::zeroed();
        (scratch.flags, scratch.policy) = (flags, 4);
        (scratch.generation, scratch.rule) = (1, 9);
        scratch
    }

    #[test]
    fn a_query_is_told_as_the_flags_want_it() {
        let by_mac = crate::selector::Selector::Mac.flag();
        for (flags, reason, is_told) in [
            (0, Reason::NxDomain, false),
            (by_mac, Reason::NxDomain, false),
            (by_mac, Reason::NoRule, false),
            (CONTROL_LOG_BLOCKED, Reason::NxDomain, true),
            (CONTROL_LOG_ALL, Reason::NxDomain, true),
            (CONTROL_LOG_BLOCKED, Reason::Observed, true),
            (CONTROL_LOG_BLOCKED, Reason::NoRule, false),
            (CONTROL_LOG_ALL, Reason::NoRule, true),
            (CONTROL_LOG_ALL, Reason::Unfiltered, false),
        ] {
            let world = world(0);
            tell(&world, &scratch(flags), reason);
            let expected = is_told.then_some((reason, Some(6)));
            assert_eq!(
                world.told.take(),
                Vec::from_iter(expected),
                "{flags} {reason:?}"
            );
            assert_eq!(flags & TOLD != 0, flags != 0);
        }
    }

    #[test]
    fn a_query_is_counted_where_some_policy_is_chosen() {
        for (flags, reason, counted) in [
            (CONTROL_LOG_ALL, Reason::NxDomain, None),
            (1, Reason::NxDomain, Some((4, true))),
            (16, Reason::NoRule, Some((4, false))),
        ] {
            let world = world(0);
            tell(&world, &scratch(flags), reason);
            assert_eq!(world.counted.take(), Vec::from_iter(counted), "{flags}");
        }
    }

    #[test]
    fn of_queries_that_pass_a_sample_is_told_and_of_blocked_ones_all() {
        for (every, random, is_told) in [
            (0, 1, true),
            (1, 1, true),
            (2, 1, false),
            (2, 4, true),
            (3, 4, false),
        ] {
            let world = world(every);
            world.random.set(random);
            tell(&world, &scratch(CONTROL_LOG_ALL), Reason::NoRule);
            assert_eq!(world.told.take().len(), usize::from(is_told), "{every}");
            tell(&world, &scratch(CONTROL_LOG_ALL), Reason::NxDomain);
            assert_eq!(world.told.take().len(), 1, "{every}");
        }
    }

    #[test]
    fn an_event_has_the_question_and_what_decided_it() {
        let world = world(0);
        world.now_ns.set(5);
        let mut scratch = scratch(0);
        scratch.client.source = [1; 16];
        scratch.client.destination = [2; 16];
        (scratch.client.vlan, scratch.client.port) = (30, 53);
        scratch.qtype = 28;
        scratch.decision.id = 11;
        let qname = b"\x01a\x04test\0";
        let at = HEADERS_MAX_BYTES + HEADER_BYTES;
        scratch.bytes[at..at + qname.len()].copy_from_slice(qname);
        scratch.question_end = (HEADER_BYTES + qname.len() + 4) as u32;
        let mut event = Event::zeroed();
        let rule = world.records.get(9).map(RuleRecord::of);
        fill(&world, &mut event, &scratch, rule, Reason::NxDomain);
        assert_eq!((event.time_ns, event.policy, event.list), (5, 4, 6));
        assert_eq!(
            (event.generation, event.rule, event.override_id),
            (77, 5, 11)
        );
        assert_eq!((event.source, event.destination), ([1; 16], [2; 16]));
        assert_eq!((event.vlan, event.port, event.qtype), (30, 53, 28));
        assert_eq!(event.reason, Reason::NxDomain as u8);
        assert_eq!(&event.qname[..usize::from(event.qname_len)], qname);
        // Without a rule there is no class, and without a generation no number.
        scratch.rule = 0;
        fill(&world, &mut event, &scratch, None, Reason::NoRule);
        assert_eq!((event.generation, event.rule, event.list), (77, 0, 0));
        scratch.generation = 100;
        fill(&world, &mut event, &scratch, rule, Reason::NxDomain);
        assert_eq!((event.generation, event.rule), (0, 0));
    }
}
