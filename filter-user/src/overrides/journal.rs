//! Overrides on disk.
//!
//! A file of lines, each of which is the checksum of a JSON text and the text:
//! first a head, then one change a line. A change is on disk when
//! [`Journal::sync`] returns, whole or not at all: of what a crash left behind the
//! last whole line, everything is cut off. A line that is damaged with whole lines
//! behind it was not left by a crash, and is an error.
//!
//! The file is written anew, beside the old one, when most of it is of no use any more: that
//! waits for the disk several times, and is put off while changes come one after another.

mod line;

use std::{
    fs::{self, File, Metadata, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use self::line::{Head, Lines};
use super::{OverrideChange, OverrideSet};
use crate::identity;

/// A file that is no longer than that is not worth being written anew.
const SMALL_BYTES: u64 = 64 * 1024;
/// Most of a file is of no use that is more than so many times as long as when it was written anew.
const GROWTH: u64 = 4;
/// A file of so many times those lengths is written anew however busy we are.
const PATIENCE: u64 = 16;
/// No journal of ours gets that long.
const LENGTH_MAX_BYTES: u64 = 1 << 30;

/// Why overrides cannot be kept.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error("read overrides '{path}'")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file cannot be written.
    #[error("write overrides '{path}'; nothing was changed")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A line in the middle is damaged.
    #[error(
        "read overrides '{path}': line {line} is damaged; restore the file, or delete the line to go on without what it says"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
    },
    /// The file is something else.
    #[error(
        "read overrides '{0}': it was not written by this version of nxdp; move it away, or name another file with `overrides`"
    )]
    Foreign(PathBuf),
    /// It could not be read, so that it must not be written.
    #[error(
        "write overrides '{path}': it cannot be read ({why}), and what it says must not be lost; what was in force of it stays"
    )]
    Sealed {
        /// The file.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// Another process writes it.
    #[error(
        "write overrides '{0}': another nxdp keeps its overrides there; name another file with `overrides`"
    )]
    InUse(PathBuf),
}

/// The file of overrides; it is made when there is something to write.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    /// Open and locked once it was written to.
    file: Option<File>,
    /// Inode and length of the file as it was read or written last; zero if there is none.
    seen: (u64, u64),
    /// Bytes of whole lines.
    len: u64,
    /// Bytes of whole lines before the last change.
    len_before: u64,
    /// Bytes when it was read or written anew.
    len_anew: u64,
    /// Why nothing may be written, if so.
    sealed: Option<String>,
}

