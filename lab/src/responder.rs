//! A small real DNS server that knows an answer for every name.
//!
//! Addresses are derived from the name, so that a right answer can be told from a
//! wrong one. It never says NXDOMAIN: whoever sees NXDOMAIN in the lab has it from the filter.

mod answer;

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use nix::sys::socket::{setsockopt, sockopt::RcvBufForce};
use socket2::{Domain, Protocol, Socket, Type};

use crate::query::Transport;

pub use answer::{COUNT_NAME, ipv4_of, ipv6_of};

/// How often idle threads look whether they shall end.
const TICK: Duration = Duration::from_millis(50);

/// How long a connection may stay silent (RFC 7766 §6.2.3: a few seconds).
const CONNECTION_IDLE: Duration = Duration::from_secs(5);

/// Queries that wait in a socket under load before the kernel drops some, in bytes.
const RECEIVE_BUFFER_BYTES: usize = 4 << 20;

/// A running responder; dropping it ends it.
#[derive(Debug)]
pub struct Responder {
    shared: Arc<Shared>,
    threads: Vec<thread::JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    counters: Counters,
}

#[derive(Debug, Default)]
struct Counters {
    udp: AtomicU64,
    tcp: AtomicU64,
    malformed: AtomicU64,
}

/// What came in so far; questions for [`COUNT_NAME`] are not counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Received {
    /// Queries over UDP.
    pub udp: u64,
    /// Queries over TCP.
    pub tcp: u64,
    /// Messages that could not be read.
    pub malformed: u64,
}

impl Responder {
    /// Starts on UDP and TCP of each address, in the calling thread's namespace, with so many
    /// UDP threads an address.
    ///
    /// # Errors
    /// Fails when an address cannot be bound.
    pub fn start(addresses: &[SocketAddr], threads: usize) -> io::Result<Self> {
        let mut responder = Self {
            shared: Arc::default(),
            threads: Vec::new(),
        };
        for address in addresses {
            let socket = udp_socket(*address)?;
            for _ in 0..threads.max(1) {
                let socket = socket.try_clone()?;
                responder.start_thread(move |shared| serve_udp(&socket, shared));
            }
            let listener = tcp_listener(*address)?;
            responder.start_thread(move |shared| serve_tcp(&listener, shared));
        }
        Ok(responder)
    }

    /// What came in so far.
    pub fn received(&self) -> Received {
        self.shared.counters.read()
    }

    fn start_thread(&mut self, work: impl FnOnce(&Arc<Shared>) + Send + 'static) {
        let shared = Arc::clone(&self.shared);
        self.threads.push(thread::spawn(move || work(&shared)));
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // Its panic, if any, was printed; there is nothing left to end.
            let _ended = thread.join();
        }
    }
}

impl Counters {
    fn count(&self, transport: Transport) {
        let counter = match transport {
            Transport::Udp => &self.udp,
            Transport::Tcp => &self.tcp,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    fn count_malformed(&self) {
        self.malformed.fetch_add(1, Ordering::Relaxed);
    }

    fn read(&self) -> Received {
        Received {
            udp: self.udp.load(Ordering::Relaxed),
            tcp: self.tcp.load(Ordering::Relaxed),
            malformed: self.malformed.load(Ordering::Relaxed),
        }
    }
}

impl Shared {
    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

fn udp_socket(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::DGRAM,
        Some(Protocol::UDP),
    )?;
    // Past net.core.rmem_max with CAP_NET_ADMIN; silently capped by it without.
    if setsockopt(&socket, RcvBufForce, &RECEIVE_BUFFER_BYTES).is_err() {
        socket.set_recv_buffer_size(RECEIVE_BUFFER_BYTES)?;
    }
    socket.set_read_timeout(Some(TICK))?;
    socket.bind(&address.into())?;
    Ok(socket.into())
}

fn tcp_listener(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    // Linux applies the receive timeout to accept too (socket(7)).
    socket.set_read_timeout(Some(TICK))?;
    socket.bind(&address.into())?;
    socket.listen(128)?;
    Ok(socket.into())
}

fn serve_udp(socket: &UdpSocket, shared: &Shared) {
    let mut buffer = vec![0; 65_535];
    while !shared.stopped() {
        let Ok((len, client)) = socket.recv_from(&mut buffer) else {
            continue;
        };
        let query = &buffer[..len];
        if let Some(answer) = answer::answer(query, Transport::Udp, &shared.counters) {
            // A client that has gone needs no answer.
            let _sent = socket.send_to(&answer, client);
        }
    }
}

fn serve_tcp(listener: &TcpListener, shared: &Arc<Shared>) {
    while !shared.stopped() {
        if let Ok((stream, _)) = listener.accept() {
            let shared = Arc::clone(shared);
            // It ends by itself when the client closes, falls silent or the responder stops.
            thread::spawn(move || serve_connection(stream, &shared));
        }
    }
}

fn serve_connection(mut stream: TcpStream, shared: &Shared) -> Option<()> {
    stream.set_read_timeout(Some(CONNECTION_IDLE)).ok()?;
    while !shared.stopped() {
        let mut len = [0; 2];
        stream.read_exact(&mut len).ok()?;
        let mut query = vec![0; usize::from(u16::from_be_bytes(len))];
        stream.read_exact(&mut query).ok()?;
        let answer = answer::answer(&query, Transport::Tcp, &shared.counters)?;
        let len = u16::try_from(answer.len()).ok()?;
        stream
            .write_all(&[&len.to_be_bytes(), answer.as_slice()].concat())
            .ok()?;
    }
    Some(())
}
