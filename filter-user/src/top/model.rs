//! What the screen shows: the last answers of the running filter, and rates between them.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use filter_common::reason::{Action, Reason};

use super::heavy::HeavyHitters;
use crate::{
    control::{Stats, Status},
    querylog::{LogLine, Outcome},
};

/// Seconds of rates that are kept: more than any screen is wide.
const HISTORY_MAX: usize = 512;
/// Names and clients that are counted at the same time.
const WORDS_MAX: usize = 4096;

/// Names and clients of the query log, counted since the start or the last key `c`.
#[derive(Debug)]
pub struct Words {
    pub(super) names: HeavyHitters,
    pub(super) clients: HeavyHitters,
    pub(super) lost: u64,
    /// Why the query log is not told.
    pub(super) refused: Option<String>,
}

impl Default for Words {
    fn default() -> Self {
        Self {
            names: HeavyHitters::new(WORDS_MAX),
            clients: HeavyHitters::new(WORDS_MAX),
            lost: 0,
            refused: None,
        }
    }
}

impl Words {
    /// Counts a line of the query log.
    pub fn add(&mut self, line: &LogLine) {
        match line {
            LogLine::Query(query) => {
                self.clients.add(&query.client.to_string());
                if query.outcome != Outcome::Passed {
                    self.names.add(&query.name);
                }
            }
            LogLine::Lost(lost) => self.lost += lost.lost,
        }
    }

    /// Begins anew.
    pub fn clear(&mut self) {
        self.names.clear();
        self.clients.clear();
        self.lost = 0;
    }
}

/// What a filter said at one moment.
#[derive(Clone, Debug)]
pub struct Sample {
    /// When.
    pub at: Instant,
    /// Its state.
    pub status: Status,
    /// Its counters.
    pub stats: Stats,
}

/// Events a second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Rates {
    pub(super) queries: f64,
    pub(super) blocked: f64,
    pub(super) others: f64,
}

/// A row of a table: what, how many in all, how many a second.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Row {
    pub(super) what: String,
    pub(super) total: u64,
    pub(super) per_s: f64,
}

/// Everything that is shown.
#[derive(Debug, Default)]
pub struct Model {
    pub(super) sample: Option<Sample>,
    pub(super) before: Option<Sample>,
    pub(super) history: VecDeque<Rates>,
    /// Why there is nothing new.
    pub(super) trouble: Option<String>,
    pub(super) is_paused: bool,
}

impl Model {
    /// Takes what the filter said, unless paused.
    pub fn take(&mut self, sample: Result<Sample, String>) {
        match sample {
            _ if self.is_paused => {}
            Ok(sample) => {
                self.trouble = None;
                self.advance(sample);
            }
            Err(why) => self.trouble = Some(why),
        }
    }

    fn advance(&mut self, sample: Sample) {
        // Another process counts from zero again.
        let is_same = |before: &Sample| before.status.pid == sample.status.pid;
        self.before = self.sample.take().filter(is_same);
        self.sample = Some(sample);
        if self.before.is_some() {
            if self.history.len() == HISTORY_MAX {
                self.history.pop_front();
            }
            let rates = self.rates_now();
            self.history.push_back(rates);
        }
    }

    /// Stops or goes on showing what comes.
    pub fn pause(&mut self) {
        self.is_paused = !self.is_paused;
    }

    /// The rates between the last two samples.
    pub(super) fn rates(&self) -> Rates {
        self.history.back().copied().unwrap_or_default()
    }

    fn rates_now(&self) -> Rates {
        let sum = |wanted: fn(Reason) -> bool| {
            let reasons = Reason::ALL.iter().filter(|reason| wanted(**reason));
            reasons
                .map(|reason| self.per_s(|stats| packets(stats, *reason)))
                .sum()
        };
        Rates {
            queries: sum(Reason::is_of_query),
            blocked: sum(is_blocked),
            others: sum(|reason| !reason.is_of_query()),
        }
    }

