//! Writes of overrides: none is lost when the process is killed, and many take effect as one.

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use crate::show::Show;
use filter_user::{
    control::{self, Response, Verb},
    enforcement::{Outcome, Request},
    overrides::{Journal, OverrideAction, OverrideClients, OverrideScope, OverrideSpec},
};
use nix::sys::signal::Signal;
use nxdp_lab::length::short_or_long;
use rand::RngExt as _;

const MANY: usize = 65_536;

/// Names of one override write: all of them or none.
fn batch(number: u32) -> Vec<String> {
    let names = ["a", "b", "c"];
    names
        .map(|label| format!("{label}.n{number}.example"))
        .into()
}

fn specs(names: &[String]) -> Vec<OverrideSpec> {
    let spec = |name: &String| OverrideSpec {
        action: OverrideAction::Block,
        name: (&filter_lists::list::name(name).unwrap()).into(),
        scope: OverrideScope::Suffix,
        clients: OverrideClients::Everybody,
        expires: None,
        reason: "kill".to_owned(),
        by: None,
        ticket: None,
        against_guard: false,
    };
    names.iter().map(spec).collect()
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
                        .filter(|entry| names.contains(&entry.spec.name.to_string()));
                    Request::Remove(those.map(|entry| entry.id).collect())
                }
                None => Request::Add(specs(&batch(self.next))),
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

#[test]
fn no_write_is_lost_and_none_is_half_there_however_often_the_process_is_killed() {
    let kills = short_or_long(25, 1000);
    let mut show = Show::with_overrides("skb");
    let mut writer = Writer {
        held: BTreeSet::new(),
        under_way: None,
        next: 0,
        written: 0,
    };
    let names = |path: &Path| -> BTreeSet<String> {
        let (_, set) = Journal::open(path).unwrap();
        set.iter()
            .map(|entry| entry.spec.name.to_string())
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
                .map(|entry| entry.spec.name.to_string());
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
    let show = Show::with_overrides("native");
    let file = show.folder.path().join("names.txt");
    let text: String = (0..MANY).map(|number| many_name(number) + "\n").collect();
    fs::write(&file, text).unwrap();
    let stop = AtomicBool::new(false);
    let rounds = short_or_long(1, 3);
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
