//! What `nxdp query`, `explain` and `check` say of policies.

use crate::folder::Folder;

const CONFIG: &str = r#"
overrides = "overrides"
[[list]]
path = "ads.txt"
category = "ads"
[[list]]
path = "social.txt"
category = "social"
[policy.default]
block = ["ads"]
[policy.kids]
clients = ["02:00:5e:10:00:01"]
block = ["ads"]
answer = "refused"
[policy.kids.schedule]
time_zone = "Europe/Berlin"
[[policy.kids.schedule.span]]
days = ["sun-thu"]
from = "20:00"
to = "06:30"
block = ["social"]
[policy.net]
clients = ["10.7.0.0/16", "2001:db8:7::/48"]
block = ["social"]
[policy.host]
clients = ["10.7.7.7"]
observe = true
[policy.guests]
clients = ["vlan:30"]
block = ["social"]
block_bypass = true
[policy.cable]
clients = ["interface:eth7"]
block = []
[policy.third]
destinations = ["192.0.2.3", "2001:db8::3"]
unfiltered = true
"#;

/// Flags, the policy, why, and what becomes of `ads.example` and of `social.example`.
const ASKED: [(&str, &str, &str, [&str; 2]); 12] = [
    (
        "",
        "default",
        "no other policy is for this client",
        ["block", "none"],
    ),
    (
        "--client 10.7.7.7 --mac 02:00:5e:10:00:01 --vlan 30 --from eth7 --to 192.0.2.3 --at 2026-01-05T12:00+01:00",
        "kids",
        "client 02:00:5e:10:00:01",
        ["block", "none"],
    ),
    (
        "--client 02:00:5e:10:00:01 --at 2026-01-05T21:30+01:00",
        "kids",
        "client 02:00:5e:10:00:01, at a time of its schedule",
        ["block", "block"],
    ),
    (
        "--mac 02:00:5e:10:00:01 --at 2026-01-09T21:30+01:00",
        "kids",
        "client 02:00:5e:10:00:01",
        ["block", "none"],
    ),
    (
        "--client 10.7.7.7 --mac 02:00:5e:10:00:02 --vlan 30",
        "host",
        "client prefix 10.7.7.7/32",
        ["block", "block"],
    ),
    (
        "--client 10.7.7.8 --vlan 30 --to 192.0.2.3",
        "net",
        "client prefix 10.7.0.0/16",
        ["none", "block"],
    ),
    (
        "--client 2001:db8:7::1",
        "net",
        "client prefix 2001:db8:7::/48",
        ["none", "block"],
    ),
    (
        "--client 10.8.0.1 --vlan 30 --from eth7 --to 192.0.2.3",
        "guests",
        "vlan:30",
        ["none", "block"],
    ),
    (
        "--vlan 31 --from eth7 --to 192.0.2.3",
        "cable",
        "interface:eth7",
        ["none", "none"],
    ),
    (
        "--from eth8 --to 192.0.2.3",
        "third",
        "destination 192.0.2.3",
        ["none", "none"],
    ),
    (
        "--client 2001:db8:8::1 --to 2001:db8::3",
        "third",
        "destination 2001:db8::3",
        ["none", "none"],
    ),
    (
        "--client 10.8.0.1 --to 192.0.2.4",
        "default",
        "no other policy is for this client",
        ["block", "none"],
    ),
];

fn desk() -> Folder {
    Folder::with(&[
        ("c.toml", CONFIG),
        ("ads.txt", "ads.example\n"),
        ("social.txt", "social.example\n"),
    ])
}

