//! What a client of the router gets: every way of asking, bursts, and large packets.

use std::{
    net::{IpAddr, SocketAddr, UdpSocket},
    time::{Duration, Instant},
};

use anyhow::Result;
use hickory_proto::rr::RecordType;
use nix::sys::socket::{setsockopt, sockopt::UdpGsoSegment};

use super::{
    filter::Attached,
    outcome::Outcome,
    stage::{BLOCKED, CLEAN, PREFIXES, Stage},
};
use crate::query::{Query, QueryError, Reply, Transport};

pub(super) const ANSWER: Duration = Duration::from_millis(1500);
/// Queries of one burst; every other one is blocked.
const BURST: u16 = 16;
/// Bytes of a packet that fits no page, and needs packets of 9,000 bytes.
const LARGE: usize = 8000;
/// Obstacles by which nothing is filtered, or not everything.
const UNFILTERED: [&str; 5] = ["unseen", "tags", "tag_policies", "merging", "arp"];

/// How something is asked.
type Way = (SocketAddr, Transport);

impl Stage {
    /// Asks for blocked and clean names in every way and says what came.
    pub(super) fn ask_all(&self, filter: &Attached<'_>) -> Result<Outcome> {
        let (mut asked, mut silent) = (0, 0);
        for way in ways() {
            asked += 1;
            // Asked again, as clients do, so that one lost frame is not the verdict.
            match (0..2).find_map(|_| self.ask(BLOCKED, way).ok()) {
                Some(true) => return self.leak(filter, &format!("{way:?}")),
                Some(false) => {}
                None => silent += 1,
            }
            if !self.resolves(way) {
                return Ok(Outcome::Lost(format!("{way:?}")));
            }
        }
        for is_merged in [false, true] {
            if self.burst(is_merged)? {
                let how = format!("a burst over UDP, sent as one packet: {is_merged}");
                return self.leak(filter, &how);
            }
        }
        Ok(match silent {
            0 => Outcome::Filtered,
            some => Outcome::Dropped(some, asked),
        })
    }

    /// A clean name, asked again when one frame is lost, as clients do.
    fn resolves(&self, way: Way) -> bool {
        (0..3).any(|_| matches!(self.ask(CLEAN, way), Ok(true)))
    }

    /// A blocked name resolved: told, if nxdp says within seconds that not everything is filtered.
    fn leak(&self, filter: &Attached<'_>, how: &str) -> Result<Outcome> {
        let first = ways().next().expect("there are ways");
        let words = filter.words(&UNFILTERED, || drop(self.ask(CLEAN, first)))?;
        Ok(match words {
            Some(words) => Outcome::Told(words),
            None => {
                let again = match self.still_filters() {
                    true => "asked again it does not resolve",
                    false => "it goes on to resolve",
                };
                let counters = filter.counters()?;
                Outcome::Silent(format!("{how}: {again}; {counters}"))
            }
        })
    }

    /// Whether the answer has a record.
    pub(super) fn ask(&self, name: &str, (server, transport): Way) -> Result<bool, QueryError> {
        let query = Query::new(name, RecordType::A)?
            .timeout(ANSWER)
            .over(transport);
        let reply = query.ask_from(&self.client, server)?;
        Ok(!reply.answers().is_empty())
    }

    /// Whether a blocked name is answered, without a record.
    pub(super) fn still_filters(&self) -> bool {
        let first = ways().next().expect("there are ways");
        matches!(self.ask(BLOCKED, first), Ok(false))
    }

    /// Sends many queries at once, by one socket; whether a blocked name resolved.
    ///
    /// Merged, they are one packet up to the device (UDP_SEGMENT of udp(7)).
    fn burst(&self, is_merged: bool) -> Result<bool> {
        let queries: Vec<Vec<u8>> = (0..BURST).map(query).collect();
        let answers = self.client.run(|| {
            let socket = UdpSocket::bind("0.0.0.0:0")?;
            socket.connect(servers()[0])?;
            socket.set_read_timeout(Some(ANSWER))?;
            if is_merged {
                if setsockopt(&socket, UdpGsoSegment, &(queries[0].len() as i32)).is_err() {
                    return Ok(Vec::new());
                }
                // Up to Linux 6.1 a card that cannot sum up what it sends cannot be asked to cut it.
                if socket.send(&queries.concat()).is_err() {
                    return Ok(Vec::new());
                }
            } else {
                for query in &queries {
                    socket.send(query)?;
                }
            }
            std::io::Result::Ok(receive(&socket))
        })??;
        let is_leak = |answer: &Vec<u8>| {
            let id = answer.first_chunk().map(|id| u16::from_be_bytes(*id));
            let asked = id.and_then(|id| queries.get(usize::from(id)));
            let is_blocked = id.is_some_and(is_blocked);
            let reply =
                asked.and_then(|query| Reply::read(query, answer.clone(), Duration::ZERO).ok());
            is_blocked && reply.is_some_and(|reply| !reply.answers().is_empty())
        };
        Ok(answers.iter().any(is_leak))
    }

    /// Whether a packet arrives that needs more than a page.
    pub(super) fn large_packet_arrives(&self) -> Result<bool> {
        let listener = self
            .router
            .run(|| UdpSocket::bind((servers()[0].ip(), 0)))??;
        listener.set_read_timeout(Some(ANSWER))?;
        let to = listener.local_addr()?;
        let mut buffer = vec![0; LARGE];
        for _ in 0..3 {
            self.client.run(|| {
                let socket = UdpSocket::bind("0.0.0.0:0")?;
                socket.send_to(&[0; LARGE], to)
            })??;
            if listener.recv(&mut buffer).is_ok_and(|len| len == LARGE) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

fn ways() -> impl Iterator<Item = Way> {
    let transports = [Transport::Udp, Transport::Tcp];
    servers()
        .into_iter()
        .flat_map(move |server| transports.map(|transport| (server, transport)))
}

/// The addresses of the resolver.
pub(super) fn servers() -> [SocketAddr; 4] {
    PREFIXES.map(|prefix| {
        let address: IpAddr = format!("{prefix}1")
            .parse()
            .expect("an address of the table");
        SocketAddr::new(address, 53)
    })
}

fn is_blocked(id: u16) -> bool {
    id % 2 == 1
}

/// A query of the burst; all are as long as each other.
fn query(id: u16) -> Vec<u8> {
    let name = if is_blocked(id) { BLOCKED } else { CLEAN };
    let query = Query::new(name, RecordType::A).expect("a name of the table");
    query.to_bytes(id)
}

/// What comes until nothing has come for a while.
fn receive(socket: &UdpSocket) -> Vec<Vec<u8>> {
    let end = Instant::now() + 2 * ANSWER;
    let mut answers = Vec::new();
    let mut buffer = [0; 2048];
    while answers.len() < usize::from(BURST) && Instant::now() < end {
        let Ok(len) = socket.recv(&mut buffer) else {
            break;
        };
        answers.push(buffer[..len].to_vec());
    }
    answers
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_queries_of_a_burst_are_as_long_as_each_other_and_half_are_blocked() {
        let lengths: BTreeSet<usize> = (0..BURST).map(|id| query(id).len()).collect();
        assert_eq!(lengths.len(), 1);
        assert_eq!((0..BURST).filter(|id| is_blocked(*id)).count(), 8);
    }
}
