//! Lines of hosts, plain, wildcard and AdGuard lists, which real files mix.
//!
//! The common forms are decided by their first byte; everything else goes
//! the long way through [`other`].

use filter_common::rule::Scope;
use memchr::{memchr, memchr2};

use super::{
    Format, Sink, adguard,
    name::{self, Address},
    output::Output,
    report::{Judgement, Kind, Reason},
};
use super::{dnsmasq, report::position};

/// Judges one line without its end and outer blanks.
#[inline]
pub(super) fn line<S: Sink>(line: &[u8], format: Format, output: &mut Output<'_, S>) -> Judgement {
    match line.first() {
        None => Judgement::plain(Kind::Blank),
        Some(b'0'..=b'9' | b':') => numeric(line, format, output),
        Some(b'!') => comment_or_directive(line),
        Some(b';') => Judgement::plain(Kind::Comment),
        Some(b'#') => comment_or_cosmetic(line),
        Some(b'|' | b'@') => adguard_line(line, format, output),
        Some(_) => match filter_common::name::Name::from_text(line) {
            Ok(name) if is_plain(line, format) => {
                output.host(name, Scope::Exact);
                Judgement::RULE
            }
            _ => other(line, format, output),
        },
    }
}

/// Whether a name alone means itself, and nothing else, in a list of this format.
#[inline]
fn is_plain(text: &[u8], format: Format) -> bool {
    !name::is_local(text)
        && name::numeric_end(text).is_none()
        && (format != Format::Adguard || name::is_host(text))
}

/// `! text`, or a directive of the preprocessor that browsers' lists go through.
fn comment_or_directive(line: &[u8]) -> Judgement {
    let Some(directive) = line.strip_prefix(b"!#") else {
        return Judgement::plain(Kind::Comment);
    };
    let is = |word: &[u8]| {
        let rest = directive.strip_prefix(word);
        rest.is_some_and(|rest| !rest.first().is_some_and(u8::is_ascii_alphanumeric))
    };
    if is(b"include") {
        return Judgement::at(Kind::Unsupported, 0, Reason::Include);
    }
    let conditions: [&[u8]; 4] = [b"if", b"else", b"endif", b"safari_cb_affinity"];
    match conditions.into_iter().any(is) {
        true => Judgement::at(Kind::Unsupported, 0, Reason::Preprocessor),
        false => Judgement::plain(Kind::Comment),
    }
}

/// A line that begins with a digit or a colon: mostly an address and a name.
#[inline]
fn numeric<S: Sink>(line: &[u8], format: Format, output: &mut Output<'_, S>) -> Judgement {
    if let Some(end) = memchr2(b' ', b'\t', line)
        && let Some(address) = name::address(&line[..end])
    {
        return hosts(line, end, address, output);
    }
    other(line, format, output)
}

/// Names behind an address.
#[inline]
fn hosts<S: Sink>(
    line: &[u8],
    address_end: usize,
    address: Address,
    output: &mut Output<'_, S>,
) -> Judgement {
    let names = &line[address_end..];
    let names = match memchr(b'#', names) {
        Some(at) => &names[..at],
        None => names,
    };
    let mut judgement = None;
    for text in names
        .split(|&byte| byte == b' ' || byte == b'\t')
        .filter(|text| !text.is_empty())
    {
        let new = host(line, text, address, output);
        // A line is judged by its worst name, and is a rule if it has any.
        judgement = match judgement {
            Some(Judgement {
                kind: Kind::Invalid,
                ..
            }) => judgement,
            Some(Judgement {
                kind: Kind::Rule, ..
            }) if new.kind != Kind::Invalid => judgement,
            _ => Some(new),
        };
    }
    judgement.unwrap_or(Judgement::at(Kind::BareIp, 0, Reason::NoNames))
}

#[inline]
fn host<S: Sink>(
    line: &[u8],
    text: &[u8],
    address: Address,
    output: &mut Output<'_, S>,
) -> Judgement {
    if name::is_local(text) {
        return Judgement::plain(Kind::LocalName);
    }
    let name = match name::parse(text) {
        Ok(name) => name,
        Err((_, Reason::NumericEnd)) if name::address(text).is_some() => {
            return Judgement::on(Kind::BareIp, line, text, Reason::BareIp);
        }
        Err((at, reason)) => {
            return Judgement::at(Kind::Invalid, position(line, text) + at, reason);
        }
    };
    match address {
        Address::Sink => output.host(name, Scope::Exact),
        Address::Other(_) if output.refuses_redirects() => {
            return Judgement::on(Kind::Unsupported, line, line, Reason::Redirect);
        }
        Address::Other(address) => {
            if !output.address(name, Scope::Exact, address, true) {
                return Judgement::on(Kind::Unsupported, line, line, Reason::SecondAddress);
            }
        }
    }
    Judgement::RULE
}

/// A line that begins with `#`.
fn comment_or_cosmetic(line: &[u8]) -> Judgement {
    if is_cosmetic_at(line, 0) {
        Judgement::at(Kind::Cosmetic, 0, Reason::Cosmetic)
    } else {
        Judgement::plain(Kind::Comment)
    }
}

