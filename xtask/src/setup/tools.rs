//! The system's programs that the lab, the tests and the measurements start.

use std::path::Path;

use anyhow::Result;

use super::apt;
use crate::process;

/// Program and Debian package.
const TOOLS: [(&str, &str); 9] = [
    ("ip", "iproute2"),
    ("dig", "bind9-dnsutils"),
    ("ethtool", "ethtool"),
    ("tcpdump", "tcpdump"),
    ("dnsperf", "dnsperf"),
    ("dnssec-signzone", "bind9-utils"),
    ("dnstap-read", "bind9-dnsutils"),
    ("fstrm_capture", "fstrm-bin"),
    ("faketime", "faketime"),
];

/// Clients that the tests hold against the filter if they are here: file and Debian package.
const CLIENTS: [(&str, &str); 2] = [
    ("/usr/lib/python3/dist-packages/pycares", "python3-pycares"),
    ("/usr/lib/python3/dist-packages/dns", "python3-dnspython"),
];
/// Where root's programs are, which others may not have in their PATH.
const SYSTEM_PROGRAMS: &str = "/usr/sbin";
/// Where systemd runs, packages start their services.
const SYSTEMD: &str = "/run/systemd/system";

/// Nameservers that the tests ask behind the filter: program and Debian package.
const NAMESERVERS: [(&str, &str); 5] = [
    ("unbound", "unbound"),
    ("named", "bind9"),
    ("kresd", "knot-resolver"),
    ("dnsmasq", "dnsmasq-base"),
    ("pdns_recursor", "pdns-recursor"),
];
/// What nxdp is measured beside, and they.
const DNSDIST: (&str, &str) = ("dnsdist", "dnsdist");

/// Installs the nameservers that a measurement starts; it says itself which are missing.
pub(crate) fn peers() {
    for peer in NAMESERVERS.into_iter().chain([DNSDIST]) {
        nameserver(peer, "nxdp is measured beside it");
    }
}

/// Installs a nameserver if it is missing.
///
/// Its package starts a service on machines that start services: there nothing is installed.
fn nameserver((program, package): (&str, &str), because: &str) {
    let is_here =
        Path::new(SYSTEM_PROGRAMS).join(program).exists() || process::find(program).is_some();
    if is_here {
        return;
    }
    if Path::new(SYSTEMD).exists() {
        eprintln!(
            "setup: {program} is not here and is not installed, because {package} would start a nameserver; tests do without it"
        );
    } else if let Err(error) = apt::install(&[package], because) {
        eprintln!("setup: without {program}: {error:#}");
    }
}

/// Installs what counts instructions.
pub(crate) fn valgrind() -> Result<()> {
    match process::find("valgrind") {
        Some(_) => Ok(()),
        None => apt::install(
            &["valgrind"],
            "it counts the instructions of the packet core",
        ),
    }
}

/// Installs what is missing.
pub(crate) fn ensure() -> Result<()> {
    let missing: Vec<_> = TOOLS
        .into_iter()
        .filter(|(program, _)| process::find(program).is_none())
        .collect();
    if missing.is_empty() {
        clients();
        return Ok(());
    }
    let programs: Vec<_> = missing.iter().map(|(program, _)| *program).collect();
    let packages: Vec<_> = missing.iter().map(|(_, package)| *package).collect();
    apt::install(
        &packages,
        &format!("the lab and the tests start {}", programs.join(", ")),
    )?;
    clients();
    Ok(())
}

/// Installs the clients that do no harm; a test whose client is missing says that it is skipped.
fn clients() {
    for wanted in NAMESERVERS {
        nameserver(wanted, "tests ask it behind the filter");
    }
    let missing = CLIENTS
        .into_iter()
        .filter(|(file, _)| !Path::new(file).exists());
    for (_, package) in missing {
        if let Err(error) = apt::install(&[package], "tests ask the filter with it") {
            eprintln!("setup: without {package}, tests with it are skipped: {error:#}");
        }
    }
}

/// The programs, for people.
pub(crate) fn names() -> String {
    TOOLS.map(|(program, _)| program).join(" ")
}
