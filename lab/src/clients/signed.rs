//! A signed zone with unsigned ones below it, and a server that has them.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Result, ensure};

use super::forwarder::Unbound;
use crate::lab::Lab;

/// The signed zone.
pub const SIGNED: &str = "signed.example";
/// Names in it.
pub const NAMES: [&str; 6] = ["free", "nxdomain", "nodata", "null", "refused", "truncate"];
/// Zones below it that it delegates without a key; each has every name.
pub const UNSIGNED: [&str; 2] = ["whole", "part"];
/// Their server.
pub const SERVER: &str = "10.53.2.55";
/// The address of every name.
pub const ADDRESS: &str = "192.0.2.1";

/// The running server, and what its zone is trusted by.
#[derive(Debug)]
pub struct SignedZone {
    _server: Unbound,
    anchor: PathBuf,
}

impl SignedZone {
    /// Makes the keys, signs the zone and starts the server in the lab's resolver.
    ///
    /// # Errors
    /// Fails when `dnssec-keygen`, `dnssec-signzone` (bind9-utils) or unbound are missing.
    pub fn start(lab: &Lab, folder: &Path) -> Result<Self> {
        let folder = folder.join("signed");
        fs::create_dir(&folder)?;
        lab.resolver().output(
            "ip",
            &[
                "address",
                "add",
                &format!("{SERVER}/24"),
                "dev",
                "resolver0",
            ],
        )?;
        let anchor = sign(&folder)?;
        let mut config = format!("server:\n  interface: {SERVER}\n  module-config: \"iterator\"\n");
        config.push_str("  access-control: 0.0.0.0/0 allow\n");
        let zones = UNSIGNED.map(|label| format!("{label}.{SIGNED}"));
        for zone in zones.iter().map(String::as_str).chain([SIGNED]) {
            let file = folder.join(zone);
            if zone != SIGNED {
                fs::write(&file, zone_text(zone, &format!("* A {ADDRESS}\n")))?;
            }
            config.push_str(&format!(
                "auth-zone:\n  name: \"{zone}\"\n  zonefile: {file:?}\n  for-downstream: yes\n  \
                 for-upstream: no\n"
            ));
        }
        Ok(Self {
            _server: Unbound::start(lab.resolver(), &folder, &config)?,
            anchor,
        })
    }

    /// The file of the key that is trusted.
    pub fn anchor(&self) -> &Path {
        &self.anchor
    }
}

/// Writes the signed zone and hands back the file of its key-signing key.
fn sign(folder: &Path) -> Result<PathBuf> {
    let delegations = UNSIGNED.map(|label| format!("{label} NS ns\n")).concat();
    // No wildcard: a validator would make names of it without asking (RFC 8198).
    let names = NAMES.map(|name| format!("{name} A {ADDRESS}\nunchecked.{name} A {ADDRESS}\n"));
    let unsigned = zone_text(SIGNED, &(delegations + &names.concat()));
    fs::write(folder.join("unsigned"), unsigned)?;
    let key = |more: &[&str]| {
        let common = ["-q", "-a", "ECDSAP256SHA256"];
        run(
            folder,
            "dnssec-keygen",
            &[&common, more, &[SIGNED]].concat(),
        )
    };
    key(&[])?;
    let name = key(&["-f", "KSK"])?;
    let arguments = ["-S", "-o", SIGNED, "-f", SIGNED, "unsigned"];
    run(folder, "dnssec-signzone", &arguments)?;
    Ok(folder.join(format!("{}.key", name.trim())))
}

fn zone_text(zone: &str, more: &str) -> String {
    format!(
        "$ORIGIN {zone}.\n$TTL 60\n@ SOA ns hostmaster 1 3600 600 86400 60\n@ NS ns\n\
         ns A {SERVER}\n{more}"
    )
}

fn run(folder: &Path, program: &str, arguments: &[&str]) -> Result<String> {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::null())
        .output()?;
    let trouble = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{program}: {trouble}");
    Ok(String::from_utf8(output.stdout)?)
}
