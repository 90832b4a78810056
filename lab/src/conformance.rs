//! The table of protocol cases: odd but possible queries, and what each must lead to.
//!
//! Sources are RFC 8906 (the tests that broken servers and middleboxes fail),
//! the DNS flag days of 2019 and 2020, and the RFCs of the features themselves.
//! Each case is asked twice: for a name that no list has, where not a byte of the frame may
//! change, and for a blocked name. `tests/conformance.rs` runs them and writes
//! `docs/conformance.md`; [`judge()`] holds an answer against two libraries.
// tidy: long because a table of cases is read in one place.

mod judge;

pub use judge::{Judged, judge};

use filter_common::reason::Reason;

use crate::cases::{Message, wire};

/// The name that the lists of [`crate::cases`] block.
pub const BLOCKED: &str = "blocked.test";
/// A name that they do not have.
pub const FREE: &str = "free.test";

/// What a query must lead to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// NXDOMAIN, right in every field.
    Answer,
    /// The same with the query's COOKIE option, unchanged: a client that saw a server's cookie
    /// once takes no answer without one (RFC 7873 §5.3).
    AnswerWithCookie,
    /// An error that tells what is odd: the word of its RCODE.
    Error(&'static str),
    /// Nobody gets anything.
    Drop(Reason),
    /// The resolver gets the frame as it is.
    Pass(Reason),
}

/// One query.
#[derive(Clone, Debug)]
pub struct Case {
    /// What is odd about it.
    pub what: String,
    /// Where the behaviour is asked for.
    pub source: &'static str,
    /// The message.
    pub message: Vec<u8>,
    /// What it must lead to.
    pub expected: Expected,
    /// Flags with which `dig` sends such a query; none if it cannot.
    pub dig: Option<String>,
    /// The query comes over TCP: no frame of its own, judged at the client only.
    pub is_over_tcp: bool,
}

/// Every case, asked for `name`.
pub fn all(name: &str) -> Vec<Case> {
    let mut table = Table {
        name: name.to_owned(),
        cases: Vec::new(),
    };
    flags(&mut table);
    opcodes(&mut table);
    sections(&mut table);
    types(&mut table);
    classes(&mut table);
    edns(&mut table);
    options(&mut table);
    versions(&mut table);
    broken_edns(&mut table);
    lengths(&mut table);
    over_tcp(&mut table);
    if name == FREE {
        for case in &mut table.cases {
            case.expected = of_free_name(case.expected, &case.what);
        }
    }
    table.cases
}

/// What the same query must lead to for a name that nobody blocks.
fn of_free_name(expected: Expected, what: &str) -> Expected {
    match expected {
        Pass(Reason::Delegation) => Pass(Reason::NoRule),
        // There is no name to read.
        Pass(_) | Drop(Reason::Unreadable) => expected,
        _ if what == TRAILING => Pass(Reason::Ragged),
        _ => Pass(Reason::NoRule),
    }
}

/// The case of a message that ends before its datagram does.
const TRAILING: &str = "40 bytes behind the message";

struct Table {
    name: String,
    cases: Vec<Case>,
}

use Expected::{Answer, AnswerWithCookie, Drop, Error, Pass};

impl Table {
    fn query(&self) -> Message {
        Message::new(&self.name)
    }

    fn add(
        &mut self,
        what: impl Into<String>,
        source: &'static str,
        expected: Expected,
        dig: impl Into<Option<&'static str>>,
        message: &Message,
    ) {
        self.add_bytes(what, source, expected, dig, message.bytes());
    }

    fn add_bytes(
        &mut self,
        what: impl Into<String>,
        source: &'static str,
        expected: Expected,
        dig: impl Into<Option<&'static str>>,
        message: Vec<u8>,
    ) {
        self.cases.push(Case {
            what: what.into(),
            source,
            message,
            expected,
            dig: dig.into().map(str::to_owned),
            is_over_tcp: false,
        });
    }

    /// A query whose two bytes of flags are these.
    fn add_flags(
        &mut self,
        what: &str,
        source: &'static str,
        expected: Expected,
        dig: impl Into<Option<&'static str>>,
        flags: [u8; 2],
    ) {
        let message = Message {
            flags,
            ..self.query()
        };
        self.add(what, source, expected, dig, &message);
    }
}

const FORMERR: &str = "FORMERR";

