//! The classes of packets: frames, what they are, and what must become of them.

use filter_common::reason::Reason;
use nxdp_lab::{
    cases::Message,
    frame::{ETHERTYPE_SERVICE_VLAN, UdpFrame},
    segment::Segment,
};

/// A class of packets.
pub(crate) struct Class {
    /// By which `--only` knows it.
    pub(crate) name: &'static str,
    /// In words.
    pub(super) what: &'static str,
    pub(crate) frame: Vec<u8>,
    /// What must become of it; otherwise something else would be measured.
    pub(crate) reason: Reason,
    pub(crate) setting: Setting,
}

/// What differs from a filter with lists and nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Setting {
    Plain,
    /// The policy only observes.
    Observing,
    /// Answers are limited, at a rate that is not reached.
    Limited,
}

/// Rules for every kind of answer.
pub(super) const RULES: &str = "\
@@||good.bench.example^
||refused.bench.example^$dnsrewrite=REFUSED
||null.bench.example^$dnsrewrite=0.0.0.0
||address.bench.example^$dnsrewrite=192.0.2.7
||bench.example^
";

/// Answers that only response policy zones have.
pub(super) const ZONE: &str = "\
$ORIGIN rpz.bench.
@ 60 IN SOA localhost. nobody.invalid. 1 3600 600 86400 60
@ 60 IN NS localhost.
drop.zone.example 60 IN CNAME rpz-drop.
tcp.zone.example 60 IN CNAME rpz-tcp-only.
empty.zone.example 60 IN CNAME *.
";

const CLEAN: &str = "www.not-in-any-list.com";

/// Every class; `blocked` is a name of the table.
pub(crate) fn all(blocked: &str) -> Vec<Class> {
    let mut classes = Vec::new();
    bars(&mut classes, blocked);
    encapsulated(&mut classes, blocked);
    tcp(&mut classes, blocked);
    long(&mut classes, blocked);
    answers(&mut classes, blocked);
    classes
}

fn push(
    classes: &mut Vec<Class>,
    (name, what): (&'static str, &'static str),
    frame: Vec<u8>,
    reason: Reason,
) {
    classes.push(Class {
        name,
        what,
        frame,
        reason,
        setting: Setting::Plain,
    });
}

fn v4(message: &Message) -> UdpFrame {
    UdpFrame::query_v4(40_000, &message.bytes())
}

fn v6(message: &Message) -> UdpFrame {
    UdpFrame::query_v6(40_000, &message.bytes())
}

/// A blocked query as clients ask it: with EDNS, so that the answer has an extended error.
fn blocked_message(name: &str) -> Message {
    Message::new(name).opt(0, &[])
}

fn bars(classes: &mut Vec<Class>, blocked: &str) {
    let other = UdpFrame::new(
        ([10, 0, 0, 2], 40_000).into(),
        ([10, 0, 0, 1], 443).into(),
        &[0; 64],
    );
    let clean = Message::new(CLEAN);
    push(
        classes,
        ("non_dns", "no DNS: UDP to another port"),
        other.build(),
        Reason::OtherPort,
    );
    push(
        classes,
        ("clean", "clean query, 3 labels"),
        v4(&clean).build(),
        Reason::NoRule,
    );
    push(
        classes,
        ("clean_edns", "the same with EDNS"),
        v4(&clean.opt(0, &[])).build(),
        Reason::NoRule,
    );
    push(
        classes,
        ("blocked", "blocked query: NXDOMAIN, SOA, extended error"),
        v4(&blocked_message(blocked)).build(),
        Reason::NxDomain,
    );
    push(
        classes,
        ("blocked_plain", "the same without EDNS: NXDOMAIN, SOA"),
        v4(&Message::new(blocked)).build(),
        Reason::NxDomain,
    );
    push(
        classes,
        ("blocked_below", "blocked query for a name below a rule's"),
        v4(&blocked_message(&format!("www.{blocked}"))).build(),
        Reason::NxDomain,
    );
}