/// Everything that is not decided by its first byte.
#[cold]
#[inline(never)]
fn other<S: Sink>(line: &[u8], format: Format, output: &mut Output<'_, S>) -> Judgement {
    if is_header(line) {
        return Judgement::plain(Kind::Comment);
    }
    if let Some(at) = cosmetic_marker(line) {
        return Judgement::at(Kind::Cosmetic, at, Reason::Cosmetic);
    }
    let token_end = memchr2(b' ', b'\t', line).unwrap_or(line.len());
    if token_end < line.len()
        && let Some(address) = name::address(&line[..token_end])
    {
        return hosts(line, token_end, address, output);
    }
    if dnsmasq::is_block_setting(line) {
        return dnsmasq::single(line, output);
    }
    if adguard::is_pattern(line) {
        return adguard::rule(line, format, output);
    }
    let text = match memchr(b'#', line) {
        Some(at) => line[..at].trim_ascii_end(),
        None => line,
    };
    plain(text, format, output)
}

/// A pattern that begins with `|` or `@`.
#[inline]
fn adguard_line<S: Sink>(line: &[u8], format: Format, output: &mut Output<'_, S>) -> Judgement {
    // `||name^` and nothing else is what nearly all lines are.
    if let Some(text) = line
        .strip_prefix(b"||")
        .and_then(|rest| rest.strip_suffix(b"^"))
        // Addresses and names with a dot at the end mean something else.
        && text.last().is_some_and(u8::is_ascii_alphabetic)
        && let Ok(name) = filter_common::name::Name::from_text(text)
    {
        output.block(name, Scope::Suffix, false);
        return Judgement::RULE;
    }
    match cosmetic_marker(line) {
        Some(at) => Judgement::at(Kind::Cosmetic, at, Reason::Cosmetic),
        None => adguard::rule(line, format, output),
    }
}

/// A name alone, or with a wildcard in front.
fn plain<S: Sink>(text: &[u8], format: Format, output: &mut Output<'_, S>) -> Judgement {
    if name::is_address_or_range(text) {
        return Judgement::at(Kind::BareIp, 0, Reason::BareIp);
    }
    if name::is_local(text) {
        return Judgement::plain(Kind::LocalName);
    }
    let wildcard = text.strip_prefix(b"*.").or_else(|| text.strip_prefix(b"."));
    let (bare, scope) = match wildcard {
        // A bare `*.d` means subdomains to AdGuard, which has patterns for the rest.
        Some(rest) if format == Format::Adguard => (rest, Scope::Subs),
        Some(rest) => (rest, Scope::Suffix),
        None => (text, Scope::Exact),
    };
    let is_pattern = format == Format::Adguard && bare.is_ascii();
    match name::parse(bare) {
        // No name that is asked for ends in a dot there.
        Ok(_) if is_pattern && bare.ends_with(b".") => {
            Judgement::at(Kind::Unsupported, text.len() - 1, Reason::Pattern)
        }
        Ok(name) if is_pattern && scope == Scope::Exact && !name::is_host(bare) => {
            output.host(name, scope);
            Judgement::at(Kind::Narrowed, 0, Reason::NotAHost)
        }
        Ok(_) if scope == Scope::Subs && !name::can_end(bare) => {
            Judgement::at(Kind::Unsupported, 0, Reason::Pattern)
        }
        Ok(name) if scope == Scope::Subs => {
            // To AdGuard it is a pattern, so that `$badfilter` deletes it as one.
            output.block(name, scope, false);
            Judgement::at(Kind::Narrowed, 0, Reason::OpenEndSubs)
        }
        Ok(name) => {
            output.host(name, scope);
            Judgement::RULE
        }
        Err((at, reason)) => {
            let at = text.len() - bare.len() + at;
            not_a_name(text, at, reason, format)
        }
    }
}

fn not_a_name(text: &[u8], at: usize, reason: Reason, format: Format) -> Judgement {
    match text.get(at) {
        Some(b' ' | b'\t') => Judgement::at(Kind::Invalid, at, Reason::Blank),
        Some(b'*') => Judgement::at(Kind::Unsupported, at, Reason::Pattern),
        Some(b'/' | b':' | b'?') if format == Format::Adguard => {
            Judgement::at(Kind::Ignored, at, Reason::PathOrPort)
        }
        Some(b'/' | b':' | b'?') => Judgement::at(Kind::Invalid, at, Reason::Url),
        _ => Judgement::at(Kind::Invalid, at, reason),
    }
}

/// `[Adblock Plus 2.0]` and its like.
fn is_header(line: &[u8]) -> bool {
    line.starts_with(b"[") && line.ends_with(b"]") && !line.contains(&b'$')
}

/// Where a marker of a cosmetic rule stands.
fn cosmetic_marker(line: &[u8]) -> Option<usize> {
    let mut from = 0;
    while let Some(at) = memchr2(b'#', b'$', &line[from..]) {
        let at = from + at;
        // A blank in front makes it a comment behind a name.
        let after_blank = at > 0 && line[at - 1].is_ascii_whitespace();
        if !after_blank && is_cosmetic_at(line, at) {
            return Some(at);
        }
        from = at + 1;
    }
    None
}

fn is_cosmetic_at(line: &[u8], at: usize) -> bool {
    const MARKERS: [&[u8]; 9] = [
        b"#@#", b"#?#", b"#$#", b"#%#", b"#@?#", b"#@$#", b"#@%#", b"$$", b"$@$",
    ];
    let here = &line[at..];
    // `## heading` and `#####` are comments: a selector follows without a blank.
    let hides = here.len() > 2
        && here.starts_with(b"##")
        && !here[2].is_ascii_whitespace()
        && here[2] != b'#';
    hides || MARKERS.iter().any(|marker| here.starts_with(marker))
}
