//! The way down from the last label of a qname to its first.
//!
//! Every verifier must see where the loop ends and follow each count only once. So it
//! counts up to a constant, and but for the hash all that a visit finds is in the
//! scratch; in the kernel program a visit is a function of its own. Linux 6.1 follows a
//! count down for ever: it does not know that a number other than 0 is at least 1.

use crate::{
    dns::HEADER_BYTES,
    hash::{HashKey, label_hash},
    scratch::Scratch,
    suffix::{LABELS_MAX, Suffix},
};

/// Visits the name of the last label, of the last two and so on, while `scratch.leads_on`.
///
/// `visit` is told the number of labels and the hash of the name above, `root` at first,
/// and tells the hash of the name.
#[inline(always)]
pub fn walk(
    scratch: &mut Scratch,
    root: u64,
    mut visit: impl FnMut(&mut Scratch, u32, u64) -> u64,
) {
    scratch.leads_on = 1;
    let mut hash = root;
    let mut depth = 0;
    while depth < LABELS_MAX as u32 && depth != scratch.label_count && scratch.leads_on != 0 {
        depth += 1;
        hash = visit(scratch, depth, hash);
    }
}

/// The name of the last `depth` labels, by the hash of the name above it.
///
/// It starts where its first label's length byte is in the message.
#[inline(always)]
pub fn suffix(scratch: &Scratch, key: &HashKey, depth: u32, parent: u64) -> Suffix {
    let start = label_at(scratch, scratch.label_count.wrapping_sub(depth));
    let len = usize::from(scratch.message()[start]) & 63;
    Suffix {
        depth: depth as usize,
        start,
        hash: label_hash(scratch.message(), start + 1, len, key, parent),
    }
}

/// Position in the message of the label with this number, counted from the left.
#[inline(always)]
fn label_at(scratch: &Scratch, number: u32) -> usize {
    usize::from(scratch.label_starts[(number & 127) as usize]) + HEADER_BYTES
}

#[cfg(test)]
mod tests {
    use bytemuck::Zeroable;

    use super::*;

    /// The depths and parents' hashes that are visited, if the visit at depth `last` leads nowhere.
    fn visited(label_count: u32, last: u32) -> Vec<(u32, u64)> {
        let mut scratch = Scratch::zeroed();
        scratch.label_count = label_count;
        let mut visited = Vec::new();
        walk(&mut scratch, 7, |scratch, depth, parent| {
            visited.push((depth, parent));
            scratch.leads_on = u64::from(depth != last);
            parent * 10
        });
        visited
    }

    #[test]
    fn a_walk_ends_at_the_name_or_where_nothing_leads_on() {
        assert_eq!(visited(3, 9), [(1, 7), (2, 70), (3, 700)]);
        assert_eq!(visited(3, 2), [(1, 7), (2, 70)]);
        assert_eq!(visited(3, 1), [(1, 7)]);
        assert_eq!(visited(0, 1), []);
    }
}
