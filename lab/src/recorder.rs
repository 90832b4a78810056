//! Writes down what the core on the host made of frames, for the tests of the core alone.
//!
//! What the tests assert of the answers is not written down: a recording is as right as its test.
//! `filter_common::recorded` reads it, says what the lines mean, and how to record anew.

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    fmt::{Display, LowerHex, Write as _},
    fs::{self, OpenOptions},
    io::Write as _,
    path::PathBuf,
    sync::Mutex,
    thread,
};

use bytemuck::{NoUninit, Zeroable as _};
use filter_common::{layout::PolicyRecord, reason::Reason, selector::Selector};

use crate::host_tables::HostTables;

/// The folder of the recordings, if there are to be some.
const VARIABLE: &str = "NXDP_RECORD";

/// Frames of one engine that are written down; more show little more, and files stay small.
const FRAMES_MAX: usize = 600;

/// Files that this process began.
static BEGUN: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

/// What one engine was asked.
pub(crate) struct Recorder {
    file: PathBuf,
    frames: usize,
    now_ns: u64,
}

impl Recorder {
    /// Starts with the tables that frames are judged by, if recordings are wanted.
    pub(crate) fn start(tables: &HostTables) -> Option<Self> {
        let folder = PathBuf::from(env::var_os(VARIABLE)?);
        let test = thread::current().name()?.replace("::", "-");
        let recorder = Self {
            file: folder.join(test).with_extension("txt"),
            frames: 0,
            now_ns: 0,
        };
        if BEGUN.lock().ok()?.insert(recorder.file.clone()) {
            fs::write(&recorder.file, "").ok()?;
        }
        recorder.append(&world(tables));
        Some(recorder)
    }

    /// Writes down one frame, what became of it, and when.
    pub(crate) fn frame(&mut self, now_ns: u64, before: &[u8], (reason, after): (Reason, &[u8])) {
        self.frames += 1;
        if self.frames > FRAMES_MAX {
            return;
        }
        let mut lines = String::new();
        if now_ns != self.now_ns {
            self.now_ns = now_ns;
            line(&mut lines, "now", now_ns, "");
        }
        line(&mut lines, "in", hex(before), "");
        let after = if after == before {
            "same".into()
        } else {
            hex(after)
        };
        line(&mut lines, "out", reason.name(), after);
        self.append(&lines);
    }

    fn append(&self, text: &str) {
        let file = OpenOptions::new().append(true).open(&self.file);
        let written = file.and_then(|mut file| file.write_all(text.as_bytes()));
        written.unwrap_or_else(|error| panic!("write {}: {error}", self.file.display()));
    }
}

/// The tables, a line each entry.
fn world(tables: &HostTables) -> String {
    let mut lines = String::new();
    line(&mut lines, "world", tables.records.len(), "");
    for (number, record) in tables.records.iter().enumerate() {
        if *record != filter_common::layout::Record::zeroed() {
            line(&mut lines, "record", number, bytes(record));
        }
    }
    for (number, policy) in &tables.policies {
        if *policy != PolicyRecord::zeroed() {
            line(&mut lines, "policy", number, bytes(policy));
        }
    }
    for (address, len, record) in &tables.clients {
        line(
            &mut lines,
            "client",
            format!("{}/{len}", hex(address)),
            record.0,
        );
    }
    for selector in Selector::ALL {
        for (key, policy) in tables.selected.of(selector) {
            let key = format!("{}/{}", selector.word(), hex(&key));
            line(&mut lines, "selected", key, policy);
        }
    }
    for (number, record) in BTreeMap::from_iter(&tables.interfaces) {
        line(&mut lines, "interface", number, record.0);
    }
    for (what, prefixes) in [("resolver", &tables.resolvers), ("link", &tables.on_link)] {
        for prefix in prefixes {
            line(
                &mut lines,
                what,
                format!("{}/{}", hex(&prefix.address), prefix.len),
                1,
            );
        }
    }
    for (key, record) in BTreeMap::from_iter(&tables.overrides) {
        line(&mut lines, "override", key, bytes(record));
    }
    lines
}

fn line(lines: &mut String, what: &str, key: impl Display, value: impl Display) {
    let line = format!("{what} {key} {value}");
    lines.push_str(line.trim_end());
    lines.push('\n');
}

/// A record without the zeros at its end.
fn bytes<T: NoUninit>(record: &T) -> String {
    let text = hex(bytemuck::bytes_of(record));
    let len = text.trim_end_matches('0').len();
    text[..len.next_multiple_of(2)].to_owned()
}

fn hex(bytes: &[impl LowerHex]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing into a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
