//! Lines of an unbound configuration: `local-zone` and `local-data`.

use std::{
    collections::{HashMap, HashSet},
    hash::{BuildHasher as _, RandomState},
    net::IpAddr,
};

use filter_common::{
    name::Name,
    rule::{AnswerKind, Scope},
};

use super::{
    Sink,
    config_text::{Words, words},
    name,
    output::Output,
    report::{Judgement, Kind, Reason, position},
};
use crate::rule::{Answer, Effect, Shape};

/// The zones so far, for the data behind them.
#[derive(Default)]
pub(super) struct Zones {
    /// By name. Their data may stand anywhere behind them, so that they wait for the end.
    redirects: HashMap<Box<[u8]>, Redirect>,
    /// Those that answer as if there were no data, by the hash of their names: there may be millions.
    without_data: HashSet<u64>,
    /// Those whose data answers for its own name, in the same way.
    with_data: HashSet<u64>,
    hashes: RandomState,
}

/// A zone whose data answers for all names in it.
struct Redirect {
    line: u32,
    answer: Answer,
}

impl Zones {
    /// Hands out the redirect zones with what their data turned out to be.
    pub(super) fn flush<S: Sink>(self, output: &mut Output<'_, S>) {
        let mut zones: Vec<_> = self.redirects.into_iter().collect();
        zones.sort_unstable_by_key(|(_, zone)| zone.line);
        for (wire, Redirect { line, answer }) in zones {
            if let Ok(name) = Name::from_wire(&wire) {
                let effect = Effect::Block(Some(answer));
                let rule = Shape {
                    effect,
                    ..Shape::block(Scope::Suffix)
                }
                .of(name);
                output.rule_of_line(line, rule);
            }
        }
    }

    /// Notes a zone of another type; of two with one name the first counts.
    fn add(&mut self, name: &Name, ignores_data: bool) {
        let hash = self.hashes.hash_one(name.as_wire());
        let (its_own, other) = match ignores_data {
            true => (&mut self.without_data, &self.with_data),
            false => (&mut self.with_data, &self.without_data),
        };
        if !other.contains(&hash) {
            its_own.insert(hash);
        }
    }

    /// Whether data of this name is ignored: the closest zone decides.
    fn ignore_data_of(&self, name: &Name) -> bool {
        let mut rest = name.as_wire();
        loop {
            let hash = self.hashes.hash_one(rest);
            if self.without_data.contains(&hash) {
                return true;
            }
            if self.with_data.contains(&hash) || self.redirects.contains_key(rest) || rest[0] == 0 {
                return false;
            }
            rest = &rest[1 + usize::from(rest[0])..];
        }
    }
}

/// Whether a line is one of this program's.
pub(super) fn is_setting(line: &[u8]) -> bool {
    [
        &b"local-zone:"[..],
        b"local-data:",
        b"local-data-ptr:",
        b"server:",
    ]
    .iter()
    .any(|key| line.starts_with(key))
}

