//! The bytes that both sides share: the records of the table map, of policies,
//! clients, overrides and events.
//!
//! The table map is one array of 64-byte [`Record`]s. Record 0 is [`Control`];
//! every generation is a run of records that starts with its [`Header`] and
//! refers to its own parts by offsets, so that an image can be copied to any
//! place in the map:
//!
//! ```text
//! 0        Control: where the active generations start (0: none, everything passes)
//! g        Header
//! g+1      Settings
//! g+b ..   buckets: 8 entries of 8 bytes, one cache line
//! g+c ..   classes: the rules behind an entry, chained
//! g+t ..   texts: EXTRA-TEXT of extended DNS errors
//! ```
//!
//! Two generations can be active: that of the lists, and a small one of the names of custom
//! categories, so that a change of the latter leaves the former alone.
//!
//! Every integer is in the byte order of the machine; bools and enums do not
//! occur, and all-zero bytes mean "nothing here, pass".

use bytemuck::{Pod, Zeroable};

use crate::{address::Address, checksum::folded, hash::HashKey, selector::Selector};

/// Version of everything in this module; an image or a pinned map of another version is refused.
pub const LAYOUT_VERSION: u32 = 6;

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
    /// The same of the generation of custom categories; 0 means that there is none.
    ///
    /// Both are one aligned word, see [`Record::generations`]: a packet sees one pair.
    pub custom: u32,
    /// The key of overrides, prefixes and flows. It is drawn once and outlives generations.
    pub key: HashKey,
    /// [`CONTROL_BY_ANY`] and others: what is worth looking at.
    pub flags: u32,
    /// Overrides of batches up to this one are in force.
    pub batch: u32,
    /// Answers a second that a client prefix may cause; 0 means no limit.
    pub answers_per_s: u32,
    /// Answers that a client prefix may cause at once.
    pub answers_burst: u32,
    /// Of queries that pass, one of so many leaves an event where all do; 0 means every one.
    pub log_every: u32,
    /// Unused, zero.
    pub reserved: [u32; 3],
}

impl Record {
    /// [`Control::active`] and [`Control::custom`] of the control record, read at once.
    #[inline(always)]
    pub fn generations(&self) -> [u32; 2] {
        bytemuck::cast(self.0[0])
    }
}

/// There are overrides.
pub const CONTROL_OVERRIDES: u32 = 32;
/// Blocked queries leave an event.
pub const CONTROL_LOG_BLOCKED: u32 = 64;
/// Every query leaves an event.
pub const CONTROL_LOG_ALL: u32 = 128;
/// Some client is paused.
pub const CONTROL_PAUSES: u32 = 256;
/// On some interface answers would leave without the VLAN tag of their query.
pub const CONTROL_UNTAGGED: u32 = 512;
/// Blocked queries pass if they are odd, see [`crate::odd`].
pub const CONTROL_ODD_PASSES: u32 = 1024;
/// Blocked queries of those who may not be answered pass.
pub const CONTROL_STRANGERS_PASS: u32 = 2048;
/// Both of them.
pub const CONTROL_PASSES: u32 = CONTROL_ODD_PASSES | CONTROL_STRANGERS_PASS;
/// The flags by which a policy other than the default one is chosen.
pub const CONTROL_BY_ANY: u32 = Selector::EVERY;

const _: () = {
    // One by one: of an expression that puts them together, a part could go unnoticed.
    assert!(CONTROL_BY_ANY & CONTROL_OVERRIDES == 0);
    assert!(CONTROL_BY_ANY & CONTROL_LOG_BLOCKED == 0);
    assert!(CONTROL_BY_ANY & CONTROL_LOG_ALL == 0);
    assert!(CONTROL_BY_ANY & CONTROL_PAUSES == 0);
    assert!(CONTROL_BY_ANY & CONTROL_UNTAGGED == 0);
};

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
/// The names are those of custom categories, whose lists count from [`CUSTOM_LIST_FIRST`].
pub const HEADER_CUSTOM: u32 = 2;

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
    /// [`Priority`] as a number where rules that ask for no answer of their own only observe:
    /// [`Priority::Observe`] for such a rule, else that of `priority`.
    pub priority_observing: u8,
    /// Unused, zero.
    pub reserved: u8,
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

/// What a policy does: an entry of the map of policies, whose first one is the default.
///
/// Userspace changes a field by one aligned store, which the next packet sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct PolicyRecord {
    /// Categories that are blocked. Zero blocks nothing.
    pub categories: u64,
    /// Until then only [`Self::kept_categories`] are blocked, in nanoseconds of CLOCK_BOOTTIME;
    /// 0 means not paused.
    pub paused_until_ns: u64,
    /// [`POLICY_UNFILTERED`], [`POLICY_OBSERVE`], [`POLICY_REFUSE_BYPASS`].
    pub flags: u32,
    /// [`AnswerKind`] as a number, for rules whose answer is 0; 0 means [`Settings::answer`].
    pub answer: u8,
    /// EDE INFO-CODE for rules that have none; 0 means [`Settings::ede_code`].
    pub ede_code: u8,
    /// Unused, zero.
    pub reserved: [u8; 2],
    /// By which userspace knows the policy again; the kernel does not look at it.
    pub name_hash: u64,
    /// Categories that are blocked while the policy or its client is paused. Zero blocks nothing.
    pub kept_categories: u64,
    /// Unused, zero.
    pub reserved_words: [u64; 3],
}

