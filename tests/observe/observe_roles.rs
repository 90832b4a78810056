//! What a daemon without any privilege tells of queries, whoever made the maps.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    os::unix::fs::MetadataExt as _,
    process::Command,
    time::Duration,
};

use hickory_proto::rr::RecordType;
use nix::sys::signal::Signal;
use nxdp_lab::{
    lab::Lab,
    query::Query,
    responder::Responder,
    roles::{Roles, wait_for},
};
use serde_json::Value;

const LOGGING: &str = "[log]\nqueries = \"blocked\"\n";
const SOON: Duration = Duration::from_secs(30);

fn lab() -> (Lab, Responder) {
    let lab = Lab::new().unwrap();
    let responder = lab.start_responder().unwrap();
    (lab, responder)
}

fn ask(lab: &Lab, name: &str) {
    let query = Query::new(name, RecordType::A).unwrap();
    lab.ask_v4(&query).unwrap();
}

/// What a command prints that only asks the control socket.
fn told(roles: &Roles<'_>, arguments: &[&str]) -> String {
    let mut command = Command::new(roles.command("", &[]).get_program());
    let output = command
        .args(arguments)
        .arg("--socket")
        .arg(roles.socket())
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// The query log once it tells of a name; each entry once.
fn log_with(roles: &Roles<'_>, name: &str) -> Vec<Value> {
    let mut lines = Vec::new();
    wait_for("the name in the log", || {
        let text = told(roles, &["log", "--json"]);
        lines = text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        Ok(lines.iter().any(|line: &Value| line["name"] == name))
    })
    .unwrap();
    let all: Vec<String> = lines.iter().map(Value::to_string).collect();
    let mut once = all.clone();
    once.sort();
    once.dedup();
    assert_eq!(once.len(), all.len(), "told twice: {all:#?}");
    lines
}

/// Tells the last image from the one before it.
fn image(roles: &Roles<'_>) -> u64 {
    let path = roles.state().join("last.image");
    fs::metadata(path).unwrap().ino()
}

fn names(lines: &[Value]) -> Vec<&str> {
    lines
        .iter()
        .map(|line| line["name"].as_str().unwrap())
        .collect()
}

#[test]
fn a_daemon_tells_of_queries_and_one_that_was_killed_of_those_in_between() {
    let (lab, _responder) = lab();
    let metrics = "[metrics]\nlisten = \"127.0.0.1:9153\"\n";
    let roles = Roles::new(&lab, &format!("{LOGGING}{metrics}")).unwrap();
    roles.write_list("||blocked.example^\n").unwrap();
    roles.load(&[]).unwrap();
    let loaded = image(&roles);
    let mut daemon = roles.daemon().unwrap();
    ask(&lab, "first.blocked.example");
    let lines = log_with(&roles, "first.blocked.example");
    assert_eq!(lines[0]["list"], "list", "{lines:#?}");
    wait_for("the daemon's image on disk", || Ok(image(&roles) != loaded)).unwrap();
    daemon.end(Signal::SIGKILL, SOON).unwrap();
    ask(&lab, "alone.blocked.example");

    // It cannot compile: what it knows of the lists is what the image on disk says.
    fs::remove_file(roles.list()).unwrap();
    let _daemon = roles.spawn_daemon(&[]).unwrap();
    let lines = log_with(&roles, "alone.blocked.example");
    assert_eq!(names(&lines), ["alone.blocked.example"]);
    assert_eq!(lines[0]["list"], "list", "{lines:#?}");
    ask(&lab, "last.blocked.example");
    log_with(&roles, "last.blocked.example");
    let text = told(&roles, &["metrics"]);
    for sample in [
        "nxdp_packets_total{reason=\"answer_nxdomain\",action=\"answer\"} 3",
        "nxdp_list_blocked_total{list=\"list\"} 3",
        "nxdp_interface_attached{interface=\"lan0\",mode=\"native\"} 1",
        "nxdp_log_queries_total 2",
    ] {
        assert!(text.lines().any(|line| line == sample), "{sample}\n{text}");
    }
    let scraped = lab.router().run(|| -> std::io::Result<String> {
        let mut stream = TcpStream::connect("127.0.0.1:9153")?;
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    });
    let scraped = scraped.unwrap().unwrap();
    assert!(scraped.starts_with("HTTP/1.1 200"), "{scraped}");
}

#[test]
fn a_daemon_that_ends_leaves_nothing_that_tells_of_queries() {
    let (lab, _responder) = lab();
    let roles = Roles::new(&lab, LOGGING).unwrap();
    roles.write_list("||blocked.example^\n").unwrap();
    roles.load(&[]).unwrap();
    let mut daemon = roles.daemon().unwrap();
    ask(&lab, "first.blocked.example");
    log_with(&roles, "first.blocked.example");
    daemon.end(Signal::SIGTERM, SOON).unwrap();
    ask(&lab, "alone.blocked.example");
    let _daemon = roles.daemon().unwrap();
    ask(&lab, "last.blocked.example");
    let lines = log_with(&roles, "last.blocked.example");
    assert_eq!(names(&lines), ["last.blocked.example"]);
}

#[test]
fn a_log_that_a_killed_daemon_left_on_is_turned_off_by_one_that_wants_none() {
    let (lab, _responder) = lab();
    let roles = Roles::new(&lab, LOGGING).unwrap();
    roles.write_list("||blocked.example^\n").unwrap();
    roles.load(&[]).unwrap();
    let mut daemon = roles.daemon().unwrap();
    daemon.end(Signal::SIGKILL, SOON).unwrap();
    roles.configure("").unwrap();
    let mut daemon = roles.daemon().unwrap();
    ask(&lab, "off.blocked.example");
    daemon.end(Signal::SIGTERM, SOON).unwrap();
    roles.configure(LOGGING).unwrap();
    let _daemon = roles.daemon().unwrap();
    ask(&lab, "on.blocked.example");
    let lines = log_with(&roles, "on.blocked.example");
    assert_eq!(names(&lines), ["on.blocked.example"]);
}

#[test]
fn the_log_follows_to_maps_of_another_load_and_stays_with_those_that_are_adopted() {
    let (lab, _responder) = lab();
    let roles = Roles::new(&lab, LOGGING).unwrap();
    roles.write_list("||blocked.example^\n").unwrap();
    roles.load(&[]).unwrap();
    let _daemon = roles.daemon().unwrap();
    ask(&lab, "first.blocked.example");
    log_with(&roles, "first.blocked.example");
    // The same ring.
    roles.load(&[]).unwrap();
    ask(&lab, "adopted.blocked.example");
    log_with(&roles, "adopted.blocked.example");
    // Another one.
    let (code, text) = roles.run("unload", &[]).unwrap();
    assert_eq!(code, 0, "{text}");
    roles.load(&[]).unwrap();
    wait_for("a query of the new maps in the log", || {
        ask(&lab, "new.blocked.example");
        Ok(told(&roles, &["log"]).contains("new.blocked.example"))
    })
    .unwrap();
    let lines = log_with(&roles, "new.blocked.example");
    assert_eq!(
        names(&lines)[..3],
        [
            "first.blocked.example",
            "adopted.blocked.example",
            "new.blocked.example"
        ]
    );
    for line in &lines {
        assert_eq!(line["list"], "list", "{line}");
    }
    let stats = roles.ask("stats").unwrap();
    assert_eq!(stats["log"]["told"], lines.len(), "{stats}");
}
