//! The records against what overrides mean, said as plainly as can be.

use filter_common::{
    layout::{DECISION_ALLOW, DECISION_BLOCK},
    overrides::ClientKey,
};
use proptest::prelude::*;

use super::*;
use crate::overrides::{Difference, Entry, OverrideScope};

const KEY: HashKey = HashKey::from_words([0x1234_5678_9abc_def1, 0x0fed_cba9_8765_4321, 77]);
const NOW: u64 = 1000;

/// Who asks: everybody, in two policies, from two addresses and two stations.
fn query_clients() -> Vec<(QueryClient, u32)> {
    let mut query_clients = Vec::new();
    for policy in 0..2 {
        for number in 0..2 {
            let client = QueryClient {
                source: [number; 16],
                mac: [number; 6],
                ..QueryClient::default()
            };
            query_clients.push((client, policy));
        }
    }
    query_clients
}

fn client_key(number: u8) -> ClientKey {
    match number {
        0 => ClientKey::EVERYBODY,
        1 => ClientKey::policy(0),
        2 => ClientKey::policy(1),
        3 => ClientKey::address(&[1; 16], &KEY),
        _ => ClientKey::mac([1; 6]),
    }
}

/// Whether a client_key is the client, and how narrow it is.
fn rank(client_key: ClientKey, client: &QueryClient, policy: u32) -> Option<u8> {
    let ways = [
        ClientKey::EVERYBODY,
        ClientKey::policy(policy),
        ClientKey::address(&client.source, &KEY),
        ClientKey::mac(client.mac),
    ];
    let rank = ways.iter().position(|way| *way == client_key)?;
    Some(rank as u8)
}

fn any_name() -> impl Strategy<Value = Name> {
    proptest::collection::vec(0u8..3, 1..4).prop_map(|labels| {
        let labels: Vec<String> = labels.iter().map(|label| format!("l{label}")).collect();
        Name::from_text(labels.join(".").as_bytes()).unwrap()
    })
}

fn any_entry() -> impl Strategy<Value = Entry> {
    let expiry = prop_oneof![Just(0), Just(NOW / 2), Just(NOW * 2)];
    (any_name(), any::<bool>(), 0u8..5, any::<bool>(), expiry).prop_map(
        |(name, is_exact, client_number, allows, expires_ns)| Entry {
            name: (&name).into(),
            scope: if is_exact {
                OverrideScope::Exact
            } else {
                OverrideScope::Suffix
            },
            client_key: client_key(client_number),
            decision: Decision {
                expires_ns,
                action: if allows {
                    DECISION_ALLOW
                } else {
                    DECISION_BLOCK
                },
                ..Decision::default()
            },
        },
    )
}

/// At most one with an end and one without for each name, scope and client_key, as a set has it;
/// and at most one that has ended for each name and client_key: userspace takes them out.
fn entries() -> impl Strategy<Value = Vec<Entry>> {
    proptest::collection::vec(any_entry(), 0..24).prop_map(|entries| {
        let mut kept: Vec<Entry> = Vec::new();
        for entry in entries {
            let place = |e: &Entry| {
                (
                    e.name.clone(),
                    e.scope,
                    e.client_key.0,
                    e.decision.expires_ns == 0,
                )
            };
            let has_ended = |e: &Entry| (1..=NOW).contains(&e.decision.expires_ns);
            let ended_too = |e: &Entry| {
                (&e.name, e.client_key) == (&entry.name, entry.client_key)
                    && has_ended(e)
                    && has_ended(&entry)
            };
            kept.retain(|known| place(known) != place(&entry) && !ended_too(known));
            kept.push(entry);
        }
        for (number, entry) in kept.iter_mut().enumerate() {
            entry.decision.id = number as u32 + 1;
        }
        kept
    })
}

/// The longest name wins, then the narrowest client_key, then the name itself, then one with an end.
fn meant(entries: &[Entry], name: &Name, client: &QueryClient, policy: u32) -> u32 {
    let matching = entries.iter().filter_map(|entry| {
        let owner = entry.name.name();
        let is_matched = match entry.scope {
            OverrideScope::Exact => owner == *name,
            OverrideScope::Suffix => name.is_at_or_below(&owner),
        };
        let end = entry.decision.expires_ns;
        let holds = is_matched && (end == 0 || NOW < end);
        let rank = rank(entry.client_key, client, policy).filter(|_| holds)?;
        let is_exact = entry.scope == OverrideScope::Exact;
        Some((
            (owner.label_count(), rank, is_exact, end != 0),
            entry.decision.id,
        ))
    });
    matching.max().map_or(0, |(_, id)| id)
}

