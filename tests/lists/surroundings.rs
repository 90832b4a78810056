//! Files vanish, turn into something else or cannot be written: what is in force stays, and is told.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    thread,
    time::{Duration, Instant},
};

use hickory_proto::{op::ResponseCode, rr::RecordType};
use nix::sys::{signal::Signal, stat::Mode};
use nxdp_lab::{query::Query, roles::Roles, running::Running, show};
use serde_json::Value;

const SOON: Duration = Duration::from_secs(20);

/// A filter that blocks `blocked.example`.
fn filter() -> Running {
    let config = ("nxdp.toml", "[[list]]\npath = \"ads.txt\"\n");
    let files = [config, ("ads.txt", "||blocked.example^\n")];
    Running::start(&files, &["--config", "nxdp.toml"])
}

/// Waits until a reload failed for this reason, with the list in force as it was.
fn fails(show: &Running, why: &str) {
    let failed = |status: &Value| {
        status["last_error"]
            .as_str()
            .is_some_and(|e| e.contains(why))
    };
    let status = show.filter.wait_for_status(why, failed).unwrap();
    assert_eq!(status["names"], 1, "{status}");
    show.assert_blocked("blocked.example");
}

/// Puts a good list in place, and waits until it is in force.
fn recovers(show: &Running, name: &str) {
    show.replace("ads.txt", &format!("||blocked.example^\n||{name}^\n"));
    let end = Instant::now() + SOON;
    while show.rcode(name) != ResponseCode::NXDomain {
        assert!(Instant::now() < end, "{:?}", show.filter.status());
        thread::sleep(Duration::from_millis(50));
    }
    show.write("ads.txt", "||blocked.example^\n");
    let is_back = |status: &Value| status["names"] == 1;
    show.filter
        .wait_for_status("the list before", is_back)
        .unwrap();
}

#[test]
fn a_list_that_turns_into_something_else_keeps_no_other_from_being_read() {
    let show = filter();
    let list = show.path("ads.txt");
    fs::remove_file(&list).unwrap();
    nix::unistd::mkfifo(&list, Mode::S_IRWXU).unwrap();
    show.hang_up();
    fails(&show, "it is a pipe, and nothing came for 10 s");
    recovers(&show, "after-pipe.example");

    fs::remove_file(&list).unwrap();
    fs::create_dir(&list).unwrap();
    show.hang_up();
    fails(&show, "it is a folder");
    fs::remove_dir(&list).unwrap();
    recovers(&show, "after-folder.example");

    fs::remove_file(&list).unwrap();
    std::os::unix::fs::symlink("ads.txt", &list).unwrap();
    show.hang_up();
    fails(&show, "ads.txt");
    fs::remove_file(&list).unwrap();
    recovers(&show, "after-loop.example");

    let garbage = |n: u32| format!("{n} ][ not \u{7f} a rule {{{n}}}\n");
    fs::write(&list, (0..10_000).map(garbage).collect::<String>()).unwrap();
    show.hang_up();
    fails(&show, "ads.txt");
    recovers(&show, "after-garbage.example");
}

#[test]
fn a_configuration_that_vanishes_changes_nothing() {
    let show = filter();
    let config = show.path("nxdp.toml");
    let kept = fs::read(&config).unwrap();
    fs::remove_file(&config).unwrap();
    show.hang_up();
    fails(&show, "No such file");
    fs::create_dir(&config).unwrap();
    show.hang_up();
    fails(&show, "is a directory");
    fs::remove_dir(&config).unwrap();
    nix::unistd::mkfifo(&config, Mode::S_IRWXU).unwrap();
    show.hang_up();
    fails(&show, "nothing came for 10 s");
    fs::remove_file(&config).unwrap();
    fs::write(&config, kept).unwrap();
    show.hang_up();
    let is_well = |status: &Value| status["last_error"].is_null();
    show.filter.wait_for_status("the reload", is_well).unwrap();
    recovers(&show, "after-all.example");
}

#[test]
fn a_storm_of_hangups_is_a_few_reloads() {
    let show = filter();
    let before = show.filter.status().unwrap()["reloads"]["done"]
        .as_u64()
        .unwrap();
    for _ in 0..1000 {
        show.hang_up();
    }
    show.assert_blocked("blocked.example");
    recovers(&show, "after-storm.example");
    let status = show.filter.status().unwrap();
    let reloads = status["reloads"]["done"].as_u64().unwrap() - before;
    assert!((1..200).contains(&reloads), "{status}");
    assert!(status["last_error"].is_null(), "{status}");
}

#[test]
fn a_daemon_whose_state_cannot_be_written_filters_all_the_same() {
    let (lab, _responder) = show::lab();
    let more =
        "[[list]]\nurl = \"https://127.0.0.1:1/ads.txt\"\n[fetch]\ncache = \"state/lists\"\n";
    let roles = Roles::new(&lab, more).unwrap();
    roles.write_list("||first.example^\n").unwrap();
    roles.load(&[]).unwrap();
    let state = roles.state();
    let path = state.to_str().unwrap();
    lab.router()
        .output("mount", &["-t", "tmpfs", "-o", "ro", "none", path])
        .unwrap();
    let run = roles.path("run");
    fs::create_dir(&run).unwrap();
    fs::set_permissions(&run, fs::Permissions::from_mode(0o777)).unwrap();
    let socket = run.join("control.sock");
    let socket = socket.to_str().unwrap();
    let daemon = roles.spawn_daemon(&["--socket", socket]).unwrap();
    daemon
        .wait_for_line(0, "lists are not refreshed", SOON)
        .unwrap();
    daemon
        .wait_for_line(0, "Read-only file system", SOON)
        .unwrap();
    roles.write_list("||second.example^\n").unwrap();
    daemon.signal(Signal::SIGHUP).unwrap();
    let query = Query::new("second.example", RecordType::A).unwrap();
    let end = Instant::now() + SOON;
    while lab.ask_v4(&query).unwrap().outcome() != ResponseCode::NXDomain {
        assert!(Instant::now() < end, "{:?}", daemon.lines());
        thread::sleep(Duration::from_millis(50));
    }
    // What could not be kept over a restart is not promised.
    let mut command = roles.command("", &[]);
    command = std::process::Command::new(command.get_program());
    let output = command
        .args([
            "allow",
            "second.example",
            "--reason",
            "test",
            "--socket",
            socket,
        ])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("nothing was changed"), "{said}");
    let answer = lab.ask_v4(&query).unwrap().outcome();
    assert_eq!(answer, ResponseCode::NXDomain);
}
