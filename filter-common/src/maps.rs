//! What is looked up besides names: policies, clients, overrides, limits, flows.
//!
//! The kernel program and the host each bring a body. A map that a body does not
//! bring is empty.

use bytemuck::{Pod, Zeroable};

use crate::{
    address::{Address, QueryClient},
    layout::{ClientRecord, InterfaceRecord, OverrideRecord, PolicyRecord, Record, RuleRecord},
    reason::Reason,
    scratch::Scratch,
    selector::Selector,
};

/// Everything but the table.
pub trait Maps {
    /// The policy with this number; 0 is the default one.
    fn policy(&self, number: u32) -> Option<&PolicyRecord>;

    /// The record of the longest listed prefix that covers `address`; zero if there is none.
    fn client(&self, _address: &Address) -> ClientRecord {
        ClientRecord(0)
    }

    /// Whether `address` is in a prefix behind the attached interfaces.
    fn is_on_link(&self, _address: &Address) -> bool {
        false
    }

    /// Number of the policy by a selector that has a table; 0 if there is none.
    fn policy_of(&self, _selector: Selector, _client: &QueryClient) -> u32 {
        0
    }

    /// What is known of this interface.
    fn interface(&self, _interface: u32) -> InterfaceRecord {
        InterfaceRecord(0)
    }

    /// Whether this is the address of a listed resolver.
    fn is_resolver(&self, _address: &Address) -> bool {
        false
    }

    /// The override with this key.
    fn override_record(&self, _key: u64) -> Option<&OverrideRecord> {
        None
    }

    /// The state of a token bucket, one of [`crate::limit::BUCKET_COUNT`].
    fn bucket(&self, _index: u32) -> u64 {
        0
    }

    /// Replaces the state of a token bucket.
    fn set_bucket(&self, _index: u32, _state: u64) {}

    /// The TCP connection with this key whose query was answered.
    fn flow(&self, _key: u64) -> Option<Flow> {
        None
    }

    /// Remembers a TCP connection; one that was not used for long may be forgotten for it.
    fn set_flow(&self, _key: u64, _flow: Flow) {}

    /// Forgets a TCP connection.
    fn remove_flow(&self, _key: u64) {}

    /// Lets the part of a query at this place, one of [`PART_COUNT`], be looked at and changed.
    fn with_part<T>(&self, _index: u32, _look: impl FnOnce(&mut Part) -> T) -> Option<T> {
        None
    }

    /// Counts a query of a policy.
    fn count_policy(&self, _policy: u32, _is_blocked: bool) {}

    /// Counts a query that a rule of this list blocks.
    fn count_list(&self, _list: u32) {}

    /// Tells userspace of the query in `scratch` and the rule that won, if any.
    fn tell(&self, _scratch: &Scratch, _rule: Option<&RuleRecord>, _reason: Reason) {}

    /// Any number, another one each time.
    fn random(&self) -> u32 {
        0
    }

    /// CLOCK_BOOTTIME, in nanoseconds.
    fn now_ns(&self) -> u64 {
        0
    }

    /// A clock that is read in no time and moves every few milliseconds, in ticks of
    /// 2^20 nanoseconds.
    fn ticks(&self) -> u32 {
        0
    }
}

/// A TCP connection with queries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Flow {
    /// [`FLOW_OPEN`] and others.
    pub state: u32,
    /// Sequence number that the server waits for: behind the queries that passed, and that of the
    /// one that was answered here, which it never saw.
    pub server_next: u32,
    /// What the client had confirmed when it sent the last query.
    pub heard: u32,
    /// Of an answered query: the first sequence number behind it.
    pub client_from: u32,
    /// Of an answered query: the last sequence number that the client may come to, its FIN included.
    pub client_to: u32,
    /// Of an answered query: the last number that the client may confirm, the answer's FIN included.
    pub heard_to: u32,
}

impl Flow {
    /// The fields two by two: the kernel's map takes aligned words from the stack only.
    #[inline(always)]
    pub const fn words(self) -> [u64; 3] {
        [
            (self.server_next as u64) << 32 | self.state as u64,
            (self.client_from as u64) << 32 | self.heard as u64,
            (self.heard_to as u64) << 32 | self.client_to as u64,
        ]
    }

