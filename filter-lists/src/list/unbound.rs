//! Lines of an unbound configuration: `local-zone` and `local-data`.
//!
//! The closest zone around a name decides, wherever it stands in the file, and the last line of
//! several for one zone; so lines are held until the end.

use std::net::IpAddr;

use filter_common::{
    name::Name,
    rule::{AnswerKind, Scope},
};
use rustc_hash::FxHashSet;

use super::{
    Sink,
    config_text::{Words, words},
    held::{Held, Resolved},
    name,
    output::Output,
    report::{Judgement, Kind, Reason, Report, position},
};
use crate::rule::{Answer, Effect, Shape};

/// What a line says of a name.
#[derive(Clone, Copy, Debug)]
enum Says {
    Zone(Zone),
    Data(IpAddr),
}

/// What a zone does to the names in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Zone {
    /// Whatever data there is.
    AlwaysBlock(AnswerKind),
    /// Names without data.
    Block(AnswerKind),
    /// Answers all names with the data of its own.
    Redirect,
    /// Resolves names without data.
    Resolve,
    /// Resolves all names.
    AlwaysResolve,
}

impl Zone {
    const fn resolves(self) -> bool {
        matches!(self, Self::Resolve | Self::AlwaysResolve)
    }

    const fn ignores_data(self) -> bool {
        matches!(self, Self::AlwaysBlock(_) | Self::AlwaysResolve)
    }
}

/// Which clause of the file a line belongs to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Clause {
    #[default]
    Server,
    /// For clients that are assigned to it.
    View,
}

/// The zones and their data so far.
#[derive(Default)]
pub(super) struct Zones {
    held: Held<Says>,
    clause: Clause,
    /// Names of zones that only some clients see, or see otherwise.
    of_some_clients: FxHashSet<Box<[u8]>>,
    /// Whether what one line says may depend on others.
    is_mixed: bool,
}

/// Whether a line has the form of a setting: `key:` and words behind it.
pub(super) fn is_setting(line: &[u8]) -> bool {
    let Some(colon) = line.iter().position(|&byte| byte == b':') else {
        return false;
    };
    let rest = &line[colon + 1..];
    is_key(&line[..colon]) && rest.first().is_none_or(u8::is_ascii_whitespace)
        // Without a blank, only where a quote follows.
        || is_key(&line[..colon]) && matches!(rest.first(), Some(b'"' | b'\''))
}

