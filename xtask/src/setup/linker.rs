//! Finds or installs bpf-linker and makes sure that it works with the chosen compiler.
//!
//! bpf-linker opens an LLVM library when it runs: the first `libLLVM*` in the library path, whatever its
//! version. So it is started through a small script that shows it the compiler's own LLVM and no other,
//! and a trial program is compiled and linked before it is trusted.

use std::{
    env, fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};

use super::compiler::{Compiler, LLVM_MAJOR, TARGET};
use crate::{process, workspace::Workspace};

/// The version that is installed when there is none; any of the same series is used.
const VERSION: &str = "0.10.3";
const SERIES: &str = "bpf-linker 0.10.";

/// A linker that made a program of the compiler's output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Linker {
    /// What rustc is given as linker.
    pub(crate) script: PathBuf,
    /// What the script starts.
    pub(crate) binary: PathBuf,
    pub(crate) version: String,
}

/// Finds a bpf-linker that works with the compiler, installing one when there is none.
pub(crate) fn ensure(workspace: &Workspace, compiler: &Compiler) -> Result<Linker> {
    let bench = Bench::prepare(workspace, compiler)?;
    let mut rejected = Vec::new();
    for binary in candidates(workspace) {
        match bench.try_out(&binary) {
            Ok(linker) => return Ok(linker),
            Err(error) => rejected.push(format!("{}: {error:#}", binary.display())),
        }
    }
    for reason in &rejected {
        eprintln!("setup: not using {reason}");
    }
    let binary = install(workspace, rejected.is_empty())?;
    bench.try_out(&binary).with_context(|| {
        format!(
            "use the bpf-linker just installed; rustc {} has LLVM {LLVM_MAJOR}: a bpf-linker built for it comes from \
             `cargo install bpf-linker --version {VERSION} --locked --no-default-features --features llvm-{LLVM_MAJOR}` \
             with LLVM {LLVM_MAJOR}'s development files",
            compiler.release
        )
    })
}

/// Installs a bpf-linker where there is none at all. That needs no compiler for BPF, and so can be done
/// while one is downloaded; [`ensure`] tries it out.
pub(crate) fn ensure_any(workspace: &Workspace) -> Result<()> {
    if candidates(workspace).is_empty() {
        install(workspace, true)?;
    }
    Ok(())
}

/// Where a bpf-linker may be; cargo's folder counts also when it is not in `PATH`.
fn candidates(workspace: &Workspace) -> Vec<PathBuf> {
    let mut found = vec![private_root(workspace).join("bin/bpf-linker")];
    found.extend(process::find("bpf-linker"));
    found.extend(cargo_bin().map(|folder| folder.join("bpf-linker")));
    found.dedup();
    found.retain(|binary| process::is_executable(binary));
    found
}

fn private_root(workspace: &Workspace) -> PathBuf {
    workspace.toolchain().join("tools")
}

fn cargo_bin() -> Option<PathBuf> {
    if let Some(home) = env::var_os("CARGO_HOME") {
        return Some(PathBuf::from(home).join("bin"));
    }
    env::var_os("HOME").map(|home| PathBuf::from(home).join(".cargo/bin"))
}

/// Installs into cargo's folder, or beside the build when a bpf-linker of the user's own must not be replaced.
fn install(workspace: &Workspace, none_is_here: bool) -> Result<PathBuf> {
    let shared = cargo_bin().filter(|_| none_is_here);
    let (folder, why) = match &shared {
        Some(bin) => (bin.clone(), "rustc needs it to link eBPF programs"),
        None => (
            private_root(workspace).join("bin"),
            "the one that is here does not fit and stays as it is",
        ),
    };
    eprintln!(
        "setup: installing bpf-linker {VERSION} into {} (less than a minute): {why}",
        folder.display()
    );
    let mut cargo = process::hermetic(process::cargo_binary());
    cargo.args([
        "install",
        "bpf-linker",
        "--version",
        VERSION,
        "--locked",
        "--quiet",
    ]);
    // LLVM does its work, which is compiled already; its own profile has full debug information.
    cargo.args(["--config", "profile.release.opt-level=0"]);
    cargo.args(["--config", "profile.release.debug=false"]);
    if shared.is_none() {
        cargo
            .arg("--force")
            .arg("--root")
            .arg(private_root(workspace));
    }
    // The active toolchain compiles it, also where this checkout asks for another.
    cargo.current_dir(workspace.root());
    process::run(&mut cargo)
        .context("install bpf-linker; without a network, put its binary into PATH")?;
    Ok(folder.join("bpf-linker"))
}

