//! Finds a compiler for `bpfel-unknown-none` that has the sources of its own `core`.
//!
//! The target has no prebuilt `core`, so cargo builds it (`-Zbuild-std`) from the sources of the very
//! same compiler version. What is installed is preferred to what could be installed.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow, bail};

use super::apt;
use crate::process;

/// The BPF target, little endian like every machine nxdp runs on so far.
pub(crate) const TARGET: &str = "bpfel-unknown-none";

/// The LLVM that bpf-linker 0.10 is made for; a compiler of another major writes bitcode it may not read.
pub(crate) const LLVM_MAJOR: u32 = 22;

/// A nightly of that LLVM, for machines whose own toolchains are of another.
const DATED_NIGHTLY: &str = "nightly-2026-05-20";

/// The oldest release the workspace compiles with (`rust-version`).
const OLDEST_MINOR: u32 = 95;

/// Debian's compiler that follows the browsers' needs, and its sources.
const DEBIAN_PACKAGES: [&str; 2] = ["rustc-web", "rust-web-src"];

const COMPONENT_LIMIT: Duration = Duration::from_secs(120);
const TOOLCHAIN_LIMIT: Duration = Duration::from_secs(600);

/// A compiler that can build the kernel side, and the cargo that drives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Compiler {
    /// Where it comes from, for people.
    pub(crate) origin: String,
    pub(crate) rustc: PathBuf,
    pub(crate) cargo: PathBuf,
    pub(crate) release: String,
    pub(crate) sysroot: PathBuf,
    /// A file of its sources, to notice when they go or change.
    pub(crate) core_source: PathBuf,
    /// Whether LLVM may use loads wider than the alignment: smaller and faster programs.
    pub(crate) misaligned_access: bool,
}

/// Finds a compiler, installing one when none will do.
pub(crate) fn ensure() -> Result<Compiler> {
    let mut rejected = Vec::new();
    if let Some(compiler) = installed(&mut rejected) {
        return Ok(compiler);
    }
    let because = format!("no compiler here can build for {TARGET}");
    eprintln!("setup: {because}:{}", listed(&rejected));
    let ways = [
        install_with_rustup,
        install_with_apt,
        install_with_refreshed_apt,
    ];
    for install in ways {
        match install(&because) {
            Ok(()) => {
                rejected.clear();
                if let Some(compiler) = installed(&mut rejected) {
                    return Ok(compiler);
                }
            }
            Err(error) => eprintln!("setup: {error:#}"),
        }
    }
    bail!(
        "{because} and none could be installed (the reasons are above). Looked at:{}\n\
         A way out: rustup toolchain install {DATED_NIGHTLY} --profile minimal --component rust-src",
        listed(&rejected)
    );
}

fn listed(reasons: &[String]) -> String {
    reasons
        .iter()
        .map(|reason| format!("\n  - {reason}"))
        .collect()
}

/// The first of the installed compilers that will do; the others' reasons go to `rejected`.
fn installed(rejected: &mut Vec<String>) -> Option<Compiler> {
    let mut seen: Vec<PathBuf> = Vec::new();
    for (origin, rustc, cargo) in candidates() {
        let same = rustc.canonicalize().unwrap_or_else(|_| rustc.clone());
        if seen.contains(&same) {
            continue;
        }
        seen.push(same);
        match examine(&origin, &rustc, &cargo) {
            Ok(compiler) => return Some(compiler),
            Err(error) => rejected.push(format!("{origin} ({}): {error:#}", rustc.display())),
        }
    }
    None
}

/// What to look at: origin, rustc and the cargo to drive it.
fn candidates() -> Vec<(String, PathBuf, PathBuf)> {
    let mut found = Vec::new();
    for toolchain in ["nightly", DATED_NIGHTLY] {
        if let Some(rustc) = rustup_binary(toolchain) {
            let cargo = rustc.with_file_name("cargo");
            found.push((format!("rustup {toolchain}"), rustc, cargo));
        }
    }
    let cargo = process::cargo_binary();
    let active = cargo.with_file_name("rustc");
    if process::is_executable(&active) {
        found.push(("the active toolchain".into(), active, cargo.clone()));
    }
    let system = PathBuf::from("/usr/bin/rustc");
    if process::is_executable(&system) {
        found.push(("the system".into(), system, cargo));
    }
    found
}