fn encapsulated(classes: &mut Vec<Class>, blocked: &str) {
    let (clean, blocked) = (Message::new(CLEAN), blocked_message(blocked));
    let tagged = |frame: UdpFrame| frame.tag(ETHERTYPE_SERVICE_VLAN, 5).vlan(7);
    let list = [
        (("clean_ipv6", "clean, IPv6"), v6(&clean)),
        (("clean_vlan", "clean, VLAN tag"), v4(&clean).vlan(7)),
        (("clean_qinq", "clean, two VLAN tags"), tagged(v4(&clean))),
        (("clean_pppoe", "clean, PPPoE session"), v4(&clean).pppoe(9)),
    ];
    for (name, frame) in list {
        push(classes, name, frame.build(), Reason::NoRule);
    }
    let list = [
        (("blocked_ipv6", "blocked, IPv6"), v6(&blocked)),
        (("blocked_vlan", "blocked, VLAN tag"), v4(&blocked).vlan(7)),
        (
            ("blocked_qinq", "blocked, two VLAN tags"),
            tagged(v4(&blocked)),
        ),
        (
            ("blocked_pppoe", "blocked, PPPoE session"),
            v4(&blocked).pppoe(9),
        ),
    ];
    for (name, frame) in list {
        push(classes, name, frame.build(), Reason::NxDomain);
    }
}

fn tcp(classes: &mut Vec<Class>, blocked: &str) {
    let mut other = Segment::new(false, "A", &[0; 64]);
    other.destination.set_port(443);
    push(
        classes,
        ("tcp_non_dns", "no DNS: TCP to another port"),
        other.build(),
        Reason::OtherPort,
    );
    push(
        classes,
        ("tcp_no_query", "TCP to port 53 without a query"),
        Segment::new(false, "S", &[]).build(),
        Reason::Tcp,
    );
    push(
        classes,
        ("clean_tcp", "clean, over TCP"),
        Segment::query(false, &Message::new(CLEAN).bytes()).build(),
        Reason::NoRule,
    );
    // Another connection: on that of the clean query something waits for its answer.
    let mut query = Segment::query(false, &blocked_message(blocked).bytes());
    query.source.set_port(40_001);
    push(
        classes,
        ("blocked_tcp", "blocked, over TCP"),
        query.build(),
        Reason::NxDomain,
    );
}

fn long(classes: &mut Vec<Class>, blocked: &str) {
    let label = "y".repeat(60);
    let long = format!("{label}.{label}.{label}");
    let many = |name: &str| format!("{}{name}", "a.".repeat((250 - name.len()) / 2));
    let list = [
        (
            ("clean_long", "clean, 3 labels of 60 bytes"),
            long.clone(),
            Reason::NoRule,
        ),
        (
            ("clean_deep", "clean, more than 110 labels"),
            many("not-in-any-list.com"),
            Reason::NoRule,
        ),
        (
            ("blocked_long", "blocked, 3 labels of 60 bytes below a rule"),
            format!("{long}.{blocked}"),
            Reason::NxDomain,
        ),
        (
            ("blocked_deep", "blocked, more than 100 labels below a rule"),
            many(blocked),
            Reason::NxDomain,
        ),
    ];
    for (name, qname, reason) in list {
        push(classes, name, v4(&blocked_message(&qname)).build(), reason);
    }
}

fn answers(classes: &mut Vec<Class>, blocked: &str) {
    const AAAA: u16 = 28;
    let ask = |name: &str| blocked_message(name);
    let list = [
        (
            ("nodata", "NODATA"),
            ask("empty.zone.example"),
            Reason::NoData,
        ),
        (
            ("refused", "REFUSED"),
            ask("refused.bench.example"),
            Reason::Refused,
        ),
        (
            ("null_a", "address 0.0.0.0"),
            ask("null.bench.example"),
            Reason::Address,
        ),
        (
            ("null_aaaa", "address ::"),
            ask("null.bench.example").qtype(AAAA),
            Reason::Address,
        ),
        (
            ("address", "custom address"),
            ask("address.bench.example"),
            Reason::Address,
        ),
        (
            ("truncate", "TC=1"),
            ask("tcp.zone.example"),
            Reason::Truncated,
        ),
        (
            ("drop", "dropped"),
            ask("drop.zone.example"),
            Reason::Dropped,
        ),
        (
            ("allow", "let through by an exception"),
            ask("good.bench.example"),
            Reason::Allowed,
        ),
        (
            ("observe", "would be blocked, is only observed"),
            ask(blocked),
            Reason::Observed,
        ),
        (
            ("blocked_limited", "blocked, with a limit on answers"),
            ask(blocked),
            Reason::NxDomain,
        ),
    ];
    for (name, message, reason) in list {
        push(classes, name, v4(&message).build(), reason);
    }
    for class in classes {
        class.setting = match class.name {
            "observe" => Setting::Observing,
            "blocked_limited" => Setting::Limited,
            _ => Setting::Plain,
        };
    }
}
