//! The configuration file: its documentation, and what its values do.

use std::{collections::BTreeSet, fs, path::Path};

use filter_common::{
    layout::{CONTROL_ODD_PASSES, CONTROL_STRANGERS_PASS, Settings},
    name::Name,
    rule::AnswerKind,
    table::Records as _,
};
use filter_lists::image::Image;
use filter_user::{
    config::{Config, EdeCode, Error, REFRESH_DEFAULT, TTL_DEFAULT_S},
    pipeline::{Request, Sources},
    policy::Categories,
};

const DOCUMENT: &str = include_str!("../../../docs/nxdp.toml.md");

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

/// Sections of the page, and how a table of each is written: its head and what else it must have.
const SECTIONS: [(&str, &str, &str); 14] = [
    ("The filter", "", ""),
    ("`[control]`", "[control]", ""),
    ("`[limit]`", "[limit]", ""),
    ("`[[list]]`", "[[list]]", "path = 'l.txt'"),
    ("`[category.NAME]`", "[category.x]", "names = ['n.txt']"),
    ("`[policy.NAME]`", "[policy.x]", ""),
    ("`[policy.NAME.schedule]`", "[policy.x.schedule]", ""),
    (
        "`[[policy.NAME.schedule.span]]`",
        "[[policy.x.schedule.span]]",
        "from = '20:00'\nto = '21:00'",
    ),
    ("`[bypass]`", "[bypass]", ""),
    ("`[fetch]`", "[fetch]", ""),
    ("`[guard]`", "[guard]", ""),
    (
        "`[[guard.allow]]`",
        "[[guard.allow]]",
        "name = 'n'\nreason = 'r'",
    ),
    ("`[metrics]`", "[metrics]", ""),
    ("`[log]`", "[log]", ""),
];

#[test]
fn every_table_of_the_page_is_a_section_here() {
    let with_keys = DOCUMENT
        .split("\n## ")
        .skip(1)
        .filter(|part| part.contains("| key |"));
    let titles: Vec<&str> = with_keys.map(|part| part.lines().next().unwrap()).collect();
    assert_eq!(titles, SECTIONS.map(|(title, _, _)| title));
}

/// What a configuration amounts to: defaults stand where nothing was written.
fn effective(toml: &str) -> String {
    let mut config: Config = toml::from_str(toml).unwrap_or_else(|error| panic!("{toml}: {error}"));
    config.ttl_s = Some(config.ttl_s.unwrap_or(TTL_DEFAULT_S));
    config.ede = Some(config.ede.unwrap_or(EdeCode::BLOCKED));
    config.socket = Some(config.socket().to_owned());
    config.overrides = Some(config.overrides().to_owned());
    for list in &mut config.lists {
        list.scope = Some(list.scope.unwrap_or_default());
        list.refresh = Some(list.refresh.unwrap_or(REFRESH_DEFAULT));
    }
    for category in config.custom.values_mut() {
        category.scope = Some(category.scope.unwrap_or_default());
    }
    format!("{config:?}")
}

/// Defaults in words: nothing is there, or something else says it.
const WORDS: [&str; 14] = [
    "none",
    "",
    "the service's own group",
    "the filter's",
    "file name without its ending",
    "the file's name without its ending",
    "detected",
    "every category but bypass",
    "what the line says, else the filter's",
    "the list's name",
    "the machine's",
    "every day",
    "as above",
    "a file may, an address may not",
];

#[test]
fn a_default_that_is_written_out_changes_nothing() {
    let mut written = 0;
    for (title, head, must) in SECTIONS {
        let without = format!("{head}\n{must}\n");
        for (key, default) in documented(title) {
            if WORDS.contains(&&*default) {
                continue;
            }
            let with = format!("{without}{key} = {default}\n");
            assert_eq!(effective(&with), effective(&without), "{title} {key}");
            written += 1;
        }
    }
    // The test can fail: as many defaults are values.
    assert_eq!(written, DEFAULTS_WRITTEN);
    assert_ne!(effective("ttl_s = 61"), effective(""));
    let parsed: Config = toml::from_str("").unwrap();
    assert_eq!(parsed, Config::default());
}

/// Keys of the page whose default is a value.
const DEFAULTS_WRITTEN: usize = 34;

