//! AdGuard DNS rules: the pattern, and what it matches as a scope.
//!
//! A pattern that begins with `||` is held against `http://NAME`, any other
//! against the name alone; `^` matches a separator or the end. What that
//! leaves of each form is a scope, or something the table cannot hold.

use filter_common::{
    name::Name,
    rule::{AnswerKind, Scope},
};

use super::{
    Format, Sink,
    modifiers::{self, Modifiers},
    name,
    output::Output,
    report::{Judgement, Kind, Reason, position},
};
use crate::rule::{Effect, Rule, Shape};

/// Whether a line is written in this syntax and in no simpler one.
pub(super) fn is_pattern(line: &[u8]) -> bool {
    let is_regex = line.len() > 2 && line.starts_with(b"/") && line.ends_with(b"/");
    is_regex
        || line.starts_with(b"@@")
        || line.starts_with(b"://")
        || line.iter().any(|byte| matches!(byte, b'^' | b'|' | b'$'))
}

/// Judges one rule.
pub(super) fn rule<S: Sink>(line: &[u8], format: Format, output: &mut Output<'_, S>) -> Judgement {
    let (is_allow, text) = match line.strip_prefix(b"@@") {
        Some(text) => (true, text),
        None => (false, line),
    };
    let (pattern, options) = split(text);
    let modifiers = match modifiers::parse(options, is_allow) {
        Ok(modifiers) => modifiers,
        Err((kind, part, reason)) => return Judgement::on(kind, line, part, reason),
    };
    if modifiers.redirects() && output.refuses_redirects() {
        return Judgement::on(Kind::Unsupported, line, options, Reason::Redirect);
    }
    let meaning = match pattern {
        b"" if modifiers.restrict() => Meaning::Everything,
        _ => meaning(pattern, format, is_allow),
    };
    match meaning {
        Meaning::Names(name, scope) => {
            output.rule(modifiers.into_rule(name, scope, is_allow));
            Judgement::RULE
        }
        Meaning::Narrowed(name, scope, reason) => {
            output.rule(modifiers.into_rule(name, scope, is_allow));
            Judgement::on(Kind::Narrowed, line, pattern, reason)
        }
        Meaning::Everything => every_name(line, pattern, modifiers, is_allow, output),
        Meaning::None(kind, part, reason) => {
            Judgement::at(kind, position(line, pattern) + part, reason)
        }
    }
}

/// A rule for every name can only be a condition on clients.
fn every_name<S: Sink>(
    line: &[u8],
    pattern: &[u8],
    modifiers: Modifiers,
    is_allow: bool,
    output: &mut Output<'_, S>,
) -> Judgement {
    if modifiers.clients.is_empty() {
        return Judgement::on(Kind::Unsupported, line, pattern, Reason::EveryName);
    }
    output.rule(modifiers.into_rule(Name::ROOT, Scope::Suffix, is_allow));
    Judgement::RULE
}

impl Modifiers {
    /// Whether the rule would lead clients to an address of its author's choice.
    fn redirects(&self) -> bool {
        let rewrite = self.rewrite.as_ref();
        !self.is_badfilter && rewrite.is_some_and(|answer| answer.kind == AnswerKind::Address)
    }

    fn into_rule(self, name: Name, scope: Scope, is_allow: bool) -> Rule {
        let effect = match self.rewrite {
            Some(_) if is_allow => Effect::CancelRewrite,
            Some(answer) => Effect::Rewrite(answer),
            None if is_allow => Effect::Allow,
            None => Effect::Block(None),
        };
        let shape = Shape {
            scope,
            effect: if self.is_badfilter {
                Effect::Delete(Box::new(effect))
            } else {
                effect
            },
            important: self.is_important,
            qtypes: self.qtypes,
            except: self.except,
            clients: self.clients,
            host_rule: false,
        };
        shape.of(name)
    }
}

/// Parts a rule at the last `$` that is not escaped and not the last byte.
fn split(text: &[u8]) -> (&[u8], &[u8]) {
    if text.len() > 1 && text.starts_with(b"/") && text.ends_with(b"/") {
        return (text, b"");
    }
    let end = text.len().saturating_sub(1);
    let dollar = (0..end)
        .rev()
        .find(|&at| text[at] == b'$' && (at == 0 || text[at - 1] != b'\\'));
    match dollar {
        Some(at) => (&text[..at], &text[at + 1..]),
        None => (text, b""),
    }
}