impl Journal {
    /// Reads what the file says; a file that is not there says nothing.
    ///
    /// # Errors
    ///
    /// When the file cannot be read, is none of ours, or is damaged.
    pub fn open(path: &Path) -> Result<(Self, OverrideSet), Error> {
        let (mut journal, mut set) = Self::unread(path);
        match read(path) {
            Ok((_, metadata)) if !metadata.is_file() => {
                return Err(Error::Foreign(journal.path));
            }
            Ok((bytes, metadata)) => {
                journal.len = journal.replay(&bytes, &mut set)?;
                journal.len_anew = journal.len;
                journal.seen = (metadata.ino(), bytes.len() as u64);
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => {
                return Err(Error::Read {
                    path: journal.path,
                    source,
                });
            }
        }
        Ok((journal, set))
    }

    /// The journal at `path` as if it said nothing: it is not looked at.
    pub fn unread(path: &Path) -> (Self, OverrideSet) {
        let journal = Self {
            path: path.to_owned(),
            file: None,
            seen: (0, 0),
            len: 0,
            len_before: 0,
            len_anew: 0,
            sealed: None,
        };
        (journal, OverrideSet::default())
    }

    /// The journal at `path` where it cannot be read: nothing is known of it, and nothing written.
    pub fn sealed(path: &Path, why: String) -> (Self, OverrideSet) {
        let (journal, set) = Self::unread(path);
        let sealed = Some(why);
        (Self { sealed, ..journal }, set)
    }

    /// Why it could not be read, if so.
    pub fn seal(&self) -> Option<&str> {
        self.sealed.as_deref()
    }

    /// Fails if nothing may be written.
    ///
    /// # Errors
    ///
    /// When it could not be read.
    pub fn check_seal(&self) -> Result<(), Error> {
        match &self.sealed {
            None => Ok(()),
            Some(why) => Err(Error::Sealed {
                path: self.path.clone(),
                why: why.clone(),
            }),
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether a change can be appended, which takes no longer than a write.
    ///
    /// Otherwise there is no file yet, somebody took it away, or it is far too long.
    pub fn is_ready(&self) -> bool {
        self.sealed.is_none() && self.is_in_place() && !self.is_longer_than(PATIENCE)
    }

    /// Whether [`Self::write_anew`] would make the file much shorter.
    pub fn is_long(&self) -> bool {
        self.is_longer_than(1)
    }

    fn is_longer_than(&self, times: u64) -> bool {
        let usual = SMALL_BYTES.max(self.len_anew.saturating_mul(GROWTH));
        self.len > usual.saturating_mul(times)
    }

    /// Writes a change at the end of a file that [`Self::is_ready`]; it is not safe before
    /// [`Self::sync`].
    ///
    /// # Errors
    ///
    /// When it cannot be written; the file says what it said before.
    pub fn append(&mut self, change: &OverrideChange) -> Result<(), Error> {
        let line = line::encode(change);
        let mut file = self.locked()?;
        let written = file.write_all(&line);
        self.len_before = self.len;
        if let Err(source) = written {
            let _ = self.take_back();
            return Err(self.cannot_write(source));
        }
        self.len += line.len() as u64;
        self.seen.1 = self.len;
        Ok(())
    }

    /// Waits until what was appended would survive a crash of the machine.
    ///
    /// # Errors
    ///
    /// When the disk fails; the change is taken back as well as can be.
    pub fn sync(&mut self) -> Result<(), Error> {
        let Some(file) = &self.file else {
            return Ok(());
        };
        file.sync_data().map_err(|source| {
            let _ = self.take_back();
            self.cannot_write(source)
        })
    }

    /// Takes the last change back: it came to nothing.
    ///
    /// # Errors
    ///
    /// When the file cannot be cut; it may say too much then.
    pub fn take_back(&mut self) -> Result<(), Error> {
        let Some(file) = &self.file else {
            return Ok(());
        };
        file.set_len(self.len_before)
            .map_err(|source| self.cannot_write(source))?;
        self.len = self.len_before;
        self.seen.1 = self.len;
        Ok(())
    }

    /// Applies every whole line; bytes of whole lines.
    fn replay(&self, bytes: &[u8], set: &mut OverrideSet) -> Result<u64, Error> {
        let mut lines = Lines::new(bytes);
        let foreign = || Error::Foreign(self.path.clone());
        if bytes.is_empty() {
            return Ok(0);
        }
        let head: Head = lines
            .read_next()
            .ok_or_else(foreign)?
            .map_err(|_| foreign())?;
        if !head.is_ours() {
            return Err(foreign());
        }
        while let Some(change) = lines.read_next::<OverrideChange>() {
            set.apply(&change.map_err(|_| foreign())?);
        }
        set.count_from(head.last_id);
        if lines.has_whole_line_left() {
            return Err(Error::Damaged {
                path: self.path.clone(),
                line: lines.read_count() + 1,
            });
        }
        Ok(lines.read_bytes() as u64)
    }

    /// Whether the file is there and is the one that was seen last.
    fn is_in_place(&self) -> bool {
        let found = identity::as_owner(&self.path, || fs::metadata(&self.path));
        let inode = found.map_or(0, |metadata| metadata.ino());
        inode != 0 && inode == self.seen.0 && self.len > 0
    }

    /// The file, opened and locked the first time; whatever a crash left at its end is cut off.
    fn locked(&mut self) -> Result<&File, Error> {
        let file = match self.file.take() {
            Some(file) => file,
            None => self.open_locked()?,
        };
        Ok(self.file.insert(file))
    }

    fn open_locked(&self) -> Result<File, Error> {
        let open = || OpenOptions::new().append(true).open(&self.path);
        let file =
            identity::as_owner(&self.path, open).map_err(|source| self.cannot_write(source))?;
        let metadata = file
            .metadata()
            .map_err(|source| self.cannot_write(source))?;
        let is_same = (metadata.ino(), metadata.len()) == self.seen;
        if file.try_lock().is_err() || !is_same {
            return Err(Error::InUse(self.path.clone()));
        }
        file.set_len(self.len)
            .map_err(|source| self.cannot_write(source))?;
        Ok(file)
    }

    /// Writes the whole set into a new file, which takes the place of the old one, and waits
    /// until it would survive a crash of the machine.
    ///
    /// # Errors
    ///
    /// When it cannot be written; the old file stays, or is found out to be another one.
    pub fn write_anew(&mut self, set: &OverrideSet) -> Result<(), Error> {
        self.check_seal()?;
        if self.file.is_none() && self.is_in_place() {
            // Nobody else may be writing to the one that is replaced.
            self.locked()?;
        }
        let mut bytes = line::encode(&Head::new(set.last_id()));
        for entry in set.iter().chain(set.past()) {
            bytes.extend(line::encode(&OverrideChange {
                removed: Vec::new(),
                added: vec![entry.clone()],
            }));
        }
        let (file, inode) = self
            .replace(&bytes)
            .map_err(|source| self.cannot_write(source))?;
        self.len = bytes.len() as u64;
        self.len_anew = self.len;
        self.seen = (inode, self.len);
        self.file = Some(file);
        Ok(())
    }

    fn replace(&self, bytes: &[u8]) -> io::Result<(File, u64)> {
        let _owner = identity::of_owner(&self.path)?;
        let folder = match self.path.parent() {
            Some(folder) if folder != Path::new("") => folder,
            _ => Path::new("."),
        };
        make_folder(folder)?;
        let new = self.path.with_extension("new");
        let mut options = OpenOptions::new();
        options.append(true).create(true).mode(0o640);
        options.custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
        let mut file = options.open(&new)?;
        file.try_lock()?;
        file.set_len(0)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&new, &self.path)?;
        // The new name must survive a crash too.
        File::open(folder)?.sync_all()?;
        let inode = file.metadata()?.ino();
        Ok((file, inode))
    }

    fn cannot_write(&self, source: io::Error) -> Error {
        Error::Write {
            path: self.path.clone(),
            source,
        }
    }
}

/// What a file says, and what it is; nothing of what is no file, which could keep the reader waiting.
fn read(path: &Path) -> io::Result<(Vec<u8>, Metadata)> {
    let mut options = OpenOptions::new();
    options.read(true).custom_flags(libc::O_NONBLOCK);
    let file = identity::as_owner(path, || options.open(path))?;
    let metadata = file.metadata()?;
    let mut bytes = Vec::new();
    if metadata.len() > LENGTH_MAX_BYTES {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    if metadata.is_file() {
        file.take(LENGTH_MAX_BYTES).read_to_end(&mut bytes)?;
    }
    Ok((bytes, metadata))
}

/// Makes a folder with its parents; their names survive a crash too.
fn make_folder(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    let parent = match folder.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    make_folder(parent)?;
    fs::create_dir(folder)?;
    File::open(parent)?.sync_all()
}

#[cfg(test)]
mod tests;
