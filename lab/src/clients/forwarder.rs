//! unbound: a validating forwarder between clients and filter, and the server of [`super::signed`].

use std::{
    fmt::Write as _,
    fs,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result};

use super::program::{dig_says, finished};
use crate::{
    lab::Lab,
    namespace::Namespace,
    process::{Process, Stream, copy_program},
    query::Transport,
};

/// How long it may take to start on a busy machine.
const START: Duration = Duration::from_secs(60);
/// Where Debian puts it; not every `PATH` has it.
const UNBOUND: &str = "/usr/sbin/unbound";
/// Where it is asked.
const LOOPBACK: &str = "127.0.0.1";

/// A running unbound; dropping it ends it.
#[derive(Debug)]
pub struct Unbound {
    _process: Process,
}

impl Unbound {
    /// Its version.
    ///
    /// # Errors
    /// Fails when it is not installed.
    pub fn version() -> Result<String> {
        let output = Command::new(UNBOUND)
            .arg("-V")
            .stdin(Stdio::null())
            .output()
            .context("install unbound")?;
        let text = String::from_utf8(output.stdout)?;
        let version = text
            .lines()
            .next()
            .and_then(|line| line.split(' ').next_back());
        Ok(version.context("it tells no version")?.to_owned())
    }

    /// Starts it in a namespace with a configuration of its own.
    ///
    /// # Errors
    /// Fails when it does not start, and quotes what it wrote.
    pub fn start(namespace: &Namespace, folder: &Path, config: &str) -> Result<Self> {
        // A copy is not bound to the system's configuration as AppArmor binds the original.
        let program = folder.join("unbound");
        copy_program(Path::new(UNBOUND), &program)?;
        let file = folder.join("unbound.conf");
        let common = format!(
            "server:\n  directory: {folder:?}\n  pidfile: \"\"\n  chroot: \"\"\n  username: \"\"\n  \
             use-syslog: no\n  do-daemonize: no\n  verbosity: 1\n  num-threads: 1\n\
             remote-control:\n  control-enable: no\n"
        );
        fs::write(&file, common + config)?;
        let mut command = Command::new(program);
        command.arg("-d").arg("-c").arg(file);
        let process = namespace.spawn(command)?;
        process.wait_for_line(0, "start of service", START)?;
        Ok(Self { _process: process })
    }
}

/// How a forwarder asks.
#[derive(Debug)]
pub struct Forwarding<'a> {
    /// Zones and the addresses of their nameservers.
    pub zones: &'a [(&'a str, &'a [String])],
    /// Over what.
    pub transport: Transport,
    /// The file of a key that is trusted.
    pub anchor: Option<&'a Path>,
}

impl Forwarding<'_> {
    /// Starts a forwarder that listens on the loopback interface.
    pub fn start(&self, namespace: &Namespace, folder: &Path) -> Result<Unbound> {
        fs::create_dir_all(folder)?;
        let is_tcp = match self.transport {
            Transport::Udp => "no",
            Transport::Tcp => "yes",
        };
        let mut config = format!(
            "server:\n  interface: {LOOPBACK}\n  tcp-upstream: {is_tcp}\n  ede: yes\n  \
             module-config: \"validator iterator\"\n"
        );
        if let Some(anchor) = self.anchor {
            writeln!(config, "  trust-anchor-file: {anchor:?}")?;
        }
        for (zone, servers) in self.zones {
            writeln!(config, "forward-zone:\n  name: \"{zone}\"")?;
            for server in *servers {
                writeln!(config, "  forward-addr: {server}")?;
            }
        }
        Unbound::start(namespace, folder, &config)
    }
}

/// What a client of the forwarder hears.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard {
    /// In the words of the page.
    pub says: String,
    /// Whether the forwarder says that it validated it (the AD flag).
    pub is_validated: bool,
}

/// Asks the forwarder for A, with more flags of dig, and waits a few seconds.
pub fn ask(lab: &Lab, name: &str, more: &[&str]) -> Result<Heard> {
    let mut command = Command::new("dig");
    command.args(["+time=4", "+tries=1", "+noall", "+comments", "+answer"]);
    command.args([&format!("@{LOOPBACK}"), name]).args(more);
    let printed = finished(lab, command)?.text(Stream::Out);
    let flags = printed.lines().find(|line| line.starts_with(";; flags:"));
    let has_ad = |flags: &str| flags.split([' ', ';']).any(|flag| flag == "ad");
    Ok(Heard {
        is_validated: flags.is_some_and(has_ad),
        says: dig_says(&printed),
    })
}
