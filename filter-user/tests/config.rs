//! The configuration file: its documentation, and what its values do.

#![expect(clippy::unwrap_used, reason = "a failed test panics")]

use std::{collections::BTreeSet, fs, path::Path};

use filter_common::{layout::Settings, name::Name, rule::AnswerKind, table::Records as _};
use filter_user::{
    config::{
        CACHE_DEFAULT, Config, Error, OVERRIDES_DEFAULT, REFRESH_DEFAULT, SOCKET_DEFAULT,
        TTL_DEFAULT_S,
    },
    image::Image,
    pipeline::{Request, Sources},
    policy::Categories,
};

const DOCUMENT: &str = include_str!("../../docs/nxdp.toml.md");

fn example() -> &'static str {
    DOCUMENT
        .split("```toml\n")
        .nth(1)
        .and_then(|rest| rest.split("```").next())
        .unwrap()
}

/// The keys in the first column of the tables of a section, and their defaults.
fn documented(section: &str) -> Vec<(String, String)> {
    let text = DOCUMENT
        .split("\n## ")
        .find(|part| part.starts_with(section));
    let rows = text.unwrap().lines().filter(|line| line.starts_with("| `"));
    rows.map(|row| {
        let cells: Vec<_> = row
            .split('|')
            .map(|cell| cell.trim().replace('`', ""))
            .collect();
        (cells[1].clone(), cells[2].clone())
    })
    .collect()
}

/// The keys that the parser knows: it tells them when it meets one that it does not know.
fn known(toml: &str) -> BTreeSet<String> {
    let error = toml::from_str::<Config>(toml).unwrap_err();
    let words = error.message().split('`').skip(1).step_by(2);
    words.skip(1).map(str::to_owned).collect()
}

fn keys(rows: &[(String, String)]) -> BTreeSet<String> {
    rows.iter().map(|(key, _)| key.clone()).collect()
}

#[test]
fn every_known_key_is_documented_and_every_documented_key_is_known() {
    let mut top = keys(&documented("The filter"));
    // The tables have sections of their own.
    let tables = [
        "list", "category", "policy", "bypass", "guard", "control", "fetch", "limit", "metrics",
        "log",
    ];
    top.extend(tables.map(str::to_owned));
    assert_eq!(top, known("nosuchkey = 1"));
    for (section, toml) in [
        ("`[category.NAME]`", "[category.x]\nnosuchkey = 1"),
        ("`[policy.NAME]`", "[policy.x]\nnosuchkey = 1"),
        (
            "`[policy.NAME.schedule]`",
            "[policy.x.schedule]\nnosuchkey = 1",
        ),
        (
            "`[[policy.NAME.schedule.span]]`",
            "[[policy.x.schedule.span]]\nnosuchkey = 1",
        ),
        ("`[bypass]`", "[bypass]\nnosuchkey = 1"),
    ] {
        assert_eq!(keys(&documented(section)), known(toml), "{section}");
    }
    assert_eq!(
        keys(&documented("`[[list]]`")),
        known("[[list]]\nnosuchkey = 1")
    );
    for section in ["guard", "control", "fetch", "limit", "metrics", "log"] {
        assert_eq!(
            keys(&documented(&format!("`[{section}]`"))),
            known(&format!("[{section}]\nnosuchkey = 1"))
        );
    }
    assert_eq!(
        keys(&documented("`[[guard.allow]]`")),
        known("[[guard.allow]]\nnosuchkey = 1")
    );
    assert_eq!(
        known("[guard]\nmust_block = [{ nosuchkey = 1 }]"),
        BTreeSet::from(["category".to_owned(), "file".to_owned()])
    );
}

#[test]
fn the_example_is_valid_and_has_every_key() {
    let config: Config = toml::from_str(example()).unwrap();
    config.check().unwrap();
    let value: toml::Table = toml::from_str(example()).unwrap();
    let has = |table: &toml::Table| table.keys().cloned().collect::<BTreeSet<_>>();
    assert_eq!(has(&value), known("nosuchkey = 1"));
    // A list has an address or a file.
    let of_list = |at: usize| has(value["list"][at].as_table().unwrap());
    let of_lists = &of_list(0) | &of_list(1);
    assert_eq!(of_lists, known("[[list]]\nnosuchkey = 1"));
    for section in [
        "guard", "control", "fetch", "limit", "metrics", "log", "bypass",
    ] {
        assert_eq!(
            has(value[section].as_table().unwrap()),
            known(&format!("[{section}]\nnosuchkey = 1"))
        );
    }
    let homework = value["category"]["homework"].as_table().unwrap();
    assert_eq!(has(homework), known("[category.x]\nnosuchkey = 1"));
    let kids = value["policy"]["kids"].as_table().unwrap();
    let mut policy = has(kids);
    // An unfiltered policy has nothing else.
    assert!(policy.insert("unfiltered".to_owned()));
    assert_eq!(policy, known("[policy.x]\nnosuchkey = 1"));
    let schedule = kids["schedule"].as_table().unwrap();
    assert_eq!(has(schedule), known("[policy.x.schedule]\nnosuchkey = 1"));
    assert_eq!(
        has(schedule["span"][0].as_table().unwrap()),
        known("[[policy.x.schedule.span]]\nnosuchkey = 1")
    );
}