fn flags(table: &mut Table) {
    let source = "RFC 1035 §4.1.1";
    table.add_flags(
        "plain query",
        source,
        Answer,
        "+noedns +noadflag",
        [0x01, 0],
    );
    table.add_flags(
        "RD=0",
        "RFC 8906 §8.1.3.4",
        Answer,
        "+noedns +norec +noadflag",
        [0, 0],
    );
    table.add_flags(
        "CD=1",
        "RFC 8906 §8.1.3.1",
        Answer,
        "+noedns +cdflag",
        [1, 0x10],
    );
    table.add_flags(
        "AD=1",
        "RFC 8906 §8.1.3.2",
        Answer,
        "+noedns +adflag",
        [1, 0x20],
    );
    table.add_flags(
        "Z=1",
        "RFC 8906 §8.1.3.3",
        Answer,
        "+noedns +zflag",
        [1, 0x40],
    );
    table.add_flags("AA=1", source, Answer, "+noedns +aaflag", [5, 0]);
    table.add_flags("TC=1", source, Answer, "+noedns +tcflag", [3, 0]);
    table.add_flags("RA=1", source, Answer, "+noedns +raflag", [1, 0x80]);
    table.add_flags("RCODE=5", source, Answer, None, [1, 5]);
    table.add_flags("every flag but QR", source, Answer, None, [7, 0xf0]);
    table.add_flags("QR=1", source, Pass(Reason::Response), None, [0x81, 0]);
}

fn opcodes(table: &mut Table) {
    for opcode in 1..16 {
        let (what, source) = match opcode {
            1 => ("IQUERY", "RFC 3425 §3"),
            2 => ("STATUS", "RFC 1035 §4.1.1"),
            4 => ("NOTIFY", "RFC 1996 §3"),
            5 => ("UPDATE", "RFC 2136 §2.2"),
            6 => ("DSO", "RFC 8490 §5.4"),
            _ => ("unassigned", "RFC 8906 §8.1.4"),
        };
        let message = Message {
            flags: [opcode << 3, 0],
            ..table.query()
        };
        table.add(
            format!("opcode {opcode}, {what}"),
            source,
            Drop(Reason::OddDropped),
            None,
            &message,
        );
        // dig gives up on the opcodes whose messages are no questions, and is slow to give up the others.
        if matches!(opcode, 1 | 4 | 15) {
            let case = table.cases.last_mut().expect("it was just added");
            case.dig = Some(format!("+noedns +norec +noadflag +opcode={opcode}"));
        }
    }
}

fn sections(table: &mut Table) {
    let source = "RFC 9619 §4";
    let header = Message::new("").bytes()[..4].to_vec();
    table.add_bytes(
        "a header only",
        "RFC 7873 §5.4",
        Pass(Reason::ShortMessage),
        "+noedns +header-only",
        [header.as_slice(), &[0; 8]].concat(),
    );
    let mut opt = [header.as_slice(), &[0, 0, 0, 0, 0, 0, 0, 1]].concat();
    opt.extend([0, 0, 41, 4, 0xd0, 0, 0, 0, 0, 0, 0]);
    table.add_bytes(
        "a header with OPT",
        "RFC 7873 §5.4",
        Pass(Reason::QuestionCount),
        "+edns=0 +nocookie +header-only",
        opt,
    );
    for count in [0, 2, 65_535] {
        let mut message = table.query();
        message.counts[0] = count;
        if count == 2 {
            message.rest = [wire(&table.name), vec![0, 28, 0, 1]].concat();
        }
        let what = format!("QDCOUNT={count}");
        table.add(what, source, Pass(Reason::QuestionCount), None, &message);
    }
    for (section, what) in [(1, "an answer"), (2, "an authority record")] {
        let mut message = table.query();
        message.counts[section] = 1;
        message.rest = vec![0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 1];
        table.add(
            format!("{what} in the query"),
            "RFC 1035 §4.1",
            Error(FORMERR),
            None,
            &message,
        );
    }
    let mut message = table.query();
    message.counts[3] = 1;
    message.rest = vec![0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 1];
    table.add(
        "an additional record that is no OPT",
        "RFC 1035 §4.1",
        Error(FORMERR),
        None,
        &message,
    );
    let mut message = table.query();
    message.qname = vec![0xc0, 4];
    table.add(
        "a compressed qname",
        "RFC 1035 §4.1.4",
        Drop(Reason::Unreadable),
        None,
        &message,
    );
}

