//! Where things are: the checkout, the target folder, what is built into it.
//!
//! Knows paths only; starts nothing.

use std::{
    env,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

/// The checkout that this run works on, and the folder it builds into.
#[derive(Debug, Clone)]
pub(crate) struct Workspace {
    root: PathBuf,
    target: PathBuf,
}

impl Workspace {
    /// Finds the checkout by what cargo said when it started this binary.
    pub(crate) fn discover() -> Result<Self> {
        let manifest = env::var_os("CARGO_MANIFEST_DIR")
            .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
        let root = manifest
            .parent()
            .context("find the workspace: start this through `cargo xtask`")?
            .to_path_buf();
        let target = target_folder(&root)?;
        Ok(Self { root, target })
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// The folder cargo builds into: `CARGO_TARGET_DIR`, or wherever this binary was built.
    pub(crate) fn target(&self) -> &Path {
        &self.target
    }

    /// The finished eBPF objects, `<bin>.bpf.o`.
    pub(crate) fn ebpf_objects(&self) -> PathBuf {
        self.target.join("ebpf")
    }

    /// What setup remembers and the private tools it made.
    pub(crate) fn toolchain(&self) -> PathBuf {
        self.target.join("ebpf-toolchain")
    }
}

fn target_folder(root: &Path) -> Result<PathBuf> {
    if let Some(folder) = env::var_os("CARGO_TARGET_DIR").filter(|value| !value.is_empty()) {
        return std::path::absolute(folder).context("resolve CARGO_TARGET_DIR");
    }
    // A target folder set in a cargo configuration file shows only in where this binary lies.
    let this_binary = env::current_exe().context("find the path of this binary")?;
    let tagged = this_binary
        .ancestors()
        .find(|folder| folder.join("CACHEDIR.TAG").is_file());
    Ok(tagged.map_or_else(|| root.join("target"), Path::to_path_buf))
}
