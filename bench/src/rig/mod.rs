//! Two namespaces on one veth pair: a server on core 0, a client on core 1.
//!
//! What a server does for a packet happens on its own core, or no figure means anything. On veth that
//! takes a NAPI thread an end (`threaded`), pinned, and ahead of whatever else runs there.

pub(crate) mod cpu;
mod generator;
mod napi;
pub(crate) mod paced;
pub(crate) mod traffic;

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use filter_common::address::MacText;
use nxdp_lab::namespace::Namespace;
use signal_hook::consts::{SIGINT, SIGTERM};

use cpu::Clock;
use generator::Generator;
use napi::NapiThread;

pub(crate) use generator::Answers;

/// Where the server works.
pub(crate) const SERVER_CORE: usize = 0;
/// Where everything else does.
const CLIENT_CORE: usize = 1;
const SERVER_MAC: [u8; 6] = [0x02, 0x53, 0, 0, 1, 0x01];
const CLIENT_MAC: [u8; 6] = [0x02, 0x53, 0, 0, 1, 0x02];
const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 53, 1, 2);
/// The server's own address.
pub(crate) const SERVER: Ipv4Addr = Ipv4Addr::new(10, 53, 1, 1);
/// Behind the server, which has no way there: what passes the filter ends in its stack.
pub(crate) const NOBODY: Ipv4Addr = Ipv4Addr::new(10, 53, 2, 53);
/// Where servers listen.
pub(crate) const DNS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(SERVER), 53);
/// Traffic before the clock starts.
const WARM_UP: Duration = Duration::from_millis(50);
/// Until the last answers are in.
const DRAIN: Duration = Duration::from_millis(20);

/// The namespaces, the veth pair between them and a generator; all of it goes with the value.
pub(crate) struct Rig {
    generator: Generator,
    server_napi: NapiThread,
    _client_napi: NapiThread,
    server: Namespace,
    client: Namespace,
    server_device: String,
    stop: Arc<AtomicBool>,
}

/// What became of traffic.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) seconds: f64,
    pub(crate) sent: u64,
    /// Frames that the server's device took in.
    pub(crate) received: u64,
    pub(crate) answers: Answers,
    /// What the server's core worked for it.
    pub(crate) cpu_ns: u64,
}

impl Outcome {
    pub(crate) fn received_a_second(&self) -> f64 {
        self.received as f64 / self.seconds
    }

    pub(crate) fn answered_a_second(&self) -> f64 {
        self.answers.all() as f64 / self.seconds
    }

    /// The share of the server's core that was in use.
    pub(crate) fn load(&self) -> f64 {
        self.cpu_ns as f64 / 1e9 / self.seconds
    }

    /// The server's nanoseconds for each of `count`.
    pub(crate) fn cpu_ns_each(&self, count: u64) -> f64 {
        self.cpu_ns as f64 / count as f64
    }
}

impl Rig {
    /// Makes everything, and has this process run beside the client.
    ///
    /// # Errors
    /// Fails without root, a second core, or what a kernel needs for it.
    pub(crate) fn new() -> Result<Self> {
        let stop = heed_signals()?;
        cpu::pin_this_thread(CLIENT_CORE).context("the rig needs two cores")?;
        // A NAPI thread has the name of its device, and all devices of the machine share that space.
        let process = std::process::id();
        let (near, far) = (format!("s{process}"), format!("c{process}"));
        let (server, client) = (Namespace::new("server")?, Namespace::new("client")?);
        join(&server, &near, &client, &far)?;
        let generator = Generator::new(&client, &far)?;
        let server_napi = NapiThread::start(&server, &near, SERVER_CORE)?;
        let client_napi = NapiThread::start(&client, &far, CLIENT_CORE)?;
        Ok(Self {
            generator,
            server_napi,
            _client_napi: client_napi,
            server,
            client,
            server_device: near,
            stop,
        })
    }

    pub(crate) fn server(&self) -> &Namespace {
        &self.server
    }

    pub(crate) fn client(&self) -> &Namespace {
        &self.client
    }

