//! Lines of a dnsmasq configuration that decide what names resolve to.
//!
//! The longest domain decides there, and of one domain an address goes before a server, and a
//! server before none. So lines are held until the end.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use filter_common::rule::{AnswerKind, Scope};

use super::{
    Sink,
    held::{Held, Resolved},
    name,
    output::Output,
    report::{Judgement, Kind, Reason, Report, position},
};
use crate::rule::{Answer, Effect, Shape};

/// Whether a line says what becomes of names: `address=/d/`, `server=/d/`, `local=/d/`.
pub(super) fn is_block_setting(line: &[u8]) -> bool {
    [&b"address=/"[..], b"server=/", b"local=/"]
        .iter()
        .any(|start| line.starts_with(start))
}

/// Whether a line has the form of a setting: `key=value`, or one of the flags that files begin with.
pub(super) fn is_setting(line: &[u8]) -> bool {
    let flags: [&[u8]; 8] = [
        b"no-resolv",
        b"no-hosts",
        b"no-poll",
        b"no-negcache",
        b"domain-needed",
        b"bogus-priv",
        b"bind-interfaces",
        b"strict-order",
    ];
    let key = line.iter().position(|&byte| byte == b'=');
    let key = key.map(|at| line[..at].strip_prefix(b"--").unwrap_or(&line[..at]));
    let has_key = key.is_some_and(|key| key.len() > 2 && is_key(key));
    has_key || flags.contains(&line)
}

/// What a setting does to its names and all below.
#[derive(Clone, Copy, Debug)]
enum Says {
    /// Local data alone, of which a list has none.
    Nothing,
    /// A server that cannot be one, which lists write to block.
    Nowhere,
    Null,
    Address(IpAddr),
    /// The usual servers.
    Resolve,
    /// A server of its own.
    Forward,
}

impl Says {
    /// Which of several settings of one domain counts.
    const fn strength(self) -> u8 {
        match self {
            Self::Nothing | Self::Nowhere => 0,
            Self::Resolve | Self::Forward => 1,
            Self::Null => 2,
            Self::Address(_) => 3,
        }
    }

    const fn resolves(self) -> bool {
        matches!(self, Self::Resolve | Self::Forward)
    }
}

/// The settings so far.
#[derive(Default)]
pub(super) struct Settings {
    held: Held<Says>,
    /// Whether what one line says may depend on others.
    is_mixed: bool,
}

/// Judges one line without outer blanks, apart from others.
pub(super) fn single<S: Sink>(line: &[u8], output: &mut Output<'_, S>) -> Judgement {
    let mut settings = Settings::default();
    let mut judgement = self::line(line, &mut settings, output);
    for number in 0..settings.held.len() {
        if matches!(settings.held.get(number).1, Says::Forward) {
            judgement = Judgement::at(Kind::Ignored, 0, Reason::Forwarded);
        } else if !settings.give(number, output) {
            judgement = Judgement::at(Kind::Unsupported, 0, Reason::SecondAddress);
        }
    }
    judgement
}

/// Judges one line without outer blanks.
pub(super) fn line<S: Sink>(
    line: &[u8],
    settings: &mut Settings,
    output: &mut Output<'_, S>,
) -> Judgement {
    let text = without_comment(line);
    if text.is_empty() {
        return Judgement::plain(if line.is_empty() {
            Kind::Blank
        } else {
            Kind::Comment
        });
    }
    let (key, value) = match text.iter().position(|&byte| byte == b'=') {
        Some(at) => (text[..at].trim_ascii(), Some(text[at + 1..].trim_ascii())),
        None => (text, None),
    };
    // Long options may also be written with their dashes.
    let key = key.strip_prefix(b"--").unwrap_or(key);
    match (key, value) {
        (b"address" | b"server" | b"local", Some(value)) if value.starts_with(b"/") => {
            names(line, key == b"address", &value[1..], settings, output)
        }
        (b"address", Some(value)) => Judgement::on(Kind::Invalid, line, value, Reason::NoNames),
        _ if !is_key(key) || value.is_none() && !key.contains(&b'-') => {
            Judgement::at(Kind::Invalid, 0, Reason::NotASetting)
        }
        _ => other(key),
    }
}

