//! What keeps an image from going live.

mod orders;

use filter_common::{
    name::Name,
    rule::{QtypeSet, Scope},
};
use filter_lists::{
    compile::{ListBuilder, Options, compile},
    guard::{
        AcceptedFinding, Finding, GuardKind, GuardedName, Guards, Refusal, RequiredName, Severity,
        harm, is_suffix, protected_names, refuses,
    },
    image::{Image, ListInfo},
    rule::{Effect, Rule, Shape},
};

fn name(text: &str) -> Name {
    Name::from_text(text.as_bytes()).unwrap()
}

fn block(text: &str) -> Rule {
    Rule::block(name(text), Scope::Suffix)
}

fn exact(text: &str) -> Rule {
    Rule::block(name(text), Scope::Exact)
}

fn allow(text: &str) -> Rule {
    Shape {
        effect: Effect::Allow,
        ..Shape::block(Scope::Suffix)
    }
    .of(name(text))
}

/// A rule for some query types only.
fn only(rule: Rule, qtypes: &[u16]) -> Rule {
    with_types(rule, QtypeSet::only(qtypes))
}

fn with_types(mut rule: Rule, qtypes: Option<QtypeSet>) -> Rule {
    rule.shape.qtypes = qtypes.unwrap();
    rule
}

fn list(rules: &[Rule]) -> ListBuilder {
    let mut list = ListBuilder::new(ListInfo::new("tested", "https://lists.test:8443/a.txt"));
    for (i, rule) in rules.iter().enumerate() {
        list.rule(i as u32 + 1, rule);
    }
    list
}

fn image(list: &ListBuilder) -> Image {
    compile(&[list], &Options::default()).unwrap()
}

fn findings(guards: &Guards, rules: &[Rule]) -> Vec<Finding> {
    let list = list(rules);
    guards.check(&[&list], &image(&list), None)
}

/// Kind, subject, line, refused.
fn brief(findings: &[Finding]) -> Vec<(GuardKind, &str, Option<u32>, bool)> {
    let brief = |f: &Finding| f.severity == Severity::Refuse;
    findings
        .iter()
        .map(|f| (f.kind, f.subject.as_str(), f.line, brief(f)))
        .collect()
}

#[test]
fn top_level_domains_and_public_suffixes_are_refused_private_ones_warned_about() {
    let rules = [
        block("fine.example.com"),
        block("zip"),
        block("co.uk"),
        block("github.io"),
        exact("com.au"),
        allow("org.uk"),
        block("me.uk"),
        allow("me.uk"),
    ];
    let mut found = findings(&Guards::default(), &rules);
    found.sort_by_key(|f| f.line);
    assert_eq!(
        brief(&found)[..3],
        [
            (GuardKind::SingleLabel, "zip", Some(2), true),
            (GuardKind::PublicSuffix, "co.uk", Some(3), true),
            (GuardKind::PrivateSuffix, "github.io", Some(4), false),
        ]
    );
    assert!(
        found
            .iter()
            .any(|f| f.line == Some(5) && f.severity == Severity::Warn)
    );
    assert!(
        found.iter().all(|f| f.line.is_some_and(|line| line <= 5)),
        "{found:?}"
    );
    assert!(refuses(&found));
}

#[test]
fn a_block_of_a_protected_name_names_rule_list_and_line() {
    let found = findings(&Guards::default(), &[block("a.test"), block("ntp.org")]);
    let about = found.iter().find(|f| f.subject == "pool.ntp.org").unwrap();
    assert_eq!((about.kind, about.line), (GuardKind::Protected, Some(2)));
    let text = about.to_string();
    for part in [
        "pool.ntp.org",
        "||ntp.org^",
        "lists.test:8443/a.txt:2",
        "time",
    ] {
        assert!(text.contains(part), "{text} lacks {part}");
    }
    // With an exception for it, all is well.
    assert_eq!(
        findings(
            &Guards::default(),
            &[block("ntp.org"), allow("pool.ntp.org")]
        ),
        []
    );
}

#[test]
fn every_protected_name_is_caught() {
    assert!(protected_names().count() > 60);
    for (name, _) in protected_names() {
        let found = findings(&Guards::default(), &[Rule::block(name, Scope::Exact)]);
        assert!(refuses(&found), "{name}");
    }
}

