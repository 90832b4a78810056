//! Real clients ask the built filter for names that it answers in each of its ways.
//!
//! Each test is one client. What it says and sends goes into its table of
//! `docs/clients.md`; what is promised of an answer is asserted here as well.

use std::fmt::Write as _;

use nxdp_lab::{
    clients::{
        bench::{Bench, FREE, KINDS, Lookup, Question, RESOLVED, second_server},
        page,
        program::Client,
        wire::{Sent, SentQuery},
    },
    query::Transport,
};

/// Answers that end a look-up: nobody else is asked, and nothing is asked twice.
const FINAL: [&str; 4] = ["nxdomain", "nodata", "null", FREE];

const TRANSPORTS: [Transport; 2] = [Transport::Udp, Transport::Tcp];

/// One answer, seen by one client over UDP and over TCP.
struct Row {
    kind: &'static str,
    /// Of each transport, over IPv4 and over IPv6.
    lookups: [[Lookup; 2]; 2],
}

/// Asks everything; `None` if the client is not here.
fn rows(client: Client) -> Option<Vec<Row>> {
    if let Err(error) = client.version() {
        println!("skipped: {} is not here: {error:#}", client.name());
        return None;
    }
    let bench = Bench::start(&[]).unwrap();
    let row = |kind| Row {
        kind,
        lookups: TRANSPORTS.map(|transport| {
            [0, 1].map(|family| {
                let question = Question {
                    family,
                    transport,
                    kind,
                };
                bench.look_up(client, question).unwrap()
            })
        }),
    };
    Some(KINDS.into_iter().chain([FREE]).map(row).collect())
}

/// Holds what a client says to NXDOMAIN, to no data and to the null address against its words.
fn check(client: Client, words: [&str; 3]) {
    let Some(rows) = rows(client) else { return };
    for row in &rows {
        for (lookups, transport) in row.lookups.iter().zip(TRANSPORTS) {
            for (family, lookup) in lookups.iter().enumerate() {
                check_lookup(row.kind, transport, family, lookup, words);
            }
        }
    }
    check_page(client, &rows);
}

fn check_lookup(
    kind: &str,
    transport: Transport,
    family: usize,
    lookup: &Lookup,
    [nxdomain, nodata, null]: [&str; 3],
) {
    let context = format!("{kind} over {transport:?}, family {family}: {lookup:?}");
    let says = match kind {
        "nxdomain" => Some(nxdomain),
        "nodata" => Some(nodata),
        "null" => Some(null),
        "truncate" | FREE => Some(RESOLVED),
        _ => None,
    };
    match says {
        Some(says) => assert_eq!(lookup.says, says, "{context}"),
        None => assert_ne!(lookup.says, RESOLVED, "{context}"),
    }
    let is_resolved = |says: &String| says == RESOLVED;
    assert!(
        lookup.says_free.as_ref().is_none_or(is_resolved),
        "{context}"
    );
    if says.is_some() {
        let counts = lookup.traffic.counts();
        assert!(counts.values().all(|count| *count == 1), "{context}");
        let asks_second = |query: &SentQuery| query.server == second_server(family);
        assert!(!lookup.traffic.queries.iter().any(asks_second), "{context}");
        assert_eq!(lookup.traffic.resets, 0, "{context}");
    }
    if FINAL.contains(&kind) {
        let as_asked = |query: &SentQuery| query.transport == transport;
        assert!(lookup.traffic.queries.iter().all(as_asked), "{context}");
    }
}

fn check_page(client: Client, rows: &[Row]) {
    let mut table =
        "| answer | client says | it sends | over TCP it says | and sends |\n|---|---|---|---|---|\n"
            .to_owned();
    for row in rows {
        let cells = row
            .lookups
            .each_ref()
            .map(|lookups| cells(row.kind, lookups));
        let [[says, sent], [says_tcp, sent_tcp]] = cells;
        let kind = row.kind;
        writeln!(
            table,
            "| {kind} | {says} | {sent} | {says_tcp} | {sent_tcp} |"
        )
        .unwrap();
    }
    let title = format!("{} {}", client.name(), client.version().unwrap());
    page::check(client.name(), &title, &table).unwrap();
}

/// What the client says and sends; once if it is the same over IPv4 and over IPv6.
fn cells(kind: &str, lookups: &[Lookup; 2]) -> [String; 2] {
    let says = lookups.each_ref().map(|lookup| lookup.says.clone());
    let sent = [0, 1].map(|family| {
        let sent = Sent {
            traffic: &lookups[family].traffic,
            second: Some(second_server(family)),
            is_vague: kind == "drop",
        };
        sent.to_string()
    });
    [same(says), same(sent)]
}

fn same([v4, v6]: [String; 2]) -> String {
    if v4 == v6 {
        v4
    } else {
        format!("IPv4: {v4}; IPv6: {v6}")
    }
}

#[test]
fn dig_takes_final_answers_as_final() {
    let [nxdomain, nodata] =
        ["NXDOMAIN", "NOERROR"].map(|code| format!("{code}, EDE 15 (Blocked)"));
    check(Client::Dig, [&nxdomain, &nodata, "0.0.0.0"]);
}

#[test]
fn getaddrinfo_of_glibc_takes_final_answers_as_final() {
    check(Client::Glibc, ["EAI_NONAME", "EAI_NODATA", "0.0.0.0 ::"]);
}

#[test]
fn cares_takes_final_answers_as_final() {
    check(
        Client::Cares,
        ["ARES_ENOTFOUND", "ARES_ENODATA", "0.0.0.0 ::"],
    );
}

#[test]
fn dnspython_takes_final_answers_as_final() {
    check(Client::Dnspython, ["NXDOMAIN", "NoAnswer", "0.0.0.0 ::"]);
}
