//! What two images say about a name together: that of the lists, and that of custom categories.
//!
//! Which of them decides is found by the function that judges packets.

use filter_common::{
    direct::Direct,
    layout::{PolicyRecord, Record},
    maps::Maps,
    name::Name,
    rule::{AnswerKind, Priority},
    table::Records,
};

use super::{Explanation, Image, Loss, Origin, PolicyView, Verdict, walk::decide};
use crate::rule::ClientAddress;

/// The images that are active at the same time.
#[derive(Clone, Copy, Debug)]
pub struct Layers<'a> {
    lists: &'a Image,
    custom: Option<&'a Image>,
}

impl<'a> Layers<'a> {
    /// The image of the lists, and that of custom categories if there are any.
    pub const fn new(lists: &'a Image, custom: Option<&'a Image>) -> Self {
        Self { lists, custom }
    }

    /// What happens to a query under a policy.
    pub fn query(&self, name: &Name, qtype: u16, policy: impl Into<PolicyView>) -> Verdict<'a> {
        let policy = policy.into();
        let (decider, answer) = self.decider(name, qtype, policy);
        let verdict = decider.query(name, qtype, policy);
        Verdict { answer, ..verdict }
    }

    /// What happens to a query, and why every other rule that touches the name does not decide.
    pub fn explain(
        &self,
        name: &Name,
        qtype: u16,
        policy: impl Into<PolicyView>,
        client: Option<ClientAddress>,
    ) -> Explanation<'a> {
        let policy = policy.into();
        let explain = |image: &'a Image| image.explain(name, qtype, policy, client);
        let Some(custom) = self.custom else {
            return explain(self.lists);
        };
        let (winner, answer) = self.decider(name, qtype, policy);
        let loser = match std::ptr::eq(winner, custom) {
            true => self.lists,
            false => custom,
        };
        let (mut explanation, other) = (explain(winner), explain(loser));
        explanation.verdict.answer = answer;
        let beaten = other.verdict.winner.map(|origin| {
            let loss = why_beaten(&origin, explanation.verdict.winner.as_ref());
            (origin, loss)
        });
        explanation.others.extend(beaten);
        explanation.others.extend(other.others);
        // The most specific first, as in one image.
        explanation
            .others
            .sort_by_key(|(origin, _)| std::cmp::Reverse(origin.name.label_count()));
        explanation
    }

    /// The image whose rule decides, that of the lists if there is none; and the answer.
    fn decider(
        &self,
        name: &Name,
        qtype: u16,
        policy: PolicyView,
    ) -> (&'a Image, Option<AnswerKind>) {
        let custom = self.custom.map_or(&[][..], Image::records);
        let both = Both(self.lists.records(), custom);
        let first = if custom.is_empty() { 0 } else { both.0.len() };
        let Some((scratch, decided)) = decide(&both, first as u32, name, qtype, policy) else {
            return (self.lists, None);
        };
        let image = match self.custom {
            Some(custom) if scratch.generation as usize == both.0.len() => custom,
            _ => self.lists,
        };
        (image, decided.ok())
    }
}

fn why_beaten(beaten: &Origin<'_>, winner: Option<&Origin<'_>>) -> Loss {
    let rank = |origin: &Origin<'_>| {
        origin
            .priority
            .map_or(0, |priority: Priority| priority as u8)
    };
    match winner {
        Some(winner) if rank(winner) > rank(beaten) => Loss::Weaker,
        Some(winner) if winner.name.label_count() > beaten.name.label_count() => Loss::LessSpecific,
        _ => Loss::Later,
    }
}

/// The records of two images, one behind the other; every map besides is empty.
struct Both<'a>(&'a [Record], &'a [Record]);

impl Records for Both<'_> {
    fn record(&self, index: u32) -> Option<&Record> {
        let index = index as usize;
        match index.checked_sub(self.0.len()) {
            None => self.0.get(index),
            Some(behind) => self.1.get(behind),
        }
    }
}

impl Maps for Both<'_> {
    fn policy(&self, _number: u32) -> Option<&PolicyRecord> {
        None
    }
}

impl Direct for Both<'_> {}

#[cfg(test)]
mod tests {
    use filter_common::rule::Scope;

    use super::*;
    use crate::{
        compile::{self, ListBuilder, Options},
        image::{Decision, Kind, ListInfo},
        rule::{Effect, Rule, Shape},
    };

    fn image(kind: Kind, rules: &[(&str, Scope, bool)]) -> Image {
        let mut list = ListBuilder::new(ListInfo::new(&format!("{kind:?}"), "list.txt"));
        for (line, (name, scope, is_block)) in (1..).zip(rules) {
            let name = Name::from_text(name.as_bytes()).unwrap();
            list.rule(
                line,
                &match is_block {
                    true => Rule::block(name, *scope),
                    false => Shape {
                        effect: Effect::Allow,
                        ..Shape::block(*scope)
                    }
                    .of(name),
                },
            );
        }
        let options = Options {
            kind,
            ..Options::default()
        };
        compile::compile(&[&list], &options).unwrap()
    }

    #[test]
    fn the_better_rule_of_both_images_decides_and_the_others_say_why_they_do_not() {
        let lists = image(
            Kind::Lists,
            &[
                ("ads.example", Scope::Suffix, true),
                ("play.example", Scope::Suffix, true),
            ],
        );
        let custom = image(
            Kind::Custom,
            &[
                // Not of all below: the next one would be redundant then.
                ("ads.example", Scope::Exact, true),
                ("sub.ads.example", Scope::Suffix, true),
                ("play.example", Scope::Suffix, false),
            ],
        );
        let layers = Layers::new(&lists, Some(&custom));
        let explain = |text: &str| {
            let name = Name::from_text(text.as_bytes()).unwrap();
            let explanation = layers.explain(&name, 1, u64::MAX, None);
            let winner = explanation.verdict.winner.map(|origin| origin.list_name);
            let losses = explanation.others.iter();
            let losses = losses.map(|(origin, loss)| (origin.list_name, *loss));
            (
                explanation.verdict.decision,
                winner,
                losses.collect::<Vec<_>>(),
            )
        };
        assert_eq!(
            explain("ads.example"),
            (
                Decision::Block,
                Some("Lists"),
                vec![("Custom", Loss::Later)]
            )
        );
        let (decision, winner, losses) = explain("a.sub.ads.example");
        assert_eq!((decision, winner), (Decision::Block, Some("Custom")));
        assert!(
            losses.contains(&("Lists", Loss::LessSpecific)),
            "{losses:?}"
        );
        assert_eq!(
            explain("play.example"),
            (
                Decision::Allow,
                Some("Custom"),
                vec![("Lists", Loss::Weaker)]
            )
        );
        assert_eq!(explain("other.example"), (Decision::None, None, vec![]));
    }
}
