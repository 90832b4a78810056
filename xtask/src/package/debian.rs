//! The Debian package, by cargo-deb; what is in it stands in filter-user's manifest.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use super::{layout, source_time, static_build::StaticBuild, version};
use crate::{process, setup, workspace::Workspace};

const OVERRIDES: &str = include_str!("../../../packaging/deb/lintian-overrides");

/// What Debian calls this machine's architecture.
pub(super) fn architecture() -> Result<&'static str> {
    match std::env::consts::ARCH {
        "x86_64" => Ok("amd64"),
        "aarch64" => Ok("arm64"),
        "riscv64" => Ok("riscv64"),
        other => bail!("package: what Debian calls {other} is not known here"),
    }
}

/// Makes the package of what was laid out.
pub(super) fn make(workspace: &Workspace, built: &StaticBuild, deb: &Path) -> Result<()> {
    let folder = layout::folder(built).join("debian");
    let history = folder.join("changelog.Debian");
    layout::write(&history, &changelog(workspace)?)?;
    process::run(process::outer("gzip").arg("-9n").arg(&history)).context("pack the changelog")?;
    layout::write(&folder.join("overrides/nxdp"), OVERRIDES)?;
    let tool = setup::cargo_deb(workspace)?;
    let cargo = built.cargo(workspace)?;
    let mut cargo_deb = Command::new(&tool);
    for (name, value) in cargo.get_envs() {
        match value {
            Some(value) => cargo_deb.env(name, value),
            None => cargo_deb.env_remove(name),
        };
    }
    // It asks cargo about the workspace.
    cargo_deb
        .env("CARGO", cargo.get_program())
        .env("SOURCE_DATE_EPOCH", source_time(workspace)?.to_string())
        .current_dir(workspace.root())
        .args(["--no-build", "--no-strip", "--profile", "dist", "--quiet"])
        .args(["--package", "filter-user", "--target", &built.triple])
        .arg("--output")
        .arg(deb);
    process::run(&mut cargo_deb).context("make the Debian package")
}

/// Makes a package of a program that is linked with libraries, to be tried out and not published.
pub(super) fn trial(workspace: &Workspace, binary: &Path) -> Result<PathBuf> {
    let folder = workspace.target().join("package-trial");
    // What is linked in is not what is published.
    let licences = "nothing is published of this: MIT OR Apache-2.0\n";
    let root = layout::lay_out_in(workspace, &folder, binary, licences)?;
    let control = root.join("DEBIAN");
    let text = format!(
        "Package: nxdp\nVersion: {}-1\nArchitecture: {}\nMaintainer: nobody <nobody@nxdp.invalid>\n\
         Depends: adduser, libc6, libgcc-s1\nDescription: DNS filter, to be tried out\n",
        version(workspace)?,
        architecture()?
    );
    layout::write(&control.join("control"), &text)?;
    let files = "/etc/nxdp/nxdp.toml\n/etc/nxdp/blocked.txt\n";
    layout::write(&control.join("conffiles"), files)?;
    for script in ["postinst", "postrm", "prerm"] {
        let from = workspace.root().join("packaging/deb").join(script);
        layout::put(&from, &control.join(script), 0o755)?;
    }
    let deb = folder.join("nxdp.deb");
    let mut pack = process::outer("dpkg-deb");
    pack.args(["--root-owner-group", "-Znone", "--build"]);
    process::output(pack.arg(&root).arg(&deb)).context("pack a program to be tried out")?;
    Ok(deb)
}

/// Debian's form of saying which version this is; what changed stands in CHANGELOG.md.
fn changelog(workspace: &Workspace) -> Result<String> {
    let mut date = process::outer("date");
    let seconds = format!("@{}", source_time(workspace)?);
    date.env("LC_ALL", "C").args(["-u", "-R", "-d", &seconds]);
    let date = process::output(&mut date)?;
    Ok(format!(
        "nxdp ({}-1) unstable; urgency=medium\n\n  * Packaged from its own sources; see CHANGELOG.md beside this file.\n\n \
         -- nxdp maintainers <maintainers@nxdp.invalid>  {}\n",
        version(workspace)?,
        date.trim()
    ))
}
