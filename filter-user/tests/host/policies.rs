//! Policies: what a configuration makes of them, and who has which.

use std::{fs, net::Ipv4Addr};

use filter_common::{
    layout::CLIENT_PREFIX_MAX,
    selector::{Selector, mac_key, vlan_key},
};
use filter_user::{
    config::Config,
    policy::{Categories, ClientFacts, Numbers, Policies},
};
use jiff::Timestamp;

const LISTS: &str = r#"
[[list]]
path = "a.txt"
category = "ads"
[[list]]
path = "m.txt"
category = "malware"
[[list]]
path = "s.txt"
category = "social"
"#;

fn config(text: &str) -> Config {
    let config: Config = toml::from_str(&format!("{text}\n{LISTS}")).unwrap();
    config.check().unwrap();
    config
}

fn error(text: &str) -> String {
    match toml::from_str::<Config>(&format!("{text}\n{LISTS}")) {
        Ok(config) => match config.check() {
            Ok(()) => Policies::resolve(&config, &Categories::of(&config), &Numbers::new())
                .unwrap_err()
                .to_string(),
            Err(error) => error.to_string(),
        },
        Err(error) => error.to_string(),
    }
}

fn policies(text: &str) -> (Policies, Categories) {
    let config = config(text);
    let categories = Categories::of(&config);
    let policies = Policies::resolve(&config, &categories, &Numbers::new()).unwrap();
    (policies, categories)
}

fn asking(client: &str, mac: &str, vlan: u16, interface: &str, to: &str) -> ClientFacts {
    let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    ClientFacts {
        client: text(client).map(|client| client.parse().unwrap()),
        mac: text(mac).map(|mac| filter_common::address::mac_from_text(&mac).unwrap()),
        vlan: (vlan != 0).then_some(vlan),
        interface: text(interface),
        to: text(to).map(|to| to.parse().unwrap()),
    }
}

const EVERY_WAY: &str = r#"
[policy.by-mac]
clients = ["02:00:00:00:00:01"]
[policy.by-net]
clients = ["10.1.0.0/16", "2001:db8::/32"]
[policy.by-host]
clients = ["10.1.2.3"]
[policy.by-vlan]
clients = ["vlan:10"]
[policy.by-interface]
clients = ["interface:lan0", "interface:lan1"]
[policy.by-destination]
destinations = ["10.0.0.3", "fd00::3"]
"#;

#[test]
fn the_most_specific_way_chooses_the_policy_and_says_so() {
    let (policies, _) = policies(EVERY_WAY);
    let mac = "02:00:00:00:00:01";
    let other = "02:00:00:00:00:02";
    for (asked, policy, because) in [
        (
            asking("10.1.2.3", mac, 10, "lan0", "10.0.0.3"),
            "by-mac",
            "client 02:00:00:00:00:01",
        ),
        (
            asking("10.1.2.3", other, 10, "lan0", "10.0.0.3"),
            "by-host",
            "client prefix 10.1.2.3/32",
        ),
        (
            asking("10.1.2.4", other, 10, "lan0", "10.0.0.3"),
            "by-net",
            "client prefix 10.1.0.0/16",
        ),
        (
            asking("2001:db8::9", "", 0, "", ""),
            "by-net",
            "client prefix 2001:db8::/32",
        ),
        (
            asking("10.2.2.4", other, 10, "lan0", "10.0.0.3"),
            "by-vlan",
            "vlan:10",
        ),
        (
            asking("10.2.2.4", other, 11, "lan1", "10.0.0.3"),
            "by-interface",
            "interface:lan1",
        ),
        (
            asking("10.2.2.4", other, 11, "wan0", "10.0.0.3"),
            "by-destination",
            "destination 10.0.0.3",
        ),
        (
            asking("", "", 0, "", "fd00::3"),
            "by-destination",
            "destination fd00::3",
        ),
        (
            asking("10.2.2.4", other, 11, "wan0", "10.0.0.4"),
            "default",
            "no other policy",
        ),
        (asking("", "", 0, "", ""), "default", "no other policy"),
    ] {
        let chosen = policies.chosen(&asked);
        assert_eq!(chosen.policy.name, policy, "{asked:?}");
        assert!(
            chosen.because.to_string().contains(because),
            "{}",
            chosen.because
        );
    }
}

#[test]
fn a_policy_blocks_every_category_or_those_that_it_names() {
    let (policies, categories) = policies(
        r#"
        [policy.default]
        block = ["malware"]
        [policy.all]
        [policy.none]
        block = []
        [policy.free]
        unfiltered = true
        [policy.two]
        block = ["ads", "social"]
        "#,
    );
    let now = Timestamp::UNIX_EPOCH;
    let blocked =
        |name: &str| categories.names_of(policies.named(name).unwrap().categories_at(now));
    assert_eq!(blocked("default"), ["malware"]);
    assert_eq!(blocked("all"), ["ads", "malware", "social"]);
    assert_eq!(policies.named("all").unwrap().categories, u64::MAX);
    assert!(blocked("none").is_empty() && blocked("free").is_empty());
    assert!(policies.named("free").unwrap().is_unfiltered());
    assert_eq!(blocked("two"), ["ads", "social"]);
}

