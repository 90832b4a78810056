//! The clients: programs and libraries that people use, each started for one look-up.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result};

use crate::{
    lab::Lab,
    process::{Process, Stream},
    query::Transport,
};

/// Longer than any client waits for any server, several times over.
const PATIENCE: Duration = Duration::from_secs(60);
/// The interpreter that the distribution's packages are for.
const PYTHON: &str = "/usr/bin/python3";

/// A client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Client {
    /// `dig`, asking for A.
    Dig,
    /// `getaddrinfo` of the C library.
    Glibc,
    /// `ares_getaddrinfo`, through pycares.
    Cares,
    /// `dns.resolver`, asking for A, then for AAAA.
    Dnspython,
}

impl Client {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Dig => "dig",
            Self::Glibc => "glibc",
            Self::Cares => "c-ares",
            Self::Dnspython => "dnspython",
        }
    }

    /// Its version, without what a distribution appends.
    ///
    /// # Errors
    /// Fails when it is not installed, and names the package.
    pub fn version(self) -> Result<String> {
        let printed = match self {
            Self::Dig => printed("dig", &["-v"]),
            Self::Glibc => printed("getconf", &["GNU_LIBC_VERSION"]),
            Self::Cares => printed(
                PYTHON,
                &["-c", "import pycares; print(pycares.ARES_VERSION)"],
            ),
            Self::Dnspython => {
                printed(PYTHON, &["-c", "import dns.version as v; print(v.version)"])
            }
        };
        let package = match self {
            Self::Dig => "bind9-dnsutils",
            Self::Glibc => "libc-bin",
            Self::Cares => "python3-pycares",
            Self::Dnspython => "python3-dnspython",
        };
        let printed = printed.with_context(|| format!("install {package}"))?;
        let version = printed.split([' ', '-']).find(|word| word.contains('.'));
        Ok(version.context("it tells no version")?.trim().to_owned())
    }

    /// Asks for each name in its turn and hands back what it says to each, a line a name.
    ///
    /// # Errors
    /// Fails when it cannot be started or does not end.
    pub fn ask(self, lab: &Lab, setup: &Setup<'_>, names: &[&str]) -> Result<Vec<String>> {
        let mut command = setup.command()?;
        let transport = match setup.transport {
            Transport::Udp => "udp",
            Transport::Tcp => "tcp",
        };
        match self {
            Self::Dig => {
                command.args([
                    "dig",
                    "+time=1",
                    "+tries=2",
                    "+noall",
                    "+comments",
                    "+answer",
                ]);
                if setup.transport == Transport::Tcp {
                    command.arg("+tcp");
                }
            }
            Self::Glibc => {
                command.args([PYTHON, "-c", include_str!("glibc.py")]);
            }
            Self::Cares => {
                let script = include_str!("cares.py");
                let servers = setup.servers.join(",");
                command.args([PYTHON, "-c", script, transport, &servers]);
            }
            Self::Dnspython => {
                command.args([PYTHON, "-c", include_str!("dnspython.py"), transport]);
            }
        }
        command.args(names);
        let process = finished(lab, command)?;
        let out = process.text(Stream::Out);
        Ok(match self {
            Self::Dig => vec![dig_says(&out)],
            _ if process.text(Stream::Err).is_empty() => out.lines().map(str::to_owned).collect(),
            _ => vec![process.text(Stream::Err)],
        })
    }
}

/// How a client is to ask.
#[derive(Debug)]
pub struct Setup<'a> {
    /// Where its configuration is written.
    pub folder: &'a Path,
    /// Its nameservers, the first one first.
    pub servers: [String; 2],
    /// Over what.
    pub transport: Transport,
}

impl Setup<'_> {
    /// A command that sees an `/etc/resolv.conf` and an `/etc/nsswitch.conf` of its own.
    fn command(&self) -> Result<Command> {
        let [first, second] = &self.servers;
        let over = match self.transport {
            Transport::Udp => "",
            Transport::Tcp => " use-vc",
        };
        let resolv = self.folder.join("resolv.conf");
        let text = format!(
            "nameserver {first}\nnameserver {second}\noptions timeout:1 attempts:2{over}\n"
        );
        fs::write(&resolv, text)?;
        let nsswitch = self.folder.join("nsswitch.conf");
        fs::write(&nsswitch, "hosts: dns\n")?;
        let mut command = Command::new("unshare");
        let script = "mount --bind \"$1\" /etc/resolv.conf && mount --bind \"$2\" /etc/nsswitch.conf \
                      && shift 2 && exec \"$@\"";
        command.args(["--mount", "--", "sh", "-ec", script, "sh"]);
        command.arg(resolv).arg(nsswitch);
        Ok(command)
    }
}

/// Runs a command of the lab's client to its end, however it ends.
pub(super) fn finished(lab: &Lab, command: Command) -> Result<Process> {
    let mut process = lab.client().spawn(command)?;
    process
        .wait(PATIENCE)?
        .with_context(|| format!("a client still waits after {PATIENCE:?}"))?;
    Ok(process)
}

fn printed(program: &str, arguments: &[&str]) -> Result<String> {
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()?;
    anyhow::ensure!(output.status.success(), "{program}: {}", output.status);
    // dig tells its version on standard error.
    let text = [output.stdout, output.stderr].concat();
    Ok(String::from_utf8(text)?)
}

/// The status and the extended error, or the addresses, or what dig complains about.
pub(super) fn dig_says(printed: &str) -> String {
    let field = |before: &str| {
        let (_, rest) = printed.split_once(before)?;
        rest.lines().next()
    };
    let addresses: Vec<&str> = printed
        .lines()
        .filter(|line| !line.starts_with(';'))
        .filter_map(|line| line.split_whitespace().last())
        .collect();
    match field("status: ").and_then(|rest| rest.split(',').next()) {
        Some("NOERROR") if !addresses.is_empty() => addresses.join(" "),
        Some(status) => match field("; EDE: ").and_then(|rest| rest.split(':').next()) {
            Some(error) => format!("{status}, EDE {error}"),
            None => status.to_owned(),
        },
        None if printed.contains("no servers could be reached") => "no server reached".into(),
        None => printed.trim().to_owned(),
    }
}