fn types(table: &mut Table) {
    let unknown = "RFC 8906 §8.1.2";
    let meta = "RFC 6895 §3.1";
    for (qtype, what, source, dig) in [
        (1000, "TYPE1000", unknown, "-t TYPE1000"),
        (65_280, "TYPE65280, private use", unknown, "-t TYPE65280"),
        (65_535, "TYPE65535", unknown, "-t TYPE65535"),
        (28, "AAAA", "RFC 3596 §2.1", "-t AAAA"),
        (65, "HTTPS", "RFC 9460 §9", "-t HTTPS"),
        (64, "SVCB", "RFC 9460 §2", "-t SVCB"),
        (10, "NULL", "RFC 1035 §3.3.10", "-t NULL"),
        (255, "ANY", "RFC 8482 §4", "-t ANY +notcp"),
        (253, "MAILB", meta, "-t MAILB"),
        (254, "MAILA", meta, "-t MAILA"),
    ] {
        let message = table.query().qtype(qtype);
        table.add(format!("qtype {what}"), source, Answer, None, &message);
        let case = table.cases.last_mut().expect("it was just added");
        case.dig = Some(format!("+noedns {dig}"));
    }
    table.add(
        "qtype DS",
        "RFC 4035 §3.1.4.1",
        Pass(Reason::Delegation),
        "+noedns -t DS",
        &table.query().qtype(43),
    );
    for (qtype, what, source) in [
        (0, "0", meta),
        (41, "OPT", "RFC 6891 §6.1.1"),
        (249, "TKEY", meta),
        (250, "TSIG", meta),
        (251, "IXFR over UDP", "RFC 1995 §2"),
        (252, "AXFR over UDP", "RFC 5936 §4.2"),
    ] {
        let message = table.query().qtype(qtype);
        table.add(format!("qtype {what}"), source, Answer, None, &message);
    }
}

fn classes(table: &mut Table) {
    for (qclass, what, dig) in [
        (3, "CH", Some("+noedns -c CH")),
        (4, "HS", Some("+noedns -c HS")),
        (254, "NONE", None),
        (255, "ANY", Some("+noedns -c ANY")),
        (0, "0", None),
        (1000, "1000", Some("+noedns -c CLASS1000")),
    ] {
        let mut message = table.query();
        message.qclass = qclass;
        table.add(
            format!("class {what}"),
            "RFC 6895 §3.2",
            Drop(Reason::OddDropped),
            dig,
            &message,
        );
    }
}

/// A query with an OPT record of this payload size.
fn sized(query: Message, payload_bytes: u16) -> Message {
    let mut message = query.opt(0, &[]);
    message.rest[3..5].copy_from_slice(&payload_bytes.to_be_bytes());
    message
}

fn edns(table: &mut Table) {
    let minimal = table.query().opt(0, &[]);
    table.add(
        "EDNS without options",
        "RFC 8906 §8.2.1",
        Answer,
        "+edns=0 +nocookie",
        &minimal,
    );
    for (size, dig) in [
        (0, None),
        (1, None),
        (511, None),
        (512, Some("+bufsize=512 +nocookie")),
        (1232, Some("+bufsize=1232 +nocookie")),
        (4096, Some("+bufsize=4096 +nocookie")),
        (65_535, Some("+bufsize=65535 +nocookie")),
    ] {
        let message = sized(table.query(), size);
        let source = if size < 512 {
            "RFC 6891 §6.2.3"
        } else {
            "flag day 2020"
        };
        table.add(
            format!("EDNS buffer of {size} bytes"),
            source,
            Answer,
            dig,
            &message,
        );
    }
    for (ttl, what, source, dig) in [
        (0x8000, "DO=1", "RFC 8906 §8.2.8", Some("+dnssec +nocookie")),
        (
            0x0040,
            "an unknown EDNS flag",
            "RFC 8906 §8.2.4",
            Some("+ednsflags=0x40 +nocookie"),
        ),
        (0xffff, "every EDNS flag", "RFC 8906 §8.2.4", None),
        (
            0x0100_0000,
            "an extended RCODE in the query",
            "RFC 6891 §6.1.3",
            None,
        ),
    ] {
        let message = table.query().opt(ttl, &[]);
        table.add(what, source, Answer, dig, &message);
    }
}