#[test]
fn no_collision_may_hit_a_protected_name_or_one_of_the_operators() {
    let guards = Guards {
        must_not_block: vec![GuardedName {
            name: name("www.bank.test"),
            source: "names.txt:7".to_owned(),
        }],
        ..Guards::default()
    };
    let checked: Vec<_> = guards.never_blocked().collect();
    assert!(checked.contains(&name("www.bank.test")));
    assert!(protected_names().all(|(name, _)| checked.contains(&name)));
}

#[test]
fn the_servers_of_the_lists_are_protected() {
    let found = findings(&Guards::default(), &[block("lists.test")]);
    assert_eq!(
        brief(&found),
        [(GuardKind::Protected, "lists.test", Some(1), true)]
    );
}

fn guarded(text: &str) -> GuardedName {
    GuardedName {
        name: name(text),
        source: "names.txt:7".to_owned(),
    }
}

#[test]
fn the_operators_own_names_count() {
    let required = |text| RequiredName {
        name: name(text),
        category_mask: u64::MAX,
        source: "names.txt:7".to_owned(),
    };
    let guards = Guards {
        must_not_block: vec![guarded("www.bank.test"), guarded("other.test")],
        must_block: vec![required("order.test"), required("a.bank.test")],
        ..Guards::default()
    };
    let found = findings(&guards, &[block("bank.test")]);
    assert_eq!(
        brief(&found),
        [
            (GuardKind::MustNotBlock, "www.bank.test", Some(1), true),
            (GuardKind::MustBlock, "order.test", None, true),
        ]
    );
    assert!(found[0].what.contains("names.txt:7"));
}

#[test]
fn only_policies_in_use_count() {
    let mut tested = list(&[block("ntp.org")]);
    tested.set_info(ListInfo {
        categories: 2,
        ..tested.info().clone()
    });
    let guards = |masks: &[u64]| Guards {
        category_masks: masks.to_vec(),
        ..Guards::default()
    };
    let image = image(&tested);
    assert!(refuses(&guards(&[1, 2]).check(&[&tested], &image, None)));
    assert!(!refuses(&guards(&[1, 4]).check(&[&tested], &image, None)));
}

#[test]
fn an_exception_of_a_category_that_no_policy_selects_hides_no_block() {
    let of = |rule: Rule, categories: u64| {
        let mut list = list(&[rule]);
        list.set_info(ListInfo {
            categories,
            ..list.info().clone()
        });
        list
    };
    let (ads, games) = (of(block("bank.test"), 1), of(allow("bank.test"), 2));
    let lists = [&ads, &games];
    let image = compile(&lists, &Options::default()).unwrap();
    let refused = |masks: &[u64]| {
        let guards = Guards {
            category_masks: masks.to_vec(),
            must_not_block: vec![guarded("www.bank.test")],
            ..Guards::default()
        };
        refuses(&guards.check(&lists, &image, None))
    };
    assert!(refused(&[1]) && refused(&[3, 1]));
    assert!(!refused(&[3]) && !refused(&[2]));
}

#[test]
fn a_block_of_some_query_types_counts() {
    let subs = |text| Rule::block(name(text), Scope::Subs);
    for rule in [
        only(block("co.uk"), &[28, 65]),
        only(block("co.uk"), &[16, 15]),
        with_types(block("de"), QtypeSet::except(&[1])),
        only(block("arpa"), &[12]),
        only(subs("in-addr.arpa"), &[12]),
        only(block("ntp.org"), &[16]),
        only(exact("in-addr.arpa"), &[6]),
    ] {
        assert!(
            refuses(&findings(&Guards::default(), std::slice::from_ref(&rule))),
            "{rule:?}"
        );
    }
    let guards = Guards {
        must_not_block: vec![guarded("bank.test")],
        ..Guards::default()
    };
    let found = findings(&guards, &[only(block("bank.test"), &[15])]);
    assert_eq!(
        brief(&found),
        [(GuardKind::MustNotBlock, "bank.test", Some(1), true)]
    );
    assert!(found[0].what.contains("(type MX)"), "{}", found[0].what);
    // An exception for some of the types leaves the others.
    let half = [block("co.uk"), only(allow("co.uk"), &[1, 28])];
    assert!(refuses(&findings(&Guards::default(), &half)));
    assert!(!refuses(&findings(
        &Guards::default(),
        &[only(block("co.uk"), &[28]), only(allow("co.uk"), &[28])]
    )));
}

