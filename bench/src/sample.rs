//! Rounds and their median.

use crate::report::{self, Figure};

/// Values of several rounds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sample(Vec<f64>);

impl Sample {
    pub(crate) fn push(&mut self, value: f64) {
        self.0.push(value);
    }

    /// Median, minimum and maximum.
    pub(crate) fn spread(&self) -> (f64, f64, f64) {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        match sorted.as_slice() {
            [] => (f64::NAN, f64::NAN, f64::NAN),
            all => (all[all.len() / 2], all[0], all[all.len() - 1]),
        }
    }

    /// The lowest round: whatever else a machine does only adds.
    pub(crate) fn fastest(&self) -> f64 {
        self.spread().1
    }

    /// What each round took above the same one of `floor`.
    pub(crate) fn above(&self, floor: &Self) -> Self {
        let pairs = self.0.iter().zip(&floor.0);
        Self(pairs.map(|(round, floor)| round - floor).collect())
    }

    /// Number of rounds.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The median.
    pub(crate) fn median(&self) -> f64 {
        self.spread().0
    }

    /// Reports the median, and the spread beside it.
    pub(crate) fn print(&self, name: &str, unit: &str) {
        let (median, min, max) = self.spread();
        report::figure(Figure {
            name: name.to_owned(),
            median,
            min,
            max,
            rounds: self.0.len(),
            unit: unit.to_owned(),
        });
    }
}
