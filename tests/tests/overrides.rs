//! Overrides and pauses: at once, on time, and not lost.
#![allow(clippy::unwrap_used)]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use filter_user::{
    control::{self, Response, Verb},
    overrides::{Action, Audience, Journal, Order, OverrideScope},
    regime::{Outcome, Request},
};
use hickory_proto::{op::ResponseCode, rr::RecordType};
use nix::sys::signal::Signal;
use nxdp_tests::{
    filter::{self, Filter},
    lab::{CLIENT_MAC, Lab},
    query::Query,
    responder::Responder,
};
use rand::RngExt as _;
use serde_json::Value;
use tempfile::TempDir;

const SOON: Duration = Duration::from_secs(20);
/// How often the process is killed; a thousand in the ignored test.
const KILLS: u32 = 200;
const MANY: usize = 65_536;

const LIST: &str = "||blocked.nxdp-show.example^\n||other.nxdp-show.example^$important\n";
const BLOCKED: &str = "blocked.nxdp-show.example";

/// A lab with a filter whose overrides are in its folder.
struct Show {
    filter: Option<Filter>,
    lab: Lab,
    _responder: Responder,
    folder: TempDir,
}

impl Show {
    fn start(mode: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let lab = Lab::new().unwrap();
        let responder = lab.start_responder().unwrap();
        fs::write(folder.path().join("list.txt"), LIST).unwrap();
        let config = "overrides = 'state/overrides'\n[[list]]\npath = 'list.txt'\ncategory = 'ads'\n\
                      [policy.kids]\nclients = ['10.53.1.0/24']\n";
        fs::write(
            folder.path().join("nxdp.toml"),
            format!("mode = '{mode}'\n{config}"),
        )
        .unwrap();
        let mut show = Self {
            filter: None,
            lab,
            _responder: responder,
            folder,
        };
        show.begin();
        show
    }

    /// Starts the filter, again if it ran before.
    fn begin(&mut self) {
        let config = self.folder.path().join("nxdp.toml");
        let arguments = ["--config", config.to_str().unwrap()];
        self.filter = Some(Filter::start(&self.lab, self.folder.path(), &arguments).unwrap());
    }

    fn filter(&self) -> &Filter {
        self.filter.as_ref().unwrap()
    }

    fn kill(&mut self, signal: Signal) {
        let mut filter = self.filter.take().unwrap();
        let status = filter.process_mut().end(signal, SOON).unwrap();
        assert_eq!(status.success(), signal != Signal::SIGKILL);
    }

    fn journal(&self) -> PathBuf {
        self.folder.path().join("state/overrides")
    }

    fn run(&self, line: &str) -> Output {
        let mut command = Command::new(filter::binary().unwrap());
        command.args(line.split_whitespace());
        command.arg("--socket").arg(self.filter().socket());
        command.output().unwrap()
    }

