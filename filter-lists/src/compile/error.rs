//! Why lists cannot be compiled.

use filter_common::layout::TEXT_MAX_BYTES;
use thiserror::Error;

/// Why lists cannot be compiled.
#[derive(Debug, Error)]
pub enum CompileError {
    /// More lists than an image can number.
    #[error("compile {count} lists: at most {max} fit into one image; join some of them")]
    TooManyLists {
        /// Number of lists.
        count: usize,
        /// How many there can be.
        max: usize,
    },
    /// The text of a list is too long for an answer.
    #[error(
        "compile list {list}: its EDE text has {len} bytes, at most {TEXT_MAX_BYTES} fit; shorten it"
    )]
    TextTooLong {
        /// Name of the list.
        list: String,
        /// Bytes of the text.
        len: usize,
    },
    /// Hash collisions under every key that was drawn.
    #[error("compile rules: names collided under {drawn} keys; start again with another seed")]
    KeysExhausted {
        /// Keys drawn.
        drawn: u32,
    },
    /// The system has no randomness.
    #[error("draw a key: the system gives no random numbers: {0}")]
    NoRandomness(getrandom::Error),
    /// More records than a map can have.
    #[error("compile rules: the table needs {records} records, more than a map can have")]
    TooLarge {
        /// Number of records.
        records: usize,
    },
}
