//! Prefixes of clients: what the kernel's longest match must find at each.

use filter_common::layout::{CLIENT_ANSWERED, ClientRecord};
use filter_kernel::Prefix;

/// What stands at each prefix, so that the longest one that covers an address says everything
/// that is true of it: the policy of the longest prefix with one, and whether any may be answered.
///
/// `assigned` are the prefixes of policies with their numbers, each of which may be answered.
pub fn compose(answered: &[Prefix], assigned: &[(Prefix, u32)]) -> Vec<(Prefix, ClientRecord)> {
    let answered = answered.iter().map(|prefix| (*prefix, 0));
    let mut all: Vec<(Prefix, u32)> = answered.chain(assigned.iter().copied()).collect();
    // Of two entries of one prefix the one with a policy comes first, and stays.
    all.sort_unstable_by_key(|(prefix, policy)| (*prefix, std::cmp::Reverse(*policy)));
    all.dedup_by_key(|(prefix, _)| *prefix);
    let mut around: Vec<(Prefix, u32)> = Vec::new();
    let mut composed = Vec::with_capacity(all.len());
    for (prefix, own) in all {
        while around
            .pop_if(|(outer, _)| !outer.contains(&prefix))
            .is_some()
        {}
        let inherited = around.last().map_or(0, |(_, policy)| *policy);
        let policy = if own == 0 { inherited } else { own };
        around.push((prefix, policy));
        composed.push((prefix, ClientRecord(policy | CLIENT_ANSWERED)));
    }
    composed
}

#[cfg(test)]
mod tests {
    use filter_common::address::{Address, mapped};
    use ipnet::IpNet;
    use proptest::prelude::*;

    use super::*;
    use crate::policy::Clients;

    fn prefix(text: &str) -> Prefix {
        text.parse::<IpNet>().unwrap().into()
    }

    #[test]
    fn an_answered_prefix_inside_one_of_a_policy_keeps_the_policy() {
        let composed = compose(
            &[prefix("10.1.2.0/24"), prefix("192.0.2.0/24")],
            &[(prefix("10.1.0.0/16"), 7), (prefix("192.0.2.128/25"), 8)],
        );
        let policies: Vec<_> = composed
            .iter()
            .map(|(prefix, record)| (prefix.to_string(), record.0 & 0xffff))
            .collect();
        let expected = [
            ("10.1.0.0/16", 7),
            ("10.1.2.0/24", 7),
            ("192.0.2.0/24", 0),
            ("192.0.2.128/25", 8),
        ];
        assert_eq!(
            policies,
            expected.map(|(text, policy)| (text.to_owned(), policy))
        );
    }

    fn any_prefix() -> impl Strategy<Value = Prefix> {
        // Few distinct bits, so that prefixes meet and nest.
        let len = prop_oneof![4 => 120u32..=128, 1 => 0u32..120];
        (any::<u8>(), len).prop_map(|(last, len)| {
            let mut address = mapped([192, 0, 2, 0]);
            address[15] = last;
            Prefix::of(&address, len)
        })
    }

    fn longest<T: Copy>(entries: &[(Prefix, T)], address: &Address) -> Option<T> {
        let covering = entries.iter().filter(|(prefix, _)| prefix.covers(address));
        covering
            .max_by_key(|(prefix, _)| prefix.len)
            .map(|(_, value)| *value)
    }

    proptest! {
        #[test]
        fn the_longest_prefix_is_found_among_those_in_order(
            prefixes in proptest::collection::btree_map(any_prefix(), 1u32..100, 0..24),
        ) {
            let clients = Clients {
                prefixes: prefixes.into_iter().collect(),
                ..Clients::default()
            };
            for last in 0..=u8::MAX {
                for first in [192, 193] {
                    let address = mapped([first, 0, 2, last]);
                    let found = clients.longest(&address).map(|(_, policy)| policy);
                    prop_assert_eq!(found, longest(&clients.prefixes, &address));
                }
            }
        }

        #[test]
        fn the_longest_prefix_says_what_all_of_them_say(
            answered in proptest::collection::vec(any_prefix(), 0..12),
            assigned in proptest::collection::btree_map(any_prefix(), 1u32..100, 0..12),
        ) {
            let assigned: Vec<_> = assigned.into_iter().collect();
            let composed = compose(&answered, &assigned);
            for last in 0..=u8::MAX {
                let mut address = mapped([192, 0, 2, 0]);
                address[15] = last;
                let record = longest(&composed, &address).unwrap_or(ClientRecord(0)).0;
                let policy = longest(&assigned, &address);
                prop_assert_eq!(record & 0xffff, policy.unwrap_or(0));
                let is_answered = answered.iter().any(|prefix| prefix.covers(&address));
                prop_assert_eq!(record & CLIENT_ANSWERED != 0, is_answered || policy.is_some());
            }
        }
    }
}
