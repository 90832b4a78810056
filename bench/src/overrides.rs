//! How soon `nxdp allow` is in force, while everything that is asked is blocked.
//!
//! A name is asked for over and over, as fast as answers come, while dnsperf asks
//! for other blocked names. Each repetition notes when the command started, when
//! the first allowed answer came, when the command returned, and whether any query
//! that was sent after that was still blocked.
//!
//! What part of that is ours is told by what nxdp measures itself, and by two controls under
//! the same load: a process of the same binary that asks nobody, and a request on a connection
//! of this process that changes nothing.

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
    enforcement::{Outcome, Request, Took},
};
use hickory_proto::{op::ResponseCode, rr::RecordType};
use nxdp_lab::{
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
    /// What the filter measured.
    took: Took,
    /// A process that asks nobody.
    bare_process: Duration,
    /// A request that changes nothing.
    bare_request: Duration,
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
            is_blocked: reply.outcome() == ResponseCode::NXDomain,
        };
        if let Ok(mut seen) = seen.lock() {
            seen.push(answer);
        }
    }
    Ok(())
}

fn repeat(filter: &Filter, seen: &Mutex<Vec<Seen>>) -> Result<Repetition> {
    wait_until(seen, true)?;
    let bare = Instant::now();
    finish(Command::new(filter::binary()?).arg("--version"))?;
    let bare_process = bare.elapsed();
    let bare = Instant::now();
    ask(filter, Request::List)?;
    let bare_request = bare.elapsed();
    let start = Instant::now();
    let mut allow = Command::new(filter::binary()?);
    allow.args(["allow", NAME, "--reason", "measured", "--json", "--socket"]);
    let told = finish(allow.arg(filter.socket()))?;
    let end = Instant::now();
    let told: Outcome = serde_json::from_slice(&told)?;
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
        took: told.took.context("nothing was changed")?,
        bare_process,
        bare_request,
    };
    remove_all(filter)?;
    Ok(repetition)
}

/// Standard output of a command that succeeds.
fn finish(command: &mut Command) -> Result<Vec<u8>> {
    let output = command.stderr(Stdio::inherit()).output()?;
    ensure!(output.status.success(), "{command:?} failed");
    Ok(output.stdout)
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

/// What is taken of a repetition.
type Of = fn(&Repetition) -> Duration;

fn print(repetitions: &[Repetition]) {
    const fn us(us: u64) -> Duration {
        Duration::from_micros(us)
    }
    let figures: [(&str, Of); 7] = [
        ("override_first_allowed", |one| one.effect),
        ("override_command", |one| one.command),
        ("override_begun", |one| us(one.took.begun_us)),
        ("override_in_force", |one| us(one.took.in_force_us)),
        ("override_on_disk", |one| us(one.took.on_disk_us)),
        ("override_bare_process", |one| one.bare_process),
        ("override_bare_request", |one| one.bare_request),
    ];
    for (name, of) in figures {
        print_percentiles(name, repetitions.iter().map(of).collect());
    }
    let late: usize = repetitions
        .iter()
        .map(|repetition| repetition.blocked_after)
        .sum();
    report::value("override_blocked_after_return", late as f64, "answers");
    println!("# in {} repetitions", repetitions.len());
}

fn print_percentiles(name: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    for (what, share) in [("p50", 500), ("p99", 990), ("p999", 999), ("max", 1000)] {
        let at = (times.len() * share).div_ceil(1000).saturating_sub(1);
        let time = times.get(at).copied().unwrap_or_default();
        report::value(&format!("{name}_{what}"), time.as_secs_f64() * 1e3, "ms");
    }
}
