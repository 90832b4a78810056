//! `nxdp top` in a terminal, beside a filter at work.

use std::process::Command;

use hickory_proto::rr::RecordType;
use nix::sys::signal::Signal;
use nxdp_lab::{
    filter::{self, Filter},
    lab::Lab,
    query::Query,
    responder::Responder,
    terminal::Terminal,
};
use tempfile::TempDir;

/// A filter with one list and the query log on.
struct Show {
    filter: Filter,
    lab: Lab,
    _responder: Responder,
    _folder: TempDir,
}

impl Show {
    fn start(log: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let list = folder.path().join("ads.txt");
        std::fs::write(&list, "||blocked.example^\n").unwrap();
        let lab = Lab::new().unwrap();
        let responder = lab.start_responder().unwrap();
        let arguments = ["--log", log, "--list", list.to_str().unwrap()];
        let filter = Filter::start(&lab, folder.path(), &arguments).unwrap();
        Self {
            filter,
            lab,
            _responder: responder,
            _folder: folder,
        }
    }

    fn top(&self, columns: u16, rows: u16) -> Terminal {
        let top = Terminal::run(self.filter.command(&["top"]), columns, rows).unwrap();
        top.wait_for("the first screen", |rows| rows[0].contains("generation 1"))
            .unwrap();
        top
    }

    fn ask(&self, name: &str) {
        let query = Query::new(name, RecordType::A).unwrap();
        self.lab.ask_v4(&query).unwrap();
    }
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
    let show = Show::start("all");
    let mut top = show.top(80, 24);
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
    let show = Show::start("off");
    show.ask("www.blocked.example");
    let mut top = show.top(200, 50);
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
    let mut show = Show::start("blocked");
    let mut top = show.top(80, 24);
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
    let mut command = Command::new(filter::binary().unwrap());
    command.args(["top", "--socket"]);
    command.arg(folder.path().join("none.sock"));
    let mut top = Terminal::run(command, 80, 24).unwrap();
    assert_eq!(top.wait().unwrap().code(), Some(1));
    top.wait_for("the way out", |rows| has(rows, &["nxdp run"]))
        .unwrap();
    assert!(!top.is_on_alternate_screen());
    let show = Show::start("off");
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
