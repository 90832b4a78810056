//! A filter in two roles, in a lab: what `nxdp load` left, and the daemon that fills it.
//!
//! Everything is pinned on a BPF file system of the lab's own, and goes with it.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, chown},
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use nix::unistd::User;
use serde_json::Value;
use tempfile::TempDir;

use crate::{
    filter::binary,
    lab::{LAN_INTERFACE, Lab},
    process::{Process, Stream},
};

/// The user that the daemon runs as: one that every system has and that owns nothing.
pub const SERVICE_USER: &str = "nobody";
/// How long things may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// The folder of a filter in two roles, and the lab that it runs in.
#[derive(Debug)]
pub struct Roles<'a> {
    lab: &'a Lab,
    folder: TempDir,
    binary: PathBuf,
    mounts: PathBuf,
}

impl<'a> Roles<'a> {
    /// Prepares the lab's router: mounts of its own, a configuration with one list, `list.txt`.
    ///
    /// # Errors
    /// Fails without root or when the binary is missing.
    pub fn new(lab: &'a Lab, more_config: &str) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755))?;
        let binary = reachable(binary()?, folder.path())?;
        let roles = Self {
            lab,
            folder,
            binary,
            mounts: lab.router().own_mounts()?,
        };
        fs::create_dir(roles.state())?;
        let user = User::from_name(SERVICE_USER)?.context("no user nobody")?;
        chown(
            roles.state(),
            Some(user.uid.as_raw()),
            Some(user.gid.as_raw()),
        )?;
        roles.configure(more_config)?;
        Ok(roles)
    }

    /// Writes the configuration anew, with more lines at its start; no number of queries is too many.
    pub fn configure(&self, more: &str) -> Result<()> {
        let socket = self.socket();
        let text = format!(
            "interfaces = [\"{LAN_INTERFACE}\"]\nsocket = \"{}\"\n{more}\n\
             [guard]\nmax_growth_percent = 1000000000\nmax_shrink_percent = 100\n\
             [limit]\nanswers_per_s = 0\n\
             [[list]]\npath = \"list.txt\"\n",
            socket.display()
        );
        fs::write(self.config(), text)?;
        Ok(())
    }

    /// Puts a list in place of the one before, at once.
    pub fn write_list(&self, text: &str) -> Result<()> {
        let new = self.path("list.new");
        fs::write(&new, text)?;
        fs::rename(new, self.list())?;
        Ok(())
    }

    /// A file in the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The configuration.
    pub fn config(&self) -> PathBuf {
        self.path("nxdp.toml")
    }

    /// The list.
    pub fn list(&self) -> PathBuf {
        self.path("list.txt")
    }

    /// The folder of the daemon's state.
    pub fn state(&self) -> PathBuf {
        self.path("state")
    }

    /// The control socket.
    pub fn socket(&self) -> PathBuf {
        self.state().join("control.sock")
    }

    /// The pins, as this process sees them.
    pub fn pins(&self) -> PathBuf {
        self.mounts.join("sys/fs/bpf/nxdp")
    }

    /// A command with the configuration and whatever else the verb needs.
    pub fn command(&self, verb: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        self.fill(&mut command, verb, arguments);
        command
    }

    fn fill(&self, command: &mut Command, verb: &str, arguments: &[&str]) {
        command.arg(verb);
        if verb != "unload" {
            command.arg("--config").arg(self.config());
        }
        if matches!(verb, "load" | "daemon") {
            command.arg("--state").arg(self.state());
        }
        if verb == "load" && !arguments.contains(&"--user") {
            command.args(["--user", SERVICE_USER]);
        }
        let sizes = ["--names", "--table-bytes", "--as-asked"];
        if verb == "load" && !sizes.iter().any(|size| arguments.contains(size)) {
            // What a machine with little memory begins with.
            command.args(["--table-bytes", "1048576"]);
        }
        command.args(arguments);
    }

    /// Runs `nxdp VERB` to its end; hands back its exit code and standard error.
    pub fn run(&self, verb: &str, arguments: &[&str]) -> Result<(i32, String)> {
        self.run_command(self.command(verb, arguments))
    }

    /// Runs a command on the router to its end.
    pub fn run_command(&self, command: Command) -> Result<(i32, String)> {
        let mut process = self.lab.router().spawn(command)?;
        let status = process.wait(PATIENCE)?.context("it does not end")?;
        Ok((status.code().unwrap_or(-1), process.text(Stream::Err)))
    }

    /// What a command of an operator prints as JSON, with all that it needs where no daemon runs.
    ///
    /// # Errors
    /// Fails with what it said when it does.
    pub fn operate(&self, line: &str) -> Result<Value> {
        let mut words = line.split_whitespace();
        let mut command = self.command(words.next().context("no verb")?, &[]);
        command.arg("--json").args(words);
        command.arg("--socket").arg(self.socket());
        command.arg("--state").arg(self.state());
        let mut process = self.lab.router().spawn(command)?;
        let status = process.wait(PATIENCE)?.context("it does not end")?;
        let said = process.text(Stream::Err);
        ensure!(status.success(), "nxdp {line}: {status}: {said}");
        Ok(serde_json::from_str(&process.text(Stream::Out))?)
    }

