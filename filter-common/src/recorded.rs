//! Frames that were recorded with what became of them, through the whole core once more.
//!
//! The black-box tests hold kernel and host to each other and to parsers that know nothing of nxdp;
//! they need root and half a minute. What the host made of their frames lies in `recorded/`, a file
//! a test, so that a change of the core is judged here in a second. A change that is meant is
//! recorded anew, as root, by the tests that are named like the files:
//! `NXDP_RECORD=$PWD/filter-common/recorded cargo test -p filter-user --test packet tcp::`.
//! The difference is read like code.
//!
//! Frames that are a few bits off show more edges than are written down. For each recorded frame,
//! `recorded/changes/` has a digest of what becomes of some changes of it: a digest that differs
//! names the frame. A file that is deleted there is written anew.
//!
//! A file is lines of words. `world N` empties all tables and makes a table of N records; `record`,
//! `policy`, `client`, `selected`, `interface`, `resolver`, `link` and `override` are an entry each:
//! key and value, in hex, without the zeros at its end. `now` sets the clock. `in` is a frame, `out`
//! the reason and the frame that leaves, or `same`.

use std::{fs, path::Path};

use bytemuck::{Pod, Zeroable};

use crate::{
    filter::{Host, filter},
    frame::BufferFrame,
    layout::{POLICY_REFUSE_BYPASS, PolicyRecord, Record},
    scratch::Scratch,
    selector::Selector,
    world::World,
};

/// Room that a recorded frame had, and the interface by which it came.
const FRAME_ROOM_BYTES: usize = 4096 - 256 - 320;
const LOOPBACK: u32 = 1;

impl World {
    /// Adds what a line says.
    fn add(&mut self, what: &str, key: &str, value: &str) {
        match what {
            "record" => self.records[key.parse::<usize>().unwrap()] = pod(value),
            "policy" => drop(self.policies.insert(key.parse().unwrap(), pod(value))),
            "override" => drop(self.overrides.insert(key.parse().unwrap(), pod(value))),
            "interface" => {
                self.interfaces
                    .insert(key.parse().unwrap(), value.parse().unwrap());
            }
            "now" => self.now_ns.set(key.parse().unwrap()),
            "selected" => {
                let (selector, key) = key.split_once('/').unwrap();
                let selector = Selector::from_word(selector).unwrap();
                self.selected
                    .insert((selector, pod(key)), value.parse().unwrap());
            }
            "client" | "resolver" | "link" => {
                let (address, len) = key.split_once('/').unwrap();
                let entry = (pod(address), len.parse().unwrap(), value.parse().unwrap());
                self.prefixes
                    .entry(what.to_owned())
                    .or_default()
                    .push(entry);
            }
            _ => panic!("unknown word {what}"),
        }
    }

    /// Why a frame leaves, and how.
    fn judge(&self, frame: &[u8], scratch: &mut Scratch) -> (&'static str, Vec<u8>) {
        let mut buffer = frame.to_vec();
        buffer.resize(FRAME_ROOM_BYTES.max(frame.len()), 0);
        let mut frame = BufferFrame::new(&mut buffer, frame.len()).from_interface(LOOPBACK);
        let refuses = |policy: &PolicyRecord| policy.flags & POLICY_REFUSE_BYPASS != 0;
        if self.policies.values().any(refuses) {
            frame = frame.watching_bypasses();
        }
        let reason = filter(&mut frame, || Some(Host::new(self, scratch)));
        (reason.name(), frame.bytes().to_vec())
    }
}

/// A record of its first bytes in hex.
fn pod<T: Pod>(text: &str) -> T {
    let mut record = T::zeroed();
    let bytes = bytes(text);
    bytemuck::bytes_of_mut(&mut record)[..bytes.len()].copy_from_slice(&bytes);
    record
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits = (0..hex.len()).step_by(2);
    digits
        .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
        .collect()
}

