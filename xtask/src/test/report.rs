//! What each step took and found, as a table whose last line counts the tests.

use std::{
    fmt,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};

use super::tally::Tally;

/// The steps so far.
#[derive(Default)]
pub(super) struct Report {
    steps: Vec<Step>,
}

struct Step {
    name: &'static str,
    took: Duration,
    tally: Tally,
    error: Option<String>,
}

impl Report {
    /// Runs one step; what it hands back is there if it went well. Later steps run all the same.
    pub(super) fn step<T>(
        &mut self,
        name: &'static str,
        check: impl FnOnce(&mut Tally) -> Result<T>,
    ) -> Option<T> {
        eprintln!("\n== {name}");
        let start = Instant::now();
        let mut tally = Tally::default();
        let (found, error) = match check(&mut tally) {
            Ok(found) => (Some(found), None),
            Err(error) => (None, Some(format!("{error:#}"))),
        };
        if let Some(error) = &error {
            eprintln!("test: {name}: {error}");
        }
        self.steps.push(Step {
            name,
            took: start.elapsed(),
            tally,
            error,
        });
        found
    }

    /// Prints the table.
    ///
    /// # Errors
    /// Fails when a step or a test failed, and when no test was run.
    pub(super) fn conclude(self) -> Result<()> {
        println!();
        let mut total = Tally::default();
        for step in &self.steps {
            println!("{step}");
            total.add(&step.counted());
        }
        let whole: Duration = self.steps.iter().map(|step| step.took).sum();
        println!("{:<22} {:>7.1} s", "all", whole.as_secs_f64());
        println!("{total}");
        if total.failed > 0 {
            bail!("checks failed");
        }
        if total.passed == 0 {
            bail!("no test was run");
        }
        Ok(())
    }
}

impl Step {
    /// A step that failed without a failed test (format, a build error) counts as one failure.
    fn counted(&self) -> Tally {
        let mut tally = self.tally;
        if self.error.is_some() && tally.failed == 0 {
            tally.failed = 1;
        }
        tally
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let outcome = if self.error.is_none() { "ok" } else { "FAILED" };
        let seconds = self.took.as_secs_f64();
        write!(f, "{:<22} {seconds:>7.1} s  {outcome}", self.name)?;
        if self.tally == Tally::default() {
            return Ok(());
        }
        write!(f, ": {}", self.tally)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_that_fails_without_a_failed_test_counts_as_one_failure() {
        let mut report = Report::default();
        let failed: Option<()> = report.step("format", |_| bail!("not formatted"));
        assert!(failed.is_none());
        assert_eq!(report.steps[0].counted().failed, 1);
        assert!(report.conclude().is_err());
    }

    #[test]
    fn a_run_without_any_test_is_no_success() {
        let mut report = Report::default();
        assert!(report.step("tests", |_| Ok(())).is_some());
        assert!(report.conclude().is_err());
    }
}
