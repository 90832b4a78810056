//! What a rule says besides its name: few of them are behind millions of rules.

use std::fmt;

use filter_common::{
    name::Name,
    rule::{AnswerKind, Priority, QtypeSet, Scope},
};
use rustc_hash::FxHashMap;

use crate::rule::{Answer, Client, Effect, Rule};

/// A rule without its name and line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Which names it matches.
    pub scope: Scope,
    /// What it does to them.
    pub effect: Effect,
    /// Above every rule that is not.
    pub important: bool,
    /// Query types it is for.
    pub qtypes: QtypeSet,
    /// Names, with everything below them, that it skips.
    pub except: Vec<Name>,
    /// Who it is for; empty means everybody.
    pub clients: Vec<Client>,
    /// Whether it came from a hosts or plain line.
    pub host_rule: bool,
}

impl Shape {
    /// The rank of the rule, `None` for those that only act on other rules.
    pub fn priority(&self) -> Option<Priority> {
        match (&self.effect, self.important) {
            (Effect::Block(_), false) => Some(Priority::Block),
            (Effect::Block(_), true) => Some(Priority::ImportantBlock),
            (Effect::Allow, false) => Some(Priority::Allow),
            (Effect::Allow, true) => Some(Priority::ImportantAllow),
            (Effect::Rewrite(_), _) => Some(Priority::Rewrite),
            (Effect::CancelRewrite | Effect::Delete(_), _) => None,
        }
    }

    /// The rule of this shape for `name`, in one spelling whatever its format was.
    pub fn display<'a>(&'a self, name: &'a Name) -> impl fmt::Display + 'a {
        Canonical { shape: self, name }
    }

    fn of(rule: &Rule) -> Self {
        Self {
            scope: rule.scope,
            effect: rule.effect.clone(),
            important: rule.important,
            qtypes: rule.qtypes,
            except: rule.except.clone(),
            clients: rule.clients.clone(),
            host_rule: rule.host_rule,
        }
    }

    fn is_of(&self, rule: &Rule) -> bool {
        self.scope == rule.scope
            && self.host_rule == rule.host_rule
            && self.important == rule.important
            && self.qtypes == rule.qtypes
            && self.effect == rule.effect
            && self.except == rule.except
            && self.clients == rule.clients
    }
}

/// The distinct shapes of a list, numbered in order of appearance.
#[derive(Clone, Debug, Default)]
pub(super) struct Shapes {
    shapes: Vec<Shape>,
    last: usize,
    by_content: FxHashMap<String, u32>,
}

/// So many shapes are compared one by one before the map is asked.
const COMPARED: usize = 8;

impl Shapes {
    /// The number of the rule's shape.
    pub(super) fn intern(&mut self, rule: &Rule) -> u32 {
        if self.shapes.get(self.last).is_some_and(|s| s.is_of(rule)) {
            return self.last as u32;
        }
        let head = &self.shapes[..self.shapes.len().min(COMPARED)];
        self.last = match head.iter().position(|s| s.is_of(rule)) {
            Some(known) => known,
            None => self.intern_shape(Shape::of(rule)) as usize,
        };
        self.last as u32
    }

    /// The number of the shape.
    pub(super) fn intern_shape(&mut self, shape: Shape) -> u32 {
        let next = self.shapes.len() as u32;
        let number = *self.by_content.entry(format!("{shape:?}")).or_insert(next);
        if number == next {
            self.shapes.push(shape);
        }
        number
    }

    pub(super) fn as_slice(&self) -> &[Shape] {
        &self.shapes
    }

    pub(super) fn into_vec(self) -> Vec<Shape> {
        self.shapes
    }
}

struct Canonical<'a> {
    shape: &'a Shape,
    name: &'a Name,
}

