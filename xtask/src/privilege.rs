//! Root: who has it, and how to come to it.

use std::{env, io::IsTerminal as _, process::Command};

use anyhow::{Context as _, Result, bail};

use crate::process;

/// Tells whether this process is root.
pub(crate) fn is_root() -> bool {
    // The owner of this process's own entry is its effective user.
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata("/proc/self").is_ok_and(|data| data.uid() == 0)
}

/// The words before a command that needs root; none when there is no way to root.
pub(crate) fn prefix() -> Option<Vec<&'static str>> {
    if is_root() {
        return Some(Vec::new());
    }
    process::find("sudo")?;
    if std::io::stdin().is_terminal() {
        return Some(vec!["sudo"]);
    }
    let quiet = Command::new("sudo").args(["-n", "true"]).output().ok()?;
    quiet.status.success().then(|| vec!["sudo", "-n"])
}

/// A command that runs as root, through sudo where this process is not.
///
/// `purpose` completes the sentence "root is needed to …".
pub(crate) fn as_root(program: &std::path::Path, purpose: &str) -> Result<Command> {
    let Some(words) = prefix() else {
        let words: Vec<String> = env::args().skip(1).collect();
        bail!(
            "root is needed to {purpose}; run: sudo -E env PATH=$PATH cargo xtask {}",
            words.join(" ")
        );
    };
    let Some((sudo, options)) = words.split_first() else {
        return Ok(process::outer(program));
    };
    eprintln!("xtask: root is needed to {purpose}; asking sudo");
    let mut command = process::outer(sudo);
    let path = env::var("PATH").context("read PATH")?;
    command
        .args(options)
        .arg("env")
        .arg(format!("PATH={path}"))
        .arg(program);
    Ok(command)
}
