//! One list with an address: its copy, what is remembered of it, and when it is due.

use std::{
    error::Error as _,
    mem,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use super::{
    Candidate, Error, FetchRequest, Fetched, LastTry, ListAccount, Outcome, copies, retry,
    state::{State, now_s, sync_folder},
};
use crate::{
    config::{ListConfig, REFRESH_DEFAULT},
    identity,
};

/// A list that is fetched again and again.
#[derive(Debug)]
pub struct Subscription {
    list: ListConfig,
    name: String,
    state: State,
    due: Instant,
    activity: Activity,
}

/// Why a try failed that no process finished.
const CUT_OFF: &str =
    "nxdp ended before it was done: it may have been ended because of the list, for lack of memory";

/// What is being done about a list.
#[derive(Debug)]
enum Activity {
    /// It waits.
    Idle,
    /// Somebody asks for it.
    Fetching,
    /// A candidate waits for guards and compiler.
    Candidate(Candidate),
}

impl Subscription {
    /// Takes up a list where an earlier process left it.
    pub fn open(list: &ListConfig) -> Self {
        let mut state = State::read(&list.path);
        if let Some(at_s) = state.under_way_s {
            state.failures = state.failures.saturating_add(1);
            state.last = Some(LastTry {
                at_s,
                outcome: Outcome::Failed,
                why: Some(CUT_OFF.to_owned()),
            });
        }
        let refresh = refresh_of(list);
        let wait = retry::at_start(&state, refresh, now_s(), retry::draw());
        Self {
            list: list.clone(),
            name: list.name(),
            state,
            due: Instant::now() + wait,
            activity: Activity::Idle,
        }
    }

    /// Goes on by other settings of the list, whose copy is the same.
    pub fn follow(&mut self, list: &ListConfig) {
        let refresh = refresh_of(list);
        // Another interval counts from now.
        if refresh != self.refresh() {
            self.due = Instant::now() + retry::after_success(refresh, retry::draw());
        }
        self.list = list.clone();
    }

    /// The list's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The file of the copy.
    pub fn path(&self) -> &Path {
        &self.list.path
    }

    /// Whether there is a copy to start from.
    pub fn has_copy(&self) -> bool {
        self.list.path.is_file()
    }

    /// Whether it waits for nothing but time.
    pub fn is_idle(&self) -> bool {
        matches!(self.activity, Activity::Idle)
    }

    /// When it is to be asked for.
    pub fn due(&self) -> Instant {
        self.due
    }

    /// Whether its last try ended with the process that made it, and the next one has to wait.
    pub fn is_held_back(&self) -> bool {
        self.state.under_way_s.is_some() && self.is_idle() && self.due > Instant::now()
    }

    /// Makes it due, whatever was planned.
    pub fn hurry(&mut self) {
        self.due = Instant::now();
    }

    /// The request that is to be made; the outcome must be noted.
    pub fn request(&mut self) -> FetchRequest {
        self.activity = Activity::Fetching;
        // Before anything is read: who is ended because of the list knows it at the next start. On
        // a full disk nobody does.
        self.state.under_way_s = Some(now_s());
        let _ = self.state.write(&self.list.path);
        FetchRequest {
            list: self.list.clone(),
            // Without the file what is known of it is worth nothing.
            known: self.state.copy.clone().filter(|_| self.has_copy()),
        }
    }

    /// Notes what asking brought.
    pub fn note(&mut self, outcome: Result<Fetched, Error>) {
        self.activity = Activity::Idle;
        match outcome {
            Ok(Fetched::New(candidate)) => self.activity = Activity::Candidate(candidate),
            Ok(Fetched::Unchanged(said)) => {
                if let (Some(copy), Some(validators)) = (&mut self.state.copy, said.0) {
                    copy.validators = validators;
                }
                self.succeed(Outcome::Unchanged);
            }
            Err(error) => self.fail(&told(&error), error.retry_after()),
        }
    }

    /// The file that would take the copy's place.
    pub fn candidate(&self) -> Option<&Candidate> {
        match &self.activity {
            Activity::Candidate(candidate) => Some(candidate),
            Activity::Idle | Activity::Fetching => None,
        }
    }

    /// Puts the candidate in the place of the copy.
    ///
    /// # Errors
    ///
    /// When the file cannot be renamed; the copy is as it was then.
    pub fn accept(&mut self) -> Result<(), Error> {
        let Some(candidate) = self.take_candidate() else {
            return Ok(());
        };
        let Candidate { file, copy } = candidate;
        let path = self.list.path.clone();
        let placed = identity::as_owner(&path, || {
            file.persist(&path).map_err(|error| error.error)?;
            sync_folder(&folder_of(&path))
        });
        if let Err(source) = placed {
            let error = Error::Write { path, source };
            self.fail(&told(&error), None);
            return Err(error);
        }
        self.state.copy = Some(copy);
        self.succeed(Outcome::New);
        Ok(())
    }

    /// Removes the copies by former addresses, once there is one by this address; `is_other` says
    /// what is the copy of another list.
    pub fn forget_former(&self, is_other: impl Fn(&Path) -> bool) {
        if self.has_copy() {
            copies::forget_former(&self.list.path, is_other);
        }
    }

    /// Forgets the candidate; the copy stays, and the server is asked again when it is due.
    pub fn refuse(&mut self, why: &str) {
        if self.take_candidate().is_some() {
            let wait = retry::after_success(self.refresh(), retry::draw());
            self.conclude(Outcome::Refused, Some(why.to_owned()), wait);
        }
    }

    /// Forgets the candidate, to try again soon: it is not why it cannot be used.
    pub fn postpone(&mut self, why: &str) {
        if self.take_candidate().is_some() {
            self.fail(why, None);
        }
    }

    /// Forgets a copy that cannot be read any more, and asks for another one.
    pub fn lose_copy(&mut self, why: &str) {
        self.take_candidate();
        self.state.copy = None;
        self.state.checked_s = None;
        self.conclude(Outcome::Failed, Some(why.to_owned()), Duration::ZERO);
    }

    /// What is told of it; `is_running` where somebody asks for it when it is due.
    pub fn account(&self, is_running: bool) -> ListAccount {
        let copy = self.state.copy.as_ref();
        let wait = self.due.saturating_duration_since(Instant::now());
        ListAccount {
            name: self.name.clone(),
            source: self.list.source(),
            path: self.list.path.clone(),
            bytes: None,
            rules: copy.map(|copy| copy.rules),
            fetched_s: copy.map(|copy| copy.fetched_s),
            checked_s: self.state.checked_s,
            next_refresh_s: is_running.then_some(wait.as_secs()),
            last_try: self.state.last.clone(),
            is_busy: is_running && (!self.is_idle() || wait.is_zero()),
        }
        .with_file()
    }

    fn refresh(&self) -> Duration {
        refresh_of(&self.list)
    }

    fn take_candidate(&mut self) -> Option<Candidate> {
        match mem::replace(&mut self.activity, Activity::Idle) {
            Activity::Candidate(candidate) => Some(candidate),
            other => {
                self.activity = other;
                None
            }
        }
    }

    fn succeed(&mut self, outcome: Outcome) {
        self.state.checked_s = Some(now_s());
        self.state.failures = 0;
        self.state.not_before_s = None;
        let wait = retry::after_success(self.refresh(), retry::draw());
        self.conclude(outcome, None, wait);
    }

    fn fail(&mut self, why: &str, retry_after: Option<Duration>) {
        self.state.failures = self.state.failures.saturating_add(1);
        self.state.not_before_s = retry_after.map(|wait| now_s() + wait.as_secs());
        let (failures, refresh) = (self.state.failures, self.refresh());
        let wait = retry::after_failure(failures, refresh, retry_after, retry::draw());
        self.conclude(Outcome::Failed, Some(why.to_owned()), wait);
    }

    fn conclude(&mut self, outcome: Outcome, why: Option<String>, wait: Duration) {
        self.state.last = Some(LastTry {
            at_s: now_s(),
            outcome,
            why,
        });
        self.state.under_way_s = None;
        self.due = Instant::now() + wait;
        // On a full disk the list is in force all the same, and fetched once more after a restart.
        let _ = self.state.write(&self.list.path);
    }
}

fn refresh_of(list: &ListConfig) -> Duration {
    list.refresh.unwrap_or(REFRESH_DEFAULT).0
}

/// An error with its cause.
fn told(error: &Error) -> String {
    match error.source() {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

fn folder_of(path: &Path) -> PathBuf {
    path.parent().unwrap_or(Path::new(".")).to_owned()
}