impl fmt::Display for Canonical<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (effect, deletes) = match &self.shape.effect {
            Effect::Delete(deleted) => (&**deleted, true),
            effect => (effect, false),
        };
        if matches!(effect, Effect::Allow | Effect::CancelRewrite) {
            f.write_str("@@")?;
        }
        match self.shape.scope {
            Scope::Exact => write!(f, "|{}^", self.name)?,
            Scope::Subs => write!(f, "*.{}", self.name)?,
            Scope::Suffix => write!(f, "||{}^", self.name)?,
        }
        let mut modifiers = self.modifiers(effect);
        if deletes {
            modifiers.push("badfilter".to_owned());
        }
        if modifiers.is_empty() {
            return Ok(());
        }
        write!(f, "${}", modifiers.join(","))
    }
}

impl Canonical<'_> {
    fn modifiers(&self, effect: &Effect) -> Vec<String> {
        let mut all = Vec::new();
        if self.shape.important {
            all.push("important".to_owned());
        }
        match effect {
            Effect::Block(Some(answer)) => all.push(format!("answer={}", spell(answer))),
            Effect::Rewrite(answer) => all.push(format!("dnsrewrite={}", spell(answer))),
            Effect::CancelRewrite => all.push("dnsrewrite".to_owned()),
            Effect::Block(None) | Effect::Allow | Effect::Delete(_) => {}
        }
        let qtypes = &self.shape.qtypes;
        if qtypes.mode() != QtypeSet::EVERY {
            let not = if qtypes.mode() == QtypeSet::EXCEPT {
                "~"
            } else {
                ""
            };
            let named = qtypes.named_qtypes().iter();
            let spelled: Vec<_> = named.map(|&t| format!("{not}{}", qtype_text(t))).collect();
            all.push(format!("dnstype={}", spelled.join("|")));
        }
        if !self.shape.except.is_empty() {
            let names: Vec<_> = self.shape.except.iter().map(Name::to_string).collect();
            all.push(format!("denyallow={}", names.join("|")));
        }
        if !self.shape.clients.is_empty() {
            let clients: Vec<_> = self.shape.clients.iter().map(client_text).collect();
            all.push(format!("client={}", clients.join("|")));
        }
        all
    }
}

fn spell(answer: &Answer) -> String {
    match answer.kind {
        AnswerKind::NxDomain => "nxdomain".to_owned(),
        AnswerKind::NoData => "nodata".to_owned(),
        AnswerKind::Refused => "refused".to_owned(),
        AnswerKind::Null => "null".to_owned(),
        AnswerKind::Truncate => "truncate".to_owned(),
        AnswerKind::Drop => "drop".to_owned(),
        AnswerKind::Observe => "observe".to_owned(),
        AnswerKind::Address => {
            let v4 = answer.ipv4.map(|a| a.to_string());
            let v6 = answer.ipv6.map(|a| a.to_string());
            let both: Vec<_> = v4.into_iter().chain(v6).collect();
            both.join("+")
        }
    }
}

fn client_text(client: &Client) -> String {
    let not = |not: bool| if not { "~" } else { "" };
    match client {
        Client::Prefix {
            address,
            len,
            not: n,
        } => format!("{}{address}/{len}", not(*n)),
        Client::Mac { address, not: n } => {
            let hex: Vec<_> = address.iter().map(|b| format!("{b:02x}")).collect();
            format!("{}{}", not(*n), hex.join(":"))
        }
    }
}

/// The mnemonic of a query type (IANA DNS parameters), `TYPE123` if it has none here.
pub fn qtype_text(qtype: u16) -> String {
    let known = match qtype {
        1 => "A",
        2 => "NS",
        5 => "CNAME",
        6 => "SOA",
        12 => "PTR",
        15 => "MX",
        16 => "TXT",
        28 => "AAAA",
        33 => "SRV",
        35 => "NAPTR",
        43 => "DS",
        48 => "DNSKEY",
        64 => "SVCB",
        65 => "HTTPS",
        255 => "ANY",
        _ => return format!("TYPE{qtype}"),
    };
    known.to_owned()
}
