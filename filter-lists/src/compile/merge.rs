//! The way of all partitions through one key, and of keys until one fits.

use filter_common::{
    hash::HashKey,
    layout::{HEADER_SINGLE_LABEL_RULES, RuleRecord},
    name::Name,
};
use rustc_hash::{FxHashMap, FxHashSet};

use super::{
    CompileError, Options,
    check::Checks,
    classes::{Classes, TooMany},
    key::Keys,
    list::ListBuilder,
    partition::{Input, Partition},
    place::{place, sort},
    records::Parts,
    room::Limits,
    template::{Templates, Treatment, stands_for},
    tree::{Collision, HAS_DESCENDANTS, Node, ROOT},
};
use crate::{
    image::{Counts, Image, Report, SAMPLES_PER_REASON, Sample},
    provenance::{Fate, Provenance, Row, START_COUNT, TOP, origin_hash},
};

/// Keys drawn before giving up; a second one is needed once in thousands of years.
const KEYS_MAX: u32 = 16;

pub(super) fn compile(lists: &[&ListBuilder], options: &Options) -> Result<Image, CompileError> {
    let mut keys = Keys::new(options.seed);
    let draw = || keys.draw().map_err(CompileError::NoRandomness);
    compile_with(lists, options, draw)
}

fn compile_with(
    lists: &[&ListBuilder],
    options: &Options,
    mut draw: impl FnMut() -> Result<HashKey, CompileError>,
) -> Result<Image, CompileError> {
    let mut limits = Limits::of(lists);
    for drawn in 1..=KEYS_MAX {
        let key = draw()?;
        loop {
            match Merge::new(lists, options, key, &limits)?.run() {
                Ok(mut image) => {
                    image.report.keys_drawn = drawn;
                    return Ok(image);
                }
                Err(Failure::TooManyClasses(used)) if limits.tighten(&used) => {}
                Err(Failure::Collision | Failure::TooManyClasses(_)) => break,
                Err(Failure::Other(error)) => return Err(error),
            }
        }
    }
    Err(CompileError::KeysExhausted { drawn: KEYS_MAX })
}

/// Why a key, or everything, came to nothing.
enum Failure {
    Collision,
    /// There are no more class numbers; how many each list has used.
    TooManyClasses(FxHashMap<usize, usize>),
    Other(CompileError),
}

impl From<Collision> for Failure {
    fn from(_: Collision) -> Self {
        Self::Collision
    }
}

/// One attempt under one key.
struct Merge<'a> {
    options: &'a Options<'a>,
    input: Input<'a>,
    templates: Templates,
    classes: Classes,
    limits: &'a Limits,
    hashes: Vec<u64>,
    hash_classes: Vec<u16>,
    checks: Checks<'a>,
    /// Top-level domains with names in the table; known only where rules of single labels exist.
    top_domains: FxHashSet<&'a [u8]>,
    provenance: Provenance,
    report: Report,
    flags: u32,
}