    /// `nxdp load`.
    ///
    /// # Errors
    /// Fails when it does.
    pub fn load(&self, arguments: &[&str]) -> Result<String> {
        let (code, text) = self.run("load", arguments)?;
        ensure!(code == 0, "nxdp load ended with {code}: {text}");
        Ok(text)
    }

    /// `nxdp load`, stopped before its first step.
    pub fn stopped_load(&self, arguments: &[&str]) -> Result<Process> {
        let mut command = Command::new("sh");
        command.args(["-c", "kill -STOP $$; exec \"$@\"", "sh"]);
        command.arg(&self.binary);
        self.fill(&mut command, "load", arguments);
        let process = self.lab.router().spawn(command)?;
        let stat = format!("/proc/{}/stat", process.id());
        wait_for("the process to stop", || {
            Ok(fs::read_to_string(&stat)?.contains(") T "))
        })?;
        Ok(process)
    }

    /// `nxdp daemon` as the service user, with an empty set of capabilities and these variables
    /// in its environment.
    pub fn daemon_command(&self, arguments: &[&str], variables: &[&str]) -> Command {
        let mut command = Command::new("setpriv");
        command.args([
            "--reuid",
            SERVICE_USER,
            "--regid",
            "nogroup",
            "--clear-groups",
        ]);
        command.args([
            "--inh-caps=-all",
            "--bounding-set=-all",
            "--pdeathsig",
            "TERM",
        ]);
        // Not for setpriv itself, which is still root.
        command.arg("env").args(variables).arg(&self.binary);
        self.fill(&mut command, "daemon", arguments);
        command
    }

    /// The same, started.
    pub fn spawn_daemon(&self, arguments: &[&str]) -> Result<Process> {
        self.lab.router().spawn(self.daemon_command(arguments, &[]))
    }

    /// The same, and waits until its first generation is active.
    pub fn daemon(&self) -> Result<Process> {
        let daemon = self.spawn_daemon(&[])?;
        daemon.wait_for_line(0, " active: ", PATIENCE)?;
        Ok(daemon)
    }

    /// What `nxdp` with the words of a line prints as JSON.
    ///
    /// # Errors
    /// Fails when it does.
    pub fn say(&self, line: &str) -> Result<Value> {
        let mut command = Command::new(&self.binary);
        command.args(line.split_whitespace());
        let output = command
            .args(["--json", "--socket"])
            .arg(self.socket())
            .output()?;
        let error = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "nxdp {line}: {error}");
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    /// What `nxdp status --json` prints.
    pub fn status(&self) -> Result<Value> {
        self.ask("status")
    }

    /// What `nxdp VERB --json` prints.
    pub fn ask(&self, verb: &str) -> Result<Value> {
        self.say(verb)
    }

    /// Asks for the status until it is as wanted, and hands it back.
    pub fn wait_for_status(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Result<Value> {
        let mut last = None;
        wait_for(what, || {
            // A daemon that just starts does not answer yet.
            last = self.status().ok();
            Ok(last.as_ref().is_some_and(&wanted))
        })
        .with_context(|| format!("{:?}", self.status()))?;
        last.context("no status")
    }

    /// What lies below the pins, as paths from there; nothing if there is nothing.
    pub fn pinned(&self) -> Vec<String> {
        let root = self.pins();
        let mut found = Vec::new();
        collect(&root, &root, &mut found);
        found.sort();
        found
    }
}

/// The binary where the service user can reach it: a copy, if it lies in somebody's home.
fn reachable(binary: PathBuf, folder: &Path) -> Result<PathBuf> {
    let mut command = Command::new("setpriv");
    command.args(["--reuid", SERVICE_USER, "--clear-groups"]);
    let output = command.arg(&binary).arg("--version").output()?;
    if output.status.success() {
        return Ok(binary);
    }
    let copy = folder.join("nxdp");
    fs::copy(binary, &copy)?;
    Ok(copy)
}

fn collect(root: &Path, folder: &Path, found: &mut Vec<String>) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for path in entries.flatten().map(|entry| entry.path()) {
        if path.is_dir() {
            collect(root, &path, found);
        } else if let Ok(path) = path.strip_prefix(root) {
            found.push(path.display().to_string());
        }
    }
}

/// Asks until the answer is yes.
///
/// # Errors
/// Fails after a minute, or when asking does.
pub fn wait_for(what: &str, mut is_so: impl FnMut() -> Result<bool>) -> Result<()> {
    let end = Instant::now() + PATIENCE;
    while !is_so()? {
        if Instant::now() >= end {
            bail!("{what}: not within {PATIENCE:?}");
        }
        thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}
