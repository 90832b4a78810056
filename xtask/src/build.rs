//! Builds the kernel side, then userspace.
//!
//! The eBPF crate has its own target folder, compiler and flags; nothing of the caller's toolchain
//! reaches it. Its programs end as `ebpf/<bin>.bpf.o` in the target folder, where the build script of
//! filter-kernel finds them.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::{Context as _, Result, bail};
use clap::Args;

use crate::{
    process,
    setup::{self, Toolchain},
    workspace::Workspace,
};

/// A binary of the workspace: its package and its name.
pub(crate) type Binary = (&'static str, &'static str);

/// What users run.
pub(crate) const NXDP: Binary = ("filter-user", "nxdp");
/// The lab's parts as commands.
pub(crate) const LAB: Binary = ("nxdp-lab", "nxdp-lab");
/// What asks the kernel.
pub(crate) const PROBE: Binary = ("nxdp-lab", "nxdp-probe");
/// What measures.
pub(crate) const BENCH: Binary = ("nxdp-bench", "nxdp-bench");

/// How userspace is compiled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Profile {
    /// As users get it.
    Release,
    /// As tests do: quick to build.
    Dev,
}

impl Profile {
    /// The one of the binary that is here; where there is none, the one that is built sooner.
    pub(crate) fn at_hand(workspace: &Workspace, (_, name): Binary) -> Self {
        if Self::Release.binary(workspace, name).is_file() {
            Self::Release
        } else {
            Self::Dev
        }
    }

    /// Where a binary lies that was built like this.
    pub(crate) fn binary(self, workspace: &Workspace, name: &str) -> PathBuf {
        let folder = match self {
            Self::Release => "release",
            Self::Dev => "debug",
        };
        workspace.target().join(folder).join(name)
    }
}

/// What to build.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct BuildArgs {
    /// Build userspace without optimisation (the kernel side is always optimised)
    #[arg(long)]
    debug: bool,
    /// Features of the kernel side, for example `log`: one line a packet, for debugging only
    #[arg(long, value_delimiter = ',', value_name = "FEATURE")]
    features: Vec<String>,
}

/// Builds everything a user runs.
pub(crate) fn all(workspace: &Workspace, args: &BuildArgs) -> Result<()> {
    kernel_side(workspace, &args.features)?;
    let profile = if args.debug {
        Profile::Dev
    } else {
        Profile::Release
    };
    userspace(workspace, profile, &[NXDP])
}

/// Builds the eBPF programs and these binaries, and nothing else.
pub(crate) fn binaries(workspace: &Workspace, profile: Profile, binaries: &[Binary]) -> Result<()> {
    kernel_side(workspace, &[])?;
    userspace(workspace, profile, binaries)
}

/// Builds the eBPF programs.
pub(crate) fn kernel_side(workspace: &Workspace, features: &[String]) -> Result<()> {
    let toolchain = setup::toolchain(workspace)?;
    let built = compile_programs(workspace, &toolchain, features)?;
    if built.is_empty() {
        bail!("build the eBPF programs: filter-ebpf has no program");
    }
    publish(&built, &workspace.ebpf_objects())
}

/// Runs cargo for the BPF target and returns the programs it made or found up to date.
fn compile_programs(
    workspace: &Workspace,
    toolchain: &Toolchain,
    features: &[String],
) -> Result<Vec<PathBuf>> {
    let mut cargo = process::hermetic(&toolchain.compiler.cargo);
    cargo
        .current_dir(workspace.root())
        .env("RUSTC", &toolchain.compiler.rustc)
        // A compiler of a stable release builds `core` only when told that it may.
        .env("RUSTC_BOOTSTRAP", "1")
        .env(
            "CARGO_ENCODED_RUSTFLAGS",
            rust_flags(toolchain).join("\x1f"),
        )
        .args(["build", "--release", "--package", "filter-ebpf", "--bins"])
        .args(["-Zbuild-std=core", "--target", setup::compiler::TARGET])
        .arg("--target-dir")
        .arg(workspace.target().join("ebpf-build"))
        .args(["--message-format", "json-render-diagnostics"]);
    if !features.is_empty() {
        cargo.arg("--features").arg(features.join(","));
    }
    let output = cargo
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("start {}", process::line(&cargo)))?;
    if !output.status.success() {
        bail!(
            "build the eBPF programs: cargo ended with {}",
            output.status
        );
    }
    let messages = String::from_utf8_lossy(&output.stdout);
    Ok(messages.lines().filter_map(executable).collect())
}

