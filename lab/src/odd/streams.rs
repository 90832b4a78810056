//! Queries over TCP, cut and joined and told twice.

use super::{draw::Draw, messages};

/// What is wrong with one segment besides its data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Spoil {
    /// Nothing.
    #[default]
    Nothing,
    /// Its checksum: receivers drop it.
    Checksum,
    /// It comes in two IP fragments.
    Fragments,
}

/// One segment behind the handshake.
#[derive(Clone, Debug)]
pub(super) struct Step {
    /// Position of its data in the stream; may be before the first byte.
    pub(super) at: i32,
    pub(super) bytes: Vec<u8>,
    /// Letters of its flags, as of [`crate::segment::Segment`].
    pub(super) flags: &'static str,
    pub(super) spoil: Spoil,
    /// It waits until the server has sent something.
    pub(super) waits: bool,
}

/// All that a client sends.
#[derive(Clone, Debug, Default)]
pub(super) struct Script {
    /// Data beside SYN (RFC 7413).
    pub(super) opening: Vec<u8>,
    pub(super) steps: Vec<Step>,
}

/// One kind of stream: what it is called, and how one is made for a message.
pub(super) type Kind = (&'static str, fn(&mut Draw, &[u8]) -> Script);

/// Every kind but [`usual`].
pub(super) const KINDS: [Kind; 15] = [
    ("stream in two pieces", two_pieces),
    ("stream in many pieces", many_pieces),
    ("two queries in a segment", two_queries),
    ("two queries cut anywhere", two_queries_cut),
    ("wrong length in front", wrong_length),
    ("pieces out of order", out_of_order),
    ("piece sent again", sent_again),
    ("piece sent again with other data", told_twice),
    ("pieces that overlap", overlapping),
    ("data beside SYN", fast_open),
    ("flags of a segment", flags),
    ("segments in fragments", fragments),
    ("clean query, answer, blocked query", after_an_answer),
    ("segment with a wrong checksum", wrong_checksum),
    ("data before the stream", before_the_start),
];

/// A query as every client sends it.
pub(super) fn usual(_: &mut Draw, message: &[u8]) -> Script {
    Script::of([step(0, with_length(message))])
}

fn step(at: usize, bytes: impl Into<Vec<u8>>) -> Step {
    Step {
        at: at as i32,
        bytes: bytes.into(),
        flags: "AP",
        spoil: Spoil::Nothing,
        waits: false,
    }
}

/// RFC 1035 §4.2.2.
fn with_length(message: &[u8]) -> Vec<u8> {
    [&(message.len() as u16).to_be_bytes()[..], message].concat()
}

impl Script {
    fn of(steps: impl Into<Vec<Step>>) -> Self {
        Self {
            opening: Vec::new(),
            steps: steps.into(),
        }
    }
}

fn clean(draw: &mut Draw) -> Vec<u8> {
    with_length(&draw.clean_query().bytes())
}

fn cut_at(bytes: &[u8], at: usize) -> [Step; 2] {
    [step(0, &bytes[..at]), step(at, &bytes[at..])]
}

fn two_pieces(draw: &mut Draw, message: &[u8]) -> Script {
    let stream = with_length(message);
    let at = 1 + draw.each(stream.len() - 1);
    Script::of(cut_at(&stream, at))
}

fn many_pieces(draw: &mut Draw, message: &[u8]) -> Script {
    let stream = with_length(message);
    let size = draw.between(1, 12).max(stream.len() / 40);
    let pieces = stream.chunks(size).enumerate();
    Script::of(
        pieces
            .map(|(number, piece)| step(number * size, piece))
            .collect::<Vec<_>>(),
    )
}

/// A clean query and a blocked one, in either order, or several.
fn joined(draw: &mut Draw, message: &[u8]) -> Vec<u8> {
    let (clean, blocked) = (clean(draw), with_length(message));
    match draw.each(5) {
        0 | 1 => [clean, blocked].concat(),
        2 => [blocked, clean].concat(),
        3 => [blocked.clone(), blocked].concat(),
        _ => [clean.repeat(draw.between(2, 9)), blocked].concat(),
    }
}

fn two_queries(draw: &mut Draw, message: &[u8]) -> Script {
    let stream = joined(draw, message);
    Script::of([step(0, stream)])
}

fn two_queries_cut(draw: &mut Draw, message: &[u8]) -> Script {
    let stream = joined(draw, message);
    let at = draw.between(1, stream.len() - 1);
    Script::of(cut_at(&stream, at))
}

fn wrong_length(draw: &mut Draw, message: &[u8]) -> Script {
    let right = message.len() as u16;
    let len = match draw.below(4) {
        0 => right.wrapping_sub(draw.between(1, 5) as u16),
        1 => right + draw.between(1, 5) as u16,
        2 => draw.choice(&[0, 1, 11, 12, 65_535]),
        _ => draw.number(),
    };
    let mut stream = [&len.to_be_bytes()[..], message].concat();
    if draw.once_in(2) {
        stream.extend(with_length(message));
    }
    Script::of([step(0, stream)])
}

fn out_of_order(draw: &mut Draw, message: &[u8]) -> Script {
    let stream = with_length(message);
    let at = 1 + draw.each(stream.len() - 1);
    let [first, second] = cut_at(&stream, at);
    Script::of([second, first])
}

fn sent_again(draw: &mut Draw, message: &[u8]) -> Script {
    let stream = with_length(message);
    let at = 1 + draw.each(stream.len() - 1);
    let [first, second] = cut_at(&stream, at);
    Script::of(match draw.below(3) {
        0 => vec![first.clone(), first, second],
        1 => vec![first, step(0, stream)],
        _ => vec![first.clone(), second.clone(), first, second],
    })
}

/// A clean query as long as a blocked one, if it can be.
fn decoy(draw: &mut Draw, message: &[u8]) -> Vec<u8> {
    let mut decoy = draw.clean_query().bytes();
    decoy.resize(message.len(), 0);
    with_length(&decoy)
}

/// The same place of the stream has a clean and a blocked query's bytes.
fn told_twice(draw: &mut Draw, message: &[u8]) -> Script {
    let (decoy, stream) = (decoy(draw, message), with_length(message));
    let at = draw.between(1, stream.len() - 1);
    let pieces = [
        step(at, &decoy[at..]),
        step(at, &stream[at..]),
        step(0, &stream[..at]),
    ];
    let [decoyed, second, first] = pieces;
    let other = step(0, &decoy[..at]);
    Script::of(match draw.each(6) {
        // Behind a gap: the receiver chooses.
        0 => vec![decoyed, second, first],
        1 => vec![second, decoyed, first],
        // In order: the first bytes are taken.
        2 => vec![first, second, decoyed],
        3 => vec![first, decoyed, second],
        4 => vec![first, other, second],
        _ => vec![other, first, second],
    })
}

fn overlapping(draw: &mut Draw, message: &[u8]) -> Script {
    let (decoy, stream) = (decoy(draw, message), with_length(message));
    let at = draw.between(1, stream.len() - 1);
    let back = draw.between(1, at);
    let overlap = &stream[at - back..];
    let mixed = [&decoy[at - back..at], &stream[at..]].concat();
    Script::of(match draw.below(3) {
        0 => vec![step(0, &stream[..at]), step(at - back, overlap)],
        1 => vec![step(0, &stream[..at]), step(at - back, mixed)],
        _ => vec![step(at - back, overlap), step(0, &stream[..at])],
    })
}

fn fast_open(draw: &mut Draw, message: &[u8]) -> Script {
    let stream = match draw.below(4) {
        0 => joined(draw, message),
        1 => [clean(draw), with_length(message)].concat(),
        _ => with_length(message),
    };
    let at = match draw.below(3) {
        0 => 1 + draw.each(stream.len() - 1),
        _ => stream.len(),
    };
    Script {
        opening: stream[..at].to_vec(),
        steps: if at < stream.len() {
            vec![step(at, &stream[at..])]
        } else {
            // Whose SYN was taken without its data sends it again.
            vec![step(0, stream)]
        },
    }
}

fn flags(draw: &mut Draw, message: &[u8]) -> Script {
    let stream = with_length(message);
    let at = draw.between(1, stream.len() - 1);
    let mut steps = match draw.below(3) {
        0 => vec![step(0, stream)],
        _ => cut_at(&stream, at).to_vec(),
    };
    for step in &mut steps {
        step.flags = draw.choice(&["A", "AP", "AFP", "APU", "AU", "P", "", "AR"]);
    }
    Script::of(steps)
}

fn fragments(draw: &mut Draw, message: &[u8]) -> Script {
    let mut script = if draw.once_in(2) {
        usual(draw, message)
    } else {
        two_pieces(draw, message)
    };
    for step in &mut script.steps {
        step.spoil = Spoil::Fragments;
    }
    script
}

fn after_an_answer(draw: &mut Draw, message: &[u8]) -> Script {
    let (first, second) = (clean(draw), with_length(message));
    let behind = first.len();
    let at = draw.between(1, second.len() - 1);
    let waiting = |step: Step| Step {
        waits: true,
        ..step
    };
    let mut steps = vec![step(0, first)];
    if draw.once_in(2) {
        steps.push(waiting(step(behind, second)));
    } else {
        steps.push(waiting(step(behind, &second[..at])));
        steps.push(step(behind + at, &second[at..]));
    }
    Script::of(steps)
}

/// The filter reads what the server does not take.
fn wrong_checksum(draw: &mut Draw, message: &[u8]) -> Script {
    let (decoy, stream) = (decoy(draw, message), with_length(message));
    let at = draw.between(1, stream.len() - 1);
    let spoilt = |step: Step| Step {
        spoil: Spoil::Checksum,
        ..step
    };
    let [first, second] = cut_at(&stream, at);
    Script::of(match draw.below(3) {
        0 => vec![spoilt(step(0, decoy)), step(0, stream)],
        1 => vec![spoilt(step(0, &decoy[..at])), first, second],
        _ => vec![first, spoilt(step(at, &decoy[at..])), second],
    })
}

/// Probes of a peer that is still there (RFC 9293 §3.8.4), with a byte that was not sent before.
fn before_the_start(draw: &mut Draw, message: &[u8]) -> Script {
    let stream = with_length(message);
    let at = draw.between(1, stream.len() - 1);
    let [first, second] = cut_at(&stream, at);
    let before = Step {
        at: -1,
        ..step(0, [&[0][..], &stream].concat())
    };
    let probe = Step {
        at: -1,
        ..step(0, [0])
    };
    let behind = step(at - 1, [0]);
    Script::of(match draw.below(4) {
        0 => vec![before],
        1 => vec![probe, step(0, stream)],
        2 => vec![first, behind, second],
        _ => vec![first, second, probe],
    })
}

/// The message of a stream: any kind, but with something in it.
pub(super) fn message(draw: &mut Draw) -> Vec<u8> {
    let message = if draw.once_in(3) {
        messages::any(draw)
    } else {
        draw.usual_query().bytes()
    };
    if message.is_empty() {
        draw.usual_query().bytes()
    } else {
        message
    }
}
