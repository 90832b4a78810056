//! What a running filter tells of itself: metrics, the query log, dnstap.
// tidy: long because all of it is asked of one filter in one lab

use std::{
    collections::BTreeMap,
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream, UdpSocket},
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use hickory_proto::rr::RecordType;
use nix::sys::signal::Signal;
use nxdp_lab::{lab, process::Process, query::Query, running::Running};
use serde_json::Value;

const SOON: Duration = Duration::from_secs(30);

/// A filter that blocks `blocked.example`, with this configuration besides the list.
fn filter(config: &str) -> Running {
    let config = format!("[[list]]\npath = \"ads.txt\"\ncategory = \"nuisance\"\n{config}");
    let files = [("ads.txt", "||blocked.example^\n"), ("nxdp.toml", &*config)];
    Running::start_warm(&files, &["--config", "nxdp.toml"])
}

/// Sends queries as fast as they go and waits for no answer.
fn flood(show: &Running, name: &str, count: u64) {
    let query = Query::new(name, RecordType::A).unwrap();
    let bytes = query.to_bytes(7);
    let send = || {
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        for _ in 0..count {
            socket.send_to(&bytes, lab::DNS_V4).unwrap();
        }
    };
    show.lab.client().run(send).unwrap();
}

/// The query log when it has `count` lines.
fn log_of(show: &Running, count: usize) -> Vec<Value> {
    let end = Instant::now() + SOON;
    loop {
        let lines = show.filter.log(&[]).unwrap();
        if lines.len() >= count {
            assert_eq!(lines.len(), count, "{lines:#?}");
            return lines;
        }
        assert!(Instant::now() < end, "{count} lines, not {lines:#?}");
        thread::sleep(Duration::from_millis(20));
    }
}

fn http(show: &Running, address: &str, request: &str) -> std::io::Result<String> {
    let address: SocketAddr = address.parse().unwrap();
    let converse = || {
        let mut stream = TcpStream::connect_timeout(&address, SOON)?;
        stream.set_read_timeout(Some(SOON))?;
        stream.write_all(request.as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    show.lab.router().run(converse).unwrap()
}

/// The samples of a text by name and labels, as they stand there.
fn samples(text: &str) -> BTreeMap<&str, &str> {
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    samples.map(|line| line.rsplit_once(' ').unwrap()).collect()
}

#[test]
fn metrics_say_what_became_of_queries_on_the_socket_and_over_http() {
    let show = filter("[metrics]\nlisten = \"127.0.0.1:9153\"\n");
    for _ in 0..3 {
        show.ask("www.blocked.example");
    }
    show.ask("clean.example");
    let text = show.filter.output(&["metrics"]).unwrap();
    let told = samples(&text);
    for (sample, value) in [
        (
            "nxdp_packets_total{reason=\"answer_nxdomain\",action=\"answer\"}",
            "3",
        ),
        (
            "nxdp_packets_total{reason=\"pass_no_rule\",action=\"pass\"}",
            "1",
        ),
        ("nxdp_list_blocked_total{list=\"ads\"}", "3"),
        ("nxdp_category_blocked_total{category=\"nuisance\"}", "3"),
        ("nxdp_policy_queries_total{policy=\"default\"}", "4"),
        ("nxdp_policy_blocked_total{policy=\"default\"}", "3"),
        ("nxdp_list_rules{list=\"ads\"}", "1"),
        (
            "nxdp_interface_attached{interface=\"lan0\",mode=\"native\"}",
            "1",
        ),
        ("nxdp_generation", "1"),
        ("nxdp_log_queries_total", "0"),
    ] {
        assert_eq!(told.get(sample), Some(&value), "{sample} in\n{text}");
    }
    let get = "GET /metrics HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\n\r\n";
    let answer = http(&show, "127.0.0.1:9153", get).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK"), "{head}");
    assert!(
        head.contains("application/openmetrics-text; version=1.0.0"),
        "{head}"
    );
    assert_eq!(
        samples(body).get("nxdp_list_blocked_total{list=\"ads\"}"),
        Some(&"3")
    );
}

#[test]
fn http_takes_nothing_but_reading_metrics_on_loopback() {
    let show = filter("[metrics]\nlisten = \"127.0.0.1:9153\"\n");
    for (request, status) in [
        (
            "POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
            "405",
        ),
        ("GET / HTTP/1.1\r\nHost: x\r\n\r\n", "404"),
        ("GET /../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n", "404"),
        ("nonsense\r\n\r\n", "400"),
    ] {
        let answer = http(&show, "127.0.0.1:9153", request).unwrap();
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status}")),
            "{request}: {answer}"
        );
    }
    // Clients that say nothing keep nobody out, and the filter answers meanwhile.
    let idle = || -> Vec<TcpStream> {
        let connect = |_| TcpStream::connect("127.0.0.1:9153").unwrap();
        (0..100).map(connect).collect()
    };
    let idle = show.lab.router().run(idle).unwrap();
    let asked = Instant::now();
    show.ask("www.blocked.example");
    let get = "HEAD /metrics HTTP/1.1\r\nHost: x\r\n\r\n";
    let answer = http(&show, "127.0.0.1:9153", get).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(
        asked.elapsed() < Duration::from_secs(3),
        "{:?}",
        asked.elapsed()
    );
    drop(idle);
    let elsewhere = http(&show, "10.53.1.1:9153", get).unwrap_err();
    assert_eq!(elsewhere.kind(), std::io::ErrorKind::ConnectionRefused);
}

