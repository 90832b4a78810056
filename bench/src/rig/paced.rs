//! A client with a socket that asks at a fixed rate, and what it saw.

use std::{
    io,
    net::{SocketAddr, UdpSocket},
    time::{Duration, Instant},
};

use anyhow::Result;

/// How long the last answers may take; later ones are lost.
const PATIENCE: Duration = Duration::from_millis(500);
const RCODE_MASK: u8 = 0x0f;

/// What became of the queries.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) sent: u64,
    /// Answers with the rcode that was wanted.
    pub(crate) answered: u64,
    /// Answers with another one.
    pub(crate) wrong: u64,
    /// The longest time without an answer.
    pub(crate) silence: Duration,
    /// Round trips in nanoseconds, ascending.
    latencies: Vec<u32>,
}

impl Seen {
    pub(crate) fn lost(&self) -> u64 {
        self.sent - self.answered - self.wrong
    }

    /// The round trip that so many of a thousand do not exceed, in microseconds.
    pub(crate) fn latency_us(&self, per_mille: usize) -> f64 {
        let rank = (self.latencies.len() * per_mille).div_ceil(1000);
        let at = self.latencies.get(rank.saturating_sub(1));
        at.map_or(f64::NAN, |ns| f64::from(*ns) / 1e3)
    }
}

/// Asks on the calling thread while `goes_on`, in turns; all answers are to have this rcode.
pub(crate) fn ask(
    server: SocketAddr,
    queries: &[Vec<u8>],
    rate: u32,
    rcode: u8,
    goes_on: impl Fn() -> bool,
) -> Result<Seen> {
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    socket.connect(server)?;
    socket.set_nonblocking(true)?;
    let interval = Duration::from_secs(1) / rate;
    let mut client = QueryClient::new(socket, rcode);
    let mut due = Instant::now();
    for query in queries.iter().cycle() {
        if !goes_on() {
            break;
        }
        due += interval;
        while Instant::now() < due {
            client.hear();
        }
        client.ask(query);
    }
    client.note_silence(Instant::now());
    let end = Instant::now() + PATIENCE;
    while client.seen.lost() > 0 && Instant::now() < end {
        client.hear();
    }
    client.seen.latencies.sort_unstable();
    Ok(client.seen)
}

struct QueryClient {
    socket: UdpSocket,
    rcode: u8,
    /// When the last query of each id was sent, until its answer comes.
    asked: Vec<Option<Instant>>,
    heard: Instant,
    query: Vec<u8>,
    seen: Seen,
}

impl QueryClient {
    fn new(socket: UdpSocket, rcode: u8) -> Self {
        Self {
            socket,
            rcode,
            asked: vec![None; 1 << 16],
            heard: Instant::now(),
            query: Vec::new(),
            seen: Seen::default(),
        }
    }

    fn ask(&mut self, query: &[u8]) {
        let id = self.seen.sent as u16;
        self.query.clear();
        self.query.extend(id.to_be_bytes());
        self.query.extend(&query[2..]);
        self.asked[usize::from(id)] = Some(Instant::now());
        self.seen.sent += 1;
        // What cannot be sent is lost, and counted as such: nobody listens.
        let _sent = self.socket.send(&self.query);
    }

    fn hear(&mut self) {
        let mut answer = [0; 512];
        match self.socket.recv(&mut answer) {
            Ok(len) if len >= 12 => self.note(&answer),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => std::hint::spin_loop(),
            // Too short, or word that nobody listens.
            _ => {}
        }
    }

    fn note(&mut self, answer: &[u8]) {
        let id = usize::from(u16::from_be_bytes([answer[0], answer[1]]));
        let Some(asked) = self.asked[id].take() else {
            return;
        };
        let now = Instant::now();
        let round_trip = now.duration_since(asked).as_nanos();
        let latency = u32::try_from(round_trip).unwrap_or(u32::MAX);
        self.seen.latencies.push(latency);
        self.note_silence(now);
        self.heard = now;
        if answer[3] & RCODE_MASK == self.rcode {
            self.seen.answered += 1;
        } else {
            self.seen.wrong += 1;
        }
    }

    fn note_silence(&mut self, now: Instant) {
        self.seen.silence = self.seen.silence.max(now.duration_since(self.heard));
    }
}
