//! Messages and frames with a few bytes changed, from a fixed seed.

/// Values where parsers change their mind.
const EDGES: [u8; 10] = [0, 1, 0x0c, 0x29, 0x3f, 0x40, 0x7f, 0x80, 0xc0, 0xff];

/// A fast generator (splitmix64): the same sequence from the same seed, everywhere.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// Starts a sequence.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`, which is not 0.
    pub fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.bits()) * bound as u128) >> 64) as usize
    }

    /// One of several.
    pub fn choice<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        &choices[self.below(choices.len())]
    }
}

/// Changes `bytes` up to three times; at least `keep` bytes are left.
pub fn mutate(bytes: &mut Vec<u8>, keep: usize, random: &mut Random) {
    for _ in 0..random.below(4) {
        let at = random.below(bytes.len());
        match random.below(10) {
            0..=2 => bytes[at] ^= 1 << random.below(8),
            3 => bytes[at] = random.bits() as u8,
            4 => bytes[at] = *random.choice(&EDGES),
            5 => bytes.truncate(at.max(keep)),
            6 => bytes.insert(at, random.bits() as u8),
            7 if bytes.len() > keep => {
                bytes.remove(at);
            }
            8 => {
                // A piece again, elsewhere.
                let len = random.below(16).min(bytes.len() - at);
                let piece = bytes[at..at + len].to_vec();
                let to = random.below(bytes.len());
                bytes.splice(to..to, piece);
            }
            _ => change_case(bytes, random),
        }
    }
}

/// Letters behind the headers change case: still the same name.
fn change_case(bytes: &mut [u8], random: &mut Random) {
    let mut bits = random.bits();
    for byte in bytes.iter_mut().skip(12) {
        if byte.is_ascii_alphabetic() && bits & 1 == 1 {
            *byte ^= 0x20;
        }
        bits = bits.rotate_right(1);
    }
}
