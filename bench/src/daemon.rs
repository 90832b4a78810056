//! Memory of the daemon at rest, its query log full, and how long it takes to swap.

use std::{fmt::Write as _, net::UdpSocket};

use anyhow::{Context as _, Result};
use clap::Args;
use hickory_proto::rr::RecordType;
use nix::sys::signal::Signal;
use nxdp_lab::{
    lab::{self, Lab},
    process::Process,
    query::Query,
    roles::{Roles, wait_for},
};

use crate::{report, sample::Sample};

/// What is measured.
#[derive(Clone, Debug, Args)]
pub(super) struct Arguments {
    /// Names of the list
    #[arg(long, default_value_t = 1_000_000)]
    names: u32,
    /// Reloads, each of a list that differs
    #[arg(long, default_value_t = 5)]
    rounds: u32,
}

/// Loads, starts the daemon, reloads, and prints what it takes each time.
pub(super) fn run(arguments: &Arguments) -> Result<()> {
    let lab = Lab::new()?;
    let roles = Roles::new(&lab, "[log]\nqueries = \"all\"\n")?;
    roles.write_list(&list(arguments.names, 0))?;
    let names = arguments.names.to_string();
    roles.load(&["--names", &names])?;
    let daemon = roles.daemon()?;
    fill_log(&lab, &roles)?;
    let (mut swaps, mut resident) = (Sample::default(), Sample::default());
    for round in 1..=arguments.rounds {
        let swapped = wait_until_kept(&roles, &daemon, u64::from(round))?;
        swaps.push(swapped);
        resident.push(status_kib(&daemon, "VmRSS:")?);
        roles.write_list(&list(arguments.names, round))?;
        daemon.signal(Signal::SIGHUP)?;
    }
    swaps.print("daemon_swap", "ms");
    resident.print("daemon_rss", "KiB");
    report::value("daemon_rss_peak", status_kib(&daemon, "VmHWM:")?, "KiB");
    Ok(())
}

/// Sends queries until the daemon keeps as many as it ever does.
fn fill_log(lab: &Lab, roles: &Roles<'_>) -> Result<()> {
    const KEPT: u64 = 10_000;
    let query = Query::new("log.list0.nxdp-show.example", RecordType::A)?.to_bytes(1);
    wait_for("the query log", || {
        lab.client().run(|| -> Result<()> {
            let socket = UdpSocket::bind("0.0.0.0:0")?;
            for _ in 0..500 {
                socket.send_to(&query, lab::DNS_V4)?;
            }
            Ok(())
        })??;
        Ok(roles.ask("stats")?["log"]["told"].as_u64() > Some(KEPT))
    })
}

fn list(names: u32, serial: u32) -> String {
    let mut text = String::new();
    for number in 0..names {
        let of = if number == 0 { serial } else { number };
        // Writing to a string does not fail.
        let _ = writeln!(text, "||name{of}.list{}.nxdp-show.example^", number % 5000);
    }
    text
}

/// Waits until the daemon has swapped so many times and kept its image; the milliseconds that
/// the last swap took.
pub(super) fn wait_until_kept(roles: &Roles<'_>, daemon: &Process, swaps: u64) -> Result<f64> {
    let mut line = None;
    wait_for("the swap", || {
        let lines = daemon.lines();
        let mut swapped = lines
            .iter()
            .filter(|line| line.text.contains(", swapped in "));
        line = swapped
            .nth(swaps as usize - 1)
            .map(|line| line.text.clone());
        Ok(line.is_some())
    })?;
    let is_partial = |name: &std::ffi::OsStr| name.to_string_lossy().starts_with(".nxdp-partial");
    std::thread::sleep(std::time::Duration::from_millis(500));
    wait_for("the image", || {
        let entries = std::fs::read_dir(roles.state())?;
        Ok(!entries
            .flatten()
            .any(|entry| is_partial(&entry.file_name())))
    })?;
    std::thread::sleep(std::time::Duration::from_millis(500));
    let line = line.context("no swap")?;
    let words = line.split_once(", swapped in ").context("no time")?.1;
    words.trim_end_matches(" ms").parse().context("no number")
}

fn status_kib(process: &Process, key: &str) -> Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.id()))?;
    let line = status.lines().find_map(|line| line.strip_prefix(key));
    let number = line.and_then(|line| line.split_whitespace().next());
    number.context("no such line")?.parse().context("no number")
}