/// What settings are that say nothing of single domains.
fn other(key: &[u8]) -> Judgement {
    let (kind, reason) = match key {
        b"conf-file" | b"conf-dir" | b"conf-script" | b"servers-file" | b"addn-hosts"
        | b"hostsdir" | b"dhcp-hostsdir" | b"resolv-file" => (Kind::Unsupported, Reason::Include),
        b"host-record" | b"cname" | b"ptr-record" | b"txt-record" | b"srv-host" | b"mx-host"
        | b"mx-target" | b"naptr-record" | b"caa-record" | b"dns-rr" | b"interface-name"
        | b"synth-domain" | b"auth-zone" => (Kind::Unsupported, Reason::RecordType),
        b"bogus-nxdomain" | b"ignore-address" | b"alias" | b"stop-dns-rebind" | b"filterwin2k"
        | b"filter-A" | b"filter-AAAA" | b"filter-rr" => (Kind::Unsupported, Reason::AnswerTrigger),
        b"domain-needed" => (Kind::Unsupported, Reason::Unqualified),
        b"bogus-priv" => (Kind::Unsupported, Reason::PrivateReverse),
        _ => (Kind::Ignored, Reason::OtherSetting),
    };
    Judgement::at(kind, 0, reason)
}

fn is_key(text: &[u8]) -> bool {
    text.first().is_some_and(u8::is_ascii_lowercase)
        && text.iter().all(|&b| b.is_ascii_alphanumeric() || b == b'-')
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
    settings: &mut Settings,
    output: &mut Output<'_, S>,
) -> Judgement {
    let Some(last_slash) = memchr::memrchr(b'/', rest) else {
        return Judgement::on(Kind::Invalid, line, rest, Reason::NoNames);
    };
    let value = &rest[last_slash + 1..];
    let says = match says(is_address, value) {
        Some(Says::Address(_)) if output.refuses_redirects() => {
            return Judgement::on(Kind::Unsupported, line, value, Reason::Redirect);
        }
        Some(says) => says,
        None => return Judgement::on(Kind::Invalid, line, value, Reason::AddressExpected),
    };
    let mut judgement = Judgement::RULE;
    for text in rest[..last_slash].split(|&byte| byte == b'/') {
        let new = settings.take(line, text, says, output);
        // A line is judged by its worst name.
        if new.kind == Kind::Invalid || judgement.kind == Kind::Rule {
            judgement = new;
        }
    }
    judgement
}

fn says(is_address: bool, value: &[u8]) -> Option<Says> {
    let address = str::from_utf8(value)
        .ok()
        .and_then(|value| value.parse().ok());
    Some(match (value, address) {
        (b"", _) => Says::Nothing,
        (b"#", _) if is_address => Says::Null,
        (b"#", _) => Says::Resolve,
        (_, Some(address)) if is_address && is_null(address) => Says::Null,
        (_, Some(address)) if is_address => Says::Address(address),
        _ if is_address => return None,
        // With a port behind it, it is another resolver on this machine.
        (_, Some(address)) if is_null(address) || is_own(address) => Says::Nowhere,
        _ => Says::Forward,
    })
}

fn is_null(address: IpAddr) -> bool {
    address.is_unspecified()
}

/// The machine itself: `127.0.0.53` and its like are other resolvers on it.
fn is_own(address: IpAddr) -> bool {
    address == Ipv4Addr::LOCALHOST || address == Ipv6Addr::LOCALHOST
}

impl Settings {
    fn take<S: Sink>(
        &mut self,
        line: &[u8],
        text: &[u8],
        says: Says,
        output: &mut Output<'_, S>,
    ) -> Judgement {
        match text {
            b"#" => return Judgement::on(Kind::Unsupported, line, text, Reason::EveryName),
            b"" => return Judgement::on(Kind::Unsupported, line, text, Reason::Unqualified),
            [b'*', ..] => {
                return Judgement::on(Kind::Unsupported, line, text, Reason::PartialLabel);
            }
            _ => {}
        }
        // A dot in front has no meaning.
        let bare = text.strip_prefix(b".").unwrap_or(text);
        match name::parse(bare) {
            Ok(name) => {
                self.held.push(output.hold(), &name, says);
                let (_, first) = self.held.get(0);
                let is_alike = std::mem::discriminant(&first) == std::mem::discriminant(&says);
                self.is_mixed |= !is_alike || says.resolves();
                Judgement::RULE
            }
            Err((at, reason)) => Judgement::at(Kind::Invalid, position(line, bare) + at, reason),
        }
    }

