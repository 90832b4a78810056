//! That the program needs nothing of the machine: told by its headers, and by a root with nothing else in it.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};

use crate::{privilege, process};

/// The segment that names a program's loader (`PT_INTERP`).
const INTERPRETER: u32 = 3;

/// Checks that no loader is asked for, and so no library.
pub(super) fn is_static(binary: &Path) -> Result<()> {
    let bytes = fs::read(binary).with_context(|| format!("read {}", binary.display()))?;
    match interpreter(&bytes) {
        Some(false) => Ok(()),
        Some(true) => bail!("{} asks for a loader: it is not static", binary.display()),
        None => bail!("{} is no 64-bit ELF program", binary.display()),
    }
}

/// Whether the program headers name a loader; none for what is no little-endian ELF64.
fn interpreter(elf: &[u8]) -> Option<bool> {
    if !elf.starts_with(b"\x7fELF\x02\x01") {
        return None;
    }
    let number = |at: usize, width: usize| {
        let bytes = elf.get(at..at + width)?;
        let value = bytes
            .iter()
            .rev()
            .fold(0, |sum, byte| sum << 8 | u64::from(*byte));
        usize::try_from(value).ok()
    };
    let (table, size, count) = (number(32, 8)?, number(54, 2)?, number(56, 2)?);
    let kind = |index: usize| number(table + index * size, 4);
    let kinds: Option<Vec<usize>> = (0..count).map(kind).collect();
    Some(kinds?.contains(&(INTERPRETER as usize)))
}

/// Starts it where there is no other file, if this process may.
pub(super) fn runs_alone(binary: &Path) -> Result<()> {
    if !privilege::is_root() {
        eprintln!("package: not tried in an empty root, which takes root");
        return Ok(());
    }
    let root = Alone::new(binary)?;
    let version = root.nxdp(&["--version"])?;
    root.nxdp(&["check", "/list"])?;
    let verdict = root.nxdp(&["query", "--list", "/list", "www.blocked.example"])?;
    if !verdict.contains("/list") {
        bail!("in an empty root, `nxdp query` says: {verdict}");
    }
    eprintln!("package: {} runs in an empty root", version.trim());
    Ok(())
}

/// A folder with the program and a list.
struct Alone(PathBuf);

impl Alone {
    fn new(binary: &Path) -> Result<Self> {
        let folder = std::env::temp_dir().join(format!("nxdp-alone-{}", std::process::id()));
        fs::create_dir(&folder).context("make an empty root")?;
        let alone = Self(folder);
        fs::copy(binary, alone.0.join("nxdp")).context("copy nxdp into an empty root")?;
        fs::write(alone.0.join("list"), "*.blocked.example\n").context("write a list")?;
        Ok(alone)
    }

    fn nxdp(&self, arguments: &[&str]) -> Result<String> {
        let mut chroot = process::outer("chroot");
        process::output(chroot.arg(&self.0).arg("/nxdp").args(arguments))
            .context("start nxdp in an empty root")
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_asks_for_a_loader_is_found_out() {
        // Tests are linked dynamically.
        let this = std::env::current_exe().unwrap();
        assert!(is_static(&this).unwrap_err().to_string().contains("loader"));
        assert_eq!(interpreter(b"#!/bin/sh\n"), None);
    }

    #[test]
    fn headers_that_end_early_are_no_program() {
        let this = fs::read(std::env::current_exe().unwrap()).unwrap();
        assert_eq!(interpreter(&this[..63]), None);
        assert_eq!(interpreter(&this[..65]), None);
    }
}