#[test]
fn query_and_explain_say_which_policy_applied_and_why() {
    let folder = desk();
    for (flags, policy, because, verdicts) in ASKED {
        for (name, verdict) in ["ads.example", "social.example"].into_iter().zip(verdicts) {
            let line = format!("-c c.toml {name} {flags}");
            let observes = if policy == "host" {
                ", which observes only"
            } else {
                ""
            };
            let words = format!("policy {policy}{observes}: {because}");
            for verb in ["query", "explain"] {
                let told = folder.run(&format!("{verb} {line}"));
                told.ended(0);
                assert!(told.out.starts_with(verdict), "{line}: {}", told.out);
                assert!(told.out.contains(&words), "{line}: {}", told.out);
                let object = folder.run(&format!("{verb} {line} --json")).json();
                assert_eq!(object["policy"], policy, "{line}");
                assert_eq!(object["verdict"], verdict, "{line}");
                let why = object["policy_because"].as_str().unwrap();
                assert!(because.starts_with(why), "{line}: {why}");
                assert_eq!(object["scheduled"], because.contains("schedule"), "{line}");
                assert_eq!(object["observed"], policy == "host");
            }
        }
    }
}

#[test]
fn what_tells_a_policy_needs_a_configuration_and_must_make_sense() {
    let folder = desk();
    for flag in [
        "--mac 02:00:5e:10:00:01",
        "--vlan 3",
        "--from eth7",
        "--to 10.0.0.1",
        "--at 12:00",
    ] {
        folder
            .run(&format!("explain --list ads.txt ads.example {flag}"))
            .ended(2)
            .says(&["--config"]);
    }
    for (flag, hint) in [
        ("--mac 02:00", "six bytes"),
        ("--client tablet", "192.0.2.7"),
        ("--to resolver", "--to"),
        ("--at noon", "18:00"),
        ("--vlan many", "--vlan"),
    ] {
        for verb in ["query", "explain"] {
            folder
                .run(&format!("{verb} -c c.toml ads.example {flag}"))
                .ended(2)
                .says(&[hint]);
        }
    }
}

#[test]
fn check_shows_the_policies_as_they_take_effect() {
    let folder = desk();
    let shown = folder.run("check -c c.toml");
    shown.ended(0);
    let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    let lines: Vec<String> = shown.out.lines().map(words).collect();
    let table = lines
        .iter()
        .position(|line| line.starts_with("policy answer for blocks"));
    let table = &lines[table.unwrap() + 1..];
    for (at, row) in [
        "default nxdomain everybody else ads -",
        "cable nxdomain 1 interface nothing -",
        "guests nxdomain 1 VLAN social, bypass -",
        "host observe 1 prefix every category -",
        "kids refused 1 MAC ads 20",
        "mon,tue,wed,thu,sun 20:00 to 06:30 (Europe/Berlin): blocks ads, social",
        "net nxdomain 2 prefixes social -",
        "third - 2 destinations nothing: unfiltered -",
    ]
    .into_iter()
    .enumerate()
    {
        assert!(table[at].starts_with(row), "{row:?} is not {:?}", table[at]);
    }
    let object = folder.run("check -c c.toml --json").json();
    let rows = object["policies"].as_array().unwrap();
    let row = |name: &str| rows.iter().find(|row| row["name"] == name).unwrap();
    assert_eq!(row("net")["clients"]["prefixes"], 2);
    assert_eq!(row("guests")["block_bypass"], true);
    assert_eq!(row("kids")["answer"], "refused");
    assert!(row("kids")["next_switch"].is_string());
    assert_eq!(row("third")["unfiltered"], true);
}