#[test]
fn answers_are_what_the_page_says_where_nothing_is_said() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.txt"), "a.example\n").unwrap();
    let image = compile(folder.path(), "[[list]]\npath = \"a.txt\"\n");
    let settings = *Settings::of(image.records().record(1).unwrap());
    assert_eq!((settings.ttl_s, settings.ede_code), (60, 15));
    assert_eq!(settings.answer, AnswerKind::NxDomain as u8);
}

#[test]
fn a_default_in_words_leaves_the_key_empty() {
    let empty = |toml: &str, keys: &[&str]| {
        let shown = format!("{:?}", toml::from_str::<Config>(toml).unwrap());
        for key in keys {
            let is_empty = ["None", "[]"]
                .iter()
                .any(|nothing| shown.contains(&format!("{key}: {nothing}")));
            assert!(is_empty, "{key}: {shown}");
        }
    };
    for (title, head, must) in SECTIONS {
        let rows = documented(title);
        let of_nothing = rows.iter().filter(|(_, default)| default == "none");
        let keys: Vec<&str> = of_nothing.map(|(key, _)| key.as_str()).collect();
        // Tables of tables are called by what there are many of.
        let keys: Vec<&str> = keys
            .iter()
            .map(|key| if *key == "span" { "spans" } else { *key })
            .collect();
        empty(&format!("{head}\n{must}\n"), &keys);
    }
}

#[test]
fn a_misspelt_key_of_any_table_is_refused_with_the_one_that_was_meant() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("nxdp.toml");
    let mut refused = 0;
    for (title, head, must) in SECTIONS {
        for (key, _) in documented(title) {
            // A letter too many.
            let (start, end) = key.split_at(key.len() / 2);
            let wrong = format!("{start}z{end}");
            fs::write(&path, format!("{head}\n{must}\n{wrong} = 1\n")).unwrap();
            let error = Config::read(&path).unwrap_err().to_string();
            let told = format!("unknown field `{wrong}`");
            let meant = format!("did you mean `{key}`?");
            assert!(
                error.contains(&told) && error.contains(&meant),
                "{title}: {error}"
            );
            refused += 1;
        }
    }
    assert!(refused > 60, "{refused}");
    for (text, meant) in [
        ("[polcy.x]", "`policy`"),
        ("[[lsit]]", "`list`"),
        ("[policy.x.shedule]", "`schedule`"),
        ("[[policy.x.schedule.spann]]", "`span`"),
        (
            "[guard]\nmust_block = [{ file = 'f', categry = 'c' }]",
            "`category`",
        ),
    ] {
        fs::write(&path, text).unwrap();
        let error = Config::read(&path).unwrap_err().to_string();
        assert!(error.contains(&format!("did you mean {meant}?")), "{error}");
    }
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
fn a_list_without_a_rule_is_told_with_its_format_and_first_lines() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(
        folder.path().join("a.txt"),
        "# ours\nno name\nhttps://b.example/\n|c\n|d\n",
    )
    .unwrap();
    let config = "[[list]]\npath = \"a.txt\"\nformat = \"domains\"\n";
    fs::write(folder.path().join("nxdp.toml"), config).unwrap();
    let config = Config::read(&folder.path().join("nxdp.toml")).unwrap();
    let compiled = Sources::default().compile(&config, &Request::default(), &|_| {});
    let error = compiled.err().unwrap().to_string();
    for part in [
        "no rule in 5 lines, read as domains",
        "`--format`",
        "line 2: blank inside a rule",
        ": no name; line 3: ",
        "line 4: ",
    ] {
        assert!(error.contains(part), "{error} lacks {part}");
    }
    assert!(
        !error.contains("line 1") && !error.contains("line 5"),
        "{error}"
    );
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

#[test]
fn nothing_blocked_passes_unless_the_configuration_says_so() {
    let flags = |toml: &str| toml::from_str::<Config>(toml).unwrap().passing_flags();
    assert_eq!(flags(""), 0);
    assert_eq!(flags("odd = 'drop'\nstrangers = 'drop'"), 0);
    assert_eq!(flags("odd = 'pass'"), CONTROL_ODD_PASSES);
    assert_eq!(flags("strangers = 'pass'"), CONTROL_STRANGERS_PASS);
    assert!(toml::from_str::<Config>("odd = 'observe'").is_err());
}
