//! Rounds and their median.

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

    /// Prints `name median unit`, and the spread as a comment.
    pub(crate) fn print(&self, name: &str, unit: &str) {
        let (median, min, max) = self.spread();
        println!("{name} {median:.1} {unit}");
        println!("# {name}: {min:.1} to {max:.1} in {} rounds", self.0.len());
    }
}
