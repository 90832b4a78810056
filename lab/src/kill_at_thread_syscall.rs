//! Kills a process when one of its threads is about to do something on the wire or the disk.
//!
//! Unlike [`crate::kill_at_syscall`], which follows the main thread alone: lists are fetched, compiled and
//! kept by others.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::FileExt as _,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use nix::{
    errno::Errno,
    sys::{
        ptrace::{self, Options},
        signal::{Signal, kill},
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::Pid,
};

use crate::{process::Process, sys};

/// How long nothing may happen.
const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_micros(100);
const NAME_MAX_BYTES: usize = 4096;

/// Something that others see, or that a list goes through on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Syscall {
    /// Connects to a server.
    Connect,
    /// Sends to it.
    Send,
    /// Starts a thread.
    Thread,
    /// Reads from a file.
    Read(String),
    /// Makes a file.
    Create(String),
    /// Writes to a file.
    Write(String),
    /// Puts a file or folder on the disk.
    Sync(String),
    /// Gives a file this name.
    Rename(String),
    /// Removes a file.
    Remove(String),
}

/// Traces every thread of a process, which may be stopped by SIGSTOP, and kills the process when `kill_now` says so of what one
/// of them is about to do; hands back what that was.
///
/// # Errors
/// When it ends by itself, or nothing happens for a minute.
pub fn kill_before(
    process: &Process,
    mut kill_now: impl FnMut(&Syscall) -> bool,
) -> Result<Syscall> {
    let pid = Pid::from_raw(process.id().cast_signed());
    let mut threads = BTreeSet::new();
    let mut last = Instant::now();
    loop {
        seize_all(pid, &mut threads)?;
        let mut is_quiet = true;
        for thread in threads.clone() {
            let Some(entered) = look(pid, thread, &mut threads)? else {
                continue;
            };
            is_quiet = false;
            if let Some(deed) = entered.and_then(|(number, arguments)| of(pid, number, arguments)) {
                last = Instant::now();
                if kill_now(&deed) {
                    end(pid, &mut threads)?;
                    return Ok(deed);
                }
            }
            go_on(thread, None)?;
        }
        if last.elapsed() > PATIENCE {
            end(pid, &mut threads)?;
            bail!("nothing was done for {PATIENCE:?}");
        }
        if is_quiet {
            thread::sleep(PAUSE);
        }
    }
}

type Entered = Option<(u64, [u64; 6])>;

/// The call that a thread that stopped is about to make, if it stopped for one; `None` for a
/// thread that runs.
fn look(pid: Pid, thread: Pid, threads: &mut BTreeSet<Pid>) -> Result<Option<Entered>> {
    let flags = WaitPidFlag::WNOHANG | WaitPidFlag::__WALL;
    match waitpid(thread, Some(flags)) {
        Ok(WaitStatus::StillAlive) => Ok(None),
        Ok(WaitStatus::PtraceSyscall(_)) => Ok(Some(sys::entered_call(thread)?)),
        Ok(WaitStatus::Exited(ended, code)) if ended == pid => bail!("it ended with {code}"),
        Ok(WaitStatus::Signaled(ended, signal, _)) if ended == pid => {
            bail!("it was ended by {signal}")
        }
        Ok(WaitStatus::Exited(..) | WaitStatus::Signaled(..)) | Err(Errno::ECHILD) => {
            threads.remove(&thread);
            Ok(None)
        }
        Ok(WaitStatus::Stopped(_, signal)) => {
            go_on(thread, Some(signal))?;
            Ok(None)
        }
        Ok(_) => Ok(Some(None)),
        Err(error) => Err(error.into()),
    }
}

/// Kills the process; its end is told to whoever started it when its threads are buried.
fn end(pid: Pid, threads: &mut BTreeSet<Pid>) -> Result<()> {
    kill(pid, Signal::SIGKILL)?;
    seize_all(pid, threads)?;
    for thread in threads.iter().filter(|thread| **thread != pid) {
        loop {
            match waitpid(*thread, Some(WaitPidFlag::__WALL)) {
                Ok(WaitStatus::Exited(..) | WaitStatus::Signaled(..)) | Err(_) => break,
                Ok(_) => {}
            }
        }
    }
    Ok(())
}

