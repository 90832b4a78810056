//! Checks everything: format, rules of the repository, lints, tests; one summary at the end.
//!
//! Tests are compiled by the caller and only run as root, so that nothing of root's lies in the target
//! folder.

mod tally;

use std::ffi::OsString;
use std::io::{self, BufRead as _, BufReader, Write};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use clap::Args;

use crate::workspace::Workspace;
use crate::{build, package, privilege, process, setup, tidy, vm};
use tally::Tally;

/// Which tests.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct TestArgs {
    /// Run only tests whose names contain this, and no lints
    #[arg(value_name = "NAME")]
    filter: Option<String>,
}

/// Runs every check and fails if any failed.
pub(crate) fn run(workspace: &Workspace, args: &TestArgs) -> Result<()> {
    let root = Root::find()?;
    let mut report = Report::default();
    let built = report.step("setup", |_| setup::all(workspace))
        && report.step("build", |_| {
            build::all(workspace, &build::BuildArgs::default())
        });
    if built {
        if args.filter.is_none() {
            lints(workspace, &mut report);
            report.step("packaging", |_| {
                package::check_units(workspace, &workspace.release_binary("nxdp"))
            });
            report.step("verifier budget", |_| vm::check_this_kernel(workspace));
        }
        report.step("tests", |tally| tests(workspace, args, &root, tally));
    }
    report.conclude()
}

fn lints(workspace: &Workspace, report: &mut Report) {
    report.step("format", |_| {
        process::run(build::cargo(workspace).args(["fmt", "--all", "--check"]))
    });
    report.step("tidy", |_| tidy::run(workspace));
    report.step("clippy", |_| {
        let scope = ["--workspace", "--exclude", "filter-ebpf", "--all-targets"];
        process::run(clippy(workspace).args(scope).args(["--", "-D", "warnings"]))
    });
    // Of the kernel side only a profile that aborts on panic compiles without std.
    report.step("clippy, kernel side", |_| {
        let scope = ["--release", "--package", "filter-ebpf"];
        process::run(clippy(workspace).args(scope).args(["--", "-D", "warnings"]))
    });
}

fn clippy(workspace: &Workspace) -> Command {
    let mut cargo = build::cargo(workspace);
    cargo.arg("clippy");
    cargo
}

fn tests(workspace: &Workspace, args: &TestArgs, root: &Root, tally: &mut Tally) -> Result<()> {
    let mut cargo = build::cargo(workspace);
    cargo.env("NXDP_BIN", workspace.release_binary("nxdp"));
    cargo.args(["test", "--no-fail-fast", "--workspace"]);
    cargo.args(["--exclude", "filter-ebpf"]);
    cargo.args(root.cargo_options(workspace));
    counted(cargo.args(&args.filter), tally, &mut io::stdout())
}

/// Runs cargo, shows what it says as it says it, and counts the tests.
fn counted(command: &mut Command, tally: &mut Tally, out: &mut impl Write) -> Result<()> {
    let mut child = command
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("start {}", process::line(command)))?;
    let pipe = child
        .stdout
        .take()
        .context("take cargo's standard output")?;
    for line in BufReader::new(pipe).split(b'\n') {
        let line = line.context("read cargo's standard output")?;
        out.write_all(&line)?;
        out.write_all(b"\n")?;
        tally.read(&String::from_utf8_lossy(&line));
    }
    let status = child.wait().context("wait for cargo")?;
    if !status.success() {
        bail!("{} ended with {status}", process::line(command));
    }
    Ok(())
}

/// How tests come to root.
struct Root {
    /// The words before a command; none for a process that is root.
    prefix: Vec<&'static str>,
}

impl Root {
    /// Finds out before an hour is spent on the rest; asks for the password now.
    fn find() -> Result<Self> {
        let Some(prefix) = privilege::prefix() else {
            bail!(
                "some tests need root to make network namespaces and load programs: run `cargo xtask test` as root, or where sudo can ask for a password"
            );
        };
        if let Some((sudo, options)) = prefix.split_first() {
            eprintln!("test: some tests need root; asking sudo");
            process::run(Command::new(sudo).args(options).arg("-v"))?;
        }
        Ok(Self { prefix })
    }

