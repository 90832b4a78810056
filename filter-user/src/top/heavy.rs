//! What occurs most often in a stream, in bounded memory (Misra and Gries, 1982).

use rustc_hash::FxHashMap;

/// Counts of the most frequent words; of `n` words, each count is at most `n / (capacity + 1)` too low.
#[derive(Debug)]
pub(super) struct HeavyHitters {
    counts: FxHashMap<Box<str>, u64>,
    capacity: usize,
    is_exact: bool,
}

impl HeavyHitters {
    /// Keeps `capacity` words at most.
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            counts: FxHashMap::default(),
            capacity,
            is_exact: true,
        }
    }

    /// Counts a word.
    pub(super) fn add(&mut self, word: &str) {
        if let Some(count) = self.counts.get_mut(word) {
            *count += 1;
        } else if self.counts.len() < self.capacity {
            self.counts.insert(word.into(), 1);
        } else {
            // The word and one occurrence of each other cancel out.
            self.is_exact = false;
            self.counts.retain(|_, count| {
                *count -= 1;
                *count > 0
            });
        }
    }

    /// The `count` most frequent words, most frequent first.
    pub(super) fn top(&self, count: usize) -> Vec<(&str, u64)> {
        let mut words: Vec<(&str, u64)> = self
            .counts
            .iter()
            .map(|(word, count)| (&**word, *count))
            .collect();
        words.sort_unstable_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(b.0)));
        words.truncate(count);
        words
    }

    /// Whether every count is right: no word had to make room.
    pub(super) fn is_exact(&self) -> bool {
        self.is_exact
    }

    /// Begins anew.
    pub(super) fn clear(&mut self) {
        *self = Self::new(self.capacity);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_exact_while_everything_has_room() {
        let mut hitters = HeavyHitters::new(3);
        for word in ["b", "a", "b", "c", "b", "c"] {
            hitters.add(word);
        }
        assert_eq!(hitters.top(2), [("b", 3), ("c", 2)]);
        assert_eq!(hitters.top(9).len(), 3);
        assert!(hitters.is_exact());
    }

    #[test]
    fn a_frequent_word_survives_any_number_of_rare_ones_within_the_bound() {
        let mut hitters = HeavyHitters::new(100);
        for number in 0..100_000u32 {
            hitters.add(&format!("rare{number}"));
            if number % 10 == 0 {
                hitters.add("frequent");
            }
        }
        let total = 110_000;
        let [(word, count)] = hitters.top(1)[..] else {
            panic!("nothing was kept");
        };
        assert_eq!(word, "frequent");
        assert!((10_000 - total / 101..=10_000).contains(&count), "{count}");
        assert!(!hitters.is_exact());
        assert!(hitters.counts.len() <= 100);
    }
}
