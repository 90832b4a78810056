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
const CLIENTS: [(&str, &str); 3] = [
    ("/usr/lib/python3/dist-packages/pycares", "python3-pycares"),
    ("/usr/lib/python3/dist-packages/dns", "python3-dnspython"),
    (UNBOUND, "unbound"),
];
/// Its package starts a nameserver on machines that start services.
const UNBOUND: &str = "/usr/sbin/unbound";
/// Where systemd runs, packages start their services.
const SYSTEMD: &str = "/run/systemd/system";

/// What nxdp is measured beside: program and Debian package.
const PEERS: [(&str, &str); 6] = [
    ("dnsdist", "dnsdist"),
    ("unbound", "unbound"),
    ("named", "bind9"),
    ("kresd", "knot-resolver"),
    ("dnsmasq", "dnsmasq-base"),
    ("pdns_recursor", "pdns-recursor"),
];

/// Installs the nameservers that a measurement starts; it says itself which are missing.
///
/// Their packages start services on machines that start services: there nothing is installed.
pub(crate) fn peers() {
    let missing = PEERS
        .into_iter()
        .filter(|(program, _)| process::find(program).is_none());
    for (program, package) in missing {
        if Path::new(SYSTEMD).exists() {
            eprintln!(
                "setup: {program} is not here and is not installed, because {package} would start a nameserver"
            );
        } else if let Err(error) = apt::install(&[package], "nxdp is measured beside it") {
            eprintln!("setup: without {program}: {error:#}");
        }
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
    let starts_services = Path::new(SYSTEMD).exists();
    let missing = CLIENTS
        .into_iter()
        .filter(|(file, _)| !Path::new(file).exists());
    for (file, package) in missing {
        if file == UNBOUND && starts_services {
            eprintln!(
                "setup: {package} is not here and is not installed, because that would start a nameserver; tests with it are skipped"
            );
        } else if let Err(error) = apt::install(&[package], "tests ask the filter with it") {
            eprintln!("setup: without {package}, tests with it are skipped: {error:#}");
        }
    }
}

/// The programs, for people.
pub(crate) fn names() -> String {
    TOOLS.map(|(program, _)| program).join(" ")
}
