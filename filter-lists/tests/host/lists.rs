//! The list parsers against golden lines, whole files and junk.
// tidy: long because golden lines, whole files and junk are held to one account.

use std::str::FromStr as _;

use filter_common::{
    name::Name,
    rule::{AnswerKind, QtypeSet},
};
use filter_lists::{
    list::{Error, Format, Kind, Options, Report, ScopePolicy, parse},
    rule::{Answer, Client, Effect, Rule},
};
use proptest::prelude::*;
use serde::Deserialize;

/// Parses `text` and puts each rule into words.
fn read(text: &[u8], options: &Options) -> Result<(Report, Vec<(u32, String)>), Error> {
    let mut rules = Vec::new();
    let report = parse(text, options, &mut |line, rule: &Rule| {
        rules.push((line, words(rule)));
    })?;
    assert_eq!(report.by_kind.total(), report.lines);
    assert_eq!(report.rules, rules.len() as u64);
    Ok((report, rules))
}

fn options(format: impl Into<Option<Format>>) -> Options {
    Options {
        format: format.into(),
        ..Options::default()
    }
}

fn words(rule: &Rule) -> String {
    let scope = rule.shape.scope.word();
    let mut text = format!("{} {scope} {}", effect(&rule.shape.effect), rule.name);
    if rule.shape.important {
        text += " important";
    }
    let qtypes = rule.shape.qtypes.named_qtypes();
    match rule.shape.qtypes.mode() {
        QtypeSet::ONLY => text += &format!(" qtypes=only{qtypes:?}"),
        QtypeSet::EXCEPT => text += &format!(" qtypes=except{qtypes:?}"),
        _ => {}
    }
    if !rule.shape.except.is_empty() {
        let names: Vec<_> = rule.shape.except.iter().map(Name::to_string).collect();
        text += &format!(" except={}", names.join(","));
    }
    if !rule.shape.clients.is_empty() {
        let clients: Vec<_> = rule.shape.clients.iter().map(client).collect();
        text += &format!(" clients={}", clients.join(","));
    }
    if rule.shape.host_rule {
        text += " host";
    }
    text.replace(", ", ",")
}

fn effect(effect: &Effect) -> String {
    match effect {
        Effect::Block(None) => "block".into(),
        Effect::Block(Some(found)) => format!("block={}", answer(found)),
        Effect::Allow => "allow".into(),
        Effect::Rewrite(found) => format!("rewrite={}", answer(found)),
        Effect::CancelRewrite => "cancel".into(),
        Effect::Delete(deleted) => format!("delete {}", self::effect(deleted)),
    }
}

fn answer(answer: &Answer) -> String {
    let ipv4 = answer.ipv4.map(|address| address.to_string());
    let ipv6 = answer.ipv6.map(|address| address.to_string());
    match answer.kind {
        AnswerKind::Address => {
            let addresses: Vec<_> = ipv4.into_iter().chain(ipv6).collect();
            addresses.join("+")
        }
        kind => format!("{kind:?}").to_lowercase(),
    }
}

fn client(client: &Client) -> String {
    let sign = |not| if not { "~" } else { "" };
    match client {
        Client::Prefix { address, len, not } => format!("{}{address}/{len}", sign(*not)),
        Client::Mac { address, not } => {
            let bytes: Vec<_> = address.iter().map(|byte| format!("{byte:02x}")).collect();
            format!("{}{}", sign(*not), bytes.join(":"))
        }
    }
}

// ---- golden lines ----------------------------------------------------------

#[derive(Deserialize)]
struct Golden {
    case: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    line: String,
    format: Option<Format>,
    kind: String,
    #[serde(default)]
    rules: Vec<String>,
    reason: Option<String>,
    column: Option<u32>,
}

