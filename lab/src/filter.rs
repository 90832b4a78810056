//! The built binary at work in a lab, seen as an operator sees it: its lines, its
//! `status`, its `stats`.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::{
    lab::{LAN_INTERFACE, Lab},
    process::Process,
};

/// How long compiling and attaching may take on a busy machine.
const ATTACH_TIMEOUT: Duration = Duration::from_secs(120);
/// How long a change may take to be seen.
const CHANGE_TIMEOUT: Duration = Duration::from_secs(60);

/// The binary under test: `NXDP_BIN`, or the one that cargo built for this test.
///
/// A program that is no test takes the one that was built beside it. A test never does: what lies there
/// may be older than the sources.
///
/// # Errors
/// Fails when there is none.
pub fn binary() -> Result<PathBuf> {
    let named = ["NXDP_BIN", "CARGO_BIN_EXE_nxdp"];
    let path = match named.iter().find_map(std::env::var_os) {
        Some(path) => PathBuf::from(path),
        None => beside(&std::env::current_exe()?)?,
    };
    ensure!(
        path.is_file(),
        "{} is missing: build it with `cargo xtask build`, or set NXDP_BIN",
        path.display()
    );
    Ok(path)
}

fn beside(program: &Path) -> Result<PathBuf> {
    let folder = program.parent().unwrap_or(Path::new("."));
    ensure!(
        !folder.ends_with("deps"),
        "no binary nxdp was built for this test: start it through `cargo test -p filter-user` or \
         `cargo xtask test`, or set NXDP_BIN"
    );
    Ok(folder.join("nxdp"))
}

/// A running `nxdp run`; dropping it ends it.
#[derive(Debug)]
pub struct Filter {
    process: Process,
    binary: PathBuf,
    socket: PathBuf,
}

impl Filter {
    /// Starts it on [`LAN_INTERFACE`] with more arguments, its socket in `folder`, and
    /// waits until it is attached.
    ///
    /// # Errors
    /// Fails when it ends before, and quotes what it wrote.
    pub fn start<S: AsRef<std::ffi::OsStr>>(
        lab: &Lab,
        folder: &Path,
        arguments: &[S],
    ) -> Result<Self> {
        let filter = Self::spawn(lab, folder, arguments)?;
        filter
            .process
            .wait_for_line(0, "attached to", ATTACH_TIMEOUT)?;
        Ok(filter)
    }

    /// Starts it and waits for nothing.
    pub fn spawn<S: AsRef<std::ffi::OsStr>>(
        lab: &Lab,
        folder: &Path,
        arguments: &[S],
    ) -> Result<Self> {
        let (binary, socket) = (binary()?, folder.join("control.sock"));
        let mut command = Command::new(&binary);
        command.args(["run", "--interface", LAN_INTERFACE, "--socket"]);
        command.arg(&socket).args(arguments);
        // Loads come from one client; tests of the limit say what it is.
        let says_limit = |argument: &S| argument.as_ref() == "--answers-per-s";
        if !arguments.iter().any(says_limit) {
            command.args(["--answers-per-s", "0"]);
        }
        Ok(Self {
            process: lab.router().spawn(command)?,
            binary,
            socket,
        })
    }

    /// The process.
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// The process, to be ended.
    pub fn process_mut(&mut self) -> &mut Process {
        &mut self.process
    }

    /// The control socket's file.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// What `nxdp status --json` prints.
    pub fn status(&self) -> Result<Value> {
        self.ask("status")
    }

    /// The counters that `nxdp stats --json` prints.
    pub fn counters(&self) -> Result<BTreeMap<String, u64>> {
        let stats = self.ask("stats")?;
        serde_json::from_value(stats["packets"].clone()).context("the counters are no numbers")
    }

    /// What `nxdp stats --json` prints.
    pub fn stats(&self) -> Result<Value> {
        self.ask("stats")
    }

    /// One of the counters.
    ///
    /// # Errors
    /// Fails when there is none of this name.
    pub fn counter(&self, name: &str) -> Result<u64> {
        let counters = self.counters()?;
        counters
            .get(name)
            .copied()
            .with_context(|| format!("no counter {name} in {counters:?}"))
    }

    /// Asks for the status until it is as wanted, and hands it back.
    pub fn wait_for_status(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Result<Value> {
        let end = Instant::now() + CHANGE_TIMEOUT;
        loop {
            // On a busy machine one that works may be slower than a command waits.
            let status = self.status();
            let is_late = Instant::now() >= end;
            match status {
                Ok(status) if wanted(&status) => return Ok(status),
                Ok(status) if is_late => bail!("{what}: not within {CHANGE_TIMEOUT:?}; {status}"),
                Err(error) if is_late => return Err(error.context(what.to_owned())),
                _ => {}
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// `nxdp` with these arguments, and the control socket of this filter.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        command.args(arguments).arg("--socket").arg(&self.socket);
        command
    }

    /// What such a command prints.
    ///
    /// # Errors
    /// Fails when it does, with its standard error.
    pub fn output(&self, arguments: &[&str]) -> Result<String> {
        let output = self.command(arguments).output()?;
        ensure!(
            output.status.success(),
            "nxdp {}: {}",
            arguments.join(" "),
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(String::from_utf8(output.stdout)?)
    }

    /// The lines that `nxdp log --json` prints.
    pub fn log(&self, arguments: &[&str]) -> Result<Vec<Value>> {
        let text = self.output(&[&["log", "--json"], arguments].concat())?;
        let lines = text.lines().map(serde_json::from_str);
        lines.collect::<Result<_, _>>().context("a line is no JSON")
    }

    fn ask(&self, verb: &str) -> Result<Value> {
        Ok(serde_json::from_str(&self.output(&[verb, "--json"])?)?)
    }
}
