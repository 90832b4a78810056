//! unbound, which validates, forwards to resolvers behind the built filter.
//!
//! What its clients hear goes into two tables of `docs/clients.md`.

use std::fmt::Write as _;

use nxdp_lab::{
    clients::{
        bench::{Bench, FREE, KINDS, Question, RESOLVED, servers, told},
        forwarder::{self, Forwarding, Heard, Unbound},
        page,
        signed::{ADDRESS, NAMES, SERVER, SIGNED, SignedZone},
        wire::{Sent, Traffic, Wire},
    },
    query::Transport,
};

/// The head of the tables; none, and a line that says so, if unbound is not here.
fn title() -> Option<String> {
    match Unbound::version() {
        Ok(version) => Some(format!("unbound {version}")),
        Err(error) => {
            println!("skipped: unbound is not here: {error:#}");
            None
        }
    }
}

/// One name, asked through the forwarder.
struct Row {
    heard: Heard,
    traffic: Traffic,
    /// What was sent, in words.
    sent: String,
}

fn row(bench: &Bench, name: &str, more: &[&str], is_vague: bool) -> Row {
    let wire = Wire::watch(bench.lab()).unwrap();
    let mut heard = forwarder::ask(bench.lab(), name, more).unwrap();
    heard.says = told(name, heard.says);
    let traffic = wire.finish().unwrap();
    let sent = Sent {
        traffic: &traffic.of(name),
        second: None,
        is_vague,
    };
    Row {
        heard,
        sent: sent.to_string(),
        traffic,
    }
}

/// Every kind through a forwarder of its own.
fn rows(bench: &Bench, family: usize, transport: Transport) -> Vec<(&'static str, Row)> {
    let servers = servers(family).map(|server| server.to_string());
    let forwarding = Forwarding {
        zones: &[(".", &servers)],
        transport,
        anchor: None,
    };
    let folder = bench.folder().join(format!("{family}-{transport:?}"));
    let _forwarder = forwarding.start(bench.lab().client(), &folder).unwrap();
    let row = |kind| {
        let question = Question {
            family,
            transport,
            kind,
        };
        let is_vague = ["refused", "drop"].contains(&kind);
        (kind, row(bench, &question.name(), &[], is_vague))
    };
    // A query that is dropped holds up the others of its connection: nothing comes behind it.
    let [final_kinds @ .., drop] = KINDS;
    final_kinds
        .into_iter()
        .chain([FREE, drop])
        .map(row)
        .collect()
}

#[test]
fn a_forwarder_asks_once_and_hands_final_answers_on() {
    let Some(title) = title() else { return };
    let bench = Bench::start(&[]).unwrap();
    let mut table = "| answer | its client hears | it sends | with `tcp-upstream` | and sends |\n\
                     |---|---|---|---|---|\n"
        .to_owned();
    let [udp, tcp] = [Transport::Udp, Transport::Tcp].map(|transport| {
        let [v4, v6] = [0, 1].map(|family| rows(&bench, family, transport));
        for ((kind, v4), (_, v6)) in v4.iter().zip(&v6) {
            check_unsigned(kind, v4, transport);
            assert_eq!((&v4.heard, &v4.sent), (&v6.heard, &v6.sent), "{kind}");
        }
        v4
    });
    for ((kind, udp), (_, tcp)) in udp.iter().zip(&tcp) {
        let (says, says_tcp) = (&udp.heard.says, &tcp.heard.says);
        let (sent, sent_tcp) = (&udp.sent, &tcp.sent);
        writeln!(
            table,
            "| {kind} | {says} | {sent} | {says_tcp} | {sent_tcp} |"
        )
        .unwrap();
    }
    page::check("unbound", &title, &table).unwrap();
}

fn check_unsigned(kind: &str, row: &Row, transport: Transport) {
    let sent = if transport == Transport::Tcp {
        "TCP A"
    } else {
        "A"
    };
    let (says, sent) = match kind {
        "nxdomain" => ("NXDOMAIN", sent),
        "nodata" => ("NOERROR", sent),
        "null" => ("0.0.0.0", sent),
        "truncate" if transport == Transport::Udp => (RESOLVED, "A; TCP A"),
        "truncate" | FREE => (RESOLVED, sent),
        "refused" => ("SERVFAIL", row.sent.as_str()),
        _ => ("no server reached", row.sent.as_str()),
    };
    assert_eq!(
        (row.heard.says.as_str(), row.sent.as_str()),
        (says, sent),
        "{kind}"
    );
}