    /// Lets cargo start the compiled tests, and only those, through sudo.
    fn cargo_options(&self, workspace: &Workspace) -> Vec<OsString> {
        if self.prefix.is_empty() {
            return Vec::new();
        }
        let mut words: Vec<String> = self.prefix.iter().map(ToString::to_string).collect();
        words.push("env".into());
        words.push(format!("CARGO_TARGET_DIR={}", workspace.target().display()));
        let nxdp = workspace.release_binary("nxdp");
        words.push(format!("NXDP_BIN={}", nxdp.display()));
        for name in ["PATH", "NXDP_DATA", "RUST_BACKTRACE", "RUST_LOG"] {
            words.extend(
                std::env::var(name)
                    .ok()
                    .map(|value| format!("{name}={value}")),
            );
        }
        // Debug output of strings is a TOML array of strings.
        let runner = format!("target.\"cfg(all())\".runner={words:?}");
        vec!["--config".into(), runner.into()]
    }
}

/// What each step took and found.
#[derive(Default)]
struct Report {
    steps: Vec<Step>,
}

struct Step {
    name: &'static str,
    took: Duration,
    tally: Tally,
    error: Option<String>,
}

impl Report {
    /// Runs one step and tells whether it went well; later steps run all the same.
    fn step(&mut self, name: &'static str, check: impl FnOnce(&mut Tally) -> Result<()>) -> bool {
        eprintln!("\n== {name}");
        let start = Instant::now();
        let mut tally = Tally::default();
        let error = check(&mut tally).err().map(|error| format!("{error:#}"));
        if let Some(error) = &error {
            eprintln!("test: {name}: {error}");
        }
        let good = error.is_none();
        let took = start.elapsed();
        self.steps.push(Step {
            name,
            took,
            tally,
            error,
        });
        good
    }

    /// Prints the summary, whose last line counts the tests.
    fn conclude(self) -> Result<()> {
        println!();
        let mut total = Tally::default();
        for step in &self.steps {
            println!("{step}");
            total.add(&step.counted());
        }
        let whole: Duration = self.steps.iter().map(|step| step.took).sum();
        println!("{:<20} {:>7.1} s", "all", whole.as_secs_f64());
        println!("{total}");
        if total.failed > 0 {
            bail!("checks failed");
        }
        if total.passed == 0 {
            bail!("no test was run");
        }
        Ok(())
    }
}

impl Step {
    /// A step that failed without a failed test (format, a build error) counts as one failure.
    fn counted(&self) -> Tally {
        let mut tally = self.tally;
        if self.error.is_some() && tally.failed == 0 {
            tally.failed = 1;
        }
        tally
    }
}

impl std::fmt::Display for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let outcome = if self.error.is_none() { "ok" } else { "FAILED" };
        write!(
            f,
            "{:<20} {:>7.1} s  {outcome}",
            self.name,
            self.took.as_secs_f64()
        )?;
        if self.tally == Tally::default() {
            return Ok(());
        }
        write!(f, ": {}", self.tally)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_that_fails_without_a_failed_test_counts_as_one_failure() {
        let mut report = Report::default();
        assert!(!report.step("format", |_| bail!("not formatted")));
        assert_eq!(report.steps[0].counted().failed, 1);
        assert!(report.conclude().is_err());
    }

    #[test]
    fn a_run_without_any_test_is_no_success() {
        let mut report = Report::default();
        assert!(report.step("tests", |_| Ok(())));
        assert!(report.conclude().is_err());
    }

    #[test]
    fn tests_of_a_real_command_are_counted_and_its_failure_is_told() {
        let (mut tally, mut shown) = (Tally::default(), Vec::new());
        let says = "echo 'test result: FAILED. 3 passed; 2 failed; 1 ignored; 0 measured; 0 filtered out'; exit 101";
        let outcome = counted(
            Command::new("sh").args(["-c", says]),
            &mut tally,
            &mut shown,
        );
        assert!(outcome.is_err());
        assert!(shown.ends_with(b"0 filtered out\n"));
        assert_eq!(tally.to_string(), "3 passed, 2 failed, 1 skipped");
    }

    #[test]
    fn root_runs_the_tests_without_sudo() {
        let workspace = Workspace::discover().unwrap();
        assert!(Root { prefix: vec![] }.cargo_options(&workspace).is_empty());
        let options = Root {
            prefix: vec!["sudo", "-n"],
        }
        .cargo_options(&workspace);
        let runner = options[1].to_string_lossy().into_owned();
        assert!(
            runner.starts_with("target.\"cfg(all())\".runner=[\"sudo\", \"-n\", \"env\", "),
            "{runner}"
        );
    }
}
