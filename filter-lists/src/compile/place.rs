//! Names into buckets.
//!
//! A name goes to its first bucket while there is room. For one that finds
//! it full, some name moves to its second bucket: itself, a neighbour whose
//! second bucket has room, or, on a random walk, whoever stands in the way.
//! Names that stay in their first bucket keep look-ups at one cache line.

use filter_common::{
    layout::Record,
    table::{BUCKET_ENTRIES, entry, first_bucket, mark_overflow, second_bucket},
};

/// Tables of so many names, nodes included, stay in a processor's second-level cache.
const SMALL_MAX: usize = 200_000;
/// Moves after which the table is called full.
const MOVES_MAX: usize = 2000;

/// Hashes and their classes, and where they ended up.
pub(super) struct Placed {
    pub(super) buckets: Vec<Record>,
    pub(super) in_second_bucket: u64,
}

/// Puts hashes, with their classes, roughly in the order of their first buckets.
///
/// Placing them and looking them up then walks through memory instead of
/// jumping about in it, which halves the time of both.
pub(super) fn sort(hashes: &mut Vec<u64>, classes: &mut Vec<u16>) {
    let group = |hash: u64| (hash >> (64 - GROUP_BITS)) as usize;
    let mut ends = vec![0; (1 << GROUP_BITS) + 1];
    for &hash in &*hashes {
        ends[group(hash) + 1] += 1;
    }
    for i in 1..ends.len() {
        ends[i] += ends[i - 1];
    }
    let mut ordered_hashes = vec![0; hashes.len()];
    let mut ordered_classes = vec![0; classes.len()];
    for (&hash, &class) in hashes.iter().zip(&*classes) {
        let at = &mut ends[group(hash)];
        ordered_hashes[*at] = hash;
        ordered_classes[*at] = class;
        *at += 1;
    }
    *hashes = ordered_hashes;
    *classes = ordered_classes;
}

/// A thousandth of a large table's buckets fits into the first-level cache.
const GROUP_BITS: u32 = 10;

/// Places every hash; makes more buckets if they do not fit.
pub(super) fn place(hashes: &[u64], classes: &[u16]) -> Placed {
    let per_bucket = BUCKET_ENTRIES * load_percent(hashes.len());
    let mut bucket_count = (hashes.len() * 100).div_ceil(per_bucket).max(1);
    loop {
        if let Some(placed) = Placement::new(hashes, bucket_count).run(classes) {
            return placed;
        }
        bucket_count += bucket_count.div_ceil(50);
    }
}

/// Share of entries in use, in percent, that a table is made for.
///
/// At 92 % one name in nine is in its second bucket, at 84 % one in twelve. Where a second bucket
/// costs no cache miss, the table may be fuller: small lists have more mere nodes a name, and would
/// take more than 12 bytes a name otherwise.
const fn load_percent(names: usize) -> usize {
    if names <= SMALL_MAX { 92 } else { 84 }
}

struct Placement<'a> {
    hashes: &'a [u64],
    bucket_count: u32,
    /// Entries in use of each bucket; they are the first ones.
    used: Vec<u8>,
    /// Which name is in an entry.
    owners: Vec<u32>,
    random: u64,
}

impl<'a> Placement<'a> {
    fn new(hashes: &'a [u64], bucket_count: usize) -> Self {
        Self {
            hashes,
            bucket_count: bucket_count as u32,
            used: vec![0; bucket_count],
            owners: vec![0; bucket_count * BUCKET_ENTRIES],
            random: 0x2545_f491_4f6c_dd1d,
        }
    }

    fn run(mut self, classes: &[u16]) -> Option<Placed> {
        let mut late = Vec::new();
        for name in 0..self.hashes.len() as u32 {
            if !self.put(self.first(name), name) {
                late.push(name);
            }
        }
        for name in late {
            self.make_room(name)?;
        }
        Some(self.write(classes))
    }

    fn first(&self, name: u32) -> u32 {
        first_bucket(self.hashes[name as usize], self.bucket_count)
    }

    fn second(&self, name: u32) -> u32 {
        second_bucket(self.hashes[name as usize], self.bucket_count)
    }

    /// Puts a name into a bucket that has room.
    fn put(&mut self, bucket: u32, name: u32) -> bool {
        let used = &mut self.used[bucket as usize];
        if usize::from(*used) == BUCKET_ENTRIES {
            return false;
        }
        self.owners[bucket as usize * BUCKET_ENTRIES + usize::from(*used)] = name;
        *used += 1;
        true
    }

