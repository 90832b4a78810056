//! What stands on the screen.

use std::time::Instant;

use ratatui::{Terminal, backend::TestBackend};

use super::*;
use crate::{
    control::Attachment,
    querylog::{LogLine, LostLine, Outcome, QueryLine},
    top::model::{Sample, tests::sample},
};

fn query(client: &str, name: &str) -> LogLine {
    LogLine::Query(Box::new(QueryLine {
        time: "2026-01-02T03:04:05.678Z".to_owned(),
        client: client.parse().unwrap(),
        port: 4000,
        mac: None,
        server: "192.0.2.53".parse().unwrap(),
        protocol: "udp".to_owned(),
        interface: "lan0".to_owned(),
        vlan: None,
        name: name.to_owned(),
        qtype: "A".to_owned(),
        outcome: Outcome::Blocked,
        reason: "answer_nxdomain".to_owned(),
        policy: None,
        list: Some("ads".to_owned()),
        override_id: None,
        generation: 5,
    }))
}

fn filled(mut sample: Sample) -> Sample {
    sample.status.uptime_s = 11_520;
    sample.status.generation = 5;
    sample.status.names = 1_203_344;
    sample.status.interfaces = vec![Attachment {
        interface: "lan0".to_owned(),
        mode: "native".to_owned(),
        state: AttachmentState::Attached,
        ..Attachment::default()
    }];
    sample.stats.log.queries = LogQueries::All;
    sample
}

fn model() -> Model {
    let (start, mut model) = (Instant::now(), Model::default());
    for second in 0..120 {
        // A saw tooth, so that the sparkline has a shape.
        let (queries, blocked) = (second * 12_000 + second % 10 * 700, second * 2_345);
        model.take(Ok(filled(sample(start, second, queries, blocked))));
    }
    model
}

fn words() -> Words {
    let mut words = Words::default();
    for _ in 0..1_234 {
        words.add(&query("192.168.178.21", "telemetry.vendor.example"));
    }
    words.add(&query(
        "2001:db8:1234:5678:9abc:def0:1234:5678",
        &format!("{}.example", "long".repeat(30)),
    ));
    words
}

fn rows(columns: u16, rows: u16, model: &Model, words: &Words) -> Vec<String> {
    let mut terminal = Terminal::new(TestBackend::new(columns, rows)).unwrap();
    terminal.draw(|frame| draw(frame, model, words)).unwrap();
    let buffer = terminal.backend().buffer();
    let cells = buffer.content.chunks(columns.into());
    cells
        .map(|row| row.iter().map(ratatui::buffer::Cell::symbol).collect())
        .collect()
}

fn find<'a>(rows: &'a [String], word: &str) -> &'a str {
    let found = rows.iter().find(|row| row.contains(word));
    found.unwrap_or_else(|| panic!("no {word} in\n{}", rows.join("\n")))
}

#[test]
fn everything_has_its_place_in_eighty_by_twenty_four() {
    let rows = rows(80, 24, &model(), &words());
    let title = "up 3 h 12 min  generation 5  1,203,344 names  lan0 (native)";
    assert!(rows[0].contains(title), "{}", rows[0]);
    assert!(
        rows[1].starts_with("queries 15,045/s  blocked 2,345/s (15.6 %)"),
        "{}",
        rows[1]
    );
    let headings = find(&rows, "queries/s, at most");
    assert!(headings.contains("blocked/s, at most 2,345"));
    let verdict = find(&rows, "pass_no_rule");
    assert!(
        verdict.contains("12,700") && verdict.contains("1,434,300"),
        "{verdict}"
    );
    assert!(find(&rows, "answer_nxdomain").contains("279,055"));
    assert!(find(&rows, "ads ").contains("2,345"));
    let hitters = find(&rows, "telemetry.vendor.example");
    assert!(hitters.contains("192.168.178.21"), "{hitters}");
    assert_eq!(hitters.matches("1,234").count(), 2, "{hitters}");
    assert!(rows[23].starts_with("q quits"));
}

#[test]
fn more_room_shows_more_rows_and_whole_names() {
    let (model, mut words) = (model(), words());
    for number in 0..100 {
        words.add(&query("192.0.2.1", &format!("n{number:03}.example")));
    }
    let count = |rows: &[String]| rows.iter().filter(|row| row.contains(".example")).count();
    let (small, large) = (rows(80, 24, &model, &words), rows(200, 50, &model, &words));
    assert!(
        count(&large) > 2 * count(&small),
        "{} and {}",
        count(&large),
        count(&small)
    );
    let long = format!("{}.example", "long".repeat(30));
    assert!(!small.iter().any(|row| row.contains(&long)));
    let wide = rows(300, 50, &model, &words);
    assert!(wide.iter().any(|row| row.contains(&long)));
    assert!(find(&large, "2001:db8:1234:5678:9abc:def0:1234:5678").contains('1'));
}

#[test]
fn no_size_is_too_small_to_draw() {
    let (model, words) = (model(), words());
    for columns in 1..90 {
        for lines in 1..30 {
            assert_eq!(
                rows(columns, lines, &model, &words).len(),
                usize::from(lines)
            );
        }
    }
}

#[test]
fn who_may_not_read_the_log_is_told_so() {
    let mut words = words();
    words.refused = Some("user 1000 must not ask for this".to_owned());
    let rows = rows(80, 24, &model(), &words);
    find(&rows, "user 1000 must not ask");
    assert!(!rows.iter().any(|row| row.contains("telemetry")));
}

#[test]
fn an_interface_without_the_program_is_told() {
    let mut model = model();
    if let Some(sample) = &mut model.sample {
        sample.status.interfaces[0].state = AttachmentState::Absent;
    }
    find(&rows(80, 24, &model, &words()), "lan0 (not filtered)");
}

#[test]
fn trouble_losses_and_a_log_that_is_off_are_told() {
    let mut model = model();
    let mut words = words();
    words.add(&LogLine::Lost(LostLine {
        lost: 4_711,
        at: "ring".to_owned(),
    }));
    assert!(find(&rows(80, 24, &model, &words), "q quits").contains("4,711 queries not counted"));
    if let Some(sample) = &mut model.sample {
        sample.stats.log.queries = LogQueries::Off;
    }
    words.refused = Some("user 1000 must not ask for this".to_owned());
    let off = rows(80, 24, &model, &words);
    find(&off, "--log blocked");
    assert!(!off.iter().any(|row| row.contains("telemetry")));
    model.take(Err("connect to 'x': no nxdp is running there".to_owned()));
    find(&rows(80, 24, &model, &words), "no nxdp is running there");
}

#[test]
fn numbers_are_written_for_people() {
    assert_eq!(thousands(0), "0");
    assert_eq!(thousands(999), "999");
    assert_eq!(thousands(1_000), "1,000");
    assert_eq!(thousands(999_999_999), "999,999,999");
    assert_eq!(thousands(1_234_567_890), "1,234 M");
    assert_eq!(shortened("2001:db8::1234:5678", 11), "2001:…:5678");
    assert_eq!(shortened("short", 5), "short");
    assert_eq!(
        (shortened("short", 1), shortened("short", 0)),
        ("…".into(), "…".into())
    );
    assert_eq!((rate(0.25).as_str(), rate(12.6).as_str()), ("0.2", "13"));
    assert_eq!(span(59), "59 s");
    assert_eq!(span(3_600), "1 h 0 min");
    assert_eq!(span(200_000), "2 d 7 h");
}