/// The folder in which a linker is tried out: the script, the LLVM it may see, a program.
struct Bench<'a> {
    folder: PathBuf,
    compiler: &'a Compiler,
}

impl<'a> Bench<'a> {
    fn prepare(workspace: &Workspace, compiler: &'a Compiler) -> Result<Self> {
        let folder = workspace.toolchain();
        let libraries = folder.join("llvm");
        if libraries.exists() {
            fs::remove_dir_all(&libraries).context("clear the folder of the LLVM library")?;
        }
        fs::create_dir_all(&libraries).context("make the folder of the LLVM library")?;
        if let Some(library) = llvm_library(&compiler.sysroot) {
            let name = library.file_name().context("name the LLVM library")?;
            symlink(&library, libraries.join(name)).context("link the LLVM library")?;
        }
        fs::write(folder.join("trial.rs"), TRIAL).context("write the trial program")?;
        Ok(Self { folder, compiler })
    }

    /// Compiles and links the trial program with this linker.
    fn try_out(&self, binary: &Path) -> Result<Linker> {
        let version = process::output(process::hermetic(binary).arg("--version"))?;
        let version = version.trim().to_string();
        if !version.starts_with(SERIES) {
            bail!("it is {version}, wanted is {SERIES}x");
        }
        let script = self.write_script(binary)?;
        let object = self.folder.join("trial.o");
        let mut rustc = process::hermetic(&self.compiler.rustc);
        rustc
            .env("RUSTC_BOOTSTRAP", "1")
            .args([
                "--edition",
                "2024",
                "--crate-type",
                "bin",
                "--target",
                TARGET,
            ])
            .args([
                "-Copt-level=3",
                "-Cdebuginfo=2",
                "-Cpanic=abort",
                "-Clink-arg=--btf",
            ])
            .arg(format!("-Clinker={}", script.display()))
            .arg("-o")
            .arg(&object)
            .arg(self.folder.join("trial.rs"));
        process::output(&mut rustc).context("link a trial program")?;
        let bytes = fs::read(&object).context("read the trial program")?;
        if !is_bpf_object(&bytes) {
            bail!("what it linked is no BPF object");
        }
        Ok(Linker {
            script,
            binary: binary.into(),
            version,
        })
    }

    /// The script is named like the linker, because rustc tells the kind of a linker by its name.
    fn write_script(&self, binary: &Path) -> Result<PathBuf> {
        let script = self.folder.join("bpf-linker");
        let text = format!(
            "#!/bin/sh\nLD_LIBRARY_PATH='{}' exec '{}' \"$@\"\n",
            self.folder.join("llvm").display(),
            binary.display()
        );
        fs::write(&script, text).context("write the linker script")?;
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755))
            .context("make the linker script executable")?;
        Ok(script)
    }
}

/// The shared LLVM the compiler itself uses: beside it (rustup) or among the system's libraries.
fn llvm_library(sysroot: &Path) -> Option<PathBuf> {
    let libraries = sysroot.join("lib");
    let below = libraries.read_dir().into_iter().flatten().flatten();
    let multiarch = below
        .map(|entry| entry.path())
        .filter(|path| path.to_string_lossy().ends_with("-linux-gnu"));
    let mut folders = vec![libraries.clone(), sysroot.join("lib64")];
    folders.extend(multiarch);
    folders.push(PathBuf::from(format!("/usr/lib/llvm-{LLVM_MAJOR}/lib")));
    folders.iter().find_map(|folder| {
        let wanted = format!("libLLVM.so.{LLVM_MAJOR}");
        let files = folder.read_dir().ok()?.flatten();
        files.map(|file| file.path()).find(|path| {
            path.file_name()
                .is_some_and(|name| name.to_string_lossy().starts_with(&wanted))
        })
    })
}

/// ELF header: magic, and machine 247 (`EM_BPF`) at offset 18.
fn is_bpf_object(bytes: &[u8]) -> bool {
    bytes.starts_with(b"\x7fELF") && bytes.get(18..20) == Some(&[247, 0])
}

/// The smallest program that needs no `core`.
const TRIAL: &str = include_str!("trial.rs");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_of_the_host_is_no_bpf_object() {
        let this_binary = fs::read("/proc/self/exe").unwrap();
        assert!(this_binary.starts_with(b"\x7fELF"));
        assert!(!is_bpf_object(&this_binary));
        let mut header = [0u8; 64];
        header[..4].copy_from_slice(b"\x7fELF");
        header[18] = 247;
        assert!(is_bpf_object(&header));
        assert!(!is_bpf_object(b"\x7fELF"));
    }
}
