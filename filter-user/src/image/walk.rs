//! A name's way through the table, as the kernel program takes it.

use filter_common::{
    hash::HashKey,
    layout::{
        HEADER_SINGLE_LABEL_RULES, Header, RULE_HAS_DESCENDANTS, RULE_RESET, Record, RuleRecord,
    },
    name::Name,
    rule::Scope,
    suffix::SuffixHasher,
    table::{Records, find},
};

use crate::compile::CHAIN_MAX;

/// The rule that wins for a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hit {
    /// The rule.
    pub rule: RuleRecord,
    /// Number of labels of the name in the table that holds it.
    pub depth: usize,
}

/// Walks a generation that starts at record 0: the winning rule, if any.
pub fn walk(records: &[Record], name: &Name, qtype: u16, category_mask: u64) -> Option<Hit> {
    let header = Header::of(records.record(0)?);
    let key: HashKey = header.key;
    let depth_of_name = name.label_count();
    let single = header.flags & HEADER_SINGLE_LABEL_RULES != 0;
    let mut best: Option<Hit> = None;
    let mut hasher = SuffixHasher::new();
    for suffix in hasher.suffixes(name.as_wire(), &key) {
        if suffix.depth == 1 && !single {
            continue;
        }
        let mut class = find(
            records,
            header.bucket_base,
            header.bucket_count,
            suffix.hash,
        );
        if class == 0 {
            break;
        }
        let place = match suffix.depth == depth_of_name {
            true => Scope::SELF_BIT,
            false => Scope::BELOW_BIT,
        };
        let mut flags = None;
        for _ in 0..CHAIN_MAX {
            let rule = RuleRecord::of(records.record(header.class_base + u32::from(class))?);
            flags.get_or_insert(rule.flags);
            if applies(rule, place, qtype, category_mask) {
                let hit = Hit {
                    rule: *rule,
                    depth: suffix.depth,
                };
                best = better(best, hit);
            }
            class = rule.next as u16;
            if class == 0 {
                break;
            }
        }
        if flags.unwrap_or(0) & RULE_HAS_DESCENDANTS == 0 {
            break;
        }
    }
    best
}

fn applies(rule: &RuleRecord, place: u8, qtype: u16, category_mask: u64) -> bool {
    let named = rule.qtypes[..usize::from(rule.qtype_count).min(4)].contains(&qtype);
    let qtype_fits = match rule.qtype_mode {
        1 => named,
        2 => !named,
        _ => true,
    };
    rule.scope & place != 0 && qtype_fits && rule.categories & category_mask != 0
}

fn better(best: Option<Hit>, hit: Hit) -> Option<Hit> {
    if hit.rule.flags & RULE_RESET != 0 {
        return None;
    }
    let wins = best.is_none_or(|best| {
        let (new, old) = (hit.rule.priority, best.rule.priority);
        new > old || new == old && hit.depth > best.depth
    });
    if wins { Some(hit) } else { best }
}
