//! What the rules of a list become in the kernel: one rule record per list and shape.

use filter_common::{
    layout::{RULE_RESET, RuleRecord, TextRecord},
    rule::{Priority, QtypeSet, Scope},
};
use rustc_hash::FxHashMap;

use super::{CompileError, list::ListBuilder, room::Limits, shapes::Shapes};
use crate::{
    image::{Kind, ListInfo, Unsupported},
    rule::{Answer, Effect, Shape},
};

/// A record that rules share, without `flags` for descendants and `next`.
#[derive(Clone, Debug)]
pub(super) struct Template {
    pub(super) record: RuleRecord,
    /// Ranks below network rules of the same priority.
    pub(super) host_rule: bool,
    /// Skips some names, so that it covers no other rule.
    pub(super) has_except: bool,
    /// Number of the shape in the image.
    pub(super) shape: u32,
}

/// What the rules of one shape in one list do.
#[derive(Clone, Copy, Debug)]
pub(super) struct Binding {
    pub(super) list: u16,
    /// Number of the shape in the list.
    pub(super) list_shape: u32,
    /// Number of the shape in the image.
    pub(super) shape: u32,
    pub(super) treatment: Treatment,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Treatment {
    /// Goes into the table as this template.
    Rule(u32),
    /// Deletes the rules of this image-wide shape from its name.
    Delete(u32),
    /// Lifts rewrites; the template says from which query types and categories.
    Cancel(u32),
    /// Has no form in the kernel.
    Unsupported(Unsupported),
}

/// Every template, binding and text of one compilation.
pub(super) struct Templates {
    templates: Vec<Template>,
    derived: FxHashMap<(RuleRecord, u32), u32>,
    bindings: Vec<Binding>,
    list_bases: Vec<u32>,
    shapes: Shapes,
    texts: Vec<TextRecord>,
    /// By which number the kernel knows the first list.
    first_list: u32,
    /// The template that forgets all that shorter names said.
    forget: Option<u32>,
}

impl Templates {
    /// Binds every shape of every list.
    pub(super) fn of(
        lists: &[&ListBuilder],
        kind: Kind,
        limits: &Limits,
    ) -> Result<Self, CompileError> {
        let (count, max) = (lists.len(), kind.list_max());
        if count > max {
            return Err(CompileError::TooManyLists { count, max });
        }
        let mut all = Self {
            templates: Vec::new(),
            derived: FxHashMap::default(),
            bindings: Vec::new(),
            list_bases: Vec::new(),
            shapes: Shapes::default(),
            texts: Vec::new(),
            first_list: kind.first_list(),
            forget: None,
        };
        for (number, list) in lists.iter().enumerate() {
            all.list_bases.push(all.bindings.len() as u32);
            let text = all.text(list.info())?;
            let excluded = limits.excluded(number, list);
            for (list_shape, shape) in list.shapes().iter().enumerate() {
                let at = (number as u16, list_shape as u32);
                let binding = match excluded[list_shape] {
                    true => all.exclude(at, shape),
                    false => all.bind(at, shape, list.info(), text),
                };
                all.bindings.push(binding);
            }
        }
        Ok(all)
    }

    pub(super) fn template(&self, number: u32) -> &Template {
        &self.templates[number as usize]
    }

    pub(super) fn template_count(&self) -> usize {
        self.templates.len()
    }

    pub(super) fn record(&self, number: u32) -> &RuleRecord {
        &self.templates[number as usize].record
    }

    pub(super) fn shape(&self, number: u32) -> &Shape {
        &self.shapes.as_slice()[number as usize]
    }

    /// Whether the rules of a template are important.
    pub(super) fn is_important(&self, number: u32) -> bool {
        self.shape(self.template(number).shape).important
    }

    /// The template that forgets all that shorter names said.
    pub(super) fn forget(&mut self) -> u32 {
        let next = self.templates.len() as u32;
        *self.forget.get_or_insert_with(|| {
            let record = RuleRecord {
                categories: u64::MAX,
                flags: RULE_RESET,
                scope: Scope::Suffix as u8,
                ..RuleRecord::default()
            };
            self.templates.push(Template {
                record,
                host_rule: false,
                has_except: false,
                shape: 0,
            });
            next
        })
    }

