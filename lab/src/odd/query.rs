//! One query, which a seed and a number give again.

use super::{
    draw::Draw,
    messages,
    packets::{self, Route},
    streams::{self, Script},
};
use crate::segment::Segment;

/// Kinds of queries, which come in turn.
pub const KIND_COUNT: usize = messages::KINDS.len() + packets::KINDS.len() + streams::KINDS.len();

/// A query for a blocked name that is odd in one way or in several.
#[derive(Clone, Debug)]
pub struct Query {
    number: u32,
    kind: &'static str,
    by: &'static str,
    is_ipv6: bool,
    message: Vec<u8>,
    draw: Draw,
    way: Way,
}

/// How the message travels.
#[derive(Clone, Debug)]
enum Way {
    Datagram(fn(&mut Draw, Route, &[u8]) -> Vec<Vec<u8>>),
    Stream(Script),
}

impl Query {
    /// The query with this number.
    pub fn nth(seed: u64, number: u32) -> Self {
        let (kind, turn) = (number as usize % KIND_COUNT, number as usize / KIND_COUNT);
        let mut draw = Draw::new(seed, number, turn);
        let is_ipv6 = draw.once_in(2);
        let packet_kind = kind.checked_sub(messages::KINDS.len());
        let stream_kind = packet_kind.and_then(|kind| kind.checked_sub(packets::KINDS.len()));
        let (kind, by, message, way) = match (packet_kind, stream_kind) {
            (None, _) => {
                let (kind, make) = messages::KINDS[kind];
                let message = make(&mut draw);
                let (by, way) = usual_or_not(&mut draw, &message);
                (kind, by, message, way)
            }
            (Some(kind), None) => {
                let (kind, make) = packets::KINDS[kind];
                let message = message(&mut draw);
                (kind, "UDP", message, Way::Datagram(make))
            }
            (_, Some(kind)) => {
                let (kind, make) = streams::KINDS[kind];
                let message = streams::message(&mut draw);
                let script = make(&mut draw, &message);
                (kind, "TCP", message, Way::Stream(script))
            }
        };
        Self {
            number,
            kind,
            by,
            is_ipv6,
            message,
            draw,
            way,
        }
    }

    /// Its number.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// What is odd about it.
    pub fn kind(&self) -> &'static str {
        self.kind
    }

    /// How it travels, for people.
    pub fn by(&self) -> String {
        format!("{} over IPv{}", self.by, if self.is_ipv6 { 6 } else { 4 })
    }

    /// The DNS message.
    pub fn message(&self) -> &[u8] {
        &self.message
    }

    pub(super) fn is_ipv6(&self) -> bool {
        self.is_ipv6
    }

    /// What a client sends over TCP; none if the query is a datagram.
    pub(super) fn script(&self) -> Option<&Script> {
        match &self.way {
            Way::Datagram(_) => None,
            Way::Stream(script) => Some(script),
        }
    }

    /// The frames of a datagram: the same at each call but for the addresses.
    pub(super) fn frames(&self, route: Route) -> Vec<Vec<u8>> {
        match self.way {
            Way::Datagram(make) => make(&mut self.draw.clone(), route, &self.message),
            Way::Stream(_) => Vec::new(),
        }
    }

    /// What is sent, for people: the message, or the data of each segment.
    pub fn shown(&self) -> String {
        match &self.way {
            Way::Datagram(_) => hex(&self.message),
            Way::Stream(script) => {
                let opening =
                    (!script.opening.is_empty()).then(|| format!("SYN {}", hex(&script.opening)));
                let steps = script.steps.iter().map(|step| {
                    format!(
                        "{} at {} {:?} {}",
                        step.flags,
                        step.at,
                        step.spoil,
                        hex(&step.bytes)
                    )
                });
                opening
                    .into_iter()
                    .chain(steps)
                    .collect::<Vec<_>>()
                    .join(", ")
            }
        }
    }
}

/// Most messages travel as a datagram without any oddity.
fn usual_or_not(draw: &mut Draw, message: &[u8]) -> (&'static str, Way) {
    match draw.turn % 8 {
        6 => {
            let (by, make) = draw.choice(&packets::KINDS);
            (by, Way::Datagram(make))
        }
        7 if !message.is_empty() => {
            let (by, make) = if draw.once_in(2) {
                draw.choice(&streams::KINDS)
            } else {
                ("TCP", streams::usual as fn(&mut Draw, &[u8]) -> Script)
            };
            (by, Way::Stream(make(draw, message)))
        }
        _ => ("UDP", Way::Datagram(packets::usual)),
    }
}

/// The message in odd packets: mostly one without any oddity, so that it is the packet that decides.
fn message(draw: &mut Draw) -> Vec<u8> {
    if draw.once_in(4) {
        messages::any(draw)
    } else {
        draw.usual_query().bytes()
    }
}

/// Bytes in hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A segment of a client, its numbers to be filled in.
pub(super) fn segment(route: Route) -> Segment {
    Segment {
        source: route.source,
        destination: route.destination,
        ..Segment::new(route.source.is_ipv6(), "", &[])
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::lab;

    #[test]
    fn a_seed_and_a_number_give_a_query_again() {
        let route = Route {
            source: (lab::CLIENT_V4, 1).into(),
            destination: (lab::RESOLVER_V4, 53).into(),
        };
        for number in 0..KIND_COUNT as u32 * 20 {
            let [one, other] = [Query::nth(7, number), Query::nth(7, number)];
            assert_eq!(one.shown(), other.shown());
            if !one.is_ipv6() {
                assert_eq!(one.frames(route), other.frames(route));
            }
        }
        assert_ne!(Query::nth(7, 5).shown(), Query::nth(8, 5).shown());
    }

    #[test]
    fn every_kind_makes_different_queries_for_a_frame() {
        let mut kinds = BTreeSet::new();
        for kind in 0..KIND_COUNT as u32 {
            let of_kind = (0..40).map(|turn| Query::nth(1, turn * KIND_COUNT as u32 + kind));
            let shown: BTreeSet<_> = of_kind
                .map(|query| {
                    kinds.insert(query.kind());
                    assert!(query.message().len() <= 1400, "{}", query.kind());
                    query.shown()
                })
                .collect();
            assert!(shown.len() > 10, "{kind}: {shown:?}");
        }
        assert_eq!(kinds.len(), KIND_COUNT);
    }
}