#[test]
fn suffixes_that_the_public_list_names_by_a_wildcard_are_refused() {
    for text in ["np", "sch.uk", "kobe.jp"] {
        for scope in [Scope::Subs, Scope::Suffix] {
            let rule = Rule::block(name(text), scope);
            assert!(refuses(&findings(&Guards::default(), &[rule])), "{text}");
            assert!(harm(&name(text), scope).is_some(), "{text}");
            assert!(is_suffix(&name(text), scope), "{text}");
        }
        assert!(!refuses(&findings(&Guards::default(), &[exact(text)])));
        assert_eq!(harm(&name(text), Scope::Exact), None, "{text}");
        assert!(!is_suffix(&name(text), Scope::Exact), "{text}");
    }
    assert!(is_suffix(&Name::ROOT, Scope::Suffix));
    assert!(!is_suffix(&name("ntp.org"), Scope::Suffix));
    // Hosted sites are warned about, and names that a wildcard skips are like all others.
    assert_eq!(
        brief(&findings(&Guards::default(), &[block("compute.estate")])),
        [(GuardKind::PrivateSuffix, "compute.estate", Some(1), false)]
    );
    assert_eq!(findings(&Guards::default(), &[block("city.kobe.jp")]), []);
}

#[test]
fn a_list_cannot_except_what_the_guard_asks_for() {
    for label in ["nxdp-probe-5e8c1fd", "0000000000000000"] {
        let spared = format!("{label}.co.uk");
        let rules = [block("co.uk"), allow(&spared)];
        assert!(refuses(&findings(&Guards::default(), &rules)));
        let mut rule = block("co.uk");
        rule.shape.except = vec![name(&spared)];
        assert!(refuses(&findings(&Guards::default(), &[rule])));
    }
}

#[test]
fn a_refusal_that_tells_some_findings_says_where_the_others_are() {
    let suffixes = [
        "com", "net", "org", "de", "fr", "co.uk", "me.uk", "org.uk", "com.au", "co.jp", "co.nz",
    ];
    let found = findings(&Guards::default(), &suffixes.map(block));
    let text = Refusal::of(&found).unwrap().to_string();
    assert!(
        text.contains("more; `nxdp check --json` tells all"),
        "{text}"
    );
}

#[test]
fn a_list_that_halves_or_triples_is_refused() {
    let rules: Vec<_> = (0..1000)
        .map(|i| exact(&format!("h{i}.example.test")))
        .collect();
    let verdict = |before: usize, now: usize| {
        let (old, new) = (list(&rules[..before]), list(&rules[..now]));
        refuses(&Guards::default().check(&[&new], &image(&new), Some(&image(&old))))
    };
    assert!(verdict(1000, 499) && !verdict(1000, 500));
    assert!(verdict(300, 901) && !verdict(300, 900));
    assert!(!verdict(90, 1));
}

/// Top-level domains in use.
const DOMAINS: [&str; 12] = [
    "zip", "mov", "xyz", "top", "icu", "cyou", "buzz", "rest", "cfd", "sbs", "bond", "lol",
];

#[test]
fn a_permission_for_a_list_and_a_kind_covers_all_of_that_kind_and_nothing_else() {
    let accept = |list: &str, kind| Guards {
        overrides: vec![AcceptedFinding {
            list: Some((list.to_owned(), kind)),
            reason: "a list of top-level domains".to_owned(),
            ..AcceptedFinding::default()
        }],
        ..Guards::default()
    };
    let mut rules: Vec<_> = DOMAINS.map(block).to_vec();
    let refused = |guards: &Guards, rules: &[Rule]| {
        let found = findings(guards, rules);
        found
            .iter()
            .filter(|f| f.severity == Severity::Refuse)
            .count()
    };
    let domains = accept("tested", GuardKind::SingleLabel);
    assert_eq!(refused(&Guards::default(), &rules), DOMAINS.len());
    assert_eq!(refused(&domains, &rules), 0);
    assert_eq!(
        refused(&accept("other", GuardKind::SingleLabel), &rules),
        DOMAINS.len()
    );
    rules.push(block("co.uk"));
    assert_eq!(refused(&domains, &rules), 1);
    // What a protected name is protected from is accepted name by name.
    rules.pop();
    rules.push(block("pool.ntp.org"));
    assert!(refused(&domains, &rules) > 0);
    assert!(refused(&accept("tested", GuardKind::Protected), &rules) > DOMAINS.len());
}

