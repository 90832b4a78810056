//! Builds an `nxdp` that needs no library of the machine it runs on: musl, linked statically.
//!
//! The standard library for musl is the toolchain's own if it has one, or can fetch one; else it is
//! compiled from the sources of the compiler that builds the kernel side.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};

use crate::{
    process,
    setup::{self, apt, compiler::Compiler},
    workspace::Workspace,
};

/// Where distributions put musl.
const MUSL_FOLDERS: [&str; 3] = [
    "/usr/lib/ARCH-linux-musl",
    "/usr/lib/musl/lib",
    "/usr/local/musl/lib",
];
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
        let upper = name.to_uppercase();
        let mut flags = vec!["-Ctarget-feature=+crt-static".to_string()];
        let mut cargo = match &self.library {
            Library::Shipped => process::hermetic(process::cargo_binary()),
            Library::Compiled(compiler) => {
                flags.extend(self.link_by_hand()?);
                let mut cargo = process::hermetic(&compiler.cargo);
                // A compiler of a stable release builds `std` only when told that it may.
                cargo
                    .env("RUSTC", &compiler.rustc)
                    .env("RUSTC_BOOTSTRAP", "1")
                    .env(format!("CARGO_TARGET_{upper}_LINKER"), "cc");
                cargo
            }
        };
        cargo
            .current_dir(workspace.root())
            .env("CARGO_TARGET_DIR", &self.target)
            .env(
                "NXDP_BPF_OBJECT",
                workspace.ebpf_objects().join("nxdp.bpf.o"),
            )
            .env(format!("CC_{name}"), "musl-gcc")
            .env(format!("CARGO_TARGET_{upper}_RUSTFLAGS"), flags.join(" "));
        Ok(cargo)
    }

    /// What links a position-independent program with the machine's musl and without a loader.
    ///
    /// `musl-gcc` knows no such programs: it takes the start files of those with a loader, and names one.
    fn link_by_hand(&self) -> Result<Vec<String>> {
        let folders = MUSL_FOLDERS.map(|folder| folder.replace("ARCH", env::consts::ARCH));
        let Some(musl) = folders
            .iter()
            .map(Path::new)
            .find(|folder| folder.join("rcrt1.o").is_file())
        else {
            bail!("find musl's rcrt1.o: it is in none of {folders:?}");
        };
        let musl = musl.display();
        Ok(vec![
            "-Clink-self-contained=no".into(),
            format!("-Lnative={}", self.unwinder()?.display()),
            format!("-Lnative={musl}"),
            "-Clink-arg=-nostartfiles".into(),
            format!("-Zpre-link-arg={musl}/rcrt1.o"),
            format!("-Zpre-link-arg={musl}/crti.o"),
            format!("-Clink-arg={musl}/crtn.o"),
        ])
    }

    /// A folder with the library that `std` unwinds with, under the name by which it asks for it on musl.
    ///
    /// It is the C compiler's, which was made for another C library, and what it misses in this one.
    fn unwinder(&self) -> Result<PathBuf> {
        let mut cc = process::outer("cc");
        let found = process::output(cc.arg("-print-file-name=libgcc_eh.a"))?;
        let found = found.trim();
        if !Path::new(found).is_absolute() {
            bail!("find libgcc_eh.a: the C compiler has none; install gcc");
        }
        let folder = self.target.join("lib");
        fs::create_dir_all(&folder).context("make a folder for the unwinder")?;
        let source = folder.join("find_object.c");
        fs::write(&source, FIND_OBJECT).context("write what the unwinder misses")?;
        let object = source.with_extension("o");
        let mut cc = process::outer("musl-gcc");
        cc.args(["-O2", "-c", "-o"]).arg(&object).arg(&source);
        process::run(&mut cc).context("compile what the unwinder misses")?;
        // A text in the place of a library is a linker script.
        let script = format!("GROUP ( {found} {} )\n", object.display());
        fs::write(folder.join("libunwind.a"), script).context("name the unwinder")?;
        Ok(folder)
    }
}

const FIND_OBJECT: &str = include_str!("find_object.c");

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
