//! Runs tests as processes, several at a time, and tells how each of them ended.
//!
//! A process of its own has its own signals, environment, descriptors and children: nothing of one
//! test reaches another, and one that hangs is ended alone.

use std::{
    collections::VecDeque,
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
    sync::{Mutex, PoisonError, mpsc},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

use super::{plan::Job, tally::Tally};

/// A process that takes longer hangs.
const LIMIT: Duration = Duration::from_secs(30 * 60);
/// How often a process is asked whether it has ended.
const PAUSE: Duration = Duration::from_millis(10);
/// What a test says that lacks something which it can do without.
const SKIPPED: &str = "skipped: ";

/// How one process ended.
struct Ended {
    label: String,
    took: Duration,
    tally: Tally,
    output: String,
    /// What went wrong, beside what the tests say themselves.
    fault: Option<String>,
}

/// Runs every job, at most so many at a time, and adds up what they found.
///
/// # Errors
/// Fails when a test did, and names all that did.
pub(super) fn run(
    jobs: Vec<Job>,
    at_once: usize,
    command_of: &(dyn Fn(&Job) -> Command + Sync),
    folder: &Path,
    tally: &mut Tally,
) -> Result<()> {
    fs::create_dir_all(folder).context("make the folder of what tests say")?;
    let queue = Mutex::new(jobs.into_iter().enumerate().collect::<VecDeque<_>>());
    let mut failed = Vec::new();
    thread::scope(|scope| {
        let (sender, ended) = mpsc::channel();
        for _ in 0..at_once.max(1) {
            let (sender, queue) = (sender.clone(), &queue);
            scope.spawn(move || {
                while let Some((number, job)) = next(queue) {
                    let output = folder.join(format!("{number}.txt"));
                    let outcome = Ended::of(&job, &mut command_of(&job), &output);
                    if sender.send(outcome).is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        for ended in ended {
            ended.show();
            tally.add(&ended.tally);
            if ended.has_failed() {
                failed.push(ended.label);
            }
        }
    });
    if !failed.is_empty() {
        bail!("failed:\n  {}", failed.join("\n  "));
    }
    Ok(())
}

fn next(queue: &Mutex<VecDeque<(usize, Job)>>) -> Option<(usize, Job)> {
    let mut queue = queue.lock().unwrap_or_else(PoisonError::into_inner);
    queue.pop_front()
}

impl Ended {
    /// Runs the job to its end.
    fn of(job: &Job, command: &mut Command, output: &Path) -> Self {
        let start = Instant::now();
        let status = run_to_the_end(command.args(job.arguments()), output);
        let took = start.elapsed();
        let said = fs::read(output).unwrap_or_default();
        // A file that cannot be removed is in a folder that the next run uses again.
        let _removed = fs::remove_file(output);
        let output = String::from_utf8_lossy(&said).into_owned();
        let mut tally = Tally::default();
        output.lines().for_each(|line| tally.read(line));
        let fault = match status {
            Ok(status) if status.success() == (tally.failed == 0) => None,
            Ok(status) => Some(format!("it ended with {status}")),
            Err(error) => Some(format!("{error:#}")),
        };
        if fault.is_some() {
            // Whoever died told of no failed test.
            tally.failed = tally.failed.max(1);
        }
        Self {
            label: job.label(),
            took,
            tally,
            output,
            fault,
        }
    }

    fn has_failed(&self) -> bool {
        self.tally.failed > 0
    }

    /// One line; all that it said, if it failed.
    fn show(&self) {
        let word = if self.has_failed() { "FAILED" } else { "ok" };
        let seconds = self.took.as_secs_f64();
        if self.tally.is_one() {
            println!("{word:<6} {seconds:>7.2} s  {}", self.label);
        } else {
            println!("{word:<6} {seconds:>7.2} s  {}: {}", self.label, self.tally);
        }
        if self.has_failed() {
            println!("---- what it said\n{}\n----", self.output.trim_end());
        }
        for reason in self.skipped() {
            println!("                  {reason}");
        }
        if let Some(fault) = &self.fault {
            println!("                  {fault}");
        }
    }

    fn skipped(&self) -> impl Iterator<Item = &str> {
        let lines = self.output.lines().filter(|_| !self.has_failed());
        lines.filter(|line| line.starts_with(SKIPPED))
    }
}

/// Lets it write into a file: a pipe would stay open as long as anything that it left behind.
fn run_to_the_end(command: &mut Command, output: &Path) -> Result<ExitStatus> {
    let file = File::create(output).with_context(|| format!("make {}", output.display()))?;
    command.stdout(file.try_clone()?).stderr(file);
    let program = PathBuf::from(command.get_program());
    let mut child = command
        .stdin(Stdio::null())
        .spawn()
        .with_context(|| format!("start {}", program.display()))?;
    let end = Instant::now() + LIMIT;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if Instant::now() > end {
            child.kill()?;
            child.wait()?;
            bail!(
                "it took longer than {} minutes and was ended",
                LIMIT.as_secs() / 60
            );
        }
        thread::sleep(PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{
            compile::{Executable, Kind},
            plan::Tests,
        },
        *,
    };

    /// Runs shell scripts as if they were tests; each sees its arguments as its name.
    fn run_scripts(scripts: &[&str], at_once: usize) -> (Result<()>, Tally, Duration) {
        let job = |script: &&str| Job {
            executable: Executable {
                name: (*script).to_owned(),
                file: "sh".into(),
                folder: "/".into(),
                kind: Kind::Host,
            },
            tests: Tests::All,
        };
        let command_of = |job: &Job| {
            let mut command = Command::new("sh");
            command.args(["-c", &job.executable.name]);
            command
        };
        let folder = std::env::temp_dir().join(format!(
            "nxdp-schedule-{}-{:?}",
            std::process::id(),
            thread::current().id()
        ));
        let (mut tally, start) = (Tally::default(), Instant::now());
        let jobs = scripts.iter().map(job).collect();
        let outcome = run(jobs, at_once, &command_of, &folder, &mut tally);
        let took = start.elapsed();
        fs::remove_dir_all(&folder).unwrap();
        (outcome, tally, took)
    }

    const GOOD: &str = "echo 'test result: ok. 2 passed; 0 failed; 1 ignored; 0 measured'";

    #[test]
    fn what_processes_count_is_added_up() {
        let (outcome, tally, _) = run_scripts(&[GOOD, GOOD, GOOD], 2);
        outcome.unwrap();
        assert_eq!(tally.to_string(), "6 passed, 0 failed, 3 skipped");
    }

    #[test]
    fn a_process_that_dies_before_it_counts_is_one_failure_with_a_name() {
        let dies = "kill -SEGV $$";
        let (outcome, tally, _) = run_scripts(&[GOOD, dies], 1);
        assert!(format!("{:#}", outcome.unwrap_err()).contains(dies));
        assert_eq!(tally.failed, 1);
        // Also one that says that all is well and then fails, and one that cannot be started.
        let (outcome, tally, _) = run_scripts(&[&format!("{GOOD}; exit 3")], 1);
        assert!(outcome.is_err());
        assert_eq!((tally.passed, tally.failed), (2, 1));
    }

    #[test]
    fn a_failed_test_is_counted_once() {
        let failed = "echo 'test result: FAILED. 3 passed; 2 failed; 0 ignored'; exit 101";
        let (outcome, tally, _) = run_scripts(&[failed], 1);
        assert!(outcome.is_err());
        assert_eq!((tally.passed, tally.failed), (3, 2));
    }

    #[test]
    fn so_many_run_at_a_time_and_a_child_left_behind_holds_up_nothing() {
        let waits = format!("sleep 0.5; {GOOD}");
        let leaves = format!("sleep 3 & {GOOD}");
        let scripts = [waits.as_str(), &waits, &waits, &waits, &leaves];
        let (outcome, _, took) = run_scripts(&scripts, 5);
        outcome.unwrap();
        assert!(took < Duration::from_millis(1900), "{took:?}");
    }
}
