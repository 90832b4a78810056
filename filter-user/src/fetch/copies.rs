//! Copies of a list from the address that it had before.
//!
//! A copy is called by the list's name and its address. Where the address changed, the copy of the
//! former one stands in until the list came from the new one; then it goes.

use std::{
    fs::{self, DirEntry, File},
    path::{Path, PathBuf},
};

use crate::identity;

/// The hash of the address and the ending, behind the name: `-0123456789abcdef.zst`.
const ADDRESS_BYTES: usize = 1 + 16;
const ENDING: &str = ".zst";

/// The newest copy of the list whose copy would be `copy`, by a former address; `is_other` says
/// what is the copy of another list.
pub fn former(copy: &Path, is_other: impl Fn(&Path) -> bool) -> Option<PathBuf> {
    let changed = |path: &PathBuf| {
        fs::symlink_metadata(path)
            .and_then(|file| file.modified())
            .ok()
    };
    all(copy)
        .into_iter()
        .filter(|path| !is_other(path))
        .max_by_key(changed)
}

/// Removes the copies of the list by former addresses, and what is remembered of them.
pub(super) fn forget_former(copy: &Path, is_other: impl Fn(&Path) -> bool) {
    for path in all(copy).into_iter().filter(|path| !is_other(path)) {
        // One that stays takes room, and no list reads it while there is the right one.
        let _ = fs::remove_file(&path);
        let _ = fs::remove_file(path.with_extension("json"));
    }
}

/// The other files in the folder that are called by the same name.
fn all(copy: &Path) -> Vec<PathBuf> {
    let (Some(folder), Some(name)) = (copy.parent(), name_of(copy)) else {
        return Vec::new();
    };
    let entries = identity::as_owner(copy, || {
        // Whoever may write copies decides where a link there leads.
        File::open(folder)?;
        fs::read_dir(folder)
    });
    let is_file = |entry: &DirEntry| entry.file_type().is_ok_and(|kind| kind.is_file());
    let entries = entries.into_iter().flatten().flatten().filter(is_file);
    let paths = entries.map(|entry| entry.path());
    paths
        .filter(|path| path != copy && name_of(path) == Some(name))
        .collect()
}

/// What a copy is called without its address.
fn name_of(copy: &Path) -> Option<&str> {
    let stem = copy.file_name()?.to_str()?.strip_suffix(ENDING)?;
    let (name, address) = stem.split_at_checked(stem.len().checked_sub(ADDRESS_BYTES)?)?;
    let digits = address.strip_prefix('-')?;
    let is_address = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    is_address.then_some(name)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;

    #[test]
    fn the_newest_copy_of_a_former_address_stands_in_and_those_of_other_lists_do_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let now = SystemTime::now();
        for (age, name) in (0..).zip([
            "a-b-00000000000000ff.zst",
            "a-000000000000000z.zst",
            "a-0000000000000003.json",
            "a-0000000000000004.zst",
            "a-0000000000000001.zst",
            "a-0000000000000002.zst",
        ]) {
            let file = File::create(path(name)).unwrap();
            file.set_modified(now - Duration::from_secs(age)).unwrap();
        }
        let copy = path("a-00000000000000ff.zst");
        // That of another list that is called the same.
        let is_other = |other: &Path| other == path("a-0000000000000004.zst");
        assert_eq!(
            former(&copy, is_other),
            Some(path("a-0000000000000001.zst"))
        );
        forget_former(&copy, is_other);
        assert_eq!(former(&copy, is_other), None);
        assert_eq!(
            former(&copy, |_| false),
            Some(path("a-0000000000000004.zst"))
        );
        assert_eq!(former(&path("c-00000000000000ff.zst"), |_| false), None);
        assert!(path("a-b-00000000000000ff.zst").exists());
    }
}