#[test]
fn by_default_nobody_is_told_who_asked_for_what() {
    let mut show = filter("");
    show.ask("www.blocked.example");
    show.ask("clean.example");
    let refused = show.filter.command(&["log", "--follow"]).output().unwrap();
    assert_eq!(refused.status.code(), Some(1));
    let told = String::from_utf8(refused.stderr).unwrap();
    assert!(told.contains("nxdp log --set blocked"), "{told}");
    show.filter
        .process_mut()
        .end(Signal::SIGTERM, SOON)
        .unwrap();
    for line in show.filter.process().lines() {
        for word in ["blocked.example", "clean.example", "10.53.1.2"] {
            assert!(!line.text.contains(word), "{line:?}");
        }
    }
}

#[test]
fn the_log_of_blocked_queries_tells_who_what_and_why() {
    let show = filter("[log]\nqueries = \"blocked\"\n");
    show.ask("clean.example");
    let query = Query::new("www.blocked.example", RecordType::AAAA).unwrap();
    show.lab.ask_v4(&query.clone().mixed_case()).unwrap();
    show.lab.ask_v6(&query).unwrap();
    let lines = log_of(&show, 2);
    for (line, client, server) in [
        (&lines[0], "10.53.1.2", "10.53.2.53"),
        (&lines[1], "fd00:53:1::2", "fd00:53:2::53"),
    ] {
        assert_eq!(line["client"], client);
        assert_eq!(line["server"], server);
        assert_eq!(line["name"], "www.blocked.example");
        assert_eq!(line["type"], "AAAA");
        assert_eq!(line["outcome"], "blocked");
        assert_eq!(line["reason"], "answer_nxdomain");
        assert_eq!(line["list"], "ads");
        assert_eq!(line["interface"], "lan0");
        assert_eq!(line["mac"], "02:53:00:00:01:02");
        assert_eq!(line["protocol"], "udp");
        assert_eq!(line["generation"], 1);
        let time = line["time"].as_str().unwrap();
        let asked = humantime::parse_rfc3339(time).unwrap();
        assert!(
            asked.elapsed().unwrap() < Duration::from_secs(120),
            "{time}"
        );
    }
    let text = show.filter.output(&["log", "-n", "1"]).unwrap();
    assert!(
        text.ends_with(" fd00:53:1::2 AAAA www.blocked.example answer_nxdomain list=ads\n"),
        "{text}"
    );
}

