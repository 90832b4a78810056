//! Kills a process when it is about to take a step: one of the system calls by which it
//! changes what others see.

use anyhow::{Context, Result, bail};
use nix::{
    sys::{
        ptrace::{self, Options},
        signal::{Signal, kill},
        wait::{WaitStatus, waitpid},
    },
    unistd::Pid,
};

use crate::{process::Process, sys};

/// How a traced process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It was killed when it was about to make a call.
    Killed(Call),
    /// It ended by itself, with this exit code.
    Exited(i32),
}

/// Traces the main thread of a process and kills the process when `kill_now` says so of the call
/// that it is about to make.
///
/// The process must be stopped by SIGSTOP, or at work already.
pub fn kill_when(process: &Process, mut kill_now: impl FnMut(Call) -> bool) -> Result<End> {
    let pid = Pid::from_raw(process.id().cast_signed());
    let options = Options::PTRACE_O_TRACESYSGOOD | Options::PTRACE_O_EXITKILL;
    ptrace::seize(pid, options).context("cannot trace the process")?;
    ptrace::interrupt(pid)?;
    kill(pid, Signal::SIGCONT)?;
    loop {
        match waitpid(pid, None)? {
            WaitStatus::PtraceSyscall(_) => {
                let call = sys::entered_call(pid)?;
                let call = call.and_then(|(number, [first, ..])| Call::of(number, first));
                if let Some(call) = call.filter(|call| kill_now(*call)) {
                    kill(pid, Signal::SIGKILL)?;
                    return Ok(End::Killed(call));
                }
                ptrace::syscall(pid, None)?;
            }
            WaitStatus::PtraceEvent(..) => ptrace::syscall(pid, None)?,
            WaitStatus::Stopped(_, signal) => ptrace::syscall(pid, Some(signal))?,
            WaitStatus::Exited(_, code) => return Ok(End::Exited(code)),
            WaitStatus::Signaled(_, signal, _) => bail!("the process was ended by {signal}"),
            _ => {}
        }
    }
}

/// A system call that may be a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// Makes a map or a program, or writes an element of a map.
    BpfMake,
    /// Pins something.
    BpfPin,
    /// Attaches or replaces a program.
    BpfLink,
    /// Makes a file or folder, removes or renames one.
    Name,
    /// Changes owner or mode of a file.
    Give,
    /// Locks a file.
    Lock,
    /// Maps memory, or takes a mapping away.
    Memory,
    /// Waits for running programs.
    Barrier,
}

impl Call {
    fn of(number: u64, first: u64) -> Option<Self> {
        /// From linux/bpf.h: commands that change something.
        const MAKE: [u64; 3] = [0, 2, 5];
        const PIN: u64 = 6;
        const LINK: [u64; 2] = [28, 29];
        let number = libc::c_long::try_from(number).ok()?;
        Some(match number {
            libc::SYS_bpf if MAKE.contains(&first) => Self::BpfMake,
            libc::SYS_bpf if first == PIN => Self::BpfPin,
            libc::SYS_bpf if LINK.contains(&first) => Self::BpfLink,
            libc::SYS_mkdirat | libc::SYS_unlinkat | libc::SYS_renameat2 => Self::Name,
            libc::SYS_fchownat | libc::SYS_fchmodat => Self::Give,
            libc::SYS_flock => Self::Lock,
            libc::SYS_mmap | libc::SYS_munmap => Self::Memory,
            libc::SYS_membarrier => Self::Barrier,
            number if is_old_name_call(number) => Self::Name,
            number if is_old_give_call(number) => Self::Give,
            _ => return None,
        })
    }
}

/// Calls that newer architectures do not have.
#[cfg(target_arch = "x86_64")]
fn is_old_name_call(number: libc::c_long) -> bool {
    matches!(
        number,
        libc::SYS_mkdir | libc::SYS_rmdir | libc::SYS_unlink | libc::SYS_rename
    )
}

#[cfg(target_arch = "x86_64")]
fn is_old_give_call(number: libc::c_long) -> bool {
    matches!(number, libc::SYS_chown | libc::SYS_chmod)
}

#[cfg(not(target_arch = "x86_64"))]
fn is_old_name_call(_: libc::c_long) -> bool {
    false
}

#[cfg(not(target_arch = "x86_64"))]
fn is_old_give_call(_: libc::c_long) -> bool {
    false
}