/// Blocks in the signed zone, each kind by its name, and in the unsigned zones below it.
fn signed_lists() -> Vec<(String, &'static str, String)> {
    let of_kind = |kind: &&'static str| {
        let rule = format!("||{kind}.{SIGNED}^\n");
        (format!("signed-{kind}"), *kind, rule)
    };
    let zones = format!("||whole.{SIGNED}^\n||ads.part.{SIGNED}^\n");
    let blocked = NAMES.iter().filter(|name| **name != FREE);
    blocked
        .map(of_kind)
        .chain([("unsigned".into(), "nxdomain", zones)])
        .collect()
}

#[test]
fn a_validating_forwarder_takes_no_answer_in_place_of_a_signed_one() {
    let Some(title) = title() else { return };
    let lists = signed_lists();
    let lists: Vec<_> = lists
        .iter()
        .map(|(name, answer, text)| (name.as_str(), *answer, text.as_str()))
        .collect();
    let bench = Bench::start(&lists).unwrap();
    let zone = match SignedZone::start(bench.lab(), bench.folder()) {
        Ok(zone) => zone,
        Err(error) => return println!("skipped: no signed zone: {error:#}"),
    };
    let server = [SERVER.to_owned()];
    let forwarding = Forwarding {
        zones: &[(SIGNED, &server)],
        transport: Transport::Udp,
        anchor: Some(zone.anchor()),
    };
    let folder = bench.folder().join("validating");
    let _forwarder = forwarding.start(bench.lab().client(), &folder).unwrap();
    let mut table =
        "| name | answer | its client hears | with CD=1 |\n|---|---|---|---|\n".to_owned();
    for name in NAMES {
        let heard = hear(&bench, name);
        check_signed(name, &heard);
        let [says, unchecked] = heard.map(|heard| heard.says);
        writeln!(table, "| signed | {name} | {says} | {unchecked} |").unwrap();
    }
    for (name, what, expected) in [
        ("ads.whole", "unsigned, its zone is blocked", "NXDOMAIN"),
        ("ads.part", "unsigned, blocked below its zone", "NXDOMAIN"),
        ("free.part", "unsigned", ADDRESS),
    ] {
        let heard = hear(&bench, name);
        assert!(heard[0].says.starts_with(expected), "{name}: {heard:?}");
        let answer = if expected == ADDRESS {
            FREE
        } else {
            "nxdomain"
        };
        let [says, unchecked] = heard.map(|heard| heard.says);
        writeln!(table, "| {what} | {answer} | {says} | {unchecked} |").unwrap();
    }
    page::check("unbound, signed", &title, &table).unwrap();
}

/// Asks for a name in the signed zone or below it, and for another one without validation.
fn hear(bench: &Bench, name: &str) -> [Heard; 2] {
    let checked = row(bench, &format!("{name}.{SIGNED}."), &[], true);
    // A validator asks for what it cannot believe again, a handful of times: no storm.
    let counts = checked.traffic.counts();
    assert!(counts.values().sum::<usize>() <= 10, "{name}: {counts:?}");
    let unchecked = row(
        bench,
        &format!("unchecked.{name}.{SIGNED}."),
        &["+cdflag"],
        true,
    );
    [checked.heard, unchecked.heard]
}

fn check_signed(kind: &str, [checked, unchecked]: &[Heard; 2]) {
    let (says, says_unchecked) = match kind {
        "nxdomain" => ("SERVFAIL", "NXDOMAIN"),
        "nodata" => ("SERVFAIL", "NOERROR"),
        "null" => ("SERVFAIL", "0.0.0.0"),
        "refused" => ("SERVFAIL", "SERVFAIL"),
        _ => (ADDRESS, ADDRESS),
    };
    assert!(checked.says.starts_with(says), "{kind}: {checked:?}");
    assert_eq!(checked.is_validated, says == ADDRESS, "{kind}: {checked:?}");
    assert_eq!(unchecked.says, says_unchecked, "{kind}");
}
