//! How long it takes to switch to another list under load, and what the load notices.
//!
//! The daemon swaps while clients ask without a pause, each query with a known right answer,
//! and dnsperf asks for blocked names beside. Then, without load, the same table is swapped in this
//! process, to tell its steps apart.

use std::{
    cell::Cell,
    fmt::Write as _,
    fs,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use filter_kernel::Filter;
use filter_user::{
    config::{Config, ListConfig},
    pipeline::{Compiled, Guarding, Request, Sources},
};
use nix::sys::signal::Signal;
use nxdp_lab::{
    lab::Lab,
    process::{Process, Stream},
    roles::Roles,
    steady::{self, Names, Tally},
};

use crate::{daemon::wait_until_kept, page, report, sample::Sample};

const SOON: Duration = Duration::from_secs(10);

/// Flags of the part.
#[derive(Args, Clone, Debug)]
pub(crate) struct Arguments {
    /// Names of the list
    #[arg(long, default_value_t = 2_000_000)]
    names: u32,
    /// Swaps, each to a list that differs
    #[arg(long, default_value_t = 7)]
    rounds: u32,
    /// Blocked queries a second beside
    #[arg(long, default_value_t = 20_000)]
    load: u32,
}

/// What a load noticed.
struct Noticed {
    tally: Tally,
    load_sent: f64,
    load_lost: f64,
}

/// Measures and prints.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let (swaps, noticed) = under_load(arguments)?;
    swaps.print("swap", "ms");
    let Noticed {
        tally,
        load_sent,
        load_lost,
    } = noticed;
    for (name, value) in [
        ("swap_queries", tally.sent as f64 + load_sent),
        ("swap_lost", tally.lost as f64 + load_lost),
        ("swap_asked_twice", tally.repeated as f64),
        ("swap_wrong_verdicts", tally.wrong as f64),
    ] {
        report::value(name, value, "queries");
    }
    for example in &tally.examples {
        println!("# {example}");
    }
    let steps = Steps::measure(arguments)?;
    steps.print();
    page::put("swap", table(&swaps, &steps));
    Ok(())
}

fn under_load(arguments: &Arguments) -> Result<(Sample, Noticed)> {
    let lab = Lab::new()?;
    let _responder = lab.start_responder()?;
    let roles = Roles::new(&lab, "")?;
    roles.write_list(&list(arguments.names, 0))?;
    roles.load(&["--names", &arguments.names.to_string()])?;
    let daemon = roles.daemon()?;
    wait_until_kept(&roles, &daemon, 1)?;
    let queries = roles.path("queries.txt");
    fs::write(
        &queries,
        "www.name2.list2.nxdp-show.example A\nname3.list3.nxdp-show.example AAAA\n",
    )?;
    let mut command = Command::new("dnsperf");
    command
        .args(["-s", "10.53.2.53", "-W", "-l", "600"])
        .args(["-Q", &arguments.load.to_string(), "-d"])
        .arg(&queries);
    let mut load = lab.client().spawn(command)?;
    let names = Names {
        blocked: ["name2.list2", "a.name7.list7", "name4999.list4999"]
            .map(|name| format!("{name}.nxdp-show.example"))
            .to_vec(),
        clean: ["clean.nxdp-show.example", "list2.nxdp-show.example"]
            .map(str::to_owned)
            .to_vec(),
    };
    let (swaps, tally) = steady::while_asking(&lab, &names, || swap(arguments, &roles, &daemon))?;
    ensure!(load.is_writing(), "the load ended early");
    load.end(Signal::SIGINT, SOON)?;
    let text = load.text(Stream::Out);
    let noticed = Noticed {
        tally,
        load_sent: figure(&text, "Queries sent:")?,
        load_lost: figure(&text, "Queries lost:")?,
    };
    Ok((swaps?, noticed))
}