    /// The server's interface, where a filter belongs.
    pub(crate) fn server_device(&self) -> &str {
        &self.server_device
    }

    /// What was worked for the server so far: its NAPI thread, and the threads of these processes.
    pub(crate) fn clock(&self, processes: &[u32]) -> Clock {
        Clock::of(self.server_napi.id(), processes)
    }

    /// Gives the generator what it sends in turns.
    pub(crate) fn aim(&mut self, frames: &[Vec<u8>]) -> Result<()> {
        self.generator.aim(frames)
    }

    /// Sends for a while, so many a second or as many as go out.
    pub(crate) fn send(
        &mut self,
        rate: Option<u32>,
        time: Duration,
        processes: &[u32],
    ) -> Result<Outcome> {
        self.send_until(rate, WARM_UP)?;
        let clock = self.clock(processes);
        let (cpu_ns, received) = (clock.read_ns(), self.received()?);
        let answers = self.generator.answers()?;
        let sent = self.generator.sent()?;
        let start = Instant::now();
        self.send_until(rate, time)?;
        let seconds = start.elapsed().as_secs_f64();
        std::thread::sleep(DRAIN);
        Ok(Outcome {
            seconds,
            sent: self.generator.sent()? - sent,
            received: self.received()? - received,
            answers: self.generator.answers()?.since(&answers),
            cpu_ns: clock.read_ns() - cpu_ns,
        })
    }

    /// Fails when the user wants an end.
    pub(crate) fn go_on(&self) -> Result<()> {
        ensure!(!self.stop.load(Ordering::Relaxed), "ended by a signal");
        Ok(())
    }

    fn send_until(&mut self, rate: Option<u32>, time: Duration) -> Result<()> {
        let (generator, stop) = (&mut self.generator, &self.stop);
        self.client
            .run(|| generator.send(rate, time, || !stop.load(Ordering::Relaxed)))??;
        self.go_on()
    }

    /// Frames that the server's device took in so far.
    fn received(&self) -> Result<u64> {
        let table = self
            .server
            .run(|| fs::read_to_string("/proc/thread-self/net/dev"))??;
        let of_device = table.lines().find_map(|line| {
            line.trim_start()
                .strip_prefix(self.server_device.as_str())?
                .strip_prefix(':')
        });
        let packets = of_device.and_then(|fields| fields.split_whitespace().nth(1));
        Ok(packets.context("the device has no counters")?.parse()?)
    }
}

/// The first signal ends a measurement in order, a second one at once.
fn heed_signals() -> Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register_conditional_shutdown(signal, 1, Arc::clone(&stop))?;
        signal_hook::flag::register(signal, Arc::clone(&stop))?;
    }
    Ok(stop)
}

fn join(server: &Namespace, near: &str, client: &Namespace, far: &str) -> Result<()> {
    for namespace in [server, client] {
        // No unasked packets: they would be counted.
        namespace.write_sysctl("net/ipv6/conf/all/disable_ipv6", "1")?;
    }
    let (near_mac, far_mac) = (MacText(SERVER_MAC), MacText(CLIENT_MAC));
    server.ip_batch(&format!(
        "link add {near} address {near_mac} numrxqueues 1 numtxqueues 1 type veth peer name {far} \
         address {far_mac} numrxqueues 1 numtxqueues 1 netns {}\n",
        client.path().display()
    ))?;
    for (namespace, device) in [(server, near), (client, far)] {
        // Receive offload gives both ends NAPI, programs or not; without the others every packet
        // takes that way.
        let offloads = ["gro", "on", "tso", "off", "gso", "off"];
        namespace.output("ethtool", &[["-K", device].as_slice(), &offloads].concat())?;
    }
    server.ip_batch(&format!(
        "address add {SERVER}/24 dev {near}\nlink set {near} up\n\
         neighbor replace {CLIENT} lladdr {far_mac} dev {near} nud permanent\n"
    ))?;
    client.ip_batch(&format!(
        "address add {CLIENT}/24 dev {far}\nlink set {far} up\n\
         neighbor replace {SERVER} lladdr {near_mac} dev {far} nud permanent\n\
         route add default via {SERVER}\n"
    ))
}
