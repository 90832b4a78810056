//! Makes what users install: a static `nxdp`, a tarball of it with all that goes with it, and a
//! Debian package of the same.
//!
//! Everything is laid out once, as it lies on a machine; both packages are made of that.

mod container;
mod debian;
mod layout;
mod licences;
mod proof;
mod root;
mod static_build;
mod units;
mod verify;

use std::{
    fs,
    path::{Path, PathBuf},
    time::Instant,
};

use anyhow::{Context as _, Result, bail};
use clap::Args;

pub(crate) use self::units::check as check_units;
use self::{static_build::StaticBuild, verify::Judging};
use crate::{build, process, workspace::Workspace};

/// What to make, and whether to try it out.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct PackageArgs {
    /// Then install the Debian package in fresh roots, start it there, remove it and purge it (needs root)
    ///
    /// Fetches minimal systems with debootstrap from the archive that apt uses, and boots one in a container.
    #[arg(long)]
    verify: bool,
    /// Do not build: verify the package that was made last
    #[arg(long, requires = "verify")]
    no_build: bool,
    /// Verify a package with this program, which was built already for this machine, in place of a static one
    ///
    /// The fresh system is of the release that this machine runs: the program finds its libraries there.
    #[arg(
        long,
        value_name = "NXDP",
        requires = "verify",
        conflicts_with = "no_build"
    )]
    binary: Option<PathBuf>,
}

/// What was made.
struct Packages {
    tarball: PathBuf,
    deb: PathBuf,
}

/// Makes the packages in `target/package/`.
pub(crate) fn run(workspace: &Workspace, args: &PackageArgs) -> Result<()> {
    if let Some(binary) = &args.binary {
        let deb = debian::trial(workspace, binary)?;
        return verify::run(workspace, &deb, Judging::Behaviour);
    }
    let packages = if args.no_build {
        Packages::named(workspace)?
    } else {
        make(workspace)?
    };
    if args.verify {
        verify::run(workspace, &packages.deb, Judging::Whole)?;
    }
    Ok(())
}

fn make(workspace: &Workspace) -> Result<Packages> {
    let start = Instant::now();
    let packages = Packages::named(workspace)?;
    build::kernel_side(workspace, &[])?;
    let built = StaticBuild::make(workspace)?;
    proof::is_static(&built.binary)?;
    proof::runs_alone(&built.binary)?;
    units::check(workspace, &built.binary)?;
    let root = layout::lay_out(workspace, &built)?;
    let folder = packages.folder()?;
    if folder.exists() {
        fs::remove_dir_all(folder).context("clear the folder of packages")?;
    }
    fs::create_dir_all(folder).context("make the folder of packages")?;
    tar(workspace, &root, &packages.tarball)?;
    debian::make(workspace, &built, &packages.deb)?;
    for file in [&built.binary, &packages.tarball, &packages.deb] {
        let bytes = fs::metadata(file).context("look at what was made")?.len();
        println!("{:>12} bytes  {}", bytes, file.display());
    }
    println!("package: {:.0} s", start.elapsed().as_secs_f64());
    Ok(packages)
}

impl Packages {
    /// What they are called.
    fn named(workspace: &Workspace) -> Result<Self> {
        let folder = workspace.target().join("package");
        let version = version(workspace)?;
        let arch = std::env::consts::ARCH;
        Ok(Self {
            tarball: folder.join(format!("nxdp-{version}-{arch}-linux.tar.xz")),
            deb: folder.join(format!("nxdp_{version}-1_{}.deb", debian::architecture()?)),
        })
    }

    fn folder(&self) -> Result<&Path> {
        self.tarball.parent().context("name the folder of packages")
    }
}

/// The version in the workspace's manifest.
fn version(workspace: &Workspace) -> Result<String> {
    let text = fs::read_to_string(workspace.root().join("Cargo.toml"))
        .context("read the workspace's manifest")?;
    let manifest: toml::Table = toml::from_str(&text).context("read the workspace's manifest")?;
    let package = manifest
        .get("workspace")
        .and_then(|table| table.get("package"));
    let version = package.and_then(|table| table.get("version")?.as_str());
    Ok(version.context("find the workspace's version")?.to_string())
}

/// When the sources are of, in seconds since 1970: packages of one state are the same to the byte.
fn source_time(workspace: &Workspace) -> Result<u64> {
    if let Ok(given) = std::env::var("SOURCE_DATE_EPOCH") {
        return given.parse().context("read SOURCE_DATE_EPOCH");
    }
    let mut git = process::outer("git");
    git.current_dir(workspace.root())
        .args(["log", "-1", "--format=%ct"]);
    match process::output(&mut git) {
        Ok(seconds) => seconds
            .trim()
            .parse()
            .context("read the time of the commit"),
        // A release's sources need not come with git.
        Err(_) => {
            let manifest = fs::metadata(workspace.root().join("Cargo.toml"))?;
            let age = manifest.modified()?.duration_since(std::time::UNIX_EPOCH)?;
            Ok(age.as_secs())
        }
    }
}

/// Packs the folder under the tarball's own name; owners are root, times those of the sources.
fn tar(workspace: &Workspace, root: &Path, tarball: &Path) -> Result<()> {
    if process::find("xz").is_none() {
        crate::setup::apt::install(&["xz-utils"], "the tarball is packed with xz")?;
    }
    let file = tarball.file_name().context("name the tarball")?;
    let name = file.to_string_lossy();
    let name = name.strip_suffix(".tar.xz").context("name the tarball")?;
    let mut tar = process::outer("tar");
    tar.args(["--sort=name", "--owner=0", "--group=0", "--numeric-owner"])
        .arg(format!("--mtime=@{}", source_time(workspace)?))
        .arg(format!("--transform=s,^[.],{name},"))
        .arg("-cJf")
        .arg(tarball)
        .arg("-C")
        .arg(root)
        .arg(".");
    process::run(&mut tar).context("pack the tarball")?;
    let listed = process::output(process::outer("tar").arg("-tf").arg(tarball))?;
    if !listed.contains(&format!("{name}/usr/bin/nxdp\n")) {
        bail!("pack the tarball: nxdp is not in it");
    }
    Ok(())
}
