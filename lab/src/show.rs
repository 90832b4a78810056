//! A filter in two roles and a client that asks without a pause, while things happen to it.
//!
//! Each event is a row of a table: queries sent, lost, wrongly answered.
#![allow(
    clippy::unwrap_used,
    reason = "a show that cannot go on is a failed test"
)]

use std::{
    fmt::Write as _,
    thread,
    time::{Duration, Instant},
};

use hickory_proto::{op::ResponseCode, rr::RecordType};
use nix::sys::signal::Signal;

use crate::{
    lab::{self, Lab},
    process::Process,
    query::Query,
    responder::Responder,
    roles::{Roles, wait_for},
    steady::{Names, REPEATED_MAX, Tally, while_asking},
};

/// How long something that is about to happen may take.
pub const SOON: Duration = Duration::from_secs(20);
/// Names that every list has.
const NAMES: u32 = 50_000;
/// Queries without which an event shows nothing.
pub const SENT_LEAST: u64 = 500;

/// A loaded filter with a daemon, and what came of the events so far.
#[derive(Debug)]
pub struct Show<'a> {
    /// The roles, and their folder.
    pub roles: Roles<'a>,
    /// Where they are.
    pub lab: &'a Lab,
    /// The daemon, if it runs.
    pub daemon: Option<Process>,
    /// Names that are blocked all the time.
    pub blocked: Vec<String>,
    serial: u32,
    rows: Vec<(&'static str, Tally)>,
}

/// A lab whose stations know each other.
pub fn lab() -> (Lab, Responder) {
    let lab = Lab::new().unwrap();
    let responder = lab.start_responder().unwrap();
    for server in [lab::DNS_V4, lab::DNS_V6] {
        let warm = Query::new("warm.example", RecordType::A).unwrap();
        warm.ask_from(lab.client(), server).unwrap();
    }
    (lab, responder)
}

/// The names of every list, and one that tells its serial.
pub fn list_of(serial: u32) -> String {
    let mut text = format!("||serial{serial}.nxdp-show.example^\n");
    for number in 0..NAMES {
        writeln!(text, "||n{number}.list.nxdp-show.example^").unwrap();
    }
    text
}

impl<'a> Show<'a> {
    /// Starts it, with more lines in the configuration.
    pub fn start(lab: &'a Lab, more_config: &str) -> Self {
        let roles = Roles::new(lab, more_config).unwrap();
        roles.write_list(&list_of(0)).unwrap();
        roles.load(&[]).unwrap();
        let daemon = Some(roles.daemon().unwrap());
        Self {
            roles,
            lab,
            daemon,
            blocked: (0..997)
                .map(|n| format!("www.n{}.list.nxdp-show.example", n * 50))
                .collect(),
            serial: 0,
            rows: Vec::new(),
        }
    }

    /// Lets something happen while the client asks.
    pub fn event(&mut self, what: &'static str, happen: impl FnOnce(&mut Self)) {
        let names = Names {
            blocked: self.blocked.clone(),
            clean: (0..331)
                .map(|n| format!("clean{n}.nxdp-show.example"))
                .collect(),
        };
        let lab = self.lab;
        let start = Instant::now();
        let ((), tally) = while_asking(lab, &names, || {
            happen(self);
            thread::sleep(Duration::from_millis(300).saturating_sub(start.elapsed()));
        })
        .unwrap();
        eprintln!("{what}: {tally:?} in {:?}", start.elapsed());
        self.rows.push((what, tally));
    }

    /// Starts the daemon, and waits until it is at work.
    pub fn start_daemon(&mut self) {
        self.daemon = Some(self.roles.daemon().unwrap());
    }

    /// Ends the daemon.
    pub fn end_daemon(&mut self, signal: Signal) {
        self.daemon.take().unwrap().end(signal, SOON).unwrap();
    }

    /// Has it read everything again.
    pub fn hang_up(&self) {
        self.daemon
            .as_ref()
            .unwrap()
            .signal(Signal::SIGHUP)
            .unwrap();
    }

    /// Gives the daemon a list that it has not seen.
    pub fn change_list(&mut self) {
        self.serial += 1;
        self.roles.write_list(&list_of(self.serial)).unwrap();
    }

    /// The active generation.
    pub fn generation(&self) -> u64 {
        self.roles.status().unwrap()["generation"].as_u64().unwrap()
    }

    /// Waits until the newest list is in force.
    pub fn wait_for_list(&self) {
        self.wait_until_blocked(&format!("serial{}.nxdp-show.example", self.serial));
    }

    /// Waits until a name is blocked.
    pub fn wait_until_blocked(&self, name: &str) {
        let query = Query::new(name, RecordType::A).unwrap();
        let is_blocked = || Ok(self.lab.ask_v4(&query)?.outcome() == ResponseCode::NXDomain);
        wait_for(name, is_blocked).unwrap();
    }

    /// Swaps once more, to show that everything still works.
    pub fn swap(&mut self) {
        self.change_list();
        self.hang_up();
        self.wait_for_list();
    }

    /// Prints the table; fails if anything was lost or wrong.
    pub fn conclude(self) {
        eprintln!(
            "\n{:<58} {:>7} {:>8} {:>5} {:>6}",
            "event", "sent", "repeated", "lost", "wrong"
        );
        for (what, tally) in &self.rows {
            eprintln!(
                "{what:<58} {:>7} {:>8} {:>5} {:>6}",
                tally.sent, tally.repeated, tally.lost, tally.wrong
            );
        }
        for (what, tally) in &self.rows {
            assert!(
                tally.sent >= SENT_LEAST,
                "{what}: too few queries to tell: {tally:?}"
            );
            assert!(
                tally.repeated <= REPEATED_MAX,
                "{what}: datagrams are lost: {tally:?}"
            );
            assert_eq!(
                (tally.lost, tally.wrong),
                (0, 0),
                "{what}: {:?}",
                tally.examples
            );
        }
    }
}
