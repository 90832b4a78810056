//! A name's way through the table: the very function that judges packets.

use filter_common::{
    dns::HEADER_BYTES,
    layout::{Record, RuleRecord},
    name::Name,
    reason::Reason,
    scratch::Scratch,
    steps::Steps,
    table::Records,
    verdict,
};

/// Where the header of an image is.
const GENERATION: u32 = 0;

/// The rule that wins for a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hit {
    /// The rule.
    pub rule: RuleRecord,
    /// Number of labels of the name in the table that holds it.
    pub depth: usize,
}

/// Walks a generation that starts at record 0: the winning rule, if any.
pub fn walk(records: &[Record], name: &Name, qtype: u16, category_mask: u64) -> Option<Hit> {
    let scratch = decide(records, 0, name, qtype, category_mask)?;
    let rule = RuleRecord::of(records.record(scratch.rule)?);
    let owner = scratch.owner_at as usize - HEADER_BYTES;
    let labels = &scratch.label_starts[..scratch.label_count as usize];
    let above = labels
        .iter()
        .filter(|&&start| usize::from(start) < owner)
        .count();
    Some(Hit {
        rule: *rule,
        depth: labels.len() - above,
    })
}

/// Decides by the generation at record 0 and that of custom categories at record `custom`, unless
/// that is 0; `None` if no rule does.
pub(super) fn decide<S: Steps + ?Sized>(
    records: &S,
    custom: u32,
    name: &Name,
    qtype: u16,
    category_mask: u64,
) -> Option<Scratch> {
    let mut scratch: Scratch = bytemuck::Zeroable::zeroed();
    put_question(&mut scratch, name);
    scratch.qtype = qtype.into();
    scratch.categories = category_mask;
    scratch.custom = custom;
    match verdict::decide_in(records, &mut scratch, GENERATION, 0) {
        Ok(_) | Err(Reason::Allowed | Reason::Observed) => Some(scratch),
        Err(_) => None,
    }
}

/// Writes the name as the question of a message.
pub fn put_question(scratch: &mut Scratch, name: &Name) {
    let wire = name.as_wire();
    let mut at = 0;
    for (number, label) in name.labels().enumerate() {
        scratch.label_starts[number] = at as u8;
        at += label.len() + 1;
        scratch.label_count += 1;
    }
    scratch.message_mut()[HEADER_BYTES..][..wire.len()].copy_from_slice(wire);
}
