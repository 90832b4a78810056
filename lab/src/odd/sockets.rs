//! The client's end of the wire: frames out, what servers send in.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use anyhow::Result;
use etherparse::{NetSlice, SlicedPacket, TransportSlice};

use super::{packets::Route, servers};
use crate::{
    lab::{CLIENT_MAC, LAN_INTERFACE, Lab},
    raw_socket::RawSocket,
};
use filter_common::address::MacText;

/// Ports of queries, by their number.
const FIRST_PORT: u16 = 20_000;
const PORT_COUNT: u32 = 40_000;
/// Room for what many servers say before anybody listens.
const BUFFER_BYTES: usize = 32 << 20;

/// What a server sent.
#[derive(Clone, Debug)]
pub(super) struct Received {
    /// Its place.
    pub(super) server: usize,
    /// Where it goes to.
    pub(super) port: u16,
    pub(super) body: Body,
}

#[derive(Clone, Debug)]
pub(super) enum Body {
    Datagram(Vec<u8>),
    Segment(Segment),
}

/// A segment of a server.
#[derive(Clone, Debug)]
pub(super) struct Segment {
    pub(super) seq: u32,
    pub(super) ack: u32,
    pub(super) syn: bool,
    pub(super) fin: bool,
    pub(super) rst: bool,
    pub(super) data: Vec<u8>,
}

/// The client's interface, and addresses on it that no stack has.
#[derive(Debug)]
pub(super) struct Wire {
    socket: RawSocket,
    v4: Ipv4Addr,
    v6: Ipv6Addr,
    /// Frames that the kernel did not take.
    pub(super) unsent: u32,
}

impl Wire {
    /// Opens it for the run with this number: no two have the same addresses, so that what comes late
    /// is of no other run.
    pub(super) fn open(lab: &Lab, run: u8) -> Result<Self> {
        let socket = lab.client_socket()?;
        socket.widen(BUFFER_BYTES)?;
        let v4 = Ipv4Addr::new(10, 53, 1, 100 + run);
        let v6 = Ipv6Addr::new(0xfd00, 0x53, 1, 0, 0, 0, 0x100, u16::from(run));
        let mac = MacText(CLIENT_MAC);
        lab.router().ip_batch(&format!(
            "neigh replace {v4} lladdr {mac} dev {LAN_INTERFACE} nud permanent\n\
             neigh replace {v6} lladdr {mac} dev {LAN_INTERFACE} nud permanent\n"
        ))?;
        Ok(Self {
            socket,
            v4,
            v6,
            unsent: 0,
        })
    }

    /// From a port of the client to a server.
    pub(super) fn route(&self, is_ipv6: bool, port: u16, server: usize) -> Route {
        let (source, destination) = if is_ipv6 {
            (IpAddr::V6(self.v6), IpAddr::V6(servers::v6(server)))
        } else {
            (IpAddr::V4(self.v4), IpAddr::V4(servers::v4(server)))
        };
        Route {
            source: SocketAddr::new(source, port),
            destination: SocketAddr::new(destination, 53),
        }
    }

    /// Sends a frame if the interface takes one of its length.
    pub(super) fn send(&mut self, frame: &[u8]) -> Result<()> {
        match self.socket.send(frame) {
            Err(error) if matches!(error.raw_os_error(), Some(libc::EMSGSIZE | libc::EINVAL)) => {
                self.unsent += 1;
                Ok(())
            }
            sent => Ok(sent?),
        }
    }

    /// The next thing that a server sent to this run; none if nothing came in time.
    pub(super) fn receive(&self, timeout: Duration) -> Result<Option<Received>> {
        let found = self
            .socket
            .receive_until(timeout, |frame| self.read(&frame.bytes))?;
        Ok(found)
    }

    fn read(&self, frame: &[u8]) -> Option<Received> {
        let packet = SlicedPacket::from_ethernet(frame).ok()?;
        let (source, destination) = match &packet.net {
            Some(NetSlice::Ipv4(ip)) => (
                IpAddr::V4(ip.header().source_addr()),
                IpAddr::V4(ip.header().destination_addr()),
            ),
            Some(NetSlice::Ipv6(ip)) => (
                IpAddr::V6(ip.header().source_addr()),
                IpAddr::V6(ip.header().destination_addr()),
            ),
            _ => return None,
        };
        if destination != self.v4 && destination != self.v6 {
            return None;
        }
        let server = servers::place_of(source)?;
        let (port, body) = match &packet.transport {
            Some(TransportSlice::Udp(udp)) => (
                udp.destination_port(),
                Body::Datagram(udp.payload().to_vec()),
            ),
            Some(TransportSlice::Tcp(tcp)) => (
                tcp.destination_port(),
                Body::Segment(Segment {
                    seq: tcp.sequence_number(),
                    ack: tcp.acknowledgment_number(),
                    syn: tcp.syn(),
                    fin: tcp.fin(),
                    rst: tcp.rst(),
                    data: tcp.payload().to_vec(),
                }),
            ),
            _ => return None,
        };
        Some(Received { server, port, body })
    }
}

/// The port of the query with this number.
pub(super) fn port_of(number: u32) -> u16 {
    FIRST_PORT + (number % PORT_COUNT) as u16
}

/// The number of the query with this port, of those up to `last`.
pub(super) fn number_of(port: u16, last: u32) -> Option<u32> {
    let place = u32::from(port.checked_sub(FIRST_PORT)?);
    if place >= PORT_COUNT {
        return None;
    }
    let behind = (last % PORT_COUNT + PORT_COUNT - place) % PORT_COUNT;
    last.checked_sub(behind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_tells_the_latest_query_that_had_it() {
        for number in [0, 1, 39_999, 40_000, 99_999] {
            assert_eq!(number_of(port_of(number), number), Some(number));
            assert_eq!(number_of(port_of(number), number + 100), Some(number));
        }
        assert_eq!(number_of(port_of(5), 4), None);
        assert_eq!(number_of(53, 4), None);
        assert_eq!(number_of(65_535, 4), None);
    }
}