#[test]
fn every_golden_line_means_what_the_table_says() {
    let golden: Golden = toml::from_str(include_str!("../golden/lines.toml")).unwrap();
    let mut wrong = Vec::new();
    for case in &golden.case {
        let format = case.format.unwrap_or(Format::Domains);
        // The line end belongs to the format, and a file may lack its last one.
        for end in ["\n", "\r\n", ""] {
            if case.line.is_empty() && end.is_empty() {
                continue;
            }
            let text = format!("{}{end}", case.line);
            let (report, rules) = read(text.as_bytes(), &options(format)).unwrap();
            if let Err(difference) = check(case, &report, &rules) {
                wrong.push(format!("{format} {text:?}: {difference}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(golden.case.len() > 200);
}

fn check(case: &Case, report: &Report, rules: &[(u32, String)]) -> Result<(), String> {
    let kind = Kind::ALL
        .into_iter()
        .find(|kind| report.by_kind.of(*kind) > 0);
    let kind = kind.map_or("nothing", Kind::word);
    let rules: Vec<_> = rules.iter().map(|(_, rule)| rule.as_str()).collect();
    if report.lines != 1 || kind != case.kind || rules != case.rules {
        return Err(format!("{kind}, {rules:?}, {:?}", report.samples));
    }
    let sample = report.samples.first();
    if let Some(reason) = &case.reason
        && !sample.is_some_and(|sample| sample.reason.contains(reason.as_str()))
    {
        return Err(format!("reason in {sample:?}"));
    }
    if let Some(column) = case.column
        && sample.map(|sample| sample.column) != Some(column)
    {
        return Err(format!("column in {sample:?}"));
    }
    Ok(())
}

// ---- whole files -----------------------------------------------------------

#[test]
fn forms_may_be_mixed_in_one_file() {
    let text = "\u{feff}# list\n0.0.0.0 a.example\nb.example\n||c.example^\n@@||d.c.example^\n*.e.example\n\nf.example/x\n";
    let (report, rules) = read(text.as_bytes(), &Options::default()).unwrap();
    assert_eq!(
        rules,
        [
            (2, "block exact a.example host".to_owned()),
            (3, "block exact b.example host".to_owned()),
            (4, "block suffix c.example".to_owned()),
            (5, "allow suffix d.c.example".to_owned()),
            (6, "block suffix e.example host".to_owned()),
        ]
    );
    assert_eq!(report.lines, 8);
    assert_eq!(report.by_kind.of(Kind::Comment), 1);
    assert_eq!(report.by_kind.of(Kind::Blank), 1);
}

#[test]
fn a_list_may_override_its_scopes() {
    let text = b"a.example\n||b.example^\n";
    for (scope, expected) in [
        (ScopePolicy::AsFormat, ["exact", "suffix"]),
        (ScopePolicy::Exact, ["exact", "exact"]),
        (ScopePolicy::Suffix, ["suffix", "suffix"]),
    ] {
        let options = Options {
            scope,
            ..Options::default()
        };
        let (_, rules) = read(text, &options).unwrap();
        let scopes: Vec<_> = rules
            .iter()
            .map(|(_, rule)| rule.split(' ').nth(1))
            .collect();
        assert_eq!(scopes, expected.map(Some));
    }
}

#[test]
fn two_addresses_of_a_name_are_one_answer() {
    let both = "block=192.0.2.1+2001:db8::1";
    for (format, text, expected) in [
        (
            Format::Hosts,
            "192.0.2.1 a.example\n2001:db8::1 a.example\n",
            format!("{both} exact a.example host"),
        ),
        (
            Format::Dnsmasq,
            "address=/a.example/192.0.2.1\naddress=/a.example/2001:db8::1\n",
            format!("{both} suffix a.example"),
        ),
        (
            Format::Rpz,
            "a.example A 192.0.2.1\n  AAAA 2001:db8::1\n",
            format!("{both} exact a.example"),
        ),
        (
            Format::Unbound,
            "local-data: \"a.example A 192.0.2.1\"\nlocal-data: \"a.example AAAA 2001:db8::1\"\n",
            format!("{both} exact a.example"),
        ),
    ] {
        let (report, rules) = read(text.as_bytes(), &options(format)).unwrap();
        assert_eq!(rules, [(1, expected)], "{format}");
        assert_eq!(report.by_kind.of(Kind::Rule), 2);
    }
}

#[test]
fn a_redirect_zone_of_unbound_answers_what_its_data_says() {
    let text = "server:\n\
        local-zone: \"null.example\" redirect\n\
        local-zone: \"garden.example\" redirect\n\
        local-zone: \"empty.example\" redirect\n\
        local-data: \"garden.example A 192.0.2.1\"\n\
        local-data: \"null.example A 0.0.0.0\"\n\
        local-data: \"null.example AAAA ::\"\n\
        local-data: \"garden.example AAAA 2001:db8::1\"\n\
        local-data: \"garden.example A 192.0.2.2\"\n";
    let (report, rules) = read(text.as_bytes(), &Options::default()).unwrap();
    assert_eq!(report.format, Format::Unbound);
    assert_eq!(
        rules,
        [
            (2, "block=null suffix null.example".to_owned()),
            (
                3,
                "block=192.0.2.1+2001:db8::1 suffix garden.example".to_owned()
            ),
            (4, "block=nodata suffix empty.example".to_owned()),
        ]
    );
    assert_eq!(report.by_kind.of(Kind::Unsupported), 1);
}

#[test]
fn a_policy_zone_keeps_its_name_serial_and_line_numbers() {
    let text = "$TTL 1h\n\
        $ORIGIN rpz.example.\n\
        @ IN SOA ns.rpz.example. root.rpz.example. (\n  2026081101 ; serial\n  3h 1h 1w 1h )\n\
        \x20 NS ns.rpz.example.\n\
        \n\
        bad.example 1h CNAME .\n\
        *.bad.example.rpz.example. 60 IN CNAME .\n\
        wrong FROB x\n\
        \x20 CNAME .\n\
        other.example. CNAME .\n\
        after.example CNAME rpz-passthru.\n";
    let (report, rules) = read(text.as_bytes(), &Options::default()).unwrap();
    let zone = report.zone.unwrap();
    assert_eq!(
        (zone.name.as_str(), zone.serial),
        ("rpz.example", 2_026_081_101)
    );
    assert_eq!(report.lines, 13);
    assert_eq!(
        rules,
        [
            (8, "block=nxdomain exact bad.example".to_owned()),
            (9, "block=nxdomain subs bad.example".to_owned()),
            (11, "block=nxdomain subs bad.example".to_owned()),
            (13, "allow exact after.example".to_owned()),
        ]
    );
    let invalid: Vec<_> = report
        .samples
        .iter()
        .filter(|s| s.kind == Kind::Invalid)
        .collect();
    assert_eq!(invalid[0].line, 10);
    assert_eq!(
        (invalid[1].line, &*invalid[1].reason),
        (12, "owner outside the zone")
    );
}

/// The rules of a zone, and how many of its lines are of a kind.
fn zone(text: &str, kind: Kind) -> (Vec<String>, u64) {
    let (report, rules) = read(text.as_bytes(), &options(Format::Rpz)).expect("a zone");
    let rules = rules.into_iter().map(|(_, rule)| rule).collect();
    (rules, report.by_kind.of(kind))
}

#[test]
fn a_zone_without_soa_begins_at_its_first_origin() {
    let text = "$TTL 60\n$ORIGIN rpz.example.\nbad.example CNAME .\n\
        evil.example.rpz.example. CNAME .\nother.example. CNAME .\n";
    let both = [
        "block=nxdomain exact bad.example",
        "block=nxdomain exact evil.example",
    ];
    assert_eq!(
        zone(text, Kind::Invalid),
        (both.map(str::to_owned).to_vec(), 1)
    );
}

#[test]
fn relative_owners_of_a_zone_whose_soa_alone_is_absolute_are_completed_by_it() {
    let text = "rpz.example. 60 IN SOA ns.rpz.example. root.rpz.example. 1 2 3 4 5\n\
        bad.example CNAME .\n*.bad.example CNAME .\n";
    let both = [
        "block=nxdomain exact bad.example",
        "block=nxdomain subs bad.example",
    ];
    assert_eq!(
        zone(text, Kind::Invalid),
        (both.map(str::to_owned).to_vec(), 0)
    );
}

#[test]
fn absolute_owners_of_a_zone_that_does_not_say_its_name_give_no_rule_and_say_why() {
    let text = "@ 60 IN SOA ns. root. 1 2 3 4 5\nbad.example.rpz.example. CNAME .\n\
        \x20 A 192.0.2.1\nfine.example CNAME .\n";
    let fine = vec!["block=nxdomain exact fine.example".to_owned()];
    assert_eq!(zone(text, Kind::Unsupported), (fine, 2));
    let (report, _) = read(text.as_bytes(), &options(Format::Rpz)).unwrap();
    let sample = report.samples.iter().find(|s| s.kind == Kind::Unsupported);
    assert!(sample.unwrap().reason.contains("`$ORIGIN`"));
    // Where nobody names a zone, the names are what is meant.
    let (rules, _) = zone("bad.example. CNAME .\n", Kind::Unsupported);
    assert_eq!(rules, ["block=nxdomain exact bad.example"]);
}

#[test]
fn a_list_that_may_only_block_gives_no_rule_that_answers_with_an_address() {
    for (format, text) in [
        (
            Format::Hosts,
            "203.0.113.66 a.example b.example\n0.0.0.0 c.example\n",
        ),
        (
            Format::Adguard,
            "||a.example^$dnsrewrite=203.0.113.66\n||c.example^$dnsrewrite=0.0.0.0\n",
        ),
        (
            Format::Adguard,
            "||a.example^$dnsrewrite=NOERROR;AAAA;2001:db8::1\n||c.example^$dnsrewrite=NXDOMAIN\n",
        ),
        (
            Format::Dnsmasq,
            "address=/a.example/203.0.113.66\naddress=/c.example/#\n",
        ),
        (
            Format::Unbound,
            "local-data: \"a.example A 203.0.113.66\"\nlocal-data: \"c.example A 0.0.0.0\"\n",
        ),
        (
            Format::Rpz,
            "a.example A 203.0.113.66\nc.example A 0.0.0.0\n",
        ),
        (
            Format::Rpz,
            "32.1.2.0.192.rpz-client-ip A 203.0.113.66\nc.example CNAME .\n",
        ),
    ] {
        let only_blocks = Options {
            only_blocks: true,
            ..options(format)
        };
        let (report, rules) = read(text.as_bytes(), &only_blocks).unwrap();
        assert_eq!(report.by_kind.of(Kind::Unsupported), 1, "{text}");
        assert!(
            report.samples[0].reason.contains("rewrites = true"),
            "{text}"
        );
        assert_eq!(rules.len(), 1, "{text}: {rules:?}");
        assert!(rules[0].1.ends_with("c.example") || rules[0].1.ends_with("c.example host"));
        let (_, rules) = read(text.as_bytes(), &options(format)).unwrap();
        assert!(rules.len() > 1, "{text}: {rules:?}");
    }
    // Deleting somebody's rewrite leads nobody anywhere.
    let only_blocks = Options {
        only_blocks: true,
        ..options(Format::Adguard)
    };
    let text = b"||a.example^$dnsrewrite=203.0.113.66,badfilter\n";
    assert_eq!(read(text, &only_blocks).unwrap().1.len(), 1);
}

#[test]
fn a_parenthesis_left_open_loses_only_what_it_holds() {
    let mut text = b"a.example CNAME .\nb.example CNAME (\n".to_vec();
    for n in 0..10_000 {
        text.extend_from_slice(format!("n{n}.example CNAME .\n").as_bytes());
    }
    let (report, rules) = read(&text, &options(Format::Rpz)).unwrap();
    assert_eq!(report.lines, 10_002);
    assert!(
        rules.len() > 5000 && rules.len() < 10_000,
        "{}",
        rules.len()
    );
}

#[test]
fn what_is_no_list_is_refused_with_the_reason() {
    let refuse = |bytes: &[u8]| read(bytes, &Options::default()).unwrap_err();
    assert!(matches!(refuse(b"<!DOCTYPE html>\n<p>404"), Error::Html));
    assert!(matches!(
        refuse(b"ads.example\n\0\x01\x02"),
        Error::Binary { .. }
    ));
    assert!(matches!(refuse(b"\xff\xfea\0d\0s\0"), Error::Utf16));
    assert!(matches!(
        refuse(b"\x1f\x8bnot gzip at all"),
        Error::Read { .. }
    ));
    let message = refuse(b"<html>").to_string();
    assert!(
        message.contains("HTML") && message.contains("check"),
        "{message}"
    );
}

#[test]
fn packed_lists_give_the_same_report() {
    let text = b"0.0.0.0 ads.example\n||tracker.example^\n";
    let plain = read(text, &Options::default()).unwrap();
    let zstd = zstd::encode_all(&text[..], 0).unwrap();
    assert_eq!(read(&zstd, &Options::default()).unwrap(), plain);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    std::io::Write::write_all(&mut gzip, text).unwrap();
    assert_eq!(
        read(&gzip.finish().unwrap(), &Options::default()).unwrap(),
        plain
    );
}

#[test]
fn samples_are_bounded_and_counts_are_not() {
    let text = "a b\n".repeat(1000);
    let (report, _) = read(text.as_bytes(), &Options::default()).unwrap();
    assert_eq!(report.by_kind.of(Kind::Invalid), 1000);
    assert_eq!(report.samples.len(), filter_lists::list::SAMPLES_PER_KIND);
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["by_kind"]["invalid"], 1000);
    assert_eq!(json["samples"][0]["kind"], "invalid");
}

#[test]
fn formats_and_scopes_have_words() {
    for format in Format::ALL {
        assert_eq!(Format::from_str(&format.to_string()).unwrap(), format);
    }
    assert!(
        Format::from_str("csv")
            .unwrap_err()
            .to_string()
            .contains("wildcard")
    );
    assert_eq!(
        "suffix".parse::<ScopePolicy>().unwrap(),
        ScopePolicy::Suffix
    );
    assert!("wide".parse::<ScopePolicy>().is_err());
}

// ---- junk ------------------------------------------------------------------

/// Pieces of every format, so that junk comes close to sense.
fn junk() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        any::<Vec<u8>>(),
        prop::sample::select(
            [
                "||",
                "^",
                "@@",
                "$",
                "a.example",
                "*.",
                ".",
                "0.0.0.0 ",
                "::1\t",
                "#",
                "##",
                "!",
                "dnsrewrite=",
                "denyallow=",
                "dnstype=",
                "client=",
                "~",
                "|",
                ",",
                ";",
                "important",
                "address=/",
                "server=/",
                "/",
                "local-zone: \"",
                "\" redirect",
                "local-data: \"",
                " A ",
                "1.2.3.4",
                " CNAME .",
                "$TTL 1h",
                "$ORIGIN ",
                "@ IN SOA a. b. (1 2 3 4 5)",
                "(",
                ")",
                "\"",
                "\\",
                "\n",
                "\r\n",
                " ",
                "ü",
                "rpz-client-ip",
                "32.4.3.2.1.",
                "zz",
                "$INCLUDE x",
            ]
            .as_slice()
        )
        .prop_map(|piece| piece.as_bytes().to_vec()),
    ];
    prop::collection::vec(piece, 0..60).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(crate::cases(4000))]

    #[test]
    fn no_bytes_break_a_parser_and_counts_add_up(
        bytes in junk(),
        format in prop::sample::select(Format::ALL.map(Some).into_iter().chain([None]).collect::<Vec<_>>()),
        scope in prop::sample::select(vec![ScopePolicy::AsFormat, ScopePolicy::Exact, ScopePolicy::Suffix]),
    ) {
        let options = Options { format, scope, ..Options::default() };
        let text: Vec<u8> = bytes.iter().copied().filter(|byte| *byte != 0).collect();
        if let Ok((report, _)) = read(&text, &options) {
            let bare = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&text);
            let ends = bare.iter().filter(|byte| **byte == b'\n').count() as u64;
            let unfinished = u64::from(!bare.is_empty() && !bare.ends_with(b"\n"));
            let is_packed = bare.starts_with(&[0x1f, 0x8b]);
            prop_assert!(is_packed || report.lines == ends + unfinished);
        }
        drop(read(&bytes, &options));
    }

    #[test]
    fn a_name_is_the_same_rule_in_every_exact_form(name in "[a-z0-9_]([a-z0-9-]{0,20}[a-z])?(\\.[a-z]{2,9}){1,3}") {
        for text in [name.clone(), format!("0.0.0.0 {name}"), format!("{name} # c"), name.to_uppercase() + "."] {
            let (_, rules) = read(text.as_bytes(), &Options::default()).unwrap();
            prop_assert_eq!(&rules, &[(1, format!("block exact {name} host"))]);
        }
    }
}
