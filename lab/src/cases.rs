//! The table of cases: a frame, and why it must leave as it does.
//!
//! A case is data. The host test and the kernel test read the same table.
// tidy: long because a table of cases is read in one place.

use filter_common::reason::Reason;

use crate::{
    frame::{ETHERTYPE_SERVICE_VLAN, Extension, UdpChecksum, UdpFrame},
    segment::Segment,
};

/// The lists that the cases are judged by, with their names.
pub const LISTS: [(&str, &str); 2] = [("cases", LIST), ("zone", ZONE)];

/// Actions that only response policy zones have.
const ZONE: &str = "\
$ORIGIN rpz.test.
@ 60 IN SOA localhost. nobody.invalid. 1 3600 600 86400 60
@ 60 IN NS localhost.
drop.test 60 IN CNAME rpz-drop.
tcp.test 60 IN CNAME rpz-tcp-only.
empty.test 60 IN CNAME *.
passthru.zoned.test 60 IN CNAME rpz-passthru.
";

const LIST: &str = "\
||blocked.test^
||zoned.test^
|exact.test^
*.below.test^
||parent.test^
@@||good.parent.test^
||must.good.parent.test^$important
||dropped.test^$dnstype=AAAA
||xn--mnchen-3ya.test^
_dns.underscore.test
||refused.test^$dnsrewrite=REFUSED
||servfail.test^$dnsrewrite=SERVFAIL
||null.test^$dnsrewrite=0.0.0.0
||address.test^$dnsrewrite=192.0.2.7
||address6.test^$dnsrewrite=2001:db8::7
||skips.test^$denyallow=this.skips.test
||one.two.three.four.five.six.seven.eight.nine.ten.deep.test^
";

/// One case.
pub struct Case {
    /// What it shows, as a sentence.
    pub description: String,
    /// The frame as it arrives.
    pub frame: Vec<u8>,
    /// Bytes of padding at its end.
    pub padding: usize,
    /// How it must leave.
    pub reason: Reason,
}

/// A DNS query message.
#[derive(Clone, Debug)]
pub struct Message {
    /// Header bytes 2 and 3: flags, opcode, rcode.
    pub flags: [u8; 2],
    /// QDCOUNT, ANCOUNT, NSCOUNT, ARCOUNT.
    pub counts: [u16; 4],
    /// The question's name in wire format.
    pub qname: Vec<u8>,
    /// Query type.
    pub qtype: u16,
    /// Query class.
    pub qclass: u16,
    /// What follows the question.
    pub rest: Vec<u8>,
}

impl Message {
    /// A plain recursive query for the A records of `name`, labels divided by dots.
    pub fn new(name: &str) -> Self {
        Self {
            flags: [1, 0],
            counts: [1, 0, 0, 0],
            qname: wire(name),
            qtype: 1,
            qclass: 1,
            rest: Vec::new(),
        }
    }

    /// Adds an OPT record with this extended flags word (version in bits 16 to 23) and these options.
    pub fn opt(mut self, ttl: u32, options: &[u8]) -> Self {
        self.counts[3] += 1;
        self.rest.extend([0, 0, 41, 0x04, 0xd0]);
        self.rest.extend(ttl.to_be_bytes());
        self.rest.extend((options.len() as u16).to_be_bytes());
        self.rest.extend(options);
        self
    }

    /// Sets the query type.
    pub fn qtype(mut self, qtype: u16) -> Self {
        self.qtype = qtype;
        self
    }

    /// The message on the wire.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0xca, 0xfe, self.flags[0], self.flags[1]];
        for count in self.counts {
            bytes.extend(count.to_be_bytes());
        }
        bytes.extend(&self.qname);
        bytes.extend(self.qtype.to_be_bytes());
        bytes.extend(self.qclass.to_be_bytes());
        bytes.extend(&self.rest);
        bytes
    }
}

/// A name in wire format; labels may be of any length.
pub fn wire(name: &str) -> Vec<u8> {
    let mut wire = Vec::new();
    for label in name.split('.').filter(|label| !label.is_empty()) {
        wire.push(label.len() as u8);
        wire.extend(label.as_bytes());
    }
    wire.push(0);
    wire
}

