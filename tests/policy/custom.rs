//! Custom categories: the operator's own names change alone, whatever the lists hold.

use std::{
    fmt::Write as _,
    fs,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use hickory_proto::{op::ResponseCode, rr::RecordType};
use nix::sys::signal::Signal;
use nxdp_lab::{
    lab::{self, Lab},
    length::short_or_long,
    process::Process,
    query::Query,
    responder::Responder,
    roles::{Roles, wait_for},
    steady::{Names, REPEATED_MAX, while_asking},
};
use serde_json::Value;

use crate::show::Show;

const SOON: Duration = Duration::from_secs(20);
/// Names of the list beside the operator's own.
fn names() -> u32 {
    short_or_long(50_000, 200_000)
}

/// Changes of the operator's own names.
fn changes() -> u32 {
    short_or_long(4, 8)
}

const CONFIG: &str = "[category.homework]\nnames = ['homework.txt']\n\
    [policy.default]\nblock = ['ads', 'homework']\n";

fn replace(path: &Path, text: &str) {
    let new = path.with_extension("new");
    fs::write(&new, text).unwrap();
    fs::rename(&new, path).unwrap();
}

/// A large list, of which every query load knows some names.
fn large_list() -> String {
    let mut text = String::new();
    for number in 0..names() {
        writeln!(text, "||n{number}.list.nxdp-show.example^").unwrap();
    }
    text
}

/// Names that are blocked all the time, by the list and by the operator, and others that never are.
fn asked() -> Names {
    let of_list = (0..499).map(|n| format!("www.n{}.list.nxdp-show.example", n * 97));
    let own = (0..50).map(|n| format!("own{n}.nxdp-show.example"));
    Names {
        blocked: of_list.chain(own).collect(),
        clean: (0..331)
            .map(|n| format!("clean{n}.nxdp-show.example"))
            .collect(),
    }
}

/// The operator's own names: fifty that stay and one that tells the serial.
fn own_names(serial: u32) -> String {
    let mut text = format!("# homework\nserial{serial}.nxdp-show.example\n");
    for number in 0..50 {
        writeln!(text, "own{number}.nxdp-show.example").unwrap();
    }
    text
}

fn is_blocked(lab: &Lab, name: &str) -> bool {
    let query = Query::new(name, RecordType::A).unwrap().timeout(SOON);
    lab.ask_v4(&query).unwrap().outcome() == ResponseCode::NXDomain
}

fn resident_kib(process: &Process) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", process.id())).unwrap();
    let line = status.lines().find(|line| line.starts_with("RssAnon:"));
    let number = line.unwrap().split_whitespace().nth(1).unwrap();
    number.parse().unwrap()
}

fn number(status: &Value, path: &str) -> u64 {
    status.pointer(path).and_then(Value::as_u64).unwrap()
}

/// Changes the names again and again while a client asks; what came of it.
fn change_under_load(lab: &Lab, file: &Path, status: &dyn Fn() -> Value) {
    let before = status();
    let mut times = Vec::new();
    let ((), tally) = while_asking(lab, &asked(), || {
        for serial in 1..=changes() {
            let name = format!("serial{serial}.nxdp-show.example");
            assert!(!is_blocked(lab, &name));
            let start = Instant::now();
            replace(file, &own_names(serial));
            wait_for(&name, || Ok(is_blocked(lab, &name))).unwrap();
            times.push(start.elapsed());
            let last = format!("serial{}.nxdp-show.example", serial - 1);
            assert!(
                !is_blocked(lab, &last),
                "{last} is not in the file any more"
            );
        }
    })
    .unwrap();
    wait_for("the status", || {
        Ok(number(&status(), "/custom/generation") >= u64::from(changes()))
    })
    .unwrap();
    let after = status();
    times.sort();
    println!(
        "{} changes beside {} names: in effect after {:?} to {:?}, the last in {} ms of work; {tally:?}",
        changes(),
        names(),
        times[0],
        times[times.len() - 1],
        after["custom"]["took_ms"]
    );
    assert!(tally.sent > 500, "{tally:?}");
    assert_eq!((tally.lost, tally.wrong), (0, 0), "{tally:?}");
    assert!(tally.repeated <= REPEATED_MAX, "{tally:?}");
    assert_eq!(before["generation"], after["generation"], "the lists' own");
    assert_eq!(before["names"], after["names"]);
    assert_eq!(number(&after, "/custom/names"), 51);
    let number = |status| number(status, "/custom/generation");
    assert_eq!(number(&after), number(&before) + u64::from(changes()));
}

