//! The table of AdGuard rules, from the lines of a list to what a client gets.

use std::{collections::BTreeMap, time::Duration};

use filter_common::reason::{Action, Reason};
use filter_lists::list;
use hickory_proto::{
    op::ResponseCode,
    rr::{RData, Record},
};
use nxdp_lab::{
    cases::Message,
    check::check_frame,
    engines::{HostEngine, compile_texts},
    frame::UdpFrame,
    query::Reply,
};
use serde::Deserialize;

const TABLE: &str = include_str!("adguard.toml");
/// Makes a text an AdGuard list, whatever else is in it.
const HEADER: &str = "[Adblock Plus 2.0]\n";

#[derive(Deserialize)]
struct Table {
    row: Vec<Row>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    what: String,
    /// Rules that must all do the same, each tried alone with `rules`.
    #[serde(default)]
    same: Vec<String>,
    #[serde(default)]
    rules: Vec<String>,
    queries: BTreeMap<String, String>,
}

impl Row {
    /// The sets of rules that the row is about.
    fn variants(&self) -> Vec<Vec<&str>> {
        let rules = self.rules.iter().map(String::as_str);
        match self.same.is_empty() {
            true => vec![rules.collect()],
            false => {
                let same = self.same.iter();
                same.map(|one| rules.clone().chain([one.as_str()]).collect())
                    .collect()
            }
        }
    }
}

/// What a client gets, in the words of the table.
fn outcome(engine: &mut HostEngine, query: &str) -> String {
    let (name, qtype) = query.split_once(' ').unwrap_or((query, "A"));
    let message = Message::new(name).qtype(list::qtype(qtype).unwrap());
    let message = message.bytes();
    let verdict = engine.judge(&UdpFrame::query_v4(40_000, &message).build());
    match (verdict.reason, verdict.reason.action()) {
        (Reason::NoRule, _) => "none".to_owned(),
        (Reason::Allowed, _) => "allow".to_owned(),
        (_, Action::Transmit) => {
            let frame = check_frame(&verdict.frame).unwrap();
            answer(&Reply::read(&message, frame.payload.clone(), Duration::ZERO).unwrap())
        }
        (reason, _) => reason.name().to_owned(),
    }
}

fn answer(reply: &Reply) -> String {
    let address = |record: &Record| match &record.data {
        RData::A(address) => address.to_string(),
        RData::AAAA(address) => address.to_string(),
        other => format!("{other:?}"),
    };
    match (reply.rcode(), reply.answers()) {
        (ResponseCode::NoError, []) => "nodata".to_owned(),
        (ResponseCode::NoError, records) => {
            records.iter().map(address).collect::<Vec<_>>().join(" ")
        }
        _ => reply.rcode_text().to_lowercase(),
    }
}

/// The answers to all queries of a row that are not as it says.
fn wrong(row: &Row, lists: &[(&str, &str)], how: &str) -> Vec<String> {
    let image = compile_texts(lists).unwrap_or_else(|error| panic!("{}: {error}", row.what));
    let mut engine = HostEngine::new(&image);
    let found = row.queries.iter().map(|(query, expected)| {
        let found = outcome(&mut engine, query);
        (found != *expected)
            .then(|| format!("{}, {how}: {query} is {found}, not {expected}", row.what))
    });
    found.flatten().collect()
}

#[test]
fn every_row_of_the_table_is_what_clients_get_in_any_order_of_lines_and_lists() {
    let table: Table = toml::from_str(TABLE).unwrap();
    assert!(table.row.len() > 30);
    let mut all_wrong = Vec::new();
    for row in &table.row {
        for mut rules in row.variants() {
            for order in ["forwards", "backwards"] {
                let text = format!("{HEADER}{}\n", rules.join("\n"));
                let how = format!("{rules:?} {order}");
                all_wrong.extend(wrong(row, &[("one", &text)], &how));
                let texts: Vec<String> = rules
                    .iter()
                    .map(|rule| format!("{HEADER}{rule}\n"))
                    .collect();
                let lists: Vec<_> = texts.iter().map(|text| ("of one", text.as_str())).collect();
                all_wrong.extend(wrong(row, &lists, &format!("{how}, a list each")));
                rules.reverse();
            }
        }
    }
    assert!(all_wrong.is_empty(), "{}", all_wrong.join("\n"));
}
