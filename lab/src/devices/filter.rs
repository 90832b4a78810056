//! nxdp in the two roles of a router: loaded once for all rows, then attached and served for each.
//!
//! The verifier takes longest on an emulated processor; an attachment is what a row is about.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use tempfile::TempDir;

use super::{
    rows::Row,
    stage::{BLOCKED, Stage},
};
use crate::process::{Process, Stream};

const PINS: &str = "/sys/fs/bpf/nxdp";
/// Without it a machine of the table has no user that the daemon could run as.
const USER: &str = "root";
const PATIENCE: Duration = Duration::from_secs(90);
/// How long words about what is not filtered may take: "within seconds".
const WORDS: Duration = Duration::from_secs(12);

/// The loaded program.
pub(super) struct Loaded {
    nxdp: PathBuf,
    folder: TempDir,
}

/// The program on the interfaces of a row, and the daemon behind it.
pub(super) struct Attached<'a> {
    loaded: &'a Loaded,
    daemon: Process,
}

impl Loaded {
    /// Mounts what pins need, and loads.
    pub(super) fn new(nxdp: &Path) -> Result<Self> {
        let mounted = Command::new("mount")
            .args(["-t", "bpf", "bpf", "/sys/fs/bpf"])
            .status()?;
        ensure!(mounted.success(), "cannot mount the BPF file system");
        let folder = TempDir::new()?;
        fs::create_dir(folder.path().join("state"))?;
        let list = format!("||blocked.test^\n{BLOCKED}\n");
        fs::write(folder.path().join("list.txt"), list)?;
        let loaded = Self {
            nxdp: nxdp.to_owned(),
            folder,
        };
        loaded.configure(None)?;
        loaded.load()?;
        Ok(loaded)
    }

    /// Loads the program and attaches it to nothing.
    pub(super) fn load(&self) -> Result<()> {
        let mut command = self.command("load");
        command.args(["-i", "later0", "--absent-ok", "--user", USER, "--state"]);
        command.arg(self.path("state"));
        let output = command.output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "nxdp load: {said}");
        Ok(())
    }

    /// Attaches to the interfaces of a row and serves them; what nxdp said if it did not.
    pub(super) fn attach(
        &self,
        stage: &Stage,
        row: &Row,
        interfaces: &[&str],
        mode: &str,
    ) -> Result<Result<Attached<'_>, String>> {
        self.configure(row.policy)?;
        let arguments = Self::arguments(row, interfaces, mode);
        let mut attach = self.command("attach");
        attach.args(&arguments);
        let mut process = stage.router.spawn(attach)?;
        let status = process
            .wait(PATIENCE)?
            .context("nxdp attach does not end")?;
        if !status.success() {
            self.detach()?;
            return Ok(Err(why(&process.text(Stream::Err))));
        }
        let mut daemon = self.command("daemon");
        daemon.args(&arguments);
        daemon.arg("--state").arg(self.path("state"));
        daemon.arg("--socket").arg(self.socket());
        let daemon = stage.router.spawn(daemon)?;
        let attached = Attached {
            loaded: self,
            daemon,
        };
        attached
            .daemon
            .wait_for_line(0, " active: ", PATIENCE)
            .context("the daemon does not start")?;
        Ok(Ok(attached))
    }

    /// `nxdp attach --watch` for the interfaces of a row.
    pub(super) fn keeper(
        &self,
        stage: &Stage,
        row: &Row,
        interfaces: &[&str],
        mode: &str,
    ) -> Result<Process> {
        let mut command = self.command("attach");
        command.args(Self::arguments(row, interfaces, mode));
        stage.router.spawn({
            command.arg("--watch");
            command
        })
    }

    /// `nxdp unload`; whether it succeeded, and what it said.
    pub(super) fn unload(&self, stage: &Stage) -> Result<(bool, String)> {
        let mut command = Command::new(&self.nxdp);
        command.arg("unload");
        let mut process = stage.router.spawn(command)?;
        let status = process
            .wait(PATIENCE)?
            .context("nxdp unload does not end")?;
        Ok((status.success(), process.text(Stream::Err)))
    }

    /// Takes the program off every interface.
    fn detach(&self) -> Result<()> {
        let Ok(links) = fs::read_dir(Path::new(PINS).join("links")) else {
            // Unloaded.
            return Ok(());
        };
        for link in links {
            let path = link?.path();
            fs::remove_file(&path).with_context(|| format!("remove {}", path.display()))?;
        }
        Ok(())
    }

    fn arguments(row: &Row, interfaces: &[&str], mode: &str) -> Vec<String> {
        let named = interfaces.iter().flat_map(|interface| ["-i", interface]);
        let force = row.is_forced.then_some("--force");
        named
            .chain(["--mode", mode])
            .chain(force)
            .map(str::to_owned)
            .collect()
    }

    fn command(&self, verb: &str) -> Command {
        let mut command = Command::new(&self.nxdp);
        command
            .arg(verb)
            .arg("--config")
            .arg(self.path("nxdp.toml"));
        command
    }

    /// Blocks for everybody, or for one client alone.
    fn configure(&self, client: Option<&str>) -> Result<()> {
        let policies = client.map_or_else(String::new, |client| {
            format!(
                "[policy.default]\nblock = []\n[policy.these]\nclients = [\"{client}\"]\nblock = [\"ads\"]\n"
            )
        });
        let text = format!(
            "[limit]\nanswers_per_s = 0\n{policies}[[list]]\npath = \"list.txt\"\ncategory = \"ads\"\n"
        );
        Ok(fs::write(self.path("nxdp.toml"), text)?)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn socket(&self) -> PathBuf {
        self.path("control.sock")
    }
}