#[test]
fn own_names_change_under_load_and_the_lists_are_not_compiled() {
    let config = format!(
        "{CONFIG}[[list]]\npath = 'list.txt'\ncategory = 'ads'\n[limit]\nanswers_per_s = 0\n"
    );
    let show = start(&config, &large_list());
    let file = show.folder.path().join("homework.txt");
    change_under_load(&show.lab, &file, &|| show.filter().status().unwrap());
    // Each is counted for its own list and category.
    let stats = show.filter().stats().unwrap();
    for (by, name) in [
        ("lists", "list"),
        ("lists", "homework"),
        ("categories", "ads"),
        ("categories", "homework"),
    ] {
        let count = stats[by][name].as_u64().unwrap();
        assert!(count > 0, "{by} {name}: {stats}");
    }
    let lists = show.nxdp("lists");
    assert!(lists.to_string().contains("homework.txt"), "{lists}");
}

/// A filter that starts with the operator's own names of serial 0.
fn start(config: &str, list: &str) -> Show {
    Show::start_with("skb", config, list, &[("homework.txt", &own_names(0))])
}

#[test]
fn a_file_with_a_wrong_line_changes_nothing_and_says_which_line() {
    let config = format!("{CONFIG}[[list]]\npath = 'list.txt'\ncategory = 'ads'\n");
    let show = start(&config, "||blocked.nxdp-show.example^\n");
    let file = show.folder.path().join("homework.txt");
    let filter = show.filter();
    let before = filter.status().unwrap();
    let refused = |text: &str, why: &str| {
        replace(&file, text);
        let told = |status: &Value| {
            let error = status["custom"]["last_error"].as_str().unwrap_or_default();
            error.contains(why)
        };
        let status = filter.wait_for_status(why, told).unwrap();
        assert_eq!(
            status["custom"]["generation"],
            before["custom"]["generation"]
        );
        assert_eq!(status["last_error"], Value::Null, "the lists are fine");
        assert!(show.is_blocked("own7.nxdp-show.example"));
    };
    refused("new.nxdp-show.example\nno name at all\n", "line 2");
    refused("new.nxdp-show.example\n||co.uk^\n", "co.uk: ");
    fs::remove_file(&file).unwrap();
    let missing = |status: &Value| {
        status["custom"]["last_error"]
            .to_string()
            .contains("no such file")
    };
    filter.wait_for_status("a missing file", missing).unwrap();
    assert!(show.is_blocked("own7.nxdp-show.example"));
    // The lists go on without it.
    replace(
        &show.folder.path().join("list.txt"),
        "||blocked.nxdp-show.example^\n||more.nxdp-show.example^\n",
    );
    let grown = |status: &Value| status["names"] == 2;
    filter.wait_for_status("the list", grown).unwrap();
    assert!(show.is_blocked("more.nxdp-show.example") && show.is_blocked("own7.nxdp-show.example"));
    // And an emptied file empties the category.
    replace(&file, "# nothing today\n");
    let empty = |status: &Value| status["custom"]["names"] == 0;
    let status = filter.wait_for_status("no names", empty).unwrap();
    assert_eq!(status["custom"]["last_error"], Value::Null);
    assert!(!show.is_blocked("own7.nxdp-show.example"));
    assert!(show.is_blocked("blocked.nxdp-show.example"));
}

#[test]
fn own_names_alone_are_a_filter_and_come_and_go_with_the_configuration() {
    let alone = "[category.homework]\nnames = ['homework.txt']\n";
    let show = start(alone, "||blocked.nxdp-show.example^\n");
    assert!(show.is_blocked("own7.nxdp-show.example"));
    assert!(!show.is_blocked("blocked.nxdp-show.example"));
    let reload = |config: &str, wanted: &dyn Fn(&Value) -> bool| {
        show.configure("skb", config);
        show.filter().process().signal(Signal::SIGHUP).unwrap();
        show.filter().wait_for_status("the reload", wanted).unwrap()
    };
    let lists = "[[list]]\npath = 'list.txt'\ncategory = 'ads'\n";
    reload(lists, &|status| status["custom"] == Value::Null);
    assert!(!show.is_blocked("own7.nxdp-show.example"));
    assert!(show.is_blocked("blocked.nxdp-show.example"));
    reload(&format!("{CONFIG}{lists}"), &|status| {
        status["custom"]["names"] == 51
    });
    assert!(show.is_blocked("own7.nxdp-show.example"));
    assert!(show.is_blocked("blocked.nxdp-show.example"));
}