/// Every case.
pub fn all() -> Vec<Case> {
    let mut cases = Vec::new();
    names(&mut cases);
    messages(&mut cases);
    odd_messages(&mut cases);
    several_messages(&mut cases);
    encapsulations(&mut cases);
    third_parties(&mut cases);
    other_traffic(&mut cases);
    cases
}

fn push(cases: &mut Vec<Case>, description: &str, frame: Vec<u8>, reason: Reason) {
    cases.push(Case {
        description: description.to_owned(),
        frame,
        padding: 0,
        reason,
    });
}

fn v4(message: &Message) -> UdpFrame {
    UdpFrame::query_v4(40_000, &message.bytes())
}

fn v6(message: &Message) -> UdpFrame {
    UdpFrame::query_v6(40_000, &message.bytes())
}

/// Which names rules match, over both families and with and without EDNS.
fn names(cases: &mut Vec<Case>) {
    let labels_of_63 = [63, 63, 63].map(|len| "x".repeat(len)).join(".");
    let longest = format!("{}.{labels_of_63}.blocked.test", "y".repeat(48));
    let most_labels = format!("{}blocked.test", "a.".repeat(120));
    let deep = "one.two.three.four.five.six.seven.eight.nine.ten.deep.test";
    let table = [
        ("blocked.test", Reason::NxDomain),
        ("BLOCKED.tEsT", Reason::NxDomain),
        ("www.blocked.test", Reason::NxDomain),
        ("a.b.c.d.e.f.g.h.blocked.test", Reason::NxDomain),
        (&longest, Reason::NxDomain),
        (&most_labels, Reason::NxDomain),
        ("notblocked.test", Reason::NoRule),
        ("blocked.test.example", Reason::NoRule),
        ("locked.test", Reason::NoRule),
        ("test", Reason::NoRule),
        ("", Reason::NoRule),
        // NXDOMAIN would deny the names below as well (RFC 8020 §2).
        ("exact.test", Reason::NoData),
        ("www.exact.test", Reason::NoRule),
        ("below.test", Reason::NoRule),
        ("www.below.test", Reason::NxDomain),
        ("parent.test", Reason::NoData),
        ("www.parent.test", Reason::NxDomain),
        ("good.parent.test", Reason::Allowed),
        ("www.good.parent.test", Reason::Allowed),
        ("must.good.parent.test", Reason::NxDomain),
        ("xn--mnchen-3ya.test", Reason::NxDomain),
        ("_dns.underscore.test", Reason::NoData),
        ("underscore.test", Reason::NoRule),
        ("drop.test", Reason::Dropped),
        ("tcp.test", Reason::Truncated),
        ("empty.test", Reason::NoData),
        ("zoned.test", Reason::NoData),
        ("www.zoned.test", Reason::NxDomain),
        ("passthru.zoned.test", Reason::Allowed),
        ("www.refused.test", Reason::Refused),
        ("www.servfail.test", Reason::ServFail),
        ("www.null.test", Reason::Address),
        ("www.address.test", Reason::Address),
        ("www.address6.test", Reason::NoData),
        ("skips.test", Reason::NoData),
        ("that.skips.test", Reason::NxDomain),
        ("this.skips.test", Reason::NoRule),
        ("and.this.skips.test", Reason::NoRule),
        (deep, Reason::NxDomain),
        (
            "two.three.four.five.six.seven.eight.nine.ten.deep.test",
            Reason::NoRule,
        ),
    ];
    for (name, reason) in table {
        let message = Message::new(name);
        let with_opt = message.clone().opt(0x8000, &[]);
        let short: String = name.chars().take(40).collect();
        for (over, frame) in [
            ("IPv4", v4(&message)),
            ("IPv4 with EDNS", v4(&with_opt)),
            ("IPv6", v6(&message)),
            ("IPv6 with EDNS", v6(&with_opt)),
        ] {
            let description = format!("'{short}' over {over} is {}", reason.name());
            push(cases, &description, frame.build(), reason);
        }
    }
    for (name, qtype, reason) in [
        ("address.test", 28, Reason::NoData),
        ("address6.test", 28, Reason::Address),
        ("null.test", 28, Reason::Address),
        ("address.test", 255, Reason::NoData),
        ("address.test", 65, Reason::NoData),
        ("blocked.test", 65, Reason::NxDomain),
        ("blocked.test", 255, Reason::NxDomain),
        ("refused.test", 64, Reason::Refused),
        ("servfail.test", 28, Reason::ServFail),
    ] {
        let message = Message::new(name).qtype(qtype).opt(0, &[]);
        let description = format!("'{name}' of query type {qtype}");
        push(cases, &description, v6(&message).build(), reason);
    }
    for (name, reason) in [
        ("blocked.test", Reason::Delegation),
        ("www.blocked.test", Reason::NxDomain),
        ("refused.test", Reason::Delegation),
        ("below.test", Reason::NoRule),
        ("www.below.test", Reason::NxDomain),
    ] {
        let message = Message::new(name).qtype(43);
        let description = format!("the DS records of '{name}'");
        push(cases, &description, v4(&message).build(), reason);
    }
    for (qtype, reason) in [
        (28, Reason::NoData),
        (1, Reason::NoRule),
        (65, Reason::NoRule),
    ] {
        let message = Message::new("dropped.test").qtype(qtype);
        let description = format!("a rule for AAAA and query type {qtype}");
        push(cases, &description, v4(&message).build(), reason);
    }
}