/// An EDNS option.
fn option(code: u16, data: &[u8]) -> Vec<u8> {
    let len = u16::try_from(data.len()).expect("an option is short");
    [&code.to_be_bytes()[..], &len.to_be_bytes(), data].concat()
}

/// OPTION-CODE of COOKIE (RFC 7873 §4).
pub const COOKIE: u16 = 10;

fn options(table: &mut Table) {
    let unknown = "RFC 8906 §8.2.3";
    let subnet = option(8, &[0, 1, 24, 0, 192, 0, 2]);
    let client_cookie = option(COOKIE, &[1, 2, 3, 4, 5, 6, 7, 8]);
    let rows = [
        (
            "an unknown option",
            unknown,
            option(100, &[]),
            Some("+ednsopt=100 +nocookie"),
        ),
        (
            "an unknown option with data",
            unknown,
            option(100, &[0xab; 40]),
            Some("+ednsopt=100:abababab +nocookie"),
        ),
        (
            "an option of the experimental range",
            unknown,
            option(65_001, b"nxdp"),
            Some("+ednsopt=65001:6e786470 +nocookie"),
        ),
        (
            "NSID",
            "RFC 5001 §2.1",
            option(3, &[]),
            Some("+nsid +nocookie"),
        ),
        (
            "client subnet",
            "RFC 7871 §6",
            subnet.clone(),
            Some("+subnet=192.0.2.0/24 +nocookie"),
        ),
        (
            "client subnet 0/0",
            "RFC 7871 §7.1.2",
            option(8, &[0, 1, 0, 0]),
            Some("+subnet=0/0 +nocookie"),
        ),
        (
            "a client cookie",
            "RFC 7873 §5.2.3",
            client_cookie.clone(),
            Some("+cookie=0102030405060708"),
        ),
        (
            "a cookie of 5 bytes",
            "RFC 7873 §5.2.2",
            option(COOKIE, &[1; 5]),
            None,
        ),
        (
            "padding",
            "RFC 7830 §3",
            option(12, &[0; 64]),
            Some("+padding=128 +nocookie"),
        ),
        (
            "TCP keepalive over UDP",
            "RFC 7828 §3.2.1",
            option(11, &[]),
            Some("+keepalive +nocookie"),
        ),
        (
            "EXPIRE",
            "RFC 7314 §2",
            option(9, &[]),
            Some("+expire +nocookie"),
        ),
        (
            "an extended error in the query",
            "RFC 8914 §2",
            option(15, &[0, 15]),
            None,
        ),
        (
            "the same option twice",
            "RFC 6891 §6.1.2",
            [option(3, &[]), option(3, &[])].concat(),
            None,
        ),
        (
            "NSID, subnet, cookie and EXPIRE",
            "RFC 8906 §8.2.10",
            [option(3, &[]), subnet, client_cookie, option(9, &[])].concat(),
            Some("+nsid +subnet=192.0.2.0/24 +cookie=0102030405060708 +expire"),
        ),
        (
            "two cookies, the second with a server's part",
            "RFC 7873 §5.2",
            [option(COOKIE, &[1; 8]), option(COOKIE, &[2; 16])].concat(),
            None,
        ),
    ];
    for (what, source, options, dig) in rows {
        let message = table.query().opt(0, &options);
        table.add(what, source, Answer, dig, &message);
    }
    for (server_part, dig) in [
        (8, Some("+cookie=01020304050607081112131415161718")),
        (16, None),
        (32, None),
    ] {
        let cookie: Vec<u8> = (1..=8 + server_part).collect();
        let message = table.query().opt(0, &option(COOKIE, &cookie));
        let what = format!("a cookie with {server_part} bytes of the server");
        table.add(what, "RFC 7873 §5.3", AnswerWithCookie, dig, &message);
    }
    let two = [option(COOKIE, &[1; 16]), option(COOKIE, &[2; 24])].concat();
    let message = table.query().opt(0, &two);
    table.add(
        "two cookies with a server's part",
        "RFC 7873 §5.2",
        AnswerWithCookie,
        None,
        &message,
    );
}