    /// How fast a counter grows.
    fn per_s(&self, count: impl Fn(&Stats) -> u64) -> f64 {
        let (Some(sample), Some(before)) = (&self.sample, &self.before) else {
            return 0.0;
        };
        let passed = sample.at.saturating_duration_since(before.at);
        let more = count(&sample.stats).saturating_sub(count(&before.stats));
        more as f64 / passed.max(Duration::from_millis(1)).as_secs_f64()
    }

    /// What became of packets, most frequent now first.
    pub(super) fn verdicts(&self) -> Vec<Row> {
        self.rows(Reason::ALL.iter().map(|reason| {
            let count = move |stats: &Stats| packets(stats, *reason);
            (reason.name().to_owned(), count)
        }))
    }

    /// Lists by what they block, most frequent now first.
    pub(super) fn lists(&self) -> Vec<Row> {
        let Some(sample) = &self.sample else {
            return Vec::new();
        };
        self.rows(sample.stats.lists.keys().map(|list| {
            let count = move |stats: &Stats| stats.lists.get(list).copied().unwrap_or(0);
            (list.clone(), count)
        }))
    }

    fn rows<C: Fn(&Stats) -> u64>(&self, counts: impl Iterator<Item = (String, C)>) -> Vec<Row> {
        let Some(sample) = &self.sample else {
            return Vec::new();
        };
        let rows = counts.map(|(what, count)| Row {
            what,
            total: count(&sample.stats),
            per_s: self.per_s(&count),
        });
        let mut rows: Vec<Row> = rows.filter(|row| row.total > 0).collect();
        rows.sort_by(|a, b| {
            let by_rate = b.per_s.total_cmp(&a.per_s);
            by_rate
                .then(b.total.cmp(&a.total))
                .then(a.what.cmp(&b.what))
        });
        rows
    }
}

fn packets(stats: &Stats, reason: Reason) -> u64 {
    stats.packets.get(reason.name()).copied().unwrap_or(0)
}

fn is_blocked(reason: Reason) -> bool {
    reason.is_of_query() && reason.action() != Action::Pass
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// What a filter says after `queries` passed and `blocked` blocked ones.
    pub(in crate::top) fn sample(start: Instant, at_s: u64, queries: u64, blocked: u64) -> Sample {
        let mut stats = Stats::default();
        for (reason, count) in [
            (Reason::NoRule, queries),
            (Reason::NxDomain, blocked),
            (Reason::OtherPort, 1000),
        ] {
            stats.packets.insert(reason.name().to_owned(), count);
        }
        stats.lists.insert("ads".to_owned(), blocked);
        stats.lists.insert("idle".to_owned(), 0);
        Sample {
            at: start + Duration::from_secs(at_s),
            status: Status::default(),
            stats,
        }
    }

    #[test]
    fn rates_are_what_came_between_two_samples() {
        let (start, mut model) = (Instant::now(), Model::default());
        model.take(Ok(sample(start, 0, 100, 10)));
        assert_eq!(model.rates(), Rates::default());
        model.take(Ok(sample(start, 2, 300, 30)));
        let rates = model.rates();
        assert_eq!(
            (rates.queries, rates.blocked, rates.others),
            (110.0, 10.0, 0.0)
        );
        let verdicts = model.verdicts();
        assert_eq!(verdicts[0].what, "pass_no_rule");
        assert_eq!((verdicts[0].total, verdicts[0].per_s), (300, 100.0));
        let lists = model.lists();
        assert_eq!(lists.len(), 1, "a list that blocks nothing is not shown");
        assert_eq!((lists[0].what.as_str(), lists[0].total), ("ads", 30));
    }

    #[test]
    fn a_filter_that_was_started_anew_shows_no_rate_until_its_second_sample() {
        let (start, mut model) = (Instant::now(), Model::default());
        model.take(Ok(sample(start, 0, 100, 10)));
        let mut other = sample(start, 1, 5, 1);
        other.status.pid = 7;
        model.take(Ok(other));
        assert!(model.history.is_empty());
    }

    #[test]
    fn trouble_is_told_until_the_filter_answers_again() {
        let mut model = Model::default();
        model.take(Err("gone".to_owned()));
        assert_eq!(model.trouble.as_deref(), Some("gone"));
        model.take(Ok(sample(Instant::now(), 0, 1, 1)));
        assert_eq!(model.trouble, None);
    }
}
