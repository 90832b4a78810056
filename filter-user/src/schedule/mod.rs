//! When a policy blocks more or less than usual: weekdays and local times.
//!
//! Owns spans of local time and the instants at which they begin and end, in
//! zones whose clocks jump. What is blocked then is a set of bits that others
//! give a meaning.

mod days;

use jiff::{
    Timestamp, ToSpan as _,
    civil::{Date, Time},
    tz::{AmbiguousOffset, TimeZone},
};

pub use self::days::{Days, DaysError};

/// Days ahead in which the next switch is looked for: a week, another one because clocks may jump over
/// a span, and a day for one that is under way.
const DAYS_AHEAD: i64 = 15;
const DAYS_OF_A_WEEK: i64 = 7;

/// Spans of local time in one zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// Where clocks are looked at.
    pub zone: TimeZone,
    /// The spans; they may overlap.
    pub spans: Vec<Span>,
}

/// A time of some days; one that does not end after its start ends on the next day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The days on which it starts.
    pub days: Days,
    /// When it starts.
    pub from: Time,
    /// When it ends.
    pub to: Time,
    /// What it adds.
    pub change: CategoryChange,
}

/// What is different for a time: two sets of categories.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct CategoryChange {
    /// Blocked besides what always is.
    pub block: u64,
    /// Not blocked, whatever else says so.
    pub allow: u64,
}

impl CategoryChange {
    /// The categories that are blocked where `usual` always are.
    pub const fn applied_to(self, usual: u64) -> u64 {
        (usual | self.block) & !self.allow
    }
}

impl Schedule {
    /// A schedule that changes nothing.
    pub const fn empty() -> Self {
        Self {
            zone: TimeZone::UTC,
            spans: Vec::new(),
        }
    }

    /// What holds at an instant.
    pub fn at(&self, when: Timestamp) -> CategoryChange {
        let mut change = CategoryChange::default();
        for (start, end, adds) in self.occurrences(when, 0) {
            if start <= when && when < end {
                change.block |= adds.block;
                change.allow |= adds.allow;
            }
        }
        change
    }

    /// Everything that holds at some time of a week, each once.
    pub fn changes_of_a_week(&self) -> Vec<CategoryChange> {
        let occurrences = self.occurrences(Timestamp::UNIX_EPOCH, DAYS_OF_A_WEEK);
        let edges = occurrences.flat_map(|(start, end, _)| [start, end]);
        let mut changes: Vec<_> = edges.map(|edge| self.at(edge)).collect();
        changes.sort_unstable();
        changes.dedup();
        changes
    }

    /// The next instant at which something else holds.
    pub fn next_switch(&self, after: Timestamp) -> Option<Timestamp> {
        let occurrences = self.occurrences(after, DAYS_AHEAD);
        let mut edges: Vec<Timestamp> = occurrences
            .flat_map(|(start, end, _)| [start, end])
            .filter(|edge| *edge > after)
            .collect();
        edges.sort_unstable();
        let now = self.at(after);
        edges.into_iter().find(|edge| self.at(*edge) != now)
    }

    /// Start and end of every span that starts from the day before `when` to `days_ahead` days after it.
    fn occurrences(
        &self,
        when: Timestamp,
        days_ahead: i64,
    ) -> impl Iterator<Item = (Timestamp, Timestamp, CategoryChange)> {
        let today = when.to_zoned(self.zone.clone()).date();
        (-1..=days_ahead).flat_map(move |ahead| {
            let date = today.saturating_add(ahead.days());
            let spans = self.spans.iter();
            let spans = spans.filter(move |span| span.days.contains(date.weekday()));
            spans.map(move |span| {
                let last = if span.to > span.from {
                    date
                } else {
                    date.saturating_add(1.day())
                };
                let start = self.instant(date, span.from);
                (start, self.instant(last, span.to), span.change)
            })
        })
    }