fn versions(table: &mut Table) {
    let rows = [
        (
            "EDNS version 1",
            "RFC 8906 §8.2.2",
            1 << 16,
            vec![],
            Some("+edns=1 +noednsneg +nocookie"),
        ),
        (
            "EDNS version 255",
            "RFC 8906 §8.2.2",
            255 << 16,
            vec![],
            Some("+edns=255 +noednsneg +nocookie"),
        ),
        (
            "EDNS version 1 with an unknown flag",
            "RFC 8906 §8.2.5",
            1 << 16 | 0x40,
            vec![],
            Some("+edns=1 +noednsneg +ednsflags=0x40 +nocookie"),
        ),
        (
            "EDNS version 1 with an unknown option",
            "RFC 8906 §8.2.6",
            1 << 16,
            option(100, &[]),
            Some("+edns=1 +noednsneg +ednsopt=100 +nocookie"),
        ),
        (
            "EDNS version 1 with DO=1",
            "RFC 8906 §8.2.9",
            1 << 16 | 0x8000,
            vec![],
            Some("+edns=1 +noednsneg +dnssec +nocookie"),
        ),
    ];
    for (what, source, ttl, options, dig) in rows {
        let message = table.query().opt(ttl, &options);
        table.add(what, source, Error("BADVERS"), dig, &message);
    }
}

fn broken_edns(table: &mut Table) {
    let source = "RFC 6891 §6.1.1";
    let two = table.query().opt(0, &[]).opt(0, &[]);
    table.add("two OPT records", source, Error(FORMERR), None, &two);
    let mut owned = table.query().opt(0, &[]);
    owned.rest.splice(0..1, [1, b'x', 0]);
    table.add(
        "OPT below a name",
        "RFC 6891 §6.1.2",
        Error(FORMERR),
        None,
        &owned,
    );
    let mut signed = table.query().opt(0, &[]);
    signed.counts[3] = 2;
    signed.rest.extend([0, 0, 250, 0, 255, 0, 0, 0, 0, 0, 0]);
    table.add(
        "TSIG behind OPT",
        "RFC 8945 §5.1",
        Error(FORMERR),
        None,
        &signed,
    );
    let mut cut = table.query().opt(0, &[]);
    cut.rest.truncate(10);
    table.add(
        "OPT cut in its length field",
        source,
        Error(FORMERR),
        None,
        &cut,
    );
    let mut missing = table.query();
    missing.counts[3] = 1;
    table.add(
        "ARCOUNT=1 and nothing there",
        source,
        Error(FORMERR),
        None,
        &missing,
    );
}

fn lengths(table: &mut Table) {
    let mut trailing = table.query();
    trailing.rest = vec![0xff; 40];
    table.add(TRAILING, "RFC 1035 §4.1", Answer, None, &trailing);
    let long = [63, 63, 63].map(|len| "l".repeat(len)).join(".");
    let fill = 254 - 1 - (long.len() + 1) - (table.name.len() + 1);
    let longest = format!("{}.{long}.{}", "f".repeat(fill), table.name);
    let message = sized(Message::new(&longest), 512);
    table.add(
        "a qname of 255 bytes and a buffer of 512",
        "RFC 8906 §8.2.7",
        Answer,
        None,
        &message,
    );
    let padded = table.query().opt(0, &option(12, &[0; 1100]));
    table.add("a query of 1.1 kB", "flag day 2020", Answer, None, &padded);
}

fn over_tcp(table: &mut Table) {
    for (what, dig) in [
        ("a query over TCP", "+tcp +noedns"),
        ("a query over TCP with EDNS", "+tcp +edns=0 +nocookie"),
    ] {
        table.add(what, "RFC 7766 §5", Answer, dig, &table.query());
        let case = table.cases.last_mut().expect("it was just added");
        case.is_over_tcp = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_names_have_the_same_cases_and_each_case_a_name_of_its_own() {
        let (blocked, free) = (all(BLOCKED), all(FREE));
        let names = |cases: &[Case]| cases.iter().map(|c| c.what.clone()).collect::<Vec<_>>();
        assert_eq!(names(&blocked), names(&free));
        let mut unique = names(&blocked);
        unique.sort();
        unique.dedup();
        assert_eq!(unique.len(), blocked.len());
    }

    #[test]
    fn the_longest_name_has_255_bytes() {
        let all = all(BLOCKED);
        let case = all.iter().find(|case| case.what.contains("255 bytes and"));
        // Header, name, type and class, OPT.
        assert_eq!(case.unwrap().message.len(), 12 + 255 + 4 + 11);
    }
}
