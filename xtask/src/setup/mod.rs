//! Finds or installs what building and testing need, and says what it does.
//!
//! Three things: a compiler for the BPF target with the sources of its `core`, bpf-linker, and the
//! programs the lab starts. What is installed is used; what works is remembered; a second call does
//! nothing.

pub(crate) mod apt;
mod cargo_tool;
pub(crate) mod compiler;
mod linker;
mod stamp;
mod tools;

use std::path::PathBuf;
use std::thread;

use anyhow::Result;

use self::{compiler::Compiler, linker::Linker};
use crate::workspace::Workspace;

/// What builds the kernel side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Toolchain {
    pub(crate) compiler: Compiler,
    pub(crate) linker: Linker,
}

impl Toolchain {
    /// One line for people.
    fn summary(&self) -> String {
        let Self { compiler, linker } = self;
        format!(
            "rustc {} of {} with its sources, {}",
            compiler.release, compiler.origin, linker.version
        )
    }
}

/// Everything: the toolchain and the lab's programs.
pub(crate) fn all(workspace: &Workspace) -> Result<()> {
    let toolchain = toolchain(workspace)?;
    tools::ensure()?;
    eprintln!(
        "setup: {}; {}: all here",
        toolchain.summary(),
        tools::names()
    );
    Ok(())
}

/// The programs that the lab, the tests and the measurements start.
pub(crate) fn lab_tools() -> Result<()> {
    tools::ensure()
}

/// Installs what counts instructions.
pub(crate) fn valgrind() -> Result<()> {
    tools::valgrind()
}

/// The nameservers that nxdp is measured beside, as far as they can be had.
pub(crate) fn peers() {
    tools::peers();
}

/// What makes the Debian package.
pub(crate) fn cargo_deb(workspace: &Workspace) -> Result<PathBuf> {
    cargo_tool::DEB.ensure(workspace)
}

/// What tries how good the tests are.
pub(crate) fn cargo_mutants(workspace: &Workspace) -> Result<PathBuf> {
    cargo_tool::MUTANTS.ensure(workspace)
}

/// What builds the kernel side: the remembered choice, or a new one.
pub(crate) fn toolchain(workspace: &Workspace) -> Result<Toolchain> {
    if let Some(toolchain) = stamp::load(workspace) {
        return Ok(toolchain);
    }
    let compiler = thread::scope(|scope| {
        let linker = scope.spawn(|| linker::ensure_any(workspace));
        let compiler = compiler::ensure()?;
        linker
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        anyhow::Ok(compiler)
    })?;
    let linker = linker::ensure(workspace, &compiler)?;
    let toolchain = Toolchain { compiler, linker };
    stamp::save(workspace, &toolchain)?;
    eprintln!("setup: using {}", toolchain.summary());
    Ok(toolchain)
}
