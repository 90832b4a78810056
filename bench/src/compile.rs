//! Lists into an image: speed, memory, bytes a name.
//!
//! Four lists, a quarter of the rules each: hosts, plain names, AdGuard,
//! dnsmasq. The names are those of the real lists in `NXDP_DATA`, made up
//! where there are none; beyond their number, a number goes in front of their
//! first labels. Each round is a process of its own, on one core and with one
//! thread, so that the peak of its memory is that of one compilation.

use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader, BufWriter, Write as _},
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use filter_user::{
    config::{Config, ListConfig},
    pipeline::{Guarding, Request, Sources},
};
use nix::{
    sched::{CpuSet, sched_setaffinity},
    time::{ClockId, clock_gettime},
    unistd::Pid,
};
use serde::{Deserialize, Serialize};

use crate::sample::Sample;

const FORMATS: [&str; 4] = ["hosts", "domains", "adguard", "dnsmasq"];
/// Sizes of more rules than this are measured once.
const REPEATED_MAX: usize = 2_000_000;
const ROUNDS: usize = 3;

/// Flags of the part.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct Arguments {
    /// Numbers of rules [default: 10000 100000 1000000 2000000 10000000]
    #[arg(value_name = "RULES")]
    sizes: Vec<usize>,
    /// Use this many cores instead of one
    #[arg(long, default_value_t = 1)]
    cores: usize,
    /// Compile the lists of this folder once and print what it took: one round of a measurement
    #[arg(long, hide = true, value_name = "FOLDER")]
    round: Option<PathBuf>,
}

/// What one round found.
#[derive(Debug, Deserialize, Serialize)]
struct Round {
    lines: u64,
    names: u64,
    read_s: f64,
    build_s: f64,
    total_s: f64,
    cpu_s: f64,
    peak_rss_kib: u64,
    bytes_per_name: f64,
    provenance_per_rule: f64,
}

/// Measures and prints.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    if let Some(folder) = &arguments.round {
        println!(
            "{}",
            serde_json::to_string(&round(folder, arguments.cores)?)?
        );
        return Ok(());
    }
    let sizes = match arguments.sizes.as_slice() {
        [] => &[10_000, 100_000, 1_000_000, 2_000_000, 10_000_000],
        sizes => sizes,
    };
    let names = real_names()?;
    match names.len() {
        0 => println!("# made-up names: no real lists (set NXDP_DATA)"),
        count => println!("# {count} distinct real names, then numbered ones"),
    }
    println!("# {} core, threads alike; guards included", arguments.cores);
    sizes
        .iter()
        .try_for_each(|&rules| measure(rules, &names, arguments.cores))
}

fn measure(rules: usize, names: &[String], cores: usize) -> Result<()> {
    let folder = tempfile::tempdir().context("make a folder for lists")?;
    write_lists(folder.path(), rules, names)?;
    let rounds = if rules <= REPEATED_MAX { ROUNDS } else { 1 };
    let mut samples: [Sample; 8] = Default::default();
    for _ in 0..rounds {
        let round = spawn(folder.path(), cores)?;
        ensure!(
            round.lines == rules as u64,
            "{} lines of {rules}",
            round.lines
        );
        let values = [
            round.total_s * 1e3,
            round.cpu_s * 1e3,
            round.read_s * 1e3,
            round.lines as f64 / round.read_s,
            round.names as f64 / round.cpu_s,
            round.peak_rss_kib as f64 / 1024.0,
            round.bytes_per_name,
            round.provenance_per_rule,
        ];
        samples
            .iter_mut()
            .zip(values)
            .for_each(|(sample, value)| sample.push(value));
    }
    let figures = [
        ("total", "ms"),
        ("processor_time", "ms"),
        ("parse", "ms"),
        ("parse_speed", "lines/s"),
        ("speed", "names/s"),
        ("peak_rss", "MiB"),
        ("kernel_per_name", "bytes"),
        ("provenance_per_rule", "bytes"),
    ];
    for (sample, (figure, unit)) in samples.iter().zip(figures) {
        sample.print(&format!("compile_{rules}_{figure}"), unit);
    }
    Ok(())
}

