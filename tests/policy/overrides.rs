//! Overrides and pauses: at once, on time, and kept.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use hickory_proto::op::ResponseCode;
use nix::sys::signal::Signal;
use nxdp_lab::lab::CLIENT_MAC;
use serde_json::Value;

use crate::show::{BLOCKED, LIST, Show};

fn id_of(told: &Value) -> u64 {
    told["overrides"][0]["id"].as_u64().unwrap()
}

#[test]
fn an_override_is_in_force_when_the_command_returns_and_gone_when_it_is_removed() {
    let show = Show::with_overrides("native");
    let generation = show.filter().status().unwrap()["generation"].clone();
    assert!(show.is_blocked(BLOCKED) && !show.is_blocked("free.nxdp-show.example"));
    let allowed = show.nxdp(
        "allow blocked.nxdp-show.example other.nxdp-show.example --reason mistake --ticket 7",
    );
    assert!(!show.is_blocked(BLOCKED) && !show.is_blocked("www.other.nxdp-show.example"));
    let blocked = show.nxdp("block free.nxdp-show.example --exact --reason abuse");
    assert!(show.is_blocked("free.nxdp-show.example"));
    assert!(!show.is_blocked("www.free.nxdp-show.example"));

    let all = show.nxdp("overrides");
    assert_eq!(all["overrides"].as_array().unwrap().len(), 3);
    assert_eq!(all["overrides"][0]["ticket"], "7");
    assert_eq!(all["overrides"][2]["scope"], "exact");
    let text = String::from_utf8(show.run("overrides").stdout).unwrap();
    assert!(
        text.contains("#1 allow blocked.nxdp-show.example and below for everybody"),
        "{text}"
    );

    show.nxdp(&format!("override remove {}", id_of(&allowed)));
    assert!(show.is_blocked(BLOCKED) && !show.is_blocked("other.nxdp-show.example"));
    show.nxdp(&format!("override remove {}", id_of(&blocked)));
    assert!(!show.is_blocked("free.nxdp-show.example"));
    assert_eq!(
        show.filter().status().unwrap()["generation"],
        generation,
        "nothing was compiled"
    );
    assert_eq!(show.filter().counter("pass_override").unwrap(), 3);
}

#[test]
fn the_narrowest_audience_and_the_longest_name_win() {
    let show = Show::with_overrides("skb");
    let mac = CLIENT_MAC.map(|byte| format!("{byte:02x}")).join(":");
    let free = "free.nxdp-show.example";
    show.nxdp(&format!("block {free} --reason r"));
    assert!(show.is_blocked(free) && show.rcode_v6(free) == ResponseCode::NXDomain);
    show.nxdp(&format!("allow {free} --reason r --policy kids"));
    // The policy is that of the IPv4 address only.
    assert!(!show.is_blocked(free) && show.rcode_v6(free) == ResponseCode::NXDomain);
    show.nxdp(&format!("block {free} --reason r --client 10.53.1.2"));
    assert!(show.is_blocked(free));
    show.nxdp(&format!("allow {free} --reason r --client {mac}"));
    assert!(!show.is_blocked(free) && show.rcode_v6(free) == ResponseCode::NoError);
    show.nxdp(&format!("block www.{free} --reason r"));
    assert!(show.is_blocked(&format!("www.{free}")) && !show.is_blocked(&format!("ftp.{free}")));
}

#[test]
fn what_makes_no_sense_is_refused_and_changes_nothing() {
    let show = Show::with_overrides("skb");
    for (line, why) in [
        (
            "allow a.example --reason r --policy nobody",
            "no policy 'nobody'; there are: default, kids",
        ),
        ("allow a.example", "--reason"),
        ("allow . --reason r", "say `--force` if you mean it"),
        ("allow com --reason r", "everything below it would pass"),
        (
            "allow a.example --reason r --policy kids --client 10.0.0.1",
            "cannot be used with",
        ),
        (
            "allow a.example --reason r --client 10.0.0.0/8",
            "a policy is for whole prefixes",
        ),
        ("allow a..example --reason r", "read name 'a..example'"),
        ("allow 192.0.2.1 --reason r", "'192.0.2.1' is an address"),
        ("block 2001:db8::1 --reason r", "write the name"),
        ("allow --reason r", "NAME"),
        (
            "allow a.example --reason r --for soon",
            "read duration 'soon'",
        ),
        ("allow a.example --reason r --until 2020-01-01", "is past"),
        ("pause --policy kids", "--for"),
        ("resume --policy kids", "policy kids is not paused"),
        ("override remove 99", "no override has the number 99"),
    ] {
        let error = show.refused(line);
        assert!(error.contains(why), "{line}: {error}");
    }
    assert_eq!(
        show.nxdp("overrides")["overrides"]
            .as_array()
            .unwrap()
            .len(),
        0
    );
    assert!(!show.journal().exists(), "nothing was ever in force");
}

