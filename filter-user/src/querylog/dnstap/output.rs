//! The file or socket that frames go to.

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::{fs::OpenOptionsExt as _, net::UnixStream},
    path::{Path, PathBuf},
    time::Duration,
};

use super::{
    Target,
    frames::{self, Control},
};
use crate::identity;

/// How long a reader may take for anything.
const READER_PATIENCE: Duration = Duration::from_secs(2);
/// Who may read the file: it tells who asked for what.
const FILE_MODE: u32 = 0o640;

/// An open stream of frames.
pub(super) enum Output {
    File(TapFile),
    Socket(UnixStream),
}

impl Output {
    /// Opens the target and begins a stream.
    pub(super) fn open(target: &Target) -> io::Result<Self> {
        match target {
            Target::File(path, max_bytes) => TapFile::open(path, *max_bytes).map(Self::File),
            Target::Socket(path) => connect(path).map(Self::Socket),
        }
    }

    /// Writes whole frames. After an error the output is of no use.
    pub(super) fn write(&mut self, frames: &[u8]) -> io::Result<()> {
        match self {
            Self::File(file) => file.write(frames),
            Self::Socket(stream) => stream.write_all(frames),
        }
    }

    /// Ends the stream as its reader expects it.
    pub(super) fn finish(self) -> io::Result<()> {
        match self {
            Self::File(mut file) => file.finish(),
            Self::Socket(mut stream) => {
                stream.write_all(&frames::control(Control::Stop))?;
                frames::expect(&mut stream, Control::Finish)
            }
        }
    }
}

fn connect(path: &Path) -> io::Result<UnixStream> {
    let mut stream = UnixStream::connect(path)?;
    stream.set_read_timeout(Some(READER_PATIENCE))?;
    stream.set_write_timeout(Some(READER_PATIENCE))?;
    stream.write_all(&frames::control(Control::Ready))?;
    frames::expect(&mut stream, Control::Accept)?;
    stream.write_all(&frames::control(Control::Start))?;
    Ok(stream)
}

/// A file of a bounded size, and the one before it beside it.
pub(super) struct TapFile {
    path: PathBuf,
    max_bytes: u64,
    file: File,
    /// Bytes of whole frames.
    len: u64,
}

impl TapFile {
    /// Begins a file; one that is there is put aside, because a stream cannot be continued.
    fn open(path: &Path, max_bytes: u64) -> io::Result<Self> {
        let _owner = identity::of_owner(path)?;
        match fs::metadata(path) {
            Ok(metadata) if metadata.len() > 0 => fs::rename(path, aside(path))?,
            _ => {}
        }
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(FILE_MODE)
            .open(path)?;
        let mut tap = Self {
            path: path.to_owned(),
            max_bytes,
            file,
            len: 0,
        };
        tap.append(&frames::control(Control::Start))?;
        Ok(tap)
    }

    fn write(&mut self, frames: &[u8]) -> io::Result<()> {
        if self.len + frames.len() as u64 > self.max_bytes {
            self.finish()?;
            *self = Self::open(&self.path, self.max_bytes)?;
        }
        self.append(frames)
    }

    fn append(&mut self, frames: &[u8]) -> io::Result<()> {
        if let Err(error) = self.file.write_all(frames) {
            // Readers stop at half a frame: a full disk must not leave one.
            self.file.set_len(self.len)?;
            return Err(error);
        }
        self.len += frames.len() as u64;
        Ok(())
    }

    fn finish(&mut self) -> io::Result<()> {
        self.append(&frames::control(Control::Stop))
    }
}

/// The name under which the file before this one is kept.
fn aside(path: &Path) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(".1");
    name.into()
}
