//! The system's programs that the lab, the tests and the measurements start.

use anyhow::Result;

use super::apt;
use crate::process;

/// Program and Debian package.
const TOOLS: [(&str, &str); 6] = [
    ("ip", "iproute2"),
    ("dig", "bind9-dnsutils"),
    ("ethtool", "ethtool"),
    ("tcpdump", "tcpdump"),
    ("dnsperf", "dnsperf"),
    ("faketime", "faketime"),
];

/// Installs what is missing.
pub(crate) fn ensure() -> Result<()> {
    let missing: Vec<_> = TOOLS
        .into_iter()
        .filter(|(program, _)| process::find(program).is_none())
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let programs: Vec<_> = missing.iter().map(|(program, _)| *program).collect();
    let packages: Vec<_> = missing.iter().map(|(_, package)| *package).collect();
    apt::install(
        &packages,
        &format!("the lab and the tests start {}", programs.join(", ")),
    )
}

/// The programs, for people.
pub(crate) fn names() -> String {
    TOOLS.map(|(program, _)| program).join(" ")
}
