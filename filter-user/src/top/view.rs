//! The screen: everything at a glance in 80 by 24, more of everything in more room.

use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    style::{Color, Modifier, Style},
    text::{Line, Span},
    widgets::{
        Block, Borders, Paragraph, RenderDirection, Row as TableRow, Sparkline, Table, Wrap,
    },
};

use super::{
    heavy::HeavyHitters,
    model::{Model, Rates, Row, Words},
};
use crate::{
    config::LogQueries,
    control::{AttachmentState, Status},
};

/// Rows of the sparklines, their headings included.
const SPARK_ROWS: u16 = 4;
/// Columns of a number that is a total.
const TOTAL_COLUMNS: u16 = 11;
/// Columns of a number a second.
const RATE_COLUMNS: u16 = 8;
/// Columns between those of a table.
const GAP: u16 = 1;

const BOLD: Style = Style::new().add_modifier(Modifier::BOLD);
const DIM: Style = Style::new().add_modifier(Modifier::DIM);

/// Draws everything.
pub fn draw(frame: &mut Frame<'_>, model: &Model, words: &Words) {
    let [title, rates, sparks, upper, lower, footer] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(1),
        Constraint::Length(SPARK_ROWS),
        Constraint::Fill(1),
        Constraint::Fill(1),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    frame.render_widget(title_line(model), title);
    frame.render_widget(rates_line(model), rates);
    draw_sparks(frame, sparks, model);
    let [verdicts, lists] = columns(upper);
    draw_rows(frame, verdicts, "verdict", "total", &model.verdicts());
    draw_rows(frame, lists, "list", "blocked", &model.lists());
    draw_words(frame, lower, model, words);
    frame.render_widget(footer_line(model, words), footer);
}

/// Two columns with a gap between them; the left one, for longer words, is wider.
fn columns(area: Rect) -> [Rect; 2] {
    Layout::horizontal([Constraint::Fill(5), Constraint::Fill(4)])
        .spacing(2)
        .areas(area)
}

fn title_line(model: &Model) -> Line<'static> {
    let mut spans = vec![Span::styled(
        concat!("nxdp ", env!("CARGO_PKG_VERSION")),
        BOLD,
    )];
    let Some(sample) = &model.sample else {
        spans.push(Span::raw("  waiting for the first answer"));
        return Line::from(spans);
    };
    let status = &sample.status;
    spans.push(Span::raw(format!(
        "  up {}  generation {}  {} names  {}",
        span(status.uptime_s),
        status.generation,
        thousands(status.names.into()),
        interfaces(status)
    )));
    Line::from(spans)
}

fn interfaces(status: &Status) -> String {
    let names = status.interfaces.iter();
    let names = names.map(|attachment| match attachment.state {
        AttachmentState::Attached => format!("{} ({})", attachment.interface, attachment.mode),
        _ => format!("{} (not filtered)", attachment.interface),
    });
    names.collect::<Vec<_>>().join(" ")
}

fn rates_line(model: &Model) -> Line<'static> {
    let Rates {
        queries,
        blocked,
        others,
    } = model.rates();
    let share = if queries > 0.0 {
        100.0 * blocked / queries
    } else {
        0.0
    };
    Line::from(vec![
        Span::raw("queries "),
        Span::styled(format!("{}/s", rate(queries)), BOLD),
        Span::raw("  blocked "),
        Span::styled(
            format!("{}/s ({share:.1} %)", rate(blocked)),
            BOLD.fg(Color::Red),
        ),
        Span::raw(format!("  other packets {}/s", rate(others))),
    ])
}

fn draw_sparks(frame: &mut Frame<'_>, area: Rect, model: &Model) {
    let [left, right] = columns(area);
    let queries = |rates: &Rates| rates.queries;
    let blocked = |rates: &Rates| rates.blocked;
    draw_spark(frame, left, model, "queries/s", Color::Blue, queries);
    draw_spark(frame, right, model, "blocked/s", Color::Red, blocked);
}

fn draw_spark(
    frame: &mut Frame<'_>,
    area: Rect,
    model: &Model,
    what: &str,
    color: Color,
    of: fn(&Rates) -> f64,
) {
    // Newest first: it stands on the right, also while there are few.
    let shown = model.history.iter().rev().take(area.width.into());
    let values: Vec<u64> = shown.map(|rates| of(rates).round() as u64).collect();
    let most = values.iter().copied().max().unwrap_or(0);
    let heading = format!("{what}, at most {}", thousands(most));
    let spark = Sparkline::default()
        .block(panel(heading))
        .style(Style::new().fg(color))
        .direction(RenderDirection::RightToLeft)
        .max(most.max(1))
        .data(values);
    frame.render_widget(spark, area);
}

/// A part of the screen below its heading.
fn panel(heading: String) -> Block<'static> {
    Block::new()
        .borders(Borders::TOP)
        .border_style(DIM)
        .title(Span::styled(heading, BOLD.not_dim()))
}