impl Default for PolicyRecord {
    fn default() -> Self {
        Self::zeroed()
    }
}

/// Policies that there can be, the default one not counted.
pub const POLICY_MAX: u32 = 4096;
/// Prefixes of clients that there can be.
pub const CLIENT_PREFIX_MAX: u32 = 1 << 20;
/// Prefixes of clients that the map holds: new ones come before others leave.
pub const CLIENT_PREFIX_ROOM: u32 = 2 * CLIENT_PREFIX_MAX;
/// Prefixes behind the attached interfaces that the map holds.
pub const ON_LINK_MAX: u32 = 65_536;
/// Interfaces that can have a policy.
pub const INTERFACE_MAX: u32 = 1024;
/// Prefixes of resolvers that can be refused.
pub const RESOLVER_MAX: u32 = 65_536;
/// Bit of the category that lists without one do not belong to: ways around the filter.
pub const CATEGORY_BYPASS: u32 = 63;
/// No table is looked at.
pub const POLICY_UNFILTERED: u32 = 1;
/// What would be blocked passes and is counted.
pub const POLICY_OBSERVE: u32 = 2;
/// Port 853 and the listed resolvers are refused.
pub const POLICY_REFUSE_BYPASS: u32 = 4;

/// What is known of a client prefix: bits 0 to 15 are the number of its policy
/// (0: none), and [`CLIENT_ANSWERED`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Pod, Zeroable)]
#[repr(transparent)]
pub struct ClientRecord(pub u32);

/// Addresses of the prefix may be answered.
pub const CLIENT_ANSWERED: u32 = 1 << 31;

/// What is known of an interface: bits 0 to 15 are the number of its policy (0: none), and
/// [`INTERFACE_UNTAGGED`] and [`INTERFACE_GENERIC`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Pod, Zeroable)]
#[repr(transparent)]
pub struct InterfaceRecord(pub u32);

/// The interface takes VLAN tags off frames before the program sees them.
pub const INTERFACE_UNTAGGED: u32 = 1 << 31;
/// The program runs in generic mode there, and sees datagrams before they are taken apart.
pub const INTERFACE_GENERIC: u32 = 1 << 30;

/// What the operator said of one name, for everybody or for one subject.
///
/// The key of the map is made by [`crate::overrides::key`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct OverrideRecord {
    /// From this batch on `after` holds, until then `before`; where `after` has ended, `before` again.
    pub batch: u32,
    /// [`OVERRIDE_LEADS_ON`], [`OVERRIDE_BY_POLICY`], [`OVERRIDE_BY_CLIENT`]; only in
    /// the record for everybody.
    pub flags: u32,
    /// What held before the batch, and what `after` lies over: for the name itself, and for the
    /// names below.
    pub before: [Decision; 2],
    /// What holds from the batch on: for the name itself, and for the names below.
    pub after: [Decision; 2],
}

/// What an operator decided.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Decision {
    /// When it ends, in nanoseconds of CLOCK_BOOTTIME; 0 means never.
    pub expires_ns: u64,
    /// Number of the override.
    pub id: u32,
    /// [`DECISION_ALLOW`] and others; 0 means that nothing was decided.
    pub action: u8,
    /// [`AnswerKind`] as a number; 0 means the policy's.
    pub answer: u8,
    /// EDE INFO-CODE; 0 means the policy's.
    pub ede_code: u8,
    /// [`DECISION_NAME_ONLY`].
    pub flags: u8,
}

/// It is for the name itself: names below it are decided otherwise.
pub const DECISION_NAME_ONLY: u8 = 1;
/// Lets the name through.
pub const DECISION_ALLOW: u8 = 1;
/// Blocks the name.
pub const DECISION_BLOCK: u8 = 2;
/// Blocks nothing: for a client, in the record of the root.
pub const DECISION_PAUSE: u8 = 3;
/// Overrides that there can be; each also takes a record for every parent of its name.
pub const OVERRIDE_MAX: u32 = 65_536;
/// Records that the map of overrides holds.
pub const OVERRIDE_RECORDS_MAX: u32 = 4 * OVERRIDE_MAX;
/// A name below this one has an override.
pub const OVERRIDE_LEADS_ON: u32 = 1;
/// Some policy has a record of its own for this name.
pub const OVERRIDE_BY_POLICY: u32 = 2;
/// Some client has a record of its own for this name.
pub const OVERRIDE_BY_CLIENT: u32 = 4;