#[test]
fn a_time_is_meant_where_the_schedule_of_the_policy_is_unless_it_says_where() {
    let folder = desk();
    // A Monday. In Berlin social names are blocked from 20:00, in New York it is 14:00 then.
    for (at, verdict) in [
        ("2026-01-05T21:15", "block"),
        ("2026-01-05T19:15", "none"),
        ("2026-01-05T14:30[America/New_York]", "block"),
        ("2026-01-05T21:15[America/New_York]", "block"),
        ("2026-01-05T07:00[America/New_York]", "none"),
    ] {
        let line = format!("query -c c.toml social.example --mac 02:00:5e:10:00:01 --at {at}");
        for zone in ["America/Los_Angeles", "Asia/Tokyo"] {
            let told = folder.run_in(&line, &[("TZ", zone)]);
            told.ended(0);
            assert!(
                told.out.starts_with(verdict),
                "{at} in {zone}: {}",
                told.out
            );
        }
    }
    folder
        .run("query -c c.toml social.example --at 21:15[Europe/Atlantis]")
        .ended(2)
        .says(&["IANA name"]);
    let shown = folder.run_in("check -c c.toml", &[("TZ", "Asia/Tokyo")]);
    let kids = shown.out.lines().find(|line| line.starts_with("kids"));
    let kids = kids.unwrap();
    assert!(
        kids.contains(" +01:00") || kids.contains(" +02:00"),
        "{kids}"
    );
}

#[test]
fn explain_says_what_its_answer_rests_on() {
    let folder = desk();
    let explain = |flags: &str| {
        folder
            .run(&format!("explain -c c.toml ads.example {flags}"))
            .out
    };
    let unknown = explain("--client 10.9.9.9");
    assert!(unknown.contains("say it with `--mac`"), "{unknown}");
    let stranger = explain("--client 203.0.113.9 --mac 02:00:5e:10:00:02");
    assert!(stranger.contains("203.0.113.9 is no client"), "{stranger}");
    assert!(!stranger.contains("--mac"), "{stranger}");
    let private = explain("--client 10.9.9.9 --mac 02:00:5e:10:00:02");
    assert!(!private.contains("note"), "{private}");
    let public = explain("--client 2001:db8:7::1 --mac 02:00:5e:10:00:02");
    assert!(!public.contains("note"), "{public}");
    let object = folder
        .run("explain -c c.toml ads.example --client 203.0.113.9 --json")
        .json();
    assert_eq!(object["notes"].as_array().unwrap().len(), 2, "{object}");
}

#[test]
fn an_address_is_no_name_to_ask_for() {
    let folder = desk();
    for verb in ["query", "explain"] {
        folder
            .run(&format!("{verb} -c c.toml 192.0.2.1"))
            .ended(2)
            .says(&["is an address", "write the name"]);
    }
}

#[test]
fn check_warns_of_orders_that_do_not_bind_everybody() {
    let folder = desk();
    let guard = "[guard]\nmust_block = [{ category = 'ads', file = 'ads.txt' }]\n";
    folder.write("c.toml", format!("{CONFIG}{guard}").as_bytes());
    let shown = folder.run("check -c c.toml");
    shown.ended(0);
    let warning =
        "category 'ads' does not bind the clients of policy cable, guests, host, net, third";
    assert!(shown.out.contains(warning), "{}", shown.out);
    let object = folder.run("check -c c.toml --json").json();
    assert!(object["warnings"][0].as_str().unwrap().contains(warning));
}

#[test]
fn check_names_what_is_wrong_with_a_policy() {
    let folder = desk();
    for (more, hint) in [
        ("[policy.x]\nblock = ['socail']", "did you mean 'social'?"),
        (
            "[policy.x]\nclients = ['10.7.7.7']",
            "policy 'host' and to policy 'x'",
        ),
        ("[policy.x]\nclient_files = ['none.txt']", "none.txt"),
        ("[policy.x]\nobserv = true", "did you mean `observe`?"),
        (
            "[policy.x]\nclients = ['192.168.7.9/24']",
            "write 192.168.7.0/24 for the range",
        ),
        (
            "[policy.x]\nclients = ['::/1']",
            "covers every IPv4 address",
        ),
        (
            "[policy.x.schedule]\nspan = [{ from = '24:00', to = '06:00' }]",
            "the day after",
        ),
    ] {
        folder.write("c.toml", format!("{CONFIG}\n{more}\n").as_bytes());
        folder.run("check -c c.toml").ended(2).says(&[hint]);
    }
}
