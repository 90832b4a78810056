//! The working memory of one packet: the message and what was found in it.
//!
//! It lives in a per-CPU map, because the kernel's stack has 512 bytes. What
//! one stage finds, the next one reads here; a number that went through this
//! memory is unknown to the verifier, which keeps it from following every
//! label count separately.

use bytemuck::{Pod, Zeroable};

use crate::{address::QueryClient, hash::LABEL_BUFFER_LEN, layout::Decision, rule::Best};

/// Bytes of a DNS message that are looked at; the longest question ends at 271.
pub const MESSAGE_MAX_BYTES: usize = 512;

/// A DNS message, first the query, then the answer in its place.
pub type Message = [u8; LABEL_BUFFER_LEN];
/// Room for the headers in front of a message: the longest that are answered
/// have 30 bytes of link layer, 60 of IPv4 and 8 of UDP.
pub const HEADERS_MAX_BYTES: usize = 128;
/// The headers and the message of a frame; the message starts at [`HEADERS_MAX_BYTES`].
pub type FrameBytes = [u8; HEADERS_MAX_BYTES + LABEL_BUFFER_LEN];

/// Everything known about the packet in hand.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub struct Scratch {
    /// Headers, which end where the message starts, and the message. Bytes in front
    /// of the headers and behind `message_len` are left over from earlier packets.
    pub bytes: FrameBytes,
    /// Where each label's length byte is, from left to right, counted from the start of the qname.
    pub label_starts: [u8; 128],
    /// Who asks.
    pub client: QueryClient,
    /// What the operator decided for the qname.
    pub decision: Decision,
    /// The COOKIE option to echo, zeros behind it.
    pub cookie: [u8; COOKIE_BUFFER_LEN],
    /// Categories that the client's policy blocks.
    pub categories: u64,
    /// The Internet checksum's sum of the answer, not folded.
    pub message_sum: u64,
    /// The best rule of the names looked up so far.
    pub best: Best,
    /// Whether names below the one looked up last may have entries; 0 if not.
    pub leads_on: u64,
    /// Not 0 if names below the qname may be decided otherwise than the qname.
    pub varies_below: u64,
    /// [`AnswerKind`](crate::rule::AnswerKind) as a number, for rules that ask for none.
    pub default_answer: u64,
    /// 1 if such rules only observe.
    pub observes: u64,
    /// Bytes of the message in use, at most [`MESSAGE_MAX_BYTES`].
    pub message_len: u32,
    /// Bytes of the query as it came, also of what was not loaded.
    pub query_len: u32,
    /// Bytes of TCP payload.
    pub payload_len: u32,
    /// Bytes of [`Self::cookie`] in use.
    pub cookie_len: u32,
    /// Number of the policy.
    pub policy: u32,
    /// Labels of the qname, the root not counted.
    pub label_count: u32,
    /// Query type.
    pub qtype: u32,
    /// Position behind the question.
    pub question_end: u32,
    /// [`EDNS_PRESENT`], [`EDNS_DO`]; while the query is read, the number of additional records.
    pub edns: u32,
    /// What is odd about the query, see [`crate::odd`].
    pub odd: u32,
    /// Record index of the header of the generation that decides.
    pub generation: u32,
    /// Record index of the header of the custom categories' generation; 0 means that there is none.
    pub custom: u32,
    /// Record index of the rule that won; 0 if none did.
    pub rule: u32,
    /// Position in the message of the name that the winning rule is written for.
    pub owner_at: u32,
    /// EDE INFO-CODE of the policy; 0 means none.
    pub ede_code: u32,
    /// Position of the EDNS option in hand.
    pub option_at: u32,
    /// Position behind the last EDNS option.
    pub option_end: u32,
    /// Position of the COOKIE option; 0 means that there is none.
    pub cookie_at: u32,
    /// The batch of overrides that is in force for this packet.
    pub batch: u32,
    /// The flags of the control record, as they were when the packet came.
    pub flags: u32,
    /// Position behind the message, as far as it is understood.
    pub message_end: u32,
    /// Over TCP: bytes of length and message that came in earlier segments.
    pub part_len: u32,
    /// Several messages of one packet.
    pub found: Found,
    /// A path, as it went through this memory.
    pub path: PathRecord,
}

/// Messages of one packet that are looked at; more are refused. A power of two.
pub const MESSAGES_MAX: usize = 8;

/// What was found in a packet with several messages.
#[derive(Clone, Copy, Debug, Default, Pod, Zeroable)]
#[repr(C)]
pub struct Found {
    /// Whole messages.
    pub count: u32,
    /// A bit for each that is blocked.
    pub blocked: u32,
    /// Position of the next one in the data.
    pub at: u32,
    /// Where the first one starts.
    pub first_at: u32,
    /// Bytes of the first one that came in earlier segments.
    pub kept: u32,
    /// Not 0 if the data end in the middle of a message.
    pub is_cut: u32,
    /// [`Reason`](crate::reason::Reason) for which the last one passes, as a number.
    pub reason: u8,
    /// [`AnswerKind`](crate::rule::AnswerKind) of the last one that is blocked, as a number.
    pub kind: u8,
    /// Unused, so that the whole is a number of words.
    pub reserved: [u8; 6],
    /// Where in the data the last byte of the class is, of each.
    pub class_at: [u16; MESSAGES_MAX],
}

/// A [`Path`](crate::net::Path) in memory.
#[derive(Clone, Copy, Debug, Default, Pod, Zeroable)]
#[repr(C)]
pub struct PathRecord {
    /// Its positions and lengths, ports and VLAN.
    pub numbers: [u16; 7],
    /// Its flags.
    pub flags: u16,
    /// What is odd.
    pub odd: u32,
    /// Unused, so that the whole is a number of words.
    pub reserved: u32,
}

/// Room for a COOKIE option of 44 bytes, in whole words.
pub const COOKIE_BUFFER_LEN: usize = 48;

impl Scratch {
    /// The message.
    #[inline(always)]
    pub fn message(&self) -> &Message {
        message_of(&self.bytes)
    }

    /// The message, to be changed.
    #[inline(always)]
    pub fn message_mut(&mut self) -> &mut Message {
        match self.bytes.last_chunk_mut() {
            Some(message) => message,
            None => unreachable!("a message is the end of a frame"),
        }
    }
}

/// The message at the end of headers and message.
#[inline(always)]
pub fn message_of(bytes: &FrameBytes) -> &Message {
    match bytes.last_chunk() {
        Some(message) => message,
        None => unreachable!("a message is the end of a frame"),
    }
}

/// The `N` header bytes at `at`; the position wraps so that the verifier sees the bound.
#[inline(always)]
pub fn header_bytes<const N: usize>(bytes: &FrameBytes, at: usize) -> [u8; N] {
    let at = at & (HEADERS_MAX_BYTES - 1);
    let mut out = [0; N];
    out.copy_from_slice(&bytes[at..at + N]);
    out
}

/// The query has an OPT record (RFC 6891).
pub const EDNS_PRESENT: u32 = 1;
/// The OPT record has the DO bit (RFC 3225).
pub const EDNS_DO: u32 = 2;
