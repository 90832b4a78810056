//! Starts other programs: cargo with a clean environment, checked exits, bounded time.

use std::{
    env,
    ffi::OsStr,
    io::Read as _,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

/// The cargo that runs this binary; not rustup's proxy, so it changes no library path.
pub(crate) fn cargo_binary() -> PathBuf {
    env::var_os("CARGO").map_or_else(|| PathBuf::from("cargo"), PathBuf::from)
}

/// A command of the outer toolchain, without what `cargo run` told this binary about itself.
pub(crate) fn outer(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    for (name, _) in env::vars_os() {
        if is_about_this_binary(&name.to_string_lossy()) {
            command.env_remove(name);
        }
    }
    command
}

/// A command that must build the same whatever toolchain or flags the caller uses.
pub(crate) fn hermetic(program: impl AsRef<OsStr>) -> Command {
    let mut command = outer(program);
    for (name, _) in env::vars_os() {
        if steers_a_build(&name.to_string_lossy()) {
            command.env_remove(name);
        }
    }
    command
}

fn is_about_this_binary(name: &str) -> bool {
    const PREFIXES: [&str; 4] = [
        "CARGO_PKG_",
        "CARGO_MANIFEST_",
        "CARGO_BIN_",
        "CARGO_CRATE_",
    ];
    const NAMES: [&str; 3] = ["CARGO", "CARGO_PRIMARY_PACKAGE", "LD_LIBRARY_PATH"];
    NAMES.contains(&name) || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// Where crates come from stays the caller's choice; how they are compiled does not.
fn steers_a_build(name: &str) -> bool {
    const KEPT: [&str; 5] = ["HOME", "NET", "HTTP", "REGISTR", "TERM"];
    if let Some(rest) = name.strip_prefix("CARGO_") {
        return !KEPT.iter().any(|kept| rest.starts_with(kept));
    }
    name.starts_with("RUSTC") || ["RUSTFLAGS", "RUSTDOC", "RUSTUP_TOOLCHAIN"].contains(&name)
}

/// Runs to the end with the caller's terminal.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = status(command)?;
    if !status.success() {
        bail!("{} ended with {status}", line(command));
    }
    Ok(())
}

/// Runs to the end with the caller's terminal and tells how it ended.
pub(crate) fn status(command: &mut Command) -> Result<ExitStatus> {
    command
        .status()
        .with_context(|| format!("start {}", line(command)))
}

/// Runs to the end and returns what it printed on standard output.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("start {}", line(command)))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!(
            "{} ended with {}: {}",
            line(command),
            output.status,
            said.trim()
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs at most `limit`, then ends it; the error holds what it said.
pub(crate) fn run_within(command: &mut Command, limit: Duration) -> Result<()> {
    let mut child = command
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("start {}", line(command)))?;
    let mut pipe = child.stderr.take().context("take the standard error")?;
    let reader = thread::spawn(move || {
        let mut said = Vec::new();
        // What was read before a failure is what there is to show.
        drop(pipe.read_to_end(&mut said));
        String::from_utf8_lossy(&said).into_owned()
    });
    let deadline = Instant::now() + limit;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if Instant::now() > deadline {
            child.kill()?;
            child.wait()?;
            bail!("{} took longer than {} s", line(command), limit.as_secs());
        }
        thread::sleep(Duration::from_millis(50));
    };
    let said = reader.join().unwrap_or_default();
    if !status.success() {
        bail!("{} ended with {status}: {}", line(command), said.trim());
    }
    Ok(())
}

/// Becomes the command: its exit code and signals are ours.
pub(crate) fn exec(command: &mut Command) -> Result<()> {
    let error = command.exec();
    Err(error).with_context(|| format!("start {}", line(command)))
}

/// The command as one would type it.
pub(crate) fn line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words
        .map(|word| word.to_string_lossy().into_owned())
        .collect::<Vec<_>>()
        .join(" ")
}

/// Finds a program by name in `PATH`, or in the folders of system tools that a user's `PATH` may lack.
pub(crate) fn find(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|folder| folder.join(name))
        .find(|file| is_executable(file))
}

/// Tells whether the file can be started.
pub(crate) fn is_executable(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    file.metadata()
        .is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_callers_toolchain_and_flags_do_not_reach_the_ebpf_build() {
        for name in ["RUSTC", "RUSTC_WRAPPER", "RUSTFLAGS", "RUSTUP_TOOLCHAIN"] {
            assert!(steers_a_build(name), "{name}");
        }
        for name in [
            "CARGO_TARGET_DIR",
            "CARGO_ENCODED_RUSTFLAGS",
            "CARGO_PROFILE_RELEASE_LTO",
        ] {
            assert!(steers_a_build(name), "{name}");
        }
    }

    #[test]
    fn where_crates_come_from_stays_the_callers_choice() {
        for name in [
            "CARGO_HOME",
            "CARGO_NET_OFFLINE",
            "CARGO_REGISTRIES_X_INDEX",
            "PATH",
            "RUSTUP_HOME",
        ] {
            assert!(!steers_a_build(name), "{name}");
        }
    }

    #[test]
    fn a_command_that_takes_too_long_is_ended_and_named() {
        let limit = Duration::from_millis(100);
        let error = run_within(Command::new("sleep").arg("30"), limit).unwrap_err();
        assert!(
            error.to_string().starts_with("sleep 30 took longer"),
            "{error}"
        );
    }

    #[test]
    fn a_failed_command_tells_what_it_said() {
        let mut command = Command::new("sh");
        let error = run_within(
            command.args(["-c", "echo why >&2; exit 3"]),
            Duration::from_secs(9),
        );
        let message = error.unwrap_err().to_string();
        assert!(message.ends_with("exit status: 3: why"), "{message}");
    }
}
