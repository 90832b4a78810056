//! Policies and overrides in two roles: said to a daemon without any capability, kept by the kernel
//! and on disk whoever dies.

use std::{
    net::UdpSocket,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use hickory_proto::{op::ResponseCode, rr::RecordType};
use nix::sys::signal::Signal;
use nxdp_lab::{
    lab::{DNS_V4, Lab},
    process::Process,
    query::Query,
    responder::Responder,
    roles::{Roles, wait_for},
};

const SOON: Duration = Duration::from_secs(20);
const LIST: &str = "||blocked.nxdp-show.example^\n";
const BLOCKED: &str = "blocked.nxdp-show.example";
const FREE: &str = "free.nxdp-show.example";
/// A policy for the client's IPv4 prefix.
const POLICIES: &str =
    "policy.kids = { clients = [\"10.53.1.0/24\"], answer = \"refused\", block_bypass = true }\n";

struct Home {
    lab: Lab,
    _responder: Responder,
}

impl Home {
    fn new() -> Self {
        let lab = Lab::new().unwrap();
        let responder = lab.start_responder().unwrap();
        Self {
            lab,
            _responder: responder,
        }
    }

    fn roles(&self) -> Roles<'_> {
        let roles = Roles::new(&self.lab, POLICIES).unwrap();
        roles.write_list(LIST).unwrap();
        roles
    }

    fn rcode(&self, name: &str) -> ResponseCode {
        let query = Query::new(name, RecordType::A).unwrap().timeout(SOON);
        self.lab.ask_v4(&query).unwrap().outcome()
    }

    /// By the policy's own answer.
    fn is_blocked(&self, name: &str) -> bool {
        match self.rcode(name) {
            ResponseCode::Refused => true,
            ResponseCode::NoError => false,
            other => panic!("{name}: {other}"),
        }
    }

    /// A datagram to the port of DNS over QUIC, which the policy refuses.
    fn try_to_get_around(&self) {
        let send = || {
            let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
            socket.send_to(&[0; 40], (DNS_V4.ip(), 853)).unwrap();
        };
        self.lab.client().run(send).unwrap();
    }
}

fn refused(roles: &Roles<'_>) -> u64 {
    roles.ask("stats").unwrap()["packets"]["drop_bypass"]
        .as_u64()
        .unwrap()
}

fn end(mut daemon: Process, signal: Signal) {
    daemon.end(signal, SOON).unwrap();
}

#[test]
fn what_is_said_to_a_daemon_outlives_it_and_its_successor_goes_on_with_it() {
    let home = Home::new();
    let roles = home.roles();
    roles.load(&[]).unwrap();
    let daemon = roles.daemon().unwrap();
    assert!(home.is_blocked(BLOCKED) && !home.is_blocked(FREE));
    roles
        .say(&format!("allow {BLOCKED} --reason mistake"))
        .unwrap();
    roles
        .say(&format!("block {FREE} --policy kids --reason order"))
        .unwrap();
    let holds = || !home.is_blocked(BLOCKED) && home.is_blocked(FREE);
    assert!(holds());
    let said = roles.ask("overrides").unwrap();

    end(daemon, Signal::SIGKILL);
    assert!(holds());
    let daemon = roles.daemon().unwrap();
    assert!(holds());
    assert_eq!(roles.ask("overrides").unwrap(), said);

    // Over the same maps, and with a larger table.
    for arguments in [&[][..], &["--names", "300000"]] {
        roles.load(arguments).unwrap();
        assert!(holds(), "{arguments:?}");
        roles
            .say("block more.nxdp-show.example --reason more")
            .unwrap();
        assert!(home.is_blocked("more.nxdp-show.example") && holds());
        roles
            .say("allow more.nxdp-show.example --reason more")
            .unwrap();
        assert!(!home.is_blocked("more.nxdp-show.example") && holds());
    }
    let id = said["overrides"][0]["id"].as_u64().unwrap();
    roles.say(&format!("override remove {id}")).unwrap();
    assert!(home.is_blocked(BLOCKED));
    end(daemon, Signal::SIGTERM);
}

