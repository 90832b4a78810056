//! Tells the library where the eBPF object is that `cargo xtask build` made.
//!
//! Sets `NXDP_BPF_OBJECT` to its absolute path, for `include_bytes_aligned!`. The object is found in the
//! target folder of this build, or where the environment variable of the same name says.

use std::env;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

const VARIABLE: &str = "NXDP_BPF_OBJECT";

fn main() -> ExitCode {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed={VARIABLE}");
    let object = named_object().unwrap_or_else(built_object);
    println!("cargo::rerun-if-changed={}", object.display());
    if object.is_file() {
        println!("cargo::rustc-env={VARIABLE}={}", object.display());
        return ExitCode::SUCCESS;
    }
    println!(
        "cargo::error=no eBPF object at {}: run `cargo xtask build`",
        object.display()
    );
    ExitCode::FAILURE
}

/// The object a packager names; a relative path counts from the workspace.
fn named_object() -> Option<PathBuf> {
    let named = PathBuf::from(env::var_os(VARIABLE).filter(|value| !value.is_empty())?);
    let package = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR")?);
    Some(package.parent()?.join(named))
}

/// `OUT_DIR` is `<target>[/<triple>]/<profile>/build/<package>/out`.
fn built_object() -> PathBuf {
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default());
    let object_of = |folder: &Path| folder.join("ebpf/nxdp.bpf.o");
    let mut above = out.ancestors().skip(4).take(2).map(object_of);
    let usual = above.next().unwrap_or_default();
    if usual.is_file() {
        return usual;
    }
    above.find(|object| object.is_file()).unwrap_or(usual)
}
