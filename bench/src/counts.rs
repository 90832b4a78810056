//! Instructions of the packet core on the host, by class of packet, as callgrind counts them.
//!
//! A count says nothing of caches and branches, but the same binary has the same one on every
//! machine, however busy: it is what a change of the core is judged by. callgrind runs this binary
//! once more, which hands each class to [`judged`]; what it counted is dumped each time that
//! function returns. Nothing random is counted: the key of the image is fixed, and the tables are a
//! slice and one policy.

use std::{
    collections::BTreeMap,
    fs,
    hint::black_box,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use filter_common::{
    direct::Direct,
    filter::{Host, filter},
    frame::BufferFrame,
    layout::{Control, POLICY_OBSERVE, PolicyRecord, Record},
    maps::Maps,
    reason::Reason,
    scratch::Scratch,
    table::Records,
};
use filter_user::config::LimitConfig;

use crate::{
    packet::{Class, Setting, blocked_name, classes, image_with},
    report,
};

/// By which callgrind knows [`judged`].
const JUDGED: &str = "nxdp_bench::counts::judged";
/// The same copies of memory on every processor: the C library chooses by what it finds.
const PLAIN_COPIES: &str = "glibc.cpu.hwcaps=-AVX2,-AVX512F,-AVX512VL,-ERMS,-FSRM";
/// Names in the table: callgrind is slow, and a look-up takes as long in a larger one.
const NAMES: u32 = 1_000;
/// Makes the key of the image.
const SEED: u64 = 1;
/// Room of a frame, as a driver has it.
const ROOM_BYTES: usize = 4096;

/// Flags of the part.
#[derive(Args, Clone, Debug)]
pub(crate) struct Arguments {
    /// Judge every class once, to be counted
    #[arg(long, hide = true)]
    judge: bool,
}

/// Counts and prints, or is what is counted.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    if arguments.judge {
        return judge_all();
    }
    count().map(drop)
}

/// Instructions by class.
pub(crate) fn count() -> Result<BTreeMap<String, f64>> {
    let folder = tempfile::tempdir().context("make a folder for what callgrind counts")?;
    let out = folder.path().join("out");
    let output = Command::new("valgrind")
        .args(["--quiet", "--tool=callgrind", "--collect-atstart=no"])
        .arg(format!("--toggle-collect={JUDGED}"))
        .arg(format!("--dump-after={JUDGED}"))
        .arg(format!("--callgrind-out-file={}", out.display()))
        .arg(std::env::current_exe().context("find the running binary")?)
        .args(["counts", "--judge"])
        .env("GLIBC_TUNABLES", PLAIN_COPIES)
        .stdin(Stdio::null())
        .output()
        .context("start valgrind, which counts instructions (Debian: apt-get install valgrind)")?;
    ensure!(
        output.status.success(),
        "count instructions: valgrind ended with {}: {}",
        output.status,
        String::from_utf8_lossy(&output.stderr).trim()
    );
    let mut counts = BTreeMap::new();
    for (number, class) in classes(&blocked()).iter().enumerate() {
        let count = total(&out.with_extension((number + 1).to_string()))?;
        report::value(&format!("{}_core", class.name), count, "instructions");
        counts.insert(class.name.to_owned(), count);
    }
    Ok(counts)
}

/// The sum in a file of callgrind.
fn total(file: &Path) -> Result<f64> {
    let text = fs::read_to_string(file)
        .with_context(|| format!("read {}: callgrind did not see {JUDGED}", file.display()))?;
    let total = text.lines().find_map(|line| line.strip_prefix("totals: "));
    let total: f64 = total
        .and_then(|total| total.trim().parse().ok())
        .unwrap_or(0.0);
    ensure!(total > 0.0, "{} holds no count", file.display());
    Ok(total)
}

fn blocked() -> String {
    blocked_name(NAMES / 2)
}

/// Hands every class to [`judged`], in the order of [`count`].
fn judge_all() -> Result<()> {
    let image = image_with(NAMES, Some(SEED))?;
    let mut scratch: Box<Scratch> = bytemuck::allocation::zeroed_box();
    for class in classes(&blocked()) {
        let tables = Tables::new(image.records(), class.setting);
        let mut buffer = class.frame.clone();
        buffer.resize(ROOM_BYTES, 0);
        let mut frame = BufferFrame::new(&mut buffer, class.frame.len());
        let reason = judged(black_box(&mut frame), &tables, &mut scratch);
        check(&class, reason)?;
    }
    Ok(())
}

fn check(class: &Class, reason: Reason) -> Result<()> {
    if reason != class.reason {
        let (found, meant) = (reason.name(), class.reason.name());
        bail!("{}: judged as {found}, not {meant}", class.name);
    }
    Ok(())
}

/// What is counted.
#[inline(never)]
fn judged(frame: &mut BufferFrame<'_>, tables: &Tables, scratch: &mut Scratch) -> Reason {
    filter(frame, || Some(Host::new(tables, scratch)))
}

/// A table and one policy: what is looked up costs the core, not a map of the host.
struct Tables {
    records: Vec<Record>,
    policy: PolicyRecord,
}

impl Tables {
    fn new(image: &[Record], setting: Setting) -> Self {
        let per_s = if setting == Setting::Limited {
            LimitConfig::MAX
        } else {
            0
        };
        let control = Control {
            active: 1,
            answers_per_s: per_s,
            answers_burst: per_s,
            ..Control::default()
        };
        let flags = if setting == Setting::Observing {
            POLICY_OBSERVE
        } else {
            0
        };
        Self {
            records: [&[Record(bytemuck::cast(control))], image].concat(),
            policy: PolicyRecord {
                categories: u64::MAX,
                flags,
                ..PolicyRecord::default()
            },
        }
    }
}

impl Records for Tables {
    fn record(&self, index: u32) -> Option<&Record> {
        self.records.get(index as usize)
    }
}

impl Maps for Tables {
    fn policy(&self, number: u32) -> Option<&PolicyRecord> {
        (number == 0).then_some(&self.policy)
    }
}

impl Direct for Tables {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_class_is_judged_as_it_says() {
        judge_all().unwrap();
    }

    #[test]
    fn a_file_of_callgrind_without_a_count_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("out.1");
        fs::write(&file, "events: Ir\nfn=(1) x\n3 5\n\ntotals: 1234\n").unwrap();
        assert!((total(&file).unwrap() - 1234.0).abs() < f64::EPSILON);
        fs::write(&file, "events: Ir\ntotals: 0\n").unwrap();
        assert!(total(&file).is_err());
        assert!(total(&folder.path().join("out.2")).is_err());
    }
}