fn draw_rows(frame: &mut Frame<'_>, area: Rect, what: &str, total: &str, rows: &[Row]) {
    let room = area
        .width
        .saturating_sub(RATE_COLUMNS + TOTAL_COLUMNS + 2 * GAP);
    let cells = rows.iter().map(|row| {
        TableRow::new([
            shortened(&row.what, room),
            right(&rate(row.per_s), RATE_COLUMNS),
            right(&thousands(row.total), TOTAL_COLUMNS),
        ])
    });
    let heading = [
        String::new(),
        right("/s", RATE_COLUMNS),
        right(total, TOTAL_COLUMNS),
    ];
    let widths = [
        Constraint::Length(room),
        Constraint::Length(RATE_COLUMNS),
        Constraint::Length(TOTAL_COLUMNS),
    ];
    let table = Table::new(cells, widths)
        .column_spacing(GAP)
        .header(TableRow::new(heading).style(DIM))
        .block(panel(what.to_owned()));
    frame.render_widget(table, area);
}

/// Says why there are no names.
fn draw_hint(frame: &mut Frame<'_>, area: Rect, hint: &str) {
    let hint = Paragraph::new(hint)
        .wrap(Wrap { trim: true })
        .block(panel("names and clients".to_owned()));
    frame.render_widget(hint, area);
}

fn draw_words(frame: &mut Frame<'_>, area: Rect, model: &Model, words: &Words) {
    let queries = model.sample.as_ref().map(|sample| sample.stats.log.queries);
    match queries {
        None => {}
        Some(LogQueries::Off) => {
            let hint = "The query log is off, so names and clients are not known. Start nxdp with\n\
                        `--log blocked`, or write queries = \"blocked\" below [log].";
            draw_hint(frame, area, hint);
        }
        Some(_) if words.refused.is_some() => {
            draw_hint(frame, area, words.refused.as_deref().unwrap_or_default());
        }
        Some(queries) => {
            let [names, clients] = columns(area);
            draw_hitters(frame, names, "blocked name", &words.names);
            let whose = match queries {
                LogQueries::All => "client, queries",
                _ => "client, blocked queries",
            };
            draw_hitters(frame, clients, whose, &words.clients);
        }
    }
}

fn draw_hitters(frame: &mut Frame<'_>, area: Rect, what: &str, hitters: &HeavyHitters) {
    let room = area.width.saturating_sub(TOTAL_COLUMNS + GAP);
    let least = if hitters.is_exact() { "" } else { ">" };
    let top = hitters.top(area.height.into());
    let rows = top.into_iter().map(|(word, count)| {
        let count = format!("{least}{}", thousands(count));
        TableRow::new([shortened(word, room), right(&count, TOTAL_COLUMNS)])
    });
    let widths = [Constraint::Length(room), Constraint::Length(TOTAL_COLUMNS)];
    let table = Table::new(rows, widths)
        .column_spacing(GAP)
        .block(panel(what.to_owned()));
    frame.render_widget(table, area);
}

fn footer_line(model: &Model, words: &Words) -> Line<'static> {
    if let Some(trouble) = &model.trouble {
        return Line::styled(trouble.clone(), BOLD.fg(Color::Red));
    }
    let mut spans = vec![Span::raw(
        "q quits  c clears names and clients  space pauses",
    )];
    if model.is_paused {
        spans.push(Span::styled("  PAUSED", BOLD));
    }
    let failed = |sample: &super::Sample| sample.status.last_error.is_some();
    if model.sample.as_ref().is_some_and(failed) {
        let hint = "  last reload failed, see `nxdp status`";
        spans.push(Span::styled(hint, BOLD.fg(Color::Red)));
    }
    if words.lost > 0 {
        let lost = format!("  {} queries not counted", thousands(words.lost));
        spans.push(Span::styled(lost, BOLD.fg(Color::Yellow)));
    }
    Line::from(spans)
}

/// A text of this many columns at most, without its middle: of names and addresses both ends tell most.
fn shortened(text: &str, columns: u16) -> String {
    let (len, room) = (text.chars().count(), usize::from(columns));
    if len <= room {
        return text.to_owned();
    }
    let kept = room.saturating_sub(1);
    let start = text.chars().take(kept / 2);
    let end = text.chars().skip(len - (kept - kept / 2));
    start.chain(['…']).chain(end).collect()
}

fn right(text: &str, columns: u16) -> String {
    format!("{text:>0$}", columns.into())
}

/// A rate with one digit behind the point where it matters.
fn rate(per_s: f64) -> String {
    if per_s > 0.0 && per_s < 10.0 {
        format!("{per_s:.1}")
    } else {
        thousands(per_s.round() as u64)
    }
}

/// A number in groups of three digits; one that is too long for its column in millions.
fn thousands(number: u64) -> String {
    if number >= 1_000_000_000 {
        return format!("{} M", thousands(number / 1_000_000));
    }
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Seconds in the two largest units.
fn span(seconds: u64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    if days > 0 {
        format!("{days} d {} h", hours % 24)
    } else if hours > 0 {
        format!("{hours} h {} min", minutes % 60)
    } else if minutes > 0 {
        format!("{minutes} min {} s", seconds % 60)
    } else {
        format!("{seconds} s")
    }
}

#[cfg(test)]
mod tests {
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
        assert!(
            find(&rows(80, 24, &model, &words), "q quits").contains("4,711 queries not counted")
        );
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
}