fn rust_flags(toolchain: &Toolchain) -> Vec<String> {
    let mut flags = vec![
        format!("-Clinker={}", toolchain.linker.script.display()),
        "-Clink-arg=--btf".into(),
        "-Cdebuginfo=2".into(),
        // v3: 32-bit registers and jumps, in every kernel since 5.1.
        "-Ctarget-cpu=v3".into(),
        // Or each copy of sixteen bytes is a call and a loop over them.
        "-Clink-arg=--disable-expand-memcpy-in-order".into(),
    ];
    if toolchain.compiler.misaligned_access {
        flags.push("-Clink-arg=--cpu-features=+allows-misaligned-mem-access".into());
    }
    flags
}

/// The program that one of cargo's messages tells of.
pub(crate) fn executable(message: &str) -> Option<PathBuf> {
    let (_, rest) = message.split_once(r#""executable":""#)?;
    let (path, _) = rest.split_once('"')?;
    Some(PathBuf::from(path))
}

/// Copies the programs to where userspace finds them, only those that changed, and removes others.
fn publish(programs: &[PathBuf], folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).context("make the folder of the eBPF objects")?;
    let mut names = Vec::new();
    for program in programs {
        let bin = program.file_name().context("name the eBPF program")?;
        let name = format!("{}.bpf.o", bin.to_string_lossy());
        write_if_changed(program, &folder.join(&name))?;
        names.push(name);
    }
    for entry in folder
        .read_dir()
        .context("list the eBPF objects")?
        .flatten()
    {
        if !names.iter().any(|name| entry.file_name() == name.as_str()) {
            fs::remove_file(entry.path())
                .context("remove an eBPF object that is no longer built")?;
        }
    }
    Ok(())
}

/// An untouched file spares its dependants a rebuild.
fn write_if_changed(from: &Path, to: &Path) -> Result<()> {
    let new = fs::read(from).with_context(|| format!("read {}", from.display()))?;
    if fs::read(to).is_ok_and(|old| old == new) {
        return Ok(());
    }
    let unfinished = to.with_extension("new");
    fs::write(&unfinished, &new).with_context(|| format!("write {}", unfinished.display()))?;
    fs::rename(&unfinished, to).with_context(|| format!("write {}", to.display()))?;
    eprintln!("build: {} is new, {} bytes", to.display(), new.len());
    Ok(())
}

/// One call of cargo for all of them: their libraries are compiled once.
fn userspace(workspace: &Workspace, profile: Profile, binaries: &[Binary]) -> Result<()> {
    let mut cargo = cargo(workspace);
    cargo.arg("build");
    for (package, binary) in binaries {
        cargo.args(["--package", package, "--bin", binary]);
    }
    if profile == Profile::Release {
        cargo.arg("--release");
    }
    process::run(&mut cargo)
}

/// The outer cargo on this workspace and its target folder.
pub(crate) fn cargo(workspace: &Workspace) -> std::process::Command {
    let mut cargo = process::outer(process::cargo_binary());
    cargo
        .current_dir(workspace.root())
        .env("CARGO_TARGET_DIR", workspace.target());
    // What helps the next build of the same folder costs this one.
    let is_ci = std::env::var_os("CI").is_some_and(|value| !value.is_empty());
    if is_ci && std::env::var_os("CARGO_INCREMENTAL").is_none() {
        cargo.env("CARGO_INCREMENTAL", "0");
    }
    cargo
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cargos_messages_tell_the_programs_and_nothing_else() {
        let program = r#"{"reason":"compiler-artifact","filenames":["/t/nxdp"],"executable":"/t/nxdp","fresh":true}"#;
        assert_eq!(executable(program), Some(PathBuf::from("/t/nxdp")));
        let library =
            r#"{"reason":"compiler-artifact","filenames":["/t/lib.rlib"],"executable":null}"#;
        assert_eq!(executable(library), None);
        assert_eq!(
            executable(r#"{"reason":"build-finished","success":true}"#),
            None
        );
    }

    #[test]
    fn an_unchanged_program_is_not_written_again_and_a_stale_one_goes() {
        let folder = std::env::temp_dir().join(format!("nxdp-publish-{}", std::process::id()));
        let objects = folder.join("ebpf");
        fs::create_dir_all(&objects).unwrap();
        fs::write(folder.join("nxdp"), b"program").unwrap();
        fs::write(objects.join("old.bpf.o"), b"stale").unwrap();
        let programs = [folder.join("nxdp")];
        publish(&programs, &objects).unwrap();
        let first = fs::metadata(objects.join("nxdp.bpf.o"))
            .unwrap()
            .modified()
            .unwrap();
        publish(&programs, &objects).unwrap();
        let second = fs::metadata(objects.join("nxdp.bpf.o"))
            .unwrap()
            .modified()
            .unwrap();
        let stale = objects.join("old.bpf.o").exists();
        fs::remove_dir_all(&folder).unwrap();
        assert_eq!(first, second);
        assert!(!stale);
    }
}
