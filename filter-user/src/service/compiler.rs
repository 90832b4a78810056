//! The compiler as a child process of `nxdp load`, with the rights of the service user.

use std::{
    fs,
    os::unix::{fs::lchown, process::CommandExt as _},
    path::Path,
    process::{Command, Stdio},
};

use filter_kernel::Owner;

use super::state::State;

/// A file system in memory, of root's.
const MEMORY: &str = "/run";
/// No image is larger than this, in bytes.
const IMAGE_MAX_BYTES: u64 = 1 << 30;

/// Compiles the lists as the service user; what is wrong with them is told on standard error.
pub(super) fn compile(config: &Path, state: &State, owner: Owner) -> bool {
    run_compiler(config, state, owner, Stdio::null(), |command| {
        command.arg("--output").arg(state.image());
    })
}

/// The same in a folder in memory, where the one of the state has no room; what it made there is
/// read, and removed.
pub(super) fn compile_in_memory<T>(
    config: &Path,
    state: &State,
    owner: Owner,
    read: impl FnOnce(&State) -> Option<T>,
) -> Option<T> {
    if !is_full(state.folder()) {
        return None;
    }
    let folder = tempfile::Builder::new()
        .prefix("nxdp-load-")
        .tempdir_in(MEMORY)
        .ok()?;
    lchown(folder.path(), Some(owner.user), Some(owner.group)).ok()?;
    let there = State::at(folder.path());
    let compiled = compile(config, &there, owner)
        .then(|| read(&there))
        .flatten();
    // Root may not write to another's folder without a capability that `nxdp load` does without.
    let own = rustix::process::geteuid().as_raw();
    let _ = lchown(folder.path(), Some(own), None);
    compiled
}

/// Whether an image may have had no room in a folder, or must not be written there.
fn is_full(folder: &Path) -> bool {
    rustix::fs::statvfs(folder).is_ok_and(|disk| {
        let is_read_only = disk.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY);
        is_read_only || disk.f_bavail.saturating_mul(disk.f_frsize) < IMAGE_MAX_BYTES
    })
}

/// Compiles the operator's own names alone, to lie beside an image.
pub(super) fn compile_custom(config: &Path, image: &Path, state: &State, owner: Owner) -> bool {
    // The service user need not be able to open it.
    let Ok(image) = fs::File::open(image) else {
        return false;
    };
    run_compiler(config, state, owner, image.into(), |command| {
        command.arg("--beside-stdin");
    })
}

fn run_compiler(
    config: &Path,
    state: &State,
    owner: Owner,
    input: Stdio,
    more: impl FnOnce(&mut Command),
) -> bool {
    let Ok(program) = std::env::current_exe() else {
        return false;
    };
    let mut command = Command::new(program);
    command.arg("compile").arg("--config").arg(config);
    command.arg("--custom-output").arg(state.custom_image());
    more(&mut command);
    command.stdin(input).stdout(Stdio::null());
    if !rustix::process::geteuid().is_root() || owner.user != 0 {
        command.uid(owner.user).gid(owner.group);
    }
    command.status().is_ok_and(|status| status.success())
}
