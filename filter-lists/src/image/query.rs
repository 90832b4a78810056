//! What an image says about a name, and which rules stand behind it.
//!
//! The verdict is that of the table. The rules are found in the provenance:
//! for the name and each of its parents, every rule of every list.

use std::fmt;

use filter_common::{
    layout::RuleRecord,
    name::Name,
    reason::Reason,
    rule::{AnswerKind, Priority, Scope},
};

use super::{Image, PolicyView, walk};
use crate::{
    provenance::{Fate, Row},
    rule::{Client, ClientAddress, Effect},
};

const TYPE_A: u16 = 1;
const TYPE_AAAA: u16 = 28;

/// What happens to a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Decision {
    /// A rule answers it.
    Block,
    /// A rule would answer it, but only counts: it passes.
    Observe,
    /// A rule lets it through.
    Allow,
    /// No rule matches; it passes.
    None,
}

impl Decision {
    /// The word for it: `block`, `observe`, `allow` or `none`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Block => "block",
            Self::Observe => "observe",
            Self::Allow => "allow",
            Self::None => "none",
        }
    }
}

/// A rule and where it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin<'a> {
    /// The rule in canonical spelling: `||d^`, `|d^`, `*.d`, with `@@` and options.
    pub rule: String,
    /// The name in the rule.
    pub name: Name,
    /// Which names it matches.
    pub scope: Scope,
    /// Its rank; `None` for a rule that only acts on other rules.
    pub priority: Option<Priority>,
    /// Number of the list.
    pub list: usize,
    /// What people call the list.
    pub list_name: &'a str,
    /// Where the list came from.
    pub path: &'a str,
    /// Line in the list, counted from 1.
    pub line: u32,
    /// What people call the category of the list; `None` for a list of every category.
    pub category: Option<&'a str>,
    /// Categories of the list.
    pub categories: u64,
}

/// What an image says about a query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict<'a> {
    /// What happens.
    pub decision: Decision,
    /// The record that decides, as the kernel sees it.
    pub record: Option<RuleRecord>,
    /// What the client is sent, if the query is blocked.
    pub answer: Option<AnswerKind>,
    /// The rule behind it.
    pub winner: Option<Origin<'a>>,
}

/// Why a rule that touches the name does not decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// It matches the name of the rule only.
    NameOnly,
    /// It matches names below that of the rule only.
    BelowOnly,
    /// It is not for this query type.
    OtherType,
    /// The policy selects none of its categories.
    OtherCategory,
    /// It is for other clients.
    OtherClient,
    /// It is for this client, and conditions on clients have no form in the kernel.
    ThisClient,
    /// It skips this name.
    Skipped,
    /// It is a rewrite and an exception lifts it here.
    Lifted,
    /// A rule of higher priority matches.
    Weaker,
    /// A rule of the same priority with a longer name matches.
    LessSpecific,
    /// A rule of equal rank comes first.
    Later,
    /// It gives the answer another address.
    Joined,
    /// It is not in the table.
    NotInTable(Fate),
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NameOnly => "matches only the name itself",
            Self::BelowOnly => "matches only names below it",
            Self::OtherType => "is not for this query type",
            Self::OtherCategory => "belongs to no category that the policy selects",
            Self::OtherClient => "is for other clients",
            Self::ThisClient => {
                "is for this client, but conditions on clients have no form in the kernel"
            }
            Self::Skipped => "skips this name",
            Self::Lifted => "is lifted here by an exception to rewrites",
            Self::Weaker => "a rule of higher priority matches",
            Self::LessSpecific => "a rule with a longer name matches",
            Self::Later => "a rule of equal rank comes first",
            Self::Joined => "gives the same answer an address of another type",
            Self::NotInTable(Fate::Duplicate) => "an equal rule came first",
            Self::NotInTable(Fate::Redundant) => {
                "another rule says the same for all that it matches"
            }
            Self::NotInTable(Fate::Overridden) => "a stronger rule matches all that it matches",
            Self::NotInTable(Fate::Deleted) => "was deleted by another rule",
            Self::NotInTable(Fate::Unsupported) => "has no form in the kernel",
            Self::NotInTable(Fate::Directive) => "acts on other rules only",
            Self::NotInTable(Fate::NoRoom) => {
                "no room: its name or its list has more rules of different effect than fit"
            }
            Self::NotInTable(Fate::InTable) => "is in the table",
        })
    }
}