#[test]
fn the_log_of_all_queries_tells_of_those_that_pass_and_can_leave_them_out() {
    let show = filter("[log]\nqueries = \"all\"\n");
    let follow = show.filter.command(&["log", "--follow", "--json"]);
    let follow = show.lab.router().spawn(follow).unwrap();
    show.ask("clean.example");
    show.ask("www.blocked.example");
    let lines = log_of(&show, 2);
    assert_eq!(lines[0]["outcome"], "passed");
    assert_eq!(lines[0]["reason"], "pass_no_rule");
    assert_eq!(lines[0].get("list"), None);
    let blocked = show.filter.log(&["--blocked"]).unwrap();
    assert_eq!(blocked, lines[1..]);
    for name in ["clean.example", "www.blocked.example"] {
        follow.wait_for_line(0, name, SOON).unwrap();
    }
}

#[test]
fn the_log_is_switched_while_the_filter_runs_and_told_of_one_client() {
    let show = filter("");
    show.ask("before.blocked.example");
    let said = show
        .filter
        .command(&["log", "--set", "all"])
        .output()
        .unwrap();
    assert!(said.status.success(), "{said:?}");
    show.ask("clean.example");
    let query = Query::new("www.blocked.example", RecordType::AAAA).unwrap();
    show.lab.ask_v6(&query).unwrap();
    let lines = log_of(&show, 2);
    for client in ["fd00:53:1::2", "02:53:00:00:01:02", "10.53.1.2"] {
        let own = show.filter.log(&["--client", client]).unwrap();
        let is_own = |line: &&Value| line["client"] == client || line["mac"] == client;
        assert!(
            !own.is_empty() && lines.iter().filter(is_own).eq(&own),
            "{client}: {own:#?}"
        );
    }
    let nobody = show.filter.log(&["--client", "10.53.1.3"]).unwrap();
    assert!(nobody.is_empty(), "{nobody:#?}");

    let said = show
        .filter
        .command(&["log", "--set", "off"])
        .output()
        .unwrap();
    assert!(said.status.success(), "{said:?}");
    show.ask("www.blocked.example");
    let refused = show.filter.command(&["log"]).output().unwrap();
    assert_eq!(refused.status.code(), Some(1));
    let said = show
        .filter
        .command(&["log", "--set", "blocked"])
        .output()
        .unwrap();
    assert!(said.status.success(), "{said:?}");
    assert!(
        show.filter.log(&[]).unwrap().is_empty(),
        "what was logged is forgotten"
    );
}

#[test]
fn a_configuration_that_is_read_again_switches_the_log() {
    let show = filter("");
    let path = show.folder.path().join("nxdp.toml");
    let config = fs::read_to_string(&path).unwrap();
    fs::write(&path, format!("{config}[log]\nqueries = \"blocked\"\n")).unwrap();
    show.filter.process().signal(Signal::SIGHUP).unwrap();
    let is_on = |status: &Value| status["reloads"]["done"] == 1;
    show.filter.wait_for_status("the reload", is_on).unwrap();
    show.ask("www.blocked.example");
    log_of(&show, 1);
}

#[test]
fn clients_of_an_unfiltered_policy_are_not_logged() {
    let show = filter(
        "[log]\nqueries = \"all\"\n[policy.free]\nclients = [\"10.53.1.0/24\"]\nunfiltered = true\n",
    );
    show.ask("www.blocked.example");
    show.ask("clean.example");
    let query = Query::new("clean.example", RecordType::AAAA).unwrap();
    show.lab.ask_v6(&query).unwrap();
    let lines = log_of(&show, 1);
    assert_eq!(lines[0]["client"], "fd00:53:1::2");
    let stats = show.filter.stats().unwrap();
    assert_eq!(stats["policies"]["free"]["queries"], 2, "{stats}");
}

