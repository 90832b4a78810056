//! One list in several formats: the same verdicts, but for what the formats force.
//!
//! The forced differences are those of the last section of
//! `docs/blocklist-formats.md`. Real families of lists are found through
//! `NXDP_DATA`.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use filter_common::{
    name::Name,
    rule::{AnswerKind, Scope},
};
use filter_lists::{
    compile::{self, ListBuilder},
    image::{Decision, Image, ListInfo, walk},
    list::{Format, Kind, Options, Report, ScopePolicy, parse},
    rule::Rule,
};

fn data() -> Option<PathBuf> {
    let default = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    let data = std::env::var_os("NXDP_DATA").map_or(default, PathBuf::from);
    if data.join("lists").is_dir() {
        return Some(data.join("lists"));
    }
    eprintln!(
        "skipped: no lists in {}; set NXDP_DATA to their folder",
        data.display()
    );
    None
}

fn image(path: &Path, scope: ScopePolicy) -> Image {
    let label = path.display().to_string();
    let options = Options {
        scope,
        file_name: Some(label.clone()),
        ..Options::default()
    };
    let mut list = ListBuilder::new(ListInfo::new("tested", &label));
    let file = fs::File::open(path).unwrap();
    let parsed = parse(file, &options, &mut |line, rule: &Rule| {
        list.rule(line, rule);
    });
    parsed.unwrap();
    compile::compile(&[&list], &compile::Options::default()).unwrap()
}

/// The names of a list.
fn names(path: &Path) -> BTreeSet<Vec<u8>> {
    let mut names = BTreeSet::new();
    let file = fs::File::open(path).unwrap();
    let parsed = parse(file, &Options::default(), &mut |_, rule: &Rule| {
        names.insert(rule.name.as_wire().to_vec());
    });
    parsed.unwrap();
    names
}

/// Each name with its parent and a child that no list has.
fn family_of(wire: &[u8]) -> impl Iterator<Item = Name> {
    let name = Name::from_wire(wire).unwrap();
    let child = Name::from_wire(&[b"\x0cnxdp-probe-1", wire].concat()).ok();
    [Some(name), name.parent(), child].into_iter().flatten()
}

/// What the list of names means if each is of this scope: the slow, obvious way.
fn expected(names: &BTreeSet<Vec<u8>>, asked: &Name, scope: Scope) -> bool {
    let mut above = asked.parent();
    let mut below = false;
    while let Some(name) = above {
        below |= names.contains(name.as_wire());
        above = name.parent();
    }
    names.contains(asked.as_wire()) || scope == Scope::Suffix && below
}

/// Holds a file against the names that all formats of its list have.
fn hold(names: &BTreeSet<Vec<u8>>, path: &Path, as_format: Scope) -> usize {
    let mut compared = 0;
    for (policy, scope) in [
        (ScopePolicy::AsFormat, as_format),
        (ScopePolicy::Exact, Scope::Exact),
        (ScopePolicy::Suffix, Scope::Suffix),
    ] {
        let image = image(path, policy);
        for asked in names.iter().flat_map(|wire| family_of(wire)) {
            let blocked = walk(image.records(), &asked, 1, u64::MAX).is_some();
            let wanted = expected(names, &asked, scope);
            assert_eq!(blocked, wanted, "{asked} in {} as {policy}", path.display());
            compared += 1;
        }
    }
    compared
}

#[test]
fn a_real_list_gives_the_same_verdicts_as_hosts_plain_adguard_and_dnsmasq() {
    let Some(lists) = data() else { return };
    let family = lists.join("blocklistproject");
    let (mut files, mut compared) = (0, 0);
    for entry in fs::read_dir(family.join("domains")).unwrap() {
        let plain = entry.unwrap().path();
        let names = names(&plain);
        for (folder, as_format) in [
            ("domains", Scope::Exact),
            ("hosts", Scope::Exact),
            ("adguard", Scope::Suffix),
            ("dnsmasq", Scope::Suffix),
        ] {
            let path = family.join(folder).join(plain.file_name().unwrap());
            // Not every list comes in every format, and one was made on another day.
            let other_day = folder == "hosts" && path.ends_with("crypto.txt");
            if path.exists() && !other_day {
                compared += hold(&names, &path, as_format);
                files += 1;
            }
        }
    }
    println!("{files} files, {compared} verdicts");
    assert!(files > 50 && compared > 1_000_000, "{files} {compared}");
}