impl Attached<'_> {
    /// Waits for words of the daemon that something is not filtered, or that large packets are
    /// lost: an obstacle of one of these kinds; none if there are none in time.
    pub(super) fn words(
        &self,
        kinds: &[&str],
        mut more_traffic: impl FnMut(),
    ) -> Result<Option<String>> {
        let end = Instant::now() + WORDS;
        while Instant::now() < end {
            more_traffic();
            if let Some(words) = obstacle(&self.status()?, kinds) {
                return Ok(Some(words));
            }
            thread::sleep(Duration::from_millis(300));
        }
        Ok(None)
    }

    /// What became of packets since the program was loaded, as far as anything did.
    pub(super) fn counters(&self) -> Result<String> {
        let stats = self.say("stats")?;
        let counters = stats["packets"].as_object().cloned().unwrap_or_default();
        let some = counters
            .iter()
            .filter(|(_, count)| count.as_u64() != Some(0));
        let words: Vec<String> = some
            .map(|(name, count)| format!("{name} {count}"))
            .collect();
        Ok(words.join(", "))
    }

    /// What `nxdp status --json` prints.
    pub(super) fn status(&self) -> Result<Value> {
        self.say("status")
    }

    fn say(&self, verb: &str) -> Result<Value> {
        let output = Command::new(&self.loaded.nxdp)
            .args([verb, "--json", "--socket"])
            .arg(self.loaded.socket())
            .output()?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            let log = self.daemon.text(Stream::Err);
            bail!("nxdp {verb}: {said}; the daemon said: {log}");
        }
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    /// Waits until the daemon says of every interface that it is attached.
    pub(super) fn wait_until_attached(&self) -> Result<()> {
        let end = Instant::now() + PATIENCE;
        loop {
            let status = self.status()?;
            let interfaces = status["interfaces"].as_array().cloned().unwrap_or_default();
            let is_whole = |found: &Value| found["state"] == "attached";
            if !interfaces.is_empty() && interfaces.iter().all(is_whole) {
                return Ok(());
            }
            ensure!(Instant::now() < end, "not attached again: {interfaces:?}");
            thread::sleep(Duration::from_millis(200));
        }
    }
}

impl Drop for Attached<'_> {
    fn drop(&mut self) {
        // What stays is found by the next row, which attaches where something is already.
        drop(self.loaded.detach());
    }
}

/// The words of the first obstacle of these kinds in a status.
fn obstacle(status: &Value, kinds: &[&str]) -> Option<String> {
    let interfaces = status["interfaces"].as_array()?.iter();
    let obstacles = interfaces.filter_map(|found| found["obstacles"].as_array());
    let mut wanted = obstacles.flatten().filter(|obstacle| {
        let kind = obstacle["kind"].as_str();
        kind.is_some_and(|kind| kinds.contains(&kind))
    });
    let found = wanted.next()?;
    let [interface, says] = ["interface", "says"].map(|key| found[key].as_str().unwrap_or("?"));
    Some(format!("{interface}: {says}"))
}

/// The first line that says why nothing was attached.
fn why(said: &str) -> String {
    let lines: Vec<&str> = said
        .lines()
        .filter(|line| !line.trim().is_empty())
        .collect();
    let first = lines.iter().find(|line| line.contains("attach to "));
    (*first.or(lines.last()).unwrap_or(&"nothing")).to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn words_count_only_if_they_are_about_what_is_wrong() {
        let status = json!({"interfaces": [
            {"interface": "lan1", "obstacles": [
                {"interface": "lan1", "kind": "large_packets", "says": "too large"},
                {"interface": "lan1", "kind": "unseen", "says": "saw none"},
            ]},
        ]});
        let words = obstacle(&status, &["unseen", "tags"]);
        assert_eq!(words.as_deref(), Some("lan1: saw none"));
        assert_eq!(obstacle(&status, &["tags"]), None);
        assert_eq!(obstacle(&json!({}), &["tags"]), None);
    }

    #[test]
    fn the_reason_of_a_refusal_is_told_and_not_its_consequence() {
        let said = "attach to vrf0: no frames come by\nnxdp: attach to vrf0: not filtered\n";
        assert_eq!(why(said), "attach to vrf0: no frames come by");
        assert_eq!(why("nxdp: something else\n"), "nxdp: something else");
    }
}
