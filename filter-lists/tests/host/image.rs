//! Image files: what is written is read, what is damaged is refused, with the reason.

use std::{fs, os::unix::fs::PermissionsExt};

use filter_common::{
    name::Name,
    rule::{AnswerKind, QtypeSet, Scope},
};
use filter_lists::{
    compile::{ListBuilder, Options, compile},
    image::{Decision, Diff, Image, ImageError, ListInfo, Loss},
    provenance::Fate,
    rule::{Answer, Client, Effect, Rule, Shape},
};

const ALL: u64 = u64::MAX;
const A: u16 = 1;

fn name(text: &str) -> Name {
    Name::from_text(text.as_bytes()).unwrap()
}

fn list(label: &str, rules: &[Rule]) -> ListBuilder {
    let mut list = ListBuilder::new(ListInfo::new(label, &format!("lists/{label}.txt")));
    for (i, rule) in rules.iter().enumerate() {
        list.rule(i as u32 + 1, rule);
    }
    list
}

fn image_of(lists: &[&ListBuilder]) -> Image {
    let options = Options {
        seed: Some(1),
        ..Options::default()
    };
    compile(lists, &options).unwrap()
}

fn allow(text: &str, scope: Scope) -> Rule {
    Shape {
        effect: Effect::Allow,
        ..Shape::block(scope)
    }
    .of(name(text))
}

/// Every kind of rule and list attribute once.
fn rich_image() -> Image {
    let mut info = ListInfo::new("one", "lists/one.txt");
    info.ede_text = Some("order 17".to_owned());
    info.ede_code = 16;
    info.categories = 5;
    info.answer = Some(Answer::of(AnswerKind::Null));
    let mut one = ListBuilder::new(info);
    let block = |text| Rule::block(name(text), Scope::Suffix);
    let plain = || Shape::block(Scope::Suffix);
    let address = Answer {
        kind: AnswerKind::Address,
        ipv4: Some([192, 0, 2, 1].into()),
        ipv6: Some("2001:db8::1".parse().unwrap()),
    };
    let rules = [
        block("ads.example"),
        Shape {
            important: true,
            qtypes: QtypeSet::except(&[28, 1]).unwrap(),
            ..plain()
        }
        .of(name("x.example")),
        Shape {
            except: vec![name("ok.skip.example")],
            ..plain()
        }
        .of(name("skip.example")),
        Shape {
            effect: Effect::Rewrite(address),
            ..plain()
        }
        .of(name("router.example")),
        Shape {
            effect: Effect::CancelRewrite,
            ..plain()
        }
        .of(name("a.router.example")),
        Shape {
            effect: Effect::Delete(Box::new(Effect::Block(None))),
            ..plain()
        }
        .of(name("gone.example")),
        block("gone.example"),
        Shape {
            clients: vec![
                Client::Mac {
                    address: [2, 0, 0, 0, 0, 1],
                    not: false,
                },
                Client::Prefix {
                    address: "10.0.0.0".parse().unwrap(),
                    len: 8,
                    not: true,
                },
            ],
            ..plain()
        }
        .of(name("client.example")),
        Rule::block(name("example"), Scope::Exact),
    ];
    for (i, rule) in rules.iter().enumerate() {
        one.rule(i as u32 + 1, rule);
    }
    let two = list(
        "two",
        &[
            allow("good.ads.example", Scope::Exact),
            block("b.ads.example"),
        ],
    );
    image_of(&[&one, &two])
}

fn bytes_of(image: &Image) -> Vec<u8> {
    let mut bytes = Vec::new();
    image.write_to(&mut bytes).unwrap();
    bytes
}

fn read(bytes: &[u8]) -> Result<Image, ImageError> {
    Image::read_from(&mut &bytes[..], bytes.len() as u64)
}

#[test]
fn what_is_written_is_read() {
    let image = rich_image();
    assert_eq!(read(&bytes_of(&image)).unwrap(), image);
}

#[test]
fn the_same_lists_and_seed_make_the_same_bytes() {
    assert_eq!(bytes_of(&rich_image()), bytes_of(&rich_image()));
    let rules = list("l", &[Rule::block(name("a.example"), Scope::Exact)]);
    let drawn = || compile(&[&rules], &Options::default()).unwrap();
    assert_ne!(drawn().header().key, drawn().header().key);
}

#[test]
fn an_image_cut_anywhere_is_refused_as_truncated() {
    let bytes = bytes_of(&rich_image());
    for len in 0..bytes.len() {
        match read(&bytes[..len]) {
            Err(ImageError::Truncated { .. }) => assert!(len >= 8),
            Err(ImageError::NotAnImage) => assert!(len < 8, "{len}"),
            other => panic!("{len} of {} bytes: {other:?}", bytes.len()),
        }
    }
}