#[test]
fn after_a_boot_everything_is_in_force_before_the_daemon_runs() {
    let home = Home::new();
    let roles = home.roles();
    roles.load(&[]).unwrap();
    let daemon = roles.daemon().unwrap();
    roles
        .say(&format!("allow {BLOCKED} --reason mistake"))
        .unwrap();
    roles
        .say(&format!(
            "block {FREE} --policy kids --for 1h --reason order"
        ))
        .unwrap();
    let image = roles.state().join("last.image");
    wait_for("the image", || Ok(image.exists())).unwrap();
    end(daemon, Signal::SIGTERM);
    // All that a boot leaves is on disk.
    roles.run("unload", &[]).unwrap();
    assert!(roles.pinned().is_empty());
    roles.load(&[]).unwrap();
    assert!(!home.is_blocked(BLOCKED) && home.is_blocked(FREE));
    let daemon = roles.daemon().unwrap();
    assert!(!home.is_blocked(BLOCKED) && home.is_blocked(FREE));
    roles.say("pause --policy kids --for 1h").unwrap();
    assert!(!home.is_blocked(FREE));
    end(daemon, Signal::SIGTERM);
}

#[test]
fn what_is_said_for_a_time_ends_though_no_daemon_runs() {
    let home = Home::new();
    let roles = home.roles();
    roles.load(&[]).unwrap();
    let daemon = roles.daemon().unwrap();
    let said = Instant::now();
    roles
        .say(&format!("allow {BLOCKED} --for 3s --reason short"))
        .unwrap();
    end(daemon, Signal::SIGKILL);
    let is_early = !home.is_blocked(BLOCKED) || said.elapsed() > Duration::from_secs(3);
    assert!(is_early);
    thread::sleep(Duration::from_millis(3100).saturating_sub(said.elapsed()));
    assert!(home.is_blocked(BLOCKED));
}

#[test]
fn what_is_said_for_a_time_holds_while_a_table_takes_the_place_of_a_smaller_one() {
    let home = Home::new();
    let roles = home.roles();
    roles.load(&[]).unwrap();
    let daemon = roles.daemon().unwrap();
    roles
        .say(&format!("block {FREE} --for 1h --reason order"))
        .unwrap();
    end(daemon, Signal::SIGTERM);
    let names = (0..400_000).map(|number| format!("||n{number}.nxdp-show.example^\n"));
    roles
        .write_list(&(LIST.to_owned() + &names.collect::<String>()))
        .unwrap();
    let image = roles.path("large.image").display().to_string();
    let compiled = roles.run("compile", &["-o", &image]).unwrap();
    assert_eq!(compiled.0, 0, "{}", compiled.1);

    let is_over = AtomicBool::new(false);
    let (asked, passed) = thread::scope(|scope| {
        let asking = scope.spawn(|| {
            let (mut asked, mut passed) = (0, 0);
            while !is_over.load(Ordering::Relaxed) {
                asked += 1;
                passed += u32::from(!home.is_blocked(FREE));
            }
            (asked, passed)
        });
        let loaded = roles.load(&["--image", &image]);
        is_over.store(true, Ordering::Relaxed);
        loaded.unwrap();
        asking.join().unwrap()
    });
    assert!(home.is_blocked("n399999.nxdp-show.example") && home.is_blocked(FREE));
    assert_eq!(passed, 0, "of {asked}");
}

#[test]
fn ways_around_stay_refused_while_the_filter_is_loaded_anew() {
    let home = Home::new();
    let roles = home.roles();
    roles.load(&[]).unwrap();
    let _daemon = roles.daemon().unwrap();
    let before = refused(&roles);
    home.try_to_get_around();
    wait_for("a refusal", || Ok(refused(&roles) == before + 1)).unwrap();
    roles.load(&[]).unwrap();
    home.try_to_get_around();
    wait_for("another one", || Ok(refused(&roles) == before + 2)).unwrap();
}
