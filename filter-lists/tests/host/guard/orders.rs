//! Names that must be blocked, whatever policies select beside their category.

use filter_common::rule::{AnswerKind, Scope};
use filter_lists::{
    compile::{ListBuilder, Options, compile},
    guard::{Finding, GuardKind, Guards, RequiredName, refuses},
    image::ListInfo,
    rule::{Answer, Effect, Rule, Shape},
};

use super::{allow, block, brief, exact, list, name, only};

/// A list of a category, by its bit.
fn of_category(name: &str, category: u64, rules: &[Rule]) -> ListBuilder {
    let mut list = list(rules);
    list.set_info(ListInfo {
        categories: category,
        category: Some(format!("category-{category}")),
        ..ListInfo::new(name, &format!("{name}.txt"))
    });
    list
}

fn rewrite(text: &str, address: [u8; 4]) -> Rule {
    Shape {
        effect: Effect::Rewrite(Answer {
            kind: AnswerKind::Address,
            ipv4: Some(address.into()),
            ipv6: None,
        }),
        ..Shape::block(Scope::Suffix)
    }
    .of(name(text))
}

fn important(mut rule: Rule) -> Rule {
    rule.shape.important = true;
    rule
}

const ORDERS: u64 = 1;
const MALWARE: u64 = 2;
const OWN: u64 = 4;

fn order(text: &str) -> RequiredName {
    RequiredName {
        name: name(text),
        category_mask: ORDERS,
        source: "orders.txt:1".to_owned(),
    }
}

/// What is found where policies select `masks` and an order is for `bad.order.example`.
fn against_order(masks: &[u64], orders: &[Rule], others: &[Rule]) -> Vec<Finding> {
    let orders = of_category("orders", ORDERS, orders);
    let others = of_category("malware", MALWARE, others);
    let lists = [&orders, &others];
    let image = compile(&lists, &Options::default()).unwrap();
    let guards = Guards {
        category_masks: masks.to_vec(),
        must_block: vec![order("bad.order.example")],
        kept_categories: ORDERS,
        ..Guards::default()
    };
    guards.check(&lists, &image, None)
}

#[test]
fn an_exception_of_a_category_that_a_policy_selects_beside_an_order_is_refused() {
    let orders = [block("bad.order.example")];
    for other in [
        allow("bad.order.example"),
        allow("example"),
        important(allow("order.example")),
        important(rewrite("bad.order.example", [192, 0, 2, 99])),
        only(allow("bad.order.example"), &[28]),
        only(allow("bad.order.example"), &[65]),
    ] {
        let others = std::slice::from_ref(&other);
        let found = against_order(&[ORDERS | MALWARE], &orders, others);
        assert_eq!(
            brief(&found),
            [(GuardKind::MustBlock, "bad.order.example", Some(1), true)],
            "{other:?}"
        );
        assert_eq!(found[0].list.as_deref(), Some("malware"), "{other:?}");
        // Where no policy selects both, the exception lifts nothing.
        assert_eq!(against_order(&[ORDERS, MALWARE], &orders, others), []);
    }
}

#[test]
fn an_order_may_be_answered_with_an_address_of_its_own_list_or_of_nobody() {
    let of_list = [rewrite("bad.order.example", [192, 0, 2, 1])];
    let both = [ORDERS | MALWARE];
    assert_eq!(against_order(&both, &of_list, &[]), []);
    let orders = [block("bad.order.example")];
    for address in [[0, 0, 0, 0], [127, 0, 0, 1]] {
        let nobody = [rewrite("bad.order.example", address)];
        assert_eq!(against_order(&both, &orders, &nobody), [], "{address:?}");
    }
    let refused = Shape {
        effect: Effect::Rewrite(Answer::of(AnswerKind::Refused)),
        ..Shape::block(Scope::Suffix)
    };
    let refused = [refused.of(name("bad.order.example"))];
    assert_eq!(against_order(&both, &orders, &refused), []);
}

#[test]
fn an_order_is_asked_as_a_pause_leaves_the_categories() {
    // The list of malware blocks what the list of orders excepts; a pause lifts it.
    let orders = [
        block("bad.order.example"),
        only(allow("bad.order.example"), &[28]),
    ];
    let others = [important(block("bad.order.example"))];
    assert!(refuses(&against_order(
        &[ORDERS | MALWARE],
        &orders,
        &others
    )));
}

