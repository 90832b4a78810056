//! Lines of a dnsmasq configuration that decide what names resolve to.

use std::net::IpAddr;

use filter_common::rule::{AnswerKind, Scope};

use super::{
    Sink, name,
    output::Output,
    report::{Judgement, Kind, Reason, position},
};

/// Whether a line says what becomes of names: `address=/d/`, `server=/d/`, `local=/d/`.
pub(super) fn is_block_setting(line: &[u8]) -> bool {
    [&b"address=/"[..], b"server=/", b"local=/"]
        .iter()
        .any(|start| line.starts_with(start))
}

/// What a setting does to its names.
#[derive(Clone, Copy)]
enum Action {
    Answer(AnswerKind),
    Address(IpAddr),
    Allow,
}

/// Judges one line without outer blanks.
pub(super) fn line<S: Sink>(line: &[u8], output: &mut Output<'_, S>) -> Judgement {
    let text = without_comment(line);
    if text.is_empty() {
        return Judgement::plain(if line.is_empty() {
            Kind::Blank
        } else {
            Kind::Comment
        });
    }
    let Some(equals) = text.iter().position(|&byte| byte == b'=') else {
        return flag(text);
    };
    let (key, value) = (text[..equals].trim_ascii(), text[equals + 1..].trim_ascii());
    // Long options may also be written with their dashes.
    let key = key.strip_prefix(b"--").unwrap_or(key);
    match (key, value.strip_prefix(b"/")) {
        (b"address" | b"server" | b"local", Some(rest)) => {
            names(line, key == b"address", rest, output)
        }
        (b"address", None) => Judgement::on(Kind::Invalid, line, value, Reason::NoNames),
        _ if is_key(key) => Judgement::at(Kind::Ignored, 0, Reason::OtherSetting),
        _ => Judgement::at(Kind::Invalid, 0, Reason::NotASetting),
    }
}

/// A setting without a value, such as `no-resolv`.
fn flag(text: &[u8]) -> Judgement {
    if is_key(text) && text.contains(&b'-') {
        Judgement::at(Kind::Ignored, 0, Reason::OtherSetting)
    } else {
        Judgement::at(Kind::Invalid, 0, Reason::NotASetting)
    }
}

fn is_key(text: &[u8]) -> bool {
    !text.is_empty()
        && text
            .iter()
            .all(|&b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

/// Cuts a comment: `#` at the start or behind a blank.
fn without_comment(line: &[u8]) -> &[u8] {
    let cut =
        memchr::memchr_iter(b'#', line).find(|&at| at == 0 || line[at - 1].is_ascii_whitespace());
    cut.map_or(line, |at| line[..at].trim_ascii_end())
}

/// `d/e/value`: names, each with a slash behind it, then what becomes of them.
fn names<S: Sink>(
    line: &[u8],
    is_address: bool,
    rest: &[u8],
    output: &mut Output<'_, S>,
) -> Judgement {
    let Some(last_slash) = memchr::memrchr(b'/', rest) else {
        return Judgement::on(Kind::Invalid, line, rest, Reason::NoNames);
    };
    let value = &rest[last_slash + 1..];
    let action = match action(is_address, value) {
        Ok(action) => action,
        Err((kind, reason)) => return Judgement::on(kind, line, value, reason),
    };
    let mut judgement = Judgement::RULE;
    for text in rest[..last_slash].split(|&byte| byte == b'/') {
        let new = one_name(line, text, action, output);
        // A line is judged by its worst name.
        if new.kind == Kind::Invalid || judgement.kind == Kind::Rule {
            judgement = new;
        }
    }
    judgement
}

fn action(is_address: bool, value: &[u8]) -> Result<Action, (Kind, Reason)> {
    match value {
        // Answered from local data only, of which a blocklist has none.
        b"" => Ok(Action::Answer(AnswerKind::NxDomain)),
        b"#" if is_address => Ok(Action::Answer(AnswerKind::Null)),
        // The usual servers: an exception to a wider rule.
        b"#" => Ok(Action::Allow),
        _ if is_address => str::from_utf8(value)
            .ok()
            .and_then(|value| value.parse().ok())
            .map(Action::Address)
            .ok_or((Kind::Invalid, Reason::AddressExpected)),
        _ => Err((Kind::Ignored, Reason::Forwarded)),
    }
}

fn one_name<S: Sink>(
    line: &[u8],
    text: &[u8],
    action: Action,
    output: &mut Output<'_, S>,
) -> Judgement {
    match text {
        b"#" => return Judgement::on(Kind::Unsupported, line, text, Reason::EveryName),
        b"" => return Judgement::on(Kind::Unsupported, line, text, Reason::Unqualified),
        [b'*', ..] => return Judgement::on(Kind::Unsupported, line, text, Reason::PartialLabel),
        _ => {}
    }
    // A dot in front has no meaning.
    let bare = text.strip_prefix(b".").unwrap_or(text);
    let name = match name::parse(bare) {
        Ok(name) => name,
        Err((at, reason)) => {
            return Judgement::at(Kind::Invalid, position(line, bare) + at, reason);
        }
    };
    match action {
        Action::Answer(kind) => output.answer(name, Scope::Suffix, kind),
        Action::Allow => output.allow(name, Scope::Suffix),
        Action::Address(address) => {
            if !output.address(name, Scope::Suffix, address, false) {
                return Judgement::on(Kind::Unsupported, line, text, Reason::SecondAddress);
            }
        }
    }
    Judgement::RULE
}
