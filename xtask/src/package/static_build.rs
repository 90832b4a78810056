//! Builds an `nxdp` that needs no library of the machine it runs on: musl, linked statically.
//!
//! The standard library for musl is the toolchain's own if it has one, or can fetch one; else it is
//! compiled from the sources of the compiler that builds the kernel side.

use std::env;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::process;
use crate::setup::{self, apt, compiler::Compiler};
use crate::workspace::Workspace;

const RUSTUP_LIMIT: Duration = Duration::from_secs(180);

/// The binary, and what was needed to make it.
pub(super) struct StaticBuild {
    /// The finished program.
    pub(super) binary: PathBuf,
    /// The target triple.
    pub(super) triple: String,
    /// The folder that cargo built into.
    pub(super) target: PathBuf,
    /// Where the standard library comes from.
    pub(super) library: Library,
}

/// Where a standard library for musl comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Library {
    /// With the active toolchain.
    Shipped,
    /// It is compiled by this compiler.
    Compiled(Compiler),
}

impl StaticBuild {
    /// Builds with profile `dist`.
    pub(super) fn make(workspace: &Workspace) -> Result<Self> {
        let triple = format!("{}-unknown-linux-musl", env::consts::ARCH);
        let library = Library::find(workspace, &triple)?;
        if process::find("musl-gcc").is_none() {
            apt::install(&["musl-tools"], "a static nxdp is linked with musl")?;
        }
        let target = workspace.target().join("dist-build");
        let built = Self {
            binary: target.join(&triple).join("dist/nxdp"),
            triple,
            target,
            library,
        };
        eprintln!(
            "package: building for {}, its standard library {}",
            built.triple, built.library
        );
        let mut cargo = built.cargo(workspace)?;
        cargo.args(["build", "--profile", "dist", "--package", "filter-user"]);
        cargo.args(["--bin", "nxdp", "--target", &built.triple]);
        if let Library::Compiled(_) = built.library {
            cargo.arg("-Zbuild-std=std,panic_abort");
        }
        process::run(&mut cargo).context("build a static nxdp")?;
        Ok(built)
    }

    /// Cargo, so that it builds and looks where this build is.
    pub(super) fn cargo(&self, workspace: &Workspace) -> Result<Command> {
        let name = self.triple.replace('-', "_");
        let mut flags = Vec::new();
        let mut cargo = match &self.library {
            Library::Shipped => {
                flags.push("-Ctarget-feature=+crt-static".to_string());
                process::hermetic(process::cargo_binary())
            }
            Library::Compiled(compiler) => {
                flags.push("-Clink-self-contained=no".to_string());
                flags.push("-Ctarget-feature=+crt-static".to_string());
                flags.push(format!("-Lnative={}", self.unwinder()?.display()));
                let mut cargo = process::hermetic(&compiler.cargo);
                // A compiler of a stable release builds `std` only when told that it may.
                cargo
                    .env("RUSTC", &compiler.rustc)
                    .env("RUSTC_BOOTSTRAP", "1");
                cargo
            }
        };
        let upper = name.to_uppercase();
        cargo
            .current_dir(workspace.root())
            .env("CARGO_TARGET_DIR", &self.target)
            .env(
                "NXDP_BPF_OBJECT",
                workspace.ebpf_objects().join("nxdp.bpf.o"),
            )
            .env(format!("CC_{name}"), "musl-gcc")
            .env(format!("CARGO_TARGET_{upper}_LINKER"), "musl-gcc")
            .env(format!("CARGO_TARGET_{upper}_RUSTFLAGS"), flags.join(" "));
        Ok(cargo)
    }

    /// A folder with the library that `std` unwinds with, under the name by which it asks for it on musl.
    fn unwinder(&self) -> Result<PathBuf> {
        let mut cc = process::outer("cc");
        let found = process::output(cc.arg("-print-file-name=libgcc_eh.a"))?;
        let found = PathBuf::from(found.trim());
        if !found.is_absolute() {
            bail!("find libgcc_eh.a: the C compiler has none; install gcc");
        }
        let folder = self.target.join("lib");
        fs::create_dir_all(&folder).context("make a folder for the unwinder")?;
        let link = folder.join("libunwind.a");
        if fs::read_link(&link).is_ok_and(|known| known == found) {
            return Ok(folder);
        }
        drop(fs::remove_file(&link));
        symlink(&found, &link).context("link the unwinder")?;
        Ok(folder)
    }
}

impl Library {
    fn find(workspace: &Workspace, triple: &str) -> Result<Self> {
        if is_shipped(triple) || (add_target(triple) && is_shipped(triple)) {
            return Ok(Self::Shipped);
        }
        let compiler = setup::toolchain(workspace)?.compiler;
        let sources = compiler.core_source.ancestors().nth(3);
        if !sources.is_some_and(|library| library.join("std/src/lib.rs").is_file()) {
            bail!(
                "build a static nxdp: no standard library for {triple}; run: rustup target add {triple}"
            );
        }
        Ok(Self::Compiled(compiler))
    }
}

impl std::fmt::Display for Library {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Shipped => f.write_str("as the toolchain has it"),
            Self::Compiled(compiler) => {
                write!(f, "compiled by {} of {}", compiler.release, compiler.origin)
            }
        }
    }
}

/// Tells whether the active toolchain has the target's standard library.
fn is_shipped(triple: &str) -> bool {
    let rustc = process::cargo_binary().with_file_name("rustc");
    let mut ask = process::hermetic(rustc);
    ask.args(["--print", "target-libdir", "--target", triple]);
    let Ok(folder) = process::output(&mut ask) else {
        return false;
    };
    let entries = Path::new(folder.trim()).read_dir().into_iter().flatten();
    let mut names = entries.flatten().map(|entry| entry.file_name());
    names.any(|name| name.to_string_lossy().starts_with("libstd-"))
}

/// Asks rustup for the target, where there is one that may fetch.
fn add_target(triple: &str) -> bool {
    let may_fetch = env::var("RUSTUP_AUTO_INSTALL").map_or(true, |value| value != "0");
    if process::find("rustup").is_none() || !may_fetch {
        return false;
    }
    eprintln!("package: adding rustup's {triple}");
    let mut rustup = process::hermetic("rustup");
    rustup.env("RUSTUP_MAX_RETRIES", "0");
    let added = process::run_within(rustup.args(["target", "add", triple]), RUSTUP_LIMIT);
    if let Err(error) = &added {
        eprintln!("package: {error:#}");
    }
    added.is_ok()
}