/// What is not a plain question passes.
fn messages(cases: &mut Vec<Case>) {
    let blocked = Message::new("blocked.test");
    let with = |change: fn(&mut Message)| {
        let mut message = blocked.clone();
        change(&mut message);
        v4(&message).build()
    };
    push(
        cases,
        "a response passes",
        with(|m| m.flags[0] |= 0x80),
        Reason::Response,
    );
    push(
        cases,
        "a NOTIFY for a blocked name is dropped: Knot Resolver takes it for a query",
        with(|m| m.flags[0] = 4 << 3),
        Reason::OddDropped,
    );
    push(
        cases,
        "an opcode without a question passes",
        with(|m| {
            m.flags[0] = 6 << 3;
            m.counts[0] = 0;
        }),
        Reason::Opcode,
    );
    push(
        cases,
        "no question passes",
        with(|m| m.counts[0] = 0),
        Reason::QuestionCount,
    );
    push(
        cases,
        "two questions pass",
        with(|m| m.counts[0] = 2),
        Reason::QuestionCount,
    );
    push(
        cases,
        "a name of 256 bytes passes",
        with(|m| {
            m.qname = wire(&format!(
                "{}.{}",
                "z".repeat(51),
                [63, 63, 63, 10].map(|l| "x".repeat(l)).join(".")
            ));
        }),
        Reason::LongName,
    );
    push(
        cases,
        "a question without type passes",
        UdpFrame::query_v4(40_000, &blocked.bytes()[..26]).build(),
        Reason::ShortQuestion,
    );
    push(
        cases,
        "a message of 16 bytes passes",
        UdpFrame::query_v4(40_000, &blocked.bytes()[..16]).build(),
        Reason::ShortMessage,
    );
    push(
        cases,
        "bytes behind the message change nothing",
        with(|m| m.rest = vec![0xff; 40]),
        Reason::NxDomain,
    );
    push(
        cases,
        "an OPT with 600 bytes of padding is still a question",
        with(|m| *m = m.clone().opt(0, &[&[0, 12, 2, 88][..], &[0; 600]].concat())),
        Reason::NxDomain,
    );
    push(
        cases,
        "AD and CD set is still a question",
        with(|m| m.flags[1] = 0x30),
        Reason::NxDomain,
    );
}

