//! What is remembered of a list beside its copy.
//!
//! A file of JSON. Without it, or with one that is not understood, the list is
//! merely fetched again.

use std::{
    fs::{self, File, Permissions},
    io::{self, Read as _, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    time::SystemTime,
};

use filter_lists::input::open_regular;
use serde::{Deserialize, Serialize};

use super::{Error, LastTry, client::Validators, receive::TEMPORARY_PREFIX};
use crate::identity;

/// Version of the file.
const VERSION: u32 = 1;
/// No file of ours is longer.
const TEXT_MAX_BYTES: u64 = 1 << 20;

/// What is remembered of a list.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, Eq)]
pub(super) struct State {
    pub(super) version: u32,
    /// The copy, if there is one.
    pub(super) copy: Option<Copy>,
    /// When the server said last that the copy is what it has, in seconds since 1970.
    pub(super) checked_s: Option<u64>,
    /// What became of the last try.
    pub(super) last: Option<LastTry>,
    /// Tries that failed since one that did not.
    pub(super) failures: u32,
    /// When a try began that has no end yet, in seconds since 1970.
    #[serde(default)]
    pub(super) under_way_s: Option<u64>,
    /// When the server wants to be asked again at the earliest, in seconds since 1970.
    pub(super) not_before_s: Option<u64>,
}

/// The copy of a list.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq)]
pub(super) struct Copy {
    pub(super) validators: Validators,
    /// When it was fetched, in seconds since 1970.
    pub(super) fetched_s: u64,
    /// Length of the file.
    pub(super) file_bytes: u64,
    pub(super) rules: u64,
    pub(super) digest: String,
}

impl State {
    /// What is remembered of the list whose copy is `copy`.
    pub(super) fn read(copy: &Path) -> Self {
        let text = read_text(&path_of(copy)).unwrap_or_default();
        let mut state: Self = serde_json::from_slice(&text).unwrap_or_default();
        if state.version != VERSION {
            state = Self::default();
        }
        let file_bytes = fs::metadata(copy).map(|metadata| metadata.len()).ok();
        // Whoever put another file there did not ask the server about it.
        let is_same = |copy: &Copy| Some(copy.file_bytes) == file_bytes;
        if !state.copy.as_ref().is_some_and(is_same) {
            state.copy = None;
            state.checked_s = None;
        }
        state
    }

    /// Writes it beside the copy.
    pub(super) fn write(&mut self, copy: &Path) -> Result<(), Error> {
        self.version = VERSION;
        let path = path_of(copy);
        replace(&path, &serde_json::to_vec_pretty(self).unwrap_or_default())
            .map_err(|source| Error::Write { path, source })
    }
}

fn path_of(copy: &Path) -> PathBuf {
    copy.with_extension("json")
}

/// The text of the file, as far as one of ours goes.
fn read_text(path: &Path) -> io::Result<Vec<u8>> {
    let file = identity::as_owner(path, || open_regular(path))?;
    let mut text = Vec::new();
    file.take(TEXT_MAX_BYTES).read_to_end(&mut text)?;
    Ok(text)
}

/// Whoever reads the file sees the old text or the new one.
fn replace(path: &Path, text: &[u8]) -> io::Result<()> {
    let _owner = identity::of_owner(path)?;
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new()
        .prefix(TEMPORARY_PREFIX)
        .permissions(Permissions::from_mode(0o644))
        .tempfile_in(folder)?;
    file.write_all(text)?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    sync_folder(folder)
}

/// Makes the renaming of a file in `folder` last.
pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Seconds since 1970; 0 on a clock that is before.
pub(super) fn now_s() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}
