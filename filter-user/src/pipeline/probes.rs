//! Names whose verdicts are asked again where a generation is about to go live.
//!
//! They come from the lists, not from the table: a table that lost its names,
//! or is another one, does not decide them alike.

use filter_common::{layout::Record, name::Name};
use filter_lists::{
    compile::ListBuilder,
    image::{Hit, Image, walk},
};

/// Names of one list that are asked.
const NAMES_PER_LIST: usize = 64;
/// A, which every name may be asked for.
const QTYPE: u16 = 1;

/// Names with the rule that decides each.
#[derive(Clone, Debug, Default)]
pub struct Probes(Vec<(Name, Option<Hit>)>);

impl Probes {
    /// Names of all lists, evenly chosen, as `image` decides them.
    pub(super) fn of(lists: &[&ListBuilder], image: &Image) -> Self {
        let names = lists.iter().flat_map(|list| {
            let step = list.rule_count().div_ceil(NAMES_PER_LIST).max(1);
            list.rules().step_by(step)
        });
        let names =
            names.filter_map(|(labels, ..)| Name::from_wire(&[labels, b"\0"].concat()).ok());
        Self(
            names
                .map(|name| {
                    let hit = ask(image.records(), &name);
                    (name, hit)
                })
                .collect(),
        )
    }

    /// Whether a generation decides all names as it should, by the function that judges packets.
    pub fn pass(&self, generation: &[Record]) -> bool {
        self.0
            .iter()
            .all(|(name, expected)| ask(generation, name) == *expected)
    }
}

fn ask(generation: &[Record], name: &Name) -> Option<Hit> {
    walk(generation, name, QTYPE, u64::MAX)
}

#[cfg(test)]
mod tests {
    use filter_common::rule::Scope;
    use filter_lists::{compile, image::ListInfo, rule::Rule};

    use super::*;

    fn list(prefix: &str) -> ListBuilder {
        let mut list = ListBuilder::new(ListInfo::new(prefix, prefix));
        for number in 0..1000 {
            let name = Name::from_text(format!("{prefix}{number}.example").as_bytes()).unwrap();
            list.rule(number + 1, &Rule::block(name, Scope::Suffix));
        }
        list
    }

    fn image(list: &ListBuilder) -> Image {
        compile::compile(&[list], &compile::Options::default()).unwrap()
    }

    #[test]
    fn the_own_generation_passes_and_another_one_does_not() {
        let (own, other) = (list("a"), list("b"));
        let probes = Probes::of(&[&own], &image(&own));
        assert!(probes.0.len() >= 60 && probes.0.iter().all(|(_, hit)| hit.is_some()));
        assert!(probes.pass(image(&own).records()));
        assert!(!probes.pass(image(&other).records()));
        assert!(!probes.pass(&vec![Record::default(); image(&own).records().len()]));
    }
}
