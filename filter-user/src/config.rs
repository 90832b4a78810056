//! What the operator says: one TOML file, or the same as flags.
//!
//! Owns the words and their defaults; knows neither clap nor the kernel.

use std::{
    io,
    path::{Path, PathBuf},
};

use filter_common::rule::AnswerKind;
use serde::{Deserialize, Serialize};

use crate::list::{Format, ScopePolicy};

/// Seconds for which an answer may be cached, unless the configuration says otherwise.
pub const TTL_DEFAULT_S: u32 = 60;
/// Where a running nxdp listens for `nxdp status`, unless told otherwise.
pub const SOCKET_DEFAULT: &str = "/run/nxdp/control.sock";

/// A whole configuration.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Interfaces that face the clients.
    #[serde(default)]
    pub interfaces: Vec<String>,
    /// Where the program runs.
    #[serde(default)]
    pub mode: ModeChoice,
    /// What a client gets for a blocked name, unless its list says otherwise.
    #[serde(default)]
    pub answer: AnswerChoice,
    /// Seconds for which an answer may be cached.
    pub ttl_s: Option<u32>,
    /// The control socket.
    pub socket: Option<PathBuf>,
    /// The lists.
    #[serde(default, rename = "list")]
    pub lists: Vec<ListConfig>,
}

/// One list.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct ListConfig {
    /// The file; relative to the configuration file, or to the working directory for flags.
    pub path: PathBuf,
    /// Name in answers, counters and explanations; the file name without ending by default.
    pub name: Option<String>,
    /// Format; detected by default.
    pub format: Option<Format>,
    /// Whether rules match as their format says, or all as one scope.
    pub scope: Option<ScopePolicy>,
    /// Answer of this list's rules.
    pub answer: Option<AnswerChoice>,
    /// EXTRA-TEXT of the extended error (RFC 8914), 60 bytes at most; the list's name by default.
    pub text: Option<String>,
}

impl ListConfig {
    /// A list of which only the file is known.
    pub fn of_path(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            name: None,
            format: None,
            scope: None,
            answer: None,
            text: None,
        }
    }

    /// The name, given or taken from the file.
    pub fn name(&self) -> String {
        self.name.clone().unwrap_or_else(|| {
            self.path
                .file_stem()
                .unwrap_or(self.path.as_os_str())
                .to_string_lossy()
                .into_owned()
        })
    }
}

/// Where the program runs, in the configuration's words.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum ModeChoice {
    /// In the driver.
    #[default]
    Native,
    /// Behind the driver, on any device, slower.
    Skb,
}

/// An answer in the configuration's words.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum AnswerChoice {
    /// NXDOMAIN with a SOA.
    #[default]
    Nxdomain,
    /// NODATA with a SOA.
    Nodata,
    /// REFUSED.
    Refused,
    /// 0.0.0.0 and ::.
    Null,
    /// TC=1: ask again over TCP.
    Truncate,
    /// No answer.
    Drop,
    /// The query passes and is counted.
    Observe,
}

impl From<AnswerChoice> for AnswerKind {
    fn from(choice: AnswerChoice) -> Self {
        match choice {
            AnswerChoice::Nxdomain => Self::NxDomain,
            AnswerChoice::Nodata => Self::NoData,
            AnswerChoice::Refused => Self::Refused,
            AnswerChoice::Null => Self::Null,
            AnswerChoice::Truncate => Self::Truncate,
            AnswerChoice::Drop => Self::Drop,
            AnswerChoice::Observe => Self::Observe,
        }
    }
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error("read configuration '{path}'")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file is no valid configuration.
    #[error("parse configuration '{path}'")]
    Parse {
        /// The file.
        path: PathBuf,
        /// Where and why.
        #[source]
        source: Box<toml::de::Error>,
    },
    /// Nothing to attach to.
    #[error(
        "no interface given: name one with `--interface IF` or `interfaces = [\"IF\"]`; `ip link` lists them"
    )]
    NoInterface,
    /// Nothing to block.
    #[error("no list given: name one with `--list FILE` or a `[[list]]` table with `path`")]
    NoList,
    /// A text that no answer can carry.
    #[error(
        "list '{name}': text of {len} bytes is too long for an answer: shorten it to {max} bytes"
    )]
    LongText {
        /// The list.
        name: String,
        /// Length of the text in bytes.
        len: usize,
        /// Longest possible, in bytes.
        max: usize,
    },
}

impl Config {
    /// Reads a file; paths in it become relative to its folder.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let text = std::fs::read_to_string(path).map_err(|source| Error::Read {
            path: path.to_owned(),
            source,
        })?;
        let mut config: Self = toml::from_str(&text).map_err(|source| Error::Parse {
            path: path.to_owned(),
            source: Box::new(source),
        })?;
        let folder = path.parent().unwrap_or(Path::new(""));
        for list in &mut config.lists {
            list.path = folder.join(&list.path);
        }
        config.check()?;
        Ok(config)
    }

    /// Checks what the types cannot say.
    pub fn check(&self) -> Result<(), Error> {
        let max = filter_common::layout::TEXT_MAX_BYTES;
        for list in &self.lists {
            match &list.text {
                Some(text) if text.len() > max => {
                    return Err(Error::LongText {
                        name: list.name(),
                        len: text.len(),
                        max,
                    });
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The control socket, given or by default.
    pub fn socket(&self) -> &Path {
        self.socket
            .as_deref()
            .unwrap_or_else(|| Path::new(SOCKET_DEFAULT))
    }
}