#[test]
fn an_order_of_some_query_types_is_refused() {
    let both = [ORDERS | MALWARE];
    for qtypes in [&[1][..], &[1, 28]] {
        let orders = [only(block("bad.order.example"), qtypes)];
        assert!(refuses(&against_order(&both, &orders, &[])), "{qtypes:?}");
    }
    let orders = [only(block("bad.order.example"), &[1, 28, 65])];
    assert_eq!(against_order(&both, &orders, &[]), []);
}

#[test]
fn an_exception_below_an_order_is_refused_unless_its_own_list_has_it() {
    let orders = [block("bad.order.example")];
    let subs = |text| {
        let mut rule = allow(text);
        rule.shape.scope = Scope::Subs;
        rule
    };
    let both = [ORDERS | MALWARE];
    for (other, subject) in [
        (allow("www.bad.order.example"), "www.bad.order.example"),
        (
            only(allow("www.bad.order.example"), &[65]),
            "www.bad.order.example",
        ),
        (subs("bad.order.example"), "bad.order.example"),
        (subs("x.bad.order.example"), "x.bad.order.example"),
        (
            rewrite("a.b.bad.order.example", [192, 0, 2, 9]),
            "a.b.bad.order.example",
        ),
    ] {
        let others = std::slice::from_ref(&other);
        let found = against_order(&both, &orders, others);
        assert_eq!(
            brief(&found),
            [(GuardKind::MustBlock, subject, Some(1), true)],
            "{other:?}"
        );
        assert!(found[0].what.contains("all below"), "{}", found[0].what);
        let own = [orders[0].clone(), other.clone()];
        assert_eq!(against_order(&both, &own, &[]), [], "{other:?}");
        // An order for the name alone says nothing of those below it.
        let alone = [exact("bad.order.example")];
        assert_eq!(against_order(&both, &alone, others), [], "{other:?}");
    }
    // An exception for the name and all below, where the very name is held by an important rule.
    let held = [orders[0].clone(), important(exact("bad.order.example"))];
    let others = [allow("bad.order.example")];
    assert!(refuses(&against_order(&both, &held, &others)));
    // An important order is above exceptions.
    let important = [important(block("bad.order.example"))];
    let others = [allow("www.bad.order.example")];
    assert_eq!(against_order(&both, &important, &others), []);
}

#[test]
fn an_exception_in_a_file_of_ones_own_is_refused_at_an_order_and_below_it() {
    let guards = Guards {
        category_masks: vec![ORDERS | OWN],
        must_not_allow: vec![order("bad.order.example")],
        ..Guards::default()
    };
    let found = |rule: Rule| {
        let own = of_category("own", OWN, &[rule]);
        let image = compile(&[&own], &Options::default()).unwrap();
        guards.check(&[&own], &image, None)
    };
    for rule in [
        allow("bad.order.example"),
        allow("order.example"),
        allow("www.bad.order.example"),
        rewrite("bad.order.example", [192, 0, 2, 9]),
        only(allow("bad.order.example"), &[28]),
    ] {
        assert!(refuses(&found(rule.clone())), "{rule:?}");
    }
    for rule in [block("bad.order.example"), exact("order.example")] {
        assert_eq!(found(rule.clone()), [], "{rule:?}");
    }
}

#[test]
fn a_name_that_every_list_may_block_is_not_lifted_for_the_policy_that_blocks_it() {
    let found = |masks: &[u64], rules: [&[Rule]; 3]| {
        let lists = [
            of_category("orders", ORDERS, rules[0]),
            of_category("malware", MALWARE, rules[1]),
            of_category("own", OWN, rules[2]),
        ];
        let lists: Vec<_> = lists.iter().collect();
        let image = compile(&lists, &Options::default()).unwrap();
        let guards = Guards {
            category_masks: masks.to_vec(),
            must_block: vec![RequiredName {
                category_mask: u64::MAX,
                ..order("bad.order.example")
            }],
            ..Guards::default()
        };
        refuses(&guards.check(&lists, &image, None))
    };
    let blocked = [block("bad.order.example")];
    let lifted = [allow("bad.order.example")];
    let kept = [important(block("bad.order.example"))];
    assert!(found(&[ORDERS | MALWARE], [&blocked, &lifted, &kept]));
    assert!(!found(
        &[MALWARE | OWN, MALWARE],
        [&blocked, &lifted, &kept]
    ));
    assert!(!found(
        &[ORDERS | MALWARE | OWN],
        [&blocked, &lifted, &kept]
    ));
}