/// A verdict with every rule that touches the name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation<'a> {
    /// What happens, and by which rule.
    pub verdict: Verdict<'a>,
    /// The other rules of the name and its parents, the most specific first.
    pub others: Vec<(Origin<'a>, Loss)>,
}

/// A rule met on the way from the name to the root.
struct Met<'a> {
    row: &'a Row,
    name: Name,
    depth: usize,
}

impl Image {
    /// What happens to a query under a policy.
    pub fn query(&self, name: &Name, qtype: u16, policy: impl Into<PolicyView>) -> Verdict<'_> {
        let met = self.met(name);
        self.decide(name, qtype, policy.into(), &met).0
    }

    /// What happens to a query, and why every other rule that touches the name does not decide.
    ///
    /// The client only tells apart which rules for some clients are for this one.
    pub fn explain(
        &self,
        name: &Name,
        qtype: u16,
        policy: impl Into<PolicyView>,
        client: Option<ClientAddress>,
    ) -> Explanation<'_> {
        let policy = policy.into();
        let met = self.met(name);
        let (verdict, winner) = self.decide(name, qtype, policy, &met);
        let loss = |m: &Met| {
            let not_for = client.and_then(|client| self.why_not_for(m, client));
            let why_not = not_for.or_else(|| self.why_not(m, name, qtype, policy.categories));
            let winner = winner.map(|w| &met[w]);
            why_not.unwrap_or_else(|| match (winner, &verdict.record) {
                (Some(winner), Some(record)) if self.is_part_of(m, winner, record) => Loss::Joined,
                _ => self.why_beaten(m, winner, policy),
            })
        };
        let others = met.iter().enumerate();
        let others = others.filter(|(i, _)| Some(*i) != winner);
        let others = others.map(|(_, m)| (self.origin(m), loss(m))).collect();
        Explanation { verdict, others }
    }

    fn decide(
        &self,
        name: &Name,
        qtype: u16,
        policy: PolicyView,
        met: &[Met],
    ) -> (Verdict<'_>, Option<usize>) {
        let Some(hit) = walk(&self.records, name, qtype, policy) else {
            let verdict = Verdict {
                decision: Decision::None,
                record: None,
                answer: None,
                winner: None,
            };
            return (verdict, None);
        };
        let priority = Priority::from_number(hit.rule.priority);
        let same_rank = |m: &Met| self.stored_priority(m) == priority;
        // The first of those that match: `met` is in the order in which rules of one priority win.
        let matching =
            |m: &Met| same_rank(m) && self.why_not(m, name, qtype, policy.categories).is_none();
        let first = met.iter().position(matching);
        // The line that the answer for this type is from, where several lines give one.
        let depth = first.map(|first| met[first].depth);
        let winner = met.iter().position(|m| {
            let is_beside = Some(m.depth) == depth && matching(m);
            is_beside && self.gives(m, &hit.rule, qtype)
        });
        let winner = winner.or(first);
        let decision = match hit.decided {
            Ok(_) => Decision::Block,
            Err(Reason::Observed) => Decision::Observe,
            Err(_) => Decision::Allow,
        };
        let verdict = Verdict {
            decision,
            record: Some(hit.rule),
            answer: hit.decided.ok(),
            winner: winner.map(|w| self.origin(&met[w])),
        };
        (verdict, winner)
    }

    /// Every rule of the name and its parents: longer names first, then network rules, then by list and line.
    fn met(&self, name: &Name) -> Vec<Met<'_>> {
        let mut met = Vec::new();
        let mut at = Some(*name);
        while let Some(name) = at {
            let wire = name.as_wire();
            let from = met.len();
            let depth = name.label_count();
            let rows = self.provenance.rules_of(&wire[..wire.len() - 1]);
            met.extend(rows.iter().map(|row| Met { row, name, depth }));
            met[from..].sort_by_key(|m| self.shapes[m.row.shape()].host_rule);
            at = name.parent();
        }
        met
    }

    /// Why a rule does not match the query, if it does not.
    fn why_not(&self, met: &Met, name: &Name, qtype: u16, category_mask: u64) -> Option<Loss> {
        let shape = &self.shapes[met.row.shape()];
        match met.row.fate() {
            Some(Fate::InTable) => {}
            fate => return Some(Loss::NotInTable(fate.unwrap_or(Fate::Unsupported))),
        }
        let is_name = met.name == *name;
        if is_name && shape.scope == Scope::Subs {
            Some(Loss::BelowOnly)
        } else if !is_name && shape.scope == Scope::Exact {
            Some(Loss::NameOnly)
        } else if !shape.qtypes.contains(qtype) {
            Some(Loss::OtherType)
        } else if self.lists[met.row.list()].categories & category_mask == 0 {
            Some(Loss::OtherCategory)
        } else if shape
            .except
            .iter()
            .any(|except| name.is_at_or_below(except))
        {
            Some(Loss::Skipped)
        } else {
            None
        }
    }

    /// Why a rule for some clients does not decide for this one, if that is the reason.
    fn why_not_for(&self, met: &Met, client: ClientAddress) -> Option<Loss> {
        let clients = &self.shapes[met.row.shape()].clients;
        if clients.is_empty() {
            return None;
        }
        match (Client::any_is(clients, client), met.row.fate()) {
            (false, _) => Some(Loss::OtherClient),
            (true, Some(Fate::Unsupported)) => Some(Loss::ThisClient),
            (true, _) => None,
        }
    }

    /// Why a rule that matches does not decide.
    fn why_beaten(&self, met: &Met, winner: Option<&Met>, policy: PolicyView) -> Loss {
        let priority = |m: &Met| self.priority(m, policy);
        match winner {
            Some(winner) if priority(winner) > priority(met) => Loss::Weaker,
            Some(winner) if priority(winner) == priority(met) && winner.depth > met.depth => {
                Loss::LessSpecific
            }
            Some(winner) if priority(winner) == priority(met) => Loss::Later,
            _ => Loss::Lifted,
        }
    }

    /// The rank of a rule, as its record has it.
    fn stored_priority(&self, met: &Met) -> Option<Priority> {
        let priority = self.shapes[met.row.shape()].priority()?;
        match self.lists[met.row.list()].observes() {
            true => Some(Priority::Observe),
            false => Some(priority),
        }
    }

    /// The rank of a rule for clients of this policy.
    fn priority(&self, met: &Met, policy: PolicyView) -> Option<Priority> {
        let asks_for_nothing = self.lists[met.row.list()].answer.is_none()
            && self.shapes[met.row.shape()].effect == Effect::Block(None);
        let priority = self.stored_priority(met)?;
        match asks_for_nothing && self.observes(policy) {
            true => Some(Priority::Observe),
            false => Some(priority),
        }
    }

    /// Whether the record answers this type with an address of the rule.
    fn gives(&self, met: &Met, record: &RuleRecord, qtype: u16) -> bool {
        match (&self.shapes[met.row.shape()].effect, qtype) {
            (Effect::Block(Some(answer)) | Effect::Rewrite(answer), TYPE_A) => answer
                .ipv4
                .is_some_and(|address| address.octets() == record.ipv4),
            (Effect::Block(Some(answer)) | Effect::Rewrite(answer), TYPE_AAAA) => answer
                .ipv6
                .is_some_and(|address| address.octets() == record.ipv6),
            _ => false,
        }
    }

    /// Whether a rule beside the winner is part of the very record that decides.
    fn is_part_of(&self, met: &Met, winner: &Met, record: &RuleRecord) -> bool {
        let rank = |met: &Met| self.shapes[met.row.shape()].priority();
        let is_beside = met.depth == winner.depth && rank(met) == rank(winner);
        let answers = AnswerKind::from_number(record.answer) == Some(AnswerKind::Address);
        is_beside
            && answers
            && (self.gives(met, record, TYPE_A) || self.gives(met, record, TYPE_AAAA))
    }

    fn origin(&self, met: &Met) -> Origin<'_> {
        let shape = &self.shapes[met.row.shape()];
        let list = &self.lists[met.row.list()];
        Origin {
            rule: shape.display(&met.name).to_string(),
            name: met.name,
            scope: shape.scope,
            priority: shape.priority(),
            list: met.row.list(),
            list_name: &list.name,
            path: &list.path,
            line: met.row.line,
            category: list.category.as_deref(),
            categories: list.categories,
        }
    }
}
