//! A child process whose lines can be waited for and that never outlives its value.

use std::{
    fs,
    io::{self, BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Condvar, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// How long [`Process`] waits for an ending child before it kills it when dropped.
const GRACE: Duration = Duration::from_secs(2);

/// Copies a program for somebody who may not read where it is.
///
/// Another process writes the copy. A child that another test forks in this
/// process meanwhile would hold a descriptor of ours open for writing, and the
/// kernel executes no such file (`ETXTBSY`).
///
/// # Errors
///
/// What kept `cp` from its work.
pub fn copy_program(program: &Path, to: &Path) -> Result<()> {
    let status = Command::new("cp").arg(program).arg(to).status()?;
    if !status.success() {
        bail!("cp of {}: {status}", program.display());
    }
    Ok(())
}

/// Where the system keeps a program that root alone may have in its PATH.
pub fn system_program(name: &str) -> Option<PathBuf> {
    ["/usr/sbin", "/usr/bin", "/usr/local/sbin", "/usr/local/bin"]
        .map(|folder| Path::new(folder).join(name))
        .into_iter()
        .find(|path| path.is_file())
}

/// A running child.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    lines: Arc<Lines>,
    readers: Vec<thread::JoinHandle<()>>,
}

/// One line that the child wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Which stream it came from.
    pub stream: Stream,
    /// The line without its end.
    pub text: String,
}

/// Where a line came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Out,
    /// Standard error.
    Err,
}

#[derive(Debug, Default)]
struct Lines {
    state: Mutex<LinesState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct LinesState {
    seen: Vec<Line>,
    open_streams: usize,
}

impl Process {
    pub(crate) fn start(
        name: &str,
        mut command: Command,
        spawn: impl FnOnce(Command) -> io::Result<Child>,
    ) -> io::Result<Self> {
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = spawn(command)?;
        let lines = Arc::new(Lines::default());
        let readers = [
            child
                .stdout
                .take()
                .map(|pipe| lines.collect(Stream::Out, pipe)),
            child
                .stderr
                .take()
                .map(|pipe| lines.collect(Stream::Err, pipe)),
        ];
        Ok(Self {
            name: name.to_owned(),
            child,
            lines,
            readers: readers.into_iter().flatten().collect(),
        })
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether the child holds one of its streams open; one that has ended does not.
    pub fn is_writing(&self) -> bool {
        self.lines.lock().open_streams > 0
    }

    /// All lines so far.
    pub fn lines(&self) -> Vec<Line> {
        self.lines.lock().seen.clone()
    }

    /// All lines of one stream so far, joined.
    pub fn text(&self, stream: Stream) -> String {
        let lines = self.lines();
        let of_stream = lines.iter().filter(|line| line.stream == stream);
        of_stream.map(|line| format!("{}\n", line.text)).collect()
    }

    /// Waits for a line, of those from number `from` on, that contains `needle`.
    ///
    /// # Errors
    /// Fails when the time is over or the child ended before, and quotes what it wrote.
    pub fn wait_for_line(&self, from: usize, needle: &str, timeout: Duration) -> Result<Line> {
        match self.lines.wait(from, needle, timeout) {
            Some(line) => Ok(line),
            None => bail!(
                "{} did not write a line with {needle:?} within {timeout:?}; it wrote:\n{}{}",
                self.name,
                self.text(Stream::Err),
                self.text(Stream::Out)
            ),
        }
    }

    /// Stops every thread with SIGSTOP, and returns when that is so.
    ///
    /// # Errors
    /// When it has ended, or does not stop in time.
    pub fn stop(&self, timeout: Duration) -> Result<()> {
        self.signal(Signal::SIGSTOP)?;
        let end = Instant::now() + timeout;
        let is_stopped = |task: &Path| {
            let stat = fs::read_to_string(task.join("stat")).unwrap_or_default();
            // proc_pid_stat(5): the state is behind the name in parentheses.
            let state = stat.rsplit(')').next().unwrap_or_default();
            state.trim_start().starts_with('T')
        };
        loop {
            let mut tasks = fs::read_dir(format!("/proc/{}/task", self.id()))?.flatten();
            if tasks.all(|task| is_stopped(&task.path())) {
                return Ok(());
            }
            if Instant::now() >= end {
                bail!("{} does not stop within {timeout:?}", self.name);
            }
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        kill(Pid::from_raw(self.child.id().cast_signed()), signal)
            .with_context(|| format!("cannot send {signal} to {}", self.name))
    }

    /// Waits for the end; `None` when the child still runs after `timeout`.
    pub fn wait(&mut self, timeout: Duration) -> io::Result<Option<ExitStatus>> {
        let end = Instant::now() + timeout;
        loop {
            if let Some(status) = self.child.try_wait()? {
                self.join_readers();
                return Ok(Some(status));
            }
            if Instant::now() >= end {
                return Ok(None);
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Sends a signal and waits for the end.
    ///
    /// # Errors
    /// Fails when the child still runs after `timeout`.
    pub fn end(&mut self, signal: Signal, timeout: Duration) -> Result<ExitStatus> {
        self.signal(signal)?;
        self.wait(timeout)?
            .with_context(|| format!("{} still runs {timeout:?} after {signal}", self.name))
    }

    fn join_readers(&mut self) {
        for reader in self.readers.drain(..) {
            // A reader only pushes lines; should it panic, its lines so far remain.
            let _ended = reader.join();
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _asked = self.signal(Signal::SIGTERM);
            if !matches!(self.wait(GRACE), Ok(Some(_))) {
                let _killed = self.child.kill().and_then(|()| self.child.wait());
            }
        }
    }
}

impl Lines {
    fn lock(&self) -> std::sync::MutexGuard<'_, LinesState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn collect(
        self: &Arc<Self>,
        stream: Stream,
        pipe: impl Read + Send + 'static,
    ) -> thread::JoinHandle<()> {
        let lines = Arc::clone(self);
        lines.lock().open_streams += 1;
        thread::spawn(move || {
            for text in BufReader::new(pipe).split(b'\n').map_while(io::Result::ok) {
                let text = String::from_utf8_lossy(&text)
                    .trim_end_matches('\r')
                    .to_owned();
                lines.lock().seen.push(Line { stream, text });
                lines.changed.notify_all();
            }
            lines.lock().open_streams -= 1;
            lines.changed.notify_all();
        })
    }

    fn wait(&self, from: usize, needle: &str, timeout: Duration) -> Option<Line> {
        let end = Instant::now() + timeout;
        let mut state = self.lock();
        loop {
            let found = state
                .seen
                .iter()
                .skip(from)
                .find(|line| line.text.contains(needle));
            if let Some(line) = found {
                return Some(line.clone());
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() || state.open_streams == 0 {
                return None;
            }
            state = match self.changed.wait_timeout(state, left) {
                Ok((state, _)) => state,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
    }
}
