//! A clock on the wall that is wrong or is set, before and while a daemon runs: what has ended stays
//! ended, and schedules are kept.

use std::{
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};

use filter_user::overrides::Journal;
use hickory_proto::{op::ResponseCode, rr::RecordType};
use nix::sys::signal::Signal;

use crate::fixture::lab;
use nxdp_lab::{
    lab::Lab,
    process::Process,
    query::Query,
    roles::{Roles, wait_for},
};

const SOON: Duration = Duration::from_secs(20);
const NAME: &str = "social.nxdp-show.example";
const LIST: &str = "||social.nxdp-show.example^\n";
/// Blocks nothing but from 20 to 22 o'clock.
const EVENINGS: &str = "policy.default = { block = [], schedule = { time_zone = \"UTC\", \
     span = [{ from = \"20:00\", to = \"22:00\", block = [\"social\"] }] } }\n\
     [[list]]\npath = \"social.txt\"\ncategory = \"social\"\n";
const FAKETIME: &str = "/usr/$LIB/faketime/libfaketimeMT.so.1";

fn is_blocked(lab: &Lab) -> bool {
    let query = Query::new(NAME, RecordType::A).unwrap().timeout(SOON);
    match lab.ask_v4(&query).unwrap().outcome() {
        ResponseCode::NXDomain => true,
        ResponseCode::NoError => false,
        other => panic!("{other}"),
    }
}

/// A daemon that looks at a clock which the test sets.
struct Watched<'a> {
    roles: Roles<'a>,
    clock: PathBuf,
}

impl<'a> Watched<'a> {
    /// On a filter that has schedules and their list in force.
    fn new(lab: &'a Lab) -> Self {
        let roles = Roles::new(lab, EVENINGS).unwrap();
        roles.write_list("||ads.nxdp-show.example^\n").unwrap();
        fs::write(roles.path("social.txt"), LIST).unwrap();
        roles.load(&[]).unwrap();
        let clock = roles.path("clock");
        let watched = Self { roles, clock };
        watched.set("2026-03-02 12:00:00");
        watched
    }

    /// The clock goes on from there.
    fn set(&self, time: &str) {
        let new = self.roles.path("clock.new");
        fs::write(&new, format!("@{time}\n")).unwrap();
        fs::rename(new, &self.clock).unwrap();
    }

    fn spawn(&self, lab: &Lab) -> Process {
        let file = format!("FAKETIME_TIMESTAMP_FILE={}", self.clock.display());
        let preload = format!("LD_PRELOAD={FAKETIME}");
        // The other clocks of a machine go on when this one is set.
        let alone = "DONT_FAKE_MONOTONIC=1";
        let variables = [&*preload, &file, alone, "FAKETIME_NO_CACHE=1"];
        let command = self.roles.daemon_command(&[], &variables);
        lab.router().spawn(command).unwrap()
    }

    fn start(&self, lab: &Lab) -> Process {
        let daemon = self.spawn(lab);
        daemon.wait_for_line(0, " active: ", SOON).unwrap();
        daemon
    }
}

#[test]
fn what_has_ended_does_not_come_back_when_the_clock_is_wrong_after_a_boot() {
    let (lab, _responder) = lab();
    let roles = Roles::new(&lab, "").unwrap();
    roles.write_list(LIST).unwrap();
    roles.load(&[]).unwrap();
    let mut daemon = roles.daemon().unwrap();
    let image = roles.state().join("last.image");
    wait_for("the image", || Ok(image.exists())).unwrap();
    roles
        .say(&format!("allow {NAME} --for 1s --reason short"))
        .unwrap();
    roles.say("pause --for 1s").unwrap();
    assert!(!is_blocked(&lab));
    let journal = roles.state().join("overrides");
    wait_for("the journal to say that they ended", || {
        Ok(Journal::open(&journal)?.1.is_empty())
    })
    .unwrap();
    daemon.end(Signal::SIGKILL, SOON).unwrap();
    roles.run("unload", &[]).unwrap();

    let mut load = roles.command("load", &[]);
    load.env("LD_PRELOAD", FAKETIME)
        .env("FAKETIME", "@1970-01-01 00:00:10");
    let (code, text) = roles.run_command(load).unwrap();
    assert_eq!(code, 0, "{text}");
    assert!(is_blocked(&lab), "{text}");
}

#[test]
fn a_start_with_a_clock_two_months_ahead_loses_no_override() {
    let (lab, _responder) = lab();
    let watched = Watched::new(&lab);
    watched.set("2026-03-02 20:10:00");
    let mut daemon = watched.start(&lab);
    wait_for("the evening", || Ok(is_blocked(&lab))).unwrap();
    let allow = format!("allow {NAME} --until 2026-04-01T00:00Z --reason trip");
    watched.roles.say(&allow).unwrap();
    assert!(!is_blocked(&lab));
    daemon.end(Signal::SIGKILL, SOON).unwrap();

    watched.set("2026-05-01 20:10:00");
    let mut daemon = watched.start(&lab);
    wait_for("the end that the clock shows", || Ok(is_blocked(&lab))).unwrap();
    // As long as it takes to write down what has ended.
    std::thread::sleep(Duration::from_secs(3));
    watched.set("2026-03-02 20:20:00");
    wait_for("the clock to be set right", || Ok(!is_blocked(&lab))).unwrap();

    watched.set("2026-05-01 20:10:00");
    wait_for("the end that the clock shows", || Ok(is_blocked(&lab))).unwrap();
    daemon.end(Signal::SIGKILL, SOON).unwrap();
    watched.set("2026-03-02 20:30:00");
    let _daemon = watched.start(&lab);
    wait_for("the override", || Ok(!is_blocked(&lab))).unwrap();
}

#[test]
fn schedules_are_kept_though_the_first_reload_fails() {
    let (lab, _responder) = lab();
    let watched = Watched::new(&lab);
    watched.start(&lab).end(Signal::SIGTERM, SOON).unwrap();
    assert!(!is_blocked(&lab));

    watched.set("2026-03-02 19:59:57");
    fs::remove_file(watched.roles.list()).unwrap();
    let _daemon = watched.spawn(&lab);
    let failed = |status: &serde_json::Value| status["last_error"].is_string();
    watched
        .roles
        .wait_for_status("the failure", failed)
        .unwrap();
    wait_for("the evening", || Ok(is_blocked(&lab))).unwrap();
    watched.set("2026-03-02 21:59:57");
    wait_for("the night", || Ok(!is_blocked(&lab))).unwrap();
}

#[test]
fn a_clock_that_is_set_is_followed_though_somebody_asks_at_once() {
    let (lab, _responder) = lab();
    let watched = Watched::new(&lab);
    watched.set("2026-03-02 20:30:00");
    let _daemon = watched.start(&lab);
    wait_for("the evening", || Ok(is_blocked(&lab))).unwrap();
    watched.set("2026-03-02 18:30:00");
    let end = Instant::now() + Duration::from_secs(3);
    while Instant::now() < end {
        watched.roles.ask("overrides").unwrap();
    }
    assert!(!is_blocked(&lab));
}
