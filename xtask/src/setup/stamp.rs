//! Remembers a toolchain that worked, and when to stop believing so.
//!
//! The file holds the choice and, for every file it rests on, its size and time of change: looking
//! those up again takes microseconds, asking rustc and rustup takes a tenth of a second.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use super::{Toolchain, compiler::Compiler, linker::Linker};
use crate::workspace::Workspace;

/// Grows when what the stamp says, or how the choice is made, changes.
const FORMAT: &str = "nxdp toolchain 1";

/// Writes down the choice.
pub(crate) fn save(workspace: &Workspace, toolchain: &Toolchain) -> Result<()> {
    let text = render(toolchain).context("look at the files of the toolchain")?;
    fs::write(path(workspace), text).context("write the toolchain stamp")
}

/// Returns the remembered choice if everything it rests on is unchanged.
pub(crate) fn load(workspace: &Workspace) -> Option<Toolchain> {
    let text = fs::read_to_string(path(workspace)).ok()?;
    let toolchain = parse(&text)?;
    // What would be written now is what was written then.
    (render(&toolchain).ok()? == text).then_some(toolchain)
}

fn path(workspace: &Workspace) -> PathBuf {
    workspace.toolchain().join("stamp")
}

fn render(toolchain: &Toolchain) -> Result<String> {
    let Toolchain { compiler, linker } = toolchain;
    let mut lines = vec![
        FORMAT.to_string(),
        format!("origin={}", compiler.origin),
        format!("release={}", compiler.release),
        format!("sysroot={}", compiler.sysroot.display()),
        format!("misaligned_access={}", compiler.misaligned_access),
        format!("linker_version={}", linker.version),
    ];
    let files = [
        ("rustc", &compiler.rustc),
        ("cargo", &compiler.cargo),
        ("core_source", &compiler.core_source),
        ("linker", &linker.binary),
        ("script", &linker.script),
    ];
    for (name, file) in files {
        lines.push(format!("{name}={}", file.display()));
        lines.push(format!("{name}_is={}", identity(file)?));
    }
    Ok(lines.join("\n") + "\n")
}

/// Size and time of change of the file behind all links.
fn identity(file: &Path) -> Result<String> {
    let data = fs::metadata(file).with_context(|| format!("look at {}", file.display()))?;
    Ok(format!(
        "{} bytes, {}.{:09}",
        data.len(),
        data.mtime(),
        data.mtime_nsec()
    ))
}

fn parse(text: &str) -> Option<Toolchain> {
    let mut lines = text.lines();
    if lines.next() != Some(FORMAT) {
        return None;
    }
    let fields: BTreeMap<&str, &str> = lines.filter_map(|line| line.split_once('=')).collect();
    let field = |name: &str| fields.get(name).map(ToString::to_string);
    let file = |name: &str| field(name).map(PathBuf::from);
    Some(Toolchain {
        compiler: Compiler {
            origin: field("origin")?,
            rustc: file("rustc")?,
            cargo: file("cargo")?,
            release: field("release")?,
            sysroot: file("sysroot")?,
            core_source: file("core_source")?,
            misaligned_access: field("misaligned_access")?.parse().ok()?,
        },
        linker: Linker {
            script: file("script")?,
            binary: file("linker")?,
            version: field("linker_version")?,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn toolchain() -> Toolchain {
        let file = std::env::current_exe().unwrap();
        Toolchain {
            compiler: Compiler {
                origin: "rustup nightly".into(),
                rustc: file.clone(),
                cargo: file.clone(),
                release: "1.96.0".into(),
                sysroot: "/usr".into(),
                core_source: file.clone(),
                misaligned_access: true,
            },
            linker: Linker {
                script: file.clone(),
                binary: file,
                version: "bpf-linker 0.10.3".into(),
            },
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        let text = render(&toolchain()).unwrap();
        assert_eq!(parse(&text), Some(toolchain()));
    }

    #[test]
    fn a_compiler_that_is_gone_cannot_be_believed_in() {
        let mut gone = toolchain();
        gone.compiler.rustc = "/nowhere/rustc".into();
        assert!(render(&gone).is_err());
    }

    #[test]
    fn a_stamp_of_another_format_is_not_read() {
        let text = render(&toolchain()).unwrap();
        assert_eq!(parse(&text.replace(FORMAT, "nxdp toolchain 0")), None);
    }
}
