//! What systemd says of the unit files, and how much it leaves each of them.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};

use crate::{process, workspace::Workspace};

/// Each unit and the exposure that it may have, in tenths, as `systemd-analyze security` reckons;
/// none for what is no process.
const UNITS: [(&str, Option<u32>); 5] = [
    ("nxdp.service", Some(15)),
    ("nxdp-attach.service", Some(24)),
    ("nxdp-load.service", Some(30)),
    ("nxdp-room.service", Some(30)),
    ("nxdp-room.path", None),
];
/// Where the units say that nxdp is.
const INSTALLED: &str = "/usr/bin/nxdp";

/// Checks unit files and the packaged configuration with a program that was built.
pub(crate) fn check(workspace: &Workspace, nxdp: &Path) -> Result<()> {
    let config = workspace.root().join("packaging/etc/nxdp.toml");
    process::output(
        process::outer(nxdp)
            .args(["check", "--config"])
            .arg(&config),
    )
    .context("check the configuration that is packaged")?;
    if process::find("systemd-analyze").is_none() {
        eprintln!("package: unit files are not judged, because systemd-analyze is not here");
        return Ok(());
    }
    let copies = Copies::new(&workspace.root().join("packaging/systemd"), nxdp)?;
    for (unit, limit) in UNITS {
        let file = copies.0.join(unit);
        let verify = ["verify", "--man=no", "--recursive-errors=yes"];
        analyze(&verify, &file).with_context(|| format!("verify {unit}"))?;
        let Some(limit) = limit else {
            continue;
        };
        let threshold = format!("--threshold={limit}");
        let security = ["security", "--offline=true", "--no-pager", &threshold];
        let told = analyze(&security, &file)
            .with_context(|| format!("{unit} may do more than {}.{}", limit / 10, limit % 10))?;
        eprintln!(
            "package: {}",
            told.trim().lines().last().unwrap_or_default()
        );
    }
    Ok(())
}

/// Runs it on one unit file; whatever it says on standard error is a fault.
fn analyze(arguments: &[&str], unit: &Path) -> Result<String> {
    let mut command = process::outer("systemd-analyze");
    command.args(arguments).arg(unit).env("SYSTEMD_COLORS", "0");
    let output = command
        .output()
        .with_context(|| format!("start {}", process::line(&command)))?;
    let said = String::from_utf8_lossy(&output.stderr);
    let told = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() || !said.trim().is_empty() {
        bail!("{}\n{}", said.trim(), told.trim());
    }
    Ok(told.into_owned())
}

/// Unit files that start the program where it is now: systemd looks whether it is there.
struct Copies(PathBuf);

impl Copies {
    fn new(units: &Path, nxdp: &Path) -> Result<Self> {
        let folder = std::env::temp_dir().join(format!("nxdp-units-{}", std::process::id()));
        fs::create_dir(&folder).context("make a folder for unit files")?;
        let copies = Self(folder);
        for (unit, _) in UNITS {
            let text = fs::read_to_string(units.join(unit))
                .with_context(|| format!("read the unit {unit}"))?;
            let here = text.replace(INSTALLED, &nxdp.to_string_lossy());
            fs::write(copies.0.join(unit), here).with_context(|| format!("copy {unit}"))?;
        }
        Ok(copies)
    }
}

impl Drop for Copies {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_packaged_unit_is_judged() {
        let folder = Workspace::discover()
            .unwrap()
            .root()
            .join("packaging/systemd");
        let mut files: Vec<_> = folder.read_dir().unwrap().flatten().collect();
        files.retain(|file| !UNITS.iter().any(|(unit, _)| file.file_name() == *unit));
        assert!(files.is_empty(), "{files:?}");
    }

    #[test]
    fn a_unit_without_a_sandbox_exceeds_its_limit() {
        if process::find("systemd-analyze").is_none() {
            eprintln!("skipped: systemd-analyze is not here");
            return;
        }
        let folder = std::env::temp_dir().join(format!("nxdp-bare-unit-{}", std::process::id()));
        fs::create_dir(&folder).unwrap();
        let unit = folder.join("bare.service");
        fs::write(&unit, "[Service]\nExecStart=/bin/true\n").unwrap();
        let judged = analyze(&["security", "--offline=true", "--threshold=30"], &unit);
        fs::remove_dir_all(&folder).unwrap();
        assert!(judged.is_err());
    }
}
