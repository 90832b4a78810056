//! Tells the crate where the eBPF object is that `cargo xtask build` made.
//!
//! Sets `NXDP_BPF_OBJECT` to its absolute path, for `include_bytes_aligned!`. The object is found in the
//! target folder of this build, or where the environment variable of the same name says. Without it the
//! path is that of an empty file: the crate compiles, loads nothing, and no binary can be made of it
//! (see `src/object.rs`).

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

const VARIABLE: &str = "NXDP_BPF_OBJECT";

fn main() -> ExitCode {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed={VARIABLE}");
    let object = match named_object() {
        Some(named) if !named.is_file() => {
            let named = named.display();
            println!("cargo::error={VARIABLE} names {named}, which is no file");
            return ExitCode::FAILURE;
        }
        Some(named) => named,
        None => built_object().unwrap_or_else(no_object),
    };
    println!("cargo::rerun-if-changed={}", object.display());
    println!("cargo::rustc-env={VARIABLE}={}", object.display());
    ExitCode::SUCCESS
}

/// The object a packager names; a relative path counts from the workspace.
fn named_object() -> Option<PathBuf> {
    let named = PathBuf::from(env::var_os(VARIABLE).filter(|value| !value.is_empty())?);
    let package = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR")?);
    Some(package.parent()?.join(named))
}

fn built_object() -> Option<PathBuf> {
    Some(objects().join("nxdp.bpf.o")).filter(|object| object.is_file())
}

/// An empty file in the place of the object.
fn no_object() -> PathBuf {
    let (objects, empty) = (objects(), out().join("none.bpf.o"));
    // Cargo takes a missing path for one that always changes, and a folder for all that is in it.
    if fs::create_dir_all(&objects).is_ok() {
        println!("cargo::rerun-if-changed={}", objects.display());
    }
    println!(
        "cargo::warning=no eBPF object in {}: what is built now loads no program; run `cargo xtask build`",
        objects.display()
    );
    // A folder that cannot be written to is reported by whoever includes the file.
    let _ = fs::write(&empty, []);
    empty
}

/// The folder of objects in the target folder; `OUT_DIR` is `<target>[/<triple>]/<profile>/build/<package>/out`.
fn objects() -> PathBuf {
    let out = out();
    let folder = |up| out.ancestors().nth(up).unwrap_or(Path::new(""));
    let is_triple = folder(4).file_name() == env::var_os("TARGET").as_deref();
    folder(if is_triple { 5 } else { 4 }).join("ebpf")
}

fn out() -> PathBuf {
    PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default())
}