    /// Hands out what all lines amount to.
    pub(super) fn flush<S: Sink>(mut self, output: &mut Output<'_, S>, report: &mut Report) {
        if !self.is_mixed {
            return (0..self.held.len())
                .for_each(|number| self.give_or_tell(number, output, report));
        }
        self.held.index();
        let mut resolved: Vec<Resolved> = Vec::new();
        for number in 0..self.held.len() {
            let wire = self.held.wire(number);
            let (_, says) = self.held.get(number);
            if self
                .counts(wire)
                .is_some_and(|(_, other)| other.strength() > says.strength())
            {
                let hidden = Judgement::at(Kind::Ignored, 0, Reason::Hidden);
                self.held.reconsider(number, hidden, report);
            } else if !says.resolves() {
                self.give_or_tell(number, output, report);
            } else if self.resolves_something(number) {
                resolved.push(Resolved::new(number));
            } else {
                let forwarded = Judgement::at(Kind::Ignored, 0, Reason::Forwarded);
                self.held.reconsider(number, forwarded, report);
            }
        }
        self.skip(&mut resolved);
        for one in resolved {
            one.give(&self.held, output, report);
        }
    }

    /// The setting of a name that counts.
    fn counts(&self, wire: &[u8]) -> Option<(usize, Says)> {
        let all = self
            .held
            .of(wire)
            .map(|number| (number, self.held.get(number).1));
        all.max_by_key(|(number, says)| (says.strength(), *number))
    }

    /// Whether a line that resolves a domain is the one of its name, and is an exception: one that
    /// says so, or a server for a domain in one that is blocked.
    fn resolves_something(&self, number: usize) -> bool {
        let wire = self.held.wire(number);
        let is_the_one = self.counts(wire).is_some_and(|(other, _)| other == number);
        let (_, says) = self.held.get(number);
        let is_blocked = || {
            let above = self.held.above(wire, |above| self.counts(above));
            let beside = self
                .held
                .of(wire)
                .any(|other| !self.held.get(other).1.resolves());
            beside || above.is_some_and(|(_, says)| !says.resolves())
        };
        is_the_one && (matches!(says, Says::Resolve) || is_blocked())
    }

    /// Lets the domains that resolve skip what is blocked in them.
    fn skip(&self, resolved: &mut [Resolved]) {
        if resolved.is_empty() {
            return;
        }
        for number in 0..self.held.len() {
            let wire = self.held.wire(number);
            if self
                .counts(wire)
                .is_none_or(|(other, says)| other != number || says.resolves())
            {
                continue;
            }
            let above = self.held.above(wire, |above| self.counts(above));
            let around = above.and_then(|(around, _)| {
                resolved
                    .binary_search_by_key(&around, |one| one.number)
                    .ok()
            });
            if let Some(around) = around {
                resolved[around].skipped.push(self.held.name(number));
            }
        }
    }

    fn give_or_tell<S: Sink>(
        &self,
        number: usize,
        output: &mut Output<'_, S>,
        report: &mut Report,
    ) {
        if !self.give(number, output) {
            let second = Judgement::at(Kind::Unsupported, 0, Reason::SecondAddress);
            self.held.reconsider(number, second, report);
        }
    }

    /// Hands out the rule of a domain; `false` if it has an address of this kind already.
    fn give<S: Sink>(&self, number: usize, output: &mut Output<'_, S>) -> bool {
        let (line, says) = self.held.get(number);
        let name = self.held.name(number);
        let mut block = |answer: Option<AnswerKind>| {
            let effect = Effect::Block(answer.map(Answer::of));
            let shape = Shape {
                effect,
                ..Shape::block(Scope::Suffix)
            };
            output.rule_of_line(line, shape.of(name));
            true
        };
        match says {
            Says::Nothing => block(Some(AnswerKind::NxDomain)),
            Says::Null => block(Some(AnswerKind::Null)),
            Says::Nowhere => block(None),
            Says::Address(address) => {
                output.line = line;
                output.address(name, Scope::Suffix, address, false)
            }
            Says::Resolve | Says::Forward => {
                output.line = line;
                output.allow(name, Scope::Suffix);
                true
            }
        }
    }
}
