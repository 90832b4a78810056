//! What one line of a list means, whatever its format was.

mod client;
mod spelling;

use std::net::{Ipv4Addr, Ipv6Addr};

use filter_common::{
    name::Name,
    rule::{AnswerKind, Priority, QtypeSet, Scope},
};

pub use self::{
    client::{Client, ClientAddress, UnknownClient},
    spelling::qtype_text,
};

/// A rule as its author wrote it; the compiler merges rules into table entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The name in the rule, without wildcard.
    pub name: Name,
    /// Everything else.
    pub shape: Shape,
}

impl Rule {
    /// A plain block rule for everybody and every query type.
    pub fn block(name: Name, scope: Scope) -> Self {
        Shape::block(scope).of(name)
    }
}

/// What a rule says besides its name: few of them are behind millions of rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Which names it matches.
    pub scope: Scope,
    /// What it does to them.
    pub effect: Effect,
    /// `$important`: above every rule that is not.
    pub important: bool,
    /// Query types it is for.
    pub qtypes: QtypeSet,
    /// `$denyallow`: names, with everything below them, that it skips.
    pub except: Vec<Name>,
    /// Who it is for; empty means everybody.
    pub clients: Vec<Client>,
    /// Whether it came from a hosts or plain line; such a rule ranks below
    /// network rules of the same effect and is the target of no `$badfilter`.
    pub host_rule: bool,
}

impl Shape {
    /// A plain block for everybody and every query type.
    pub const fn block(scope: Scope) -> Self {
        Self {
            scope,
            effect: Effect::Block(None),
            important: false,
            qtypes: QtypeSet::ALL,
            except: Vec::new(),
            clients: Vec::new(),
            host_rule: false,
        }
    }

    /// The rule of this shape for `name`.
    pub const fn of(self, name: Name) -> Rule {
        Rule { name, shape: self }
    }

    /// The rank of the rule, `None` for those that only act on other rules.
    pub fn priority(&self) -> Option<Priority> {
        match (&self.effect, self.important) {
            (Effect::Block(_), false) => Some(Priority::Block),
            (Effect::Block(_), true) => Some(Priority::ImportantBlock),
            (Effect::Allow, false) => Some(Priority::Allow),
            (Effect::Allow, true) => Some(Priority::ImportantAllow),
            (Effect::Rewrite(answer), _) if answer.is_code() => Some(Priority::RewriteCode),
            (Effect::Rewrite(_), _) => Some(Priority::Rewrite),
            (Effect::CancelRewrite | Effect::Delete(_), _) => None,
        }
    }
}

/// What a rule does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Blocks, with an answer of its own if it names one.
    Block(Option<Answer>),
    /// Lets through.
    Allow,
    /// `$dnsrewrite`: answers, above all other rules.
    Rewrite(Answer),
    /// `@@…$dnsrewrite`: lifts rewrites of the names it matches.
    CancelRewrite,
    /// `$badfilter`: deletes the rules that are equal to this one but for `effect`,
    /// which must equal the boxed one.
    Delete(Box<Effect>),
}

/// An answer that a rule or a list asks for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Answer {
    /// The kind.
    pub kind: AnswerKind,
    /// For [`AnswerKind::Address`]: the A record, if any.
    pub ipv4: Option<Ipv4Addr>,
    /// For [`AnswerKind::Address`]: the AAAA record, if any.
    pub ipv6: Option<Ipv6Addr>,
}

impl Answer {
    /// Whether it is a response code other than NOERROR.
    pub const fn is_code(&self) -> bool {
        matches!(self.kind, AnswerKind::NxDomain | AnswerKind::Refused)
    }

    /// An answer that needs no addresses.
    pub const fn of(kind: AnswerKind) -> Self {
        Self {
            kind,
            ipv4: None,
            ipv6: None,
        }
    }
}
