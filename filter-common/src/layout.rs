//! The bytes that both sides share: the records of the table map, the counters.
//!
//! The table map is one array of 64-byte [`Record`]s. Record 0 is [`Control`];
//! every generation is a run of records that starts with its [`Header`] and
//! refers to its own parts by offsets, so that an image can be copied to any
//! place in the map:
//!
//! ```text
//! 0        Control: where the active generation starts (0: none, everything passes)
//! g        Header
//! g+1      Settings
//! g+b ..   buckets: 8 entries of 8 bytes, one cache line
//! g+c ..   classes: the rules behind an entry, chained
//! g+t ..   texts: EXTRA-TEXT of extended DNS errors
//! ```
//!
//! Every integer is in the byte order of the machine; bools and enums do not
//! occur, and all-zero bytes mean "nothing here, pass".

use bytemuck::{Pod, Zeroable};

use crate::hash::HashKey;

/// Version of everything in this module; an image or a pinned map of another version is refused.
pub const LAYOUT_VERSION: u32 = 1;

/// Bytes of the buffer that holds one DNS message while it is judged and answered.
///
/// The positions of labels stay below 512; the rest is room for one write of 64 bytes.
pub const LABEL_BUFFER_LEN: usize = 576;

/// Bytes of a [`Record`], one cache line.
pub const RECORD_BYTES: usize = 64;

/// The unit of the table map.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C, align(8))]
pub struct Record(pub [u64; 8]);

/// Record 0 of the table map.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Control {
    /// Index of the active generation's [`Header`]; 0 means that there is none.
    pub active: u32,
    /// Unused, zero.
    pub reserved: [u32; 15],
}

/// First record of a generation. Offsets count records from this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Header {
    /// [`LAYOUT_VERSION`].
    pub layout: u32,
    /// Number of the generation, for people; set when it is loaded.
    pub generation: u32,
    /// Number of buckets.
    pub bucket_count: u32,
    /// Offset of the first bucket.
    pub bucket_base: u32,
    /// Offset of class 0, which is never used: class `n` starts at `class_base + n`.
    pub class_base: u32,
    /// Offset of text 0, which is never used.
    pub text_base: u32,
    /// [`HEADER_SINGLE_LABEL_RULES`] and others.
    pub flags: u32,
    /// Records of this generation, this one included.
    pub record_count: u32,
    /// The key of every hash in this generation.
    pub key: HashKey,
    /// Number of distinct names with a rule.
    pub name_count: u32,
    /// The class of names that only lead to names below them; 0 if there are none.
    pub node_class: u32,
}

/// A rule for a name of one label exists; without it look-ups start at two labels.
pub const HEADER_SINGLE_LABEL_RULES: u32 = 1;

/// Second record of a generation: what rules that do not say otherwise do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Settings {
    /// TTL of the SOA and of synthesized addresses, in seconds.
    pub ttl_s: u32,
    /// [`AnswerKind`] as a number, for rules whose answer is 0.
    pub answer: u8,
    /// EDE INFO-CODE for rules that have none (RFC 8914 §4).
    pub ede_code: u8,
    /// Unused, zero.
    pub reserved: [u8; 58],
}

impl Default for Settings {
    fn default() -> Self {
        Self::zeroed()
    }
}

/// One rule of a class. A class is the chain of the rules that share a name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Pod, Zeroable)]
#[repr(C)]
pub struct RuleRecord {
    /// Categories that the rule belongs to; a policy that selects none of them skips the rule.
    pub categories: u64,
    /// [`RULE_HAS_DESCENDANTS`], [`RULE_IS_NODE`].
    pub flags: u32,
    /// Class number of the next rule of this name; 0 ends the chain.
    pub next: u32,
    /// Number of the list, for counters and events.
    pub list: u32,
    /// TTL in seconds; 0 means [`Settings::ttl_s`].
    pub ttl_s: u32,
    /// Text number for EXTRA-TEXT; 0 means none.
    pub text: u32,
    /// IPv4 address for [`AnswerKind::Address`], network order; all-zero means "no A".
    pub ipv4: [u8; 4],
    /// IPv6 address for [`AnswerKind::Address`]; all-zero means "no AAAA".
    pub ipv6: [u8; 16],
    /// [`Priority`] as a number.
    pub priority: u8,
    /// [`Scope`] as a number.
    pub scope: u8,
    /// [`AnswerKind`] as a number; 0 means [`Settings::answer`].
    pub answer: u8,
    /// EDE INFO-CODE; 0 means [`Settings::ede_code`].
    pub ede_code: u8,
    /// [`QtypeSet::mode`].
    pub qtype_mode: u8,
    /// Number of entries of `qtypes` in use.
    pub qtype_count: u8,
    /// Query types the rule is for, or not for.
    pub qtypes: [u16; QTYPES_PER_RULE],
    /// Unused, zero.
    pub reserved: [u8; 2],
}

/// Some rule exists for a name below this one: the walk goes on.
pub const RULE_HAS_DESCENDANTS: u32 = 1;
/// The name has no rule of its own; it only leads to names below it.
pub const RULE_IS_NODE: u32 = 2;
/// Where the rule applies, what was found at shorter names no longer counts.
///
/// The record blocks and lifts nothing. It stands first in its chain and is
/// followed by those rules of shorter names that hold here all the same.
pub const RULE_RESET: u32 = 4;

/// Query types that one rule record can hold.
pub const QTYPES_PER_RULE: usize = 4;

/// Longest text, in bytes.
pub const TEXT_MAX_BYTES: usize = 60;

/// EXTRA-TEXT of an extended DNS error (RFC 8914 §2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct TextRecord {
    /// Bytes in use.
    pub len: u8,
    /// UTF-8, not terminated.
    pub bytes: [u8; TEXT_MAX_BYTES],
    /// Unused, zero.
    pub reserved: [u8; 3],
}

const _: () = {
    assert!(size_of::<Record>() == RECORD_BYTES);
    assert!(size_of::<Control>() == RECORD_BYTES);
    assert!(size_of::<Header>() == RECORD_BYTES);
    assert!(size_of::<Settings>() == RECORD_BYTES);
    assert!(size_of::<RuleRecord>() == RECORD_BYTES);
    assert!(size_of::<TextRecord>() == RECORD_BYTES);
};