/// One list after the other; the milliseconds that the daemon says each took.
fn swap(arguments: &Arguments, roles: &Roles<'_>, daemon: &Process) -> Result<Sample> {
    let mut swaps = Sample::default();
    for round in 1..=arguments.rounds {
        roles.write_list(&list(arguments.names, round))?;
        daemon.signal(Signal::SIGHUP)?;
        swaps.push(wait_until_kept(roles, daemon, u64::from(round) + 1)?);
    }
    Ok(swaps)
}

/// A list of which a thousandth differs from serial to serial; the names that are asked for stay.
fn list(names: u32, serial: u32) -> String {
    let mut text = String::new();
    for number in 0..names {
        let of = match number.is_multiple_of(1000) {
            true => number + serial * names,
            false => number,
        };
        // Writing to a string does not fail.
        let _ = writeln!(text, "||name{of}.list{}.nxdp-show.example^", number % 5000);
    }
    text
}

/// One of dnsperf's figures.
fn figure(text: &str, key: &str) -> Result<f64> {
    let line = text.lines().find_map(|line| line.trim().strip_prefix(key));
    let number = line.and_then(|rest| rest.split_whitespace().next());
    number
        .with_context(|| format!("dnsperf does not say {key} {text}"))?
        .parse()
        .context("no number")
}

/// The steps of a swap, each with its times in milliseconds.
#[derive(Default)]
struct Steps {
    /// Written beside the active generation, read back and compared.
    copied: Sample,
    /// Names of the lists asked of what was read back.
    checked: Sample,
    /// Switched, and waited until no program uses the old one.
    switched: Sample,
}

impl Steps {
    fn measure(arguments: &Arguments) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("list.txt");
        fs::write(&path, list(arguments.names, 0))?;
        let Compiled { image, probes, .. } = compile(&path)?;
        let records = image.records();
        let capacity = u32::try_from(2 * records.len() + 1)?;
        let mut filter = Filter::load(capacity).context("load the filter (needs root)")?;
        let mut steps = Self::default();
        for _ in 0..arguments.rounds {
            let start = Instant::now();
            let (judged, done) = (Cell::new(start), Cell::new(start));
            filter.maps.activate(records, |generation| {
                judged.set(Instant::now());
                let is_right = probes.pass(generation);
                done.set(Instant::now());
                is_right
            })?;
            let (judged, done) = (judged.get(), done.get());
            steps.copied.push(ms(judged - start));
            steps.checked.push(ms(done - judged));
            steps.switched.push(ms(done.elapsed()));
        }
        Ok(steps)
    }

    fn named(&self) -> [(&'static str, &'static str, &Sample); 3] {
        [
            (
                "copied",
                "written beside the active one, read back, compared",
                &self.copied,
            ),
            (
                "checked",
                "names of the lists asked of what was read back",
                &self.checked,
            ),
            (
                "switched",
                "switched, and waited for the last packet under the old one",
                &self.switched,
            ),
        ]
    }

    fn print(&self) {
        for (name, _, sample) in self.named() {
            sample.print(&format!("swap_{name}"), "ms");
        }
    }
}

fn compile(path: &std::path::Path) -> Result<Compiled> {
    let config = Config {
        lists: vec![ListConfig::of_path(path.to_owned())],
        ..Config::default()
    };
    let request = Request {
        // Made-up lists hit guards.
        guarding: Guarding::Tell,
        ..Request::default()
    };
    Ok(Sources::default().compile(&config, &request, &|_| {})?)
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn table(swaps: &Sample, steps: &Steps) -> String {
    let mut text = "| step | ms | of all rounds |\n|---|---:|---|\n".to_owned();
    let whole = ("", "a swap by the daemon under load, all of it", swaps);
    for (_, what, sample) in std::iter::once(whole).chain(steps.named()) {
        let (median, min, max) = sample.spread();
        // Writing to a string does not fail.
        let _ = writeln!(text, "| {what} | {median:.1} | {min:.1} to {max:.1} |");
    }
    text
}
