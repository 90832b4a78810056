//! The lab with the nameservers in it, and runs of queries through it.
//!
//! The servers are where the filter is attached, so that no router comes between: what a network stack
//! takes, reaches them.

use std::{
    ops::Range,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use tempfile::TempDir;

use super::{
    SERVERS,
    judge::has_blocked_data,
    names,
    packets::Route,
    query::Query,
    servers::{self, Server},
    sockets::{Body, Received, Wire, number_of, port_of},
    talk,
    tally::Tally,
};
use crate::{
    cases::{Message, wire},
    filter::Filter,
    frame::UdpFrame,
    lab::Lab,
};

/// Datagrams to each server before it is asked whether it has come so far: those to all of them fit the ring of
/// a veth pair.
const DATAGRAMS: usize = 24;
/// Connections to each server at a time: dnsmasq has a process for each, and up to 20.
const STREAMS: usize = 16;
/// How long a server may take until it has come so far.
const PATIENCE: Duration = Duration::from_secs(20);
const AGAIN: Duration = Duration::from_millis(80);
/// What comes late is waited for.
const SETTLED: Duration = Duration::from_millis(400);
/// Queries between two words of how far a run is.
const PROGRESS: u32 = 10_000;
/// Ports of the question whether a server has come so far.
const PROBE_PORTS: Range<u16> = 10_000..19_000;

/// The lab and its servers; dropping it ends them.
pub struct Trial {
    servers: Vec<Server>,
    lab: Lab,
    folder: TempDir,
    runs: u8,
    probe: u16,
}

impl Trial {
    /// Starts every nameserver that is installed.
    ///
    /// # Errors
    /// Fails as [`Lab::new`] does, or when a server does not come up.
    pub fn start() -> Result<Self> {
        let (lab, folder) = (Lab::new()?, tempfile::tempdir()?);
        Ok(Self {
            servers: servers::start(&lab, &folder)?,
            lab,
            folder,
            runs: 0,
            probe: PROBE_PORTS.start,
        })
    }

    /// Starts the filter in front of them, in this mode.
    pub fn filter(&self, mode: &str) -> Result<Filter> {
        let list = self.folder.path().join("list.txt");
        std::fs::write(&list, names::LIST)?;
        let list: &Path = &list;
        let arguments = ["--mode", mode, "--list"].map(std::ffi::OsStr::new);
        let arguments = [&arguments[..], &[list.as_os_str()]].concat();
        Filter::start(&self.lab, self.folder.path(), &arguments)
    }

    /// The servers that are here, by their places in [`SERVERS`].
    pub fn servers(&self) -> Vec<usize> {
        self.servers.iter().map(|server| server.place).collect()
    }

    /// Sends the queries with these numbers to every server, and tells what came back.
    ///
    /// # Errors
    /// Fails when a server no longer answers what is clean and well-formed.
    pub fn run(&mut self, seed: u64, numbers: Range<u32>) -> Result<Tally> {
        let mut wire = Wire::open(&self.lab, self.runs)?;
        self.runs += 1;
        let mut tally = Tally::default();
        let (mut datagrams, mut streams) = (Vec::new(), Vec::new());
        for number in numbers.clone() {
            let query = Query::nth(seed, number);
            tally.sent += 1;
            if query.script().is_some() {
                streams.push(query);
            } else {
                datagrams.push(query);
            }
            if number.is_multiple_of(PROGRESS) && number != numbers.start {
                eprintln!("at query {number} of {}", numbers.end);
            }
            if datagrams.len() == DATAGRAMS {
                self.ask(&mut wire, &std::mem::take(&mut datagrams), &mut tally)?;
            }
            if streams.len() == STREAMS {
                let streams = std::mem::take(&mut streams);
                talk::ask(&mut wire, &self.servers(), &streams, &mut tally)?;
            }
        }
        self.ask(&mut wire, &datagrams, &mut tally)?;
        talk::ask(&mut wire, &self.servers(), &streams, &mut tally)?;
        let last = numbers.end.saturating_sub(1);
        while let Some(received) = wire.receive(SETTLED)? {
            note(&received, last, &mut tally);
        }
        tally.unsent = wire.unsent;
        Ok(tally)
    }

    /// Sends datagrams, and waits until every server has read them: it answers what came behind them.
    fn ask(&mut self, wire: &mut Wire, queries: &[Query], tally: &mut Tally) -> Result<()> {
        let Some(last) = queries.last() else {
            return Ok(());
        };
        for query in queries {
            for server in &self.servers {
                let route = wire.route(query.is_ipv6(), port_of(query.number()), server.place);
                for frame in query.frames(route) {
                    wire.send(&frame)?;
                }
            }
        }
        self.wait(wire, last.number(), tally)
    }

    fn wait(&mut self, wire: &mut Wire, last: u32, tally: &mut Tally) -> Result<()> {
        self.probe = if self.probe + 1 == PROBE_PORTS.end {
            PROBE_PORTS.start
        } else {
            self.probe + 1
        };
        let (port, is_ipv6) = (self.probe, self.probe % 2 == 1);
        let mut missing = self.servers();
        let end = Instant::now() + PATIENCE;
        let mut again = Instant::now();
        while !missing.is_empty() {
            ensure!(
                Instant::now() < end,
                "{} no longer answers, after query {last}",
                SERVERS[missing[0]]
            );
            if Instant::now() >= again {
                again = Instant::now() + AGAIN;
                for server in &missing {
                    wire.send(&probe(wire.route(is_ipv6, port, *server)))?;
                }
            }
            let left = again.saturating_duration_since(Instant::now());
            if let Some(received) = wire.receive(left)? {
                if received.port == port {
                    missing.retain(|server| *server != received.server);
                }
                note(&received, last, tally);
            }
        }
        Ok(())
    }

    /// Asserts that no server has ended.
    pub fn check_servers(&self) -> Result<()> {
        for server in &self.servers {
            ensure!(
                server.process.is_writing(),
                "{} ended",
                SERVERS[server.place]
            );
        }
        Ok(())
    }
}

/// A clean query that every server answers.
fn probe(route: Route) -> Vec<u8> {
    let mut message = Message::new("");
    message.qname = wire("www.free.lab.example");
    UdpFrame::new(route.source, route.destination, &message.bytes()).build()
}

fn note(received: &Received, last: u32, tally: &mut Tally) {
    let data = match &received.body {
        Body::Datagram(data) => data,
        Body::Segment(segment) => &segment.data,
    };
    if data.is_empty() {
        return;
    }
    let number = number_of(received.port, last);
    tally.note(received.server, number, data, has_blocked_data(data));
}