impl<'a> Merge<'a> {
    fn new(
        lists: &'a [&'a ListBuilder],
        options: &'a Options<'a>,
        key: HashKey,
        limits: &'a Limits,
    ) -> Result<Self, CompileError> {
        let templates = Templates::of(lists, options.kind, limits)?;
        let rule_count = lists.iter().map(|l| l.rule_count()).sum();
        let mut classes = Classes::new();
        if limits.cut {
            // Names that lose all their rules still lead to others.
            let _ = classes.node_class();
        }
        Ok(Self {
            options,
            input: Input::of(lists, key, &templates),
            templates,
            classes,
            limits,
            hashes: Vec::with_capacity(rule_count),
            hash_classes: Vec::with_capacity(rule_count),
            checks: Checks::of(options.check_names),
            top_domains: FxHashSet::default(),
            provenance: Provenance {
                starts: Vec::with_capacity(START_COUNT),
                rows: Vec::with_capacity(rule_count),
            },
            report: Report {
                lists: vec![Counts::default(); lists.len()],
                ..Report::default()
            },
            flags: options.kind.flags(),
        })
    }

    fn run(mut self) -> Result<Image, Failure> {
        let mut partition = Partition::new(self.limits.combine);
        for number in 0..=TOP {
            self.run_partition(number, &mut partition)?;
        }
        self.report.left_out_below = partition.left_out_below;
        let end = self.provenance.rows.len() as u32;
        self.provenance.starts.push(end);
        self.build()
    }

    fn run_partition(
        &mut self,
        number: usize,
        partition: &mut Partition<'a>,
    ) -> Result<(), Failure> {
        partition.merge(number, &self.input, &mut self.templates)?;
        if number == TOP {
            self.join_top(partition)?;
        }
        if let Err(TooMany) = self.emit(number, partition) {
            let used = self.classes.used(self.options.kind.first_list());
            return Err(Failure::TooManyClasses(used));
        }
        let key = self.input.key;
        if number < TOP {
            self.checks.note(number, partition, &key)?;
        } else if self.flags & HEADER_SINGLE_LABEL_RULES != 0 {
            self.checks.note_top(partition, &key)?;
        }
        self.record_origins(partition);
        Ok(())
    }

    /// Makes nodes of the top-level domains that lead to names of other partitions.
    fn join_top(&mut self, partition: &mut Partition<'a>) -> Result<(), Collision> {
        if partition.tree.nodes.iter().any(|node| node.chain_len > 0) {
            self.flags |= HEADER_SINGLE_LABEL_RULES;
        }
        let mut domains: Vec<_> = self.top_domains.drain().collect();
        domains.sort_unstable();
        for labels in domains {
            let node = partition.tree.insert(labels, &self.input.key)?;
            partition.tree.nodes[node as usize].flags |= HAS_DESCENDANTS;
        }
        Ok(())
    }

    /// Gives every name of the partition that the table needs its class.
    fn emit(&mut self, number: usize, partition: &mut Partition<'a>) -> Result<(), TooMany> {
        let is_top = number == TOP;
        if is_top && self.flags & HEADER_SINGLE_LABEL_RULES == 0 {
            return Ok(());
        }
        for at in ROOT + 1..partition.tree.nodes.len() as u32 {
            let node = partition.tree.nodes[at as usize];
            let has_descendants = node.flags & HAS_DESCENDANTS != 0;
            if node.chain_len == 0 && !has_descendants {
                continue;
            }
            if node.depth == 1 && !is_top {
                self.note_top_domain(&node);
                continue;
            }
            let chain = partition.chain(at);
            let class = self
                .classes
                .class_of(chain, has_descendants, &self.templates);
            let class = match class {
                Err(TooMany) if self.limits.cut => self.cut(at, has_descendants, partition),
                class => Some(class?),
            };
            let Some(class) = class else { continue };
            partition.tree.nodes[at as usize].class = class;
            self.hashes.push(node.hash);
            self.hash_classes.push(class);
            *(if node.chain_len > 0 {
                &mut self.report.names
            } else {
                &mut self.report.nodes
            }) += 1;
        }
        Ok(())
    }

    /// The class of a name with fewer of its rules, where there is no room for one with all: as
    /// many of the strongest ones as there is a class for, or the strongest for fewer categories, or
    /// none.
    fn cut(
        &mut self,
        at: u32,
        has_descendants: bool,
        partition: &mut Partition<'a>,
    ) -> Option<u16> {
        let chain = partition.chain(at).to_vec();
        let templates = &self.templates;
        let mut fewer = (1..chain.len()).rev().filter_map(|len| {
            let kept = &chain[..len];
            let class = self.classes.class_of(kept, has_descendants, templates);
            Some((
                class.ok()?,
                kept.iter().map(|t| *templates.record(*t)).collect(),
            ))
        });
        let fewer = fewer.next();
        let narrower = || {
            let record = templates.record(*chain.first()?);
            let (class, categories) = self.classes.narrower(record, has_descendants)?;
            let kept = vec![RuleRecord {
                categories,
                ..*record
            }];
            Some((class, kept))
        };
        let (class, kept) = match fewer.or_else(narrower) {
            Some((class, kept)) => (Some(class), kept),
            None if has_descendants => (self.classes.node_class().ok(), Vec::new()),
            None => (None, Vec::new()),
        };
        let numbers: Vec<_> = partition.tree.rules_of(at).collect();
        for number in numbers {
            let rule = partition.tree.rules[number as usize];
            let Treatment::Rule(template) = templates.binding(rule.binding).treatment else {
                continue;
            };
            let record = templates.record(template);
            let is_kept = kept.iter().any(|by| stands_for(by, record));
            if rule.fate == Fate::InTable && !is_kept {
                partition.leave_out(number);
            }
        }
        class
    }

    fn note_top_domain(&mut self, node: &Node<'a>) {
        if !self.input.guests.is_empty() && node.flags & HAS_DESCENDANTS != 0 {
            self.top_domains.insert(node.name);
        }
    }

    fn record_origins(&mut self, partition: &Partition<'a>) {
        let start = self.provenance.rows.len();
        self.provenance.starts.push(start as u32);
        let (tree, templates) = (&partition.tree, &self.templates);
        for at in 0..tree.nodes.len() as u32 {
            if tree.nodes[at as usize].first_rule == super::tree::NONE {
                continue;
            }
            let name_hash = origin_hash(tree.nodes[at as usize].name);
            for number in tree.rules_of(at) {
                let rule = &tree.rules[number as usize];
                if rule.is_guest {
                    continue;
                }
                let binding = templates.binding(rule.binding);
                let list = u32::from(binding.list);
                self.report.total.add(rule.fate);
                self.report.lists[list as usize].add(rule.fate);
                let row = Row::new(name_hash, list, rule.line, binding.shape, rule.fate);
                self.provenance.rows.push(row);
            }
        }
        self.provenance.rows[start..].sort_unstable_by_key(Row::sort_key);
        self.keep_samples(partition);
    }

    fn keep_samples(&mut self, partition: &Partition<'a>) {
        for &(number, reason) in &partition.unsupported {
            let kept = self
                .report
                .samples
                .iter()
                .filter(|s| s.reason == reason)
                .count();
            let rule = &partition.tree.rules[number as usize];
            let is_out = matches!(rule.fate, Fate::Unsupported | Fate::NoRoom);
            if kept >= SAMPLES_PER_REASON || !is_out {
                continue;
            }
            let binding = self.templates.binding(rule.binding);
            let name = name_of(partition.tree.nodes[rule.node as usize].name);
            self.report.samples.push(Sample {
                list: usize::from(binding.list),
                line: rule.line,
                rule: self
                    .templates
                    .shape(binding.shape)
                    .display(&name)
                    .to_string(),
                reason,
            });
        }
    }

    /// Lays out the records and looks every name up in them.
    fn build(mut self) -> Result<Image, Failure> {
        sort(&mut self.hashes, &mut self.hash_classes);
        let placed = place(&self.hashes, &self.hash_classes);
        let report = &mut self.report;
        report.buckets = placed.buckets.len() as u64;
        report.in_second_bucket = placed.in_second_bucket;
        report.longest_chain = self.classes.longest_chain as u64;
        let classes = self.classes.into_records();
        report.classes = classes.len() as u64 - 1;
        let parts = Parts {
            key: self.input.key,
            flags: self.flags,
            name_count: report.names as u32,
            settings: self.options.settings,
            buckets: placed.buckets,
            classes: &classes,
            texts: self.templates.texts(),
        };
        let (header, records) = parts.join().map_err(Failure::Other)?;
        report.kernel_bytes = size_of_val(&records[..]) as u64;
        self.checks
            .verify(&records, &header, &self.hashes, &self.hash_classes)?;
        Ok(Image {
            records,
            lists: self.input.lists.iter().map(|l| l.info().clone()).collect(),
            shapes: self.templates.into_shapes(),
            provenance: self.provenance,
            report: self.report,
        })
    }
}