#[test]
fn a_real_list_gives_the_same_verdicts_as_zone_and_configurations() {
    let Some(lists) = data() else { return };
    let folder = lists.join("dns-zone-blacklist");
    let names = names(&folder.join("unbound.conf"));
    let mut compared = 0;
    // The zone has `d` and `*.d` for each name, which together are a suffix.
    for file in [
        "unbound.conf",
        "unbound-data.conf",
        "dnsmasq.conf",
        "rpz.zone",
    ] {
        compared += hold(&names, &folder.join(file), Scope::Suffix);
    }
    println!("{compared} verdicts");
    assert!(compared > 1_000_000, "{compared}");
}

// ---- lines that change what others mean ------------------------------------

/// A list of these lines, compiled.
fn of_text(text: &str, format: Format) -> (Report, Image) {
    let options = Options {
        format: Some(format),
        ..Options::default()
    };
    let mut list = ListBuilder::new(ListInfo::new("tested", "memory"));
    let report = parse(text.as_bytes(), &options, &mut |line, rule: &Rule| {
        list.rule(line, rule);
    });
    let image = compile::compile(&[&list], &compile::Options::default());
    (report.unwrap(), image.unwrap())
}

/// Answer and address for the name, if it is blocked.
fn answered(image: &Image, text: &str) -> Option<(AnswerKind, [u8; 4])> {
    let name = Name::from_text(text.as_bytes()).unwrap();
    let record = image.query(&name, 1, u64::MAX).record?;
    Some((AnswerKind::from_number(record.answer)?, record.ipv4))
}

#[test]
fn a_zone_of_unbound_answers_from_its_data_before_it_blocks() {
    let address = Some((AnswerKind::Address, [192, 0, 2, 5]));
    for (zone_type, kind) in [
        ("static", AnswerKind::NxDomain),
        ("refuse", AnswerKind::Refused),
        ("deny", AnswerKind::Drop),
        ("inform_deny", AnswerKind::Drop),
    ] {
        let zone = format!("local-zone: \"d.example\" {zone_type}\n");
        let data =
            "local-data: \"d.example A 192.0.2.5\"\nlocal-data: \"a.b.d.example A 192.0.2.5\"\n";
        for text in [format!("{zone}{data}"), format!("{data}{zone}")] {
            let (_, image) = of_text(&text, Format::Unbound);
            assert_eq!(answered(&image, "d.example"), address, "{text}");
            assert_eq!(answered(&image, "a.b.d.example"), address, "{text}");
            for name in ["b.d.example", "x.d.example", "x.a.b.d.example"] {
                assert_eq!(
                    answered(&image, name),
                    Some((kind, [0; 4])),
                    "{name}: {text}"
                );
            }
        }
    }
}

#[test]
fn a_zone_of_unbound_that_always_blocks_ignores_its_data() {
    let text = "local-zone: \"d.example\" always_nxdomain\n\
        local-zone: \"s.d.example\" static\n\
        local-data: \"d.example A 192.0.2.5\"\n\
        local-data: \"x.d.example A 192.0.2.5\"\n\
        local-data: \"x.s.d.example A 192.0.2.5\"\n\
        local-data: \"other.example A 192.0.2.5\"\n";
    let (report, image) = of_text(text, Format::Unbound);
    let (address, none) = (
        (AnswerKind::Address, [192, 0, 2, 5]),
        (AnswerKind::NxDomain, [0; 4]),
    );
    for (name, expected) in [
        ("d.example", none),
        ("x.d.example", none),
        ("y.s.d.example", none),
        // The closest zone decides.
        ("x.s.d.example", address),
        ("other.example", address),
    ] {
        assert_eq!(answered(&image, name), Some(expected), "{name}");
    }
    assert_eq!(report.by_kind.of(Kind::Ignored), 2);
    let sample = &report.samples[0];
    assert_eq!((sample.line, &*sample.text), (3, "d.example"));
    assert_eq!(
        sample.reason,
        "data of a zone that answers without its data"
    );
}

