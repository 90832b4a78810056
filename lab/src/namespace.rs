//! One network namespace, for as long as its value lives.
//!
//! The namespace has no name in the file system: it is held by an open file and
//! by the processes inside. However this process ends, the kernel removes the
//! namespace and every interface in it, and no mount and no folder is needed.

use std::{
    fs::File,
    io::{self, Write},
    os::fd::AsRawFd,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
};

use anyhow::{Context, Result, bail, ensure};
use nix::sched::{CloneFlags, setns, unshare};

use crate::{process::Process, sys};

/// A network namespace of this process.
#[derive(Debug)]
pub struct Namespace {
    name: String,
    file: File,
    spawner: mpsc::Sender<Job>,
}

/// What the thread does that spawns the commands of a namespace.
enum Job {
    /// Spawns a command.
    Spawn(Command, mpsc::Sender<io::Result<Child>>),
    /// Parts with the mounts of this process, and tells where this process sees its own.
    OwnMounts(mpsc::Sender<io::Result<PathBuf>>),
}

impl Namespace {
    /// Makes a namespace with its loopback interface up; `name` is for messages only.
    ///
    /// # Errors
    /// Fails without root (CAP_SYS_ADMIN) or when `ip` is missing.
    pub fn new(name: &str) -> Result<Self> {
        let file = thread::scope(|scope| scope.spawn(open_new).join())
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            .with_context(|| format!("cannot make the network namespace {name}; run as root"))?;
        let spawner = start_spawner(name, file.try_clone()?)?;
        let namespace = Self {
            name: name.to_owned(),
            file,
            spawner,
        };
        namespace.ip_batch("link set lo up\n")?;
        Ok(namespace)
    }

    /// The name for messages.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A path that `nsenter --net=PATH` takes while this process lives.
    pub fn path(&self) -> PathBuf {
        format!("/proc/{}/fd/{}", std::process::id(), self.file.as_raw_fd()).into()
    }

    /// Runs `work` on a thread inside the namespace and hands back its result.
    ///
    /// Sockets opened by `work` stay in the namespace wherever they are used later.
    ///
    /// # Panics
    /// Panics when `work` does.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T> {
        thread::scope(|scope| scope.spawn(|| self.enter().map(|()| work())).join())
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// Spawns a command inside the namespace; it is ended when the [`Process`] is
    /// dropped, and receives SIGTERM when this process dies.
    pub fn spawn(&self, command: Command) -> Result<Process> {
        let program = command.get_program().to_string_lossy().into_owned();
        Process::start(&program, command, |command| self.spawn_child(command))
            .with_context(|| format!("cannot start {program} in {}", self.name))
    }

    /// Runs a command inside the namespace to its end and hands back its standard output.
    ///
    /// # Errors
    /// Fails when it cannot be started or ends with another status than 0, with its standard error.
    pub fn output(&self, program: &str, arguments: &[&str]) -> Result<String> {
        let mut command = Command::new(program);
        command
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let line = format!("{program} {}", arguments.join(" "));
        let output = self
            .spawn_child(command)
            .and_then(Child::wait_with_output)
            .with_context(|| started_in_vain(program))?;
        ensure!(
            output.status.success(),
            "`{line}` failed in {}: {}",
            self.name,
            String::from_utf8_lossy(&output.stderr).trim()
        );
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Gives the commands of this namespace mounts of their own, and a BPF file system of their
    /// own at `/sys/fs/bpf`; hands back where this process sees their root folder.
    ///
    /// The mounts end with the namespace's value and its last command.
    pub fn own_mounts(&self) -> Result<PathBuf> {
        let (reply, answer) = mpsc::channel();
        self.spawner
            .send(Job::OwnMounts(reply))
            .ok()
            .context("the namespace's thread has ended")?;
        let root = answer.recv()?.context("cannot part with the mounts")?;
        self.output("mount", &["--make-rprivate", "/"])?;
        self.output("mount", &["-t", "bpf", "bpf", "/sys/fs/bpf"])?;
        Ok(root)
    }

    /// Hands lines to `ip -batch -`.
    pub fn ip_batch(&self, lines: &str) -> Result<()> {
        let mut command = Command::new("ip");
        command
            .args(["-batch", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut child = self
            .spawn_child(command)
            .with_context(|| started_in_vain("ip"))?;
        if let Some(mut input) = child.stdin.take() {
            input.write_all(lines.as_bytes())?;
        }
        let output = child.wait_with_output()?;
        if !output.status.success() {
            let why = String::from_utf8_lossy(&output.stderr).into_owned();
            bail!("`ip` failed in {}: {}\n{lines}", self.name, why.trim());
        }
        Ok(())
    }

    /// Writes a value under /proc/sys as the namespace sees it, e.g. `net/ipv4/ip_forward`.
    pub fn write_sysctl(&self, key: &str, value: &str) -> Result<()> {
        let path = format!("/proc/sys/{key}");
        self.run(|| std::fs::write(&path, value))?
            .with_context(|| format!("cannot write {value} to {path}"))
    }

    fn enter(&self) -> Result<()> {
        setns(&self.file, CloneFlags::CLONE_NEWNET)
            .with_context(|| format!("cannot enter the namespace {}", self.name))
    }

    fn spawn_child(&self, command: Command) -> io::Result<Child> {
        let (reply, answer) = mpsc::channel();
        let gone = |_| io::Error::other("the namespace's thread has ended");
        self.spawner
            .send(Job::Spawn(command, reply))
            .map_err(|_| io::Error::other("the namespace's thread has ended"))?;
        answer.recv().map_err(gone)?
    }
}

fn open_new() -> io::Result<File> {
    unshare(CloneFlags::CLONE_NEWNET)?;
    File::open("/proc/thread-self/ns/net")
}

/// Starts the thread that spawns all commands of a namespace.
///
/// A child inherits the namespace of the thread that spawns it, and hears of the
/// death of that thread alone: so it must live as long as the namespace's value.
fn start_spawner(name: &str, file: File) -> Result<mpsc::Sender<Job>> {
    let (sender, jobs) = mpsc::channel::<Job>();
    let (ready, entered) = mpsc::channel();
    thread::Builder::new()
        .name(name.to_owned())
        .spawn(move || {
            let result = setns(&file, CloneFlags::CLONE_NEWNET);
            let usable = result.is_ok();
            let heard = ready.send(result).is_ok();
            drop(file);
            if usable && heard {
                serve(&jobs);
            }
        })?;
    entered.recv()?.context("cannot enter the new namespace")?;
    Ok(sender)
}

fn serve(jobs: &mpsc::Receiver<Job>) {
    for job in jobs {
        match job {
            Job::Spawn(mut command, reply) => {
                sys::end_with_parent(&mut command);
                // Who asked may be gone; then nobody can use the child, and dropping it leaves it
                // to its own end.
                if let Err(mpsc::SendError(Ok(mut child))) = reply.send(command.spawn()) {
                    let _ended = child.kill().and_then(|()| child.wait());
                }
            }
            Job::OwnMounts(reply) => {
                let _asked = reply.send(own_mounts());
            }
        }
    }
}

fn own_mounts() -> io::Result<PathBuf> {
    // Also parts with the root folder that threads share.
    unshare(CloneFlags::CLONE_NEWNS)?;
    let (process, thread) = (std::process::id(), nix::unistd::gettid());
    Ok(format!("/proc/{process}/task/{thread}/root").into())
}

fn started_in_vain(program: &str) -> String {
    let package = match program {
        "ip" => "iproute2",
        other => other,
    };
    format!("cannot start `{program}`; install it (Debian and Ubuntu: apt-get install {package})")
}