#[test]
fn a_sample_holds_some_of_what_passes_and_all_that_is_blocked() {
    const EACH: u64 = 600;
    let show = filter("[log]\nqueries = \"all\"\nsample = 10\n");
    // All of it would fit into the ring.
    flood(&show, "clean.example", EACH);
    flood(&show, "www.blocked.example", EACH);
    let end = Instant::now() + SOON;
    loop {
        let stats = show.filter.stats().unwrap();
        let judged = &stats["policies"]["default"]["queries"];
        let lines = show.filter.log(&[]).unwrap();
        let (blocked, passed): (Vec<_>, Vec<_>) =
            lines.iter().partition(|line| line["outcome"] == "blocked");
        if *judged == 2 * EACH && blocked.len() as u64 == EACH {
            // 60 are expected; six standard deviations are 44.
            assert!((16..=104).contains(&passed.len()), "{}", passed.len());
            assert_eq!(show.filter.stats().unwrap()["log"]["lost"], 0);
            return;
        }
        assert!(Instant::now() < end, "{} lines, {stats}", lines.len());
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn truncated_addresses_are_all_that_is_told_of_a_client() {
    let show = filter("[log]\nqueries = \"blocked\"\ntruncate_ipv4 = 24\ntruncate_ipv6 = 48\n");
    let query = Query::new("www.blocked.example", RecordType::A).unwrap();
    show.lab.ask_v4(&query).unwrap();
    show.lab.ask_v6(&query).unwrap();
    let lines = log_of(&show, 2);
    assert_eq!(lines[0]["client"], "10.53.1.0");
    assert_eq!(lines[1]["client"], "fd00:53:1::");
    assert!(
        lines.iter().all(|line| line.get("mac").is_none()),
        "{lines:#?}"
    );
}

/// More queries than the ring holds, while nobody reads it.
#[test]
fn what_the_ring_could_not_take_is_counted_and_told_and_verdicts_do_not_depend_on_it() {
    const QUERIES: u64 = 4000;
    let show = filter("[log]\nqueries = \"blocked\"\n");
    show.ask("first.blocked.example");
    log_of(&show, 1);
    let follow = show.filter.command(&["log", "--follow", "--json"]);
    let follow = show.lab.router().spawn(follow).unwrap();
    follow
        .wait_for_line(0, "first.blocked.example", SOON)
        .unwrap();
    show.filter.process().stop(SOON).unwrap();
    flood(&show, "flood.blocked.example", QUERIES);
    // The kernel judges on while the process is stopped.
    show.ask("stopped.blocked.example");
    show.filter.process().signal(Signal::SIGCONT).unwrap();
    let stats = show.filter.stats().unwrap();
    let blocked = stats["policies"]["default"]["blocked"].as_u64().unwrap();
    assert!(blocked > 3000, "{blocked} of {QUERIES} arrived");
    let end = Instant::now() + SOON;
    loop {
        let log = show.filter.stats().unwrap()["log"].clone();
        let (told, lost) = (log["told"].as_u64().unwrap(), log["lost"].as_u64().unwrap());
        if told + lost == blocked {
            assert!(lost > 0 && told > 0, "{log}");
            break;
        }
        assert!(Instant::now() < end, "{log} of {blocked}");
        thread::sleep(Duration::from_millis(20));
    }
    follow.wait_for_line(0, "\"at\":\"ring\"", SOON).unwrap();
}

#[test]
fn counts_and_log_go_on_when_the_table_grows() {
    let show = filter("[log]\nqueries = \"blocked\"\n[guard]\nmax_growth_percent = 100000000\n");
    show.ask("www.blocked.example");
    log_of(&show, 1);
    let before = show.filter.status().unwrap();
    let mut list = String::from("||blocked.example^\n");
    for number in 0..200_000 {
        list += &format!("||n{number}.other.example^\n");
    }
    fs::write(show.folder.path().join("new.txt"), list).unwrap();
    let (new, path) = (
        show.folder.path().join("new.txt"),
        show.folder.path().join("ads.txt"),
    );
    fs::rename(new, path).unwrap();
    let after = show
        .filter
        .wait_for_status("a new generation", |status| status["generation"] == 2)
        .unwrap();
    assert!(after["table_bytes"].as_u64() > before["table_bytes"].as_u64());
    assert_eq!(after["reloads"]["done"], 1);
    show.ask("n7.other.example");
    let lines = log_of(&show, 2);
    assert_eq!(lines[1]["generation"], 2, "{lines:#?}");
    let stats = show.filter.stats().unwrap();
    assert_eq!(stats["lists"]["ads"], 2, "{stats}");
    assert_eq!(stats["policies"]["default"]["blocked"], 2, "{stats}");
}

/// What BIND's reader makes of a dnstap file, a line a query.
fn dnstap_read(path: &Path) -> Vec<String> {
    let output = Command::new("dnstap-read").arg(path).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && errors.is_empty(),
        "{errors}\n{text}"
    );
    text.lines().map(str::to_owned).collect()
}

fn assert_is_query(line: &str, name: &str) {
    for word in [
        " CQ 10.53.1.0:",
        "-> 10.53.2.53:53 UDP",
        &format!(" {name}/IN/A"),
    ] {
        assert!(line.contains(word), "{word} in {line}");
    }
}

#[test]
fn another_reader_understands_the_dnstap_file() {
    let config = "[log]\nqueries = \"blocked\"\ntruncate_ipv4 = 24\ndnstap_file = \"tap.fstrm\"\n";
    let mut show = filter(config);
    show.ask("www.blocked.example");
    show.ask("clean.example");
    show.ask("Mixed.Blocked.Example");
    show.filter
        .process_mut()
        .end(Signal::SIGTERM, SOON)
        .unwrap();
    let path = show.folder.path().join("tap.fstrm");
    let lines = dnstap_read(&path);
    let [first, second] = &lines[..] else {
        panic!("two queries, not {lines:#?}");
    };
    assert_is_query(first, "www.blocked.example");
    assert_is_query(second, "Mixed.Blocked.Example");
    use std::os::unix::fs::PermissionsExt as _;
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o007, 0, "others may read who asked for what");
}

