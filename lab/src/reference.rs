//! The slowest possible matcher: every rule against every name, as text.
//!
//! It shares nothing with the filter but the meaning of the rules, so that a
//! difference is a mistake of one of the two.

use std::fmt::Write as _;

/// What a rule covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Covers {
    Name,
    Below,
    Both,
}

use Covers::{Below, Both, Name};

/// Name, what it covers, allow, important, the one query type.
type Rule = (&'static str, Covers, bool, bool, Option<u16>);

const A: u16 = 1;
const AAAA: u16 = 28;
const TXT: u16 = 16;
const HTTPS: u16 = 65;

const RULES: &[Rule] = &[
    ("a", Both, false, false, None),
    ("b.a", Both, true, false, None),
    ("c.b.a", Name, false, true, None),
    ("d.c.b.a", Both, false, false, Some(AAAA)),
    ("e", Name, false, false, None),
    ("a.e", Below, false, false, None),
    ("b.a.e", Name, true, true, None),
    ("a.b.a.e", Both, false, true, None),
    ("b", Below, true, false, None),
    ("a.b", Both, false, false, None),
    ("b.b", Both, false, true, Some(HTTPS)),
    ("c.b.b", Both, true, true, Some(A)),
    (
        "long-label-of-more-than-sixteen-bytes.c",
        Both,
        false,
        false,
        None,
    ),
    (
        "a.long-label-of-more-than-sixteen-bytes.c",
        Name,
        true,
        false,
        None,
    ),
    ("c.c.c.c.c.c.c.c.c.c.c.c", Both, false, false, None),
    ("d", Both, false, false, Some(A)),
    ("a.d", Both, true, false, Some(AAAA)),
    ("b.d", Below, false, false, Some(AAAA)),
];

/// Labels that the rules are made of, for whoever makes names.
pub const LABELS: &[&str] = &[
    "a",
    "b",
    "c",
    "d",
    "e",
    "long-label-of-more-than-sixteen-bytes",
];

/// The rules as an AdGuard list.
pub fn list() -> String {
    let mut list = String::new();
    for (name, covers, is_allow, is_important, qtype) in RULES {
        let exception = if *is_allow { "@@" } else { "" };
        let mut modifiers = Vec::new();
        if *is_important {
            modifiers.push("important".to_owned());
        }
        if let Some(qtype) = qtype {
            let name = match *qtype {
                A => "A",
                AAAA => "AAAA",
                _ => "HTTPS",
            };
            modifiers.push(format!("dnstype={name}"));
        }
        let dollar = if modifiers.is_empty() { "" } else { "$" };
        let pattern = match covers {
            Name => format!("|{name}^"),
            Below => format!("*.{name}^"),
            Both => format!("||{name}^"),
        };
        let modifiers = modifiers.join(",");
        writeln!(list, "{exception}{pattern}{dollar}{modifiers}").expect("memory takes any line");
    }
    list
}

/// Whether `name` (lower case, no final dot) of this query type is blocked, and if not, whether
/// a rule allows it.
pub fn verdict(name: &str, qtype: u16) -> Decision {
    let mut best: Option<((u8, usize), bool)> = None;
    for (owner, covers, is_allow, is_important, only) in RULES {
        let is_below = name.ends_with(owner) && name[..name.len() - owner.len()].ends_with('.');
        let is_covered = match covers {
            Name => name == *owner,
            Below => is_below,
            Both => is_below || name == *owner,
        };
        if !is_covered || only.is_some_and(|only| only != qtype) {
            continue;
        }
        let rank = (
            u8::from(*is_important) * 2 + u8::from(*is_allow),
            owner.len(),
        );
        if best.is_none_or(|(above, _)| rank > above) {
            best = Some((rank, *is_allow));
        }
    }
    match best {
        None => Decision::NoRule,
        Some((_, true)) => Decision::Allowed,
        Some((_, false)) => Decision::Blocked,
    }
}

/// What the rules say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Nothing.
    NoRule,
    /// An exception won.
    Allowed,
    /// A block won.
    Blocked,
}

/// Whether every name at and below `name` is blocked, for every query type.
pub fn is_all_blocked(name: &str) -> bool {
    let below = RULES
        .iter()
        .filter(|(owner, ..)| owner.ends_with(&format!(".{name}")))
        .flat_map(|(owner, ..)| [(*owner).to_owned(), format!("no.{owner}")]);
    let names = [name.to_owned(), format!("no.{name}")];
    names.into_iter().chain(below).all(|name| {
        [A, AAAA, HTTPS, TXT]
            .iter()
            .all(|&qtype| verdict(&name, qtype) == Decision::Blocked)
    })
}

/// Whether a rule is for a name below `name`.
pub fn has_rules_below(name: &str) -> bool {
    let is_below = |owner: &str| owner.ends_with(&format!(".{name}"));
    RULES.iter().any(|(owner, ..)| is_below(owner))
}
