//! Whether the parts of an image fit together: nothing in it points outside.
//!
//! The kernel program checks every index as well; this is so that a damaged
//! image is refused before it is loaded.

use filter_common::{
    layout::{LAYOUT_VERSION, Record, RuleRecord, TextRecord},
    table::BUCKET_ENTRIES,
};

use super::Image;
use crate::{image::Kind, provenance::START_COUNT};

/// Says what does not fit.
pub(super) fn validate(image: &Image) -> Result<(), &'static str> {
    let header = image.header();
    if header.layout != LAYOUT_VERSION {
        return Err("the table has another layout");
    }
    if header.record_count as usize != image.records.len() {
        return Err("the table has another number of records than it says");
    }
    let bucket_end = u64::from(header.bucket_base) + u64::from(header.bucket_count);
    let in_order = header.bucket_base >= 2
        && header.bucket_count > 0
        && bucket_end <= u64::from(header.class_base)
        && header.class_base < header.text_base
        && header.text_base < header.record_count;
    if !in_order {
        return Err("the parts of the table overlap");
    }
    let class_count = header.text_base - header.class_base;
    let text_count = header.record_count - header.text_base;
    let part = |start: u32, len: u32| &image.records[start as usize..][..len as usize];
    if !part(header.bucket_base, header.bucket_count)
        .iter()
        .all(|b| bucket_fits(b, class_count))
    {
        return Err("a name has a class that does not exist");
    }
    let mut texts = part(header.text_base, text_count)
        .iter()
        .map(TextRecord::of);
    if !texts.all(TextRecord::is_whole) {
        return Err("a text is not as it was written");
    }
    let classes = part(header.class_base, class_count).iter().enumerate();
    let list_count = image.lists.len();
    let first_list = Kind::of(header.flags).first_list() as usize;
    for (number, record) in classes {
        let rule = RuleRecord::of(record);
        // A chain leads to smaller numbers and therefore ends.
        if rule.next as usize >= number.max(1) || rule.text >= text_count {
            return Err("a class refers to a record that does not exist");
        }
        // Records without a list of their own have 0.
        let list = (rule.list as usize).saturating_sub(first_list);
        if list >= list_count.max(1) {
            return Err("a class refers to a list that does not exist");
        }
    }
    validate_provenance(image)
}

fn bucket_fits(bucket: &Record, class_count: u32) -> bool {
    let class = |i: usize| (bucket.0[i] & u64::from(u16::MAX)) as u32;
    (0..BUCKET_ENTRIES).all(|i| class(i) < class_count)
}

fn validate_provenance(image: &Image) -> Result<(), &'static str> {
    let (starts, rows) = (&image.provenance.starts, &image.provenance.rows);
    let whole = starts.len() == START_COUNT
        && starts[0] == 0
        && starts.is_sorted()
        && starts[START_COUNT - 1] as usize == rows.len();
    if !whole {
        return Err("the index of lines is incomplete");
    }
    let fits = |row: &crate::provenance::Row| {
        row.list() < image.lists.len() && row.shape() < image.shapes.len() && row.fate().is_some()
    };
    if !rows.iter().all(fits) {
        return Err("a rule refers to a list or form that does not exist");
    }
    Ok(())
}