    /// When clocks show this time: the first time if they do twice, and when they jump over it otherwise.
    fn instant(&self, date: Date, time: Time) -> Timestamp {
        let local = date.to_datetime(time);
        let ambiguous = self.zone.to_ambiguous_timestamp(local);
        if let AmbiguousOffset::Gap { after, .. } = ambiguous.offset()
            && let Ok(before_jump) = after.to_timestamp(local)
            && let Some(jump) = self.zone.following(before_jump).next()
        {
            return jump.timestamp();
        }
        // Fails at the ends of time only.
        ambiguous.compatible().unwrap_or(Timestamp::MAX)
    }
}

#[cfg(test)]
mod tests {
    use jiff::civil::time;

    use super::*;

    const SOCIAL: u64 = 1;
    const GAMES: u64 = 2;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn span(days: &[&str], from: Time, to: Time, block: u64) -> Span {
        Span {
            days: Days::parse(days).unwrap(),
            from,
            to,
            change: CategoryChange { block, allow: 0 },
        }
    }

    fn in_berlin(spans: Vec<Span>) -> Schedule {
        Schedule {
            zone: TimeZone::get("Europe/Berlin").unwrap(),
            spans,
        }
    }

    #[test]
    fn a_school_night_starts_on_its_weekday_and_ends_on_the_next_morning() {
        let nights = [span(
            &["sun-thu"],
            time(20, 0, 0, 0),
            time(6, 30, 0, 0),
            SOCIAL,
        )];
        let schedule = in_berlin(nights.to_vec());
        // 2026-01-09 is a Friday; Berlin is an hour ahead of UTC in winter.
        for (when, blocked) in [
            ("2026-01-08T18:59:59Z", 0),
            ("2026-01-08T19:00:00Z", SOCIAL),
            ("2026-01-09T05:29:59Z", SOCIAL),
            ("2026-01-09T05:30:00Z", 0),
            ("2026-01-09T20:00:00Z", 0),
            ("2026-01-10T20:00:00Z", 0),
            ("2026-01-11T19:00:00Z", SOCIAL),
        ] {
            assert_eq!(schedule.at(at(when)).block, blocked, "{when}");
        }
        let friday_noon = at("2026-01-09T11:00:00Z");
        assert_eq!(
            schedule.next_switch(friday_noon),
            Some(at("2026-01-11T19:00:00Z"))
        );
    }

    #[test]
    fn the_same_local_time_is_another_instant_in_summer() {
        let evenings = [span(
            &["mon-sun"],
            time(20, 0, 0, 0),
            time(22, 0, 0, 0),
            SOCIAL,
        )];
        let schedule = in_berlin(evenings.to_vec());
        let next = |after| schedule.next_switch(at(after)).unwrap();
        assert_eq!(next("2026-01-08T12:00:00Z"), at("2026-01-08T19:00:00Z"));
        assert_eq!(next("2026-07-08T12:00:00Z"), at("2026-07-08T18:00:00Z"));
    }

    #[test]
    fn a_time_that_clocks_jump_over_is_when_they_jump() {
        // Berlin, 2026-03-29: 02:00 becomes 03:00 at 01:00 UTC.
        let jump = at("2026-03-29T01:00:00Z");
        let hour = Time::constant;
        let to_half_past = in_berlin(vec![span(
            &["sun"],
            hour(1, 0, 0, 0),
            hour(2, 30, 0, 0),
            GAMES,
        )]);
        assert_eq!(
            to_half_past.next_switch(at("2026-03-29T00:30:00Z")),
            Some(jump)
        );
        let from_half_past = in_berlin(vec![span(
            &["sun"],
            hour(2, 30, 0, 0),
            hour(4, 0, 0, 0),
            GAMES,
        )]);
        assert_eq!(from_half_past.at(jump).block, GAMES);
        assert_eq!(from_half_past.at(at("2026-03-29T00:59:59Z")).block, 0);
        assert_eq!(from_half_past.at(at("2026-03-29T02:00:00Z")).block, 0);
    }

