//! A name's way through the table: the very function that judges packets.

use filter_common::{
    dns::HEADER_BYTES,
    layout::{Record, RuleRecord},
    name::Name,
    reason::Reason,
    rule::AnswerKind,
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
    /// What the client is sent, or why the query passes.
    pub decided: Result<AnswerKind, Reason>,
}

/// What an image has to know of a policy and of what lies over the lists.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PolicyView {
    /// Categories that are blocked.
    pub categories: u64,
    /// [`AnswerKind`] as a number, for rules that ask for none; 0 means that of the image.
    pub answer: u8,
    /// Some name below the one that is asked for has an override.
    pub varies_below: bool,
}

/// A policy with these categories that asks for no answer.
impl From<u64> for PolicyView {
    fn from(categories: u64) -> Self {
        Self {
            categories,
            ..Self::default()
        }
    }
}

/// Walks a generation that starts at record 0: the winning rule, if any.
pub fn walk(
    records: &[Record],
    name: &Name,
    qtype: u16,
    policy: impl Into<PolicyView>,
) -> Option<Hit> {
    let (scratch, decided) = decide(records, 0, name, qtype, policy.into())?;
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
        decided,
    })
}

/// Decides by the generation at record 0 and that of custom categories at record `custom`, unless
/// that is 0; `None` if no rule does.
pub(super) fn decide<S: Steps + ?Sized>(
    records: &S,
    custom: u32,
    name: &Name,
    qtype: u16,
    policy: PolicyView,
) -> Option<(Scratch, Result<AnswerKind, Reason>)> {
    let mut scratch: Scratch = bytemuck::Zeroable::zeroed();
    put_question(&mut scratch, name);
    scratch.qtype = qtype.into();
    scratch.categories = policy.categories;
    scratch.varies_below = policy.varies_below.into();
    scratch.custom = custom;
    let decided = verdict::decide_in(records, &mut scratch, GENERATION, policy.answer);
    let is_by_rule = matches!(decided, Ok(_) | Err(Reason::Allowed | Reason::Observed));
    is_by_rule.then_some((scratch, decided))
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
