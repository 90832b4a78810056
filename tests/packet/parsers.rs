//! The filter's view of a message against those of two independent libraries.
//!
//! Where hickory-proto and domain both read a plain question and agree, the
//! filter reads the same or passes the message under one of few names; where one refuses
//! or they disagree, it passes. What it tolerates beyond is [`TOLERATED`].

use std::collections::BTreeMap;

use domain::base::{
    Message as DomainMessage, ToName as _,
    iana::{Class, Opcode},
};
use filter_common::{
    dns,
    layout::Record,
    odd,
    reason::Reason,
    scratch::{EDNS_DO, EDNS_PRESENT, MESSAGE_MAX_BYTES, Scratch},
};
use hickory_proto::{
    op::{Message, MessageType, OpCode},
    rr::DNSClass,
};
use nxdp_lab::{
    cases::wire,
    conformance::{self, BLOCKED, FREE},
    engines::{HostEngine, compile_texts},
    frame::UdpFrame,
    length::short_or_long,
    mutate::{Random, mutate},
    reference::{self, Decision},
};

/// Messages that the test tries; NXDP_FRAMES asks for more.
const MESSAGES: usize = 200_000;
/// Messages of a short run.
const SLICE: usize = 50_000;

/// Why the filter passes what both libraries take for a plain question: they follow compression
/// pointers in a question.
const CAUTIOUS: [Reason; 1] = [Reason::LabelType];

/// The filter takes messages that a library refuses for this: it does not look into options, nor
/// at those that it does not load. With OPT's data left out, both libraries agree with the filter.
const TOLERATED: &str = "broken options in OPT";

/// What a parser makes of a plain question.
#[derive(Clone, Debug, PartialEq, Eq)]
struct View {
    qname: Vec<u8>,
    qtype: u16,
    has_edns: bool,
    is_do: bool,
}

fn messages() -> usize {
    let usual = short_or_long(SLICE, MESSAGES);
    std::env::var("NXDP_FRAMES").map_or(usual, |count| count.parse().unwrap())
}

#[test]
fn the_filter_reads_what_two_other_parsers_read_or_passes() {
    let seeds: Vec<Vec<u8>> = [BLOCKED, FREE, "a.rather.Long.name.example"]
        .into_iter()
        .flat_map(conformance::all)
        .map(|case| case.message)
        .collect();
    let mut random = Random::new(0x7061_7273);
    let mut scratch: Box<Scratch> = bytemuck::allocation::zeroed_box();
    let mut counts = BTreeMap::<String, usize>::new();
    for number in 0..messages() {
        let mut message = random.choice(&seeds).clone();
        if number % 16 == 0 {
            let len = random.below(80);
            message.truncate(4);
            message.extend((0..len).map(|_| random.bits() as u8));
        }
        mutate(&mut message, 1, &mut random);
        let outcome = compare(&message, &mut scratch)
            .unwrap_or_else(|why| panic!("message {number}: {why}: {message:02x?}"));
        *counts.entry(outcome).or_default() += 1;
    }
    println!("{} messages: {counts:#?}", messages());
    for expected in ["read alike", "passed what a library refuses", TOLERATED] {
        assert!(counts.contains_key(expected), "never {expected}");
    }
    assert!(counts["read alike"] > messages() / 5, "{counts:?}");
}

fn compare(message: &[u8], scratch: &mut Scratch) -> Result<String, String> {
    let (by_hickory, by_domain) = (hickory(message), domain(message));
    let filter = nxdp(message, scratch);
    match (&filter, by_hickory.is_some() && by_hickory == by_domain) {
        (Ok(view), true) if Some(view) == by_hickory.as_ref() => Ok("read alike".into()),
        (Err(reason), true) if CAUTIOUS.contains(reason) => {
            Ok(format!("cautious: {}", reason.name()))
        }
        (Err(_), false) => Ok("passed what a library refuses".into()),
        (Ok(view), false) if tolerates(message, view) => Ok(TOLERATED.into()),
        _ => Err(format!(
            "filter {filter:?}, hickory-proto {by_hickory:?}, domain {by_domain:?}"
        )),
    }
}

/// Whether everything but OPT's data is read alike.
fn tolerates(message: &[u8], view: &View) -> bool {
    let opt = 12 + view.qname.len() + 4;
    if !view.has_edns {
        return false;
    }
    let mut bare = message[..opt + 11].to_vec();
    bare[opt + 9..].fill(0);
    hickory(&bare).as_ref() == Some(view) && domain(&bare).as_ref() == Some(view)
}

