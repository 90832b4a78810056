//! Notices that list files changed, by their size, time and inode.
//!
//! Looks instead of being told: that works on every file system, through
//! renames and links, and costs a few system calls a second.

use std::{os::unix::fs::MetadataExt as _, path::PathBuf};

/// What is compared of a file; `None` if it is missing.
type Stamp = Option<(u64, u64, [i64; 4])>;

/// The watched files as they were seen last.
#[derive(Debug)]
pub(super) struct Watch {
    files: Vec<(PathBuf, Stamp)>,
    /// Looks since the first change that was not told of yet; 0 means that there is none.
    waited: u32,
}

/// Looks after which a file that never rests is read nevertheless.
const WAIT_MAX: u32 = 30;

impl Watch {
    /// Notes how the files are now.
    pub(super) fn new(paths: impl Iterator<Item = PathBuf>) -> Self {
        let files = paths
            .map(|path| {
                let stamp = stamp(&path);
                (path, stamp)
            })
            .collect();
        Self { files, waited: 0 }
    }

    /// Whether some file changed and none has changed since the last look:
    /// a file that is still being written is left alone, but not for ever.
    pub(super) fn has_settled_change(&mut self) -> bool {
        let mut moving = false;
        for (path, seen) in &mut self.files {
            let now = stamp(path);
            moving |= now != *seen;
            *seen = now;
        }
        let is_told = self.waited > 0 && (!moving || self.waited >= WAIT_MAX);
        self.waited = match (is_told, moving) {
            (true, true) => 1,
            (true, false) => 0,
            (false, _) => self.waited + u32::from(moving || self.waited > 0),
        };
        is_told
    }

    /// Notes how the files are now: they are about to be read for another reason.
    pub(super) fn note(&mut self) {
        for (path, seen) in &mut self.files {
            *seen = stamp(path);
        }
        self.waited = 0;
    }

    /// Takes the files as changed, whatever they are.
    pub(super) fn look_again(&mut self) {
        self.waited = self.waited.max(1);
    }
}

fn stamp(path: &PathBuf) -> Stamp {
    let metadata = std::fs::metadata(path).ok()?;
    Some((
        metadata.ino(),
        metadata.size(),
        // The second pair cannot be set by whoever writes to the file.
        [
            metadata.mtime(),
            metadata.mtime_nsec(),
            metadata.ctime(),
            metadata.ctime_nsec(),
        ],
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_told_once_when_it_has_settled() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("list");
        std::fs::write(&path, "a").unwrap();
        let mut watch = Watch::new([path.clone()].into_iter());
        assert!(!watch.has_settled_change());
        std::fs::write(&path, "ab").unwrap();
        assert!(!watch.has_settled_change(), "it may still be written");
        assert!(watch.has_settled_change());
        assert!(!watch.has_settled_change());
    }

    #[test]
    fn a_file_that_never_rests_is_told_of_in_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("list");
        std::fs::write(&path, "a").unwrap();
        let mut watch = Watch::new([path.clone()].into_iter());
        let mut told = 0;
        for look in 0..3 * WAIT_MAX {
            std::fs::write(&path, "b".repeat(look as usize)).unwrap();
            told += u32::from(watch.has_settled_change());
        }
        assert_eq!(told, 2);
        assert!(watch.has_settled_change());
        assert!(!watch.has_settled_change());
    }

    #[test]
    fn a_change_that_was_noted_is_not_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("list");
        std::fs::write(&path, "a").unwrap();
        let mut watch = Watch::new([path.clone()].into_iter());
        std::fs::write(&path, "ab").unwrap();
        watch.note();
        assert!(!watch.has_settled_change() && !watch.has_settled_change());
    }

    #[test]
    fn a_file_that_is_replaced_by_rename_has_changed() {
        let folder = tempfile::tempdir().unwrap();
        let (path, new) = (folder.path().join("list"), folder.path().join("new"));
        std::fs::write(&path, "a").unwrap();
        let mut watch = Watch::new([path.clone()].into_iter());
        std::fs::write(&new, "b").unwrap();
        std::fs::rename(&new, &path).unwrap();
        assert!(!watch.has_settled_change());
        assert!(watch.has_settled_change());
    }
}
