//! How soon `nxdp allow` is in force, while everything that is asked is blocked.
//!
//! A name is asked for over and over, as fast as answers come, while dnsperf asks
//! for other blocked names. Each repetition notes when the command started, when
//! the first allowed answer came, when the command returned, and whether any query
//! that was sent after that was still blocked.

use std::{
    fs,
    process::{Command, Stdio},
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use filter_user::{
    control::{self, Response, Verb},
    regime::{Outcome, Request},
};
use hickory_proto::{op::ResponseCode, rr::RecordType};
use nxdp_tests::{
    filter::{self, Filter},
    lab::{self, Lab},
    query::Query,
};

use crate::report;

const NAME: &str = "wanted.nxdp-show.example";
const LIST: &str = "||nxdp-show.example^\n";
/// How long an answer may take before something is broken.
const PATIENCE: Duration = Duration::from_secs(5);

/// Flags of the part.
#[derive(Args, Clone, Debug)]
pub(crate) struct Arguments {
    /// Times that the name is allowed
    #[arg(long, default_value_t = 1000)]
    repetitions: u32,
    /// Blocked queries a second beside
    #[arg(long, default_value_t = 20_000)]
    load: u32,
    /// native or skb
    #[arg(long, default_value = "native")]
    mode: String,
}

/// One answer.
#[derive(Clone, Copy, Debug)]
struct Seen {
    sent: Instant,
    received: Instant,
    is_blocked: bool,
}

/// What became of one repetition.
struct Repetition {
    /// From the start of the command to the first allowed answer.
    effect: Duration,
    /// From the start of the command to its return.
    command: Duration,
    /// Blocked answers to queries that were sent after the return.
    blocked_after: usize,
}

/// Measures and prints.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let lab = Lab::new()?;
    let _responder = lab.start_responder()?;
    fs::write(folder.path().join("list.txt"), LIST)?;
    let config = folder.path().join("nxdp.toml");
    let text = "overrides = 'overrides'\n[[list]]\npath = 'list.txt'\n";
    fs::write(&config, format!("mode = '{}'\n{text}", arguments.mode))?;
    let config = config.to_str().context("name the configuration")?;
    let filter = Filter::start(&lab, folder.path(), &["--config", config])?;
    let queries = folder.path().join("queries.txt");
    fs::write(
        &queries,
        "a.nxdp-show.example A\nb.c.nxdp-show.example AAAA\n",
    )?;
    let mut load = Command::new("dnsperf");
    load.args(["-s", "10.53.2.53", "-W", "-l", "3600"])
        .args(["-Q", &arguments.load.to_string(), "-d"])
        .arg(&queries);
    let load = lab.client().spawn(load)?;
    let repetitions = measure(&lab, &filter, arguments.repetitions)?;
    ensure!(load.is_writing(), "the load ended early");
    print(&repetitions);
    Ok(())
}

fn measure(lab: &Lab, filter: &Filter, count: u32) -> Result<Vec<Repetition>> {
    let (stop, seen) = (AtomicBool::new(false), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        let asking = scope.spawn(|| lab.client().run(|| ask_on(&stop, &seen))?);
        let repetitions = (0..count).map(|_| repeat(filter, &seen)).collect();
        stop.store(true, Ordering::Relaxed);
        match asking.join() {
            Ok(asked) => asked.and(repetitions),
            Err(_) => bail!("the thread that asks ended early"),
        }
    })
}

/// Asks for the name until told to stop.
fn ask_on(stop: &AtomicBool, seen: &Mutex<Vec<Seen>>) -> Result<()> {
    let query = Query::new(NAME, RecordType::A)?.timeout(PATIENCE);
    while !stop.load(Ordering::Relaxed) {
        let sent = Instant::now();
        let reply = query.ask(lab::DNS_V4)?;
        let answer = Seen {
            sent,
            received: sent + reply.round_trip,
            is_blocked: reply.rcode() == ResponseCode::NXDomain,
        };
        if let Ok(mut seen) = seen.lock() {
            seen.push(answer);
        }
    }
    Ok(())
}

fn repeat(filter: &Filter, seen: &Mutex<Vec<Seen>>) -> Result<Repetition> {
    wait_until(seen, true)?;
    let start = Instant::now();
    let status = Command::new(filter::binary()?)
        .args(["allow", NAME, "--reason", "measured", "--socket"])
        .arg(filter.socket())
        .stdout(Stdio::null())
        .status()?;
    let end = Instant::now();
    ensure!(status.success(), "nxdp allow failed");
    let answers = wait_until(seen, false)?;
    // A few more: a late blocked one would be among them.
    thread::sleep(Duration::from_millis(2));
    let answers = [answers, taken(seen)].concat();
    let allowed = answers
        .iter()
        .filter(|answer| !answer.is_blocked && answer.received > start);
    let first = allowed
        .map(|answer| answer.received)
        .min()
        .context("no allowed answer came")?;
    let late = answers
        .iter()
        .filter(|answer| answer.is_blocked && answer.sent > end);
    let repetition = Repetition {
        effect: first - start,
        command: end - start,
        blocked_after: late.count(),
    };
    remove_all(filter)?;
    Ok(repetition)
}

/// Waits for an answer that is blocked or not; all answers that came so far.
fn wait_until(seen: &Mutex<Vec<Seen>>, is_blocked: bool) -> Result<Vec<Seen>> {
    let (mut all, end) = (Vec::new(), Instant::now() + PATIENCE);
    while !all
        .iter()
        .any(|answer: &Seen| answer.is_blocked == is_blocked)
    {
        ensure!(Instant::now() < end, "no such answer within {PATIENCE:?}");
        all.extend(taken(seen));
        thread::sleep(Duration::from_micros(200));
    }
    Ok(all)
}

fn taken(seen: &Mutex<Vec<Seen>>) -> Vec<Seen> {
    seen.lock()
        .map(|mut seen| std::mem::take(&mut *seen))
        .unwrap_or_default()
}

fn remove_all(filter: &Filter) -> Result<()> {
    let Outcome { overrides, .. } = ask(filter, Request::List)?;
    let ids = overrides.iter().map(|entry| entry.id).collect();
    ask(filter, Request::Remove(ids))?;
    Ok(())
}

fn ask(filter: &Filter, request: Request) -> Result<Outcome> {
    match control::ask(filter.socket(), Verb::Overrides(request))? {
        Response::Overrides(outcome) => Ok(outcome),
        other => bail!("{other:?}"),
    }
}

fn print(repetitions: &[Repetition]) {
    let effects = repetitions
        .iter()
        .map(|repetition| repetition.effect)
        .collect();
    print_percentiles("override_first_allowed", effects);
    let commands = repetitions
        .iter()
        .map(|repetition| repetition.command)
        .collect();
    print_percentiles("override_command", commands);
    let late: usize = repetitions
        .iter()
        .map(|repetition| repetition.blocked_after)
        .sum();
    report::value("override_blocked_after_return", late as f64, "answers");
    println!("# in {} repetitions", repetitions.len());
}

fn print_percentiles(name: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    for (what, share) in [("p50", 50), ("p99", 99), ("max", 100)] {
        let at = (times.len() * share).div_ceil(100).saturating_sub(1);
        let time = times.get(at).copied().unwrap_or_default();
        report::value(&format!("{name}_{what}"), time.as_secs_f64() * 1e3, "ms");
    }
}
