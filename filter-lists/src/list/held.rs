//! What a resolver's configuration says, held until its end: there the most specific name decides,
//! wherever it stands.
//!
//! Owns the names, how they lie in each other, and the rules that resolve a part of what is
//! blocked. What the words of a program mean is the business of its module.

use filter_common::{name::Name, rule::Scope};
use rustc_hash::FxHashMap;
use xxhash_rust::xxh3::xxh3_64;

use super::{
    Sink,
    output::Output,
    report::{Judgement, Kind, Reason, Report},
};
use crate::rule::{Effect, Shape};

/// Names that one exception skips. Each becomes an entry of the table.
pub(super) const SKIPPED_MAX: usize = 64;

/// No statement.
const NONE: u32 = u32::MAX;

/// Statements about names, in the order of their lines.
pub(super) struct Held<T> {
    /// Each name in wire format.
    names: Vec<u8>,
    statements: Vec<Statement<T>>,
    /// The last statement of each name, by the hash of the name.
    last: FxHashMap<u64, u32>,
}

struct Statement<T> {
    line: u32,
    name_at: u32,
    /// The one before with the same hash.
    before: u32,
    says: T,
}

impl<T> Default for Held<T> {
    fn default() -> Self {
        Self {
            names: Vec::new(),
            statements: Vec::new(),
            last: FxHashMap::default(),
        }
    }
}

impl<T: Copy> Held<T> {
    /// Takes the statement of a line.
    pub(super) fn push(&mut self, line: u32, name: &Name, says: T) {
        let name_at = self.names.len() as u32;
        self.names.extend_from_slice(name.as_wire());
        self.statements.push(Statement {
            line,
            name_at,
            before: NONE,
            says,
        });
    }

    /// Number of statements.
    pub(super) fn len(&self) -> usize {
        self.statements.len()
    }

    /// Line and content of a statement.
    pub(super) fn get(&self, number: usize) -> (u32, T) {
        let statement = &self.statements[number];
        (statement.line, statement.says)
    }

    /// The name of a statement, in wire format.
    pub(super) fn wire(&self, number: usize) -> &[u8] {
        let from = &self.names[self.statements[number].name_at as usize..];
        let mut len = 0;
        while let Some(&label) = from.get(len) {
            len += 1 + usize::from(label);
            if label == 0 {
                break;
            }
        }
        &from[..len]
    }

    /// The name of a statement.
    pub(super) fn name(&self, number: usize) -> Name {
        Name::from_wire(self.wire(number)).unwrap_or(Name::ROOT)
    }

    /// Makes names known to [`Self::of`] and what looks for them.
    pub(super) fn index(&mut self) {
        self.last.reserve(self.statements.len());
        for number in 0..self.statements.len() {
            let hash = xxh3_64(self.wire(number));
            let before = self.last.insert(hash, number as u32);
            self.statements[number].before = before.unwrap_or(NONE);
        }
    }

    /// The statements of a name, the last one first.
    pub(super) fn of(&self, wire: &[u8]) -> impl Iterator<Item = usize> {
        let mut next = self.last.get(&xxh3_64(wire)).copied().unwrap_or(NONE);
        let all = std::iter::from_fn(move || {
            let statement = self.statements.get(next as usize)?;
            let this = next as usize;
            next = statement.before;
            Some(this)
        });
        all.filter(move |&number| self.wire(number) == wire)
    }

    /// The first answer that `find` gives for a parent of a name, the closest first.
    pub(super) fn above<R>(
        &self,
        wire: &[u8],
        mut find: impl FnMut(&[u8]) -> Option<R>,
    ) -> Option<R> {
        let mut rest = parent(wire)?;
        loop {
            if let Some(found) = find(rest) {
                return Some(found);
            }
            rest = parent(rest)?;
        }
    }

    /// Accounts for a line that was taken for a rule and turns out to be something else.
    pub(super) fn reconsider(&self, number: usize, judgement: Judgement, report: &mut Report) {
        let name = self.name(number).to_string();
        report.reconsider(self.statements[number].line, name.as_bytes(), judgement);
    }
}

/// The name above, without the root.
fn parent(wire: &[u8]) -> Option<&[u8]> {
    let rest = wire.get(1 + usize::from(*wire.first()?)..)?;
    (rest.len() > 1).then_some(rest)
}

/// A name that resolves, and what in it does not.
pub(super) struct Resolved {
    /// The statement.
    pub(super) number: usize,
    /// Whether the name itself has data of its own, so that only names below it resolve.
    pub(super) only_below: bool,
    /// What is blocked in it, with all below.
    pub(super) skipped: Vec<Name>,
    /// Names in it that have data: those below them resolve.
    pub(super) with_data: Vec<Name>,
}

impl Resolved {
    pub(super) const fn new(number: usize) -> Self {
        Self {
            number,
            only_below: false,
            skipped: Vec::new(),
            with_data: Vec::new(),
        }
    }

    /// Hands out the exceptions, or says why there are none.
    pub(super) fn give<T: Copy, S: Sink>(
        self,
        held: &Held<T>,
        output: &mut Output<'_, S>,
        report: &mut Report,
    ) {
        if self.skipped.len() + self.with_data.len() > SKIPPED_MAX {
            let many = Judgement::at(Kind::Unsupported, 0, Reason::TooManySkipped);
            return held.reconsider(self.number, many, report);
        }
        let (line, _) = held.get(self.number);
        let mut allow = |name: Name, scope: Scope, except: Vec<Name>| {
            let shape = Shape {
                effect: Effect::Allow,
                except,
                ..Shape::block(scope)
            };
            output.rule_of_line(line, shape.of(name));
        };
        let scope = match self.only_below {
            true => Scope::Subs,
            false => Scope::Suffix,
        };
        let skipped = self.skipped.iter().chain(&self.with_data).copied();
        allow(held.name(self.number), scope, skipped.collect());
        for name in self.with_data {
            allow(name, Scope::Subs, Vec::new());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        Name::from_text(text.as_bytes()).unwrap()
    }

    #[test]
    fn statements_are_found_by_their_names_the_last_one_first() {
        let mut held = Held::default();
        for (line, text) in (1..).zip(["a.example", "example", "a.example", "b.example"]) {
            held.push(line, &name(text), line);
        }
        held.index();
        let of = |text: &str| held.of(name(text).as_wire()).collect::<Vec<_>>();
        assert_eq!(of("a.example"), [2, 0]);
        assert_eq!(of("c.example"), [0; 0]);
        let above = held.above(name("x.y.a.example").as_wire(), |wire| {
            let mut found = held.of(wire);
            found.next()
        });
        assert_eq!(above, Some(2));
        assert_eq!(held.above(name("example").as_wire(), |_| Some(())), None);
    }
}