    /// Number of the binding of a list's shape.
    pub(super) fn binding_number(&self, list: usize, list_shape: u32) -> u32 {
        self.list_bases[list] + list_shape
    }

    pub(super) fn binding(&self, number: u32) -> &Binding {
        &self.bindings[number as usize]
    }

    pub(super) fn into_shapes(self) -> Vec<Shape> {
        self.shapes.into_vec()
    }

    pub(super) fn texts(&self) -> &[TextRecord] {
        &self.texts
    }

    /// The template like `base` with another record.
    pub(super) fn derive(&mut self, base: u32, record: RuleRecord) -> u32 {
        let template = self.templates[base as usize].clone();
        if template.record == record {
            return base;
        }
        let next = self.templates.len() as u32;
        let number = *self.derived.entry((record, base)).or_insert(next);
        if number == next {
            self.templates.push(Template { record, ..template });
        }
        number
    }

    /// Binds a shape that an image has no number for.
    fn exclude(&mut self, (list, list_shape): (u16, u32), shape: &Shape) -> Binding {
        Binding {
            list,
            list_shape,
            shape: self.shapes.intern_shape(Shape::block(shape.scope)),
            treatment: Treatment::Unsupported(Unsupported::NoRoom),
        }
    }

    fn bind(
        &mut self,
        (list, list_shape): (u16, u32),
        shape: &Shape,
        info: &ListInfo,
        text: u32,
    ) -> Binding {
        let number = self.shapes.intern_shape(shape.clone());
        let observes = info.observes();
        let treatment =
            if observes && !matches!(shape.effect, Effect::Block(_) | Effect::Rewrite(_)) {
                Treatment::Unsupported(Unsupported::ObservingDirective)
            } else if let Effect::Delete(deleted) = &shape.effect {
                let mut target = shape.clone();
                target.effect = (**deleted).clone();
                Treatment::Delete(self.shapes.intern_shape(target))
            } else if !shape.clients.is_empty() {
                Treatment::Unsupported(Unsupported::Clients)
            } else if shape.effect == Effect::CancelRewrite && !shape.except.is_empty() {
                Treatment::Unsupported(Unsupported::CancelWithExceptions)
            } else {
                let number_in_kernel = self.first_list + u32::from(list);
                let record = record_of(shape, info, number_in_kernel, text);
                self.templates.push(Template {
                    record,
                    host_rule: shape.host_rule,
                    has_except: !shape.except.is_empty(),
                    shape: number,
                });
                let template = self.templates.len() as u32 - 1;
                match shape.effect {
                    Effect::CancelRewrite => Treatment::Cancel(template),
                    _ => Treatment::Rule(template),
                }
            };
        Binding {
            list,
            list_shape,
            shape: number,
            treatment,
        }
    }