    /// The reverse of [`Self::words`].
    #[inline(always)]
    pub const fn of_words([first, second, third]: [u64; 3]) -> Self {
        Self {
            state: first as u32,
            server_next: (first >> 32) as u32,
            heard: second as u32,
            client_from: (second >> 32) as u32,
            client_to: third as u32,
            heard_to: (third >> 32) as u32,
        }
    }
}

/// Queries passed, and no more than one at a time.
pub const FLOW_OPEN: u32 = 0;
/// Queries passed while others waited for their answer.
pub const FLOW_PIPELINED: u32 = 1;
/// A query was answered in the server's place.
pub const FLOW_ANSWERED: u32 = 2;
/// And the server was told that the connection is over.
pub const FLOW_RESET: u32 = 3;

/// The start of a query over TCP whose rest is to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Part {
    /// The key of the connection; 0 means that nothing is here.
    pub key: u64,
    /// Until then the place is its connection's, in nanoseconds of CLOCK_BOOTTIME; 0 means that it waits
    /// for nothing more.
    pub held_until_ns: u64,
    /// Sequence number of the length in front of the message.
    pub start: u32,
    /// Bytes that passed.
    pub seen: u32,
    /// Bytes of length and message, where the question was judged and the rest may pass; else 0.
    pub total: u32,
    /// Bytes kept, all that passed, where the question is still to be judged.
    pub len: u32,
    /// These bytes, and others behind them.
    pub bytes: [u8; PART_BYTES],
}

/// Longest start that is kept: length, header and question end before.
pub const PART_BYTES: usize = 288;
/// How long a place is held: longer than any server waits for the rest of a query.
pub const PART_HELD_NS: u64 = 180_000_000_000;
/// Queries of which a part can be kept at once.
pub const PART_COUNT: u32 = 1024;

/// One policy that blocks every category, and nothing else.
#[derive(Debug)]
pub struct OnePolicy(PolicyRecord);

impl Default for OnePolicy {
    fn default() -> Self {
        Self(PolicyRecord {
            categories: u64::MAX,
            ..PolicyRecord::default()
        })
    }
}

impl Maps for OnePolicy {
    fn policy(&self, number: u32) -> Option<&PolicyRecord> {
        (number == 0).then_some(&self.0)
    }
}

/// The records of an image: every map besides is empty.
impl Maps for [Record] {
    fn policy(&self, _number: u32) -> Option<&PolicyRecord> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_keeps_its_numbers_through_the_words_of_the_map() {
        let flow = Flow {
            state: FLOW_ANSWERED,
            server_next: 0x1111_1111,
            heard: 0x2222_2222,
            client_from: 0x3333_3333,
            client_to: 0x4444_4444,
            heard_to: 0x5555_5555,
        };
        let words = [
            0x1111_1111_0000_0002,
            0x3333_3333_2222_2222,
            0x5555_5555_4444_4444,
        ];
        assert_eq!(flow.words(), words);
        assert_eq!(Flow::of_words(words), flow);
    }

    #[test]
    fn a_map_that_a_body_does_not_bring_is_empty() {
        let maps = OnePolicy::default();
        let nowhere = [1; 16];
        assert_eq!(
            maps.policy(0).map(|policy| policy.categories),
            Some(u64::MAX)
        );
        assert_eq!(maps.policy(1), None);
        assert_eq!(maps.client(&nowhere), ClientRecord(0));
        assert!(!maps.is_on_link(&nowhere) && !maps.is_resolver(&nowhere));
        assert_eq!(maps.policy_of(Selector::Mac, &QueryClient::default()), 0);
        assert_eq!(maps.interface(1), InterfaceRecord(0));
        assert_eq!(maps.override_record(1), None);
        assert_eq!((maps.bucket(1), maps.flow(1)), (0, None));
        assert_eq!(maps.with_part(1, |_| ()), None);
        assert_eq!((maps.random(), maps.now_ns(), maps.ticks()), (0, 0, 0));
        assert_eq!([Record::zeroed()].as_slice().policy(0), None);
    }
}
