//! Files that others wrote, opened so that none of them keeps its reader waiting for ever.
//!
//! A list may be a pipe (`<(zcat ads.gz)`), and what was a file at the start may be one at the
//! next reload. Nobody may ever write to it, and whoever waits for that reads no list any more.

use std::{
    fs::{File, OpenOptions},
    io::{self, IsTerminal as _, Read},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
    time::Duration,
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// How long a pipe may be silent.
const SILENCE_MAX: Duration = Duration::from_secs(10);

/// A file, or something else that can be read to an end.
#[derive(Debug)]
pub struct Input {
    file: File,
    /// How long is waited for the next byte; `None` where bytes need not be waited for.
    patience: Option<Duration>,
}

impl Input {
    /// Opens it, without waiting for somebody to write to it.
    pub fn open(path: &Path) -> io::Result<Self> {
        Self::with_patience(path, SILENCE_MAX)
    }

    fn with_patience(path: &Path, patience: Duration) -> io::Result<Self> {
        let file = open(path)?;
        let metadata = file.metadata()?;
        if metadata.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        // Who types a list may think about it.
        let patience = match file.is_terminal() {
            true => Duration::MAX,
            false => patience,
        };
        let patience = (!metadata.is_file()).then_some(patience);
        Ok(Self { file, patience })
    }

    /// The file.
    pub fn file(&self) -> &File {
        &self.file
    }
}

impl Read for Input {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(patience) = self.patience else {
            return self.file.read(buffer);
        };
        loop {
            wait(&self.file, patience)?;
            match self.file.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                read => return read,
            }
        }
    }
}

/// Opens a file that has to be a regular one.
pub fn open_regular(path: &Path) -> io::Result<File> {
    let file = open(path)?;
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::other("it is no regular file")),
    }
}

/// The text of a file.
pub fn text(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    Input::open(path)?.read_to_string(&mut text)?;
    Ok(text)
}

fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).custom_flags(libc::O_NONBLOCK);
    options.open(path)
}

fn wait(file: &File, patience: Duration) -> io::Result<()> {
    let limit = Timespec::try_from(patience).ok();
    let mut waiting = [PollFd::new(file, PollFlags::IN)];
    loop {
        match poll(&mut waiting, limit.as_ref()) {
            Ok(0) => break,
            Ok(_) => return Ok(()),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let reason = format!(
        "it is a pipe, and nothing came for {} s",
        patience.as_secs()
    );
    Err(io::Error::new(io::ErrorKind::TimedOut, reason))
}

#[cfg(test)]
mod tests {
    use std::{fs, io::Write as _, thread, time::Instant};

    use super::*;

    const BRIEFLY: Duration = Duration::from_millis(50);

    fn pipe() -> (tempfile::TempDir, std::path::PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pipe");
        let (kind, mode) = (rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU);
        rustix::fs::mknodat(rustix::fs::CWD, &path, kind, mode, 0).unwrap();
        (folder, path)
    }

    #[test]
    fn a_pipe_that_nobody_writes_to_is_given_up() {
        let (_folder, path) = pipe();
        let start = Instant::now();
        let mut input = Input::with_patience(&path, BRIEFLY).unwrap();
        let error = input.read(&mut [0; 8]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut, "{error}");
        assert!(start.elapsed() < Duration::from_secs(5));
        assert!(open_regular(&path).is_err());
    }

    #[test]
    fn a_pipe_whose_writer_falls_silent_is_given_up() {
        let (_folder, path) = pipe();
        let mut input = Input::with_patience(&path, BRIEFLY).unwrap();
        let mut writer = OpenOptions::new().write(true).open(&path).unwrap();
        writer.write_all(b"half").unwrap();
        let mut text = String::new();
        let error = input.read_to_string(&mut text).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut, "{error}");
    }

    #[test]
    fn a_pipe_that_is_written_to_is_read_to_its_end() {
        let (_folder, path) = pipe();
        let mut input = Input::open(&path).unwrap();
        let writing = thread::spawn(move || {
            let mut writer = OpenOptions::new().write(true).open(&path).unwrap();
            for _ in 0..3 {
                writer.write_all(&[b'x'; 40_000]).unwrap();
                thread::sleep(BRIEFLY);
            }
        });
        let mut text = String::new();
        input.read_to_string(&mut text).unwrap();
        writing.join().unwrap();
        assert_eq!(text.len(), 120_000);
    }

    #[test]
    fn a_folder_is_no_file() {
        let folder = tempfile::tempdir().unwrap();
        let error = Input::open(folder.path()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::IsADirectory);
        assert!(open_regular(folder.path()).is_err());
    }

    #[test]
    fn a_file_is_read_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, "a list").unwrap();
        assert_eq!(text(&path).unwrap(), "a list");
        assert!(open_regular(&path).is_ok());
    }
}