#[test]
fn an_image_with_one_wrong_byte_anywhere_is_refused() {
    let bytes = bytes_of(&rich_image());
    for at in 0..bytes.len() {
        for flip in [1, 0x80] {
            let mut damaged = bytes.clone();
            damaged[at] ^= flip;
            assert!(read(&damaged).is_err(), "byte {at} of {}", bytes.len());
        }
    }
}

#[test]
fn a_head_that_claims_huge_sections_is_refused_without_asking_for_memory() {
    let bytes = bytes_of(&rich_image());
    for section in 0..4 {
        let mut forged = bytes.clone();
        let len_at = 24 + section * 24 + 8;
        forged[len_at..len_at + 8].copy_from_slice(&(1u64 << 60).to_le_bytes());
        let checksum = xxhash_rust::xxh3::xxh3_64(&forged[..120]);
        forged[120..128].copy_from_slice(&checksum.to_le_bytes());
        assert!(read(&forged).is_err(), "section {section}");
    }
}

#[test]
fn bytes_behind_an_image_are_refused() {
    let mut bytes = bytes_of(&rich_image());
    bytes.push(0);
    assert!(matches!(read(&bytes), Err(ImageError::Damaged("head"))));
}

#[test]
fn an_image_of_another_version_is_refused_by_that_reason() {
    let mut future = bytes_of(&rich_image());
    future[8] += 1;
    let error = read(&future).unwrap_err();
    assert!(matches!(error, ImageError::Format { found: 2 }), "{error}");
    assert!(
        read(
            b"not an image, but long enough for its head to be read. "
                .repeat(9)
                .as_slice()
        )
        .is_err_and(|e| matches!(e, ImageError::NotAnImage))
    );
}

#[test]
fn a_saved_image_belongs_to_its_owner_and_replaces_the_old_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lists.img");
    fs::write(&path, b"old").unwrap();
    let image = rich_image();
    image.save(&path).unwrap();
    assert_eq!(
        fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o600
    );
    assert_eq!(Image::open(&path).unwrap(), image);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    let missing = Image::open(&folder.path().join("none"))
        .unwrap_err()
        .to_string();
    assert!(missing.contains("none"), "{missing}");
}

#[test]
fn a_query_names_rule_list_and_line() {
    let image = rich_image();
    let verdict = image.query(&name("x.y.ads.example"), A, ALL);
    assert_eq!(verdict.decision, Decision::Block);
    let winner = verdict.winner.unwrap();
    assert_eq!(
        (winner.rule.as_str(), winner.list_name, winner.line),
        ("||ads.example^", "one", 1)
    );
    assert_eq!(winner.path, "lists/one.txt");
    let allowed = image.query(&name("good.ads.example"), A, ALL);
    assert_eq!(allowed.decision, Decision::Allow);
    assert_eq!(allowed.winner.unwrap().rule, "@@|good.ads.example^");
    // Categories 1 and 3 are list one's: this policy knows list two only.
    assert_eq!(
        image.query(&name("ads.example"), A, 2).decision,
        Decision::None
    );
    assert_eq!(
        image
            .query(&name("b.ads.example"), A, 2)
            .winner
            .unwrap()
            .list_name,
        "two"
    );
    assert_eq!(image.query(&name("other.test"), A, ALL).winner, None);
}

#[test]
fn an_explanation_says_why_every_other_rule_lost() {
    let rules = [
        Rule::block(name("b.example"), Scope::Suffix),
        Rule::block(name("a.b.example"), Scope::Subs),
        allow("a.b.example", Scope::Exact),
        Shape {
            qtypes: QtypeSet::only(&[28]).unwrap(),
            important: true,
            ..Shape::block(Scope::Exact)
        }
        .of(name("a.b.example")),
        Rule::block(name("b.example"), Scope::Suffix),
        Rule::block(name("example"), Scope::Exact),
        Shape {
            except: vec![name("a.b.example")],
            important: true,
            ..Shape::block(Scope::Suffix)
        }
        .of(name("b.example")),
    ];
    let image = image_of(&[&list("l", &rules)]);
    let queried = name("a.b.example");
    let explanation = image.explain(&queried, A, ALL, None);
    assert_eq!(explanation.verdict.decision, Decision::Allow);
    assert_eq!(explanation.verdict.winner.unwrap().line, 3);
    let losses: Vec<_> = explanation
        .others
        .iter()
        .map(|(o, loss)| (o.line, *loss))
        .collect();
    assert_eq!(
        losses,
        [
            (2, Loss::NotInTable(Fate::Redundant)),
            (4, Loss::OtherType),
            (1, Loss::Weaker),
            (5, Loss::NotInTable(Fate::Duplicate)),
            (7, Loss::Skipped),
            (6, Loss::NameOnly),
        ]
    );
}