    #[test]
    fn a_span_that_clocks_jump_over_is_not_the_last_one() {
        // Berlin, 2026-03-29: there is no time between 02:00 and 03:00.
        let night = [span(&["sun"], time(2, 0, 0, 0), time(3, 0, 0, 0), GAMES)];
        let schedule = in_berlin(night.to_vec());
        let next = |after| schedule.next_switch(at(after));
        assert_eq!(
            next("2026-03-22T00:59:59Z"),
            Some(at("2026-03-22T01:00:00Z"))
        );
        assert_eq!(
            next("2026-03-22T02:00:00Z"),
            Some(at("2026-04-05T00:00:00Z"))
        );
    }

    #[test]
    fn a_time_that_clocks_show_twice_is_the_first_of_both() {
        // Berlin, 2026-10-25: 03:00 becomes 02:00 at 01:00 UTC.
        let night = [span(&["sun"], time(2, 30, 0, 0), time(3, 0, 0, 0), GAMES)];
        let schedule = in_berlin(night.to_vec());
        assert_eq!(schedule.at(at("2026-10-25T00:29:59Z")).block, 0);
        assert_eq!(schedule.at(at("2026-10-25T00:30:00Z")).block, GAMES);
        assert_eq!(schedule.at(at("2026-10-25T01:59:59Z")).block, GAMES);
        assert_eq!(schedule.at(at("2026-10-25T02:00:00Z")).block, 0);
    }

    #[test]
    fn overlapping_spans_add_up_and_what_is_allowed_wins() {
        let evening = span(
            &["mon-sun"],
            time(18, 0, 0, 0),
            time(22, 0, 0, 0),
            SOCIAL | GAMES,
        );
        let free = Span {
            change: CategoryChange {
                block: 0,
                allow: GAMES,
            },
            ..span(&["sat"], time(19, 0, 0, 0), time(20, 0, 0, 0), 0)
        };
        let schedule = Schedule {
            zone: TimeZone::UTC,
            spans: vec![evening, free],
        };
        let blocked = |when| schedule.at(at(when)).applied_to(8);
        assert_eq!(blocked("2026-01-10T18:30:00Z"), SOCIAL | GAMES | 8);
        assert_eq!(blocked("2026-01-10T19:30:00Z"), SOCIAL | 8);
        assert_eq!(blocked("2026-01-10T23:00:00Z"), 8);
        assert_eq!(
            schedule.next_switch(at("2026-01-10T18:30:00Z")),
            Some(at("2026-01-10T19:00:00Z"))
        );
    }

    #[test]
    fn a_span_without_end_before_its_start_is_a_whole_day_and_what_never_changes_never_switches() {
        let always = [span(
            &["mon-sun"],
            time(0, 0, 0, 0),
            time(0, 0, 0, 0),
            SOCIAL,
        )];
        let schedule = in_berlin(always.to_vec());
        let mut when = at("2026-03-27T00:00:00Z");
        for _ in 0..96 {
            assert_eq!(schedule.at(when).block, SOCIAL, "{when}");
            assert_eq!(schedule.next_switch(when), None);
            when += 1.hour();
        }
        assert_eq!(Schedule::empty().next_switch(when), None);
    }

    proptest::proptest! {
        #[test]
        fn nothing_changes_before_the_next_switch_and_something_does_then(
            zone in proptest::sample::select(vec![
                "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "UTC",
            ]),
            start in 1_700_000_000i64..1_900_000_000,
            days in 1u8..128,
            from in 0i8..24,
            to in 0i8..24,
            probe in 0.0..1.0f64,
        ) {
            let schedule = Schedule {
                zone: TimeZone::get(zone).unwrap(),
                spans: vec![Span {
                    days: Days::from_bits(days),
                    from: Time::constant(from, 15, 0, 0),
                    to: Time::constant(to, 45, 0, 0),
                    change: CategoryChange { block: SOCIAL, allow: 0 },
                }],
            };
            let start = Timestamp::from_second(start).unwrap();
            let next = schedule.next_switch(start).unwrap();
            proptest::prop_assert_ne!(schedule.at(start), schedule.at(next));
            let between = (next.as_second() - start.as_second()) as f64 * probe;
            let between = Timestamp::from_second(start.as_second() + between as i64).unwrap();
            if between < next {
                proptest::prop_assert_eq!(schedule.at(start), schedule.at(between));
            }
        }
    }
}