/// Judges one line without outer blanks.
pub(super) fn line<S: Sink>(
    line: &[u8],
    zones: &mut Zones,
    output: &mut Output<'_, S>,
) -> Judgement {
    match line.first() {
        None => return Judgement::plain(Kind::Blank),
        Some(b'#') => return Judgement::plain(Kind::Comment),
        Some(_) => {}
    }
    let Some(colon) = line.iter().position(|&byte| byte == b':') else {
        return Judgement::at(Kind::Invalid, 0, Reason::NotASetting);
    };
    let Some(values) = words(&line[colon + 1..]) else {
        return Judgement::at(Kind::Invalid, colon + 1, Reason::Unclosed);
    };
    match &line[..colon] {
        b"local-zone" => local_zone(line, &values, zones, output),
        b"local-data" => local_data(line, &values, zones, output),
        key if key
            .iter()
            .all(|&b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-') =>
        {
            Judgement::at(Kind::Ignored, 0, Reason::OtherSetting)
        }
        _ => Judgement::at(Kind::Invalid, 0, Reason::NotASetting),
    }
}

/// What a zone type does to the names of the zone.
enum Action {
    /// Whatever data there is.
    AlwaysBlock(AnswerKind),
    /// Names without data.
    Block(AnswerKind),
    Redirect,
    Allow,
    None(Kind, Reason),
}

fn zone_action(word: &[u8]) -> Action {
    match word {
        b"always_nxdomain" => Action::AlwaysBlock(AnswerKind::NxDomain),
        b"always_refuse" => Action::AlwaysBlock(AnswerKind::Refused),
        b"always_deny" => Action::AlwaysBlock(AnswerKind::Drop),
        b"always_nodata" => Action::AlwaysBlock(AnswerKind::NoData),
        b"always_null" => Action::AlwaysBlock(AnswerKind::Null),
        b"static" => Action::Block(AnswerKind::NxDomain),
        b"refuse" => Action::Block(AnswerKind::Refused),
        b"deny" | b"inform_deny" => Action::Block(AnswerKind::Drop),
        b"redirect" | b"inform_redirect" => Action::Redirect,
        // Inside a blocked zone these resolve a part of it.
        b"transparent" | b"typetransparent" | b"always_transparent" | b"inform" => Action::Allow,
        b"nodefault" | b"noview" => Action::None(Kind::Ignored, Reason::OtherSetting),
        b"block_a" | b"block_aaaa" | b"block_a_wdata" | b"block_aaaa_wdata" | b"ipset" => {
            Action::None(Kind::Unsupported, Reason::TypeDependentZone)
        }
        _ => Action::None(Kind::Invalid, Reason::ZoneType),
    }
}

fn local_zone<S: Sink>(
    line: &[u8],
    values: &Words<'_>,
    zones: &mut Zones,
    output: &mut Output<'_, S>,
) -> Judgement {
    let [name, zone_type] = values[..] else {
        return Judgement::at(Kind::Invalid, 0, Reason::ZoneType);
    };
    let action = zone_action(zone_type);
    if let Action::None(kind, reason) = action {
        return Judgement::on(kind, line, zone_type, reason);
    }
    if name == b"." {
        return Judgement::on(Kind::Unsupported, line, name, Reason::EveryName);
    }
    let name = match name::parse(name) {
        Ok(name) => name,
        Err((at, reason)) => {
            return Judgement::at(Kind::Invalid, position(line, name) + at, reason);
        }
    };
    match action {
        Action::AlwaysBlock(kind) => {
            output.answer(name, Scope::Suffix, kind);
            zones.add(&name, true);
        }
        Action::Block(kind) => {
            // Of two rules for a name the host rule is the weaker one: data at the name of the
            // zone goes before the zone.
            let effect = Effect::Block(Some(Answer::of(kind)));
            let shape = Shape {
                effect,
                host_rule: true,
                ..Shape::block(Scope::Suffix)
            };
            output.rule(shape.of(name));
            zones.add(&name, false);
        }
        Action::Redirect => {
            // Without data there is no answer, but the name exists.
            let entry = zones.redirects.entry(name.as_wire().into());
            entry.or_insert(Redirect {
                line: output.line,
                answer: Answer::of(AnswerKind::NoData),
            });
        }
        Action::Allow | Action::None(..) => {
            output.allow(name, Scope::Suffix);
            zones.add(&name, false);
        }
    }
    Judgement::RULE
}

/// `"name [TTL] [IN] A 192.0.2.1"`.
fn local_data<S: Sink>(
    line: &[u8],
    values: &Words<'_>,
    zones: &mut Zones,
    output: &mut Output<'_, S>,
) -> Judgement {
    let [record] = values[..] else {
        return Judgement::at(Kind::Invalid, 0, Reason::Record);
    };
    let mut fields = record
        .split(u8::is_ascii_whitespace)
        .filter(|field| !field.is_empty())
        .peekable();
    let owner = fields.next().unwrap_or_default();
    let name = match name::parse(owner) {
        Ok(name) => name,
        Err((at, reason)) => {
            return Judgement::at(Kind::Invalid, position(line, owner) + at, reason);
        }
    };
    let is_ttl_or_class =
        |field: &&[u8]| field[0].is_ascii_digit() || field.eq_ignore_ascii_case(b"IN");
    while fields.next_if(is_ttl_or_class).is_some() {}
    let rrtype = fields.next().unwrap_or_default();
    let data = fields.next().and_then(|data| str::from_utf8(data).ok());
    let address: Option<IpAddr> = match rrtype.to_ascii_uppercase().as_slice() {
        b"A" => data.and_then(|data| data.parse().ok()).map(IpAddr::V4),
        b"AAAA" => data.and_then(|data| data.parse().ok()).map(IpAddr::V6),
        b"" => return Judgement::on(Kind::Invalid, line, record, Reason::Record),
        _ => return Judgement::on(Kind::Unsupported, line, rrtype, Reason::RecordType),
    };
    let Some(address) = address else {
        return Judgement::on(Kind::Invalid, line, record, Reason::AddressExpected);
    };
    if zones.ignore_data_of(&name) {
        return Judgement::on(Kind::Ignored, line, record, Reason::IgnoredData);
    }
    let is_added = match zones.redirects.get_mut(name.as_wire()) {
        Some(zone) => zone.add(address),
        None => output.address(name, Scope::Exact, address, false),
    };
    if is_added {
        Judgement::RULE
    } else {
        Judgement::on(Kind::Unsupported, line, record, Reason::SecondAddress)
    }
}

impl Redirect {
    fn add(&mut self, address: IpAddr) -> bool {
        match self.answer.kind {
            AnswerKind::NoData if address.is_unspecified() => {
                self.answer.kind = AnswerKind::Null;
                true
            }
            AnswerKind::Null => address.is_unspecified(),
            _ => {
                self.answer.kind = AnswerKind::Address;
                self.answer.add(address)
            }
        }
    }
}