fn name_of(labels: &[u8]) -> Name {
    Name::from_wire(&[labels, b"\0"].concat()).unwrap_or(Name::ROOT)
}

#[cfg(test)]
mod tests {
    use filter_common::rule::Scope;

    use super::*;
    use crate::{
        image::{Decision, ListInfo},
        rule::Rule,
    };

    /// Under this key every label of at most eight bytes has the hash 0.
    const BROKEN: HashKey = HashKey {
        root: 0,
        chunk: 0,
        length: 0,
    };
    const WHOLE: HashKey = HashKey::from_words([3, 0x9e37_79b9_7f4a_7c15, 5]);

    fn name(text: &str) -> Name {
        Name::from_text(text.as_bytes()).unwrap()
    }

    fn list(names: &[&str]) -> ListBuilder {
        let mut list = ListBuilder::new(ListInfo::new("l", "l.txt"));
        for text in names {
            list.rule(1, &Rule::block(name(text), Scope::Exact));
        }
        list
    }

    fn image_of(
        names: &[&str],
        check_names: &[Name],
        keys: &[HashKey],
    ) -> Result<Image, CompileError> {
        let options = Options {
            check_names,
            ..Options::default()
        };
        let mut keys = keys.iter().cycle();
        compile_with(&[&list(names)], &options, || Ok(*keys.next().unwrap()))
    }

