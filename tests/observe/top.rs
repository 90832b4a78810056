//! `nxdp top` in a terminal, beside a filter at work.

use std::process::Command;

use nix::sys::signal::Signal;
use nxdp_lab::{filter::binary, running::Running, terminal::Terminal};

/// A filter with one list, and the query log as is said.
fn filter(log: &str) -> Running {
    let arguments = ["--log", log, "--list", "ads.txt"];
    Running::start(&[("ads.txt", "||blocked.example^\n")], &arguments)
}

fn top_of(show: &Running, columns: u16, rows: u16) -> Terminal {
    let top = Terminal::run(show.filter.command(&["top"]), columns, rows).unwrap();
    top.wait_for("the first screen", |rows| rows[0].contains("generation 1"))
        .unwrap();
    top
}

fn has(rows: &[String], words: &[&str]) -> bool {
    rows.iter()
        .any(|row| words.iter().all(|word| row.contains(word)))
}

/// The terminal is as a shell wants it.
fn assert_given_back(top: &Terminal) {
    assert!(!top.is_raw().unwrap(), "the terminal is still raw");
    top.wait_for("the screen before", |_| !top.is_on_alternate_screen())
        .unwrap();
    assert!(!top.is_cursor_hidden(), "the cursor is still hidden");
}

#[test]
fn it_shows_verdicts_lists_names_and_clients_in_eighty_by_twenty_four() {
    let show = filter("all");
    let mut top = top_of(&show, 80, 24);
    assert!(top.is_raw().unwrap() && top.is_on_alternate_screen());
    for _ in 0..3 {
        show.ask("www.blocked.example");
    }
    show.ask("clean.example");
    let rows = top
        .wait_for("everything that was asked", |rows| {
            has(rows, &["answer_nxdomain", "3"])
                && has(rows, &["ads", "3"])
                && has(rows, &["www.blocked.example", "3"])
                && has(rows, &["10.53.1.2", "4"])
        })
        .unwrap();
    assert_eq!(rows.len(), 24);
    assert!(has(&rows, &["lan0 (native)", "1 names"]), "{rows:#?}");
    assert!(has(&rows[23..], &["q quits"]), "{rows:#?}");
    assert!(!has(&rows, &["clean.example"]), "it was not blocked");
    // `c` counts anew; the filter's own counters go on.
    top.write("c").unwrap();
    top.wait_for("names gone", |rows| {
        !has(rows, &["www.blocked.example"]) && has(rows, &["answer_nxdomain", "3"])
    })
    .unwrap();
    top.write("q").unwrap();
    assert!(top.wait().unwrap().success());
    assert_given_back(&top);
}

#[test]
fn without_the_query_log_it_says_how_to_turn_it_on() {
    let show = filter("off");
    show.ask("www.blocked.example");
    let mut top = top_of(&show, 200, 50);
    let rows = top
        .wait_for("the hint", |rows| has(rows, &["--log blocked"]))
        .unwrap();
    assert!(!has(&rows, &["www.blocked.example"]), "{rows:#?}");
    // Ctrl-C is a key in raw mode.
    top.write("\x03").unwrap();
    assert!(top.wait().unwrap().success());
    assert_given_back(&top);
}

#[test]
fn it_tells_when_the_filter_ends_and_a_signal_gives_the_terminal_back() {
    let mut show = filter("blocked");
    let mut top = top_of(&show, 80, 24);
    let end = show.filter.process_mut();
    end.end(Signal::SIGTERM, std::time::Duration::from_secs(10))
        .unwrap();
    top.wait_for("that nothing answers", |rows| {
        has(rows, &["no nxdp is running there"])
    })
    .unwrap();
    top.signal(Signal::SIGTERM).unwrap();
    assert!(top.wait().unwrap().success());
    assert_given_back(&top);
}

#[test]
fn in_a_pipe_and_without_a_filter_it_fails_before_it_touches_the_terminal() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(binary().unwrap());
    command.args(["top", "--socket"]);
    command.arg(folder.path().join("none.sock"));
    let mut top = Terminal::run(command, 80, 24).unwrap();
    assert_eq!(top.wait().unwrap().code(), Some(1));
    top.wait_for("the way out", |rows| has(rows, &["nxdp run"]))
        .unwrap();
    assert!(!top.is_on_alternate_screen());
    let show = filter("off");
    let piped = show.filter.command(&["top"]).output().unwrap();
    assert_eq!(piped.status.code(), Some(1));
    assert!(piped.stdout.is_empty());
    let told = String::from_utf8(piped.stderr).unwrap();
    assert!(told.contains("needs a terminal"), "{told}");
}

/// Run by the test below, in a terminal of its own.
#[test]
#[ignore = "it panics on purpose; the test below runs it"]
fn takes_the_terminal_and_panics() {
    let _screen = filter_user::top::Screen::open().unwrap();
    panic!("on purpose");
}

#[test]
fn a_panic_gives_the_terminal_back_before_it_is_told() {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--ignored", "--exact", "top::takes_the_terminal_and_panics"]);
    // The message alone fits on the screen.
    command.arg("--nocapture").env("RUST_BACKTRACE", "0");
    let mut terminal = Terminal::run(command, 80, 24).unwrap();
    assert!(!terminal.wait().unwrap().success());
    assert_given_back(&terminal);
    terminal
        .wait_for("the message", |rows| has(rows, &["on purpose"]))
        .unwrap();
}
