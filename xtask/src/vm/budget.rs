//! What each program may cost the verifier, by kernel: `verifier/budget.toml`.
//!
//! Instructions and stack are judged. Load time is recorded only: under emulation it says little.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};

use crate::{privilege, process, workspace::Workspace};

const FILE: &str = "verifier/budget.toml";
const HEADER: &str = "\
# What the verifier of each kernel said of each program: instructions it looked at, bytes of stack of
# all functions together, milliseconds of the load. Written by `cargo xtask vm --update-budget`.
# `cargo xtask vm` fails when instructions or stack grow by more than a tenth; load time under
# emulation is for the record.

";

/// Growth in hundredths that is no fault.
const TOLERANCE: u64 = 10;

/// What the verifier said of one program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Measured {
    pub(super) instructions: u64,
    pub(super) stack: u64,
    pub(super) load_ms: u64,
}

impl Measured {
    /// Reads a line of `nxdp-probe verify`.
    pub(super) fn read(line: &str) -> Option<(String, Self)> {
        let mut words = line.strip_prefix("program ")?.split(' ');
        let name = words.next()?.to_owned();
        let mut figure = |mark: &str| {
            let is_next = words.next()? == mark;
            let value: u64 = words.next()?.parse().ok()?;
            is_next.then_some(value)
        };
        let measured = Self {
            instructions: figure("instructions")?,
            stack: figure("stack")?,
            load_ms: figure("load_us")? / 1000,
        };
        Some((name, measured))
    }
}

/// The budget of every program on every kernel.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(transparent)]
pub(super) struct Budget {
    programs: BTreeMap<String, BTreeMap<String, Measured>>,
}

impl Budget {
    /// Reads the file; without one there is no budget yet.
    pub(super) fn read(workspace: &Workspace) -> Result<Self> {
        let path = workspace.root().join(FILE);
        if !path.exists() {
            return Ok(Self::default());
        }
        let text = fs::read_to_string(&path).with_context(|| format!("read {FILE}"))?;
        toml::from_str(&text).with_context(|| format!("read {FILE}"))
    }

    /// Writes the file.
    pub(super) fn write(&self, workspace: &Workspace) -> Result<()> {
        let path = workspace.root().join(FILE);
        let text = toml::to_string(self).context("write the budget as TOML")?;
        fs::create_dir_all(path.parent().context("find the budget's folder")?)?;
        fs::write(&path, format!("{HEADER}{text}")).with_context(|| format!("write {FILE}"))
    }

    /// Takes what was measured as the budget.
    pub(super) fn update(&mut self, kernel: &str, measured: &BTreeMap<String, Measured>) {
        for (program, figures) in measured {
            let kernels = self.programs.entry(program.clone()).or_default();
            kernels.insert(kernel.to_owned(), *figures);
        }
    }

    /// Says what grew beyond the budget.
    pub(super) fn judge(&self, kernel: &str, measured: &BTreeMap<String, Measured>) -> Vec<String> {
        let mut faults = Vec::new();
        for (program, now) in measured {
            let Some(allowed) = self.programs.get(program).and_then(|k| k.get(kernel)) else {
                eprintln!("vm: {FILE} has no entry for {program} on {kernel}");
                continue;
            };
            for (what, now, allowed) in [
                ("instructions", now.instructions, allowed.instructions),
                ("stack", now.stack, allowed.stack),
            ] {
                if has_outgrown(now, allowed) {
                    faults.push(format!(
                        "{kernel}: {program}: {what} grew from {allowed} to {now}, by more than {TOLERANCE} %; make it smaller, or accept it with `cargo xtask vm --update-budget`"
                    ));
                }
            }
        }
        faults
    }
}

fn has_outgrown(now: u64, allowed: u64) -> bool {
    now * 100 > allowed * (100 + TOLERANCE)
}

/// Loads the programs on the running kernel and judges by its entry, if there is one.
pub(crate) fn check_this_kernel(workspace: &Workspace, probe: &Path) -> Result<()> {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").context("read the release")?;
    let kernel = major_and_minor(&release);
    let mut command = privilege::as_root(probe, "load the programs")?;
    let object = workspace.ebpf_objects().join("nxdp.bpf.o");
    let said = process::output(command.arg("verify").arg(object))?;
    let measured: BTreeMap<_, _> = said.lines().filter_map(Measured::read).collect();
    if measured.is_empty() {
        bail!("nxdp-probe told of no program:\n{said}");
    }
    for (program, figures) in &measured {
        let Measured {
            instructions,
            stack,
            load_ms,
        } = figures;
        eprintln!(
            "budget: {program} on {kernel}: {instructions} instructions, {stack} bytes of stack, {load_ms} ms"
        );
    }
    let faults = Budget::read(workspace)?.judge(&kernel, &measured);
    if !faults.is_empty() {
        bail!("{}", faults.join("\n"));
    }
    Ok(())
}

/// `6.18` of `6.18.5-amd64`.
fn major_and_minor(release: &str) -> String {
    release
        .trim()
        .splitn(3, '.')
        .take(2)
        .collect::<Vec<_>>()
        .join(".")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(instructions: u64, stack: u64) -> BTreeMap<String, Measured> {
        let figures = Measured {
            instructions,
            stack,
            load_ms: 1,
        };
        BTreeMap::from([("nxdp".to_owned(), figures)])
    }

    #[test]
    fn growth_by_a_tenth_is_accepted_and_more_is_not() {
        let mut budget = Budget::default();
        budget.update("6.1", &measured(1000, 400));
        assert!(budget.judge("6.1", &measured(1100, 440)).is_empty());
        assert_eq!(budget.judge("6.1", &measured(1101, 441)).len(), 2);
        assert!(
            budget.judge("7.3", &measured(9999, 999)).is_empty(),
            "no entry"
        );
    }

    #[test]
    fn what_is_written_reads_back_the_same() {
        let mut budget = Budget::default();
        budget.update("6.1", &measured(1000, 400));
        budget.update("6.12", &measured(900, 400));
        let text = toml::to_string(&budget).unwrap();
        let again: Budget = toml::from_str(&text).unwrap();
        assert_eq!(again.programs, budget.programs);
    }

    #[test]
    fn a_line_of_the_probe_is_read() {
        let (name, figures) =
            Measured::read("program nxdp instructions 10 stack 20 load_us 30500").unwrap();
        let expected = Measured {
            instructions: 10,
            stack: 20,
            load_ms: 30,
        };
        assert_eq!((name.as_str(), figures), ("nxdp", expected));
        assert_eq!(Measured::read("program nxdp stack 20"), None);
    }

    #[test]
    fn a_kernel_is_known_by_two_numbers() {
        assert_eq!(major_and_minor("6.18.5+deb13-amd64\n"), "6.18");
        assert_eq!(major_and_minor("7.2-rc1"), "7.2-rc1");
    }
}