/// Queries and blocks of a policy, on one CPU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct PolicyTally {
    /// Queries that were judged.
    pub queries: u64,
    /// Queries that were answered or dropped.
    pub blocked: u64,
}

/// Lists whose blocks are counted one by one.
pub const LIST_TALLY_MAX: u32 = 4096;
/// Number of the first list of custom categories: those below are the numbers of other lists, and
/// neither side's change when lists of the other come or go.
pub const CUSTOM_LIST_FIRST: u32 = 3072;

/// What is told of one query through the ring of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Event {
    /// When, in nanoseconds of CLOCK_BOOTTIME.
    pub time_ns: u64,
    /// Who asked; IPv4 is mapped.
    pub source: Address,
    /// Who was asked; IPv4 is mapped.
    pub destination: Address,
    /// Who asked on the link.
    pub mac: [u8; 6],
    /// VLAN identifier; 0 means untagged.
    pub vlan: u16,
    /// Index of the interface.
    pub interface: u32,
    /// Number of the policy.
    pub policy: u32,
    /// Number of the list whose rule won; meaningful if `rule` is not 0.
    pub list: u32,
    /// Class number of the rule that won, in its generation; 0 means none.
    pub rule: u32,
    /// Number of the override that decided; 0 means none.
    pub override_id: u32,
    /// Number of the generation.
    pub generation: u32,
    /// SourceAddress port.
    pub port: u16,
    /// Query type.
    pub qtype: u16,
    /// [`crate::reason::Reason`] as a number.
    pub reason: u8,
    /// IP protocol: 17 or 6.
    pub protocol: u8,
    /// Bytes of the qname in wire form, the root label included.
    pub qname_len: u8,
    /// Unused, zero.
    pub reserved: u8,
    /// The qname as it was asked; bytes behind it are left over from other packets.
    pub qname: [u8; 256],
}

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
    pub reserved: u8,
    /// The Internet checksum's sum of the text, which starts at an odd position (RFC 1071 §2).
    pub sum: u16,
}

impl TextRecord {
    /// No text.
    pub const EMPTY: Self = Self {
        len: 0,
        bytes: [0; TEXT_MAX_BYTES],
        reserved: 0,
        sum: 0,
    };

    /// The record of a text; `None` if it is too long.
    pub fn new(text: &str) -> Option<Self> {
        let mut record = Self {
            len: text.len().try_into().ok()?,
            ..Self::EMPTY
        };
        record
            .bytes
            .get_mut(..text.len())?
            .copy_from_slice(text.as_bytes());
        let mut sum = 0;
        for (i, &byte) in record.bytes.iter().enumerate() {
            let word = if i % 2 == 0 { [0, byte] } else { [byte, 0] };
            sum += u64::from(u16::from_ne_bytes(word));
        }
        record.sum = folded(sum);
        Some(record)
    }

    /// Whether its parts fit together.
    pub fn is_whole(&self) -> bool {
        let text = self.bytes.get(..usize::from(self.len));
        let text = text.and_then(|text| core::str::from_utf8(text).ok());
        text.and_then(Self::new) == Some(*self)
    }
}

const _: () = {
    assert!(size_of::<Record>() == RECORD_BYTES);
    assert!(size_of::<Control>() == RECORD_BYTES);
    assert!(core::mem::offset_of!(Control, custom) == 4);
    assert!(size_of::<Header>() == RECORD_BYTES);
    assert!(size_of::<Settings>() == RECORD_BYTES);
    assert!(size_of::<RuleRecord>() == RECORD_BYTES);
    assert!(size_of::<TextRecord>() == RECORD_BYTES);
    assert!(size_of::<PolicyRecord>() == RECORD_BYTES);
    assert!(size_of::<OverrideRecord>() == 72);
    assert!(size_of::<Event>() == 336);
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_was_changed_is_not_whole() {
        let text = TextRecord::new("blocked by ads").unwrap();
        assert!(text.is_whole() && TextRecord::EMPTY.is_whole());
        for changed in [
            TextRecord { len: 3, ..text },
            TextRecord { len: 61, ..text },
            TextRecord { sum: 1, ..text },
        ] {
            assert!(!changed.is_whole());
        }
    }

    #[test]
    fn the_longest_text_fits_and_a_longer_one_does_not() {
        assert!(TextRecord::new(&"x".repeat(TEXT_MAX_BYTES)).is_some());
        assert!(TextRecord::new(&"x".repeat(TEXT_MAX_BYTES + 1)).is_none());
    }

    #[test]
    fn new_prefixes_of_clients_have_room_beside_all_old_ones() {
        let [all, room] = [CLIENT_PREFIX_MAX, CLIENT_PREFIX_ROOM];
        assert_eq!(room - all, all);
    }
}
