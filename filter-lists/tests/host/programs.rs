//! The table of nested names against dnsmasq and unbound themselves, where they are installed.

use std::{
    collections::BTreeMap,
    fs,
    net::{Ipv4Addr, UdpSocket},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde::Deserialize;

/// What the server behind the programs answers to everything.
const PASSED: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 99);
/// The server in the lines of the table.
const SERVER: &str = "192.0.2.53";
/// Longest time that a program takes to start.
const START_MAX: Duration = Duration::from_secs(20);

#[derive(Deserialize)]
struct Nested {
    case: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    format: String,
    lines: String,
    queries: BTreeMap<String, String>,
}

/// A program that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Answers every query for A until the process ends; hands back its port.
fn serve() -> u16 {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = socket.local_addr().unwrap().port();
    thread::spawn(move || {
        let mut buffer = [0; 1500];
        while let Ok((len, from)) = socket.recv_from(&mut buffer) {
            let query = &buffer[..len];
            let Some(end) = query
                .get(12..)
                .and_then(|q| q.iter().position(|&byte| byte == 0))
            else {
                continue;
            };
            let mut answer = query[..12 + end + 5].to_vec();
            answer[2..12].copy_from_slice(&[0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0]);
            answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
            answer.extend(PASSED.octets());
            let _ = socket.send_to(&answer, from);
        }
    });
    port
}

fn free_port() -> u16 {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.local_addr().unwrap().port()
}

fn start(case: &Case, folder: &Path, port: u16, server: u16) -> Running {
    let path = folder.join("conf");
    let null = || Stdio::null();
    let mut command = match case.format.as_str() {
        "dnsmasq" => {
            let lines = case.lines.replace(SERVER, &format!("127.0.0.1#{server}"));
            fs::write(&path, lines).unwrap();
            let mut command = Command::new("dnsmasq");
            command
                .arg("--keep-in-foreground")
                .args([
                    "--no-resolv",
                    "--no-hosts",
                    "--bind-interfaces",
                    "--pid-file",
                ])
                .args(["--listen-address=127.0.0.1", "--user=root"])
                .arg(format!("--port={port}"))
                .arg(format!("--server=127.0.0.1#{server}"))
                .arg(format!("--conf-file={}", path.display()));
            command
        }
        _ => {
            let text = format!(
                "server:\n interface: 127.0.0.1@{port}\n do-daemonize: no\n username: \"\"\n \
                 chroot: \"\"\n directory: \"{folder}\"\n pidfile: \"\"\n use-syslog: no\n \
                 do-not-query-localhost: no\n module-config: \"iterator\"\n{}\
                 forward-zone:\n name: \".\"\n forward-addr: 127.0.0.1@{server}\n\
                 remote-control:\n control-enable: no\n",
                case.lines,
                folder = folder.display(),
            );
            fs::write(&path, text).unwrap();
            let mut command = Command::new("unbound");
            command.arg("-d").arg("-c").arg(&path);
            command
        }
    };
    command.stdin(null()).stdout(null()).stderr(null());
    Running(command.spawn().unwrap())
}

/// The outcome of a query for A, in the words of the table; nothing if no answer came.
fn ask(port: u16, name: &str) -> Option<String> {
    let mut query = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        query.push(label.len() as u8);
        query.extend(label.as_bytes());
    }
    query.extend([0, 0, 1, 0, 1]);
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket
        .set_read_timeout(Some(Duration::from_millis(500)))
        .unwrap();
    // A connected socket hears at once that nobody listens there yet.
    socket.connect(("127.0.0.1", port)).unwrap();
    socket.send(&query).ok()?;
    let mut buffer = [0; 1500];
    let len = socket.recv(&mut buffer).ok()?;
    let answer = &buffer[query.len()..len];
    Some(match (buffer[3] & 0xf, buffer[7]) {
        (3, _) => "nxdomain".to_owned(),
        (5, _) => "refused".to_owned(),
        (0, 0) => "nodata".to_owned(),
        // Owner (two bytes), type, class, TTL and length stand before the address.
        (0, _) => {
            let octets: [u8; 4] = answer.get(12..16)?.try_into().ok()?;
            match Ipv4Addr::from(octets) {
                PASSED => "pass".to_owned(),
                Ipv4Addr::UNSPECIFIED => "null".to_owned(),
                address => address.to_string(),
            }
        }
        (rcode, _) => format!("rcode {rcode}"),
    })
}

#[test]
fn dnsmasq_and_unbound_decide_nested_names_as_the_table_says() {
    let nested: Nested = toml::from_str(include_str!("../golden/nested.toml")).unwrap();
    let server = serve();
    let mut wrong = Vec::new();
    let mut asked = 0;
    for case in &nested.case {
        let is_there = Command::new(&case.format)
            .arg(if case.format == "unbound" {
                "-V"
            } else {
                "--version"
            })
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        if !is_there.is_ok_and(|status| status.success()) {
            eprintln!("skipped: {} is not installed", case.format);
            continue;
        }
        let folder = tempfile::tempdir().unwrap();
        let port = free_port();
        let _running = start(case, folder.path(), port, server);
        let start = Instant::now();
        while ask(port, "other.example").is_none() && start.elapsed() < START_MAX {
            thread::sleep(Duration::from_millis(10));
        }
        for (name, expected) in &case.queries {
            let found = ask(port, name).unwrap_or_else(|| "no answer".to_owned());
            asked += 1;
            if found != *expected {
                wrong.push(format!(
                    "{} {name}: {found}, not {expected}\n{}",
                    case.format, case.lines
                ));
            }
        }
    }
    println!("{asked} names asked");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
