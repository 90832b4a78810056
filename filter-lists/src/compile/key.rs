//! Where hash keys come from.

use filter_common::hash::HashKey;

/// Draws keys from the system, or from a seed.
pub(super) struct Keys {
    state: Option<u64>,
}

impl Keys {
    pub(super) fn new(seed: Option<u64>) -> Self {
        Self { state: seed }
    }

    pub(super) fn draw(&mut self) -> Result<HashKey, getrandom::Error> {
        let mut words = [0; 3];
        for word in &mut words {
            *word = match &mut self.state {
                Some(state) => split_mix(state),
                None => getrandom::u64()?,
            };
        }
        Ok(HashKey::from_words(words))
    }
}

/// SplitMix64 (Steele, Lea, Flood 2014).
fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_keys_and_no_seed_does_not() {
        let draw = |seed| {
            let mut keys = Keys::new(seed);
            [keys.draw().unwrap(), keys.draw().unwrap()]
        };
        assert_eq!(draw(Some(1)), draw(Some(1)));
        assert_ne!(draw(Some(1))[0], draw(Some(1))[1]);
        assert_ne!(draw(Some(1)), draw(Some(2)));
        assert_ne!(draw(None), draw(None));
    }
}