#[test]
fn badfilter_deletes_a_bare_wildcard_of_an_adguard_list() {
    for wildcard in ["*.d.example", ".d.example"] {
        let (_, image) = of_text(&format!("{wildcard}\n"), Format::Adguard);
        let decision = |image: &Image| {
            let name = Name::from_text(b"x.d.example").unwrap();
            image.query(&name, 1, u64::MAX).decision
        };
        assert_eq!(decision(&image), Decision::Block);
        let text = format!("{wildcard}\n{wildcard}$badfilter\n");
        let (_, image) = of_text(&text, Format::Adguard);
        assert_eq!(decision(&image), Decision::None, "{text}");
    }
}

#[derive(serde::Deserialize)]
struct Nested {
    case: Vec<NestedCase>,
}

#[derive(serde::Deserialize)]
struct NestedCase {
    format: Format,
    lines: String,
    queries: std::collections::BTreeMap<String, String>,
}

/// What becomes of a query for the name, in the words of the table.
fn outcome(image: &Image, text: &str) -> String {
    let name = Name::from_text(text.as_bytes()).unwrap();
    let verdict = image.query(&name, 1, u64::MAX);
    match verdict.answered(1) {
        Some(answered) if answered.to_string() == "0.0.0.0" => "null".to_owned(),
        Some(answered) => answered.to_string(),
        None => "pass".to_owned(),
    }
}

#[test]
fn names_in_names_are_decided_as_dnsmasq_and_unbound_decide_them() {
    let nested: Nested = toml::from_str(include_str!("../golden/nested.toml")).unwrap();
    for case in &nested.case {
        let (_, image) = of_text(&case.lines, case.format);
        for (name, expected) in &case.queries {
            assert_eq!(outcome(&image, name), *expected, "{name}: {}", case.lines);
        }
    }
    assert!(nested.case.len() > 20);
}

#[test]
fn lines_that_others_of_the_file_outdo_are_no_rules_and_say_why() {
    let text = "local=/b.test/\naddress=/b.test/192.0.2.4\nserver=/c.test/192.0.2.53\n";
    let (report, _) = of_text(text, Format::Dnsmasq);
    assert_eq!(
        (
            report.by_kind.of(Kind::Rule),
            report.by_kind.of(Kind::Ignored)
        ),
        (1, 2)
    );
    assert_eq!(report.by_kind.total(), report.lines);
    let reasons: Vec<_> = report
        .samples
        .iter()
        .map(|s| (s.line, s.reason.as_str()))
        .collect();
    assert_eq!(
        reasons,
        [
            (1, "another line for the same name goes before it"),
            (3, "name forwarded to another server")
        ]
    );
    // More exceptions than an exception may have are said, and block more, not less.
    let mut text =
        "local-zone: \"b.test\" always_nxdomain\nlocal-zone: \"a.b.test\" transparent\n".to_owned();
    for i in 0..70 {
        text += &format!("local-zone: \"n{i}.a.b.test\" refuse\n");
    }
    let (report, image) = of_text(&text, Format::Unbound);
    assert_eq!(report.by_kind.of(Kind::Unsupported), 1);
    assert_eq!(
        answered(&image, "a.b.test"),
        Some((AnswerKind::NxDomain, [0; 4]))
    );
}
