//! Conversations over TCP with servers, by hand: many at a time.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use anyhow::Result;

use super::{
    fragments,
    judge::has_blocked_data,
    packets::Route,
    query::{Query, segment},
    sockets::{Body, Received, Segment, Wire, port_of},
    streams::{Script, Spoil, Step},
    tally::Tally,
};
use crate::segment::Segment as Frame;

/// A chunk is over when nobody said anything for so long.
const QUIET: Duration = Duration::from_millis(60);
/// Or after this.
const LIMIT: Duration = Duration::from_secs(3);
const TCP_CHECKSUM_AT: usize = 16;

/// One connection.
struct Talk<'a> {
    number: u32,
    script: &'a Script,
    route: Route,
    server: usize,
    /// Sequence number of the first byte of data.
    first: u32,
    /// What the server sends next.
    server_next: u32,
    /// What the server has confirmed.
    confirmed: u32,
    is_open: bool,
    is_over: bool,
    next_step: usize,
    heard: Vec<u8>,
}

/// Asks these queries over TCP, of each server at the same time.
pub(super) fn ask(
    wire: &mut Wire,
    servers: &[usize],
    queries: &[Query],
    tally: &mut Tally,
) -> Result<()> {
    let mut talks = HashMap::new();
    for query in queries {
        let Some(script) = query.script() else {
            continue;
        };
        for server in servers {
            let route = wire.route(query.is_ipv6(), port_of(query.number()), *server);
            let talk = Talk::open(wire, query.number(), script, route, *server)?;
            talks.insert((*server, route.source.port()), talk);
        }
    }
    let end = Instant::now() + LIMIT;
    while Instant::now() < end && !talks.values().all(|talk| talk.is_over) {
        let Some(received) = wire.receive(QUIET)? else {
            break;
        };
        let Received { server, port, body } = received;
        match (talks.get_mut(&(server, port)), body) {
            (Some(talk), Body::Segment(segment)) => talk.hear(wire, &segment, tally)?,
            // What comes late from an earlier chunk.
            (_, Body::Datagram(data) | Body::Segment(Segment { data, .. })) => {
                if has_blocked_data(&data) {
                    tally.note(server, None, &data, true);
                }
            }
        }
    }
    for talk in talks.values_mut() {
        talk.close(wire)?;
    }
    Ok(())
}

impl<'a> Talk<'a> {
    fn open(
        wire: &mut Wire,
        number: u32,
        script: &'a Script,
        route: Route,
        server: usize,
    ) -> Result<Self> {
        // Of no meaning but that the numbers wrap around in some.
        let first = number.wrapping_mul(0x9e37_79b1) | 0xf000_0000;
        let talk = Self {
            number,
            script,
            route,
            server,
            first,
            server_next: 0,
            confirmed: first,
            is_open: false,
            is_over: false,
            next_step: 0,
            heard: Vec::new(),
        };
        let syn = talk.segment(-1, "S", &script.opening);
        wire.send(&syn.build())?;
        Ok(talk)
    }

    fn segment(&self, at: i32, flags: &'static str, data: &[u8]) -> Frame {
        Frame {
            seq: self.first.wrapping_add_signed(at),
            ack: self.server_next,
            flags,
            payload: data.to_vec(),
            ..segment(self.route)
        }
    }

    fn hear(&mut self, wire: &mut Wire, heard: &Segment, tally: &mut Tally) -> Result<()> {
        if heard.rst {
            self.is_over = true;
            return Ok(());
        }
        self.confirmed = heard.ack;
        if heard.syn {
            return self.establish(wire, heard);
        }
        if !heard.data.is_empty() {
            let is_next = heard.seq == self.server_next;
            if is_next {
                self.heard.extend(&heard.data);
                self.server_next = self.server_next.wrapping_add(heard.data.len() as u32);
            }
            let is_data = has_blocked_data(&self.heard) || has_blocked_data(&heard.data);
            tally.note(self.server, Some(self.number), &self.heard, is_data);
        }
        if heard.fin {
            self.server_next = self.server_next.wrapping_add(1);
            self.is_over = true;
        }
        if heard.fin || !heard.data.is_empty() {
            let behind = self.confirmed.wrapping_sub(self.first).cast_signed();
            let ack = self.segment(behind, "A", &[]);
            wire.send(&ack.build())?;
            self.go_on(wire, true)?;
        }
        Ok(())
    }

    fn establish(&mut self, wire: &mut Wire, heard: &Segment) -> Result<()> {
        if !self.is_open {
            self.is_open = true;
            self.server_next = heard.seq.wrapping_add(1);
            let ack = self.segment(0, "A", &[]);
            wire.send(&ack.build())?;
            self.go_on(wire, false)?;
        }
        Ok(())
    }

    /// Sends the steps up to one that waits for an answer.
    fn go_on(&mut self, wire: &mut Wire, is_answered: bool) -> Result<()> {
        let mut may_wait = is_answered;
        while let Some(step) = self.script.steps.get(self.next_step) {
            if step.waits && !std::mem::take(&mut may_wait) {
                return Ok(());
            }
            self.next_step += 1;
            for frame in self.frames(step) {
                wire.send(&frame)?;
            }
        }
        Ok(())
    }

    fn frames(&self, step: &Step) -> Vec<Vec<u8>> {
        let mut frame = self.segment(step.at, step.flags, &step.bytes).build();
        let payload_at = fragments::payload_at(&frame);
        match step.spoil {
            Spoil::Nothing => vec![frame],
            Spoil::Checksum => {
                frame[payload_at + TCP_CHECKSUM_AT] ^= 0x55;
                vec![frame]
            }
            Spoil::Fragments => {
                let pieces = fragments::pieces(&frame[payload_at..], &[24]);
                let id = self.route.source.port() ^ (step.at as u16).rotate_left(8);
                let fragments = pieces
                    .iter()
                    .map(|piece| fragments::fragment(&frame, id, piece));
                fragments.collect()
            }
        }
    }

    /// Ends it at the number that the server waits for, which forgets it at once.
    fn close(&mut self, wire: &mut Wire) -> Result<()> {
        let behind = self.confirmed.wrapping_sub(self.first).cast_signed();
        wire.send(&self.segment(behind, "R", &[]).build())
    }
}
