//! What one line of a list means, whatever its format was.

use std::net::{Ipv4Addr, Ipv6Addr};

use filter_common::{
    name::Name,
    rule::{AnswerKind, QtypeSet, Scope},
};

/// A rule as its author wrote it; the compiler merges rules into table entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The name in the rule, without wildcard.
    pub name: Name,
    /// Which names it matches.
    pub scope: Scope,
    /// What it does to them.
    pub effect: Effect,
    /// `$important`: above every rule that is not.
    pub important: bool,
    /// Query types it is for.
    pub qtypes: QtypeSet,
    /// `$denyallow`: names, with everything below them, that the rule skips.
    pub except: Vec<Name>,
    /// Who it is for; empty means everybody.
    pub clients: Vec<Client>,
    /// Whether it came from a hosts or plain line; such a rule ranks below
    /// network rules of the same effect and is the target of no `$badfilter`.
    pub host_rule: bool,
}

impl Rule {
    /// A plain block rule for everybody and every query type.
    pub fn block(name: Name, scope: Scope) -> Self {
        Self {
            name,
            scope,
            effect: Effect::Block(None),
            important: false,
            qtypes: QtypeSet::ALL,
            except: Vec::new(),
            clients: Vec::new(),
            host_rule: false,
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
    /// An answer that needs no addresses.
    pub const fn of(kind: AnswerKind) -> Self {
        Self {
            kind,
            ipv4: None,
            ipv6: None,
        }
    }
}

/// A condition on who asks.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Client {
    /// An address range.
    Prefix {
        /// Any address of the range.
        address: std::net::IpAddr,
        /// Bits that count.
        len: u8,
        /// Everybody but these.
        not: bool,
    },
    /// A hardware address.
    Mac {
        /// The address.
        address: [u8; 6],
        /// Everybody but this one.
        not: bool,
    },
}
