//! Keeps lists with an address fresh.
//!
//! Owns when lists are asked for and what becomes of what comes back: candidates
//! are handed out to be compiled, and take the place of their copies when the
//! image that they are in is active. ClientFacts happens on threads of its own; the
//! end of the service does not wait for them.

use std::{
    mem,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use tokio::{
    sync::mpsc::{self, UnboundedReceiver, UnboundedSender},
    time::sleep_until,
};

use super::{Display, error_chain};
use crate::{
    config::{Config, FetchConfig, ListConfig},
    fetch::{Accounts, Error, Fetched, Fetcher, ListAccount, Subscription},
    pipeline::{Compiled, ListOutcome, Rejected, Replacement},
};

/// What asking for the list with a copy brought.
type Done = (PathBuf, Result<Fetched, Error>);

/// The lists with an address.
pub(super) struct Refresh {
    /// Or why nobody asks for lists.
    fetcher: Result<Arc<Fetcher>, String>,
    settings: FetchConfig,
    /// When the folder of copies is tried again, which could not be used.
    retry: Option<Instant>,
    subscriptions: Vec<Subscription>,
    in_flight: usize,
    /// When the last list came that waits.
    came: Option<Instant>,
    done: UnboundedReceiver<Done>,
    tell: UnboundedSender<Done>,
}

const NO_URL: &str = "no list has a `url`";
/// How long after a failure the folder of copies is tried again.
const RETRY: Duration = Duration::from_secs(30);
/// How long lists that came wait for others of their round.
const ROUND_PATIENCE: Duration = Duration::from_secs(5);

/// What the compiler and the guards say against lists.
#[derive(Debug)]
pub(super) struct Judged {
    left_out: Vec<Rejected>,
    refused: Vec<Rejected>,
}

impl Judged {
    pub(super) fn of(compiled: &Compiled) -> Self {
        Self {
            left_out: compiled.left_out.clone(),
            refused: compiled.refused.clone(),
        }
    }
}

/// What there is to do.
pub(super) enum Turn {
    /// To tell that a list could not be fetched.
    Failed(ListAccount),
    /// To tell that lists are fetched again.
    Resumed,
    /// To compile the candidates.
    Compile,
}

impl Refresh {
    /// Takes up the lists of a configuration where an earlier process left them.
    pub(super) fn open(config: &Config) -> Result<Self, Error> {
        let mut refresh = Self::without_network(config, NO_URL);
        if !refresh.subscriptions.is_empty() {
            refresh.fetcher = Ok(Arc::new(Fetcher::open(&config.fetch)?));
        }
        Ok(refresh)
    }

    /// The same where the folder of copies cannot be used; it is tried again.
    fn stopped(config: &Config, why: &str) -> Self {
        let mut refresh = Self::without_network(config, why);
        refresh.retry = Some(Instant::now() + RETRY);
        refresh
    }

    /// Why lists are not fetched though some have an address.
    pub(super) fn why_stopped(&self) -> Option<&str> {
        let why = self.fetcher.as_ref().err()?;
        self.retry.map(|_| why.as_str())
    }

    /// The same, to live on the copies that there are.
    pub(super) fn without_network(config: &Config, why: &str) -> Self {
        let of_url = |list: &&ListConfig| list.url.is_some();
        let lists = config.lists.iter().filter(of_url);
        let (tell, done) = mpsc::unbounded_channel();
        Self {
            fetcher: Err(why.to_owned()),
            settings: config.fetch.clone(),
            retry: None,
            subscriptions: lists.map(Subscription::open).collect(),
            in_flight: 0,
            came: None,
            done,
            tell,
        }
    }

    /// Goes on by another configuration, with the same folder of copies.
    ///
    /// # Errors
    ///
    /// When the folder is needed for the first time and cannot be used.
    pub(super) fn follow(&mut self, old: &Config, new: &Config) -> Result<(), Error> {
        let mut known = mem::take(&mut self.subscriptions);
        for list in new.lists.iter().filter(|list| list.url.is_some()) {
            let at = known.iter().position(|known| known.path() == list.path);
            let mut subscription = match at {
                Some(at) => known.swap_remove(at),
                None => Subscription::open(list),
            };
            subscription.follow(list);
            if at.is_none() && !subscription.has_copy() {
                subscription.hurry();
            }
            self.subscriptions.push(subscription);
        }
        self.settings.clone_from(&new.fetch);
        self.retry = None;
        self.fetcher = match &self.fetcher {
            _ if self.subscriptions.is_empty() => Err(NO_URL.to_owned()),
            Ok(fetcher) if old.fetch == new.fetch => Ok(Arc::clone(fetcher)),
            Ok(fetcher) => Ok(Arc::new(fetcher.with(&new.fetch))),
            Err(_) => return self.resume(),
        };
        Ok(())
    }

    /// Tries to use the folder of copies, now or later.
    fn resume(&mut self) -> Result<(), Error> {
        match Fetcher::open(&self.settings) {
            Ok(fetcher) => {
                (self.fetcher, self.retry) = (Ok(Arc::new(fetcher)), None);
                Ok(())
            }
            Err(error) => {
                self.fetcher = Err(error_chain(&error));
                self.retry = Some(Instant::now() + RETRY);
                Err(error)
            }
        }
    }

    /// Asks for the lists that nothing can be compiled without, and hands back those that failed.
    ///
    /// Who takes too long is not waited for: that list comes later.
    pub(super) async fn fetch_missing(&mut self) -> Vec<ListAccount> {
        self.ask(&self.missing());
        let mut failed = Vec::new();
        while self.in_flight > 0 && !self.is_ripe() {
            let ripe = self.ripe();
            tokio::select! {
                Some(done) = self.done.recv() => failed.extend(self.note(done)),
                () = until(ripe) => {}
            }
        }
        failed
    }

    /// When the lists that came are compiled without those that are still on their way.
    fn ripe(&self) -> Option<Instant> {
        let waits = self
            .subscriptions
            .iter()
            .any(|list| list.candidate().is_some());
        self.came
            .filter(|_| waits)
            .map(|came| came + ROUND_PATIENCE)
    }

    fn is_ripe(&self) -> bool {
        self.ripe().is_some_and(|ripe| ripe <= Instant::now())
    }

    /// Makes the lists due that have no copy.
    pub(super) fn hurry_missing(&mut self) {
        self.hurry(&self.missing());
    }

    fn missing(&self) -> Vec<usize> {
        let is_missing = |at: &usize| {
            let list = &self.subscriptions[*at];
            !list.has_copy() && !list.is_held_back()
        };
        (0..self.subscriptions.len()).filter(is_missing).collect()
    }

    /// Asks for lists, waits until all of them are done, and hands back those that failed.
    pub(super) async fn fetch(&mut self, lists: &[usize]) -> Vec<ListAccount> {
        self.ask(lists);
        let mut failed = Vec::new();
        while self.in_flight > 0 {
            if let Some(done) = self.done.recv().await {
                failed.extend(self.note(done));
            }
        }
        failed
    }

    /// Waits until there is something to do; asks for lists as they fall due.
    ///
    /// Nothing is lost if the wait is given up.
    pub(super) async fn next(&mut self) -> Turn {
        loop {
            if self.retry.is_some_and(|retry| retry <= Instant::now()) && self.resume().is_ok() {
                self.hurry_missing();
                return Turn::Resumed;
            }
            if self.is_ripe() {
                return Turn::Compile;
            }
            if self.in_flight == 0 {
                if self
                    .subscriptions
                    .iter()
                    .any(|list| list.candidate().is_some())
                {
                    return Turn::Compile;
                }
                self.ask(&self.due());
            }
            let next = self.next_due().into_iter().chain(self.ripe()).min();
            tokio::select! {
                Some(done) = self.done.recv() => {
                    if let Some(failed) = self.note(done) {
                        return Turn::Failed(failed);
                    }
                }
                () = until(next) => {}
            }
        }
    }

    /// The lists of a name, or all of them.
    ///
    /// # Errors
    ///
    /// When there are none, or nobody asks for lists.
    pub(super) fn find(&self, name: Option<&str>) -> Result<Vec<usize>, String> {
        if let Err(why) = &self.fetcher {
            return Err(format!("fetch lists: {why}"));
        }
        let is_meant = |list: &Subscription| name.is_none_or(|name| list.name() == name);
        let lists = self.subscriptions.iter().enumerate();
        let found: Vec<usize> = lists
            .filter(|(_, list)| is_meant(list))
            .map(|(at, _)| at)
            .collect();
        match name {
            Some(name) if found.is_empty() => {
                let names: Vec<_> = self.subscriptions.iter().map(Subscription::name).collect();
                let names = names.join(", ");
                Err(format!(
                    "no list with a `url` is called '{name}': there are {names}"
                ))
            }
            _ => Ok(found),
        }
    }

    /// Makes lists due now.
    pub(super) fn hurry(&mut self, lists: &[usize]) {
        for &at in lists {
            self.subscriptions[at].hurry();
        }
    }

    /// The candidates, as the compiler wants them.
    pub(super) fn replacements(&self) -> Vec<Replacement> {
        let replacement = |list: &Subscription| {
            Some(Replacement {
                path: list.path().to_owned(),
                file: list.candidate()?.path(),
            })
        };
        self.subscriptions.iter().filter_map(replacement).collect()
    }

    /// Puts the candidates that are in an image in the place of their copies, and hands back
    /// what did not come so far.
    pub(super) fn admit(&mut self, judged: &Judged) -> Vec<ListAccount> {
        let (mut rejected, mut placed) = (Vec::new(), Vec::new());
        for list in &mut self.subscriptions {
            let why =
                |of: &[Rejected]| Some(of.iter().find(|one| one.path == list.path())?.why.clone());
            if let Some(why) = why(&judged.left_out).filter(|_| list.has_copy()) {
                list.lose_copy(&why);
                rejected.push(list.account(true));
            } else if let Some(why) = why(&judged.refused) {
                list.refuse(&why);
                rejected.push(list.account(true));
            } else if list.candidate().is_some() {
                match list.accept() {
                    Ok(()) => placed.push(list.path().to_owned()),
                    Err(_) => rejected.push(list.account(true)),
                }
            }
        }
        self.forget_former(&placed);
        rejected
    }

    /// Removes what stood in for copies that are there now.
    fn forget_former(&self, placed: &[PathBuf]) {
        let is_copy = |path: &Path| self.subscriptions.iter().any(|list| list.path() == path);
        let is_placed = |list: &&Subscription| placed.iter().any(|path| path == list.path());
        for list in self.subscriptions.iter().filter(is_placed) {
            list.forget_former(is_copy);
        }
    }

    /// Gives the candidates up, because of what they are or because of something else.
    pub(super) fn reject(&mut self, why: &str, is_their_fault: bool) {
        for list in &mut self.subscriptions {
            if is_their_fault {
                list.refuse(why);
            } else {
                list.postpone(why);
            }
        }
    }

    /// Gives up the copy that an error is about, and asks for another one.
    pub(super) fn lose(&mut self, copy: &Path, why: &str) {
        let mut lists = self.subscriptions.iter_mut();
        if let Some(list) = lists.find(|list| list.path() == copy) {
            list.lose_copy(why);
        }
    }

    /// What is told of every list of the configuration.
    pub(super) fn accounts(
        &self,
        config: &Config,
        outcomes: &[&ListOutcome],
        is_running: bool,
    ) -> Accounts {
        let rules =
            |path: &Path| Some(outcomes.iter().find(|list| list.path == path)?.report.rules);
        let of_url = |path: &Path| self.subscriptions.iter().find(|list| list.path() == path);
        let account = |list: &ListConfig| {
            let account = match of_url(&list.path) {
                Some(list) => list.account(is_running && self.fetcher.is_ok()),
                None => ListAccount::of_file(list),
            };
            ListAccount {
                // A list that was left out has none.
                rules: rules(&list.path)
                    .filter(|rules| *rules > 0)
                    .or(account.rules),
                ..account
            }
        };
        Accounts {
            version: Accounts::VERSION,
            refresh_stopped: self.why_stopped().map(str::to_owned),
            lists: (config.lists.iter())
                .chain(&config.custom_lists())
                .map(account)
                .collect(),
        }
    }

    fn due(&self) -> Vec<usize> {
        let now = Instant::now();
        let is_due = |at: &usize| {
            let list = &self.subscriptions[*at];
            list.is_idle() && list.due() <= now
        };
        (0..self.subscriptions.len()).filter(is_due).collect()
    }

    /// When the next list falls due, unless some are on their way: those are waited for.
    fn next_due(&self) -> Option<Instant> {
        if self.fetcher.is_err() {
            return self.retry;
        }
        if self.in_flight > 0 {
            return None;
        }
        let idle = self.subscriptions.iter().filter(|list| list.is_idle());
        idle.map(Subscription::due).min()
    }

    fn ask(&mut self, lists: &[usize]) {
        let Ok(fetcher) = &self.fetcher else {
            return;
        };
        if lists.is_empty() {
            return;
        }
        self.in_flight += lists.len();
        let requests = lists
            .iter()
            .map(|&at| self.subscriptions[at].request())
            .collect();
        let (fetcher, tell) = (Arc::clone(fetcher), self.tell.clone());
        // Nobody listens any more when the service has ended.
        let work = move || {
            fetcher.fetch_all(requests, |copy, outcome| drop(tell.send((copy, outcome))));
        };
        if let Err(error) = thread::Builder::new().spawn(work) {
            for &at in lists {
                let copy = self.subscriptions[at].path().to_owned();
                let outcome = Err(Error::Thread(error.to_string()));
                let _ = self.tell.send((copy, outcome));
            }
        }
    }

    fn note(&mut self, (copy, outcome): Done) -> Option<ListAccount> {
        let has_failed = outcome.is_err();
        if matches!(outcome, Ok(Fetched::New(_))) {
            self.came = Some(Instant::now());
        }
        self.in_flight -= 1;
        // It may have left the configuration meanwhile.
        let mut lists = self.subscriptions.iter_mut();
        let list = lists.find(|list| list.path() == copy)?;
        list.note(outcome);
        has_failed.then(|| list.account(true))
    }
}

/// Takes up the lists, and tells of the copies that there are.
///
/// # Errors
///
/// When the folder of the copies cannot be used and there is nothing to live on: no copy, no list
/// of this machine, and nothing that is `in_force` already.
pub(super) fn open_refresh(
    config: &Config,
    display: &Display,
    in_force: bool,
) -> Result<Refresh, Error> {
    let refresh = match Refresh::open(config) {
        Ok(refresh) => refresh,
        Err(error) => {
            let why = error_chain(&error);
            let refresh = Refresh::stopped(config, &why);
            let has_file = config.lists.iter().any(|list| list.url.is_none());
            let has_copy = refresh.subscriptions.iter().any(Subscription::has_copy);
            if !(has_file || has_copy || in_force) {
                return Err(error);
            }
            display.no_refresh(&why);
            refresh
        }
    };
    let copies = refresh.subscriptions.iter().filter(|list| list.has_copy());
    for copy in copies {
        display.starts_from(&copy.account(refresh.fetcher.is_ok()));
    }
    Ok(refresh)
}

async fn until(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time.into()).await,
        None => std::future::pending().await,
    }
}
