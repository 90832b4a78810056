//! What lies where on a machine: one folder that both packages are made of.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use super::{licences, static_build::StaticBuild};
use crate::{build, process, workspace::Workspace};

const DOCUMENTS: &str = "usr/share/doc/nxdp";

/// Files and folders of the repository, and the folder that each goes to.
const SOURCES: [(&str, &str); 13] = [
    ("packaging/etc", "etc/nxdp"),
    ("packaging/systemd", "usr/lib/systemd/system"),
    ("packaging/sysusers.d", "usr/lib/sysusers.d"),
    ("packaging/tmpfiles.d", "usr/lib/tmpfiles.d"),
    // Of the tarball alone: the package installs itself.
    ("packaging/INSTALL.md", ""),
    ("packaging/grafana", "usr/share/doc/nxdp/packaging/grafana"),
    (
        "packaging/prometheus",
        "usr/share/doc/nxdp/packaging/prometheus",
    ),
    ("docs", "usr/share/doc/nxdp/docs"),
    ("README.md", DOCUMENTS),
    ("ARCHITECTURE.md", DOCUMENTS),
    ("CHANGELOG.md", DOCUMENTS),
    ("LICENSE-APACHE", DOCUMENTS),
    ("LICENSE-MIT", DOCUMENTS),
];

/// What was generated: completions, and where shells look for them.
const COMPLETIONS: [(&str, &str); 3] = [
    ("nxdp.bash", "usr/share/bash-completion/completions/nxdp"),
    ("_nxdp", "usr/share/zsh/vendor-completions/_nxdp"),
    ("nxdp.fish", "usr/share/fish/vendor_completions.d/nxdp.fish"),
];

/// The folder of all that is made for packages; cargo-deb finds it beside the binary.
pub(super) fn folder(built: &StaticBuild) -> PathBuf {
    built.binary.with_file_name("package")
}

/// Lays everything out anew and returns the folder that stands for `/`.
pub(super) fn lay_out(workspace: &Workspace, built: &StaticBuild) -> Result<PathBuf> {
    let third_party = licences::third_party(workspace, built)?;
    lay_out_in(workspace, &folder(built), &built.binary, &third_party)
}

/// The same in a folder, of any program.
pub(super) fn lay_out_in(
    workspace: &Workspace,
    folder: &Path,
    binary: &Path,
    third_party: &str,
) -> Result<PathBuf> {
    if folder.exists() {
        fs::remove_dir_all(folder).context("clear the folder that is packed")?;
    }
    let root = folder.join("root");
    let program = root.join("usr/bin/nxdp");
    put(binary, &program, 0o755)?;
    // The names of functions stay in the build's own file, which a backtrace can be held against.
    process::run(process::outer("strip").arg(&program)).context("strip nxdp")?;
    for (from, to) in SOURCES {
        put_all(&workspace.root().join(from), &root.join(to))?;
    }
    let manual = folder.join("manual");
    write_manual(workspace, &manual)?;
    let pages = root.join("usr/share/man/man1");
    put_all(&manual.join("man"), &pages)?;
    process::run(process::outer("gzip").arg("-9nr").arg(&pages)).context("pack the man pages")?;
    for (from, to) in COMPLETIONS {
        put(
            &manual.join("completions").join(from),
            &root.join(to),
            0o644,
        )?;
    }
    write(&root.join(DOCUMENTS).join("THIRD-PARTY.txt"), third_party)?;
    Ok(root)
}

/// Man pages and completions, from the command line's own description.
fn write_manual(workspace: &Workspace, folder: &Path) -> Result<()> {
    let mut cargo = build::cargo(workspace);
    cargo.args([
        "build",
        "--quiet",
        "--profile",
        "test",
        "--example",
        "manual",
    ]);
    // The packages that tests are built with, so that what those built is used.
    cargo.args(["--workspace", "--exclude", "filter-ebpf"]);
    process::run(&mut cargo).context("build what writes man pages")?;
    let program = workspace.target().join("debug/examples/manual");
    process::run(process::outer(program).arg(folder)).context("write man pages and completions")
}

/// Copies a file into a folder, or all that is in a folder into another.
fn put_all(from: &Path, to: &Path) -> Result<()> {
    if from.is_file() {
        let name = from.file_name().context("name a file to pack")?;
        return put(from, &to.join(name), 0o644);
    }
    let entries = from
        .read_dir()
        .with_context(|| format!("list {}", from.display()))?;
    for entry in entries {
        let from = entry?.path();
        if from.is_dir() {
            let name = from.file_name().context("name a folder to pack")?;
            put_all(&from, &to.join(name))?;
        } else {
            put_all(&from, to)?;
        }
    }
    Ok(())
}

/// Copies a file, with a mode of its own.
pub(super) fn put(from: &Path, to: &Path, mode: u32) -> Result<()> {
    make_parent(to)?;
    fs::copy(from, to).with_context(|| format!("copy {} to {}", from.display(), to.display()))?;
    fs::set_permissions(to, fs::Permissions::from_mode(mode))
        .with_context(|| format!("set the mode of {}", to.display()))
}

/// Writes a file that is made here.
pub(super) fn write(file: &Path, text: &str) -> Result<()> {
    make_parent(file)?;
    fs::write(file, text).with_context(|| format!("write {}", file.display()))?;
    fs::set_permissions(file, fs::Permissions::from_mode(0o644))
        .with_context(|| format!("set the mode of {}", file.display()))
}

/// Makes the folders above; their modes are not the caller's umask.
fn make_parent(file: &Path) -> Result<()> {
    let parent = file.parent().context("name the folder of a file to pack")?;
    if parent.is_dir() {
        return Ok(());
    }
    make_parent(parent)?;
    fs::create_dir(parent).with_context(|| format!("make {}", parent.display()))?;
    fs::set_permissions(parent, fs::Permissions::from_mode(0o755))
        .with_context(|| format!("set the mode of {}", parent.display()))
}