    /// Places a name whose first bucket is full.
    fn make_room(&mut self, name: u32) -> Option<()> {
        let mut homeless = name;
        let mut bucket = self.first(name);
        for _ in 0..MOVES_MAX {
            let other = self.other(homeless, bucket);
            if self.put(other, homeless) || self.move_neighbour(bucket, homeless) {
                return Some(());
            }
            // Whoever stands in an entry of the other bucket has to look further.
            let entry = other as usize * BUCKET_ENTRIES + self.draw();
            std::mem::swap(&mut self.owners[entry], &mut homeless);
            bucket = other;
        }
        None
    }

    /// Gives `name` the entry of a neighbour in `bucket` whose other bucket has room.
    fn move_neighbour(&mut self, bucket: u32, name: u32) -> bool {
        for i in 0..BUCKET_ENTRIES {
            let entry = bucket as usize * BUCKET_ENTRIES + i;
            let neighbour = self.owners[entry];
            let other = self.other(neighbour, bucket);
            if other != bucket && self.put(other, neighbour) {
                self.owners[entry] = name;
                return true;
            }
        }
        false
    }

    fn other(&self, name: u32, bucket: u32) -> u32 {
        match self.first(name) {
            first if first == bucket => self.second(name),
            first => first,
        }
    }

    fn draw(&mut self) -> usize {
        // xorshift64; the walk needs no better randomness.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random as usize % BUCKET_ENTRIES
    }

    fn write(&self, classes: &[u16]) -> Placed {
        let mut buckets = vec![Record::default(); self.bucket_count as usize];
        let mut moved = Vec::new();
        for bucket in 0..self.bucket_count {
            for i in 0..usize::from(self.used[bucket as usize]) {
                let name = self.owners[bucket as usize * BUCKET_ENTRIES + i];
                let hash = self.hashes[name as usize];
                buckets[bucket as usize].0[i] = entry(hash, classes[name as usize]);
                if first_bucket(hash, self.bucket_count) != bucket {
                    moved.push(hash);
                }
            }
        }
        for &hash in &moved {
            mark_overflow(
                &mut buckets[first_bucket(hash, self.bucket_count) as usize],
                hash,
            );
        }
        Placed {
            buckets,
            in_second_bucket: moved.len() as u64,
        }
    }
}

#[cfg(test)]
mod tests {
    use filter_common::table::find;

    use super::*;

    fn hashes(count: u64) -> Vec<u64> {
        let mix =
            |i: u64| filter_common::hash::fold(i ^ 0x9e37_79b9_7f4a_7c15, 0xd1b5_4a32_d192_ed03);
        (1..=count).map(|i| mix(mix(i))).collect()
    }

    #[test]
    fn every_name_is_found_under_its_class() {
        for count in [0, 1, 7, 8, 9, 100, 100_000] {
            let hashes = hashes(count);
            let classes: Vec<_> = (0..count).map(|i| (i % 1000 + 1) as u16).collect();
            let placed = place(&hashes, &classes);
            for (hash, class) in hashes.iter().zip(&classes) {
                let found = find(&placed.buckets[..], 0, placed.buckets.len() as u32, *hash);
                assert_eq!(found, *class);
            }
        }
    }

    #[test]
    fn ordering_keeps_each_hash_with_its_class() {
        let mut before = hashes(5000);
        let mut classes: Vec<_> = before.iter().map(|&hash| hash as u16).collect();
        let mut after = before.clone();
        sort(&mut after, &mut classes);
        assert!(after.is_sorted_by_key(|hash| hash >> (64 - GROUP_BITS)));
        assert!(
            after
                .iter()
                .zip(classes)
                .all(|(&hash, class)| hash as u16 == class)
        );
        before.sort_unstable();
        after.sort_unstable();
        assert_eq!(before, after);
    }

    #[test]
    fn a_table_is_well_filled_and_most_names_are_in_their_first_bucket() {
        for (count, load_percent, second_percent) in [(10_000, 91, 12), (300_000, 83, 9)] {
            let hashes = hashes(count);
            let placed = place(&hashes, &vec![1; hashes.len()]);
            assert!(placed.buckets.len() * BUCKET_ENTRIES <= hashes.len() * 100 / load_percent);
            assert!(placed.in_second_bucket < count * second_percent / 100);
        }
    }
}