    #[test]
    fn a_key_under_which_two_names_collide_is_replaced() {
        for names in [["a.example", "b.example"], ["a.example", "a.c.example"]] {
            let image = image_of(&names, &[], &[BROKEN, BROKEN, WHOLE]).unwrap();
            assert_eq!(image.report().keys_drawn, 3);
            assert_eq!(image.header().key, WHOLE);
        }
    }

    #[test]
    fn a_key_under_which_a_checked_name_hits_a_rule_is_replaced() {
        // Under the broken key the halves of a label can be swapped.
        let listed = "first-8-second-8.example";
        let popular = [name("second-8first-8-.example")];
        let decision = |image: &Image, name| image.query(name, 1, 1).decision;
        let unchecked = image_of(&[listed], &[], &[BROKEN]).unwrap();
        assert_eq!(decision(&unchecked, &popular[0]), Decision::Block);
        let checked = image_of(&[listed], &popular, &[BROKEN, WHOLE]).unwrap();
        assert_eq!(checked.report().keys_drawn, 2);
        assert_eq!(decision(&checked, &popular[0]), Decision::None);
        assert_eq!(decision(&checked, &name(listed)), Decision::Block);
    }

    #[test]
    fn keys_are_not_drawn_for_ever() {
        let failed = image_of(&["a.example", "b.example"], &[], &[BROKEN]);
        assert!(matches!(
            failed,
            Err(CompileError::KeysExhausted { drawn: KEYS_MAX })
        ));
    }

    #[test]
    fn more_lists_than_a_chain_holds_are_joined_when_they_do_the_same() {
        let lists: Vec<_> = (0..40)
            .map(|i| {
                let mut info = ListInfo::new(&format!("l{i}"), "");
                info.categories = 1 << i;
                let mut list = list(&["a.example"]);
                list.set_info(info);
                list
            })
            .collect();
        let image = compile(&lists.iter().collect::<Vec<_>>(), &Options::default()).unwrap();
        let blocked = |bit: u32| image.query(&name("a.example"), 1, 1 << bit).decision;
        assert!((0..40).all(|bit| blocked(bit) == Decision::Block));
        assert_eq!(blocked(40), Decision::None);
    }
}