#[test]
fn what_is_said_for_a_time_ends_on_time_though_the_process_stands_still() {
    let show = Show::with_overrides("native");
    let free = "free.nxdp-show.example";
    show.nxdp(&format!("block {free} --reason for-ever"));
    let said = Instant::now();
    show.nxdp(&format!("allow {BLOCKED} {free} --reason r --for 3s"));
    show.filter().process().signal(Signal::SIGSTOP).unwrap();
    assert!(!show.is_blocked(BLOCKED) && !show.is_blocked(free));
    while said.elapsed() < Duration::from_millis(2900) {
        assert!(!show.is_blocked(BLOCKED) || said.elapsed() >= Duration::from_secs(3));
        thread::sleep(Duration::from_millis(20));
    }
    thread::sleep(Duration::from_secs(4).saturating_sub(said.elapsed()));
    // The list holds again, and what was said for ever.
    assert!(show.is_blocked(BLOCKED) && show.is_blocked(free));
    show.filter().process().signal(Signal::SIGCONT).unwrap();
    let one_left = |status: &Value| status["overrides"]["count"] == 1;
    show.filter().wait_for_status("the end", one_left).unwrap();
    assert!(show.is_blocked(BLOCKED) && show.is_blocked(free));
}

#[test]
fn a_pause_ends_on_time_though_the_process_stands_still() {
    let show = Show::with_overrides("skb");
    let mac = CLIENT_MAC.map(|byte| format!("{byte:02x}")).join(":");
    show.nxdp("block free.nxdp-show.example --reason r");
    let names = [BLOCKED, "other.nxdp-show.example", "free.nxdp-show.example"];
    for clients in [
        "",
        "--policy kids",
        "--client 10.53.1.2",
        &format!("--client {mac}"),
    ] {
        let said = Instant::now();
        show.nxdp(&format!("pause {clients} --for 2s"));
        show.filter().process().signal(Signal::SIGSTOP).unwrap();
        assert!(names.iter().all(|name| !show.is_blocked(name)), "{clients}");
        thread::sleep(Duration::from_millis(2500).saturating_sub(said.elapsed()));
        assert!(names.iter().all(|name| show.is_blocked(name)), "{clients}");
        show.filter().process().signal(Signal::SIGCONT).unwrap();
    }
    // Nobody else is concerned, and an end can be had early.
    show.nxdp("pause --policy kids --for 1h");
    assert!(!show.is_blocked(BLOCKED));
    assert_eq!(show.rcode_v6(BLOCKED), ResponseCode::NXDomain);
    show.nxdp("resume --policy kids");
    assert!(show.is_blocked(BLOCKED));
    assert!(show.filter().counter("pass_paused").unwrap() >= 13);
}

#[test]
fn overrides_and_pauses_survive_reloads_restarts_and_a_table_that_grows() {
    let mut show = Show::with_overrides("skb");
    show.nxdp(&format!("allow {BLOCKED} --policy kids --reason r"));
    show.nxdp("pause --client 10.53.1.9 --for 1h --reason nap");
    let before = show.nxdp("overrides");
    let holds = |show: &Show| {
        assert_eq!(show.nxdp("overrides"), before);
        assert!(!show.is_blocked(BLOCKED) && show.is_blocked("other.nxdp-show.example"));
        assert_eq!(show.rcode_v6(BLOCKED), ResponseCode::NXDomain);
    };
    holds(&show);
    let table = show.filter().status().unwrap()["table_bytes"]
        .as_u64()
        .unwrap();
    let more: String = (0..200_000)
        .map(|i| format!("||n{i}.nxdp-show.example^\n"))
        .collect();
    let config = show.config();
    let text = fs::read_to_string(&config).unwrap();
    fs::write(
        &config,
        format!("{text}[guard]\nmax_growth_percent = 99999999\n"),
    )
    .unwrap();
    fs::write(show.folder.path().join("list.txt"), format!("{LIST}{more}")).unwrap();
    show.filter().process().signal(Signal::SIGHUP).unwrap();
    let grown = |status: &Value| status["table_bytes"].as_u64().unwrap() > table;
    show.filter()
        .wait_for_status("a larger table", grown)
        .unwrap();
    holds(&show);
    for signal in [Signal::SIGTERM, Signal::SIGKILL] {
        show.kill(signal);
        show.begin();
        holds(&show);
    }
}

