//! Whoever may use the control socket can ask, and cannot get in the way of others or of the filter.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    os::unix::net::UnixStream,
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use nxdp_lab::{filter::binary, lab::Lab, process::Stream, running::Running};

const SOON: Duration = Duration::from_secs(20);
/// Clients of one user that are answered at a time.
const PLACES: usize = 64;

/// A filter that blocks `blocked.example`, whose socket the group `bin` may use.
fn filter() -> Running {
    // Overrides stay in its folder: the journal of this machine is not the tests' to write.
    let config = "overrides = \"overrides\"\n\
                  [[list]]\npath = \"ads.txt\"\n[control]\ngroup = \"bin\"\n";
    let files = [("ads.txt", "||blocked.example^\n"), ("nxdp.toml", config)];
    Running::start(&files, &["--config", "nxdp.toml"])
}

fn connect(show: &Running) -> UnixStream {
    let stream = UnixStream::connect(show.filter.socket()).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    stream.set_write_timeout(Some(SOON)).unwrap();
    stream
}

/// What is answered to these bytes, whether they were taken to their end or not.
fn answer_to(show: &Running, bytes: &[u8]) -> String {
    let mut stream = connect(show);
    let _taken = stream.write_all(bytes);
    let mut line = String::new();
    let _read = BufReader::new(stream).read_line(&mut line);
    line
}