fn rustup_binary(toolchain: &str) -> Option<PathBuf> {
    process::find("rustup")?;
    let mut command = process::hermetic("rustup");
    // ClientFacts must not download.
    command.env("RUSTUP_AUTO_INSTALL", "0");
    let path = process::output(command.args(["which", "--toolchain", toolchain, "rustc"])).ok()?;
    Some(PathBuf::from(path.trim()))
}

/// Checks that a compiler will do.
///
/// Errors: why it will not.
fn examine(origin: &str, rustc: &Path, cargo: &Path) -> Result<Compiler> {
    let version = process::output(rustc_command(rustc).arg("-vV"))?;
    let release = field(&version, "release:")?;
    check_release(release)?;
    check_llvm(field(&version, "LLVM version:")?)?;
    let sysroot = process::output(rustc_command(rustc).args(["--print", "sysroot"]))?;
    let sysroot = PathBuf::from(sysroot.trim());
    let core_source = core_source(&sysroot, release)?;
    let features = process::output(rustc_command(rustc).args([
        "--print",
        "target-features",
        "--target",
        TARGET,
    ]))
    .context("it does not know the BPF target")?;
    Ok(Compiler {
        origin: origin.into(),
        rustc: rustc.into(),
        cargo: cargo.into(),
        release: release.into(),
        sysroot,
        core_source,
        misaligned_access: features.contains("allows-misaligned-mem-access"),
    })
}

fn rustc_command(rustc: &Path) -> Command {
    let mut command = process::hermetic(rustc);
    command.env("RUSTC_BOOTSTRAP", "1");
    command
}

fn field<'a>(version: &'a str, name: &str) -> Result<&'a str> {
    version
        .lines()
        .find_map(|line| line.strip_prefix(name))
        .map(str::trim)
        .ok_or_else(|| anyhow!("`rustc -vV` does not tell its {name}"))
}

fn check_release(release: &str) -> Result<()> {
    let mut numbers = release.split(['.', '-']).map(str::parse::<u32>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(1)), Some(Ok(minor))) if minor >= OLDEST_MINOR => Ok(()),
        _ => bail!("it is {release}, older than 1.{OLDEST_MINOR}"),
    }
}

fn check_llvm(version: &str) -> Result<()> {
    let major = version
        .split('.')
        .next()
        .and_then(|major| major.parse().ok());
    if major != Some(LLVM_MAJOR) {
        bail!("its LLVM is {version}, bpf-linker 0.10 wants LLVM {LLVM_MAJOR}");
    }
    Ok(())
}

/// Finds the source of `core` and checks, where its path tells a version, that it is the compiler's.
fn core_source(sysroot: &Path, release: &str) -> Result<PathBuf> {
    let file = sysroot.join("lib/rustlib/src/rust/library/core/src/lib.rs");
    let Ok(real) = file.canonicalize() else {
        bail!("it is {release} without rust-src");
    };
    if let Some(sources) = sources_version(&real)
        && sources != release
    {
        bail!(
            "it is {release}, but the sources beside it are of {sources}: install both of one version"
        );
    }
    Ok(file)
}

/// Distributions unpack the sources into a folder `rustc-1.96.0`.
fn sources_version(path: &Path) -> Option<&str> {
    path.iter()
        .filter_map(|part| part.to_str()?.strip_prefix("rustc-"))
        .find(|version| version.starts_with(|first: char| first.is_ascii_digit()))
}

fn install_with_rustup(because: &str) -> Result<()> {
    if process::find("rustup").is_none() {
        bail!("rustup is not here, so it cannot add rust-src");
    }
    if env::var("RUSTUP_AUTO_INSTALL").is_ok_and(|value| value == "0") {
        bail!("RUSTUP_AUTO_INSTALL=0: not asking rustup to fetch anything");
    }
    let toolchain = rustup_toolchain_to_complete();
    if let Some(toolchain) = toolchain {
        eprintln!("setup: adding rust-src to rustup's {toolchain}: {because}");
        let mut command = rustup_that_gives_up();
        command.args(["component", "add", "rust-src", "--toolchain", &toolchain]);
        return process::run_within(&mut command, COMPONENT_LIMIT);
    }
    eprintln!("setup: installing rustup's {DATED_NIGHTLY} with rust-src: {because}");
    let mut command = rustup_that_gives_up();
    command.args([
        "toolchain",
        "install",
        DATED_NIGHTLY,
        "--profile",
        "minimal",
    ]);
    process::run_within(command.args(["--component", "rust-src"]), TOOLCHAIN_LIMIT)
}