/// What a pattern matches.
enum Meaning {
    Names(Name, Scope),
    Narrowed(Name, Scope, Reason),
    Everything,
    /// Nothing, or nothing that can be said with names; and where that shows.
    None(Kind, usize, Reason),
}

impl Meaning {
    const fn slow(reason: Reason) -> Self {
        Self::None(Kind::Unsupported, 0, reason)
    }
}

fn meaning(pattern: &[u8], format: Format, is_allow: bool) -> Meaning {
    if pattern.is_empty() {
        return Meaning::None(Kind::Invalid, 0, Reason::EmptyPattern);
    }
    if matches!(
        pattern,
        b"*" | b"||" | b"|" | b"||*" | b"||*^" | b"*^" | b"|*^" | b"|*"
    ) {
        return Meaning::Everything;
    }
    if pattern.len() > 1 && pattern.starts_with(b"/") && pattern.ends_with(b"/") {
        return regex(&pattern[1..pattern.len() - 1]);
    }
    // An address without its path: `/*` at the end is `^`.
    let (body, end) = match pattern.strip_suffix(b"/*") {
        Some(body) => (body, End::Closed),
        None => strip_end(pattern),
    };
    if let Some(rest) = body.strip_prefix(b"||") {
        return below_any_scheme(rest, end, 2);
    }
    if let Some(rest) = body.strip_prefix(b"|") {
        return from_start(rest, end, is_allow);
    }
    if let Some(rest) = body
        .strip_prefix(b"://")
        .or_else(|| body.strip_prefix(b"http://"))
    {
        return match (end, name::parse(rest)) {
            (End::Closed, Ok(name)) => Meaning::Names(name, Scope::Exact),
            (End::Open, Ok(name)) if is_allow => narrowed(name, rest, Scope::Exact),
            _ if rest.contains(&b'/') => Meaning::None(Kind::Ignored, 0, Reason::PathOrPort),
            _ => Meaning::slow(Reason::Pattern),
        };
    }
    if let Some(rest) = body.strip_prefix(b"*.").or_else(|| body.strip_prefix(b".")) {
        return below(rest, end, body.len() - rest.len());
    }
    anywhere(body, end, format, is_allow)
}

/// How a pattern ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// The name must end here.
    Closed,
    /// Anything may follow.
    Open,
}

fn strip_end(pattern: &[u8]) -> (&[u8], End) {
    for end in [&b"^*"[..], b"^|", b"^", b"|"] {
        if let Some(body) = pattern.strip_suffix(end) {
            return (body, End::Closed);
        }
    }
    (pattern.strip_suffix(b"*").unwrap_or(pattern), End::Open)
}

/// `||rest`: `rest` at the start of any label.
fn below_any_scheme(rest: &[u8], end: End, start: usize) -> Meaning {
    if let Some(rest) = rest.strip_prefix(b"*.") {
        return below(rest, end, start + 2);
    }
    if name::address(rest).is_some() {
        return Meaning::None(Kind::BareIp, start, Reason::BareIp);
    }
    match (name::parse(rest), end) {
        // `||ads.`: no label ends behind the dot.
        _ if rest.ends_with(b".") => Meaning::slow(Reason::Pattern),
        (Ok(name), End::Closed) => Meaning::Names(name, Scope::Suffix),
        (Ok(name), End::Open) => narrowed(name, rest, Scope::Suffix),
        (Err((at, reason)), _) => no_name(rest, at, start, reason),
    }
}

/// `|rest`: `rest` at the start of the name.
fn from_start(rest: &[u8], end: End, is_allow: bool) -> Meaning {
    if let Some(rest) = rest.strip_prefix(b"*.") {
        return below(rest, end, 3);
    }
    if rest.starts_with(b"http:")
        || rest.starts_with(b"https:")
        || rest.starts_with(b"ws") && rest.contains(&b':')
    {
        return Meaning::None(Kind::Ignored, 0, Reason::UrlPattern);
    }
    match (name::parse(rest), end) {
        _ if rest.ends_with(b".") => Meaning::slow(Reason::Pattern),
        (Ok(name), End::Closed) => Meaning::Names(name, Scope::Exact),
        (Ok(name), End::Open) if is_allow => narrowed(name, rest, Scope::Exact),
        (Ok(_), End::Open) => Meaning::slow(Reason::Pattern),
        (Err((at, reason)), _) => no_name(rest, at, 1, reason),
    }
}

