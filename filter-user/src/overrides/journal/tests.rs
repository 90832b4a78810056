use std::fs;

use filter_common::name::Name;
use jiff::Timestamp;
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::overrides::{OverrideAction, OverrideClients, OverrideScope, OverrideSpec};

fn spec(name: &str) -> OverrideSpec {
    OverrideSpec {
        action: OverrideAction::Allow,
        name: (&Name::from_text(name.as_bytes()).unwrap()).into(),
        scope: OverrideScope::Exact,
        clients: OverrideClients::Policy("kids".to_owned()),
        expires: Some(Timestamp::from_second(4_000_000_000).unwrap()),
        reason: "line\nbreak \"and\" quotes".to_owned(),
        by: Some("ann".to_owned()),
        ticket: None,
        against_guard: false,
    }
}

/// A journal and the set that it keeps.
struct Kept {
    journal: Journal,
    set: OverrideSet,
}

impl Kept {
    fn open(path: &Path) -> Self {
        let (journal, set) = Journal::open(path).unwrap();
        Self { journal, set }
    }

    fn change(&mut self, change: &OverrideChange) {
        if self.journal.is_ready() {
            self.journal.append(change).unwrap();
            self.set.apply(change);
            self.journal.sync().unwrap();
        } else {
            self.set.apply(change);
            self.journal.write_anew(&self.set).unwrap();
        }
    }

    fn add(&mut self, name: &str) {
        self.give(spec(name));
    }

    /// One that takes 4 KiB of the file.
    fn add_long(&mut self, name: &str) {
        let reason = "x".repeat(4096);
        self.give(OverrideSpec {
            reason,
            ..spec(name)
        });
    }

    fn give(&mut self, spec: OverrideSpec) {
        let change = self.set.plan(vec![spec], Timestamp::UNIX_EPOCH);
        self.change(&change.unwrap());
    }

    fn names(&self) -> Vec<String> {
        self.set
            .iter()
            .map(|entry| entry.spec.name.to_string())
            .collect()
    }
}

fn file() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state/overrides");
    (folder, path)
}

#[test]
fn what_was_written_is_read_again_word_for_word() {
    let (_folder, path) = file();
    let mut kept = Kept::open(&path);
    kept.add("a.example");
    kept.add("b.example");
    kept.change(&OverrideChange {
        removed: vec![1],
        added: Vec::new(),
    });
    kept.add("c.example");
    let again = Kept::open(&path);
    assert_eq!(again.names(), ["b.example", "c.example"]);
    assert!(again.set.iter().eq(kept.set.iter()));
    assert_eq!(again.set.last_id(), 3);
}

#[test]
fn what_is_no_file_is_refused_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("fifo");
    let (kind, mode) = (rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU);
    rustix::fs::mknodat(rustix::fs::CWD, &path, kind, mode, 0).unwrap();
    for path in [path.as_path(), folder.path()] {
        assert!(matches!(Journal::open(path), Err(Error::Foreign(_))));
    }
}

