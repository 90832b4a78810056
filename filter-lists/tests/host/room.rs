//! Lists that do not fit: what is too much goes, from the list that has it, and is counted.

use filter_common::{
    name::Name,
    rule::{AnswerKind, Scope},
};
use filter_lists::{
    compile::{Excess, LIST_SHAPES_MAX, LIST_SKIPPED_MAX, ListBuilder, Options, compile},
    image::{Decision, ListInfo},
    list,
    rule::Rule,
};

fn name(text: &str) -> Name {
    Name::from_text(text.as_bytes()).unwrap()
}

fn list(names: &[&str]) -> ListBuilder {
    let mut list = ListBuilder::new(ListInfo::new("l", "l.txt"));
    for text in names {
        list.rule(1, &Rule::block(name(text), Scope::Exact));
    }
    list
}

/// A list of rules in the words of AdGuard.
fn rules(name: &str, lines: impl IntoIterator<Item = String>) -> ListBuilder {
    let mut list = ListBuilder::new(ListInfo::new(name, name));
    let text: String = lines.into_iter().map(|line| line + "\n").collect();
    let options = list::Options {
        format: Some(list::Format::Adguard),
        ..Default::default()
    };
    let parsed = list::parse(text.as_bytes(), &options, &mut |line, rule: &Rule| {
        list.rule(line, rule);
    });
    parsed.unwrap();
    list
}

fn in_category(mut list: ListBuilder, bit: u32) -> ListBuilder {
    let mut info = list.info().clone();
    info.categories = 1 << bit;
    info.ttl_s = bit + 1;
    list.set_info(info);
    list
}

#[test]
fn of_more_rules_than_a_chain_holds_the_strongest_of_each_list_stay() {
    let many = (1..=40).map(|i| {
        format!(
            "||a.example^$dnsrewrite=192.0.2.{i},dnstype=TYPE{}",
            300 + i
        )
    });
    let greedy = rules("greedy", many);
    let modest = rules(
        "modest",
        ["||a.example^".to_owned(), "||b.example^".to_owned()],
    );
    let modest = in_category(modest, 3);
    let image = compile(&[&greedy, &modest], &Options::default()).unwrap();
    let report = image.report();
    assert_eq!((report.lists[0].no_room, report.lists[1].no_room), (25, 0));
    assert_eq!(report.total.no_room, 25);
    assert_eq!(
        report.samples[0].reason,
        filter_lists::image::Unsupported::NoRoom
    );
    let blocked = |text, mask| image.query(&name(text), 1, mask).decision;
    assert_eq!(blocked("a.example", u64::MAX), Decision::Block);
    assert_eq!(blocked("b.example", 1 << 3), Decision::Block);
}

#[test]
fn rules_of_many_lists_that_cannot_share_a_chain_are_left_out_and_counted() {
    let lists: Vec<_> = (0..20)
        .map(|i| in_category(list(&["a.example"]), i))
        .collect();
    let image = compile(&lists.iter().collect::<Vec<_>>(), &Options::default()).unwrap();
    assert_eq!(image.report().total.no_room, 4);
    let blocked = |bit: u32| image.query(&name("a.example"), 1, 1 << bit).decision;
    assert_eq!(
        (0..20)
            .filter(|bit| blocked(*bit) == Decision::Block)
            .count(),
        16
    );
    let explained = image.explain(&name("a.example"), 1, 1 << 19, None);
    let told = explained
        .others
        .iter()
        .any(|(_, loss)| loss.to_string().contains("no room"));
    assert!(told, "{explained:?}");
}

#[test]
fn a_list_that_uses_up_the_classes_keeps_the_rules_that_are_alike_and_costs_others_nothing() {
    let many = (0..80_000u32).map(|i| {
        let [_, a, b, c] = i.to_be_bytes();
        format!("||n{i}.example^$dnsrewrite=10.{a}.{b}.{c}")
    });
    let greedy = rules("greedy", many.chain(["||plain.example^".to_owned()]));
    let modest = list(&["fine.test", "plain.example"]);
    let image = compile(&[&modest, &greedy], &Options::default()).unwrap();
    let report = image.report();
    assert_eq!(report.lists[0].no_room, 0);
    assert!(report.lists[1].no_room > 10_000, "{report:?}");
    for text in ["fine.test", "plain.example"] {
        let decision = image.query(&name(text), 1, 1).decision;
        assert_eq!(decision, Decision::Block, "{text}");
    }
}

#[test]
fn more_combinations_of_categories_than_classes_cost_names_few_of_theirs() {
    let mut lists: Vec<_> = (0..17)
        .map(|bit| {
            let mut info = ListInfo::new(&format!("l{bit}"), "");
            info.categories = 1 << bit;
            ListBuilder::new(info)
        })
        .collect();
    for i in 1..80_000u32 {
        let rule = Rule::block(name(&format!("n{i}.example{}.test", i % 997)), Scope::Exact);
        for (bit, list) in lists.iter_mut().enumerate() {
            if (i * 3) >> bit & 1 == 1 {
                list.rule(i, &rule);
            }
        }
    }
    let image = compile(&lists.iter().collect::<Vec<_>>(), &Options::default()).unwrap();
    let total = image.report().total;
    assert!(
        total.no_room > 0 && total.no_room * 20 < total.rules,
        "{total:?}"
    );
    let (mut wrong, mut lost) = (0, 0);
    for i in (1..80_000u32).step_by(7) {
        let name = name(&format!("n{i}.example{}.test", i % 997));
        for bit in 0..17 {
            let is_listed = (i * 3) >> bit & 1 == 1;
            let is_blocked = image.query(&name, 1, 1 << bit).decision == Decision::Block;
            wrong += u32::from(is_blocked && !is_listed);
            lost += u32::from(is_listed && !is_blocked);
        }
    }
    assert_eq!(wrong, 0);
    assert!(u64::from(lost) <= total.no_room, "{lost}");
}

