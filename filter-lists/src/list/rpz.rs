//! Response policy zones: what a trigger and its action mean as a rule.

use std::{
    io::Read,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use filter_common::{
    name::Name,
    rule::{AnswerKind, Scope},
};

use super::{
    Error, Sink,
    lines::Lines,
    output::Output,
    report::{Judgement, Kind, Reason, Report, Zone},
    zone_record::{Data, Entry, Records},
};
use crate::rule::{Answer, Client, Effect, Shape};

/// Reads a zone.
pub(super) fn zone<R: Read, S: Sink>(
    lines: &mut Lines<R>,
    output: &mut Output<'_, S>,
    report: &mut Report,
) -> Result<(), Error> {
    let mut records = Records::new();
    let mut zone = Apex::default();
    while let Some(line) = lines.next_line()? {
        if !line.is_whole {
            // An open record ends here; its lines are lost with it.
            account(&mut records, report, unclosed());
            let judgement = Judgement::at(Kind::Invalid, 0, Reason::LineTooLong);
            report.count(line.number, line.text, judgement);
        } else if records.push(line.number, line.text) {
            output.line = records.pending().1;
            let entry = records.read();
            let judgement = judge(entry, &mut zone, output, report);
            account(&mut records, report, judgement);
            zone.agree(&mut records);
        }
    }
    account(&mut records, report, unclosed());
    Ok(())
}

/// Where the zone begins.
#[derive(Default)]
struct Apex {
    name: Option<Name>,
    has_soa: bool,
    /// Whether names are known to be completed by it.
    is_settled: bool,
}

impl Apex {
    fn name(&self) -> Name {
        self.name.unwrap_or(Name::ROOT)
    }

    /// Whether nobody says what absolute names are to be compared with.
    fn is_unnamed(&self) -> bool {
        self.has_soa && !self.is_settled && self.name() == Name::ROOT
    }

    /// Takes the first `$ORIGIN` for the apex of a zone without SOA, and the owner of the SOA for
    /// the origin of a zone without `$ORIGIN`, as a server does that is told the name of the zone.
    fn agree(&mut self, records: &mut Records) {
        if self.is_settled {
            return;
        }
        match (records.origin(), self.name) {
            (Some(origin), None) => self.name = Some(*origin),
            (Some(_), Some(_)) => self.is_settled = true,
            (None, Some(apex)) if apex != Name::ROOT => {
                records.set_origin(&apex);
                self.is_settled = true;
            }
            (None, _) => {}
        }
    }
}

const fn unclosed() -> Judgement {
    Judgement::at(Kind::Invalid, 0, Reason::Unclosed)
}

fn account(records: &mut Records, report: &mut Report, judgement: Judgement) {
    let (lines, first, text) = records.pending();
    if lines > 0 {
        report.count_lines(lines, first, text, judgement);
    }
    records.clear();
}

fn judge<S: Sink>(
    entry: Entry<'_>,
    zone: &mut Apex,
    output: &mut Output<'_, S>,
    report: &mut Report,
) -> Judgement {
    let because = |kind, reason| Judgement::at(kind, 0, reason);
    match entry {
        Entry::Blank => Judgement::plain(Kind::Blank),
        Entry::Comment => Judgement::plain(Kind::Comment),
        Entry::Directive => because(Kind::Ignored, Reason::ZoneRecord),
        Entry::Include => because(Kind::Unsupported, Reason::Include),
        Entry::Wrong => because(Kind::Invalid, Reason::Record),
        Entry::Unclosed => unclosed(),
        Entry::Record {
            owner,
            is_absolute,
            data,
        } => match data {
            Data::Soa { serial } => {
                zone.name = Some(*owner);
                zone.has_soa = true;
                report.zone = Some(Zone {
                    name: owner.to_string(),
                    serial,
                });
                because(Kind::Ignored, Reason::ZoneRecord)
            }
            Data::OfZone => because(Kind::Ignored, Reason::ZoneRecord),
            _ if is_absolute && zone.is_unnamed() => {
                because(Kind::Unsupported, Reason::UnnamedZone)
            }
            data => {
                match trigger(owner, &zone.name())
                    .and_then(|trigger| policy(&trigger, &data, output))
                {
                    Ok(()) => Judgement::RULE,
                    Err((kind, reason)) => because(kind, reason),
                }
            }
        },
    }
}

/// What an owner name asks to be compared.
struct Trigger {
    name: Name,
    scope: Scope,
    client: Option<Client>,
}

fn trigger(owner: &Name, apex: &Name) -> Result<Trigger, (Kind, Reason)> {
    if !owner.is_at_or_below(apex) {
        return Err((Kind::Invalid, Reason::OutsideZone));
    }
    if owner == apex {
        return Err((Kind::Ignored, Reason::ZoneRecord));
    }
    let relative_len = owner.as_wire().len() - apex.as_wire().len();
    let relative = &owner.as_wire()[..relative_len];
    let last = last_label(relative);
    match last {
        b"rpz-client-ip" => {
            let text_end = relative_len - last.len() - 1;
            let client = client(&relative[..text_end]);
            return Ok(Trigger {
                name: Name::ROOT,
                scope: Scope::Suffix,
                client: Some(client.ok_or((Kind::Invalid, Reason::ClientTrigger))?),
            });
        }
        b"rpz-ip" | b"rpz-nsip" | b"rpz-nsdname" => {
            return Err((Kind::Unsupported, Reason::AnswerTrigger));
        }
        _ => {}
    }
    let (bare, scope) = match relative.strip_prefix(b"\x01*") {
        Some(b"") => return Err((Kind::Unsupported, Reason::EveryName)),
        Some(rest) => (rest, Scope::Subs),
        None => (relative, Scope::Exact),
    };
    let last = last_label(bare);
    if !last.is_empty() && last.iter().all(u8::is_ascii_digit) {
        return Err((Kind::Invalid, Reason::NumericEnd));
    }
    let mut wire = [0; filter_common::name::NAME_MAX_BYTES];
    wire[..bare.len()].copy_from_slice(bare);
    let name =
        Name::from_wire(&wire[..=bare.len()]).map_err(|error| (Kind::Invalid, error.into()))?;
    Ok(Trigger {
        name,
        scope,
        client: None,
    })
}

/// The last label of labels in wire format without the root.
fn last_label(mut labels: &[u8]) -> &[u8] {
    let mut last = &b""[..];
    while let Some((&len, rest)) = labels.split_first() {
        let (label, rest) = rest.split_at(usize::from(len).min(rest.len()));
        last = label;
        labels = rest;
    }
    last
}

/// `32.1.2.0.192` is 192.0.2.1/32; in IPv6 the groups go backwards and `zz` is `::`.
fn client(mut labels: &[u8]) -> Option<Client> {
    let mut parts = Vec::with_capacity(9);
    while let Some((&len, rest)) = labels.split_first() {
        let (label, rest) = rest.split_at_checked(usize::from(len))?;
        parts.push(str::from_utf8(label).ok()?);
        labels = rest;
    }
    let (len, groups) = parts.split_first()?;
    let len: u8 = len.parse().ok()?;
    let is_v4 = groups.len() == 4 && !groups.contains(&"zz");
    let address = if is_v4 { v4(groups)? } else { v6(groups)? };
    (len <= if is_v4 { 32 } else { 128 }).then_some(Client::Prefix {
        address,
        len,
        not: false,
    })
}

fn v4(groups: &[&str]) -> Option<IpAddr> {
    let mut octets = [0; 4];
    for (octet, group) in octets.iter_mut().zip(groups.iter().rev()) {
        *octet = group.parse().ok()?;
    }
    Some(Ipv4Addr::from(octets).into())
}

fn v6(groups: &[&str]) -> Option<IpAddr> {
    let text: Vec<_> = groups
        .iter()
        .rev()
        .map(|group| if *group == "zz" { "" } else { group })
        .collect();
    let mut text = text.join(":");
    // The gap at an end needs its second colon.
    if groups.first() == Some(&"zz") {
        text.push(':');
    }
    if groups.last() == Some(&"zz") {
        text.insert(0, ':');
    }
    Some(text.parse::<Ipv6Addr>().ok()?.into())
}

fn policy<S: Sink>(
    trigger: &Trigger,
    data: &Data<'_>,
    output: &mut Output<'_, S>,
) -> Result<(), (Kind, Reason)> {
    let effect = match data {
        Data::Cname(target) => cname(target, trigger)?,
        Data::Address(address) => return local_data(trigger, *address, output),
        Data::Soa { .. } | Data::OfZone | Data::Other => {
            return Err((Kind::Unsupported, Reason::RecordType));
        }
    };
    output.rule(
        Shape {
            effect,
            clients: trigger.client.iter().cloned().collect(),
            ..Shape::block(trigger.scope)
        }
        .of(trigger.name),
    );
    Ok(())
}

fn cname(target: &[u8], trigger: &Trigger) -> Result<Effect, (Kind, Reason)> {
    let answer = |kind| Ok(Effect::Block(Some(Answer::of(kind))));
    match target {
        b"\0" => answer(AnswerKind::NxDomain),
        b"\x01*\0" => answer(AnswerKind::NoData),
        b"\x08rpz-drop\0" => answer(AnswerKind::Drop),
        b"\x0crpz-tcp-only\0" => answer(AnswerKind::Truncate),
        b"\x0crpz-passthru\0" => Ok(Effect::Allow),
        // The old way to write it: a name that stays itself.
        _ if target == trigger.name.as_wire() && trigger.scope == Scope::Exact => Ok(Effect::Allow),
        _ => Err((Kind::Unsupported, Reason::CnameTarget)),
    }
}

fn local_data<S: Sink>(
    trigger: &Trigger,
    address: IpAddr,
    output: &mut Output<'_, S>,
) -> Result<(), (Kind, Reason)> {
    if output.refuses_redirects() && !address.is_unspecified() {
        return Err((Kind::Unsupported, Reason::Redirect));
    }
    if let Some(client) = &trigger.client {
        let mut answer = Answer::of(AnswerKind::Address);
        answer.add(address);
        let effect = Effect::Block(Some(answer));
        output.rule(
            Shape {
                effect,
                clients: vec![client.clone()],
                ..Shape::block(trigger.scope)
            }
            .of(trigger.name),
        );
        return Ok(());
    }
    if output.address(trigger.name, trigger.scope, address, false) {
        Ok(())
    } else {
        Err((Kind::Unsupported, Reason::SecondAddress))
    }
}