#[test]
fn nothing_is_written_before_there_is_something_to_write() {
    let (folder, path) = file();
    let kept = Kept::open(&path);
    assert!(kept.set.is_empty());
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn a_file_cut_anywhere_says_every_whole_change_and_can_be_written_on() {
    let (_folder, path) = file();
    let mut kept = Kept::open(&path);
    let mut ends = Vec::new();
    for name in ["a.example", "b.example", "c.example"] {
        kept.add(name);
        ends.push(fs::metadata(&path).unwrap().len());
    }
    drop(kept);
    let whole = fs::read(&path).unwrap();
    let head_end = whole.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    for cut in head_end..=whole.len() {
        fs::write(&path, &whole[..cut]).unwrap();
        let mut kept = Kept::open(&path);
        let changes = ends.iter().filter(|end| **end <= cut as u64).count();
        assert_eq!(
            kept.names(),
            ["a.example", "b.example", "c.example"][..changes]
        );
        kept.add("z.example");
        assert_eq!(Kept::open(&path).names().len(), changes + 1, "cut at {cut}");
    }
}

#[test]
fn a_damaged_line_in_the_middle_is_an_error_with_its_number_and_at_the_end_it_is_cut() {
    let (_folder, path) = file();
    let mut kept = Kept::open(&path);
    kept.add("a.example");
    kept.add("b.example");
    drop(kept);
    let mut bytes = fs::read(&path).unwrap();
    let second = bytes.iter().position(|byte| *byte == b'\n').unwrap() + 30;
    bytes[second] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let error = Journal::open(&path).unwrap_err();
    assert!(matches!(error, Error::Damaged { line: 2, .. }), "{error}");
    bytes[second] ^= 1;
    let last = bytes.len() - 5;
    bytes[last] ^= 1;
    fs::write(&path, &bytes).unwrap();
    assert_eq!(Kept::open(&path).names(), ["a.example"]);
}

#[test]
fn another_file_is_not_touched() {
    let (_folder, path) = file();
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    for text in ["hello\n", "{}\n", "0000000000000000 {}\n"] {
        fs::write(&path, text).unwrap();
        assert!(matches!(Journal::open(&path), Err(Error::Foreign(_))));
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
    }
}

#[test]
fn two_that_write_the_same_file_do_not_mix_and_one_that_reads_takes_no_harm() {
    let (_folder, path) = file();
    let mut first = Kept::open(&path);
    first.add("a.example");
    let mut second = Kept::open(&path);
    assert_eq!(second.names(), ["a.example"]);
    let change = second
        .set
        .plan(vec![spec("b.example")], Timestamp::UNIX_EPOCH)
        .unwrap();
    let refused = second.journal.append(&change);
    assert!(matches!(refused, Err(Error::InUse(_))));
    first.add("c.example");
    drop(first);
    // What the second one knows is old by now.
    let refused = second.journal.append(&change);
    assert!(matches!(refused, Err(Error::InUse(_))));
    assert_eq!(Kept::open(&path).names(), ["a.example", "c.example"]);
}

#[test]
fn a_change_that_is_taken_back_leaves_no_trace() {
    let (_folder, path) = file();
    let mut kept = Kept::open(&path);
    kept.add("a.example");
    let before = fs::read(&path).unwrap();
    let change = kept
        .set
        .plan(vec![spec("b.example")], Timestamp::UNIX_EPOCH)
        .unwrap();
    kept.journal.append(&change).unwrap();
    kept.journal.take_back().unwrap();
    assert_eq!(fs::read(&path).unwrap(), before);
    kept.add("c.example");
    assert_eq!(Kept::open(&path).names(), ["a.example", "c.example"]);
}

#[test]
fn a_file_that_somebody_deleted_is_written_anew_and_a_long_one_becomes_short() {
    let (_folder, path) = file();
    let mut kept = Kept::open(&path);
    kept.add("a.example");
    fs::remove_file(&path).unwrap();
    kept.add("b.example");
    assert_eq!(Kept::open(&path).names(), ["a.example", "b.example"]);
    let len = || fs::metadata(&path).unwrap().len();
    let mut longest = 0;
    for round in 0..400 {
        kept.add_long(&format!("n{}.example", round % 3));
        longest = longest.max(len());
    }
    // Nobody found the time, but there is an end to it.
    assert!(longest > SMALL_BYTES * (PATIENCE - 1), "{longest}");
    assert!(longest < SMALL_BYTES * (PATIENCE + 1), "{longest}");
    while !kept.journal.is_long() {
        kept.add_long("n0.example");
    }
    kept.journal.write_anew(&kept.set).unwrap();
    assert!(len() < SMALL_BYTES && !kept.journal.is_long());
    let again = Kept::open(&path);
    assert_eq!(again.set.len(), 5);
    assert_eq!(again.set.last_id(), kept.set.last_id());
}

#[test]
fn a_file_that_is_written_anew_keeps_what_only_the_clock_ended() {
    let (_folder, path) = file();
    let mut kept = Kept::open(&path);
    kept.add("a.example");
    kept.add("b.example");
    kept.set.end(Timestamp::from_second(5_000_000_000).unwrap());
    kept.journal.write_anew(&kept.set).unwrap();
    assert!(kept.names().is_empty());
    assert_eq!(Kept::open(&path).names(), ["a.example", "b.example"]);
}

proptest! {
    #[test]
    fn whatever_stands_behind_the_last_whole_line_is_cut(tail in proptest::collection::vec(any::<u8>(), 0..200)) {
        let (_folder, path) = file();
        let mut kept = Kept::open(&path);
        kept.add("a.example");
        drop(kept);
        let mut file = OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(&tail).unwrap();
        let mut kept = Kept::open(&path);
        prop_assert_eq!(kept.names(), ["a.example"]);
        kept.add("b.example");
        prop_assert_eq!(Kept::open(&path).names(), ["a.example", "b.example"]);
    }
}
