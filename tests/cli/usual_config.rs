//! The configuration of an installed nxdp is the one that commands take where none is named.

use std::{
    fs,
    process::{Command, Output},
};

use nxdp_lab::filter::binary;
use tempfile::TempDir;

/// A machine of its own as far as /etc goes, with a configuration and one list.
struct Machine(TempDir);

impl Machine {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let etc = folder.path().join("nxdp");
        fs::create_dir(&etc).unwrap();
        let config = "[policy.default]\nblock = []\n[policy.kids]\nclients = ['vlan:30']\n\
                      [[list]]\npath = 'blocked.txt'\nscope = 'suffix'\nmay_be_empty = true\n";
        fs::write(etc.join("nxdp.toml"), config).unwrap();
        fs::write(etc.join("blocked.txt"), "installed.example\n").unwrap();
        fs::write(folder.path().join("other.txt"), "||other.example^\n").unwrap();
        Self(folder)
    }

    /// Runs `nxdp` with the words of a line, in the folder that stands for /etc.
    fn run(&self, line: &str) -> Output {
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c"]);
        command.arg("mount --bind . /etc && exec \"$0\" \"$@\"");
        command.arg(binary().unwrap()).args(line.split_whitespace());
        command.current_dir(self.0.path()).output().unwrap()
    }

    fn says(&self, line: &str) -> (Option<i32>, String) {
        let output = self.run(line);
        let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.push_str(&String::from_utf8_lossy(&output.stderr));
        (output.status.code(), text)
    }
}

#[test]
fn without_a_configuration_and_without_lists_the_installed_one_is_meant() {
    let machine = Machine::new();
    let (code, text) = machine.says("check");
    assert_eq!((code, text.contains("1 names")), (Some(0), true), "{text}");
    let (code, text) = machine.says("query --vlan 30 www.installed.example");
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("block") && text.contains("kids"), "{text}");
    let (code, text) = machine.says("lists --socket none.sock");
    assert_eq!((code, text.contains("blocked")), (Some(0), true), "{text}");
}

#[test]
fn lists_that_are_named_stand_alone() {
    let machine = Machine::new();
    let (code, text) = machine.says("check other.txt");
    assert_eq!(
        (code, text.contains("blocked.txt")),
        (Some(0), false),
        "{text}"
    );
    let (code, text) = machine.says("query -l other.txt --vlan 30 www.other.example");
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("name one with `--config`"), "{text}");
}

#[test]
fn a_list_that_may_be_empty_may_lose_its_last_name() {
    let machine = Machine::new();
    let list = machine.0.path().join("nxdp/blocked.txt");
    fs::write(&list, "# none\n").unwrap();
    let (code, text) = machine.says("check");
    assert_eq!((code, text.contains("0 names")), (Some(0), true), "{text}");
    let config = machine.0.path().join("nxdp/nxdp.toml");
    let strict = fs::read_to_string(&config)
        .unwrap()
        .replace("may_be_empty = true\n", "");
    fs::write(&config, strict).unwrap();
    let (code, text) = machine.says("check");
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("may_be_empty = true"), "{text}");
}
