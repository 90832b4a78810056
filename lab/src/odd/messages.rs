//! Messages that are no longer as they should be. Each kind starts from a query for a blocked name.
// tidy: long because a table of kinds is read in one place.

use super::{
    draw::Draw,
    records::{self, push, record},
};
use crate::{
    cases::{Message, wire},
    mutate::mutate,
};

/// One kind of message: what it is called, and how one is made.
type Kind = (&'static str, fn(&mut Draw) -> Vec<u8>);

/// Bytes that fit a frame with all its headers.
pub(super) const MESSAGE_MAX_BYTES: usize = 1200;
const TYPE_OPT: u16 = 41;
const ANSWER: usize = 1;
const AUTHORITY: usize = 2;
const ADDITIONAL: usize = 3;

/// Every kind.
pub(super) const KINDS: [Kind; 32] = [
    ("well-formed", |draw| draw.usual_query().bytes()),
    ("broken options", broken_options),
    ("OPT beyond the message", long_opt),
    ("EDNS version", edns_version),
    ("EDNS flags and size", edns_flags),
    ("several OPT", several_opt),
    ("OPT with an owner", owned_opt),
    ("signature", signature),
    ("record in a section", record_in_section),
    ("records in every section", records_everywhere),
    ("lone record", lone_record),
    ("counts without records", counts_without_records),
    ("records without counts", records_without_counts),
    ("compressed qname", compressed),
    ("pointer loop", pointer_loop),
    ("question count", question_count),
    ("two questions", two_questions),
    ("many questions", many_questions),
    ("header flags", header_flags),
    ("opcode", opcode),
    ("class", class),
    ("type", qtype),
    ("odd labels", odd_labels),
    ("dots and escapes", dots),
    ("bytes behind", bytes_behind),
    ("message behind", message_behind),
    ("cut", cut),
    ("label lengths", label_lengths),
    ("large", large),
    ("length in front", length_in_front),
    ("changed bytes", changed),
    ("spliced", spliced),
];

/// A message of any kind.
pub(super) fn any(draw: &mut Draw) -> Vec<u8> {
    let (_, make) = draw.choice(&KINDS);
    make(draw)
}

fn broken_options(draw: &mut Draw) -> Vec<u8> {
    let code = draw.choice(&[0, 3, 8, 10, 12, 15]);
    let options = match draw.below(4) {
        0 | 1 => draw.bytes(1 + draw.each(3)),
        2 => [
            &[0, code][..],
            &draw.choice(&[1u16, 9, 255, 65_535]).to_be_bytes(),
        ]
        .concat(),
        _ => [&[0, code, 0, 4, 1, 2, 3, 4, 0, code][..], &[0; 1]].concat(),
    };
    draw.query().opt(0, &options).bytes()
}

fn long_opt(draw: &mut Draw) -> Vec<u8> {
    let options = draw.choice(&[&[][..], &[0, 10, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8]]);
    let mut message = draw.query().opt(0, options);
    if draw.once_in(2) {
        let len = draw.below(message.rest.len());
        message.rest.truncate(len);
    } else {
        let more = draw.choice(&[1u16, 4, 255, 1000, 60_000]) + options.len() as u16;
        message.rest[9..11].copy_from_slice(&more.to_be_bytes());
    }
    message.bytes()
}

fn edns_version(draw: &mut Draw) -> Vec<u8> {
    let version = draw.choice(&[1, 1, 2, 127, 128, 255]);
    let ttl = version << 16 | u32::from(draw.number());
    let len = draw.choice(&[0, 0, 1, 4, 20]);
    let options = draw.bytes(len);
    draw.query().opt(ttl, &options).bytes()
}

fn edns_flags(draw: &mut Draw) -> Vec<u8> {
    let ttl = u32::from(draw.number()) | u32::from(draw.number()) << 24;
    let mut message = draw.query().opt(ttl, &[]);
    let size = draw.number();
    message.rest[3..5].copy_from_slice(&size.to_be_bytes());
    message.bytes()
}

fn several_opt(draw: &mut Draw) -> Vec<u8> {
    let mut message = draw.query();
    for _ in 0..draw.between(2, 4) {
        let (ttl, len) = (draw.choice(&[0, 0x8000, 1 << 16]), draw.choice(&[0, 0, 4]));
        message = message.opt(ttl, &vec![0; len]);
    }
    message.bytes()
}

fn owned_opt(draw: &mut Draw) -> Vec<u8> {
    let owner = match draw.below(4) {
        0 => vec![1, b'x', 0],
        1 => vec![0xc0, 12],
        2 => draw.clean(),
        _ => vec![0xc0, draw.random().bits() as u8],
    };
    let mut message = draw.query().opt(0, &[]);
    message.rest.splice(..1, owner);
    message.bytes()
}

fn signature(draw: &mut Draw) -> Vec<u8> {
    let mut message = draw.query();
    let signature = if draw.once_in(2) {
        records::tsig(draw)
    } else {
        records::sig0(draw)
    };
    if draw.once_in(2) {
        message = message.opt(0, &[]);
    }
    push(&mut message, ADDITIONAL, &signature);
    if draw.once_in(3) {
        message = message.opt(0, &[]);
    }
    message.bytes()
}

fn record_in_section(draw: &mut Draw) -> Vec<u8> {
    let mut message = draw.query();
    let section = 1 + draw.each(3);
    let record = records::any(draw);
    push(&mut message, section, &record);
    if draw.once_in(2) {
        message = message.opt(0, &[]);
    }
    message.bytes()
}

fn records_everywhere(draw: &mut Draw) -> Vec<u8> {
    let mut message = draw.query();
    for section in [ANSWER, AUTHORITY, ADDITIONAL] {
        for _ in 0..draw.below(4) {
            let record = records::any(draw);
            push(&mut message, section, &record);
        }
    }
    message.bytes()
}

fn lone_record(draw: &mut Draw) -> Vec<u8> {
    let mut message = draw.query();
    let record = records::address(draw);
    push(&mut message, 1 + draw.each(3), &record);
    message.bytes()
}

fn counts_without_records(draw: &mut Draw) -> Vec<u8> {
    let mut message = draw.usual_query();
    let count = draw.choice(&[1, 2, 255, 256, 65_535]);
    message.counts[1 + draw.each(3)] = count;
    message.bytes()
}

fn records_without_counts(draw: &mut Draw) -> Vec<u8> {
    let mut message = draw.query();
    for _ in 0..draw.between(1, 3) {
        message.rest.extend(if draw.once_in(2) {
            records::any(draw)
        } else {
            record(&[0], TYPE_OPT, 1232, 0, &[])
        });
    }
    message.bytes()
}

/// The name lies elsewhere in the message, in whole or in part.
fn compressed(draw: &mut Draw) -> Vec<u8> {
    let name = draw.blocked();
    let mut message = Message::new("");
    let labels = starts(&name);
    let kept = labels[draw.below(labels.len().min(4))];
    // Behind the question, with the pointer and its own four bytes in front.
    let target = 12 + kept + 2 + 4;
    message.qname = name[..kept].to_vec();
    let rest = &name[kept..];
    match draw.below(4) {
        // In the owner of a record.
        0 => {
            let at = target as u16;
            message.qname.extend((0xc000 | at).to_be_bytes());
            push(
                &mut message,
                ADDITIONAL,
                &record(rest, TYPE_OPT, 1232, 0, &[]),
            );
        }
        // In the data of a record.
        1 => {
            let at = target as u16 + 11;
            message.qname.extend((0xc000 | at).to_be_bytes());
            push(
                &mut message,
                ADDITIONAL,
                &record(&[0], TYPE_OPT, 1232, 0, rest),
            );
        }
        // Behind everything.
        2 => {
            let at = target as u16;
            message.qname.extend((0xc000 | at).to_be_bytes());
            message.rest = rest.to_vec();
        }
        // By way of another pointer.
        _ => {
            let at = target as u16;
            message.qname.extend((0xc000 | at).to_be_bytes());
            message.rest = (0xc000 | (at + 2)).to_be_bytes().to_vec();
            message.rest.extend(rest);
        }
    }
    message.bytes()
}

/// Positions of the labels of a name.
fn starts(name: &[u8]) -> Vec<usize> {
    let mut starts = Vec::new();
    let mut at = 0;
    while name[at] != 0 {
        starts.push(at);
        at += 1 + usize::from(name[at]);
    }
    starts
}

fn pointer_loop(draw: &mut Draw) -> Vec<u8> {
    let mut message = draw.usual_query();
    let labels = starts(&message.qname);
    let at = labels[draw.below(labels.len())];
    let target = match draw.below(4) {
        0 => 12,
        1 => 12 + at as u16,
        2 => u16::from(draw.random().bits() as u8),
        _ => draw.number() & 0x3fff,
    };
    message.qname.truncate(at);
    message.qname.extend((0xc000 | target).to_be_bytes());
    if draw.once_in(3) {
        message.qname.push(0);
    }
    message.bytes()
}

fn question_count(draw: &mut Draw) -> Vec<u8> {
    let mut message = draw.usual_query();
    let counts = [0, 2, 3, 255, 256, 257, 65_535];
    message.counts[0] = counts[draw.each(counts.len())];
    message.bytes()
}

/// A question as it lies in a message.
fn question(message: &Message) -> Vec<u8> {
    let (qtype, class) = (message.qtype.to_be_bytes(), message.qclass.to_be_bytes());
    [&message.qname[..], &qtype, &class].concat()
}

fn two_questions(draw: &mut Draw) -> Vec<u8> {
    let (clean, blocked) = (draw.clean_query(), draw.query());
    let (mut first, second) = match draw.each(4) {
        0 | 1 => (clean, question(&blocked)),
        2 => (blocked, question(&clean)),
        // The second name ends as the first one does.
        _ => {
            let mut second = wire("www.blocked");
            let suffix_at = 12 + clean.qname.len() - wire("lab.example").len();
            second.pop();
            second.extend((0xc000 | suffix_at as u16).to_be_bytes());
            second.extend([0, 1, 0, 1]);
            (clean, second)
        }
    };
    first.counts[0] = if draw.once_in(6) {
        draw.choice(&[1, 3])
    } else {
        2
    };
    first.rest = second;
    if draw.once_in(2) {
        first = first.opt(0, &[]);
    }
    first.bytes()
}

fn many_questions(draw: &mut Draw) -> Vec<u8> {
    let count = draw.between(3, 12);
    let place = draw.below(count);
    let mut message = draw.clean_query();
    if place == 0 {
        message = draw.query();
    }
    message.counts[0] = count as u16;
    for number in 1..count {
        let next = if number == place {
            draw.query()
        } else {
            draw.clean_query()
        };
        message.rest.extend(question(&next));
    }
    limited(message.bytes())
}

fn header_flags(draw: &mut Draw) -> Vec<u8> {
    let mut message = draw.usual_query();
    // RFC 1035 §4.1.1: QR is the top bit, four bits of opcode are below it.
    let bits = draw.number().to_be_bytes();
    message.flags = [bits[0] & 0x07, bits[1]];
    if draw.once_in(4) {
        message.flags[0] |= 0x80;
    }
    message.bytes()
}

fn opcode(draw: &mut Draw) -> Vec<u8> {
    let mut message = draw.usual_query();
    let opcode = 1 + draw.each(15) as u8;
    message.flags = [opcode << 3 | draw.choice(&[0, 1]), draw.choice(&[0, 0x10])];
    if draw.once_in(4) {
        let record = records::any(draw);
        push(&mut message, ANSWER, &record);
    }
    message.bytes()
}

fn class(draw: &mut Draw) -> Vec<u8> {
    let mut message = draw.usual_query();
    let any = draw.number();
    message.qclass = draw.choice(&[0, 2, 3, 4, 254, 255, 0x8001, 65_535, any]);
    message.bytes()
}

fn qtype(draw: &mut Draw) -> Vec<u8> {
    let mut message = draw.usual_query();
    let any = draw.number();
    message.qtype = if draw.once_in(3) {
        any
    } else {
        // Every assigned type is below 270, and the types of questions at its end.
        draw.each(270) as u16
    };
    message.bytes()
}

/// Labels of any bytes below a blocked name, which stays blocked.
fn odd_labels(draw: &mut Draw) -> Vec<u8> {
    let mut message = draw.usual_query();
    message.qname = wire("blocked.lab.example");
    for _ in 0..draw.between(1, 3) {
        let len = draw.choice(&[1, 1, 2, 5, 30, 63]);
        let mut label = match draw.below(3) {
            0 => vec![draw.choice(b"\0.\\\"@$;*() \x7f\x80\xff\t\n"); len],
            _ => draw.bytes(len),
        };
        label.insert(0, len as u8);
        message.qname.splice(..0, label);
    }
    message.bytes()
}

/// Names that look like a blocked one as text.
fn dots(draw: &mut Draw) -> Vec<u8> {
    let names: [&[u8]; 7] = [
        b"\x0bwww.blocked\x03lab\x07example\0",
        b"\x0bblocked.lab\x07example\0",
        b"\x13blocked.lab.example\0",
        b"\x07blocked\x0blab.example\0",
        b"\x09\\.blocked\x03lab\x07example\0",
        b"\x08blocked\\\x03lab\x07example\0",
        b"\x08blocked\0\x03lab\x07example\0",
    ];
    let mut message = draw.usual_query();
    message.qname = names[draw.each(names.len())].to_vec();
    message.bytes()
}

fn bytes_behind(draw: &mut Draw) -> Vec<u8> {
    let mut bytes = draw.usual_query().bytes();
    let len = draw.choice(&[1, 2, 5, 11, 12, 17, 40, 100, 400]);
    let more = if draw.once_in(2) {
        vec![draw.choice(&[0, 0xff, 0xc0]); len]
    } else {
        draw.bytes(len)
    };
    bytes.extend(more);
    bytes
}

fn message_behind(draw: &mut Draw) -> Vec<u8> {
    let mut messages = [draw.clean_query().bytes(), draw.usual_query().bytes()];
    if draw.once_in(2) {
        messages.reverse();
    }
    let [mut bytes, second] = messages;
    let gap = draw.choice(&[0, 0, 0, 2, 3]);
    bytes.extend(vec![0; gap]);
    bytes.extend(second);
    limited(bytes)
}

fn cut(draw: &mut Draw) -> Vec<u8> {
    let mut bytes = draw.usual_query().bytes();
    let len = draw.each(bytes.len());
    bytes.truncate(bytes.len() - 1 - len);
    bytes
}

fn label_lengths(draw: &mut Draw) -> Vec<u8> {
    let mut message = draw.usual_query();
    let labels = starts(&message.qname);
    let at = labels[draw.below(labels.len())];
    let len = message.qname[at];
    message.qname[at] = match draw.below(4) {
        0 => len.wrapping_add(1),
        1 => len - 1,
        // RFC 6891 §5: extended label types, of which none is in use; RFC 2673: bit strings.
        2 => draw.choice(&[0x40, 0x41, 0x7f, 0x80, 0xbf]),
        _ => draw.random().bits() as u8,
    };
    message.bytes()
}

fn large(draw: &mut Draw) -> Vec<u8> {
    let mut message = draw.query();
    let len = draw.choice(&[200, 450, 480, 500, 512, 900, 1100]);
    match draw.below(3) {
        // RFC 7830: padding.
        0 => {
            let mut option = vec![0, 12];
            option.extend((len as u16).to_be_bytes());
            option.extend(vec![0; len]);
            message = message.opt(0, &option);
        }
        // Options without data.
        1 => message = message.opt(0, &[0xfe, 0, 0, 0].repeat(len / 4)),
        _ => {
            while message.rest.len() < len {
                let record = records::address(draw);
                push(&mut message, ADDITIONAL, &record);
            }
            message = message.opt(0, &[]);
        }
    }
    limited(message.bytes())
}

/// As over TCP (RFC 1035 §4.2.2).
fn length_in_front(draw: &mut Draw) -> Vec<u8> {
    let bytes = draw.usual_query().bytes();
    [&(bytes.len() as u16).to_be_bytes()[..], &bytes].concat()
}

fn changed(draw: &mut Draw) -> Vec<u8> {
    let mut bytes = if draw.once_in(2) {
        draw.usual_query().bytes()
    } else {
        two_questions(draw)
    };
    for _ in 0..draw.between(1, 3) {
        mutate(&mut bytes, 12, draw.random());
    }
    limited(bytes)
}

fn spliced(draw: &mut Draw) -> Vec<u8> {
    let (head, tail) = (odd(draw), odd(draw));
    let from = draw.below(head.len());
    let to = if draw.once_in(2) {
        from.min(tail.len())
    } else {
        draw.below(tail.len())
    };
    limited([&head[..from], &tail[to..]].concat())
}

/// A message of a kind that is not spliced.
fn odd(draw: &mut Draw) -> Vec<u8> {
    let (_, make) = KINDS[draw.below(KINDS.len() - 2)];
    let message = make(draw);
    if message.is_empty() {
        draw.usual_query().bytes()
    } else {
        message
    }
}

fn limited(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.truncate(MESSAGE_MAX_BYTES);
    bytes
}
