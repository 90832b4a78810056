//! Why lists and names do not become an image.

use std::{io, path::PathBuf};

use filter_lists::{
    compile::{CompileError, Excess},
    guard::Refusal,
    list,
};

use super::Rejected;
use crate::config;

/// Why no image came out.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file cannot be opened.
    #[error("open list '{path}': {}", told(error))]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A file is no list.
    #[error("read list '{path}'")]
    List {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: list::Error,
    },
    /// A file has no rule at all: mostly the wrong file, and never a filter.
    #[error(
        "read list '{path}': no rule in {lines} lines, read as {format}; check the file, or say its format (`--format`, or `format` in the configuration), or that it may be empty (`may_be_empty = true`){}",
        told_lines(samples)
    )]
    Empty {
        /// The file.
        path: PathBuf,
        /// Lines read.
        lines: u64,
        /// The format, given or detected.
        format: list::Format,
        /// The first lines that should perhaps have been rules.
        samples: Vec<list::Sample>,
    },
    /// A list would take too long to compile, or too much memory.
    #[error("compile list '{path}': {excess}")]
    Excess {
        /// The file.
        path: PathBuf,
        /// Why.
        excess: Excess,
    },
    /// The lists together would take too much memory.
    #[error(
        "compile list '{path}': with it the rules of all lists take {} MiB, more than {} MiB, the \
         part of the memory that they may take here: leave lists out, or give nxdp more memory",
        bytes >> 20, max_bytes >> 20
    )]
    Memory {
        /// The largest list, of those that are new if some are.
        path: PathBuf,
        /// Bytes of all rules.
        bytes: u64,
        /// Bytes that they may take.
        max_bytes: u64,
    },
    /// A file of the operator's own has a line that is none.
    #[error(
        "read names '{path}': line {line}: {reason}: {text}; mend or remove it, what is in force stays"
    )]
    Line {
        /// The file.
        path: PathBuf,
        /// The first such line.
        line: u32,
        /// Why.
        reason: String,
        /// The line.
        text: String,
    },
    /// The operator's own names cannot be used.
    #[error("compile custom categories")]
    Custom(#[source] Box<Self>),
    /// A list with an address was never fetched.
    #[error(
        "open list '{name}': there is no copy of {url} yet; `nxdp update` with the same configuration fetches it"
    )]
    NoCopy {
        /// The list.
        name: String,
        /// Its address.
        url: String,
    },
    /// A list that is in force has no copy any more that can be read.
    #[error("{why}; what is in force stays until the list is fetched again")]
    Lost {
        /// The list's file.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// None of the lists with an address can be read, and there are no others.
    #[error("no list can be read: {}", first.why)]
    Nothing {
        /// The first of them.
        first: Rejected,
    },
    /// The rules do not fit together.
    #[error("compile lists")]
    Compile(#[source] CompileError),
    /// Files of names that the configuration refers to cannot be read.
    #[error(transparent)]
    Config(#[from] config::Error),
    /// The guards refuse what came out.
    #[error(transparent)]
    Refused(#[from] Refusal),
}

fn told_lines(samples: &[list::Sample]) -> String {
    let told = samples.iter().map(|sample| {
        let list::Sample {
            line, reason, text, ..
        } = sample;
        format!("; line {line}: {reason}: {text}")
    });
    told.collect()
}

fn told(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::IsADirectory => "it is a folder; name the files in it".to_owned(),
        io::ErrorKind::NotFound => {
            "there is no such file; paths in a configuration start at its folder".to_owned()
        }
        _ => error.to_string(),
    }
}
