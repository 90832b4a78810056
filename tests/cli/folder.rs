//! Commands that read files, as a user calls them in a folder.

use std::{
    fs,
    process::{Command, Output},
};

use nxdp_lab::filter::binary;
use serde_json::Value;
use tempfile::TempDir;

/// A folder with files, in which commands run.
pub struct Folder(pub TempDir);

impl Folder {
    /// With these files, by name and text.
    pub fn with(files: &[(&str, &str)]) -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        for (name, text) in files {
            folder.write(name, text.as_bytes());
        }
        folder
    }

    /// Writes one more, or anew.
    pub fn write(&self, name: &str, bytes: &[u8]) {
        fs::write(self.0.path().join(name), bytes).unwrap();
    }

    /// Runs `nxdp` with the words of a line.
    pub fn run(&self, arguments: &str) -> Ran {
        self.run_in(arguments, &[])
    }

    /// Runs it with these variables in its environment.
    pub fn run_in(&self, arguments: &str, variables: &[(&str, &str)]) -> Ran {
        let output = Command::new(binary().unwrap())
            .args(arguments.split_whitespace())
            .envs(variables.iter().copied())
            .current_dir(self.0.path())
            .output()
            .unwrap();
        Ran::of(&output)
    }
}

/// What a command did.
pub struct Ran {
    /// Exit code.
    pub code: Option<i32>,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Ran {
    /// Of a command that ended.
    pub fn of(output: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self {
            code: output.status.code(),
            out: text(&output.stdout),
            err: text(&output.stderr),
        }
    }

    /// Ended with this exit code.
    #[track_caller]
    pub fn ended(&self, code: i32) -> &Self {
        assert_eq!(self.code, Some(code), "{}\n{}", self.out, self.err);
        self
    }

    /// Said all of these somewhere.
    #[track_caller]
    pub fn says(&self, parts: &[&str]) -> &Self {
        for part in parts {
            let found = self.out.contains(part) || self.err.contains(part);
            assert!(found, "no '{part}' in\n{}\n{}", self.out, self.err);
        }
        self
    }

    /// Succeeded, and told one JSON object.
    #[track_caller]
    pub fn json(&self) -> Value {
        self.ended(0);
        serde_json::from_str(&self.out).unwrap()
    }
}