fn names() -> Vec<Name> {
    let mut names = Vec::new();
    for a in 0..3 {
        for b in 0..3 {
            for c in 0..3 {
                for text in [
                    format!("l{a}"),
                    format!("l{a}.l{b}"),
                    format!("x.l{a}.l{b}.l{c}"),
                    format!("l{a}.l{b}.l{c}"),
                ] {
                    names.push(Name::from_text(text.as_bytes()).unwrap());
                }
            }
        }
    }
    names
}

/// The number of the override that decides, for every query.
fn decided(records: &Records) -> Vec<u32> {
    let mut decided = Vec::new();
    for name in names() {
        for (client, policy) in query_clients() {
            decided.push(records.decide(&name, &client, policy).id);
        }
    }
    decided
}

fn decided_as_meant(entries: &[Entry]) -> Vec<u32> {
    let mut decided = Vec::new();
    for name in names() {
        for (client, policy) in query_clients() {
            decided.push(meant(entries, &name, &client, policy));
        }
    }
    decided
}

impl Records {
    fn batch(&mut self) -> &mut u32 {
        let control: &mut Control = bytemuck::cast_mut(&mut self.control.0);
        &mut control.batch
    }

    fn put(&mut self, writes: &[(u64, Option<OverrideRecord>)]) {
        for (key, record) in writes {
            match record {
                Some(record) => self.map.insert(*key, *record),
                None => self.map.remove(key),
            };
        }
    }
}

/// Carries a change out step by step; what is decided after each one.
fn carry_out(records: &mut Records, differences: &[Difference]) -> [Vec<u32>; 3] {
    let batch = records.batch().wrapping_add(1);
    let transition = super::super::Transition::new(differences, batch, NOW);
    let first: Vec<_> = transition
        .first
        .iter()
        .map(|(key, record)| (*key, Some(*record)))
        .collect();
    records.put(&first);
    let written = decided(records);
    *records.batch() = batch;
    let in_force = decided(records);
    records.put(&transition.last);
    [written, in_force, decided(records)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_kernels_walk_finds_what_is_meant(entries in entries()) {
        let mut tree = Tree::new(KEY);
        tree.change(&[], &entries);
        let mut records = Records::of(&tree);
        records.set_now(NOW);
        prop_assert_eq!(decided(&records), decided_as_meant(&entries));
    }

    #[test]
    fn a_change_takes_effect_at_once_and_leaves_what_a_fresh_start_would(
        old in entries(),
        new in entries(),
        first_batch in prop_oneof![Just(0u32), Just(u32::MAX), any::<u32>()],
    ) {
        // What has ended is never put in force.
        let mut new = new;
        new.retain(|entry| !(1..=NOW).contains(&entry.decision.expires_ns));
        for entry in &mut new {
            entry.decision.id += 1000;
        }
        let mut tree = Tree::new(KEY);
        let mut records = Records::new(KEY);
        records.set_now(NOW);
        *records.batch() = first_batch;
        carry_out(&mut records, &tree.change(&[], &old));
        prop_assert_eq!(decided(&records), decided_as_meant(&old));

        let differences = tree.change(&old, &new);
        let [written, in_force, tidied] = carry_out(&mut records, &differences);
        prop_assert_eq!(written, decided_as_meant(&old));
        prop_assert_eq!(&in_force, &decided_as_meant(&new));
        prop_assert_eq!(&tidied, &in_force);
        let left = |map: &FxHashMap<u64, OverrideRecord>| {
            let mut left: Vec<_> = map.iter().map(|(key, record)| (*key, OverrideRecord { batch: 0, ..*record })).collect();
            left.sort_unstable_by_key(|(key, _)| *key);
            left
        };
        prop_assert_eq!(left(&records.map), left(&Records::of(&tree).map));
        let emptied = tree.change(&new, &[]);
        carry_out(&mut records, &emptied);
        prop_assert!(tree.is_empty() && records.map.is_empty());
    }
}