#[test]
fn a_refusal_of_many_domains_of_a_list_tells_the_one_permission_for_all() {
    let found = findings(&Guards::default(), &DOMAINS.map(block));
    let text = Refusal::of(&found).unwrap().to_string();
    assert!(
        text.contains("list = \"tested\"") && text.contains("kind = \"single-label\""),
        "{text}"
    );
    assert!(
        text.contains("# 12 findings") && !text.contains("name = \"zip\""),
        "{text}"
    );
    let few = findings(&Guards::default(), &[block("zip")]);
    let text = Refusal::of(&few).unwrap().to_string();
    assert!(
        text.contains("name = \"zip\"") && !text.contains("kind ="),
        "{text}"
    );
}

#[test]
fn an_override_needs_a_reason_and_covers_its_name_only() {
    let accept = |reason: &str| Guards {
        overrides: vec![AcceptedFinding {
            name: "zip".to_owned(),
            reason: reason.to_owned(),
            ..AcceptedFinding::default()
        }],
        ..Guards::default()
    };
    let found = findings(&accept("nobody here uses it"), &[block("zip")]);
    assert!(!refuses(&found));
    assert!(found[0].to_string().contains("nobody here uses it"));
    assert!(refuses(&findings(&accept("  "), &[block("zip")])));
    assert!(refuses(&findings(
        &accept("nobody here uses it"),
        &[block("mov")]
    )));
}

#[test]
fn a_size_is_accepted_for_one_version_of_the_list_only() {
    let of = |count: usize, serial: Option<u32>| {
        let rules: Vec<_> = (0..count)
            .map(|i| exact(&format!("h{i}.example.test")))
            .collect();
        let mut list = list(&rules);
        list.set_info(ListInfo {
            serial,
            ..list.info().clone()
        });
        list
    };
    let (before, shrunk, other) = (of(1000, Some(1)), of(100, Some(2)), of(101, Some(3)));
    let old = image(&before);
    let refused = |digest: Option<&str>, serial: Option<u32>, now: &ListBuilder| {
        let guards = Guards {
            overrides: vec![AcceptedFinding {
                list: None,
                name: "tested".to_owned(),
                reason: "the author split it".to_owned(),
                digest: digest.map(str::to_owned),
                serial,
            }],
            ..Guards::default()
        };
        refuses(&guards.check(&[now], &image(now), Some(&old)))
    };
    let digest = shrunk.digest();
    assert!(
        refused(None, None, &shrunk),
        "a name alone would accept every size"
    );
    assert!(!refused(Some(&digest), None, &shrunk));
    assert!(!refused(Some(&digest.to_uppercase()), Some(2), &shrunk));
    assert!(!refused(None, Some(2), &shrunk));
    assert!(
        refused(Some(&digest), Some(3), &shrunk),
        "both must be those of the list"
    );
    assert!(refused(Some(&digest), None, &other));
    assert!(refused(None, Some(2), &other));
    assert!(refused(None, Some(2), &of(100, None)));
}

#[test]
fn a_digest_is_about_rules_and_not_about_lines() {
    let of = |lines: [u32; 2], rules: [&Rule; 2]| {
        let mut list = ListBuilder::new(ListInfo::new("tested", "a.txt"));
        for (line, rule) in lines.into_iter().zip(rules) {
            list.rule(line, rule);
        }
        list.digest()
    };
    let (a, b) = (block("a.test"), block("b.test"));
    let digest = of([1, 2], [&a, &b]);
    assert_eq!(digest.len(), 32);
    assert_eq!(of([5, 9], [&a, &b]), digest);
    assert_ne!(of([1, 2], [&a, &exact("b.test")]), digest);
    assert_ne!(of([1, 2], [&a, &allow("b.test")]), digest);
    assert_ne!(of([1, 2], [&a, &block("c.test")]), digest);
}
