//! A fresh, minimal Debian in a folder, made by debootstrap and gone when its value goes.
//!
//! Nothing is mounted that this machine would see: debootstrap and the containers have mounts of their own.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use crate::{privilege, process, setup::apt, workspace::Workspace};

/// What makes and starts it: program and Debian package.
const TOOLS: [(&str, &str); 2] = [
    ("debootstrap", "debootstrap"),
    ("systemd-nspawn", "systemd-container"),
];

/// The folder that holds the system.
pub(super) struct Root {
    folder: PathBuf,
}

impl Root {
    /// Fetches a system of the release that this machine runs, from the archive that its apt uses.
    pub(super) fn bootstrap(workspace: &Workspace) -> Result<Self> {
        if !privilege::is_root() {
            bail!("root is needed to install a system into a folder; run this as root");
        }
        let missing = TOOLS
            .iter()
            .filter(|(tool, _)| process::find(tool).is_none());
        let missing: Vec<&str> = missing.map(|(_, package)| *package).collect();
        if !missing.is_empty() {
            apt::install(&missing, "packages are tried out in a fresh system")?;
        }
        let folder = workspace.target().join("verify-root");
        if folder.exists() {
            fs::remove_dir_all(&folder).context("clear what an interrupted run left")?;
        }
        let root = Self { folder };
        let (release, archive) = archive()?;
        eprintln!("verify: fetching a minimal {release} (a minute or two)");
        // In a mount namespace of its own: what it mounts goes with it, however it ends.
        let mut debootstrap = process::outer("unshare");
        debootstrap
            .args(["--mount", "debootstrap", "--variant=minbase"])
            .arg(&release)
            .arg(&root.folder)
            .arg(archive);
        process::output(&mut debootstrap).context("fetch a minimal system")?;
        Ok(root)
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Adds packages of the same archive; they need the network of this machine.
    pub(super) fn add(&self, packages: &[&str]) -> Result<()> {
        eprintln!("verify: adding {}", packages.join(", "));
        let options = ["install", "-qq", "-y", "--no-install-recommends"];
        let mut apt = self.command(true);
        apt.args(["env", "DEBIAN_FRONTEND=noninteractive", "apt-get"]);
        process::output(apt.args(options).args(packages)).context("add packages")?;
        Ok(())
    }

    /// A command that runs in the system, with devices, processes and mounts of its own.
    pub(super) fn command(&self, with_network: bool) -> Command {
        let mut nspawn = self.container();
        if with_network {
            nspawn.arg("--resolv-conf=copy-host");
        } else {
            nspawn.arg("--private-network");
        }
        nspawn.arg("--pipe");
        nspawn
    }

    /// The container itself; what follows says what runs in it.
    pub(super) fn container(&self) -> Command {
        let mut nspawn = process::outer("systemd-nspawn");
        nspawn
            .args(["--quiet", "--register=no", "--keep-unit"])
            .arg(format!("--machine={}", machine()))
            .arg("--directory")
            .arg(&self.folder);
        nspawn
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.folder) {
            eprintln!("verify: remove {}: {error}", self.folder.display());
        }
        // Only the container manager's own folder, and only if it is empty.
        let left = Path::new("/run/systemd/nspawn/propagate").join(machine());
        drop(fs::remove_dir(left));
    }
}

fn machine() -> String {
    format!("nxdp-verify-{}", std::process::id())
}

/// The release of this machine, and where its apt fetches it from.
fn archive() -> Result<(String, String)> {
    let text = fs::read_to_string("/etc/os-release").context("read /etc/os-release")?;
    let release = text
        .lines()
        .find_map(|line| line.strip_prefix("VERSION_CODENAME="))
        .context("find this machine's release: /etc/os-release names none")?
        .trim_matches('"');
    let mut ask = process::outer("apt-get");
    ask.args(["indextargets", "--format", "$(SITE)"]);
    ask.arg("Created-By: Packages");
    ask.arg(format!("Codename: {release}"));
    let told = process::output(&mut ask)?;
    let Some(site) = told.lines().next() else {
        bail!("find an archive of {release}: apt has no package lists; run `apt-get update`");
    };
    Ok((release.to_string(), site.to_string()))
}
