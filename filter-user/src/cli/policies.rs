//! The effective policy table of `nxdp check`.

use std::{
    collections::BTreeMap,
    io::{self, Write},
};

use filter_common::{layout::POLICY_REFUSE_BYPASS, selector::Selector};
use filter_user::{
    config::{Config, DEFAULT_POLICY, PolicyConfig},
    policy::{Categories, Clients, Numbers, Policies, Policy},
};
use jiff::Timestamp;
use serde_json::json;

use super::{Failure, when};

/// The policies of a configuration.
pub(super) struct PolicyTable<'a> {
    config: &'a Config,
    categories: &'a Categories,
    policies: Policies,
    clients: BTreeMap<u32, Counts>,
}

impl<'a> PolicyTable<'a> {
    pub(super) fn new(config: &'a Config, categories: &'a Categories) -> Result<Self, Failure> {
        let policies = Policies::resolve(config, categories, &Numbers::new());
        let policies = policies.map_err(Failure::usage)?;
        Ok(Self {
            config,
            categories,
            clients: counts(policies.clients()),
            policies,
        })
    }

    /// One row a policy, and one below it for each time at which it is different.
    pub(super) fn print(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(
            out,
            "{:<20} {:<10} {:<34} {:<34} next switch",
            "policy", "answer", "for", "blocks"
        )?;
        let now = Timestamp::now();
        for policy in self.policies.iter() {
            let zone = &policy.schedule.zone;
            let next = policy
                .schedule
                .next_switch(now)
                .map(|next| when::zoned(next, zone));
            writeln!(
                out,
                "{:<20} {:<10} {:<34} {:<34} {}",
                policy.name,
                self.answer(policy),
                self.clients(policy),
                self.blocks(policy, policy.categories),
                next.as_deref().unwrap_or("-"),
            )?;
            let zone_name = zone.iana_name().unwrap_or("local time");
            for span in &policy.schedule.spans {
                let (from, to) = (span.from.strftime("%H:%M"), span.to.strftime("%H:%M"));
                let blocks = self.blocks(policy, span.change.applied_to(policy.categories));
                writeln!(
                    out,
                    "  {} {from} to {to} ({zone_name}): blocks {blocks}",
                    span.days
                )?;
            }
        }
        Ok(())
    }

    /// What is seldom meant.
    pub(super) fn warnings(&self) -> Vec<String> {
        self.policies.warnings(self.config, self.categories)
    }

    pub(super) fn json(&self) -> serde_json::Value {
        let now = Timestamp::now();
        let policies = self.policies.iter();
        let rows = policies.map(|policy| {
            let names = |mask| self.categories.names_of(mask);
            json!({
                "name": policy.name,
                "number": policy.number,
                "clients": self.clients_of(policy).into_iter().collect::<BTreeMap<_, _>>(),
                "every_category": self.is_every(policy.categories),
                "blocks": names(policy.categories),
                "blocks_now": names(policy.categories_at(now)),
                "answer": self.answer(policy),
                "unfiltered": policy.is_unfiltered(),
                "block_bypass": policy.flags & POLICY_REFUSE_BYPASS != 0,
                "next_switch": policy.schedule.next_switch(now),
            })
        });
        rows.collect()
    }

    fn clients_of(&self, policy: &Policy) -> Counts {
        let counts = self.clients.get(&policy.number);
        counts.copied().unwrap_or_else(nobody)
    }

    fn config_of(&self, policy: &Policy) -> Option<&PolicyConfig> {
        self.config.policies.get(&policy.name)
    }

    fn answer(&self, policy: &Policy) -> String {
        match self.config_of(policy) {
            Some(config) if config.unfiltered => "-".to_owned(),
            Some(config) if config.observe => "observe".to_owned(),
            Some(PolicyConfig {
                answer: Some(answer),
                ..
            }) => answer.to_string(),
            _ => self.config.answer.to_string(),
        }
    }

    fn clients(&self, policy: &Policy) -> String {
        if policy.name == DEFAULT_POLICY {
            return "everybody else".to_owned();
        }
        let counts = self.clients_of(policy).into_iter();
        let counts = counts.filter(|(_, count)| *count > 0);
        let words: Vec<String> = counts.map(|(what, count)| counted(count, what)).collect();
        if words.is_empty() {
            "nobody".to_owned()
        } else {
            words.join(", ")
        }
    }

    fn blocks(&self, policy: &Policy, mask: u64) -> String {
        if policy.is_unfiltered() {
            return "nothing: unfiltered".to_owned();
        }
        let bypass = mask & !self.categories.every() != 0;
        match (self.is_every(mask), bypass) {
            (true, false) => "every category".to_owned(),
            (true, true) => "every category, ways around".to_owned(),
            (false, _) if mask == 0 => "nothing".to_owned(),
            (false, _) => self.categories.names_of(mask).join(", "),
        }
    }

    fn is_every(&self, mask: u64) -> bool {
        mask & self.categories.every() == self.categories.every()
    }
}

/// `1 prefix`, `2 prefixes`.
fn counted(count: usize, what: &str) -> String {
    let one = match what {
        "prefixes" => "prefix",
        other => other.trim_end_matches('s'),
    };
    format!("{count} {}", if count == 1 { one } else { what })
}

/// What a policy tells clients by, and how many of each kind it has.
type Counts = [(&'static str, usize); Selector::ALL.len()];

fn nobody() -> Counts {
    Selector::ALL.map(|selector| (selector.word(), 0))
}

/// The clients of every policy, by its number: there may be a million of them.
fn counts(clients: &Clients) -> BTreeMap<u32, Counts> {
    let mut counts = BTreeMap::new();
    for (kind, selector) in Selector::ALL.into_iter().enumerate() {
        for number in clients.numbers(selector) {
            counts.entry(number).or_insert_with(nobody)[kind].1 += 1;
        }
    }
    counts
}
