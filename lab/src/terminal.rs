//! A terminal without a screen: a program runs in it, and what it drew can be read.

use std::{
    fs::File,
    io::{Read as _, Write as _},
    num::NonZeroU16,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use nix::{
    pty::{Winsize, openpty},
    sys::{
        signal::{Signal, kill},
        termios::{LocalFlags, tcgetattr},
    },
    unistd::Pid,
};

use crate::sys;

/// How long something drawn may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// A pseudo-terminal and the program in it, which is killed when this is dropped.
pub struct Terminal {
    /// The end that people see and type at.
    master: File,
    /// The program's end, kept open to look at its modes.
    slave: File,
    child: Child,
    screen: Arc<Mutex<vt100::Parser>>,
}

impl Terminal {
    /// Runs a command in a terminal of this size.
    pub fn run(mut command: Command, columns: u16, rows: u16) -> Result<Self> {
        let size = Winsize {
            ws_row: rows,
            ws_col: columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        let pair = openpty(&size, None).context("open a pseudo-terminal")?;
        let (master, slave) = (File::from(pair.master), File::from(pair.slave));
        let stream = || slave.try_clone().map(Stdio::from);
        command
            .env("TERM", "xterm-256color")
            .stdin(stream()?)
            .stdout(stream()?)
            .stderr(stream()?);
        sys::end_with_parent(&mut command);
        let child = command.spawn().context("start a program in a terminal")?;
        let screen = Arc::new(Mutex::new(new_screen(columns, rows)?));
        let (reader, shown) = (master.try_clone()?, Arc::clone(&screen));
        thread::spawn(move || show(reader, &shown));
        Ok(Self {
            master,
            slave,
            child,
            screen,
        })
    }

    /// What stands on the screen, row by row.
    pub fn rows(&self) -> Vec<String> {
        let parser = self.screen();
        let (_, columns) = parser.screen().size();
        parser.screen().rows(0, columns.get()).collect()
    }

    /// Waits until the screen is as wanted.
    pub fn wait_for(&self, what: &str, wanted: impl Fn(&[String]) -> bool) -> Result<Vec<String>> {
        let end = Instant::now() + PATIENCE;
        loop {
            let rows = self.rows();
            if wanted(&rows) {
                return Ok(rows);
            }
            if Instant::now() >= end {
                bail!(
                    "{what}: not on the screen within {PATIENCE:?}:\n{}",
                    rows.join("\n")
                );
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Types.
    pub fn write(&mut self, keys: &str) -> Result<()> {
        Ok(self.master.write_all(keys.as_bytes())?)
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        Ok(kill(Pid::from_raw(self.child.id().cast_signed()), signal)?)
    }

    /// Waits for the program's end.
    pub fn wait(&mut self) -> Result<ExitStatus> {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            if Instant::now() >= end {
                bail!(
                    "the program did not end within {PATIENCE:?}:\n{}",
                    self.rows().join("\n")
                );
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Whether the terminal is in raw mode: keys are neither echoed nor gathered to lines.
    pub fn is_raw(&self) -> Result<bool> {
        let modes = tcgetattr(&self.slave)?.local_flags;
        Ok(!modes.intersects(LocalFlags::ECHO | LocalFlags::ICANON))
    }

    /// Whether the program draws on a screen of its own.
    pub fn is_on_alternate_screen(&self) -> bool {
        self.screen().screen().alternate_screen()
    }

    /// Whether the cursor is hidden.
    pub fn is_cursor_hidden(&self) -> bool {
        self.screen().screen().hide_cursor()
    }

    fn screen(&self) -> MutexGuard<'_, vt100::Parser> {
        self.screen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // One that has ended already needs nothing.
        let _ended = self.child.kill().and_then(|()| self.child.wait());
    }
}

fn new_screen(columns: u16, rows: u16) -> Result<vt100::Parser> {
    let size = |count| NonZeroU16::new(count).context("a terminal without a single cell");
    Ok(vt100::Parser::new(size(rows)?, size(columns)?, 0))
}

/// Until the terminal is gone.
fn show(mut reader: File, screen: &Mutex<vt100::Parser>) {
    let mut bytes = [0; 4096];
    while let Ok(count @ 1..) = reader.read(&mut bytes) {
        let mut parser = screen.lock().unwrap_or_else(PoisonError::into_inner);
        parser.process(&bytes[..count]);
    }
}
