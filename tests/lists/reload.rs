//! Lists change under load: nothing is lost, and nobody sees half a list.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    net::SocketAddr,
    process::Command,
    sync::atomic::{AtomicBool, AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

use hickory_proto::{
    op::ResponseCode,
    rr::{RData, RecordType},
};
use nix::sys::signal::Signal;
use nxdp_lab::{
    filter::Filter,
    lab,
    process::{Process, Stream},
    query::{Query, Reply},
    running::Running,
};

const SOON: Duration = Duration::from_secs(10);
const PATIENCE: Duration = Duration::from_secs(60);
/// Queries that dnsperf sends a second.
const LOAD_PER_S: u32 = 20_000;
/// How long dnsperf runs at most; it is ended before, when all swaps are done.
const LOAD_MAX_S: u32 = 40;
/// How long it runs at least.
const LOAD_MIN: Duration = Duration::from_secs(4);
const SWAPS: u32 = 12;

/// Two names of which each list says which list it is.
const MARKERS: [&str; 2] = [
    "first.marker.nxdp-show.example",
    "second.marker.other.example",
];

const LIST: &str = "changing.txt";

/// A filter with one list, which grows and shrinks as the guard would not have it.
fn filter(mode: &str, text: &str) -> Running {
    let guard = "[guard]\nmax_growth_percent = 100000\nmax_shrink_percent = 100\n";
    let files = [(LIST, text), ("nxdp.toml", guard)];
    let arguments = ["--mode", mode, "--config", "nxdp.toml", "--list", LIST];
    Running::start_warm(&files, &arguments)
}

/// dnsperf with queries of which three of four are blocked, until it is interrupted.
fn load(show: &Running, names: &[String]) -> Process {
    let queries = show.folder.path().join("queries.txt");
    let lines: Vec<String> = names.iter().map(|name| format!("{name} A")).collect();
    fs::write(&queries, lines.join("\n") + "\n").unwrap();
    let mut command = Command::new("dnsperf");
    command
        .args(["-s", "10.53.2.53", "-e", "-W", "-d"])
        .arg(&queries)
        .args(["-Q", &LOAD_PER_S.to_string(), "-l", &LOAD_MAX_S.to_string()]);
    show.lab.client().spawn(command).unwrap()
}

/// A list in which both markers, the first and the last rule, have an address that tells the serial.
fn list_of(serial: u32, names: u32) -> String {
    let [first, last] = MARKERS;
    let address = format!("$dnsrewrite=10.99.{}.{}", serial / 256, serial % 256);
    let mut text = format!("||{first}^{address}\n");
    for number in 0..names {
        // Half of the names come and go; the other half stays and is asked for.
        let of = if number % 2 == 0 { 0 } else { serial };
        writeln!(text, "||n{number}.list{of}.nxdp-show.example^").unwrap();
    }
    writeln!(text, "||{last}^{address}").unwrap();
    text
}

/// Names that every list has, and every fourth one that none has.
fn asked_names(names: u32) -> Vec<String> {
    (0..4000)
        .map(|number| match number % 4 {
            0 => format!("clean{number}.nxdp-show.example"),
            _ => format!("www.n{}.list0.nxdp-show.example", number % (names / 2) * 2),
        })
        .collect()
}

/// The serial that a marker's answer tells; zero when nothing was blocked.
fn serial(reply: &Reply) -> u32 {
    match reply.answers() {
        [record] => match record.data {
            RData::A(address) if address.octets()[..2] == [10, 99] => {
                let [_, _, high, low] = address.octets();
                u32::from(u16::from_be_bytes([high, low]))
            }
            _ => 0,
        },
        other => panic!("one address, not {other:?}"),
    }
}

/// Asks for the markers over and over, in both orders, and checks that serials only grow:
/// with half a list in force, one of the orders would see a serial older than the one before.
struct Poll {
    stop: AtomicBool,
    newest: AtomicU32,
}

impl Poll {
    fn run(&self, server: SocketAddr) -> u64 {
        let ask = |marker: &str| {
            let query = Query::new(marker, RecordType::A).unwrap().timeout(SOON);
            serial(&query.ask(server).unwrap())
        };
        let (mut newest, mut questions) = (0, 0);
        let [first, second] = MARKERS;
        while !self.stop.load(Ordering::Relaxed) {
            for marker in [first, second, first, first, second, second] {
                let seen = ask(marker);
                assert!(
                    seen >= newest,
                    "{marker} is of list {seen}, but list {newest} was in force before"
                );
                newest = seen;
                questions += 1;
            }
            self.newest.store(newest, Ordering::Relaxed);
        }
        questions
    }

    fn wait_for(&self, serial: u32, filter: &Filter) {
        let end = Instant::now() + PATIENCE;
        while self.newest.load(Ordering::Relaxed) < serial {
            assert!(
                Instant::now() < end,
                "list {serial} is not in force:\n{}",
                filter.process().text(Stream::Err)
            );
            thread::sleep(Duration::from_millis(2));
        }
    }
}

/// Does `work` while dnsperf and two pollers ask; checks all that they saw.
fn under_load(show: &Running, names: u32, work: impl FnOnce(&Poll)) -> BTreeMap<String, u64> {
    let poll = Poll {
        stop: AtomicBool::new(false),
        newest: AtomicU32::new(0),
    };
    let mut load = load(show, &asked_names(names));
    let start = Instant::now();
    let questions = thread::scope(|scope| {
        let pollers = [lab::DNS_V4, lab::DNS_V6].map(|server| {
            let poll = &poll;
            scope.spawn(move || show.lab.client().run(|| poll.run(server)).unwrap())
        });
        // A panic in here must end the pollers, or the scope would wait for ever.
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| work(&poll)));
        thread::sleep(LOAD_MIN.saturating_sub(start.elapsed()));
        poll.stop.store(true, Ordering::Relaxed);
        let questions: u64 = pollers.map(|poller| poller.join().unwrap()).iter().sum();
        done.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        questions
    });
    assert!(
        load.wait(Duration::ZERO).unwrap().is_none(),
        "the load ended early"
    );
    assert!(load.end(Signal::SIGINT, SOON).unwrap().success());
    let mut seen = dnsperf_figures(&load.text(Stream::Out));
    seen.insert("markers".to_owned(), questions);
    seen
}

