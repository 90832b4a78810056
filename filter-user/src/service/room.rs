//! More room for lists: the daemon asks for it, `nxdp load --as-asked` gives it.
//!
//! The daemon may not make maps. What it wants stands in a file of its state, which a supervisor
//! watches (`nxdp-room.path`); the program that it starts then may, and ends. What the daemon
//! asks for is bounded by whoever gives it.

use std::{
    fs,
    io::{self, Read as _, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use filter_common::layout::RECORD_BYTES;
use filter_lists::{image::Image, input::open_regular};

use super::{Cause, Error, Service, kernel_handle};
use crate::identity;

/// How long an answer is waited for before the wish is said again, and twice as long each time.
const PATIENCE: Duration = Duration::from_secs(60);
const PATIENCE_MAX: Duration = Duration::from_secs(60 * 60);
/// No wish of ours is longer.
const LENGTH_MAX_BYTES: u64 = 64;

impl Service {
    /// Asks for room if that is why `error` came, and tells what will become of it.
    pub(super) fn ask_for_room(&mut self, error: &Error) -> Option<String> {
        let Error::KernelHandle(kernel_handle::Error::TableFull {
            room, sized_for, ..
        }) = error
        else {
            return None;
        };
        let state = self.state.as_ref()?;
        self.wish = None;
        let by_hand = format!("`{} --names {sized_for}` as root", self.load_command);
        match Wish::new(state.folder(), *room, self.kernel.maps().capacity()) {
            Ok(wish) => {
                self.wish = Some(wish);
                Some(format!(
                    "more room is asked for (nxdp-room.path makes it, and they go in force); without that: {by_hand}"
                ))
            }
            Err(error) => Some(format!(
                "more room cannot be asked for: {error}; run {by_hand}"
            )),
        }
    }

    /// Loads what had no room once there is another table.
    pub(super) fn look_for_room(&mut self) {
        let capacity = self.kernel.maps().capacity();
        let Some(wish) = &mut self.wish else {
            return;
        };
        if wish.is_answered(capacity) {
            self.wish = None;
            self.start_reload(Cause::Room);
        } else if let Err(error) = wish.repeat() {
            // A full disk, mostly; the next minute tries again.
            self.trouble = Some(format!("ask for room: {error}"));
        }
    }
}

/// How large a table is to be, in records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// With room for the generations to come.
    pub wanted: u32,
    /// What would do for the next one.
    pub least: u32,
}

/// A wish for room that is not fulfilled yet.
#[derive(Debug)]
pub(super) struct Wish {
    room: Room,
    file: PathBuf,
    /// Records of the table that was too small.
    capacity: u32,
    said: Instant,
    patience: Duration,
}

/// The file in the folder of the daemon's state.
pub(super) fn file_in(state: &Path) -> PathBuf {
    state.join("room")
}

impl Wish {
    /// Says the wish for the first time.
    pub(super) fn new(state: &Path, room: Room, capacity: u32) -> io::Result<Self> {
        let wish = Self {
            room,
            file: file_in(state),
            capacity,
            said: Instant::now(),
            patience: PATIENCE,
        };
        wish.write()?;
        Ok(wish)
    }

    /// Bytes of the table that is wanted.
    pub(super) fn bytes(&self) -> u64 {
        u64::from(self.room.wanted) * RECORD_BYTES as u64
    }

    /// Whether there is another table of `capacity` records, which is worth a try.
    pub(super) fn is_answered(&self, capacity: u32) -> bool {
        capacity > self.capacity
    }

    /// Says it again if nobody answered for long: whoever listens may have started after it.
    pub(super) fn repeat(&mut self) -> io::Result<()> {
        if self.said.elapsed() < self.patience {
            return Ok(());
        }
        self.said = Instant::now();
        self.patience = PATIENCE_MAX.min(self.patience * 2);
        self.write()
    }

    fn write(&self) -> io::Result<()> {
        let folder = self.file.parent().unwrap_or(Path::new("."));
        let mut file = tempfile::Builder::new()
            .prefix(Image::PARTIAL_PREFIX)
            .permissions(fs::Permissions::from_mode(0o640))
            .tempfile_in(folder)?;
        let Room { wanted, least } = self.room;
        writeln!(file, "{wanted} {least}")?;
        file.persist(&self.file)?;
        Ok(())
    }
}

impl Drop for Wish {
    fn drop(&mut self) {
        // One that stays is found to be fulfilled.
        let _ = fs::remove_file(&self.file);
    }
}

/// The room that the daemon with this state asks for; `None` if it asks for none.
///
/// # Errors
///
/// When the file cannot be read or says something else.
pub(super) fn asked(state: &Path) -> io::Result<Option<Room>> {
    let file = file_in(state);
    let opened = identity::as_owner(&file, || open_regular(&file));
    let mut text = String::new();
    match opened {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other?.take(LENGTH_MAX_BYTES).read_to_string(&mut text)?,
    };
    let mut numbers = text.split_whitespace().map(str::parse);
    match (numbers.next(), numbers.next(), numbers.next()) {
        (Some(Ok(wanted)), Some(Ok(least)), None) => Ok(Some(Room { wanted, least })),
        _ => Err(io::Error::other("it holds something else than two numbers")),
    }
}

impl Room {
    /// What is given of it to a table of `capacity` records where the largest one may have `largest`.
    ///
    /// Each step is one of a quarter at least, or goes as far as may be: whoever asks again and again is soon
    /// refused. `Err` is a table that would be too small.
    pub(super) fn granted(self, capacity: u32, largest: u32) -> Result<Option<u32>, u32> {
        if self.wanted <= capacity {
            return Ok(None);
        }
        let step = capacity.saturating_add(capacity / 4);
        let granted = self.wanted.max(step).min(largest);
        match granted > capacity && granted >= self.least {
            true => Ok(Some(granted)),
            false => Err(granted.max(capacity)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LARGEST: u32 = 1_000_000;

    #[test]
    fn a_wish_is_read_as_it_was_said_and_ends_with_its_value() {
        let state = tempfile::tempdir().unwrap();
        let room = Room {
            wanted: 500_000,
            least: 200_000,
        };
        assert_eq!(asked(state.path()).unwrap(), None);
        let wish = Wish::new(state.path(), room, 16_384).unwrap();
        assert_eq!(asked(state.path()).unwrap(), Some(room));
        assert!(wish.is_answered(200_000) && !wish.is_answered(16_384));
        drop(wish);
        assert_eq!(asked(state.path()).unwrap(), None);
    }

    #[test]
    fn what_is_no_wish_is_refused() {
        let state = tempfile::tempdir().unwrap();
        for text in ["", "7", "7 8 9", "7 -8", "7 99999999999", "many more"] {
            fs::write(file_in(state.path()), text).unwrap();
            assert!(asked(state.path()).is_err(), "{text}");
        }
        fs::remove_file(file_in(state.path())).unwrap();
        fs::create_dir(file_in(state.path())).unwrap();
        assert!(asked(state.path()).is_err());
    }

    #[test]
    fn what_is_given_is_what_is_wanted_as_far_as_the_bound_and_never_too_little() {
        let room = |wanted, least| Room { wanted, least };
        assert_eq!(
            room(500_000, 200_000).granted(16_384, LARGEST),
            Ok(Some(500_000))
        );
        assert_eq!(
            room(2_000_000, 900_000).granted(16_384, LARGEST),
            Ok(Some(LARGEST))
        );
        assert_eq!(
            room(3_000_000, 1_200_000).granted(16_384, LARGEST),
            Err(LARGEST)
        );
        assert_eq!(room(16_384, 16_384).granted(16_384, LARGEST), Ok(None));
        assert_eq!(room(u32::MAX, 0).granted(LARGEST, LARGEST), Err(LARGEST));
    }

    #[test]
    fn whoever_asks_for_a_little_more_each_time_is_soon_refused() {
        let mut capacity = 16_384;
        let mut steps = 0;
        while let Ok(Some(granted)) = (Room {
            wanted: capacity + 1,
            least: 0,
        })
        .granted(capacity, LARGEST)
        {
            (capacity, steps) = (granted, steps + 1);
        }
        assert!(steps < 25, "{steps}");
    }
}