#[test]
fn more_own_names_than_there_is_room_for_grow_the_table_under_load() {
    let config = format!(
        "{CONFIG}[[list]]\npath = 'list.txt'\ncategory = 'ads'\n[limit]\nanswers_per_s = 0\n"
    );
    let show = start(&config, &large_list());
    let file = show.folder.path().join("homework.txt");
    let before = show.filter().status().unwrap();
    let mut text = own_names(1);
    for number in 0..700_000 {
        writeln!(text, "m{number}.more.nxdp-show.example").unwrap();
    }
    let ((), tally) = while_asking(&show.lab, &asked(), || {
        replace(&file, &text);
        let grown = |status: &Value| status["custom"]["names"] == 700_051;
        show.filter().wait_for_status("more names", grown).unwrap();
    })
    .unwrap();
    let after = show.filter().status().unwrap();
    assert_eq!((tally.lost, tally.wrong), (0, 0), "{tally:?}");
    assert!(number(&after, "/table_bytes") > number(&before, "/table_bytes"));
    assert_eq!(before["generation"], after["generation"]);
    assert!(show.is_blocked("m699999.more.nxdp-show.example"));
    assert!(show.is_blocked("www.n49999.list.nxdp-show.example"));
}

fn roles(lab: &Lab) -> Roles<'_> {
    let roles = Roles::new(lab, "[category.homework]\nnames = ['homework.txt']\n").unwrap();
    roles.write_list(&large_list()).unwrap();
    replace(&roles.path("homework.txt"), &own_names(0));
    roles
}

fn lab() -> (Lab, Responder) {
    let lab = Lab::new().unwrap();
    let responder = lab.start_responder().unwrap();
    for server in [lab::DNS_V4, lab::DNS_V6] {
        let warm = Query::new("warm.example", RecordType::A).unwrap();
        warm.ask_from(lab.client(), server).unwrap();
    }
    (lab, responder)
}

#[test]
fn a_daemon_without_capabilities_changes_own_names_alone_and_keeps_its_memory() {
    let (lab, _responder) = lab();
    let roles = roles(&lab);
    roles.load(&[]).unwrap();
    // A boot has both in force before the daemon runs.
    assert!(is_blocked(&lab, "own7.nxdp-show.example"));
    assert!(is_blocked(&lab, "www.n49999.list.nxdp-show.example"));
    let daemon = roles.daemon().unwrap();
    let memory = resident_kib(&daemon);
    change_under_load(&lab, &roles.path("homework.txt"), &|| {
        roles.status().unwrap()
    });
    let grown = resident_kib(&daemon).saturating_sub(memory);
    println!(
        "anonymous memory: {memory} KiB, {grown} KiB more after {} changes",
        changes()
    );
    assert!(grown < 4096, "{memory} KiB and {grown} KiB more");
    assert!(roles.state().join("custom.image").exists());
}

#[test]
fn own_names_survive_the_daemon_a_load_and_a_boot() {
    let (lab, _responder) = lab();
    let roles = roles(&lab);
    roles.load(&[]).unwrap();
    let mut daemon = roles.daemon().unwrap();
    let kept = roles.state().join("custom.image");
    // The one of the daemon's start is on disk before the one that counts.
    thread::sleep(Duration::from_secs(2));
    let written = || fs::metadata(&kept).unwrap().modified().unwrap();
    let at_start = written();
    replace(&roles.path("homework.txt"), &own_names(7));
    let name = "serial7.nxdp-show.example";
    wait_for(name, || Ok(is_blocked(&lab, name))).unwrap();
    wait_for("the image on disk", || Ok(written() > at_start)).unwrap();
    daemon.end(Signal::SIGKILL, SOON).unwrap();
    assert!(is_blocked(&lab, name), "the kernel goes on");
    // A larger table takes both along.
    roles.load(&["--names", "1000000"]).unwrap();
    assert!(is_blocked(&lab, name) && is_blocked(&lab, "www.n5.list.nxdp-show.example"));
    // A boot: nothing is pinned, the images are on disk, the files need not be.
    roles.run("unload", &[]).unwrap();
    assert!(!is_blocked(&lab, name));
    fs::remove_file(roles.path("homework.txt")).unwrap();
    roles.load(&[]).unwrap();
    assert!(is_blocked(&lab, name) && is_blocked(&lab, "www.n5.list.nxdp-show.example"));
    // A daemon that cannot read them leaves them in force, says so, and keeps no list out.
    let _daemon = roles.daemon().unwrap();
    let refused = |status: &Value| status["custom"]["last_error"].is_string();
    roles.wait_for_status("the missing file", refused).unwrap();
    assert!(is_blocked(&lab, name));
    let more = "more.nxdp-show.example";
    roles
        .write_list(&(large_list() + "||more.nxdp-show.example^\n"))
        .unwrap();
    wait_for(more, || Ok(is_blocked(&lab, more))).unwrap();
    assert!(is_blocked(&lab, name));
    replace(&roles.path("homework.txt"), &own_names(8));
    let name = "serial8.nxdp-show.example";
    wait_for(name, || Ok(is_blocked(&lab, name))).unwrap();
}