/// Judges the frames of a file again: which leave otherwise; and a line for each, with the digest of
/// what becomes of changes of it.
fn replay(text: &str, wrong: &mut Vec<String>) -> Vec<String> {
    // Changes are judged in a world beside it: they open connections, too.
    let (mut world, mut beside) = (World::default(), World::default());
    let mut scratch = Box::new(Scratch::zeroed());
    let (mut frame, mut digests) = (Vec::new(), Vec::new());
    for (number, line) in (1..).zip(text.lines()) {
        let mut words = line.split(' ');
        let mut next = || words.next().unwrap_or_default();
        let (what, key, value) = (next(), next(), next());
        match what {
            "world" => {
                (world, beside) = (World::default(), World::default());
                world.records = vec![Record::zeroed(); key.parse().unwrap()];
                beside.records.clone_from(&world.records);
                *scratch = Scratch::zeroed();
            }
            "in" => frame = bytes(key),
            "out" => {
                let digest =
                    digest_of_changes(&frame, number, |frame| beside.judge(frame, &mut scratch));
                digests.push(format!("{number} {digest:08x}"));
                let after = match value {
                    "same" => frame.clone(),
                    hex => bytes(hex),
                };
                let (reason, left) = world.judge(&frame, &mut scratch);
                if reason != key {
                    wrong.push(format!("line {number}: {reason} instead of {key}"));
                } else if left != after {
                    wrong.push(format!("line {number}: other bytes"));
                }
            }
            _ => {
                world.add(what, key, value);
                beside.add(what, key, value);
            }
        }
    }
    digests
}

/// Changes of each frame that are judged.
const CHANGES: usize = 24;
/// Values where parsers change their mind.
const EDGES: [u8; 10] = [0, 1, 0x0c, 0x29, 0x3f, 0x40, 0x7f, 0x80, 0xc0, 0xff];

/// A few bits that say what becomes of changes of a frame, the same for the same `seed`.
fn digest_of_changes(
    frame: &[u8],
    seed: u64,
    mut judge: impl FnMut(&[u8]) -> (&'static str, Vec<u8>),
) -> u32 {
    let mut state = seed << 32;
    let mut below = |bound: usize| {
        // splitmix64
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed >> 32) as usize % bound
    };
    let mut digest = 0x811c_9dc5_u32;
    for _ in 0..CHANGES {
        let mut changed = frame.to_vec();
        let at = below(changed.len());
        match below(8) {
            0..=3 => changed[at] ^= 1 << below(8),
            4 => changed[at] = EDGES[below(EDGES.len())],
            5 => changed.truncate(at.max(14)),
            6 => changed.insert(at, below(256) as u8),
            _ => drop(changed.remove(at)),
        }
        let (reason, left) = judge(&changed);
        for byte in reason.bytes().chain(left) {
            // FNV-1a
            digest = (digest ^ u32::from(byte)).wrapping_mul(0x0100_0193);
        }
    }
    digest
}

/// Holds digests to those in a file of the same name; writes it where there is none.
fn compare(file: &Path, digests: &[String], wrong: &mut Vec<String>) {
    let Ok(known) = fs::read_to_string(file) else {
        fs::write(file, digests.join("\n") + "\n").unwrap();
        return wrong.push("no digests were there; they are written now, read them".to_owned());
    };
    let known = known.lines().chain(std::iter::repeat(""));
    let differing = digests.iter().zip(known).filter(|(new, old)| new != old);
    wrong.extend(differing.map(|(new, old)| format!("changes of line {new} instead of {old}")));
}

#[test]
fn every_recorded_frame_and_changes_of_it_leave_as_they_left() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("recorded");
    let mut count = 0;
    for entry in fs::read_dir(&folder).unwrap() {
        let file = entry.unwrap().path();
        if file.is_dir() {
            continue;
        }
        let mut wrong = Vec::new();
        let digests = replay(&fs::read_to_string(&file).unwrap(), &mut wrong);
        count += digests.len();
        let known = folder.join("changes").join(file.file_name().unwrap());
        compare(&known, &digests, &mut wrong);
        let first = &wrong[..wrong.len().min(10)];
        assert!(wrong.is_empty(), "{}: {first:#?}", file.display());
    }
    assert!(count > 1000, "{count} frames are few");
}
