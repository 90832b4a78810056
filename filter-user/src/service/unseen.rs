//! Proof that the program runs: a device that receives frames which the program does not see.
//!
//! Every frame is counted, by the interface that it came by. A driver that takes the program and does
//! not run it, or goes on without it, is found by comparing that count with the device's own.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use filter_kernel::features::{Obstacle, ObstacleKind, Traffic};

/// How late a device may count what it received: some do every two seconds.
const DEVICE_LAG: Duration = Duration::from_secs(3);
/// So many frames are no chance.
const ENOUGH_FRAMES: u64 = 4;

/// What is known of each interface, by its index.
#[derive(Debug, Default)]
pub(super) struct Unseen(BTreeMap<u32, Silence>);

/// For how long the program has seen no frame of an interface.
#[derive(Debug)]
struct Silence {
    name: String,
    since: Instant,
    seen: u64,
    /// What the device had received when its count was surely up to date.
    received: Option<u64>,
    missed: u64,
}

impl Unseen {
    /// Compares what devices received with what the program saw of them; the former is older.
    pub(super) fn note(
        &mut self,
        traffic: BTreeMap<u32, Traffic>,
        seen_of: impl Fn(u32) -> u64,
        now: Instant,
    ) {
        self.0.retain(|index, _| traffic.contains_key(index));
        for (index, traffic) in traffic {
            let seen = traffic.by.iter().map(|index| seen_of(*index)).sum();
            let fresh = || Silence::new(&traffic.name, seen, now);
            let silence = self.0.entry(index).or_insert_with(fresh);
            if silence.seen != seen {
                *silence = fresh();
            }
            silence.name.clone_from(&traffic.name);
            silence.note(traffic.received, now);
        }
    }

    /// The interfaces whose frames the program does not see.
    pub(super) fn obstacles(&self) -> Vec<Obstacle> {
        let silences = self.0.values();
        let unseen = silences.filter(|silence| silence.missed >= ENOUGH_FRAMES);
        unseen.map(Silence::obstacle).collect()
    }
}

impl Silence {
    fn new(name: &str, seen: u64, now: Instant) -> Self {
        Self {
            name: name.to_owned(),
            since: now,
            seen,
            received: None,
            missed: 0,
        }
    }

    fn note(&mut self, received: u64, now: Instant) {
        if now.duration_since(self.since) < DEVICE_LAG {
            return;
        }
        let before = *self.received.get_or_insert(received);
        // A device that was reset counts from the start.
        self.missed = received.saturating_sub(before);
    }

    fn obstacle(&self) -> Obstacle {
        Obstacle {
            interface: self.name.clone(),
            kind: ObstacleKind::Unseen,
            says: format!(
                "it received {} frames and the program saw none of them: nothing is filtered, whatever the kernel says is \
                 attached; use --mode skb or another interface, and see `nxdp features {}`",
                self.missed, self.name
            ),
            remedy: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Looks each second at what was received and seen until then; tells after each which are unseen.
    fn unseen(counts: &[(u64, u64)]) -> Vec<usize> {
        let mut unseen = Unseen::default();
        let start = Instant::now();
        let looks = counts.iter().enumerate();
        looks
            .map(|(second, &(received, seen))| {
                let traffic = Traffic {
                    name: "lan0".to_owned(),
                    received,
                    by: BTreeSet::from([3]),
                };
                let now = start + Duration::from_secs(second as u64);
                unseen.note(BTreeMap::from([(3, traffic)]), |_| seen, now);
                unseen.obstacles().len()
            })
            .collect()
    }

    #[test]
    fn frames_that_only_the_device_counts_are_told_within_seconds() {
        let counts: Vec<(u64, u64)> = (0..7).map(|second| (second * 10, 0)).collect();
        assert_eq!(unseen(&counts), [0, 0, 0, 0, 1, 1, 1]);
    }

    #[test]
    fn a_quiet_line_and_a_busy_one_that_is_seen_are_right() {
        assert_eq!(unseen(&[(7, 0); 9]), [0; 9]);
        let busy: Vec<(u64, u64)> = (0..9).map(|second| (second * 10, second * 10)).collect();
        assert_eq!(unseen(&busy), [0; 9]);
    }

    #[test]
    fn a_device_that_counts_two_seconds_late_is_right() {
        let counts = [
            (0, 0),
            (0, 50),
            (0, 50),
            (50, 50),
            (50, 50),
            (50, 50),
            (50, 50),
        ];
        assert_eq!(unseen(&counts), [0; 7]);
    }

    #[test]
    fn a_program_that_runs_again_is_right_at_once() {
        let counts = [(0, 0), (9, 0), (18, 0), (27, 0), (36, 0), (45, 3), (54, 12)];
        assert_eq!(unseen(&counts), [0, 0, 0, 0, 1, 0, 0]);
    }
}
