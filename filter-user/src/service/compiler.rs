//! The compiler as a child process of `nxdp load`, with the rights of the service user.

use std::{
    fs,
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Command, Stdio},
};

use filter_kernel::Owner;

use super::state::State;

/// Compiles the lists as the service user; what is wrong with them is told on standard error.
pub(super) fn compile(config: &Path, state: &State, owner: Owner) -> bool {
    run_compiler(config, state, owner, Stdio::null(), |command| {
        command.arg("--output").arg(state.image());
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