/// dnsperf's statistics: `Queries sent` and the like, and the answers by response code.
fn dnsperf_figures(text: &str) -> BTreeMap<String, u64> {
    let mut figures = BTreeMap::new();
    let mut add = |name: &str, value: &str| {
        let number = value
            .split_whitespace()
            .next()
            .and_then(|word| word.parse().ok());
        figures.extend(number.map(|number: u64| (name.trim().to_owned(), number)));
    };
    for line in text.lines() {
        let Some((name, value)) = line.split_once(':') else {
            continue;
        };
        if name.trim() == "Response codes" {
            for code in value.split(',') {
                if let Some((code, count)) = code.trim().split_once(' ') {
                    add(code, count);
                }
            }
        } else {
            add(name, value);
        }
    }
    assert!(figures.contains_key("Queries sent"), "{text}");
    figures
}

fn assert_no_query_lost(seen: &BTreeMap<String, u64>) {
    let of = |name: &str| seen.get(name).copied().unwrap_or(0);
    let (sent, completed) = (of("Queries sent"), of("Queries completed"));
    assert!(sent > 20_000, "too little load to tell: {seen:?}");
    assert_eq!(of("Queries lost"), 0, "{seen:?}");
    // Up to 100 were on their way when the load was interrupted.
    assert!(sent - completed <= 100, "{seen:?}");
    assert_eq!(of("NXDOMAIN") + of("NOERROR"), completed, "{seen:?}");
    // A query answered wrongly would shift the share of blocked ones: three of four.
    let blocked = of("NXDOMAIN");
    assert!(blocked.abs_diff(completed / 4 * 3) <= 104, "{seen:?}");
}

fn swaps_lose_nothing_and_show_no_half_list(mode: &str) {
    const NAMES: u32 = 50_000;
    let show = filter(mode, &list_of(1, NAMES));
    let seen = under_load(&show, NAMES, |poll| {
        poll.wait_for(1, &show.filter);
        for serial in 2..2 + SWAPS {
            show.replace(LIST, &list_of(serial, NAMES));
            show.hang_up();
            poll.wait_for(serial, &show.filter);
        }
    });
    assert_no_query_lost(&seen);
    assert!(seen["markers"] > 1000, "{seen:?}");
    let generation = show.filter.status().unwrap()["generation"]
        .as_u64()
        .unwrap();
    assert!(generation > u64::from(SWAPS), "{generation}");
    assert_eq!(
        show.rcode("n1.list1.nxdp-show.example"),
        ResponseCode::NoError
    );
}

#[test]
fn swaps_under_load_lose_nothing_and_show_no_half_list_in_native_mode() {
    swaps_lose_nothing_and_show_no_half_list("native");
}

#[test]
fn swaps_under_load_lose_nothing_and_show_no_half_list_in_generic_mode() {
    swaps_lose_nothing_and_show_no_half_list("skb");
}