/// A toolchain that lacks nothing but its sources: a small download instead of a large one.
fn rustup_toolchain_to_complete() -> Option<String> {
    let active = env::var("RUSTUP_TOOLCHAIN").ok();
    ["nightly".to_string()]
        .into_iter()
        .chain(active)
        .find(|toolchain| {
            rustup_binary(toolchain).is_some_and(|rustc| {
                let version = process::output(rustc_command(&rustc).arg("-vV")).unwrap_or_default();
                let fits =
                    |name, check: fn(&str) -> Result<()>| field(&version, name).and_then(check);
                fits("release:", check_release).is_ok() && fits("LLVM version:", check_llvm).is_ok()
            })
        })
}

/// Without a network this ends at once instead of trying again and again.
fn rustup_that_gives_up() -> Command {
    let mut command = process::hermetic("rustup");
    command
        .env("RUSTUP_MAX_RETRIES", "0")
        .env("RUST_BACKTRACE", "0");
    command
}

fn install_with_apt(because: &str) -> Result<()> {
    if !apt::is_here() {
        bail!(
            "apt is not here, so Debian's {} cannot be had",
            DEBIAN_PACKAGES.join(" and ")
        );
    }
    apt::install(&DEBIAN_PACKAGES, because)
}

/// What old package lists name may be there and yet be too old.
fn install_with_refreshed_apt(because: &str) -> Result<()> {
    if apt::is_here() {
        apt::refresh()?;
    }
    install_with_apt(because)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_older_than_the_workspace_wants_is_refused_by_name() {
        assert!(check_release("1.97.0-nightly").is_ok());
        assert!(check_release("1.95.0").is_ok());
        let error = check_release("1.85.0").unwrap_err().to_string();
        assert_eq!(error, "it is 1.85.0, older than 1.95");
        assert!(check_release("2.0").is_err());
    }

    #[test]
    fn an_llvm_of_another_major_is_refused_by_number() {
        assert!(check_llvm("22.1.8").is_ok());
        let error = check_llvm("23.0.0").unwrap_err().to_string();
        assert!(
            error.contains("LLVM is 23.0.0") && error.contains("wants LLVM 22"),
            "{error}"
        );
    }

    #[test]
    fn a_distributions_source_folder_tells_its_version() {
        let path = Path::new("/usr/src/rustc-1.96.0/library/core/src/lib.rs");
        assert_eq!(sources_version(path), Some("1.96.0"));
        let path = Path::new("/home/me/.rustup/toolchains/nightly/lib/rustlib/src/rust/library");
        assert_eq!(sources_version(path), None);
    }

    #[test]
    fn sources_of_another_version_are_refused() {
        let sysroot = env::temp_dir().join(format!("nxdp-sysroot-{}", std::process::id()));
        let real = sysroot.join("rustc-1.85.0/library/core/src");
        std::fs::create_dir_all(&real).unwrap();
        std::fs::write(real.join("lib.rs"), "").unwrap();
        let rustlib = sysroot.join("lib/rustlib/src");
        std::fs::create_dir_all(&rustlib).unwrap();
        std::os::unix::fs::symlink(sysroot.join("rustc-1.85.0"), rustlib.join("rust")).unwrap();
        let outcome = (
            core_source(&sysroot, "1.85.0"),
            core_source(&sysroot, "1.96.0"),
        );
        std::fs::remove_dir_all(&sysroot).unwrap();
        assert!(outcome.0.is_ok());
        assert!(
            outcome
                .1
                .unwrap_err()
                .to_string()
                .contains("sources beside it are of 1.85.0")
        );
    }
}
