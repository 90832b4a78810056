//! One server: started, asked at rising rates, reloaded while asked.

use std::{
    fs,
    io::Write as _,
    iter,
    os::unix::net::UnixStream,
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use hickory_proto::{op::ResponseCode, rr::RecordType};
use nix::sys::signal::Signal;
use nxdp_lab::{
    process::{Process, Stream},
    query::Query,
};

use super::{
    Arguments,
    catalogue::{Peer, Reload},
    row::{Reloaded, Row},
    site::Site,
};
use crate::rig::{
    DNS, Outcome, Rig, SERVER, SERVER_CORE,
    paced::{self, Seen},
    traffic::{blocked_name, frames, message, spread_over},
};

const LOAD_PATIENCE: Duration = Duration::from_secs(40);
const RELOAD_PATIENCE: Duration = Duration::from_secs(20);
const PROBE_PATIENCE: Duration = Duration::from_millis(20);
const END_PATIENCE: Duration = Duration::from_secs(3);
/// Asked before and after the reload.
const MARGIN: Duration = Duration::from_millis(300);
const NXDOMAIN: u8 = 3;
/// The first offered rate, and what it grows by while nearly all is answered.
const FIRST_RATE: u32 = 40_000;
const GROWTH: (u32, u32) = (3, 2);
/// Above this the generator sends as much as it can.
const FULL_SPEED: u32 = 1_000_000;
/// Names that are asked for before a server counts as ready.
const PROBES: usize = 250;
/// The share of answers up to which a rate counts as borne.
const BORNE: f64 = 0.98;
/// Rates between the last one that was borne and the first that was not.
const REFINEMENTS: u32 = 2;

/// Runs a server through everything.
pub(super) fn measure(rig: &mut Rig, peer: &Peer, arguments: &Arguments) -> Result<Row> {
    let site = Site::new(peer, rig.server_device(), arguments.names)?;
    let start = Instant::now();
    let mut server = rig
        .server()
        .spawn(on_core(SERVER_CORE, &(peer.command)(&site)?))?;
    let result = wait_until_ready(rig, peer, &server, arguments.names)
        .and_then(|()| {
            let load = start.elapsed();
            let memory = Memory::of(server.id())?;
            let outcomes = sweep(rig, peer, &server, arguments)?;
            let reloaded = reload(rig, peer, &site, &server, arguments)?;
            Row::new(peer, load, &memory, &outcomes, reloaded)
        })
        .with_context(|| last_words(&server));
    if let Err(error) = server.end(Signal::SIGTERM, END_PATIENCE) {
        println!("# {}: killed: {error:#}", peer.name);
    }
    result
}

/// What a server takes, in bytes.
pub(super) struct Memory {
    pub(super) resident: u64,
    /// In maps of the kernel that it holds.
    pub(super) kernel: u64,
}

impl Memory {
    fn of(process: u32) -> Result<Self> {
        let folder = format!("/proc/{process}");
        let status = fs::read_to_string(format!("{folder}/status"))?;
        let resident = field(&status, "VmRSS:").context("the server has ended")?;
        let infos = fs::read_dir(format!("{folder}/fdinfo"))?.flatten();
        let texts = infos.filter_map(|entry| fs::read_to_string(entry.path()).ok());
        let maps = texts.filter(|text| text.contains("map_type:"));
        Ok(Self {
            resident: resident * 1024,
            kernel: maps.filter_map(|text| field(&text, "memlock:")).sum(),
        })
    }
}

fn field(text: &str, name: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_whitespace().next()?.parse().ok()
}

fn on_core(core: usize, command: &Command) -> Command {
    let mut pinned = Command::new("taskset");
    pinned.args(["--cpu-list", &core.to_string()]);
    pinned.arg(command.get_program()).args(command.get_args());
    pinned
}

fn last_words(server: &Process) -> String {
    let text = server.text(Stream::Err) + &server.text(Stream::Out);
    let lines: Vec<_> = text.lines().rev().take(3).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join(" / ")
}

/// Waits until the last name of the list is blocked, and names from everywhere in it: some answer
/// while they still take the list in, in an order of their own.
fn wait_until_ready(rig: &Rig, peer: &Peer, server: &Process, names: u32) -> Result<()> {
    let end = Instant::now() + LOAD_PATIENCE;
    let wait_for = |name: &str, wanted| -> Result<()> {
        while rcode(rig, name)? != Some(wanted) {
            rig.go_on()?;
            ensure!(server.is_writing(), "it ended");
            ensure!(Instant::now() < end, "not ready within {LOAD_PATIENCE:?}");
        }
        Ok(())
    };
    if !peer.answers {
        // It reads its list before it listens, and says of what it does not drop that it refuses.
        return wait_for(&Site::more_name(0), ResponseCode::Refused);
    }
    let probes = spread_over(names).take(PROBES);
    for number in iter::once(names - 1).chain(probes) {
        wait_for(&blocked_name(number), ResponseCode::NXDomain)?;
    }
    Ok(())
}

/// What the server says of a name; nothing if it says nothing.
fn rcode(rig: &Rig, name: &str) -> Result<Option<ResponseCode>> {
    let query = Query::new(name, RecordType::A)?.timeout(PROBE_PATIENCE);
    let asked = Instant::now();
    let reply = query.ask_from(rig.client(), DNS).ok();
    if reply.is_none() {
        // An error may come at once.
        thread::sleep(Duration::from_millis(2).saturating_sub(asked.elapsed()));
    }
    Ok(reply.map(|reply| reply.outcome()))
}

/// Asks at rising rates until answers are missing, then at some between.
fn sweep(
    rig: &mut Rig,
    peer: &Peer,
    server: &Process,
    arguments: &Arguments,
) -> Result<Vec<Outcome>> {
    let names = spread_over(arguments.names).map(blocked_name);
    rig.aim(&frames(names, false, SERVER))?;
    let mut outcomes = Vec::new();
    let (mut borne, mut refused) = (0, None);
    for _ in 0..32 {
        let rate = match refused {
            None if borne == 0 => FIRST_RATE,
            None => borne / GROWTH.1 * GROWTH.0,
            Some((refused, _)) => borne.midpoint(refused),
        };
        let limit = (rate < FULL_SPEED).then_some(rate);
        let outcome = rig.send(limit, arguments.time(), &[server.id()])?;
        check(peer, &outcome)?;
        let served = if peer.answers {
            outcome.answers.all()
        } else {
            outcome.received
        };
        let is_borne = served as f64 >= outcome.sent as f64 * BORNE;
        outcomes.push(outcome);
        refused = match (is_borne, refused) {
            (true, left) => {
                borne = rate;
                left
            }
            (false, None) => Some((rate, REFINEMENTS)),
            (false, Some((_, left))) => Some((rate, left)),
        };
        match &mut refused {
            _ if limit.is_none() => break,
            Some((_, 0)) => break,
            Some((_, left)) => *left -= 1,
            None => {}
        }
    }
    Ok(outcomes)
}

/// Whether blocked queries were answered as such, or dropped.
fn check(peer: &Peer, outcome: &Outcome) -> Result<()> {
    let (all, blocked) = (outcome.answers.all(), outcome.answers.blocked());
    let is_right = if peer.answers {
        all > 0 && blocked == all
    } else {
        all == 0 && outcome.received > 0
    };
    ensure!(
        is_right,
        "of {} queries: {}",
        outcome.received,
        outcome.answers
    );
    Ok(())
}

/// Reloads while a client asks, until a name that only the new list has is blocked.
fn reload(
    rig: &Rig,
    peer: &Peer,
    site: &Site,
    server: &Process,
    arguments: &Arguments,
) -> Result<Option<Reloaded>> {
    if let Reload::Never(why) = peer.reload {
        println!("# {}: no reload: {why}", peer.name);
        return Ok(None);
    }
    site.prepare_list(peer, 1)?;
    let queries: Vec<_> = spread_over(arguments.names)
        .map(|number| message(&blocked_name(number), 0, false))
        .collect();
    let stop = AtomicBool::new(false);
    let goes_on = || !stop.load(Ordering::Relaxed);
    let ask = || paced::ask(DNS, &queries, arguments.reload_rate, NXDOMAIN, goes_on);
    let (took, seen) = thread::scope(|scope| -> Result<(Result<Duration>, Seen)> {
        let asking = scope.spawn(|| rig.client().run(ask)?);
        thread::sleep(MARGIN);
        let took = reload_now(rig, peer, site, server);
        thread::sleep(MARGIN);
        stop.store(true, Ordering::Relaxed);
        let Ok(seen) = asking.join() else {
            bail!("the client panicked");
        };
        Ok((took, seen?))
    })?;
    rig.go_on()?;
    Ok(Some(Reloaded {
        took: took.ok(),
        seen,
    }))
}

fn reload_now(rig: &Rig, peer: &Peer, site: &Site, server: &Process) -> Result<Duration> {
    site.replace_list()?;
    let start = Instant::now();
    let _command = match &peer.reload {
        Reload::Signal(signal) => {
            server.signal(*signal)?;
            None
        }
        Reload::Command(command) => {
            Some(rig.server().spawn(on_core(SERVER_CORE, &command(site)?))?)
        }
        Reload::Line { socket, line } => {
            UnixStream::connect(site.path(socket))?.write_all(line(site).as_bytes())?;
            None
        }
        Reload::Never(why) => bail!("{why}"),
    };
    let name = Site::more_name(1);
    while rcode(rig, &name)? != Some(ResponseCode::NXDomain) {
        rig.go_on()?;
        ensure!(
            start.elapsed() < RELOAD_PATIENCE,
            "not within {RELOAD_PATIENCE:?}"
        );
        thread::sleep(Duration::from_millis(5));
    }
    Ok(start.elapsed())
}