fn spawn(folder: &Path, cores: usize) -> Result<Round> {
    let output = Command::new(std::env::current_exe()?)
        .args(["compile", "--cores", &cores.to_string(), "--round"])
        .arg(folder)
        .env("RAYON_NUM_THREADS", cores.to_string())
        .output()
        .context("start a round")?;
    ensure!(
        output.status.success(),
        "round failed: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let last = output
        .stdout
        .rsplit(|&b| b == b'\n')
        .find(|line| !line.is_empty());
    serde_json::from_slice(last.unwrap_or_default()).context("read a round's figures")
}

/// Compiles once, as `nxdp compile` does.
fn round(folder: &Path, cores: usize) -> Result<Round> {
    let mut set = CpuSet::new();
    (0..cores).try_for_each(|core| set.set(core))?;
    sched_setaffinity(Pid::from_raw(0), &set).context("stay on the cores")?;
    let config = Config {
        lists: FORMATS
            .map(|format| ListConfig::of_path(folder.join(format)))
            .to_vec(),
        ..Config::default()
    };
    let request = Request {
        // Real lists hit guards; a measurement goes nowhere.
        guarding: Guarding::Tell,
        ..Request::default()
    };
    let (start, cpu_before) = (Instant::now(), cpu_time()?);
    let compiled = Sources::default().compile(&config, &request, &|_| {})?;
    let total_s = start.elapsed().as_secs_f64();
    let cpu_s = (cpu_time()? - cpu_before).as_secs_f64();
    let report = compiled.image.report();
    let provenance = size_of_val(compiled.image.provenance().rows());
    Ok(Round {
        lines: compiled.lists.iter().map(|list| list.report.lines).sum(),
        names: report.names,
        read_s: compiled.read.as_secs_f64(),
        build_s: compiled.build.as_secs_f64(),
        total_s,
        cpu_s,
        peak_rss_kib: peak_rss_kib()?,
        bytes_per_name: report.bytes_per_name(),
        provenance_per_rule: provenance as f64 / report.total.rules.max(1) as f64,
    })
}

/// Processor time of this process: what a core of its own would have taken.
fn cpu_time() -> Result<Duration> {
    let time =
        clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID).context("read own processor time")?;
    Ok(time.into())
}

/// Highest resident memory of this process so far.
fn peak_rss_kib() -> Result<u64> {
    let status = fs::read_to_string("/proc/self/status").context("read own status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let number = line.and_then(|rest| rest.split_whitespace().next());
    Ok(number.context("no VmHWM in own status")?.parse()?)
}

/// Writes `rules` lines, in turn to the four lists.
fn write_lists(folder: &Path, rules: usize, names: &[String]) -> Result<()> {
    let create = |format| Ok(BufWriter::new(File::create(folder.join(format))?));
    let mut files = FORMATS.iter().map(create).collect::<Result<Vec<_>>>()?;
    for (number, name) in all_names(names).take(rules).enumerate() {
        let list = number % FORMATS.len();
        let file = &mut files[list];
        match FORMATS[list] {
            "hosts" => writeln!(file, "0.0.0.0 {name}")?,
            "adguard" => writeln!(file, "||{name}^")?,
            "dnsmasq" => writeln!(file, "address=/{name}/#")?,
            _ => writeln!(file, "{name}")?,
        }
    }
    files.iter_mut().try_for_each(std::io::Write::flush)?;
    Ok(())
}

/// Names without end: the real ones, then those with numbers.
fn all_names(real: &[String]) -> Box<dyn Iterator<Item = String> + '_> {
    if real.is_empty() {
        return Box::new((0u64..).map(|i| match i % 4 {
            3 => format!("ads.site-{}.com", i - 1),
            _ => format!("site-{i}.com"),
        }));
    }
    let numbered = (1..).flat_map(|round| {
        let fits = |name: &&String| name.split('.').next().is_some_and(|label| label.len() < 56);
        real.iter()
            .filter(fits)
            .map(move |name| format!("n{round}-{name}"))
    });
    Box::new(real.iter().cloned().chain(numbered))
}

/// The distinct names of real lists, in an order that is not that of the alphabet.
fn real_names() -> Result<Vec<String>> {
    let data = std::env::var_os("NXDP_DATA").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data"),
        PathBuf::from,
    );
    let mut names = Vec::new();
    if let Ok(packed) = File::open(data.join("lists/maltrail/domains.txt.gz")) {
        read_names(flate2::read::GzDecoder::new(packed), &mut names)?;
    }
    let folder = fs::read_dir(data.join("lists/blocklistproject/domains"));
    for entry in folder.into_iter().flatten() {
        read_names(File::open(entry?.path())?, &mut names)?;
    }
    names.sort_unstable();
    names.dedup();
    // A list in the order of the alphabet is easier on caches than most are.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for i in (1..names.len()).rev() {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        names.swap(i, (state % (i as u64 + 1)) as usize);
    }
    Ok(names)
}

fn read_names(text: impl std::io::Read, names: &mut Vec<String>) -> Result<()> {
    for line in BufReader::new(text).lines() {
        let line = line?;
        let name = line.trim();
        let valid = filter_common::name::Name::from_text(name.as_bytes()).is_ok();
        if valid && name.contains('.') && !name.starts_with('#') {
            names.push(name.to_owned());
        }
    }
    Ok(())
}
