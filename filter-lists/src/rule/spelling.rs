//! Rules in one spelling, whatever their format was: `||d^`, `|d^`, `*.d`, with `@@` and modifiers.

use std::fmt;

use filter_common::{
    name::Name,
    rule::{AnswerKind, QtypeSet, Scope},
};

use super::{Answer, Client, Effect, Shape};

impl Shape {
    /// The rule of this shape for `name`, in one spelling whatever its format was.
    pub fn display<'a>(&'a self, name: &'a Name) -> impl fmt::Display + 'a {
        Canonical { shape: self, name }
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
    if answer.kind != AnswerKind::Address {
        return answer.kind.word().to_owned();
    }
    let v4 = answer.ipv4.map(|a| a.to_string());
    let v6 = answer.ipv6.map(|a| a.to_string());
    let both: Vec<_> = v4.into_iter().chain(v6).collect();
    both.join("+")
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
