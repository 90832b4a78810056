//! The built-in list of names by which clients find ways around the filter.

use filter_common::{
    name::Name,
    rule::{AnswerKind, Scope},
};
use filter_lists::{
    compile::ListBuilder,
    image::ListInfo,
    rule::{Answer, Effect, Shape},
};

use crate::{
    config::{BYPASS_CATEGORY, Config},
    policy::Categories,
};

/// Each name with the answer that makes clients use the network's resolver.
const NAMES: [(&str, AnswerKind); 4] = [
    // Firefox turns its DNS over HTTPS off.
    ("use-application-dns.net", AnswerKind::NxDomain),
    // Apple devices turn iCloud Private Relay off.
    ("mask.icloud.com", AnswerKind::NxDomain),
    ("mask-h2.icloud.com", AnswerKind::NxDomain),
    // RFC 9462 §4: there is no designated resolver.
    ("_dns.resolver.arpa", AnswerKind::NoData),
];

/// The list, if some policy has a use for it.
pub(super) fn list(config: &Config, categories: &Categories) -> Option<ListBuilder> {
    let mask = categories.mask(BYPASS_CATEGORY)?;
    if !config.blocks_bypass() {
        return None;
    }
    let mut list = ListBuilder::new(ListInfo {
        categories: mask,
        category: Some(BYPASS_CATEGORY.to_owned()),
        ede_text: Some(BYPASS_CATEGORY.to_owned()),
        ..ListInfo::new("built-in bypass", "built-in")
    });
    for (line, (name, kind)) in (1..).zip(NAMES) {
        if let Ok(name) = Name::from_text(name.as_bytes()) {
            let shape = Shape {
                effect: Effect::Block(Some(Answer::of(kind))),
                ..Shape::block(Scope::Exact)
            };
            list.rule(line, &shape.of(name));
        }
    }
    Some(list)
}

#[cfg(test)]
mod tests {
    use filter_lists::{
        compile::{self, Options},
        image::Decision,
    };

    use super::*;

    #[test]
    fn every_name_is_blocked_for_policies_that_ask_for_it_and_for_nobody_else() {
        let config: Config = toml::from_str("[policy.kids]\nblock_bypass = true").unwrap();
        let categories = Categories::of(&config);
        let list = list(&config, &categories).unwrap();
        assert_eq!(list.rule_count(), NAMES.len());
        let image = compile::compile(&[&list], &Options::default()).unwrap();
        for (name, kind) in NAMES {
            let name = Name::from_text(name.as_bytes()).unwrap();
            let verdict = |mask| image.query(&name, 65, mask);
            let blocked = verdict(categories.mask(BYPASS_CATEGORY).unwrap());
            assert_eq!(blocked.decision, Decision::Block);
            assert_eq!(blocked.record.unwrap().answer, kind as u8);
            assert_eq!(verdict(categories.every()).decision, Decision::None);
        }
    }
}
