//! The parts of a generation, one behind the other.

use filter_common::{
    hash::HashKey,
    layout::{Header, LAYOUT_VERSION, RULE_IS_NODE, Record, RuleRecord, Settings, TextRecord},
};

use super::CompileError;

/// What a generation is made of.
pub(super) struct Parts<'a> {
    pub(super) key: HashKey,
    pub(super) flags: u32,
    pub(super) name_count: u32,
    pub(super) settings: Settings,
    pub(super) buckets: Vec<Record>,
    /// Class 0 first, which is never used.
    pub(super) classes: &'a [RuleRecord],
    /// Text 1 first.
    pub(super) texts: &'a [TextRecord],
}

/// Header and settings.
const HEAD: usize = 2;

impl Parts<'_> {
    /// The header and all records, the header included.
    pub(super) fn join(self) -> Result<(Header, Vec<Record>), CompileError> {
        let class_base = HEAD + self.buckets.len();
        let text_base = class_base + self.classes.len();
        let record_count = text_base + 1 + self.texts.len();
        let header = Header {
            layout: LAYOUT_VERSION,
            generation: 0,
            bucket_count: self.buckets.len() as u32,
            bucket_base: HEAD as u32,
            class_base: class_base as u32,
            text_base: text_base as u32,
            flags: self.flags,
            record_count: u32::try_from(record_count).map_err(|_| CompileError::TooLarge {
                records: record_count,
            })?,
            key: self.key,
            name_count: self.name_count,
            node_class: self.node_class(),
        };
        let mut records = self.buckets;
        records.reserve_exact(record_count - records.len());
        let head = [bytemuck::cast(header), bytemuck::cast(self.settings)];
        records.splice(0..0, head);
        records.extend_from_slice(bytemuck::cast_slice(self.classes));
        // Text 0 is never used.
        records.push(Record::default());
        records.extend(
            self.texts
                .iter()
                .map(|text| -> Record { bytemuck::cast(*text) }),
        );
        Ok((header, records))
    }

    /// The one class without a rule, which every name that only leads on shares.
    fn node_class(&self) -> u32 {
        let is_node = |class: &RuleRecord| class.flags & RULE_IS_NODE != 0;
        self.classes.iter().position(is_node).unwrap_or(0) as u32
    }
}
