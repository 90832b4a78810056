//! When to ask again.
//!
//! Routers that were switched on together must not ask together for ever: every
//! wait is drawn from a range.

use std::time::Duration;

use super::state::State;

/// The first wait after a failure; it doubles with each one that follows.
const FIRST_RETRY: Duration = Duration::from_secs(15);
/// Lists that are due when nxdp starts are asked for within this time.
const START_SPREAD: Duration = Duration::from_secs(30);

/// A server that wants more patience than this is asked again all the same.
pub(super) const RETRY_AFTER_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// A number from 0 to 1.
pub(super) fn draw() -> f64 {
    // Without randomness waits are only less well spread.
    let number = getrandom::u32().unwrap_or(u32::MAX / 2);
    f64::from(number) / f64::from(u32::MAX)
}

/// The wait after a success: nine to eleven tenths of what is wanted.
pub(super) fn after_success(refresh: Duration, draw: f64) -> Duration {
    refresh.mul_f64(0.9 + 0.2 * draw)
}

/// The wait after so many failures: never longer than between refreshes, unless the server
/// asks for it.
pub(super) fn after_failure(
    failures: u32,
    refresh: Duration,
    retry_after: Option<Duration>,
    draw: f64,
) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    let longest = (FIRST_RETRY * 2u32.pow(doublings)).min(refresh);
    let wait = longest.mul_f64(0.5 + 0.5 * draw);
    // A little more than asked for, again so that not everybody comes at once.
    retry_after.map_or(wait, |asked| wait.max(asked.mul_f64(1.0 + 0.1 * draw)))
}

/// The wait of a list that was last looked at by an earlier process.
pub(super) fn at_start(state: &State, refresh: Duration, now_s: u64, draw: f64) -> Duration {
    let spread = START_SPREAD.min(refresh / 10).mul_f64(draw);
    // A copy from the future says that a clock was set; nothing is known of its age.
    let age_s = state
        .checked_s
        .and_then(|checked_s| now_s.checked_sub(checked_s));
    let age = age_s.map_or(refresh, Duration::from_secs);
    let asked_s = state
        .not_before_s
        .map_or(0, |not_before_s| not_before_s.saturating_sub(now_s));
    // Nor is a server believed to have asked for years.
    let asked = Duration::from_secs(asked_s).min(RETRY_AFTER_MAX);
    let held = held_back(state, refresh, now_s, draw);
    refresh.saturating_sub(age).max(asked).max(held) + spread
}

/// What is left to wait for a list whose last try ended with the process: it may be why.
pub(super) fn held_back(state: &State, refresh: Duration, now_s: u64, draw: f64) -> Duration {
    let since = state
        .under_way_s
        .and_then(|then_s| now_s.checked_sub(then_s));
    since.map_or(Duration::ZERO, |since_s| {
        let wait = after_failure(state.failures, refresh, None, draw);
        wait.saturating_sub(Duration::from_secs(since_s))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 60 * 60);
    const HOUR_S: u64 = 60 * 60;

    #[test]
    fn refreshes_are_spread_around_their_interval() {
        assert_eq!(after_success(DAY, 0.0), DAY.mul_f64(0.9));
        assert_eq!(after_success(DAY, 1.0), DAY.mul_f64(1.1));
        let draws: Vec<f64> = (0..100).map(|_| draw()).collect();
        assert!(draws.iter().all(|draw| (0.0..=1.0).contains(draw)));
        assert!(draws.iter().any(|draw| *draw != draws[0]));
    }

    #[test]
    fn failures_wait_twice_as_long_each_time_until_the_refresh() {
        let wait = |failures| after_failure(failures, DAY, None, 1.0).as_secs();
        assert_eq!([wait(1), wait(2), wait(3)], [15, 30, 60]);
        assert_eq!(wait(30), DAY.as_secs());
        assert_eq!(wait(u32::MAX), DAY.as_secs());
        assert_eq!(after_failure(3, DAY, None, 0.0).as_secs(), 30);
    }

    #[test]
    fn a_server_that_asks_for_patience_gets_it() {
        let asked = Some(DAY * 2);
        assert!(after_failure(1, DAY, asked, 0.0) >= DAY * 2);
        assert!(after_failure(1, DAY, asked, 1.0) > DAY * 2);
        let state = State {
            not_before_s: Some(1_000_000 + HOUR_S),
            ..State::default()
        };
        assert_eq!(at_start(&state, DAY, 1_000_000, 0.0).as_secs(), HOUR_S);
    }

    #[test]
    fn a_try_that_ended_with_the_process_is_not_made_again_at_once() {
        let cut_off = |failures, ago_s: u64| {
            let state = State {
                failures,
                under_way_s: Some(1_000_000 - ago_s),
                ..State::default()
            };
            at_start(&state, DAY, 1_000_000, 1.0)
                .saturating_sub(START_SPREAD)
                .as_secs()
        };
        assert_eq!([cut_off(1, 0), cut_off(2, 0), cut_off(5, 0)], [15, 30, 240]);
        assert_eq!([cut_off(5, 200), cut_off(5, 300)], [40, 0]);
        // A clock that was set back tells nothing.
        let ahead = State {
            failures: 9,
            under_way_s: Some(2_000_000),
            ..State::default()
        };
        assert_eq!(held_back(&ahead, DAY, 1_000_000, 1.0), Duration::ZERO);
    }

    #[test]
    fn a_start_asks_for_what_is_old_and_for_what_is_from_the_future() {
        let checked = |checked_s| State {
            checked_s: Some(checked_s),
            ..State::default()
        };
        let wait = |state: &State| at_start(state, DAY, 1_000_000, 0.0).as_secs();
        assert_eq!(wait(&State::default()), 0);
        assert_eq!(wait(&checked(1_000_000 - HOUR_S)), 23 * HOUR_S);
        assert_eq!(wait(&checked(1_000_000 - 48 * HOUR_S)), 0);
        assert_eq!(wait(&checked(2_000_000)), 0);
        let spread = at_start(&State::default(), DAY, 0, 1.0);
        assert_eq!(spread, START_SPREAD);
    }
}