#[test]
fn a_schedule_blocks_more_at_times_and_the_next_switch_is_known() {
    let (policies, categories) = policies(
        r#"
        [policy.kids]
        block = ["ads", "malware"]
        [policy.kids.schedule]
        time_zone = "America/New_York"
        [[policy.kids.schedule.span]]
        days = ["sun-thu"]
        from = "20:00"
        to = "06:30"
        block = ["social"]
        [[policy.kids.schedule.span]]
        from = "12:00"
        to = "13:00"
        allow = ["ads"]
        "#,
    );
    let blocked = |when: &str| {
        let kids = policies.named("kids").unwrap();
        categories.names_of(kids.categories_at(when.parse().unwrap()))
    };
    // 2026-01-05 is a Monday; New York is five hours behind UTC.
    assert_eq!(blocked("2026-01-05T16:59:00Z"), ["ads", "malware"]);
    assert_eq!(blocked("2026-01-05T17:30:00Z"), ["malware"]);
    assert_eq!(
        blocked("2026-01-06T02:00:00Z"),
        ["ads", "malware", "social"]
    );
    let (when, policy) = policies
        .next_switch("2026-01-05T18:00:00Z".parse().unwrap())
        .unwrap();
    assert_eq!(
        (when, &*policy.name),
        ("2026-01-06T01:00:00Z".parse().unwrap(), "kids")
    );
}

#[test]
fn a_policy_keeps_its_number_while_others_come_and_go() {
    let numbers = |text: &str, former: &Numbers| {
        let config = config(text);
        Policies::resolve(&config, &Categories::of(&config), former)
            .unwrap()
            .numbers()
    };
    let first = numbers("[policy.b]\n[policy.d]\n", &Numbers::new());
    assert_eq!((first["default"], first["b"], first["d"]), (0, 1, 2));
    let second = numbers("[policy.a]\n[policy.d]\n", &first);
    assert_eq!(second["d"], 2);
    // The number of `b` is not given away at once: the kernel may still find it.
    assert_eq!(second["a"], 3);
    let third = numbers("[policy.a]\n[policy.b]\n[policy.d]\n", &second);
    assert_eq!((third["a"], third["b"], third["d"]), (3, 1, 2));
}

#[test]
fn clients_are_read_from_files_and_a_wrong_line_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("clients.txt");
    let mut text = String::from("# subscribers\n\n 02:00:00:00:00:07 # the tablet\nvlan:30\n");
    for a in 0..=255 {
        for b in 0..=255 {
            text.push_str(&format!("100.64.{a}.{b}\n"));
        }
    }
    fs::write(&path, &text).unwrap();
    let config_text = format!("[policy.family]\nclient_files = [{path:?}]\n");
    let (resolved, _) = policies(&config_text);
    assert_eq!(resolved.clients().prefixes.len(), 65_536);
    let chosen = resolved.chosen(&asking("100.64.9.9", "", 0, "", ""));
    assert_eq!(chosen.policy.name, "family");
    let of = |selector| resolved.clients().selected.of(selector).collect::<Vec<_>>();
    assert_eq!(of(Selector::Vlan), [(vlan_key(30), 1)]);
    assert_eq!(of(Selector::Mac), [(mac_key([2, 0, 0, 0, 0, 7]), 1)]);
    fs::write(&path, format!("{text}tablet\n")).unwrap();
    let told = error(&config_text);
    assert!(told.contains("line 65541: 'tablet' is no client"), "{told}");
}

