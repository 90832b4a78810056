//! The demonstration is the first thing a new user sees: it must work and say what it lacks.

use std::{
    fs,
    io::{BufRead, BufReader},
    os::unix::fs::PermissionsExt,
    process::{Child, Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use nxdp_lab::{filter::binary, process::copy_program};
use tempfile::TempDir;

const LAB: &str = env!("CARGO_BIN_EXE_nxdp-lab");

/// A demonstration whose temporary files all come into a folder of its own.
fn demo(folder: &TempDir, arguments: &[&str]) -> Command {
    let mut command = Command::new(LAB);
    command
        .arg("demo")
        .args(arguments)
        .env("TMPDIR", folder.path());
    command
}

fn output(arguments: &[&str]) -> Output {
    demo(&tempfile::tempdir().unwrap(), arguments)
        .output()
        .unwrap()
}

fn files_in(folder: &TempDir) -> usize {
    fs::read_dir(folder.path()).unwrap().count()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn blocks_passes_and_swaps(mode: &str) {
    let folder = tempfile::tempdir().unwrap();
    let output = demo(
        &folder,
        &[
            "--nxdp",
            binary().unwrap().to_str().unwrap(),
            "--mode",
            mode,
        ],
    )
    .output()
    .unwrap();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{out}{err}");
    let rows = |needles: &[&str]| {
        let fits = |line: &&str| needles.iter().all(|needle| line.contains(needle));
        out.lines().filter(fits).count()
    };
    for family in ["IPv4", "IPv6"] {
        // NODATA, where names below are not blocked.
        let denied = rows(&[family, "blocked", "NXDOMAIN"]);
        let without_data = rows(&[family, "blocked", "NOERROR"]);
        assert!(
            denied >= 1 && without_data >= 1 && denied + without_data >= 9,
            "of three lists and more:\n{out}"
        );
        assert!(rows(&[family, "no rule", "NOERROR"]) >= 5, "{out}");
        assert!(
            rows(&[family, "allowed by exception", "NOERROR"]) >= 2,
            "{out}"
        );
    }
    for list in ["hosts", "domains", "adguard"] {
        assert!(
            rows(&["blocked", &format!("15 {list}")]) >= 4,
            "its name in the extended error:\n{out}"
        );
    }
    assert!(out.contains("none lost"), "{out}");
    assert_eq!(files_in(&folder), 0);
}

#[test]
fn the_demonstration_blocks_passes_and_swaps_in_native_mode_and_cleans_up() {
    blocks_passes_and_swaps("native");
}

#[test]
fn the_demonstration_blocks_passes_and_swaps_in_generic_mode_and_cleans_up() {
    blocks_passes_and_swaps("skb");
}

/// Starts a demonstration and hands it back when its filter is at work.
fn demo_at_work(folder: &TempDir) -> Child {
    let nxdp = binary().unwrap();
    let mut child = demo(folder, &["--nxdp", nxdp.to_str().unwrap(), "--mode", "skb"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stderr.as_mut().unwrap()).lines();
    let at_work = lines
        .map_while(Result::ok)
        .any(|line| line.contains("asking"));
    assert!(at_work, "it ended before it asked anything");
    child
}

fn send(child: &Child, signal: Signal) {
    kill(Pid::from_raw(child.id().cast_signed()), signal).unwrap();
}

/// Processes that were started with something in the folder.
fn processes_using(folder: &TempDir) -> Vec<String> {
    let needle = folder.path().to_str().unwrap();
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let lines =
        processes.filter_map(|process| fs::read_to_string(process.path().join("cmdline")).ok());
    lines.filter(|line| line.contains(needle)).collect()
}

#[test]
fn an_interrupted_demonstration_cleans_up_and_fails() {
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let folder = tempfile::tempdir().unwrap();
        let mut child = demo_at_work(&folder);
        send(&child, signal);
        assert_eq!(child.wait().unwrap().code(), Some(1), "{signal}");
        assert_eq!(
            (files_in(&folder), processes_using(&folder)),
            (0, Vec::new()),
            "{signal}"
        );
    }
}

#[test]
fn even_a_killed_demonstration_takes_its_filter_along() {
    let folder = tempfile::tempdir().unwrap();
    let mut child = demo_at_work(&folder);
    assert_eq!(processes_using(&folder).len(), 1, "the filter");
    send(&child, Signal::SIGKILL);
    child.wait().unwrap();
    let end = Instant::now() + Duration::from_secs(5);
    while !processes_using(&folder).is_empty() {
        assert!(Instant::now() < end, "{:?}", processes_using(&folder));
        thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_list_that_cannot_be_read_is_named_before_anything_starts() {
    let output = output(&["--nxdp", "/bin/true", "--list", "/nowhere/list.txt"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        text(&output.stderr).contains("/nowhere/list.txt"),
        "{output:?}"
    );
}

#[test]
fn a_missing_filter_is_named_with_the_way_to_get_it() {
    let output = output(&["--nxdp", "/nowhere/nxdp"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        text(&output.stderr).contains("cargo xtask build"),
        "{output:?}"
    );
}

#[test]
fn a_filter_that_never_attaches_is_a_failure() {
    let output = output(&["--nxdp", "/bin/false"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("attached"), "{output:?}");
}

#[test]
fn without_root_it_says_so() {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let lab = folder.path().join("nxdp-lab");
    copy_program(LAB.as_ref(), &lab).unwrap();
    let mut command = Command::new("setpriv");
    command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]);
    let output = command.arg(lab).arg("demo").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("needs root"), "{output:?}");
}
