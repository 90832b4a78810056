//! What a measurement tells: the head, `name value unit` lines, and the same as JSON.
//!
//! Every part reports through [`Sample::print`](crate::sample::Sample::print) and [`value`]; nothing
//! else needs to know where figures go. Lines that start with `#` are for people alone.

use std::{
    fs,
    path::Path,
    process::Command,
    sync::{Mutex, PoisonError},
};

use anyhow::{Context as _, Result};
use serde::Serialize;

use crate::processor;

/// Version of the JSON; it grows when a field changes its meaning or goes.
const VERSION: u32 = 1;

/// Figures so far, in the order they were found.
static FIGURES: Mutex<Vec<Figure>> = Mutex::new(Vec::new());

/// One figure.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Figure {
    /// Words joined by underscores.
    pub(crate) name: String,
    /// Of all rounds.
    pub(crate) median: f64,
    /// The lowest round.
    pub(crate) min: f64,
    /// The highest one.
    pub(crate) max: f64,
    /// How often it was measured.
    pub(crate) rounds: usize,
    /// Unit.
    pub(crate) unit: String,
}

/// Where and when figures were found.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Head {
    cpu: String,
    cores: usize,
    memory_mib: u64,
    kernel: String,
    date: String,
    /// Of nxdp.
    #[serde(rename = "nxdp")]
    version: &'static str,
    /// Of the tree that this binary was built from, where git knows it.
    commit: Option<String>,
    command: String,
}

#[derive(Serialize)]
struct Document<'a> {
    version: u32,
    #[serde(flatten)]
    head: &'a Head,
    results: &'a [Figure],
}

impl Head {
    /// Looks at the machine, the clock and the command line.
    pub(crate) fn new() -> Self {
        let first = |path: &str, key: &str| {
            let text = fs::read_to_string(path).unwrap_or_default();
            let line = text.lines().find_map(|line| line.strip_prefix(key));
            line.map(|rest| rest.trim_start_matches(['\t', ' ', ':']).to_owned())
        };
        let memory = first("/proc/meminfo", "MemTotal").unwrap_or_default();
        let memory_kib = memory.split(' ').next().and_then(|text| text.parse().ok());
        let arguments: Vec<String> = std::env::args().skip(1).collect();
        Self {
            cpu: processor::name(),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            memory_mib: memory_kib.map_or(0, |kib: u64| kib / 1024),
            kernel: first("/proc/sys/kernel/osrelease", "").unwrap_or_default(),
            date: jiff::Timestamp::now()
                .strftime("%Y-%m-%dT%H:%M:%SZ")
                .to_string(),
            version: env!("CARGO_PKG_VERSION"),
            commit: commit(),
            command: format!("cargo xtask bench {}", arguments.join(" ")),
        }
    }

    /// Prints it as comments.
    pub(crate) fn print(&self) {
        println!(
            "# {}, {} cores, {} MiB, Linux {}",
            self.cpu, self.cores, self.memory_mib, self.kernel
        );
        let commit = self.commit.as_deref().unwrap_or("unknown commit");
        println!("# {}, nxdp {} ({commit})", self.date, self.version);
        println!("# {}", self.command.trim_end());
    }

    /// The first two numbers of the kernel's version.
    pub(crate) fn kernel_series(&self) -> String {
        let numbers: Vec<_> = self.kernel.split('.').take(2).collect();
        numbers.join(".")
    }

    /// The command but for the files it writes, which may lie anywhere.
    fn shown_command(&self) -> String {
        let mut words = self.command.split_whitespace();
        let mut shown = Vec::new();
        while let Some(word) = words.next() {
            match word {
                "--json" | "--page" | "--svg" => drop(words.next()),
                _ => shown.push(word),
            }
        }
        shown.join(" ")
    }

    /// Machine, kernel, day and command, as documents name them.
    pub(crate) fn line(&self) -> String {
        format!(
            "{}, {} cores, Linux {}, {}; `{}`",
            self.cpu,
            self.cores,
            self.kernel,
            self.date.split('T').next().unwrap_or_default(),
            self.shown_command()
        )
    }
}

fn commit() -> Option<String> {
    let output = Command::new("git")
        .args(["-C", env!("CARGO_MANIFEST_DIR")])
        .args(["describe", "--always", "--dirty"])
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let commit = text.trim();
    (output.status.success() && !commit.is_empty()).then(|| commit.to_owned())
}

/// Prints and keeps a figure.
pub(crate) fn figure(figure: Figure) {
    let Figure {
        name,
        median,
        min,
        max,
        rounds,
        unit,
    } = &figure;
    if *rounds == 1 {
        println!("{name} {} {unit}", plain(*median));
    } else {
        println!("{name} {median:.1} {unit}");
        println!("# {name}: {min:.1} to {max:.1} in {rounds} rounds");
    }
    kept().push(figure);
}

/// Prints and keeps a value that was found once.
pub(crate) fn value(name: &str, value: f64, unit: &str) {
    figure(Figure {
        name: name.to_owned(),
        median: value,
        min: value,
        max: value,
        rounds: 1,
        unit: unit.to_owned(),
    });
}

/// A whole number as such, anything else with as many decimals as tell something.
fn plain(value: f64) -> String {
    if value.fract() == 0.0 {
        format!("{value:.0}")
    } else if value.abs() < 10.0 {
        format!("{value:.3}")
    } else {
        format!("{value:.1}")
    }
}

/// The figures so far.
pub(crate) fn figures() -> Vec<Figure> {
    kept().clone()
}

fn kept() -> std::sync::MutexGuard<'static, Vec<Figure>> {
    FIGURES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Writes head and figures as JSON.
pub(crate) fn write_json(path: &Path, head: &Head) -> Result<()> {
    let document = Document {
        version: VERSION,
        head,
        results: &figures(),
    };
    let text = serde_json::to_string_pretty(&document)? + "\n";
    fs::write(path, text).with_context(|| format!("write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_printed_with_the_decimals_that_tell_something() {
        assert_eq!(plain(218_625.0), "218625");
        assert_eq!(plain(0.1234), "0.123");
        assert_eq!(plain(47.26), "47.3");
    }

    #[test]
    fn the_json_tells_its_version_the_machine_and_each_figure() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("figures.json");
        value("made_up_for_a_test", 1.5, "ns");
        write_json(&path, &Head::new()).unwrap();
        let read: serde_json::Value =
            serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        assert_eq!(read["version"], VERSION);
        assert!(read["kernel"].as_str().is_some_and(|text| !text.is_empty()));
        let results = read["results"].as_array().unwrap();
        let figure = results
            .iter()
            .find(|figure| figure["name"] == "made_up_for_a_test");
        assert_eq!(figure.unwrap()["median"], 1.5);
    }
}
