//! What is told of lists: to people, and on the control socket.

use std::{
    fs,
    path::PathBuf,
    time::{Duration, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};

use super::state::now_s;
use crate::config::ListConfig;

/// All lists of a configuration.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, Eq)]
pub struct Accounts {
    /// Version of this object.
    pub version: u32,
    /// The lists, in the order of the configuration.
    pub lists: Vec<ListAccount>,
    /// Why none of them is fetched any more, if so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refresh_stopped: Option<String>,
}

/// One list.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, Eq)]
pub struct ListAccount {
    /// Its name.
    pub name: String,
    /// Its address, or its file.
    pub source: String,
    /// Its file, or that of its copy.
    pub path: PathBuf,
    /// Length of the file in bytes; `None` if there is none.
    pub bytes: Option<u64>,
    /// Rules in the file, if they were counted.
    pub rules: Option<u64>,
    /// When the file was written, in seconds since 1970.
    pub fetched_s: Option<u64>,
    /// When the server said last that the copy is what it has, in seconds since 1970.
    pub checked_s: Option<u64>,
    /// Seconds until the server is asked again; only a running nxdp does.
    pub next_refresh_s: Option<u64>,
    /// What became of the last try to fetch it.
    pub last_try: Option<LastTry>,
    /// Whether it is being fetched or compiled.
    pub is_busy: bool,
}

/// What became of a try to fetch a list.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq)]
pub struct LastTry {
    /// When, in seconds since 1970.
    pub at_s: u64,
    /// The outcome.
    pub outcome: Outcome,
    /// Why it failed or was refused.
    pub why: Option<String>,
}

/// What became of a try to fetch a list.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// Another list came, and is in force.
    New,
    /// The copy is what the server has.
    Unchanged,
    /// No list came.
    Failed,
    /// A list came, but the guards or the compiler would not have it.
    Refused,
}

impl Accounts {
    /// Version of the object.
    pub const VERSION: u32 = 1;
}

impl ListAccount {
    /// A list that is a file of this machine.
    pub(crate) fn of_file(list: &ListConfig) -> Self {
        Self {
            name: list.name(),
            source: list.source(),
            path: list.path.clone(),
            ..Self::default()
        }
        .with_file()
    }

    /// Adds what the file system knows.
    pub(super) fn with_file(mut self) -> Self {
        if let Ok(metadata) = fs::metadata(&self.path) {
            let modified = metadata.modified().ok();
            let since = modified.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
            self.bytes = Some(metadata.len());
            self.fetched_s = self.fetched_s.or(since.map(|since| since.as_secs()));
        }
        self
    }

    /// Why the last try did not bring the list, if it did not.
    pub fn failure(&self) -> Option<String> {
        let why = self.last_try.as_ref()?.why.as_ref()?;
        Some(format!("list '{}' from {}: {why}", self.name, self.source))
    }

    /// How long ago the file was written.
    pub fn age(&self) -> Option<Duration> {
        since(self.fetched_s?)
    }

    /// How long ago the server said that the copy is what it has.
    pub fn checked_ago(&self) -> Option<Duration> {
        since(self.checked_s?)
    }
}

/// `None` where the clock was set back.
fn since(then_s: u64) -> Option<Duration> {
    now_s().checked_sub(then_s).map(Duration::from_secs)
}

/// A length of time for people, as exact as matters: `3h 20m`, `2days 4h`.
pub fn told_span(span: Duration) -> String {
    let seconds = span.as_secs();
    let unit = match seconds {
        0..3_600 => 1,
        3_600..86_400 => 60,
        _ => 3_600,
    };
    humantime::format_duration(Duration::from_secs(seconds / unit * unit)).to_string()
}