fn is_key(text: &[u8]) -> bool {
    text.first().is_some_and(u8::is_ascii_lowercase)
        && text
            .iter()
            .all(|&b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
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
    let key = &line[..colon];
    if values.is_empty() && is_key(key) {
        zones.clause = match key {
            b"view" => Clause::View,
            _ => Clause::Server,
        };
    }
    match key {
        b"local-zone" | b"local-data" | b"local-data-ptr" if zones.clause == Clause::View => {
            Judgement::at(Kind::Unsupported, 0, Reason::SomeClients)
        }
        b"local-zone" => local_zone(line, &values, zones, output),
        b"local-data" => local_data(line, &values, zones, output),
        b"local-zone-tag" | b"local-zone-override" => zones.restrict(line, &values),
        key if is_key(key) => other(key),
        _ => Judgement::at(Kind::Invalid, 0, Reason::NotASetting),
    }
}

/// What settings are that say nothing of single names.
fn other(key: &[u8]) -> Judgement {
    let (kind, reason) = match key {
        b"include" | b"include-toplevel" | b"rpz" => (Kind::Unsupported, Reason::Include),
        b"local-data-ptr" => (Kind::Unsupported, Reason::RecordType),
        b"access-control-tag-action" | b"access-control-tag-data" => {
            (Kind::Unsupported, Reason::SomeClients)
        }
        b"response-ip" | b"response-ip-data" | b"response-ip-tag" | b"private-address" => {
            (Kind::Unsupported, Reason::AnswerTrigger)
        }
        _ => (Kind::Ignored, Reason::OtherSetting),
    };
    Judgement::at(kind, 0, reason)
}

fn zone(word: &[u8]) -> Result<Zone, (Kind, Reason)> {
    Ok(match word {
        b"always_nxdomain" => Zone::AlwaysBlock(AnswerKind::NxDomain),
        b"always_refuse" => Zone::AlwaysBlock(AnswerKind::Refused),
        b"always_deny" => Zone::AlwaysBlock(AnswerKind::Drop),
        b"always_nodata" => Zone::AlwaysBlock(AnswerKind::NoData),
        // In spite of its name it answers from its data where there is any.
        b"always_null" => Zone::Block(AnswerKind::Null),
        b"static" => Zone::Block(AnswerKind::NxDomain),
        b"refuse" => Zone::Block(AnswerKind::Refused),
        b"deny" | b"inform_deny" => Zone::Block(AnswerKind::Drop),
        b"redirect" | b"inform_redirect" => Zone::Redirect,
        // Inside a blocked zone these resolve a part of it.
        b"transparent" | b"typetransparent" | b"inform" => Zone::Resolve,
        b"always_transparent" => Zone::AlwaysResolve,
        b"nodefault" | b"noview" => return Err((Kind::Ignored, Reason::OtherSetting)),
        b"block_a" | b"block_aaaa" | b"block_a_wdata" | b"block_aaaa_wdata" | b"ipset" => {
            return Err((Kind::Unsupported, Reason::TypeDependentZone));
        }
        _ => return Err((Kind::Invalid, Reason::ZoneType)),
    })
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
    let zone = match zone(zone_type) {
        Ok(zone) => zone,
        Err((kind, reason)) => return Judgement::on(kind, line, zone_type, reason),
    };
    if name == b"." {
        return Judgement::on(Kind::Unsupported, line, name, Reason::EveryName);
    }
    match name::parse(name) {
        Ok(name) => {
            zones.take(&name, Says::Zone(zone), output);
            Judgement::RULE
        }
        Err((at, reason)) => Judgement::at(Kind::Invalid, position(line, name) + at, reason),
    }
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
    if output.refuses_redirects() && !address.is_unspecified() {
        return Judgement::on(Kind::Unsupported, line, record, Reason::Redirect);
    }
    zones.take(&name, Says::Data(address), output);
    Judgement::RULE
}

impl Zones {
    fn take<S: Sink>(&mut self, name: &Name, says: Says, output: &mut Output<'_, S>) {
        self.held.push(output.hold(), name, says);
        let (_, first) = self.held.get(0);
        self.is_mixed |= match (first, says) {
            (Says::Zone(first), Says::Zone(zone)) => {
                first != zone || zone.resolves() || zone == Zone::Redirect
            }
            (Says::Data(_), Says::Data(_)) => false,
            _ => true,
        };
    }

    /// Takes a line that makes a zone another one for some clients.
    fn restrict(&mut self, line: &[u8], values: &Words<'_>) -> Judgement {
        let name = values.first().copied().unwrap_or_default();
        match name::parse(name) {
            Ok(name) => {
                self.of_some_clients.insert(name.as_wire().into());
                Judgement::at(Kind::Unsupported, 0, Reason::SomeClients)
            }
            Err((at, reason)) => Judgement::at(Kind::Invalid, position(line, name) + at, reason),
        }
    }

    /// Hands out what all lines amount to.
    pub(super) fn flush<S: Sink>(mut self, output: &mut Output<'_, S>, report: &mut Report) {
        if !self.is_mixed && self.of_some_clients.is_empty() {
            for number in 0..self.held.len() {
                let done = match self.held.get(number) {
                    (line, Says::Zone(zone)) => self.give_zone(number, line, zone, output),
                    (line, Says::Data(address)) => self.give_data(number, line, address, output),
                };
                self.tell(number, done, report);
            }
            return;
        }
        self.held.index();
        let mut resolved = Vec::new();
        for number in 0..self.held.len() {
            let done = match self.held.get(number) {
                (line, Says::Zone(zone)) => self.zone(number, line, zone, &mut resolved, output),
                (line, Says::Data(address)) => self.data(number, line, address, output),
            };
            self.tell(number, done, report);
        }
        self.skip(&mut resolved);
        for one in resolved {
            one.give(&self.held, output, report);
        }
    }

    fn tell(&self, number: usize, done: Result<(), (Kind, Reason)>, report: &mut Report) {
        if let Err((kind, reason)) = done {
            let judgement = Judgement::at(kind, 0, reason);
            self.held.reconsider(number, judgement, report);
        }
    }

    /// The zone line of a name that counts: the last one.
    fn zone_of(&self, wire: &[u8]) -> Option<(usize, Zone)> {
        self.held
            .of(wire)
            .find_map(|number| match self.held.get(number) {
                (_, Says::Zone(zone)) => Some((number, zone)),
                (_, Says::Data(_)) => None,
            })
    }

    /// The closest zone around a name, itself included.
    fn closest(&self, wire: &[u8]) -> Option<(usize, Zone)> {
        let above = || self.held.above(wire, |above| self.zone_of(above));
        self.zone_of(wire).or_else(above)
    }

    fn is_of_some_clients(&self, zone: usize) -> bool {
        self.of_some_clients.contains(self.held.wire(zone))
    }

    fn zone<S: Sink>(
        &self,
        number: usize,
        line: u32,
        zone: Zone,
        resolved: &mut Vec<Resolved>,
        output: &mut Output<'_, S>,
    ) -> Result<(), (Kind, Reason)> {
        if self.is_of_some_clients(number) {
            return Err((Kind::Unsupported, Reason::SomeClients));
        }
        let wire = self.held.wire(number);
        if self.zone_of(wire).is_some_and(|(other, _)| other != number) {
            return Err((Kind::Ignored, Reason::Hidden));
        }
        if zone.resolves() {
            resolved.push(Resolved::new(number));
            return Ok(());
        }
        self.give_zone(number, line, zone, output)
    }

    fn give_zone<S: Sink>(
        &self,
        number: usize,
        line: u32,
        zone: Zone,
        output: &mut Output<'_, S>,
    ) -> Result<(), (Kind, Reason)> {
        let answer = match zone {
            Zone::AlwaysBlock(kind) | Zone::Block(kind) => Answer::of(kind),
            _ => self.redirect(number),
        };
        let shape = Shape {
            effect: Effect::Block(Some(answer)),
            // Of two rules for a name the host rule is the weaker one: data at the name of the
            // zone goes before the zone.
            host_rule: matches!(zone, Zone::Block(_)),
            ..Shape::block(Scope::Suffix)
        };
        output.rule_of_line(line, shape.of(self.held.name(number)));
        Ok(())
    }

    /// What a redirect zone answers: its data, or no data.
    fn redirect(&self, zone: usize) -> Answer {
        let mut answer = Answer::of(AnswerKind::NoData);
        let mut data: Vec<_> = self.held.of(self.held.wire(zone)).collect();
        data.reverse();
        for number in data {
            if let (_, Says::Data(address)) = self.held.get(number) {
                add(&mut answer, address);
            }
        }
        answer
    }

    fn data<S: Sink>(
        &self,
        number: usize,
        line: u32,
        address: IpAddr,
        output: &mut Output<'_, S>,
    ) -> Result<(), (Kind, Reason)> {
        let wire = self.held.wire(number);
        match self.closest(wire) {
            Some((zone, _)) if self.is_of_some_clients(zone) => {
                Err((Kind::Unsupported, Reason::SomeClients))
            }
            Some((_, zone)) if zone.ignores_data() => Err((Kind::Ignored, Reason::IgnoredData)),
            Some((zone, Zone::Redirect)) if self.held.wire(zone) == wire => {
                match is_in(&self.redirect(zone), address) {
                    true => Ok(()),
                    false => Err((Kind::Unsupported, Reason::SecondAddress)),
                }
            }
            _ => self.give_data(number, line, address, output),
        }
    }

    fn give_data<S: Sink>(
        &self,
        number: usize,
        line: u32,
        address: IpAddr,
        output: &mut Output<'_, S>,
    ) -> Result<(), (Kind, Reason)> {
        output.line = line;
        match output.address(self.held.name(number), Scope::Exact, address, false) {
            true => Ok(()),
            false => Err((Kind::Unsupported, Reason::SecondAddress)),
        }
    }

    /// Lets the zones that resolve skip what is blocked and what has data in them.
    fn skip(&self, resolved: &mut [Resolved]) {
        if resolved.is_empty() {
            return;
        }
        let mut seen = FxHashSet::default();
        for number in 0..self.held.len() {
            let (_, says) = self.held.get(number);
            let wire = self.held.wire(number);
            let around = match says {
                Says::Zone(zone) if zone.resolves() => None,
                Says::Zone(_) if self.zone_of(wire).is_none_or(|(last, _)| last != number) => None,
                Says::Zone(_) => self.held.above(wire, |above| self.zone_of(above)),
                Says::Data(_) => self
                    .closest(wire)
                    .filter(|(_, zone)| *zone == Zone::Resolve),
            };
            let around = around.and_then(|(around, _)| {
                resolved
                    .binary_search_by_key(&around, |one| one.number)
                    .ok()
            });
            let Some(around) = around else { continue };
            let one = &mut resolved[around];
            match says {
                Says::Data(_) if self.held.wire(one.number) == wire => one.only_below = true,
                _ if !seen.insert(wire) => {}
                Says::Data(_) => one.with_data.push(self.held.name(number)),
                Says::Zone(_) => one.skipped.push(self.held.name(number)),
            }
        }
    }
}

/// Adds an address to what a redirect zone answers.
fn add(answer: &mut Answer, address: IpAddr) {
    match answer.kind {
        AnswerKind::NoData if address.is_unspecified() => answer.kind = AnswerKind::Null,
        AnswerKind::Null => {}
        _ => {
            answer.kind = AnswerKind::Address;
            answer.add(address);
        }
    }
}

/// Whether a redirect zone answers with this address, among others.
fn is_in(answer: &Answer, address: IpAddr) -> bool {
    match address {
        _ if answer.kind == AnswerKind::Null => address.is_unspecified(),
        IpAddr::V4(address) => answer.ipv4 == Some(address),
        IpAddr::V6(address) => answer.ipv6 == Some(address),
    }
}
