//! What the command line promises: exit codes, messages, and an interface left as it was.

use std::{
    fs,
    io::Write as _,
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    process::{Command, Output, Stdio},
    time::Duration,
};

use aya::programs::XdpMode;
use hickory_proto::{op::ResponseCode, rr::RecordType};
use nix::sys::signal::Signal;
use nxdp_lab::{
    filter::{self, Filter},
    lab::{LAN_INTERFACE, Lab},
    process::{Stream, copy_program},
    query::Query,
    xdp_stub::{StubAction, XdpStub},
};
use serde_json::Value;
use tempfile::TempDir;

const SOON: Duration = Duration::from_secs(10);
const LIST: &str = "! title\n||blocked.example^\n@@||allowed.blocked.example^\n";

/// A folder with a list, readable for everybody.
struct Desk {
    folder: TempDir,
}

impl Desk {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let desk = Self { folder };
        desk.write("ours.txt", LIST);
        desk
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::write(&path, text).unwrap();
        path
    }

    fn nxdp(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(filter::binary().unwrap());
        command.args(arguments).current_dir(self.folder.path());
        command
    }

    fn output(&self, arguments: &[&str]) -> Output {
        self.nxdp(arguments).output().unwrap()
    }

    /// The same as somebody who may nothing.
    fn output_as_nobody(&self, arguments: &[&str]) -> Output {
        self.output_with("-all", arguments)
    }

    /// Runs as nobody with these capabilities, as setpriv writes them.
    fn output_with(&self, capabilities: &str, arguments: &[&str]) -> Output {
        let copy = self.folder.path().join("nxdp");
        copy_program(&filter::binary().unwrap(), &copy).unwrap();
        Command::new("setpriv")
            .args(["--reuid", "65534", "--regid", "65534", "--clear-groups"])
            .args(["--inh-caps", capabilities, "--ambient-caps", capabilities])
            .arg(copy)
            .args(arguments)
            .current_dir(self.folder.path())
            .output()
            .unwrap()
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn assert_ends(output: &Output, code: i32, needles: &[&str]) {
    let err = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{err}");
    for needle in needles {
        assert!(err.contains(needle), "{needle:?} is not in: {err}");
    }
    assert!(!err.contains("panicked"), "{err}");
}

fn json_lines(output: &Output) -> Vec<Value> {
    let lines = text(&output.stdout);
    lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn bad_usage_and_bad_configuration_end_with_2() {
    let desk = Desk::new();
    desk.write("unknown.toml", "interfaces = [\"lan0\"]\nbogus = 1\n");
    desk.write("broken.toml", "interfaces = [\n");
    let cases: [(&[&str], &[&str]); 9] = [
        (&["query"], &["NAME"]),
        (&["frobnicate"], &["frobnicate"]),
        (&["query", "a.example"], &["no list given", "--list"]),
        (
            &["query", "a..b", "--list", "ours.txt"],
            &["a..b", "empty label"],
        ),
        (
            &[
                "query",
                "a.example",
                "--type",
                "BOGUS",
                "--list",
                "ours.txt",
            ],
            &["BOGUS"],
        ),
        (
            &["run", "--list", "ours.txt"],
            &["no interface given", "--interface"],
        ),
        (&["run", "--interface", "lo"], &["no list given"]),
        (
            &["run", "--config", "unknown.toml"],
            &["unknown.toml", "bogus"],
        ),
        (
            &["run", "--config", "broken.toml"],
            &["broken.toml", "line"],
        ),
    ];
    for (arguments, needles) in cases {
        assert_ends(&desk.output(arguments), 2, needles);
    }
    assert_ends(
        &desk.output(&["query", "a.example", "--config", "nowhere.toml"]),
        2,
        &["nowhere.toml", "o such file"],
    );
}

#[test]
fn what_cannot_be_done_ends_with_1_and_is_named() {
    let desk = Desk::new();
    desk.write("empty.txt", "");
    desk.write("page.txt", "<html><body>Sign in</body></html>\n");
    desk.write("no.image", "not an image");
    let cases: [(&[&str], &[&str]); 6] = [
        (
            &["query", "a.example", "--list", "nowhere.txt"],
            &["nowhere.txt", "o such file"],
        ),
        (&["compile", "empty.txt"], &["empty.txt", "no rule"]),
        (&["compile", "page.txt"], &["page.txt", "HTML"]),
        (
            &["query", "a.example", "--image", "no.image"],
            &["no.image"],
        ),
        (
            &["status", "--socket", "nobody.sock"],
            &["nobody.sock", "no nxdp is running"],
        ),
        (
            &[
                "run",
                "--interface",
                "nowhere0",
                "--list",
                "ours.txt",
                "--socket",
                "s.sock",
            ],
            &["nowhere0", "no such interface"],
        ),
    ];
    for (arguments, needles) in cases {
        assert_ends(&desk.output(arguments), 1, needles);
    }
}

#[test]
fn an_unreadable_list_is_told_as_such() {
    let desk = Desk::new();
    let secret = desk.write("secret.txt", LIST);
    fs::set_permissions(secret, fs::Permissions::from_mode(0o600)).unwrap();
    let output = desk.output_as_nobody(&["query", "a.example", "--list", "secret.txt"]);
    assert_ends(&output, 1, &["secret.txt", "Permission denied"]);
}

#[test]
fn query_and_compile_need_no_root_and_run_says_that_it_does() {
    let desk = Desk::new();
    fs::set_permissions(desk.folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let output = desk.output_as_nobody(&["query", "www.blocked.example", "--list", "ours.txt"]);
    assert_ends(&output, 0, &[]);
    assert!(text(&output.stdout).starts_with("block"), "{output:?}");
    let output = desk.output_as_nobody(&["compile", "-o", "ours.image", "ours.txt"]);
    assert_ends(&output, 0, &["ours.image"]);
    let run = [
        &["run", "--interface", "lo", "--list", "ours.txt"][..],
        &["--socket", "own.sock"],
    ]
    .concat();
    let output = desk.output_as_nobody(&run);
    let denied = "permission denied without CAP_BPF and CAP_NET_ADMIN and CAP_PERFMON;";
    assert_ends(&output, 1, &[denied, "root"]);
    let output = desk.output_with("-all,+bpf,+net_admin", &run);
    let denied = "permission denied without CAP_PERFMON;";
    assert_ends(&output, 1, &[denied, "prohibited for !root"]);
    assert!(!desk.folder.path().join("own.sock").exists());
}

#[test]
fn query_tells_name_verdict_rule_list_and_line_from_a_list_and_from_an_image() {
    let desk = Desk::new();
    assert_ends(
        &desk.output(&["compile", "-o", "ours.image", "ours.txt"]),
        0,
        &[],
    );
    let names = [
        "WWW.blocked.example",
        "allowed.blocked.example",
        "other.example",
    ];
    for source in [["--list", "ours.txt"], ["--image", "ours.image"]] {
        let output = desk.output(
            &[
                &["query", "--json"],
                &source[..],
                &["--type", "AAAA", "--"],
                &names,
            ]
            .concat(),
        );
        assert_ends(&output, 0, &[]);
        let lines = json_lines(&output);
        let seen: Vec<_> = lines
            .iter()
            .map(|line| ["name", "verdict", "rule", "list", "line"].map(|key| line[key].clone()))
            .collect();
        let expected = [
            [
                names[0].into(),
                "block".into(),
                "||blocked.example^".into(),
                "ours".into(),
                2.into(),
            ],
            [
                names[1].into(),
                "allow".into(),
                "@@||allowed.blocked.example^".into(),
                "ours".into(),
                3.into(),
            ],
            [
                names[2].into(),
                "none".into(),
                Value::Null,
                Value::Null,
                Value::Null,
            ],
        ];
        assert_eq!(seen, expected, "{source:?}");
    }
}

#[test]
fn query_reads_names_from_standard_input() {
    let desk = Desk::new();
    let mut child = desk
        .nxdp(&[
            "query",
            "--json",
            "--list",
            "ours.txt",
            "--",
            "first.example",
            "-",
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    input
        .write_all(b"blocked.example\n\n  other.example \n")
        .unwrap();
    drop(input);
    let output = child.wait_with_output().unwrap();
    let verdicts: Vec<_> = json_lines(&output)
        .iter()
        .map(|line| format!("{} {}", line["name"], line["verdict"]))
        .collect();
    let expected = [
        r#""first.example" "none""#,
        r#""blocked.example" "block""#,
        r#""other.example" "none""#,
    ];
    assert_eq!(verdicts, expected);
}

#[test]
fn a_reader_that_has_enough_ends_a_query_quietly() {
    let desk = Desk::new();
    desk.write("names.txt", &"www.blocked.example\n".repeat(100_000));
    let binary = filter::binary().unwrap();
    let line = format!(
        "'{}' query - --list ours.txt <names.txt | head -n 1; exit ${{PIPESTATUS[0]}}",
        binary.display()
    );
    let mut command = Command::new("bash");
    command.args(["-c", &line]).current_dir(desk.folder.path());
    let output = command.output().unwrap();
    assert_eq!(text(&output.stdout).lines().count(), 1);
    assert_eq!(text(&output.stderr), "");
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn compile_gives_its_account_as_json() {
    let desk = Desk::new();
    let output = desk.output(&["compile", "--json", "ours.txt"]);
    assert_ends(&output, 0, &[]);
    let account = &json_lines(&output)[0];
    assert_eq!(account["version"], 1);
    assert_eq!(account["names"], 2);
    assert_eq!(account["lists"][0]["name"], "ours");
    assert_eq!(account["lists"][0]["report"]["lines"], 3);
    assert_eq!(account["lists"][0]["report"]["rules"], 2);
    assert!(account["kernel_bytes"].as_u64().unwrap() > 0);
}

/// What `ip` says of XDP on the filtered interface; null when there is none.
fn xdp_on_lan(lab: &Lab) -> Value {
    let text = lab
        .router()
        .output("ip", &["-j", "link", "show", LAN_INTERFACE]);
    let links: Value = serde_json::from_str(&text.unwrap()).unwrap();
    links[0]["xdp"].clone()
}

fn rcode(lab: &Lab) -> ResponseCode {
    let query = Query::new("www.blocked.example", RecordType::A).unwrap();
    lab.ask_v4(&query).unwrap().outcome()
}

fn start(lab: &Lab, desk: &Desk, mode: &str) -> Filter {
    let list = desk.folder.path().join("ours.txt");
    let arguments = ["--mode", mode, "--list", list.to_str().unwrap()];
    Filter::start(lab, desk.folder.path(), &arguments).unwrap()
}

#[test]
fn ending_it_by_a_signal_leaves_no_program_and_no_socket() {
    let (lab, desk) = (Lab::new().unwrap(), Desk::new());
    let _responder = lab.start_responder().unwrap();
    for mode in ["native", "skb"] {
        for signal in [Signal::SIGINT, Signal::SIGTERM] {
            let mut filter = start(&lab, &desk, mode);
            assert!(
                xdp_on_lan(&lab)["prog"]["id"].is_u64(),
                "{}",
                xdp_on_lan(&lab)
            );
            assert_eq!(rcode(&lab), ResponseCode::NXDomain);
            let status = filter.process_mut().end(signal, SOON).unwrap();
            assert_eq!(status.code(), Some(0), "{mode} {signal}");
            assert!(filter.process().text(Stream::Err).contains("detached"));
            assert_eq!(xdp_on_lan(&lab), Value::Null, "{mode} {signal}");
            assert!(!filter.socket().exists(), "{mode} {signal}");
            assert_eq!(rcode(&lab), ResponseCode::NoError);
        }
    }
}

#[test]
fn killing_it_leaves_no_program_and_the_next_one_takes_the_socket() {
    let (lab, desk) = (Lab::new().unwrap(), Desk::new());
    let _responder = lab.start_responder().unwrap();
    for mode in ["native", "skb"] {
        let mut filter = start(&lab, &desk, mode);
        filter.process_mut().end(Signal::SIGKILL, SOON).unwrap();
        assert_eq!(xdp_on_lan(&lab), Value::Null, "{mode}");
        assert_eq!(rcode(&lab), ResponseCode::NoError);
    }
    let filter = start(&lab, &desk, "native");
    assert_eq!(filter.status().unwrap()["names"], 2);
}

#[test]
fn another_program_on_the_interface_is_named_and_left_alone() {
    for (mode, stub_mode) in [("native", XdpMode::Driver), ("skb", XdpMode::Skb)] {
        let (lab, desk) = (Lab::new().unwrap(), Desk::new());
        let _stub =
            XdpStub::attach(lab.router(), LAN_INTERFACE, StubAction::Pass, stub_mode).unwrap();
        let before = xdp_on_lan(&lab);
        let list = desk.folder.path().join("ours.txt");
        let arguments = ["--mode", mode, "--list", list.to_str().unwrap()];
        let mut filter = Filter::spawn(&lab, desk.folder.path(), &arguments).unwrap();
        let status = filter.process_mut().wait(SOON).unwrap().expect("it ends");
        assert_eq!(status.code(), Some(1));
        let err = filter.process().text(Stream::Err);
        assert!(
            err.contains("another XDP program") && err.contains(LAN_INTERFACE),
            "{err}"
        );
        assert_eq!(xdp_on_lan(&lab), before);
        assert!(!filter.socket().exists());
    }
}

#[test]
fn a_second_one_on_the_same_socket_is_refused_and_the_first_goes_on() {
    let (lab, desk) = (Lab::new().unwrap(), Desk::new());
    let first = start(&lab, &desk, "native");
    let list = desk.folder.path().join("ours.txt");
    let arguments = ["--list", list.to_str().unwrap()];
    let mut second = Filter::spawn(&lab, desk.folder.path(), &arguments).unwrap();
    let status = second.process_mut().wait(SOON).unwrap().expect("it ends");
    assert_eq!(status.code(), Some(1));
    let err = second.process().text(Stream::Err);
    assert!(err.contains("another nxdp is running"), "{err}");
    assert_eq!(first.status().unwrap()["names"], 2);
}

#[test]
fn a_configuration_that_would_open_metrics_to_others_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("nxdp.toml");
    fs::write(&config, "[metrics]\nlisten = \"0.0.0.0:9153\"\n").unwrap();
    let output = Command::new(filter::binary().unwrap())
        .args(["check", "--config"])
        .arg(&config)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(
        told.contains("127.0.0.1:9153") && told.contains("0.0.0.0:9153"),
        "{told}"
    );
}