#[test]
fn rules_for_some_clients_are_told_apart_by_who_asks() {
    let range = |text: &str, len, not| Client::Prefix {
        address: text.parse().unwrap(),
        len,
        not,
    };
    let rules = [
        Shape {
            clients: vec![range("192.0.2.0", 24, false)],
            ..Shape::block(Scope::Suffix)
        }
        .of(name("b.example")),
        // As a client trigger of a policy zone has it.
        Shape {
            clients: vec![range("192.0.2.7", 32, false)],
            ..Shape::block(Scope::Suffix)
        }
        .of(Name::ROOT),
        Rule::block(name("b.example"), Scope::Exact),
    ];
    let image = image_of(&[&list("l", &rules)]);
    let losses = |client: Option<&str>| {
        let client = client.map(|text| text.parse().unwrap());
        let explanation = image.explain(&name("b.example"), A, ALL, client);
        assert_eq!(explanation.verdict.winner.unwrap().line, 3);
        let others = explanation.others.into_iter();
        others.map(|(o, loss)| (o.line, loss)).collect::<Vec<_>>()
    };
    let unknown = Loss::NotInTable(Fate::Unsupported);
    assert_eq!(losses(None), [(1, unknown), (2, unknown)]);
    let (this, other) = (Loss::ThisClient, Loss::OtherClient);
    assert_eq!(losses(Some("192.0.2.7")), [(1, this), (2, this)]);
    assert_eq!(losses(Some("192.0.2.8")), [(1, this), (2, other)]);
    assert_eq!(losses(Some("2001:db8::1")), [(1, other), (2, other)]);
}

#[test]
fn a_rule_that_only_counts_is_told_from_one_that_blocks() {
    let mut observed = list("l", &[Rule::block(name("b.example"), Scope::Suffix)]);
    observed.set_info(ListInfo {
        answer: Some(Answer::of(AnswerKind::Observe)),
        ..observed.info().clone()
    });
    let verdict = |image: &Image| image.query(&name("b.example"), A, ALL).decision;
    assert_eq!(verdict(&image_of(&[&observed])), Decision::Observe);
}

#[test]
fn every_rule_has_an_origin_and_one_fate() {
    let image = rich_image();
    let total = image.report().total;
    let parts = total.in_table
        + total.duplicate
        + total.redundant
        + total.overridden
        + total.deleted
        + total.unsupported
        + total.directive;
    assert_eq!((total.rules, parts), (11, 11));
    assert_eq!(image.provenance().rows().len(), 11);
    assert_eq!(
        (total.deleted, total.unsupported, total.directive),
        (1, 1, 2)
    );
    assert_eq!(image.report().samples[0].line, 8);
}

#[test]
fn a_diff_counts_names_per_list_and_category() {
    let block = |text| Rule::block(name(text), Scope::Exact);
    let mut before = list(
        "l",
        &[block("a.example"), block("b.example"), block("c.example")],
    );
    let mut after = list(
        "l",
        &[
            block("b.example"),
            allow("c.example", Scope::Exact),
            block("d.example"),
            block("e.example"),
        ],
    );
    for list in [&mut before, &mut after] {
        let info = ListInfo {
            categories: 4,
            category: Some("ads".to_owned()),
            ..list.info().clone()
        };
        list.set_info(info);
    }
    let mut same = list("same", &[block("b.example")]);
    let info = ListInfo {
        // What a configuration makes of a list without a category: all that it knows.
        categories: 0b111,
        ..same.info().clone()
    };
    same.set_info(info);
    let (old, new) = (image_of(&[&before, &same]), image_of(&[&after, &same]));
    let diff = Diff::between(&old, &new);
    let counts =
        |c: &filter_lists::image::NameCounts| (c.old, c.new, c.added, c.removed, c.changed);
    assert_eq!(counts(&diff.total), (3, 4, 2, 1, 1));
    assert_eq!(counts(&diff.lists["l"].names), (3, 4, 2, 1, 1));
    assert_eq!(counts(&diff.lists["same"].names), (1, 1, 0, 0, 0));
    assert_eq!(counts(&diff.categories["ads"]), (3, 4, 2, 1, 1));
    assert_eq!(
        diff.categories.len(),
        1,
        "a list of every category counts under none"
    );
    assert_eq!(diff.lists["l"].removed_lines, [1]);
    let mut added = diff.lists["l"].added_lines.clone();
    added.sort_unstable();
    assert_eq!(added, [3, 4]);
    let names = ["a.example", "b.example", "c.example", "d.example"].map(name);
    let changes: Vec<_> = Diff::verdict_changes(&old, &new, names, A, ALL).collect();
    let seen: Vec<_> = changes
        .iter()
        .map(|c| (c.name.to_string(), c.old, c.new))
        .collect();
    assert_eq!(
        seen,
        [
            ("a.example".to_owned(), Decision::Block, Decision::None),
            ("c.example".to_owned(), Decision::Block, Decision::Allow),
            ("d.example".to_owned(), Decision::None, Decision::Block),
        ]
    );
}