#[test]
fn a_list_that_only_observes_changes_no_verdict() {
    let mut observing = rules(
        "observing",
        [
            "||a.example^$important",
            "||x.b.example^",
            "@@||c.example^$important",
            "||d.example^$dnsrewrite=192.0.2.1",
            "@@||e.example^$dnsrewrite",
            "||f.example^$badfilter",
            "||only.example^",
        ]
        .map(str::to_owned),
    );
    let mut info = observing.info().clone();
    info.answer = Some(filter_lists::rule::Answer::of(AnswerKind::Observe));
    observing.set_info(info);
    let real = rules(
        "real",
        [
            "@@||a.example^",
            "||b.example^",
            "||c.example^",
            "||d.example^",
            "||e.example^$dnsrewrite=NXDOMAIN",
            "||f.example^",
        ]
        .map(str::to_owned),
    );
    for lists in [[&observing, &real], [&real, &observing]] {
        let image = compile(&lists, &Options::default()).unwrap();
        let decision = |text| image.query(&name(text), 1, u64::MAX).decision;
        assert_eq!(decision("a.example"), Decision::Allow);
        for text in [
            "x.b.example",
            "c.example",
            "d.example",
            "e.example",
            "f.example",
        ] {
            assert_eq!(decision(text), Decision::Block, "{text}");
        }
        assert_eq!(decision("only.example"), Decision::Observe);
        assert_eq!(image.report().total.unsupported, 3);
    }
}

/// Seconds that a list of so many of these lines takes to compile.
fn compile_s(count: u32, line: impl Fn(u32) -> String) -> f64 {
    let list = rules("slow", (0..count).map(line));
    let start = std::time::Instant::now();
    let image = compile(&[&list], &Options::default()).unwrap();
    assert_eq!(image.report().total.rules, u64::from(count));
    start.elapsed().as_secs_f64()
}

#[test]
fn four_times_the_rules_of_one_name_take_no_sixteen_times_the_time() {
    let types = |i: u32| {
        let of = |shift: u32| 1000 + (i >> shift & 0x7f);
        format!("TYPE{}|TYPE{}|TYPE{}", of(0), 200 + of(7), 400 + of(14))
    };
    type Line = Box<dyn Fn(u32) -> String>;
    let lines: [(&str, Line); 6] = [
        (
            "types",
            Box::new(move |i| format!("||a.example^$dnstype={}", types(i))),
        ),
        ("equal lines", Box::new(|_| "||a.example^".to_owned())),
        (
            "addresses",
            Box::new(|i| {
                let [_, _, b, c] = i.to_be_bytes();
                format!("||a.example^$dnsrewrite=10.0.{b}.{c}")
            }),
        ),
        (
            "lifted",
            Box::new(move |i| match i % 2 {
                0 => format!("||a.example^$dnsrewrite=192.0.2.1,dnstype={}", types(i)),
                _ => format!("@@||n{i}.a.example^$dnsrewrite,dnstype=TYPE9{}", i % 10),
            }),
        ),
        (
            "deleted",
            Box::new(move |i| match i % 2 {
                0 => format!("||a.example^$dnstype={}", types(i)),
                _ => format!("||a.example^$badfilter,dnstype={}", types(i - 1)),
            }),
        ),
        (
            "skipped",
            Box::new(|i| format!("||a.example^$denyallow=n{i}.a.example")),
        ),
    ];
    for (what, line) in lines {
        compile_s(500, &line);
        let (few, many) = (compile_s(6_000, &line), compile_s(24_000, &line));
        // Twice of what is linear, for a machine that has other things to do.
        assert!(many < 8.0 * few + 0.2, "{what}: {few:.3} s, {many:.3} s");
    }
}

#[test]
fn a_list_that_is_too_much_work_says_so_and_keeps_no_more() {
    let mut kinds = rules("kinds", []);
    for i in 0..=LIST_SHAPES_MAX as u32 + 10 {
        let mut rule = Rule::block(name("a.example"), Scope::Suffix);
        let [_, a, b, c] = i.to_be_bytes();
        let mut answer = filter_lists::rule::Answer::of(AnswerKind::Address);
        answer.ipv4 = Some([10, a, b, c].into());
        rule.shape.effect = filter_lists::rule::Effect::Block(Some(answer));
        kinds.rule(i + 1, &rule);
    }
    assert_eq!(kinds.excess(), Some(Excess::Shapes));
    assert_eq!(kinds.rule_count(), LIST_SHAPES_MAX + 1);
    let mut skipped = rules("skipped", []);
    let mut rule = Rule::block(name("a.example"), Scope::Suffix);
    rule.shape.except = vec![name("b.a.example"); 1000];
    for line in 0..LIST_SKIPPED_MAX as u32 / 1000 + 2 {
        skipped.rule(line + 1, &rule);
    }
    assert_eq!(skipped.excess(), Some(Excess::Skipped));
    assert!(Excess::Skipped.to_string().contains("$denyallow"));
    assert_eq!(list(&["a.example"]).excess(), None);
}