/// A thread that ended meanwhile is no failure.
fn go_on(thread: Pid, signal: Option<Signal>) -> Result<()> {
    match ptrace::syscall(thread, signal) {
        Ok(()) | Err(Errno::ESRCH) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Traces the threads that there are; those that they start are traced by themselves.
fn seize_all(pid: Pid, threads: &mut BTreeSet<Pid>) -> Result<()> {
    let options =
        Options::PTRACE_O_TRACESYSGOOD | Options::PTRACE_O_EXITKILL | Options::PTRACE_O_TRACECLONE;
    let is_first = threads.is_empty();
    for task in fs::read_dir(format!("/proc/{pid}/task"))?.flatten() {
        let Some(Ok(number)) = task.file_name().to_str().map(str::parse) else {
            continue;
        };
        let thread = Pid::from_raw(number);
        if threads.insert(thread) && is_first {
            ptrace::seize(thread, options)?;
            ptrace::interrupt(thread)?;
        }
    }
    if is_first {
        kill(pid, Signal::SIGCONT)?;
    }
    Ok(())
}

fn of(pid: Pid, number: u64, arguments: [u64; 6]) -> Option<Syscall> {
    let [first, second, third, fourth, ..] = arguments;
    let name = |address| name_at(pid, address);
    match libc::c_long::try_from(number).ok()? {
        libc::SYS_connect => Some(Syscall::Connect),
        libc::SYS_clone | libc::SYS_clone3 => Some(Syscall::Thread),
        libc::SYS_read | libc::SYS_pread64 | libc::SYS_readv => file(pid, first).map(Syscall::Read),
        libc::SYS_write | libc::SYS_writev | libc::SYS_pwrite64 => match target(pid, first)? {
            socket if socket.starts_with("socket:") => Some(Syscall::Send),
            _ => file(pid, first).map(Syscall::Write),
        },
        libc::SYS_sendto | libc::SYS_sendmsg => Some(Syscall::Send),
        libc::SYS_fsync | libc::SYS_fdatasync => file(pid, first).map(Syscall::Sync),
        libc::SYS_openat if third & libc::O_CREAT as u64 != 0 => name(second).map(Syscall::Create),
        libc::SYS_renameat | libc::SYS_renameat2 => name(fourth).map(Syscall::Rename),
        libc::SYS_unlinkat => name(second).map(Syscall::Remove),
        number => old_name_call(number, first, second).and_then(|(is_rename, address)| {
            let name = name(address)?;
            Some(if is_rename {
                Syscall::Rename(name)
            } else {
                Syscall::Remove(name)
            })
        }),
    }
}

/// Calls that newer architectures do not have: whether it renames, and where the name is.
#[cfg(target_arch = "x86_64")]
fn old_name_call(number: libc::c_long, first: u64, second: u64) -> Option<(bool, u64)> {
    match number {
        libc::SYS_rename => Some((true, second)),
        libc::SYS_unlink => Some((false, first)),
        _ => None,
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn old_name_call(_: libc::c_long, _: u64, _: u64) -> Option<(bool, u64)> {
    None
}

/// The path of an open file; sockets, pipes and what the kernel makes up are none.
fn file(pid: Pid, descriptor: u64) -> Option<String> {
    let is_made_up = |path: &String| {
        ["/dev/", "/proc/", "/sys/"]
            .iter()
            .any(|p| path.starts_with(p))
    };
    let path = target(pid, descriptor).filter(|path| path.starts_with('/'))?;
    (!is_made_up(&path)).then_some(path)
}

fn target(pid: Pid, descriptor: u64) -> Option<String> {
    let link = fs::read_link(format!("/proc/{pid}/fd/{descriptor}")).ok()?;
    Some(link.to_string_lossy().into_owned())
}

/// The name that stands in the memory of the process.
fn name_at(pid: Pid, address: u64) -> Option<String> {
    let memory = fs::File::open(format!("/proc/{pid}/mem")).ok()?;
    let mut bytes = Vec::new();
    // Byte for byte: the page behind the name may not be there.
    while bytes.len() < NAME_MAX_BYTES {
        let mut byte = [0];
        memory
            .read_exact_at(&mut byte, address + bytes.len() as u64)
            .ok()?;
        if byte == [0] {
            return String::from_utf8(bytes).ok();
        }
        bytes.push(byte[0]);
    }
    None
}