    fn nxdp(&self, line: &str) -> Value {
        let output = self.run(&format!("{line} --json"));
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{line}: {error}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    fn refused(&self, line: &str) -> String {
        let output = self.run(line);
        assert!(!output.status.success(), "{line}");
        String::from_utf8(output.stderr).unwrap()
    }

    fn rcode(&self, name: &str) -> ResponseCode {
        let query = Query::new(name, RecordType::A).unwrap().timeout(SOON);
        self.lab.ask_v4(&query).unwrap().rcode()
    }

    fn is_blocked(&self, name: &str) -> bool {
        match self.rcode(name) {
            ResponseCode::NXDomain => true,
            ResponseCode::NoError => false,
            other => panic!("{name}: {other}"),
        }
    }

    fn rcode_v6(&self, name: &str) -> ResponseCode {
        let query = Query::new(name, RecordType::A).unwrap().timeout(SOON);
        self.lab.ask_v6(&query).unwrap().rcode()
    }
}

fn id_of(told: &Value) -> u64 {
    told["overrides"][0]["id"].as_u64().unwrap()
}

#[test]
fn an_override_is_in_force_when_the_command_returns_and_gone_when_it_is_removed() {
    let show = Show::start("native");
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
    let show = Show::start("skb");
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
    let show = Show::start("skb");
    for (line, why) in [
        (
            "allow a.example --reason r --policy nobody",
            "no policy 'nobody'; there are: default, kids",
        ),
        ("allow a.example", "--reason"),
        (
            "allow a.example --reason r --policy kids --client 10.0.0.1",
            "cannot be used with",
        ),
        (
            "allow a.example --reason r --client 10.0.0.0/8",
            "a policy is for whole prefixes",
        ),
        ("allow a..example --reason r", "read name 'a..example'"),
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
    let show = Show::start("native");
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
    let show = Show::start("skb");
    let mac = CLIENT_MAC.map(|byte| format!("{byte:02x}")).join(":");
    show.nxdp("block free.nxdp-show.example --reason r");
    let names = [BLOCKED, "other.nxdp-show.example", "free.nxdp-show.example"];
    for audience in [
        "",
        "--policy kids",
        "--client 10.53.1.2",
        &format!("--client {mac}"),
    ] {
        let said = Instant::now();
        show.nxdp(&format!("pause {audience} --for 2s"));
        show.filter().process().signal(Signal::SIGSTOP).unwrap();
        assert!(
            names.iter().all(|name| !show.is_blocked(name)),
            "{audience}"
        );
        thread::sleep(Duration::from_millis(2500).saturating_sub(said.elapsed()));
        assert!(names.iter().all(|name| show.is_blocked(name)), "{audience}");
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
    let mut show = Show::start("skb");
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
    let config = show.folder.path().join("nxdp.toml");
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

/// Names of one override write: all of them or none.
fn batch(number: u32) -> Vec<String> {
    let names = ["a", "b", "c"];
    names
        .map(|label| format!("{label}.n{number}.example"))
        .into()
}

fn orders(names: &[String]) -> Vec<Order> {
    let order = |name: &String| Order {
        action: Action::Block,
        name: (&filter_user::list::name(name).unwrap()).into(),
        scope: OverrideScope::Suffix,
        audience: Audience::Everybody,
        expires: None,
        reason: "kill".to_owned(),
        by: None,
        ticket: None,
    };
    names.iter().map(order).collect()
}

/// Adds and removes until the other side is gone; the numbers of batches that hold, as was reported,
/// and what was under way at the end.
struct Writer {
    held: BTreeSet<u32>,
    under_way: Option<u32>,
    next: u32,
    written: u32,
}

impl Writer {
    fn write_until_killed(&mut self, socket: &Path) {
        loop {
            // Every third write takes one away again.
            let gone = self.held.first().copied().filter(|_| self.next % 3 == 2);
            let request = match gone {
                Some(number) => {
                    let Ok(all) = ask(socket, Request::List) else {
                        return;
                    };
                    let names = batch(number);
                    let those = all
                        .overrides
                        .iter()
                        .filter(|entry| names.contains(&entry.order.name.to_string()));
                    Request::Remove(those.map(|entry| entry.id).collect())
                }
                None => Request::Add(orders(&batch(self.next))),
            };
            self.under_way = gone.or(Some(self.next));
            if ask(socket, request).is_err() {
                return;
            }
            match gone {
                Some(number) => self.held.remove(&number),
                None => self.held.insert(self.next),
            };
            self.under_way = None;
            self.written += 1;
            self.next += 1;
        }
    }

    /// What was reported as done is there, and nothing else but, as a whole, what was under way.
    fn check(&mut self, found: &BTreeSet<String>) {
        for number in self
            .held
            .iter()
            .copied()
            .chain(self.under_way)
            .collect::<BTreeSet<_>>()
        {
            let there = batch(number)
                .iter()
                .filter(|name| found.contains(*name))
                .count();
            if self.under_way == Some(number) {
                assert!(there == 0 || there == 3, "batch {number} is half there");
                if there == 3 {
                    self.held.insert(number);
                } else {
                    self.held.remove(&number);
                }
            } else {
                assert_eq!(there, 3, "batch {number} was reported as done");
            }
        }
        let known: BTreeSet<String> = self.held.iter().flat_map(|number| batch(*number)).collect();
        assert_eq!(*found, known);
        self.under_way = None;
        self.next += 1;
    }
}

fn ask(socket: &Path, request: Request) -> Result<Outcome, control::Error> {
    match control::ask(socket, Verb::Overrides(request))? {
        Response::Overrides(outcome) => Ok(outcome),
        other => panic!("{other:?}"),
    }
}

fn no_write_is_lost_however_often_the_process_is_killed(kills: u32) {
    let mut show = Show::start("skb");
    let mut writer = Writer {
        held: BTreeSet::new(),
        under_way: None,
        next: 0,
        written: 0,
    };
    let names = |path: &Path| -> BTreeSet<String> {
        let (_, book) = Journal::open(path).unwrap();
        book.iter()
            .map(|entry| entry.order.name.to_string())
            .collect()
    };
    for kill in 0..kills {
        let pause = Duration::from_micros(rand::rng().random_range(0..30_000));
        let socket = show.filter().socket().to_owned();
        thread::scope(|scope| {
            let writing = scope.spawn(|| writer.write_until_killed(&socket));
            thread::sleep(pause);
            show.kill(Signal::SIGKILL);
            writing.join().unwrap();
        });
        writer.check(&names(&show.journal()));
        show.begin();
        if kill % 20 == 0 {
            let all = ask(show.filter().socket(), Request::List).unwrap();
            let found = all
                .overrides
                .iter()
                .map(|entry| entry.order.name.to_string());
            assert_eq!(found.collect::<BTreeSet<_>>(), names(&show.journal()));
            for number in &writer.held {
                assert!(show.is_blocked(&batch(*number)[2]), "batch {number}");
            }
        }
    }
    eprintln!(
        "{} writes, {kills} kills, none lost, none half there",
        writer.written
    );
    assert!(writer.written > kills / 2, "too few writes to tell");
}

#[test]
fn no_write_is_lost_and_none_is_half_there_after_two_hundred_kills() {
    no_write_is_lost_however_often_the_process_is_killed(KILLS);
}

#[test]
#[ignore = "takes minutes"]
fn no_write_is_lost_and_none_is_half_there_after_a_thousand_kills() {
    no_write_is_lost_however_often_the_process_is_killed(1000);
}

/// Asks for the first, a middle and the last name over and over; a name may change once only
/// after all before it have, so a mixture would show.
fn watch_for_mixtures(show: &Show, stop: &AtomicBool) -> u32 {
    let names = [0, MANY / 2, MANY - 1].map(many_name);
    let (mut changes, mut last) = (0, show.is_blocked(&names[0]));
    while !stop.load(Ordering::Relaxed) {
        for name in names.iter().chain(names.iter().rev()) {
            let now = show.is_blocked(name);
            if now != last {
                changes += 1;
                last = now;
            }
        }
    }
    changes
}

fn many_name(number: usize) -> String {
    format!("n{number}.d{}.example", number % 20_000)
}

#[test]
fn sixty_five_thousand_names_of_a_file_take_effect_at_once() {
    let show = Show::start("native");
    let file = show.folder.path().join("names.txt");
    let text: String = (0..MANY).map(|number| many_name(number) + "\n").collect();
    fs::write(&file, text).unwrap();
    let stop = AtomicBool::new(false);
    let rounds = 3;
    let changes = thread::scope(|scope| {
        let watch = scope.spawn(|| watch_for_mixtures(&show, &stop));
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for round in 0..rounds {
                let start = Instant::now();
                let line = format!(
                    "block --file {} --reason order --ticket {round}",
                    file.display()
                );
                let told = show.nxdp(&line);
                eprintln!("{MANY} names in {:?}", start.elapsed());
                assert_eq!(told["overrides"].as_array().unwrap().len(), MANY);
                assert!(show.is_blocked(&many_name(77)));
                let all = ask(show.filter().socket(), Request::List).unwrap();
                let ids = all.overrides.iter().map(|entry| entry.id).collect();
                ask(show.filter().socket(), Request::Remove(ids)).unwrap();
                assert!(!show.is_blocked(&many_name(77)));
            }
        }));
        stop.store(true, Ordering::Relaxed);
        let changes = watch.join().unwrap();
        result.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        changes
    });
    assert_eq!(changes, 2 * rounds, "a change was not one step");

    show.nxdp(&format!("block --file {} --reason order", file.display()));
    let full = show.refused("block one.more.example --reason r");
    assert!(full.contains("65537 overrides, at most 65536"), "{full}");
    let exported = show.folder.path().join("all.json");
    fs::write(&exported, show.run("overrides --json").stdout).unwrap();
    let ids: Vec<u32> = (ask(show.filter().socket(), Request::List)
        .unwrap()
        .overrides)
        .iter()
        .map(|entry| entry.id)
        .collect();
    ask(show.filter().socket(), Request::Remove(ids)).unwrap();
    assert_eq!(show.filter().status().unwrap()["overrides"]["records"], 0);
    show.nxdp(&format!("override import {}", exported.display()));
    assert!(show.is_blocked(&many_name(MANY - 1)));
    assert_eq!(show.filter().status().unwrap()["overrides"]["count"], MANY);
}