/// `.rest` or `*.rest`: `rest` behind a dot.
fn below(rest: &[u8], end: End, start: usize) -> Meaning {
    match (name::parse(rest), end) {
        _ if rest.ends_with(b".") => Meaning::slow(Reason::Pattern),
        (Ok(name), End::Closed) => Meaning::Names(name, Scope::Subs),
        (Ok(name), End::Open) => narrowed(name, rest, Scope::Subs),
        (Err((at, reason)), _) => no_name(rest, at, start, reason),
    }
}

/// What is left of a pattern without an end: the part that surely is meant. Nothing is where the
/// pattern ends inside the last label, or what it spells is no whole name.
fn narrowed(name: Name, text: &[u8], scope: Scope) -> Meaning {
    if !text.contains(&b'.') || !name::can_end(text) {
        return Meaning::slow(Reason::Pattern);
    }
    let reason = match scope {
        Scope::Exact => Reason::OpenEndExact,
        Scope::Subs => Reason::OpenEndSubs,
        Scope::Suffix => Reason::OpenEnd,
    };
    Meaning::Narrowed(name, scope, reason)
}

/// A pattern without an anchor: it also matches inside labels. An exception may say less than its
/// author meant, a block may not say more.
fn anywhere(body: &[u8], end: End, format: Format, is_allow: bool) -> Meaning {
    if name::address(body).is_some() {
        return Meaning::None(Kind::BareIp, 0, Reason::BareIp);
    }
    match name::parse(body) {
        _ if body.ends_with(b".") => Meaning::slow(Reason::Pattern),
        Ok(name) if is_allow && body.contains(&b'.') => match end {
            End::Closed => Meaning::Narrowed(name, Scope::Suffix, Reason::OpenStart),
            End::Open if name::can_end(body) => {
                Meaning::Narrowed(name, Scope::Suffix, Reason::OpenStart)
            }
            End::Open => Meaning::slow(Reason::Pattern),
        },
        Ok(_) => Meaning::slow(Reason::Pattern),
        Err((at, reason)) if body.starts_with(b"/") || format == Format::Adguard => {
            no_name(body, at, 0, reason)
        }
        Err((at, reason)) => match body.get(at) {
            Some(b'/' | b':' | b'?') => Meaning::None(Kind::Invalid, at, Reason::Url),
            _ => no_name(body, at, 0, reason),
        },
    }
}

/// Why `text` is no name: at `at` it has a wildcard, a path, or nonsense.
fn no_name(text: &[u8], at: usize, start: usize, reason: Reason) -> Meaning {
    let position = start + at;
    match text.get(at) {
        // A path never matches, whatever wildcards stand in front of it.
        Some(b'/' | b':' | b'?' | b'=' | b'&' | b'%' | b'^') => {
            Meaning::None(Kind::Ignored, position, Reason::PathOrPort)
        }
        Some(b'*') if text.contains(&b'/') => {
            Meaning::None(Kind::Ignored, position, Reason::PathOrPort)
        }
        Some(b'*' | b'|') => Meaning::None(Kind::Unsupported, position, Reason::Pattern),
        Some(b' ' | b'\t') => Meaning::None(Kind::Invalid, position, Reason::Blank),
        _ => Meaning::None(Kind::Invalid, position, reason),
    }
}

/// A regular expression; the few that only spell a name are taken as such.
fn regex(expression: &[u8]) -> Meaning {
    let known = [
        (&br"^(.*\.)?"[..], Scope::Suffix),
        (br"^(.+\.)?", Scope::Suffix),
        (br"(^|\.)", Scope::Suffix),
        (br"(\.|^)", Scope::Suffix),
        (br"^.+\.", Scope::Subs),
        (br"^.*\.", Scope::Subs),
        (br"\.", Scope::Subs),
        (br"^", Scope::Exact),
    ];
    let spelled = known.into_iter().find_map(|(start, scope)| {
        let literal = expression.strip_prefix(start)?.strip_suffix(b"$")?;
        Some((literal_name(literal)?, scope))
    });
    match spelled {
        Some((name, scope)) => Meaning::Names(name, scope),
        None => Meaning::slow(Reason::Regex),
    }
}

/// The name that an expression without operators spells.
fn literal_name(literal: &[u8]) -> Option<Name> {
    let mut text = Vec::with_capacity(literal.len());
    let mut bytes = literal.iter();
    while let Some(&byte) = bytes.next() {
        match byte {
            b'\\' if bytes.next() == Some(&b'.') => text.push(b'.'),
            b'-' | b'_' => text.push(byte),
            _ if byte.is_ascii_alphanumeric() => text.push(byte),
            _ => return None,
        }
    }
    if text.ends_with(b".") {
        return None;
    }
    Name::from_text(&text).ok()
}
