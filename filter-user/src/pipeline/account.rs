//! What the compiler found out about lines that the parser took for rules.
//!
//! A line whose rules all say what others say is redundant, one whose rules all
//! lack a form in the kernel is unsupported. A line that does something, or
//! that another rule beats, stays a rule.

use filter_lists::{
    image::{self, Image},
    list,
    provenance::Fate,
};

use super::ListOutcome;

/// Moves lines of `lists` from the rules to where the image says they belong.
pub(super) fn finish(lists: &mut [ListOutcome], image: &Image) {
    let mut lines: Vec<Lines> = lists
        .iter()
        .map(|list| Lines::new(list.report.lines))
        .collect();
    for row in image.provenance().rows() {
        if let (Some(lines), Some(fate)) = (lines.get_mut(row.list()), row.fate()) {
            lines.note(row.line, fate);
        }
    }
    for (list, lines) in lists.iter_mut().zip(&mut lines) {
        for &line in list.report.lines_of_other_kinds() {
            lines.note(line, Fate::InTable);
        }
        let (redundant, unsupported) = lines.count();
        list.report.mark_redundant(redundant);
        list.report.mark_unsupported(unsupported);
    }
    for sample in &image.report().samples {
        if let Some(list) = lists.get_mut(sample.list) {
            list.report.add_sample(sample_of(sample));
        }
    }
}

fn sample_of(sample: &image::Sample) -> list::Sample {
    list::Sample {
        line: sample.line,
        column: 1,
        kind: list::Kind::Unsupported,
        reason: sample.reason.to_string(),
        text: sample.rule.clone(),
    }
}

/// Sets of lines of one list, a bit a line.
struct Lines {
    active: Vec<u64>,
    redundant: Vec<u64>,
    unsupported: Vec<u64>,
}

impl Lines {
    fn new(count: u64) -> Self {
        let words = count as usize / 64 + 1;
        Self {
            active: vec![0; words],
            redundant: vec![0; words],
            unsupported: vec![0; words],
        }
    }

    fn note(&mut self, line: u32, fate: Fate) {
        let set = match fate {
            Fate::Redundant | Fate::Duplicate => &mut self.redundant,
            Fate::Unsupported | Fate::NoRoom => &mut self.unsupported,
            Fate::InTable | Fate::Overridden | Fate::Deleted | Fate::Directive => &mut self.active,
        };
        if let Some(word) = set.get_mut(line as usize / 64) {
            *word |= 1 << (line % 64);
        }
    }

    /// Numbers of lines that are only redundant, and only unsupported.
    fn count(&self) -> (u64, u64) {
        let words = self
            .active
            .iter()
            .zip(&self.redundant)
            .zip(&self.unsupported);
        words.fold((0, 0), |(r, u), ((active, redundant), unsupported)| {
            let only_redundant = redundant & !active & !unsupported;
            let only_unsupported = unsupported & !active & !redundant;
            (
                r + u64::from(only_redundant.count_ones()),
                u + u64::from(only_unsupported.count_ones()),
            )
        })
    }
}
