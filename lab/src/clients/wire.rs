//! What a client sends to its nameservers, seen on its own interface.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::IpAddr,
    time::Duration,
};

use anyhow::Result;
use etherparse::{NetSlice, SlicedPacket, TcpSlice, TransportSlice};
use hickory_proto::{op::Message, rr::RecordType};

use crate::{
    lab::{CLIENT_INTERFACE, Lab},
    query::Transport,
    raw_socket::RawSocket,
};

/// How long nothing must come for what the client caused to be over.
const SILENCE: Duration = Duration::from_millis(50);
const DNS_PORT: u16 = 53;

/// A running watch; what passes waits in its socket.
#[derive(Debug)]
pub struct Wire {
    socket: RawSocket,
}

/// One query that left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SentQuery {
    /// The nameserver.
    pub server: IpAddr,
    /// How.
    pub transport: Transport,
    /// For what, in lower case.
    pub name: String,
    /// For which type.
    pub record_type: RecordType,
}

/// What passed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Queries, in the order they were sent; what TCP repeats counts once.
    pub queries: Vec<SentQuery>,
    /// Connections that a nameserver's address reset.
    pub resets: usize,
}

impl Wire {
    /// Starts to watch the lab's client.
    pub fn watch(lab: &Lab) -> Result<Self> {
        let socket = RawSocket::open_both_ways(lab.client(), CLIENT_INTERFACE)?;
        Ok(Self { socket })
    }

    /// Waits for silence and hands back what passed.
    pub fn finish(self) -> Result<Traffic> {
        let mut traffic = Traffic::default();
        let mut seen = BTreeSet::new();
        while let Some(frame) = self.socket.receive(SILENCE)? {
            traffic.add(&frame.bytes, &mut seen);
        }
        Ok(traffic)
    }
}

/// Server, port of the client, sequence number: a query over TCP.
type Position = (IpAddr, u16, u32);

impl Traffic {
    /// The queries for a name.
    pub fn of(&self, name: &str) -> Self {
        let is_it = |query: &&SentQuery| query.name == name;
        Self {
            queries: self.queries.iter().filter(is_it).cloned().collect(),
            resets: self.resets,
        }
    }

    /// How many queries there are for each type, server and transport.
    pub fn counts(&self) -> BTreeMap<(bool, IpAddr, u16), usize> {
        let mut counts = BTreeMap::new();
        for query in &self.queries {
            let is_tcp = query.transport == Transport::Tcp;
            let key = (is_tcp, query.server, u16::from(query.record_type));
            *counts.entry(key).or_default() += 1;
        }
        counts
    }

    fn add(&mut self, frame: &[u8], seen: &mut BTreeSet<Position>) {
        let Ok(packet) = SlicedPacket::from_ethernet(frame) else {
            return;
        };
        let Some(destination) = packet.net.as_ref().and_then(destination) else {
            return;
        };
        match packet.transport {
            Some(TransportSlice::Udp(udp)) if udp.destination_port() == DNS_PORT => {
                self.add_message(destination, Transport::Udp, udp.payload());
            }
            Some(TransportSlice::Tcp(tcp)) if tcp.destination_port() == DNS_PORT => {
                self.add_segment(destination, &tcp, seen);
            }
            Some(TransportSlice::Tcp(tcp)) if tcp.source_port() == DNS_PORT && tcp.rst() => {
                self.resets += 1;
            }
            _ => {}
        }
    }

    /// Every whole message of a segment, each with its length in front (RFC 1035 §4.2.2).
    fn add_segment(&mut self, server: IpAddr, tcp: &TcpSlice<'_>, seen: &mut BTreeSet<Position>) {
        let (mut rest, mut seq) = (tcp.payload(), tcp.sequence_number());
        while let Some((len, behind)) = rest.split_first_chunk() {
            let Some(message) = behind.get(..usize::from(u16::from_be_bytes(*len))) else {
                return;
            };
            if seen.insert((server, tcp.source_port(), seq)) {
                self.add_message(server, Transport::Tcp, message);
            }
            let len = len.len() + message.len();
            rest = &rest[len..];
            seq = seq.wrapping_add(u32::try_from(len).unwrap_or_default());
        }
    }

    fn add_message(&mut self, server: IpAddr, transport: Transport, message: &[u8]) {
        let Ok(message) = Message::from_vec(message) else {
            return;
        };
        self.queries.extend(message.queries.iter().map(|question| {
            let name = question.name().to_lowercase().to_ascii();
            SentQuery {
                server,
                transport,
                name,
                record_type: question.query_type(),
            }
        }));
    }
}

fn destination(net: &NetSlice<'_>) -> Option<IpAddr> {
    match net {
        NetSlice::Ipv4(ip) => Some(ip.header().destination_addr().into()),
        NetSlice::Ipv6(ip) => Some(ip.header().destination_addr().into()),
        NetSlice::Arp(_) => None,
    }
}

/// The words of the page: `A, AAAA`, `TCP A ×2`, `second: A…`.
#[derive(Debug)]
pub struct Sent<'a> {
    /// What passed.
    pub traffic: &'a Traffic,
    /// The second nameserver; none for a client that chooses one as it likes.
    pub second: Option<IpAddr>,
    /// Whether how often depends on the clock, and is not told: a client that is not
    /// answered asks again as long as its patience lasts.
    pub is_vague: bool,
}

impl Sent<'_> {
    fn times(&self, record_type: u16, count: usize) -> String {
        let record_type = RecordType::from(record_type);
        match count {
            _ if self.is_vague => format!("{record_type}…"),
            1 => record_type.to_string(),
            _ => format!("{record_type} ×{count}"),
        }
    }
}

impl fmt::Display for Sent<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut groups: BTreeMap<(bool, bool), BTreeMap<u16, usize>> = BTreeMap::new();
        for ((is_tcp, server, record_type), count) in self.traffic.counts() {
            let group = groups
                .entry((Some(server) == self.second, is_tcp))
                .or_default();
            *group.entry(record_type).or_default() += count;
        }
        let words = groups.iter().map(|((is_second, is_tcp), types)| {
            let server = if *is_second { "second: " } else { "" };
            let transport = if *is_tcp { "TCP " } else { "" };
            let types = types.iter().map(|(kind, count)| self.times(*kind, *count));
            format!(
                "{server}{transport}{}",
                types.collect::<Vec<_>>().join(", ")
            )
        });
        f.write_str(&words.collect::<Vec<_>>().join("; "))
    }
}