#[test]
fn what_makes_no_sense_is_refused_with_a_way_out() {
    for (text, parts) in [
        (
            "[policy.\"bad name\"]",
            &["'bad name'", "letters, digits"][..],
        ),
        (
            "[policy.default]\nclients = [\"10.0.0.1\"]",
            &["policy.default", "another name"],
        ),
        (
            "[policy.default]\ndestinations = [\"10.0.0.1\"]",
            &["policy.default", "another name"],
        ),
        (
            "[policy.x]\nunfiltered = true\nblock = []",
            &["'x' is unfiltered", "`block`"],
        ),
        (
            "[policy.x]\nunfiltered = true\nblock_bypass = true",
            &["`block_bypass`"],
        ),
        (
            "[policy.x]\nblock = [\"malwar\"]",
            &["'malwar'", "did you mean 'malware'?"],
        ),
        (
            "[[policy.x.schedule.span]]\nfrom = \"20:00\"\nto = \"21:00\"\nblock = [\"sozial\"]",
            &["'social'"],
        ),
        (
            "[[policy.x.schedule.span]]\nfrom = \"20\"\nto = \"21:00\"",
            &["'20' is no time", "HH:MM"],
        ),
        (
            "[[policy.x.schedule.span]]\ndays = [\"mo\"]\nfrom = \"20:00\"\nto = \"21:00\"",
            &["'mo'", "sun-thu"],
        ),
        (
            "[policy.x.schedule]\ntime_zone = \"Berlin\"",
            &["'Berlin'", "Europe/Berlin"],
        ),
        (
            "[policy.x]\nblocks = [\"ads\"]",
            &["unknown field `blocks`"],
        ),
        ("[policy.x]\nclients = [\"eth1\"]", &["interface:eth1"]),
        (
            "[policy.x]\nclients = [\"10.0.0.0/8\"]\n[policy.y]\nclients = [\"10.0.0.0/8\"]",
            &["10.0.0.0/8", "'x'", "'y'"],
        ),
        (
            "[policy.x]\nclients = [\"02:00:00:00:00:01\"]\n[policy.y]\nclients = [\"02-00-00-00-00-01\"]",
            &["02:00:00:00:00:01", "'x'", "'y'"],
        ),
        (
            "[policy.x]\ndestinations = [\"10.0.0.1\"]\n[policy.y]\ndestinations = [\"10.0.0.1\"]",
            &["10.0.0.1", "'x'", "'y'"],
        ),
    ] {
        let told = error(text);
        for part in parts {
            assert!(told.contains(part), "{text}: {told}");
        }
    }
}

#[test]
fn four_thousand_and_ninety_six_policies_fit_and_one_more_does_not() {
    let tables = |count: u32| -> String {
        (1..=count)
            .map(|number| format!("[policy.p{number}]\n"))
            .collect()
    };
    let (all, _) = policies(&tables(4096));
    assert_eq!(all.iter().count(), 4097);
    assert!(error(&tables(4097)).contains("4097 policies, at most 4096"));
}

/// A policy whose clients are in a file of as many lines.
fn with_file(lines: impl Iterator<Item = String>) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("clients.txt");
    let text: String = lines.map(|line| line + "\n").collect();
    fs::write(&path, text).unwrap();
    let config = format!("[policy.subscribers]\nclient_files = [{path:?}]\n");
    (folder, config)
}

#[test]
fn a_million_prefixes_of_a_file_fit_and_one_more_than_the_table_holds_does_not() {
    let prefix = |number: u32| Ipv4Addr::from(0x6440_0000 + number).to_string();
    let lines = |count: u32| (0..count).map(prefix);
    let (_folder, config) = with_file(lines(CLIENT_PREFIX_MAX));
    let (all, _) = policies(&config);
    assert!(all.clients().prefixes.len() > 1_000_000);
    for (client, policy) in [
        ("100.64.0.0", "subscribers"),
        ("100.79.255.255", "subscribers"),
        ("100.80.0.0", "default"),
    ] {
        let chosen = all.chosen(&asking(client, "", 0, "", ""));
        assert_eq!(chosen.policy.name, policy, "{client}");
    }
    let (_folder, config) = with_file(lines(CLIENT_PREFIX_MAX + 1));
    let told = error(&config);
    assert!(
        told.contains("1048577 client prefixes, at most 1048576 fit: join some"),
        "{told}"
    );
}

#[test]
fn a_hundred_thousand_macs_of_a_file_fit_and_one_more_does_not() {
    let mac = |number: u32| {
        let [_, a, b, c] = number.to_be_bytes();
        format!("02:00:00:{a:02x}:{b:02x}:{c:02x}")
    };
    let (_folder, config) = with_file((0..100_000).map(mac));
    let (all, _) = policies(&config);
    assert_eq!(all.clients().selected.count(Selector::Mac), 100_000);
    let chosen = all.chosen(&asking("", "02-00-00-01-86-9F", 0, "", ""));
    assert_eq!(chosen.policy.name, "subscribers");
    let (_folder, config) = with_file((0..100_001).map(mac));
    assert!(error(&config).contains("100001 MAC addresses, at most 100000"));
}

#[test]
fn four_thousand_and_ninety_six_destinations_fit_and_one_more_does_not() {
    let config = |count: u32| {
        let addresses: Vec<String> = (0..count)
            .map(|number| format!("'{}'", Ipv4Addr::from(0x0a00_0000 + number)))
            .collect();
        format!("[policy.x]\ndestinations = [{}]", addresses.join(", "))
    };
    let all = policies(&config(4096)).0;
    let selected = &all.clients().selected;
    assert_eq!(selected.count(Selector::Destination), 4096);
    assert!(error(&config(4097)).contains("4097 destinations, at most 4096"));
}