fn nxdp(message: &[u8], scratch: &mut Scratch) -> Result<View, Reason> {
    let len = message.len().min(MESSAGE_MAX_BYTES);
    scratch.message_mut()[..len].copy_from_slice(&message[..len]);
    scratch.message_len = len as u32;
    scratch.query_len = message.len() as u32;
    scratch.odd = 0;
    dns::parse_question(scratch)?;
    let nothing: &[Record] = &[];
    if scratch.edns != 0 {
        dns::parse_additional(nothing, scratch);
    }
    if scratch.odd != 0 {
        return Err(odd::passing(scratch.odd));
    }
    let end = scratch.question_end as usize - 4;
    let mut qname = Vec::new();
    for start in &scratch.label_starts[..scratch.label_count as usize] {
        let at = 12 + usize::from(*start);
        let len = usize::from(scratch.message()[at]);
        qname.extend_from_slice(&scratch.message()[at..=at + len]);
    }
    qname.push(0);
    assert_eq!(12 + qname.len(), end, "the labels are the name");
    Ok(View {
        qname,
        qtype: scratch.qtype as u16,
        has_edns: scratch.edns & EDNS_PRESENT != 0,
        is_do: scratch.edns & EDNS_DO != 0,
    })
}

/// A plain question as hickory-proto reads it.
fn hickory(bytes: &[u8]) -> Option<View> {
    let message = Message::from_vec(bytes).ok()?;
    let [question] = message.queries.as_slice() else {
        return None;
    };
    let edns = message.edns.as_ref();
    let is_plain = message.metadata.message_type == MessageType::Query
        && message.metadata.op_code == OpCode::Query
        && question.query_class() == DNSClass::IN
        && message.answers.is_empty()
        && message.authorities.is_empty()
        && message.additionals.is_empty()
        && message.signature.is_none()
        && edns.is_none_or(|edns| edns.version() == 0);
    let mut qname = Vec::new();
    for label in question.name() {
        qname.push(label.len() as u8);
        qname.extend_from_slice(label);
    }
    qname.push(0);
    is_plain.then(|| View {
        qname,
        qtype: question.query_type().into(),
        has_edns: edns.is_some(),
        is_do: edns.is_some_and(|edns| edns.flags().dnssec_ok),
    })
}

/// A plain question as domain reads it.
fn domain(bytes: &[u8]) -> Option<View> {
    let message = DomainMessage::from_octets(bytes).ok()?;
    let header = message.header();
    let counts = message.header_counts();
    let question = message.sole_question().ok()?;
    // It reads sections only when asked: ask for all.
    let records = message.iter().collect::<Result<Vec<_>, _>>().ok()?;
    let opt = message.opt();
    let is_plain = !header.qr()
        && header.opcode() == Opcode::QUERY
        && question.qclass() == Class::IN
        && counts.ancount() == 0
        && counts.nscount() == 0
        && records.len() == usize::from(opt.is_some())
        && opt.as_ref().is_none_or(|opt| opt.version() == 0);
    let mut qname = Vec::new();
    for label in &question.qname().to_name::<Vec<u8>>() {
        qname.push(label.len() as u8);
        qname.extend_from_slice(label.as_slice());
    }
    is_plain.then(|| View {
        qname,
        qtype: question.qtype().to_int(),
        has_edns: opt.is_some(),
        is_do: opt.is_some_and(|opt| opt.dnssec_ok()),
    })
}

#[test]
fn a_matcher_that_tries_every_rule_decides_the_same() {
    let image = compile_texts(&[("reference", &reference::list())]).unwrap();
    let mut engine = HostEngine::new(&image);
    let mut random = Random::new(0x7265_6665);
    let mut decisions = BTreeMap::<String, usize>::new();
    for _ in 0..messages() / 2 {
        let depth = 1 + random.below(6);
        let labels: Vec<&str> = (0..depth)
            .map(|_| *random.choice(reference::LABELS))
            .collect();
        let name = labels.join(".");
        let qtype = *random.choice(&[1, 28, 65, 16]);
        let message = nxdp_lab::cases::Message {
            qname: wire(&name.to_uppercase()),
            ..nxdp_lab::cases::Message::new("").qtype(qtype)
        };
        let frame = UdpFrame::query_v4(40_000, &message.bytes()).build();
        let is_all_blocked = reference::is_all_blocked(&name);
        // NXDOMAIN denies every type and every name below. Where rules are below that block as well,
        // either answer is true.
        let expected: &[Reason] = match reference::verdict(&name, qtype) {
            Decision::NoRule => &[Reason::NoRule],
            Decision::Allowed => &[Reason::Allowed],
            Decision::Blocked if !is_all_blocked => &[Reason::NoData],
            Decision::Blocked if reference::has_rules_below(&name) => {
                &[Reason::NxDomain, Reason::NoData]
            }
            Decision::Blocked => &[Reason::NxDomain],
        };
        let reason = engine.judge(&frame).reason;
        assert!(
            expected.contains(&reason),
            "{name} type {qtype}: {reason:?}, not {expected:?}"
        );
        *decisions.entry(format!("{reason:?}")).or_default() += 1;
    }
    println!("{decisions:?}");
    assert_eq!(decisions.len(), 4);
}
