//! Compiles every test of the workspace once, and tells what came of it.
//!
//! One invocation: two of them would unify features differently and compile the libraries twice.

use std::{
    collections::BTreeMap,
    path::{Component, Path, PathBuf},
    process::Stdio,
};

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

use crate::{build, process, workspace::Workspace};

/// What the tests consist of.
#[derive(Debug, Default)]
pub(super) struct Built {
    /// The executables that hold tests, in the order in which they are run.
    pub(super) executables: Vec<Executable>,
    /// Binaries by name.
    binaries: BTreeMap<String, PathBuf>,
}

/// An executable that holds tests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Executable {
    /// The package, and the target where it is not the library.
    pub(super) name: String,
    pub(super) file: PathBuf,
    /// The folder of the package, in which cargo starts tests too.
    pub(super) folder: PathBuf,
    pub(super) kind: Kind,
}

/// How the tests of an executable are run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// On the host, all in one process, by whoever calls.
    Host,
    /// As root, each in a process of its own, several at a time.
    Lab,
    /// As root, each in a process of its own, while nothing else runs.
    Alone,
}

/// One of cargo's messages, as far as it is of use.
#[derive(Deserialize)]
struct Message {
    manifest_path: Option<PathBuf>,
    target: Option<Target>,
    profile: Option<Profile>,
    executable: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Target {
    kind: Vec<String>,
    name: String,
    src_path: PathBuf,
}

#[derive(Deserialize)]
struct Profile {
    test: bool,
}

impl Built {
    /// A binary that was built beside the tests, from the same units.
    pub(super) fn binary(&self, name: &str) -> Result<&Path> {
        let path = self.binaries.get(name);
        Ok(path.with_context(|| format!("find the binary {name} among what cargo built"))?)
    }

    /// Reads cargo's messages, one a line.
    fn read(messages: &str, root: &Path) -> Self {
        let mut built = Self::default();
        let messages = messages
            .lines()
            .filter_map(|line| serde_json::from_str::<Message>(line).ok());
        for message in messages {
            let (Some(target), Some(file)) = (message.target, message.executable) else {
                continue;
            };
            let folder = message.manifest_path.and_then(|manifest| {
                let folder = manifest.parent()?;
                Some(folder.to_path_buf())
            });
            let folder = folder.unwrap_or_else(|| root.to_path_buf());
            if message.profile.is_some_and(|profile| profile.test) {
                let executable = Executable::new(&target, file, folder, root);
                built.executables.push(executable);
            } else if target.kind.iter().any(|kind| kind == "bin") {
                built.binaries.insert(target.name, file);
            }
        }
        let order = |executable: &Executable| (executable.kind, executable.name.clone());
        built.executables.sort_by_key(order);
        built
    }
}

impl Executable {
    fn new(target: &Target, file: PathBuf, folder: PathBuf, root: &Path) -> Self {
        let package = folder.file_name().unwrap_or_default().to_string_lossy();
        let is_library = target.kind.iter().any(|kind| kind.ends_with("lib"));
        let name = if is_library {
            package.into_owned()
        } else {
            format!("{package} {}", target.name)
        };
        Self {
            name,
            file,
            folder,
            kind: Kind::of(&target.src_path, root),
        }
    }
}

impl Kind {
    /// Black-box tests are known by the folder that they lie in.
    fn of(source: &Path, root: &Path) -> Self {
        let source = without_detours(source);
        let is_below = |folder: &str| source.starts_with(root.join(folder));
        if is_below("tests/alone") {
            Self::Alone
        } else if is_below("tests") || is_below("lab/tests") {
            Self::Lab
        } else {
            Self::Host
        }
    }
}

/// `/w/filter-user/../tests` is `/w/tests`: so cargo names the sources of a package that lie beside it.
fn without_detours(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        if part == Component::ParentDir {
            plain.pop();
        } else {
            plain.push(part);
        }
    }
    plain
}

/// Compiles all tests and the binaries that they start.
pub(super) fn compile(workspace: &Workspace) -> Result<Built> {
    let mut cargo = build::cargo(workspace);
    cargo.args(["test", "--no-run", "--workspace"]);
    cargo.args(["--exclude", "filter-ebpf"]);
    cargo.args(["--message-format", "json-render-diagnostics"]);
    let output = cargo
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("start {}", process::line(&cargo)))?;
    if !output.status.success() {
        bail!("{} ended with {}", process::line(&cargo), output.status);
    }
    let messages = String::from_utf8_lossy(&output.stdout);
    Ok(Built::read(&messages, workspace.root()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(folder: &str, kind: &str, name: &str, source: &str, is_test: bool) -> String {
        format!(
            r#"{{"reason":"compiler-artifact","manifest_path":"/w/{folder}/Cargo.toml","target":{{"kind":["{kind}"],"name":"{name}","src_path":"/w/{source}"}},"profile":{{"test":{is_test}}},"executable":"/t/{name}"}}"#
        )
    }

    #[test]
    fn tests_that_need_root_are_known_by_where_they_lie() {
        let messages = [
            message(
                "filter-user",
                "test",
                "alone",
                "filter-user/../tests/alone/main.rs",
                true,
            ),
            message(
                "filter-user",
                "test",
                "cli",
                "filter-user/../tests/cli/main.rs",
                true,
            ),
            message("lab", "test", "lab", "lab/tests/lab/main.rs", true),
            message("filter-lists", "lib", "l", "filter-lists/src/lib.rs", true),
            message("filter-lists", "test", "x", "filter-lists/tests/x.rs", true),
            message(
                "filter-user",
                "bin",
                "nxdp",
                "filter-user/src/main.rs",
                false,
            ),
            r#"{"reason":"build-finished","success":true}"#.to_owned(),
        ];
        let built = Built::read(&messages.join("\n"), Path::new("/w"));
        let found = built.executables.iter();
        let found: Vec<_> = found.map(|e| (e.name.as_str(), e.kind)).collect();
        let expected = [
            ("filter-lists", Kind::Host),
            ("filter-lists x", Kind::Host),
            ("filter-user cli", Kind::Lab),
            ("lab lab", Kind::Lab),
            ("filter-user alone", Kind::Alone),
        ];
        assert_eq!(found, expected);
        assert_eq!(built.binary("nxdp").unwrap(), Path::new("/t/nxdp"));
        assert!(built.binary("other").is_err());
    }
}
