//! Why lists cannot be compiled.

use filter_common::layout::TEXT_MAX_BYTES;
use thiserror::Error;

use super::classes::CHAIN_MAX;
use crate::provenance::SHAPE_MAX;

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
    /// More kinds of rules than an image can number.
    #[error(
        "compile rules: they differ in {count} combinations of options (scope, types, answer, \
         exceptions), at most {} fit into one image; rules with many different $denyallow, \
         $dnsrewrite or answers are the usual reason",
        SHAPE_MAX + 1
    )]
    TooManyShapes {
        /// Number of distinct combinations.
        count: usize,
    },
    /// More kinds of chains than class numbers.
    #[error(
        "compile rules: names have more than 65535 different combinations of rules; give lists \
         the same category and answer where they need not differ"
    )]
    TooManyClasses,
    /// A name has too many rules.
    #[error(
        "compile rules for {name}: {count} rules of different effect meet there, at most {CHAIN_MAX} can; \
         give lists the same category and answer where they need not differ"
    )]
    ChainTooLong {
        /// The name.
        name: String,
        /// Number of its rules.
        count: usize,
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