    /// Number of the list's EXTRA-TEXT, 0 if it has none.
    fn text(&mut self, info: &ListInfo) -> Result<u32, CompileError> {
        let Some(text) = info.ede_text.as_deref().filter(|t| !t.is_empty()) else {
            return Ok(0);
        };
        let record = TextRecord::new(text).ok_or_else(|| CompileError::TextTooLong {
            list: info.name.clone(),
            len: text.len(),
        })?;
        let known = self.texts.iter().position(|t| *t == record);
        let at = known.unwrap_or_else(|| {
            self.texts.push(record);
            self.texts.len() - 1
        });
        Ok(at as u32 + 1)
    }
}

fn record_of(shape: &Shape, info: &ListInfo, list: u32, text: u32) -> RuleRecord {
    let priority = match info.observes() {
        // Whatever its rank: it must not change what others say.
        true => Priority::Observe,
        false => shape.priority().unwrap_or(Priority::Rewrite),
    };
    let (qtype_mode, qtype_count, qtypes) = shape.qtypes.parts();
    let mut record = RuleRecord {
        categories: info.categories,
        list,
        priority: priority as u8,
        scope: shape.scope as u8,
        qtype_mode,
        qtype_count,
        qtypes,
        ..RuleRecord::default()
    };
    record.priority_observing = record.priority;
    if priority.is_allow() {
        return record;
    }
    record.ede_code = info.ede_code;
    record.text = text;
    record.ttl_s = info.ttl_s;
    let own = match &shape.effect {
        Effect::Block(own) => own.as_ref(),
        Effect::Rewrite(own) => Some(own),
        _ => None,
    };
    // The operator's word for the list goes before its author's.
    if let Some(answer) = info.answer.as_ref().or(own) {
        set_answer(&mut record, answer);
    }
    if asks_for_nothing(&record) {
        record.priority_observing = Priority::Observe as u8;
    }
    record
}

fn set_answer(record: &mut RuleRecord, answer: &Answer) {
    record.answer = answer.kind as u8;
    record.ipv4 = answer.ipv4.map_or([0; 4], |a| a.octets());
    record.ipv6 = answer.ipv6.map_or([0; 16], |a| a.octets());
}

/// Whether the record matches names below its own.
pub(super) fn is_below(record: &RuleRecord) -> bool {
    record.scope & Scope::BELOW_BIT != 0
}

/// Whether the record is one that exceptions to rewrites lift.
pub(super) fn is_rewrite(record: &RuleRecord) -> bool {
    Priority::from_number(record.priority).is_some_and(Priority::is_rewrite)
}

/// Whether the record only forgets what shorter names said.
pub(super) fn is_reset(record: &RuleRecord) -> bool {
    record.flags & RULE_RESET != 0
}

/// The record that forgets what shorter names said, under the conditions of `rule`.
pub(super) fn reset_of(rule: &RuleRecord, scope: u8) -> RuleRecord {
    RuleRecord {
        categories: rule.categories,
        flags: RULE_RESET,
        list: rule.list,
        scope,
        qtype_mode: rule.qtype_mode,
        qtype_count: rule.qtype_count,
        qtypes: rule.qtypes,
        ..RuleRecord::default()
    }
}

/// Whether some query type may be in the sets of both.
pub(super) fn qtypes_overlap(a: &QtypeSet, b: &QtypeSet) -> bool {
    match (a.mode(), b.mode()) {
        (QtypeSet::ONLY, _) => a.named_qtypes().iter().any(|&t| b.contains(t)),
        (_, QtypeSet::ONLY) => b.named_qtypes().iter().any(|&t| a.contains(t)),
        _ => true,
    }
}

/// Whether `a` applies to every query type and policy that `b` applies to.
pub(super) fn conditions_cover(a: &RuleRecord, b: &RuleRecord) -> bool {
    let same_qtypes =
        (a.qtype_mode, a.qtype_count, a.qtypes) == (b.qtype_mode, b.qtype_count, b.qtypes);
    let qtypes = a.qtype_mode == QtypeSet::EVERY || same_qtypes;
    qtypes && b.categories & !a.categories == 0
}

/// Whether `by` does what `of` does, wherever `of` applies.
pub(super) fn stands_for(by: &RuleRecord, of: &RuleRecord) -> bool {
    by.priority == of.priority
        && by.scope & of.scope == of.scope
        && conditions_cover(by, of)
        && same_answer(by, of)
}

/// Whether `of` may decide although `by` is the stronger one.
///
/// A rule that asks for no answer of its own only observes where the filter's or the policy's
/// answer is to observe; what others say then holds.
pub(super) fn may_yield(by: &RuleRecord, of: &RuleRecord) -> bool {
    asks_for_nothing(by) && !asks_for_nothing(of)
}

fn asks_for_nothing(record: &RuleRecord) -> bool {
    let is_allow = Priority::from_number(record.priority).is_some_and(Priority::is_allow);
    record.answer == 0 && !is_allow
}

/// Whether a client could not tell which of both rules won.
pub(super) fn same_answer(a: &RuleRecord, b: &RuleRecord) -> bool {
    (a.answer, a.ede_code, a.ttl_s, a.text, a.ipv4, a.ipv6)
        == (b.answer, b.ede_code, b.ttl_s, b.text, b.ipv4, b.ipv6)
}