/// Queries that break the rules and that a resolver answers all the same: the question decides.
fn odd_messages(cases: &mut Vec<Case>) {
    type Oddity = (&'static str, fn(&mut Message), Reason);
    let table: [Oddity; 22] = [
        ("opcode 1", |m| m.flags = [8, 0], Reason::OddDropped),
        (
            "opcode 15 and an answer",
            |m| {
                m.flags = [0x79, 0];
                m.counts[1] = 1;
            },
            Reason::OddDropped,
        ),
        ("an answer", |m| m.counts[1] = 1, Reason::FormErr),
        ("an authority", |m| m.counts[2] = 1, Reason::FormErr),
        (
            "an answer in front of OPT",
            |m| {
                m.counts[1] = 1;
                m.rest = ADDRESS_RECORD.to_vec();
                *m = m.clone().opt(0, &[]);
            },
            Reason::FormErr,
        ),
        ("class CH", |m| m.qclass = 3, Reason::OddDropped),
        ("class ANY", |m| m.qclass = 255, Reason::OddDropped),
        (
            "class CH and a broken OPT",
            |m| {
                m.qclass = 3;
                *m = m.clone().opt(0, &[1]);
            },
            Reason::OddDropped,
        ),
        ("a missing OPT", |m| m.counts[3] = 1, Reason::FormErr),
        (
            "65,535 missing records",
            |m| m.counts[3] = 65_535,
            Reason::FormErr,
        ),
        (
            "two OPT",
            |m| *m = m.clone().opt(0, &[]).opt(0, &[]),
            Reason::FormErr,
        ),
        (
            "a TSIG alone",
            |m| {
                *m = m.clone().opt(0, &[]);
                m.rest[2] = 250;
            },
            Reason::FormErr,
        ),
        (
            "an address record in place of OPT",
            |m| {
                m.counts[3] = 1;
                m.rest = ADDRESS_RECORD.to_vec();
            },
            Reason::FormErr,
        ),
        (
            "OPT with an owner",
            |m| {
                *m = m.clone().opt(0, &[]);
                m.rest.splice(..1, [1, b'x', 0]);
            },
            Reason::FormErr,
        ),
        (
            "1 byte of options",
            |m| *m = m.clone().opt(0, &[0]),
            Reason::FormErr,
        ),
        (
            "2 bytes of options",
            |m| *m = m.clone().opt(0, &[0; 2]),
            Reason::FormErr,
        ),
        (
            "3 bytes of options",
            |m| *m = m.clone().opt(0, &[0; 3]),
            Reason::FormErr,
        ),
        (
            "an option longer than OPT",
            |m| *m = m.clone().opt(0, &[0, 3, 0, 9]),
            Reason::FormErr,
        ),
        (
            "OPT longer than the message",
            |m| {
                *m = m.clone().opt(0, &[0, 3, 0, 0]);
                m.rest.truncate(13);
            },
            Reason::FormErr,
        ),
        (
            "EDNS version 1",
            |m| *m = m.clone().opt(1 << 16, &[]),
            Reason::BadVersion,
        ),
        (
            "EDNS version 255 and DO",
            |m| *m = m.clone().opt(0xff_8000, &[0; 3]),
            Reason::BadVersion,
        ),
        (
            "EDNS version 1 and an answer",
            |m| {
                *m = m.clone().opt(1 << 16, &[]);
                m.counts[1] = 1;
            },
            Reason::FormErr,
        ),
    ];
    for (what, change, reason) in table {
        for (name, reason) in [
            ("www.blocked.test", reason),
            ("free.test", Reason::NoRule),
            ("good.parent.test", Reason::Allowed),
        ] {
            let mut message = Message::new(name);
            change(&mut message);
            let description = format!("'{name}' with {what} is {}", reason.name());
            push(cases, &description, v4(&message).build(), reason);
            push(cases, &description, v6(&message).vlan(7).build(), reason);
        }
    }
    let from_dns = UdpFrame::query_v4(53, &Message::new("blocked.test").opt(1 << 16, &[]).bytes());
    push(
        cases,
        "an odd query that cannot be answered is dropped",
        from_dns.build(),
        Reason::OddDropped,
    );
    for (what, qname) in [
        (
            "a compression pointer",
            &[3, b'w', b'w', b'w', 0xc0, 12][..],
        ),
        (
            "a pointer to the root in the header",
            &[4, b't', b'e', b's', b't', 0xc0, 4],
        ),
        ("a reserved label type", &[0x41, 0, 0]),
    ] {
        let mut message = Message::new("");
        message.qname = qname.to_vec();
        let description = format!("{what} in the question is dropped");
        push(
            cases,
            &description,
            v4(&message).build(),
            Reason::Unreadable,
        );
    }
}

/// The A record of the name at position 12.
const ADDRESS_RECORD: [u8; 16] = [0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 1];

/// What a receive offload makes of queries that come together: one datagram.
fn several_messages(cases: &mut Vec<Case>) {
    let query = |name: &str, qtype| Message::new(name).qtype(qtype).opt(0, &[]).bytes();
    let joined = |parts: &[Vec<u8>]| parts.concat();
    let (blocked, blocked6) = (query("blocked.test", 1), query("blocked.test", 28));
    // Of the same length.
    let (clean, clean6) = (query("passing.test", 1), query("passing.test", 28));
    let short = query("exact.test", 1);
    let broken = {
        let mut message = Message::new("exact.test");
        message.qname[0] = 0xc0;
        message.bytes()
    };
    let table = [
        (
            "two blocked ones",
            joined(&[blocked.clone(), blocked6]),
            Reason::Several,
        ),
        (
            "a clean one, then a blocked one",
            joined(&[clean.clone(), blocked.clone()]),
            Reason::Several,
        ),
        (
            "a blocked one, then a clean one",
            joined(&[blocked.clone(), clean.clone()]),
            Reason::Several,
        ),
        (
            "two clean ones, then a shorter blocked one",
            joined(&[clean.clone(), clean6.clone(), short]),
            Reason::Several,
        ),
        (
            "seven clean ones, then a blocked one",
            joined(&[clean.repeat(7), blocked.clone()]),
            Reason::Several,
        ),
        (
            "two clean ones",
            joined(&[clean.clone(), clean6.clone()]),
            Reason::NoRule,
        ),
        ("eight clean ones", clean.repeat(8), Reason::NoRule),
        (
            "more than are looked at",
            clean.repeat(9),
            Reason::Unreadable,
        ),
        (
            "a clean one and 40 other bytes",
            joined(&[clean.clone(), vec![0xff; 40]]),
            Reason::Ragged,
        ),
        (
            "a clean one and a padded blocked one",
            joined(&[clean.clone(), vec![0; 3], blocked.clone()]),
            Reason::Ragged,
        ),
        (
            "a clean one and 16 other bytes, in which no query fits",
            joined(&[clean.clone(), vec![0xff; 16]]),
            Reason::NoRule,
        ),
        (
            "a clean one and one that cannot be read",
            joined(&[clean.clone(), broken.clone()]),
            Reason::Ragged,
        ),
        (
            "a blocked one and 40 other bytes",
            joined(&[blocked.clone(), vec![0xff; 40]]),
            Reason::NxDomain,
        ),
        (
            "a blocked one and one that cannot be read",
            joined(&[blocked, broken]),
            Reason::NxDomain,
        ),
    ];
    for (what, payload, reason) in table {
        let description = format!("several messages, {what}: {}", reason.name());
        let frame = UdpFrame::query_v4(40_000, &payload).build();
        push(cases, &description, frame, reason);
        let frame = UdpFrame::query_v6(40_000, &payload).vlan(9).build();
        push(cases, &description, frame, reason);
    }
}

/// Where in a frame a query can be.
fn encapsulations(cases: &mut Vec<Case>) {
    let message = Message::new("www.blocked.test").opt(0, &[]);
    let (q4, q6) = (v4(&message), v6(&message));
    let answered = [
        ("one VLAN tag", q4.clone().vlan(7)),
        ("one VLAN tag, IPv6", q6.clone().vlan(7)),
        (
            "two VLAN tags",
            q4.clone().tag(ETHERTYPE_SERVICE_VLAN, 100).vlan(7),
        ),
        (
            "two VLAN tags, IPv6",
            q6.clone().tag(ETHERTYPE_SERVICE_VLAN, 100).vlan(7),
        ),
        ("a PPPoE session", q4.clone().pppoe(0x1234)),
        ("a PPPoE session, IPv6", q6.clone().pppoe(0x1234)),
        (
            "a PPPoE session in a VLAN",
            q4.clone().vlan(7).pppoe(0x1234),
        ),
        ("4 bytes of IPv4 options", q4.clone().ipv4_options(&[1; 4])),
        (
            "three priority tags",
            q4.clone().vlan(0).vlan(0).vlan(0xe000),
        ),
        ("four VLAN tags", q6.clone().vlan(1).vlan(2).vlan(3).vlan(4)),
        (
            "40 bytes of IPv4 options",
            q4.clone()
                .ipv4_options(&[&[0x44, 40, 5, 0][..], &[0; 36]].concat()),
        ),
        (
            "no UDP checksum",
            q4.clone().udp_checksum(UdpChecksum::Absent),
        ),
    ];
    for (what, frame) in answered {
        push(
            cases,
            &format!("{what}: answered"),
            frame.build(),
            Reason::NxDomain,
        );
    }
    for (what, frame) in [
        (
            "hop-by-hop options",
            q6.clone().extension(Extension::HopByHop(8)),
        ),
        (
            "destination options",
            q6.clone().extension(Extension::DestinationOptions(24)),
        ),
        ("a routing header", q6.clone().extension(Extension::Routing)),
        (
            "an atomic fragment",
            q6.clone().extension(Extension::Fragment {
                offset: 0,
                more: false,
            }),
        ),
        (
            "six extension headers",
            (0..6).fold(q6.clone(), |f, _| {
                f.extension(Extension::DestinationOptions(8))
            }),
        ),
    ] {
        push(
            cases,
            &format!("{what}: blocked without an answer"),
            frame.build(),
            Reason::Unanswerable,
        );
    }
    for (what, frame, reason) in [
        (
            "a later IPv4 fragment",
            q4.clone().ipv4_fragment(185, false),
            Reason::Fragment,
        ),
        (
            "a later IPv6 fragment",
            q6.clone().extension(Extension::Fragment {
                offset: 9,
                more: false,
            }),
            Reason::Fragment,
        ),
        (
            "an authentication header",
            q6.clone().extension(Extension::Authentication),
            Reason::ExtensionHeaders,
        ),
    ] {
        push(cases, &format!("{what}: passed"), frame.build(), reason);
    }
    hidden(cases);
}

/// Headers that network stacks follow, or let pass, though no sender has a use for them.
fn hidden(cases: &mut Vec<Case>) {
    let first = Extension::Fragment {
        offset: 0,
        more: true,
    };
    let clean = Message::new("passing.test").opt(0, &[]);
    let blocked = Message::new("blocked.test").opt(0, &[]);
    for (message, reason) in [(clean, Reason::NoRule), (blocked, Reason::OddDropped)] {
        let (q4, q6) = (v4(&message), v6(&message));
        for (what, frame) in [
            ("a UDP length of 0 over IPv6", without_udp_length(&q6)),
            (
                "a jumbo length of 0 with hop-by-hop options",
                without_ipv6_length(&q6.clone().extension(Extension::HopByHop(8))),
            ),
            (
                "a PPPoE session with a protocol of one byte",
                short_pppoe(&q4),
            ),
            (
                "IPv6 in a PPPoE session with a protocol of one byte",
                short_pppoe(&q6),
            ),
            (
                "a PPPoE session of version 2",
                changed(&q4.clone().pppoe(9), 14, 0x21),
            ),
            (
                "a PPPoE session with a code",
                changed(&q6.clone().pppoe(9), 15, 1),
            ),
            (
                "a first IPv4 fragment",
                q4.clone().ipv4_fragment(0, true).build(),
            ),
            (
                "a first IPv6 fragment",
                q6.clone().extension(first.clone()).build(),
            ),
            (
                "a first IPv6 fragment without a UDP length",
                without_udp_length_at(14 + 40 + 8, &q6.clone().extension(first.clone())),
            ),
        ] {
            let description = format!("{what}: {}", reason.name());
            push(cases, &description, frame, reason);
        }
    }
    let query = Message::new("passing.test");
    for (what, frame) in [
        (
            "five VLAN tags",
            (0..5).fold(v4(&query), |frame, _| frame.vlan(0)).build(),
        ),
        (
            "seven extension headers",
            (0..7)
                .fold(v6(&query), |f, _| {
                    f.extension(Extension::DestinationOptions(8))
                })
                .build(),
        ),
        (
            "a first fragment that ends in the question",
            cut_fragment(&query, 12),
        ),
        (
            "a first fragment without a message",
            cut_fragment(&query, 0),
        ),
        (
            "a first fragment that ends in its header chain",
            cut_chain(&query),
        ),
        (
            "a first fragment of TCP",
            changed(&v4(&query).ipv4_fragment(0, true), 23, 6),
        ),
    ] {
        push(
            cases,
            &format!("{what}: dropped"),
            frame,
            Reason::Unreadable,
        );
    }
}

fn changed(frame: &UdpFrame, at: usize, byte: u8) -> Vec<u8> {
    let mut bytes = frame.build();
    bytes[at] = byte;
    bytes
}

/// RFC 2675 §4.
fn without_udp_length(frame: &UdpFrame) -> Vec<u8> {
    without_udp_length_at(14 + 40, frame)
}

fn without_udp_length_at(udp_at: usize, frame: &UdpFrame) -> Vec<u8> {
    let mut bytes = frame.build();
    bytes[udp_at + 4..][..2].fill(0);
    bytes
}

/// A first fragment that says "options", and ends before they do.
fn cut_chain(message: &Message) -> Vec<u8> {
    let first = Extension::Fragment {
        offset: 0,
        more: true,
    };
    let frame = v6(message)
        .extension(first)
        .extension(Extension::DestinationOptions(8))
        .extension(Extension::DestinationOptions(8));
    let mut bytes = frame.build();
    bytes.truncate(14 + 40 + 8 + 8);
    bytes[14 + 4..][..2].copy_from_slice(&16u16.to_be_bytes());
    bytes
}

/// RFC 2675 §3, but without the option that has the length.
fn without_ipv6_length(frame: &UdpFrame) -> Vec<u8> {
    let mut bytes = frame.build();
    bytes[14 + 4..][..2].fill(0);
    bytes
}

/// RFC 1661 §6.5.
fn short_pppoe(frame: &UdpFrame) -> Vec<u8> {
    let mut bytes = frame.clone().pppoe(9).build();
    bytes.remove(20);
    let len = u16::from_be_bytes([bytes[18], bytes[19]]) - 1;
    bytes[18..20].copy_from_slice(&len.to_be_bytes());
    bytes
}

/// A first fragment with so many bytes of the message.
fn cut_fragment(message: &Message, len: usize) -> Vec<u8> {
    let frame = UdpFrame::query_v4(40_000, &message.bytes()[..len]).ipv4_fragment(0, true);
    let mut bytes = frame.build();
    bytes[38..40].copy_from_slice(&200u16.to_be_bytes());
    bytes
}

/// Who must never be sent an answer.
fn third_parties(cases: &mut Vec<Case>) {
    let bytes = Message::new("blocked.test").bytes();
    for port in [0, 7, 13, 19, 37, 53, 464] {
        push(
            cases,
            &format!("a blocked query from port {port} gets no answer"),
            UdpFrame::query_v4(port, &bytes).build(),
            Reason::Unanswerable,
        );
    }
    let addresses = [
        ("127.0.0.1:40000", "192.168.1.1:53"),
        ("0.0.0.0:40000", "192.168.1.1:53"),
        ("224.0.0.1:40000", "192.168.1.1:53"),
        ("255.255.255.255:40000", "192.168.1.1:53"),
        ("192.168.1.2:40000", "224.0.0.251:53"),
        ("192.168.1.2:40000", "255.255.255.255:53"),
        ("192.168.1.1:40000", "192.168.1.1:53"),
        ("[::1]:40000", "[fd00::1]:53"),
        ("[::]:40000", "[fd00::1]:53"),
        ("[ff02::1]:40000", "[fd00::1]:53"),
        ("[fd00::2]:40000", "[ff02::fb]:53"),
        ("[fd00::1]:40000", "[fd00::1]:53"),
    ];
    for (source, destination) in addresses {
        let frame = UdpFrame::new(
            source.parse().expect("an address"),
            destination.parse().expect("an address"),
            &bytes,
        );
        push(
            cases,
            &format!("a blocked query from {source} to {destination} gets no answer"),
            frame.build(),
            Reason::Unanswerable,
        );
    }
    for (source, destination, reason) in [
        ("203.0.113.9:40000", "192.168.1.1:53", Reason::Stranger),
        ("100.127.255.255:40000", "192.168.1.1:53", Reason::NxDomain),
        ("100.128.0.0:40000", "192.168.1.1:53", Reason::Stranger),
        ("172.32.0.1:40000", "8.8.8.8:53", Reason::Stranger),
        ("172.31.0.1:40000", "8.8.8.8:53", Reason::NxDomain),
        ("[2001:db8::9]:40000", "[fd00::1]:53", Reason::Stranger),
        ("[fe80::9]:40000", "[fe80::1]:53", Reason::NxDomain),
        ("[fd00::9]:40000", "[2001:db8::53]:53", Reason::NxDomain),
    ] {
        let frame = UdpFrame::new(
            source.parse().expect("an address"),
            destination.parse().expect("an address"),
            &bytes,
        );
        let description = format!("a blocked query from {source}: {}", reason.name());
        push(cases, &description, frame.build(), reason);
    }
    let group = UdpFrame::query_v4(40_000, &bytes).macs([2, 0, 0, 0, 0, 9], [0xff; 6]);
    push(
        cases,
        "a blocked query to the broadcast hardware address gets no answer",
        group.build(),
        Reason::Unanswerable,
    );
    let allowed = UdpFrame::query_v4(53, &Message::new("free.test").bytes());
    push(
        cases,
        "a query from port 53 that no rule is for passes",
        allowed.build(),
        Reason::NoRule,
    );
}

/// What is no DNS over UDP.
fn other_traffic(cases: &mut Vec<Case>) {
    let query = v4(&Message::new("blocked.test")).build();
    let with = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut frame = query.clone();
        change(&mut frame);
        frame
    };
    push(
        cases,
        "ARP passes",
        with(&|f| f[12..14].copy_from_slice(&[8, 6])),
        Reason::NotIp,
    );
    push(
        cases,
        "ICMP passes",
        with(&|f| f[23] = 1),
        Reason::OtherProtocol,
    );
    push(
        cases,
        "another port passes",
        with(&|f| f[37] = 54),
        Reason::OtherPort,
    );
    push(
        cases,
        "a TCP connection that begins passes",
        Segment::new(false, "S", &[]).build(),
        Reason::Tcp,
    );
    push(
        cases,
        "the start of a query over TCP passes",
        Segment::new(false, "AP", &[0, 40, 1, 2]).build(),
        Reason::TcpPart,
    );
    push(
        cases,
        "TCP whose header is longer than the packet passes",
        with(&|f| f[23] = 6),
        Reason::BadFrame,
    );
    push(
        cases,
        "TCP to another port passes",
        with(&|f| {
            f[23] = 6;
            f[37] = 80;
        }),
        Reason::OtherPort,
    );
    push(
        cases,
        "IP version 5 passes",
        with(&|f| f[14] = 0x55),
        Reason::BadFrame,
    );
    push(
        cases,
        "an IHL of 4 passes",
        with(&|f| f[14] = 0x44),
        Reason::BadFrame,
    );
    push(
        cases,
        "a total length beyond the frame passes",
        with(&|f| f[16] = 9),
        Reason::BadFrame,
    );
    push(
        cases,
        "a UDP length beyond the packet passes",
        with(&|f| f[38] = 9),
        Reason::BadFrame,
    );
    push(
        cases,
        "a UDP length below 8 passes",
        with(&|f| f[39] = 7),
        Reason::BadFrame,
    );
    push(
        cases,
        "a frame that ends in its IP header passes",
        query[..30].to_vec(),
        Reason::BadFrame,
    );
    cases.push(Case {
        description: "padding behind the packet is no part of it".into(),
        frame: [query.clone(), vec![0; 20]].concat(),
        padding: 20,
        reason: Reason::NxDomain,
    });
    let v6 = v6(&Message::new("blocked.test")).build();
    push(
        cases,
        "ICMPv6 passes",
        {
            let mut f = v6.clone();
            f[20] = 58;
            f
        },
        Reason::OtherProtocol,
    );
    push(
        cases,
        "IPv6 with no next header passes",
        {
            let mut f = v6;
            f[20] = 59;
            f
        },
        Reason::OtherProtocol,
    );
}