/// Two lists; the guard says which names one of them must block, and which none may.
const ORDERS: &str = "[[list]]\npath = 'list.txt'\ncategory = 'ads'\n\
    [[list]]\npath = 'orders.txt'\ncategory = 'orders'\n\
    [policy.kids]\nclients = ['10.53.1.0/24']\n\
    [guard]\nmust_block = [{ category = 'orders', file = 'must.txt' }]\nmust_not_block = ['own.txt']\n";

fn with_orders(mode: &str) -> Show {
    let files = [
        ("orders.txt", "||casino.nxdp-show.example^\n"),
        ("must.txt", "casino.nxdp-show.example\n"),
        ("own.txt", "mail.nxdp-show.example\n"),
    ];
    Show::start_with(mode, ORDERS, LIST, &files)
}

#[test]
fn an_override_against_a_guard_must_be_meant() {
    let show = with_orders("skb");
    for (line, file) in [
        ("allow www.casino.nxdp-show.example --reason r", "must.txt"),
        (
            "allow nxdp-show.example --reason r --policy kids --for 1h",
            "must.txt",
        ),
        ("block mail.nxdp-show.example --reason r", "own.txt"),
    ] {
        let error = show.refused(line);
        assert!(
            error.contains("--against-guard") && error.contains(file),
            "{line}: {error}"
        );
    }
    assert!(show.is_blocked("www.casino.nxdp-show.example"));
    show.nxdp("allow www.casino.nxdp-show.example --against-guard --reason appeal");
    assert!(!show.is_blocked("www.casino.nxdp-show.example"));
    let told = show.nxdp("overrides");
    assert_eq!(told["overrides"][0]["against_guard"], true);
    let text = String::from_utf8(show.run("overrides").stdout).unwrap();
    assert!(text.contains("appeal [against a guard]"), "{text}");
}

#[test]
fn a_pause_leaves_in_force_what_must_be_blocked() {
    let show = with_orders("native");
    let (order, mac) = (
        "casino.nxdp-show.example",
        CLIENT_MAC.map(|byte| format!("{byte:02x}")).join(":"),
    );
    show.nxdp("allow free.nxdp-show.example --reason r");
    for whom in [
        "",
        " --policy kids",
        " --client 10.53.1.2",
        &format!(" --client {mac}"),
    ] {
        assert!(show.is_blocked(BLOCKED) && show.is_blocked(order));
        show.nxdp(&format!("pause --for 1h{whom}"));
        assert!(!show.is_blocked(BLOCKED), "pause{whom}");
        assert!(show.is_blocked(order), "pause{whom}");
        let config = show.config();
        let explained = show.run_alone(&format!(
            "explain -c {} {order} {BLOCKED} --client 10.53.1.2 --mac {mac}",
            config.display()
        ));
        let verdicts: Vec<&str> = explained
            .lines()
            .filter(|line| !line.starts_with(' '))
            .collect();
        assert!(
            verdicts[0].starts_with("block ") && verdicts[1].starts_with("none "),
            "{explained}"
        );
        show.nxdp(&format!("resume{whom}"));
    }
    assert!(show.filter().counter("pass_paused").unwrap() >= 4);
}

#[test]
fn what_somebody_wrote_into_a_reason_does_not_act_on_the_terminal() {
    let show = Show::with_overrides("skb");
    show.nxdp("allow free.nxdp-show.example --reason \u{1b}[2J\u{9b}31m\u{202e}x --by a\u{7}b");
    for line in ["overrides", "overrides --json"] {
        let shown = show.run(line).stdout;
        assert!(
            shown.is_ascii() && !shown.contains(&0x1b) && !shown.contains(&7),
            "{shown:?}"
        );
    }
    let told = show.nxdp("overrides");
    assert_eq!(
        told["overrides"][0]["reason"],
        "\u{1b}[2J\u{9b}31m\u{202e}x"
    );
}
