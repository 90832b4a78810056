//! Which tests there are, and which of them become a process of their own.

use std::{collections::BTreeSet, path::Path};

use anyhow::Result;

use super::compile::{Executable, Kind};
use crate::process;

/// What one process runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Job {
    pub(super) executable: Executable,
    /// The one test of it, or all that match the filter.
    pub(super) tests: Tests,
}

/// Which tests of an executable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Tests {
    One(String),
    All,
    Named(String),
}

/// The processes of one kind of executables.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) jobs: Vec<Job>,
    /// Tests that are told to be left out, and have no process.
    pub(super) skipped: usize,
}

impl Job {
    /// What people read.
    pub(super) fn label(&self) -> String {
        match &self.tests {
            Tests::One(test) => format!("{} {test}", self.executable.name),
            Tests::All | Tests::Named(_) => self.executable.name.clone(),
        }
    }

    /// The arguments of the executable.
    pub(super) fn arguments(&self) -> Vec<&str> {
        match &self.tests {
            Tests::One(test) => vec!["--exact", test, "--nocapture"],
            Tests::All => Vec::new(),
            Tests::Named(filter) => vec![filter],
        }
    }
}

impl Plan {
    /// Asks every executable of this kind what it holds; with a filter only what has it in its name.
    pub(super) fn of(executables: &[Executable], kind: Kind, filter: Option<&str>) -> Result<Self> {
        let mut plan = Self::default();
        for executable in executables.iter().filter(|found| found.kind == kind) {
            let tests = listed(&executable.file, &[])?;
            let ignored = match kind {
                // One process for all of them counts them itself.
                Kind::Host => BTreeSet::new(),
                Kind::Lab | Kind::Alone => listed(&executable.file, &["--ignored"])?,
            };
            plan.add(executable, &tests, &ignored, filter);
        }
        Ok(plan)
    }

    fn add(
        &mut self,
        executable: &Executable,
        tests: &BTreeSet<String>,
        ignored: &BTreeSet<String>,
        filter: Option<&str>,
    ) {
        // The name of an executable stands for all that it holds.
        let filter = filter.filter(|filter| !executable.name.contains(filter));
        let is_wanted = |test: &&String| filter.is_none_or(|filter| test.contains(filter));
        let mut wanted = tests.iter().filter(is_wanted).peekable();
        let job = |tests| Job {
            executable: executable.clone(),
            tests,
        };
        if executable.kind == Kind::Host {
            if wanted.peek().is_some() {
                let all = filter.map_or(Tests::All, |filter| Tests::Named(filter.to_owned()));
                self.jobs.push(job(all));
            }
            return;
        }
        for test in wanted {
            if ignored.contains(test) {
                self.skipped += 1;
            } else {
                self.jobs.push(job(Tests::One(test.clone())));
            }
        }
    }
}

/// The tests that an executable tells of.
fn listed(executable: &Path, options: &[&str]) -> Result<BTreeSet<String>> {
    let mut command = process::outer(executable);
    command.args(["--list", "--format", "terse"]).args(options);
    let said = process::output(&mut command)?;
    let names = said.lines().filter_map(|line| line.strip_suffix(": test"));
    Ok(names.map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(kind: Kind, filter: Option<&str>) -> Plan {
        let executable = Executable {
            name: "filter-user cli".to_owned(),
            file: "/t/cli".into(),
            folder: "/w".into(),
            kind,
        };
        let set = |names: &[&str]| names.iter().map(ToString::to_string).collect();
        let (tests, ignored) = (set(&["a::one", "a::two", "b::three"]), set(&["a::two"]));
        let mut plan = Plan::default();
        plan.add(&executable, &tests, &ignored, filter);
        plan
    }

    fn labels(plan: &Plan) -> Vec<String> {
        plan.jobs.iter().map(Job::label).collect()
    }

    #[test]
    fn every_test_of_a_lab_is_a_process_and_ignored_ones_are_skipped() {
        let plan = plan(Kind::Lab, None);
        assert_eq!(
            labels(&plan),
            ["filter-user cli a::one", "filter-user cli b::three"]
        );
        assert_eq!(plan.skipped, 1);
        assert_eq!(
            plan.jobs[0].arguments(),
            ["--exact", "a::one", "--nocapture"]
        );
    }

    #[test]
    fn tests_on_the_host_share_a_process() {
        let plan = plan(Kind::Host, None);
        assert_eq!(labels(&plan), ["filter-user cli"]);
        assert!(plan.jobs[0].arguments().is_empty());
    }

    #[test]
    fn a_filter_is_a_part_of_a_tests_name_or_of_its_executables() {
        assert_eq!(labels(&plan(Kind::Lab, Some("three"))).len(), 1);
        assert_eq!(labels(&plan(Kind::Lab, Some("user cli"))).len(), 2);
        assert!(labels(&plan(Kind::Lab, Some("four"))).is_empty());
        assert_eq!(plan(Kind::Host, Some("two")).jobs[0].arguments(), ["two"]);
        assert!(plan(Kind::Host, Some("four")).jobs.is_empty());
    }
}
