//! The demonstration is the first thing a new user sees: it must work and say what it lacks.
#![allow(clippy::unwrap_used)]

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Output},
};

const LAB: &str = env!("CARGO_BIN_EXE_nxdp-lab");

/// The binary under test: NXDP_BIN, or the one that was built beside the lab.
fn nxdp() -> PathBuf {
    let path = std::env::var_os("NXDP_BIN")
        .map_or_else(|| Path::new(LAB).with_file_name("nxdp"), PathBuf::from);
    assert!(
        path.is_file(),
        "{} is missing: build it first, or set NXDP_BIN",
        path.display()
    );
    path
}

fn demo(arguments: &[&str]) -> Output {
    Command::new(LAB)
        .arg("demo")
        .args(arguments)
        .output()
        .unwrap()
}

fn demo_folders() -> Vec<PathBuf> {
    let entries = fs::read_dir(std::env::temp_dir())
        .unwrap()
        .flatten()
        .map(|entry| entry.path());
    entries
        .filter(|path| path.to_string_lossy().contains("nxdp-demo-"))
        .collect()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn the_demonstration_blocks_passes_and_swaps_in_both_modes_and_cleans_up() {
    let nxdp = nxdp();
    for mode in ["native", "skb"] {
        let output = demo(&["--nxdp", nxdp.to_str().unwrap(), "--mode", mode]);
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        assert_eq!(output.status.code(), Some(0), "{mode}:\n{out}{err}");
        let rows = |needles: &[&str]| {
            out.lines()
                .filter(|line| needles.iter().all(|needle| line.contains(needle)))
                .count()
        };
        for family in ["IPv4", "IPv6"] {
            assert!(
                rows(&[family, "blocked", "NXDOMAIN"]) >= 9,
                "three of each list:\n{out}"
            );
            assert!(rows(&[family, "no rule", "NOERROR"]) >= 4, "{out}");
            assert!(
                rows(&[family, "allowed by exception", "NOERROR"]) >= 1,
                "{out}"
            );
        }
        assert!(out.contains("none lost"), "{out}");
    }
    assert_eq!(demo_folders(), Vec::<PathBuf>::new());
}

#[test]
fn a_list_that_cannot_be_read_is_named_before_anything_starts() {
    let output = demo(&["--nxdp", "/bin/true", "--list", "/nowhere/list.txt"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        text(&output.stderr).contains("/nowhere/list.txt"),
        "{output:?}"
    );
}

#[test]
fn a_missing_filter_is_named_with_the_way_to_get_it() {
    let output = demo(&["--nxdp", "/nowhere/nxdp"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        text(&output.stderr).contains("cargo xtask build"),
        "{output:?}"
    );
}

#[test]
fn a_filter_that_ends_by_itself_is_a_failure_with_its_last_words() {
    let output = demo(&["--nxdp", "/bin/false"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output.stderr).contains("nxdp ended by itself")
            || text(&output.stderr).contains("attached"),
        "{output:?}"
    );
}

#[test]
fn without_root_it_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let open_to_all = fs::Permissions::from_mode(0o755);
    fs::set_permissions(folder.path(), open_to_all).unwrap();
    let lab = folder.path().join("nxdp-lab");
    fs::copy(LAB, &lab).unwrap();
    let mut command = Command::new("setpriv");
    command
        .args(["--reuid", "65534", "--regid", "65534", "--clear-groups"])
        .arg(lab)
        .arg("demo");
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("needs root"), "{output:?}");
}