#[test]
fn the_documented_defaults_are_the_defaults() {
    let default = Config::default();
    let of = |section: &str, key: &str| {
        let rows = documented(section);
        let (_, text) = rows.into_iter().find(|(known, _)| known == key).unwrap();
        text.trim_matches('"').to_owned()
    };
    assert_eq!(of("The filter", "answer"), default.answer.to_string());
    let limit = default.limit;
    assert_eq!(
        of("`[limit]`", "answers_per_s"),
        limit.answers_per_s.to_string()
    );
    assert_eq!(of("`[limit]`", "burst"), limit.burst.to_string());
    assert_eq!(of("The filter", "mode"), "native");
    assert_eq!(of("The filter", "ttl_s"), TTL_DEFAULT_S.to_string());
    assert_eq!(of("The filter", "socket"), SOCKET_DEFAULT);
    assert_eq!(of("The filter", "overrides"), OVERRIDES_DEFAULT);
    let guard = default.guard;
    assert_eq!(
        of("`[guard]`", "max_shrink_percent"),
        guard.max_shrink_percent.to_string()
    );
    assert_eq!(
        of("`[guard]`", "max_growth_percent"),
        guard.max_growth_percent.to_string()
    );
    let log = default.log;
    for (key, value) in [
        ("queries", log.queries.to_string()),
        ("sample", log.sample.to_string()),
        ("truncate_ipv4", log.truncate_ipv4.to_string()),
        ("truncate_ipv6", log.truncate_ipv6.to_string()),
        ("dnstap_file_mib", log.dnstap_file_mib.to_string()),
    ] {
        assert_eq!(of("`[log]`", key), value, "{key}");
    }
    assert_eq!(of("`[[list]]`", "refresh"), REFRESH_DEFAULT.to_string());
    let fetch = default.fetch;
    for (key, value) in [
        ("cache", CACHE_DEFAULT.to_owned()),
        ("timeout", fetch.timeout.to_string()),
        ("max_transfer_mib", fetch.max_transfer_mib.to_string()),
        ("max_text_mib", fetch.max_text_mib.to_string()),
        ("max_ratio", fetch.max_ratio.to_string()),
        ("max_lines", fetch.max_lines.to_string()),
        ("max_rules", fetch.max_rules.to_string()),
        ("allow_http", fetch.allow_http.to_string()),
    ] {
        assert_eq!(of("`[fetch]`", key), value, "{key}");
    }
    let parsed: Config = toml::from_str("").unwrap();
    assert_eq!(parsed, Config::default());
}

fn compile(folder: &Path, toml: &str) -> std::sync::Arc<Image> {
    fs::write(folder.join("nxdp.toml"), toml).unwrap();
    let config = Config::read(&folder.join("nxdp.toml")).unwrap();
    let compiled = Sources::default().compile(&config, &Request::default(), &|_| {});
    compiled.unwrap().image
}

#[test]
fn what_a_list_says_reaches_the_records_of_its_rules() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(
        folder.path().join("a.txt"),
        "192.0.2.1 a.example\n0.0.0.0 b.example\n",
    )
    .unwrap();
    fs::write(folder.path().join("b.txt"), "192.0.2.1 c.example\n").unwrap();
    let image = compile(
        folder.path(),
        "answer = \"nodata\"\nttl_s = 9\nede = 4\n\
         [[list]]\npath = \"a.txt\"\nanswer = \"null\"\nttl_s = 7\nede = \"censored\"\ncategory = \"orders\"\n\
         [[list]]\npath = \"b.txt\"\n",
    );
    let record = |text: &str| {
        let name = Name::from_text(text.as_bytes()).unwrap();
        image.query(&name, 1, u64::MAX).record.unwrap()
    };
    for name in ["a.example", "b.example"] {
        let record = record(name);
        assert_eq!(
            record.answer,
            AnswerKind::Null as u8,
            "whatever {name}'s line says"
        );
        assert_eq!(
            (record.ttl_s, record.ede_code, record.categories),
            (7, 16, 1)
        );
    }
    let own = record("c.example");
    assert_eq!(
        (own.answer, own.ipv4),
        (AnswerKind::Address as u8, [192, 0, 2, 1])
    );
    assert_eq!((own.ttl_s, own.ede_code, own.categories), (0, 0, u64::MAX));
    let settings = *Settings::of(image.records().record(1).unwrap());
    assert_eq!((settings.ttl_s, settings.ede_code), (9, 4));
    assert_eq!(settings.answer, AnswerKind::NoData as u8);
    assert_eq!(image.lists()[0].category.as_deref(), Some("orders"));
}

#[test]
fn sixty_four_categories_fit_and_one_more_is_an_error() {
    let lists = |count: u32| {
        let list = |i| format!("[[list]]\npath = \"l\"\ncategory = \"c{i}\"\n");
        let text: String = (0..count).map(list).collect();
        toml::from_str::<Config>(&text).unwrap()
    };
    let config = lists(64);
    config.check().unwrap();
    assert_eq!(Categories::of(&config).mask("c63"), Some(1 << 63));
    assert!(matches!(
        lists(65).check(),
        Err(Error::TooManyCategories { count: 65 })
    ));
}

#[test]
fn of_ten_lists_only_the_changed_one_is_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = |i: u32| folder.path().join(format!("{i}.txt"));
    let mut toml = String::new();
    for i in 0..10 {
        fs::write(path(i), format!("n{i}.example\n")).unwrap();
        toml.push_str(&format!("[[list]]\npath = \"{i}.txt\"\n"));
    }
    fs::write(folder.path().join("nxdp.toml"), toml).unwrap();
    let config = Config::read(&folder.path().join("nxdp.toml")).unwrap();
    let sources = Sources::default();
    let compile = || {
        sources
            .compile(&config, &Request::default(), &|_| {})
            .unwrap()
    };
    compile();
    assert_eq!(sources.reads(), 10);
    fs::write(path(3), "n3.example\nnew.example\n").unwrap();
    let compiled = compile();
    assert_eq!(sources.reads(), 11);
    assert_eq!(compiled.image.report().names, 11);
    compile();
    assert_eq!(sources.reads(), 11);
}
