//! Mutated queries for blocked names, asked of real nameservers: behind the filter none brings data.
//!
//! A default run asks a slice, a long one 100,000 in both modes. `NXDP_ODD=FIRST..LAST` asks those of these
//! numbers alone. What is answered with data without the filter shows that there was something to stop.

use std::{ops::Range, path::Path, time::Instant};

use nxdp_lab::{
    length::short_or_long,
    odd::{SERVERS, Tally, Trial},
};

/// Any other one is as good.
const SEED: u64 = 14;
/// Servers are not installed where their packages would start them.
const SYSTEMD: &str = "/run/systemd/system";
/// Leaks that are shown.
const SHOWN: usize = 40;

#[test]
fn no_mutated_query_brings_data_of_a_blocked_name() {
    let numbers = numbers();
    let mut trial = Trial::start().unwrap();
    assert!(
        trial.servers().len() == SERVERS.len() || Path::new(SYSTEMD).exists(),
        "some of {SERVERS:?} are not installed: `cargo xtask setup` does it"
    );
    let open = run(&mut trial, "without nxdp", numbers.clone());
    let mut behind = Vec::new();
    for mode in short_or_long(&["native"][..], &["native", "skb"]) {
        let _filter = trial.filter(mode).unwrap();
        behind.push((*mode, run(&mut trial, mode, numbers.clone())));
    }
    print_table(&trial, &open, &behind);
    assert_something_was_stopped(&trial, &open);
    for (mode, tally) in behind {
        assert_nothing_leaked(mode, &tally);
    }
}

fn numbers() -> Range<u32> {
    let Ok(asked) = std::env::var("NXDP_ODD") else {
        return 0..short_or_long(3_000, 100_000);
    };
    let (first, last) = asked.split_once("..").expect("NXDP_ODD is FIRST..LAST");
    first.parse().unwrap()..last.parse().unwrap()
}

fn run(trial: &mut Trial, how: &str, numbers: Range<u32>) -> Tally {
    let start = Instant::now();
    let tally = trial.run(SEED, numbers).unwrap();
    trial.check_servers().unwrap();
    println!(
        "{how}: {} queries to each server in {:.0} s",
        tally.sent,
        start.elapsed().as_secs_f64()
    );
    tally
}

fn print_table(trial: &Trial, open: &Tally, behind: &[(&str, Tally)]) {
    println!("| server | queries | mode | answered | with data of blocked names |");
    println!("|---|---|---|---|---|");
    for server in trial.servers() {
        let print = |mode: &str, tally: &Tally| {
            let [answered, data] = tally.of(server);
            let name = SERVERS[server];
            println!("| {name} | {} | {mode} | {answered} | {data} |", tally.sent);
        };
        print("without nxdp", open);
        for (mode, tally) in behind {
            print(mode, tally);
        }
    }
    println!("without nxdp, by kind: {:?}", open.by_kind(SEED));
}

fn assert_something_was_stopped(trial: &Trial, open: &Tally) {
    for server in trial.servers() {
        let [_, data] = open.of(server);
        assert!(
            data > open.sent as usize / 10,
            "{} answered {data} of {} with data: they are no test of the filter",
            SERVERS[server],
            open.sent
        );
    }
}

fn assert_nothing_leaked(mode: &str, tally: &Tally) {
    let leaks = tally.leaks.iter().take(SHOWN);
    let shown: Vec<String> = leaks.map(|leak| leak.shown(SEED)).collect();
    assert!(
        shown.is_empty(),
        "{mode}: {} queries brought data; {}",
        tally.leaks.len(),
        shown.join("\n")
    );
}
