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

/// A TCP connection whose query was answered in the server's place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Flow {
    /// Sequence number that the server waits for: that of the query, which it never saw.
    pub server_next: u32,
    /// 1 when the server was told that the connection is over.
    pub is_reset: u32,
}

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