/// `nxdp status` as a user of the group; its exit code and what it said.
fn status_as_games(show: &Running) -> (Option<i32>, String) {
    // Where another user may execute it.
    let copy = show.folder.path().join("nxdp");
    if !copy.exists() {
        nxdp_lab::process::copy_program(&binary().unwrap(), &copy).unwrap();
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid", "games", "--regid", "bin", "--clear-groups"]);
    command.arg(copy).args(["status", "--socket"]);
    let output = command.arg(show.filter.socket()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code(), said)
}

fn descriptors(show: &Running) -> usize {
    let id = show.filter.process().id();
    fs::read_dir(format!("/proc/{id}/fd")).unwrap().count()
}

#[test]
fn a_thousand_silent_clients_of_one_user_keep_out_nobody_else() {
    let show = filter();
    let before = descriptors(&show);
    let silent: Vec<UnixStream> = (0..1000).map(|_| connect(&show)).collect();
    // Those that were turned away are told so, and at once.
    thread::sleep(Duration::from_secs(1));
    let mut turned_away = 0;
    for mut stream in &silent {
        stream.set_nonblocking(true).unwrap();
        let mut text = [0; 256];
        let told = stream.read(&mut text).unwrap_or(0);
        turned_away += usize::from(text[..told].windows(9).any(|part| part == b"ask again"));
    }
    assert!(turned_away >= 1000 - 2 * PLACES, "{turned_away}");
    assert!(
        descriptors(&show) <= before + PLACES + 8,
        "{}",
        descriptors(&show)
    );
    assert_eq!(
        status_as_games(&show).0,
        Some(0),
        "{:?}",
        status_as_games(&show)
    );
    show.assert_blocked("blocked.example");
    // Who says nothing is cut off.
    let end = Instant::now() + SOON;
    while show.filter.status().is_err() {
        assert!(Instant::now() < end, "the places are not free again");
        thread::sleep(Duration::from_millis(100));
    }
    drop(silent);
}

#[test]
fn garbage_is_answered_with_what_is_wrong_with_it() {
    let show = filter();
    let deep = format!("{{\"version\":1,\"verb\":{}\n", "[".repeat(100_000));
    let cases: [(&[u8], &str); 7] = [
        (b"\n", "parse the request"),
        (
            b"\x00\xff\xfe\x80 GET / HTTP/1.1\r\n\r\n",
            "read the request",
        ),
        (b"GET / HTTP/1.1\r\n\r\n", "parse the request"),
        (
            b"{\"version\":2,\"verb\":\"status\"}\n",
            "this nxdp speaks version 1",
        ),
        (b"{\"version\":1,\"verb\":\"explode\"}\n", "unknown variant"),
        (b"{\"verb\":\"status\"}\n", "missing field"),
        (deep.as_bytes(), "parse the request"),
    ];
    for (request, needle) in cases {
        let answer = answer_to(&show, request);
        assert!(answer.starts_with("{\"error\":"), "{answer}");
        assert!(answer.contains(needle), "{needle}: {answer}");
    }
    show.filter.status().unwrap();
    show.assert_blocked("blocked.example");
}

#[test]
fn a_request_without_end_is_cut_where_its_sender_has_no_more_room() {
    let show = filter();
    // Who may change something may say much, as there are thousands of overrides.
    let answer = answer_to(&show, &vec![b'x'; 40 << 20]);
    assert!(answer.contains("longer than 33554432 bytes"), "{answer}");
    // Who may only read has nothing long to say.
    let mut command = Command::new("setpriv");
    command.args(["--reuid", "games", "--regid", "bin", "--clear-groups"]);
    command.args(["perl", "-MIO::Socket::UNIX", "-e"]);
    command.arg(
        "$SIG{PIPE} = 'IGNORE'; $s = IO::Socket::UNIX->new(Peer => $ARGV[0]) or die $!; \
         syswrite($s, 'x' x 1_000_000); print scalar <$s>;",
    );
    let output = command.arg(show.filter.socket()).output().unwrap();
    let answer = String::from_utf8_lossy(&output.stdout);
    assert!(answer.contains("longer than 16384 bytes"), "{output:?}");
    show.filter.status().unwrap();
    show.assert_blocked("blocked.example");
}

#[test]
fn clients_that_never_read_their_answers_lose_their_places() {
    let show = filter();
    let mut deaf: Vec<UnixStream> = (0..PLACES).map(|_| connect(&show)).collect();
    for stream in &mut deaf {
        stream
            .write_all(b"{\"version\":1,\"verb\":\"metrics\"}\n")
            .unwrap();
    }
    let end = Instant::now() + SOON;
    while show.filter.status().is_err() {
        assert!(Instant::now() < end, "the places are not free again");
        thread::sleep(Duration::from_millis(100));
    }
    show.assert_blocked("blocked.example");
    drop(deaf);
}

#[test]
fn long_answers_that_nobody_reads_take_a_bounded_amount_of_memory() {
    const OVERRIDES: usize = 30_000;
    let show = filter();
    let names: String = (0..OVERRIDES).map(|n| format!("n{n}.example\n")).collect();
    let file = show.folder.path().join("names.txt");
    fs::write(&file, names).unwrap();
    let reason = "x".repeat(300);
    let file = file.to_str().unwrap();
    let arguments = ["allow", "--file", file, "--reason", &reason, "--json"];
    show.filter.output(&arguments).unwrap();
    let resident_kib = || -> u64 {
        let id = show.filter.process().id();
        let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap();
        let line = status
            .lines()
            .find(|line| line.starts_with("VmRSS:"))
            .unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    };
    let before = resident_kib();
    let mut deaf: Vec<UnixStream> = (0..PLACES).map(|_| connect(&show)).collect();
    for stream in &mut deaf {
        stream
            .write_all(b"{\"version\":1,\"verb\":{\"overrides\":\"list\"}}\n")
            .unwrap();
    }
    let end = Instant::now() + Duration::from_secs(3);
    let mut most = before;
    while Instant::now() < end {
        most = most.max(resident_kib());
        thread::sleep(Duration::from_millis(20));
    }
    // One answer of 15 MB waits; 64 would take a gigabyte.
    assert!(most < before + 150 * 1024, "{before} KiB became {most} KiB");
    drop(deaf);
    let told = show.filter.output(&["overrides", "--json"]).unwrap();
    assert!(told.matches("\"id\"").count() == OVERRIDES);
    show.assert_blocked("blocked.example");
}

#[test]
fn what_is_no_socket_is_not_replaced_by_one() {
    let lab = Lab::new().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let list = folder.path().join("ads.txt");
    fs::write(&list, "||blocked.example^\n").unwrap();
    let run = |socket: &Path| {
        let mut command = Command::new(binary().unwrap());
        command.args(["run", "-i", "lan0", "--socket"]).arg(socket);
        let mut process = lab.router().spawn({
            command.arg("-l").arg(&list);
            command
        });
        let process = process.as_mut().unwrap();
        let status = process.wait(SOON).unwrap().unwrap();
        (status.code(), process.text(Stream::Err))
    };
    let (code, said) = run(&list);
    assert_eq!(code, Some(1), "{said}");
    assert!(
        said.contains("there is something that is no socket"),
        "{said}"
    );
    assert_eq!(fs::read_to_string(&list).unwrap(), "||blocked.example^\n");
    let (code, said) = run(folder.path());
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("no socket"), "{said}");
    // A path that no socket can have (unix(7): 108 bytes).
    let (code, said) = run(&folder.path().join("x".repeat(120)));
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("name another one with `--socket`"), "{said}");
}