fn a_list_that_grows_fiftyfold_loses_nothing(mode: &str) {
    const FEW: u32 = 4_000;
    const MANY: u32 = 50 * FEW;
    let show = filter(mode, &list_of(1, FEW));
    let before = show.filter.status().unwrap();
    let counters_before = show.filter.counters().unwrap();
    let seen = under_load(&show, FEW, |poll| {
        poll.wait_for(1, &show.filter);
        show.replace(LIST, &list_of(2, MANY));
        show.hang_up();
        // Counters of one program follow those of the other without a step back.
        let (mut last, end) = (0, Instant::now() + PATIENCE);
        while poll.newest.load(Ordering::Relaxed) < 2 && Instant::now() < end {
            let answered = show.filter.counter("answer_nxdomain").unwrap();
            assert!(answered >= last, "{answered} after {last}");
            last = answered;
        }
        poll.wait_for(2, &show.filter);
    });
    assert_no_query_lost(&seen);
    let after = show.filter.status().unwrap();
    assert!(
        after["table_bytes"].as_u64() > before["table_bytes"].as_u64(),
        "the table did not grow: {before} {after}"
    );
    assert!(after["names"].as_u64().unwrap() > u64::from(MANY));
    assert_eq!(after["interfaces"], before["interfaces"]);
    assert_counted(&show.filter, &counters_before, &seen);
}

/// Every query is in a counter, though two programs counted.
fn assert_counted(filter: &Filter, before: &BTreeMap<String, u64>, seen: &BTreeMap<String, u64>) {
    let counters = filter.counters().unwrap();
    let since = |name: &str| counters[name] - before[name];
    let (blocked, markers) = (seen["NXDOMAIN"], seen["markers"]);
    assert_eq!(since("answer_address"), markers);
    // Answers that were on their way when the load was interrupted are counted too.
    let counted = since("answer_nxdomain");
    assert!(
        (blocked..=blocked + 100).contains(&counted),
        "{blocked} seen, {counted} counted"
    );
}

#[test]
fn a_list_that_grows_fiftyfold_under_load_loses_nothing_in_native_mode() {
    a_list_that_grows_fiftyfold_loses_nothing("native");
}

#[test]
fn a_list_that_grows_fiftyfold_under_load_loses_nothing_in_generic_mode() {
    a_list_that_grows_fiftyfold_loses_nothing("skb");
}

#[test]
fn a_list_that_is_none_any_more_leaves_the_old_generation_in_force_and_says_why() {
    let bad = [
        ("", "no rule in 0 lines"),
        ("# nothing but a comment\n", "no rule in 1 lines"),
        (
            "<!DOCTYPE html>\n<html><head><title>Sign in</title></head></html>\n",
            "HTML page",
        ),
        ("||a.example^\n\0\n", "NUL byte"),
    ];
    let show = filter("native", "||good0.nxdp-show.example^\n");
    for (number, (text, why)) in bad.into_iter().enumerate() {
        let old = format!("good{number}.nxdp-show.example");
        let new = format!("good{}.nxdp-show.example", number + 1);
        let before = show.filter.status().unwrap();
        let line = show.filter.process().lines().len();
        show.replace(LIST, text);
        show.hang_up();
        let status = show
            .filter
            .wait_for_status("the failure", |status| status["last_error"].is_string())
            .unwrap();
        let error = status["last_error"].as_str().unwrap();
        assert!(
            error.contains(why) && error.contains("changing.txt"),
            "{error}"
        );
        let said = show
            .filter
            .process()
            .wait_for_line(line, "reload failed", SOON);
        assert!(said.unwrap().text.contains(error));
        assert_eq!(status["generation"], before["generation"]);
        assert_eq!(show.rcode(&old), ResponseCode::NXDomain, "{why}");

        show.replace(LIST, &format!("||{new}^\n"));
        show.hang_up();
        let recovered = |status: &serde_json::Value| {
            status["last_error"].is_null() && status["generation"] != before["generation"]
        };
        show.filter
            .wait_for_status("the recovery", recovered)
            .unwrap();
        assert_eq!(show.rcode(&new), ResponseCode::NXDomain);
        assert_eq!(show.rcode(&old), ResponseCode::NoError);
    }
}

#[test]
fn a_list_that_is_gone_leaves_the_old_generation_in_force() {
    let show = filter("skb", "||good.nxdp-show.example^\n");
    fs::remove_file(show.path(LIST)).unwrap();
    show.hang_up();
    let failed = |status: &serde_json::Value| status["last_error"].is_string();
    let status = show.filter.wait_for_status("the failure", failed).unwrap();
    assert!(
        status["last_error"]
            .as_str()
            .unwrap()
            .contains("changing.txt")
    );
    assert_eq!(show.rcode("good.nxdp-show.example"), ResponseCode::NXDomain);
}