#[test]
fn another_reader_takes_dnstap_from_the_socket_also_when_it_comes_late() {
    let mut show =
        filter("[log]\nqueries = \"blocked\"\ntruncate_ipv4 = 24\ndnstap_socket = \"tap.sock\"\n");
    show.ask("early.blocked.example");
    let (socket, captured) = (
        show.folder.path().join("tap.sock"),
        show.folder.path().join("captured.fstrm"),
    );
    let mut command = Command::new("fstrm_capture");
    command
        .args(["-t", "protobuf:dnstap.Dnstap", "-u"])
        .arg(&socket);
    command.arg("-w").arg(&captured);
    let mut capture: Process = show.lab.router().spawn(command).unwrap();
    let end = Instant::now() + SOON;
    while show.filter.stats().unwrap()["log"]["dnstap"][0]["written"] != 1 {
        assert!(Instant::now() < end, "{}", show.filter.stats().unwrap());
        thread::sleep(Duration::from_millis(20));
    }
    show.ask("late.blocked.example");
    show.filter
        .process_mut()
        .end(Signal::SIGTERM, SOON)
        .unwrap();
    capture.end(Signal::SIGTERM, SOON).unwrap();
    let lines = dnstap_read(&captured);
    assert_eq!(lines.len(), 2, "{lines:#?}");
    assert_is_query(&lines[0], "early.blocked.example");
    assert_is_query(&lines[1], "late.blocked.example");
}

#[test]
fn a_reader_that_hangs_costs_lines_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("hung.sock");
    // Takes connections into its backlog and never says a word.
    let _hung = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let config = format!(
        "[log]\nqueries = \"blocked\"\ndnstap_socket = {:?}\n",
        socket.to_str().unwrap()
    );
    let mut show = filter(&config);
    flood(&show, "flood.blocked.example", 10_000);
    show.ask("www.blocked.example");
    let end = Instant::now() + SOON;
    loop {
        let tap = show.filter.stats().unwrap()["log"]["dnstap"][0].clone();
        assert_eq!((&tap["written"], &tap["open"]), (&0.into(), &false.into()));
        if tap["lost"].as_u64() > Some(0) {
            break;
        }
        assert!(Instant::now() < end, "nothing is lost: {tap}");
        flood(&show, "flood.blocked.example", 1000);
        thread::sleep(Duration::from_millis(50));
    }
    show.filter
        .process_mut()
        .end(Signal::SIGTERM, SOON)
        .unwrap();
}
