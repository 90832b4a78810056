//! Records of a master file (RFC 1035 §5), one at a time and with their lines.
//!
//! The records are read by the zone-file scanner of the crate `domain`. It gets
//! one record after the other, so that a zone needs no memory of its own, a
//! record keeps its line, and one that is wrong costs nothing but itself. Times
//! with units (`1h30m`), which BIND knows and the scanner does not, become seconds
//! before.

use std::net::IpAddr;

use domain::{
    base::{
        iana::Class,
        name::{Name as WireName, ToName},
    },
    rdata::ZoneRecordData,
    zonefile::inplace::{Entry as ZoneEntry, ScannedRecord, Zonefile},
};
use filter_common::name::Name;

/// Longest record, comments and line ends included.
const RECORD_MAX_BYTES: usize = 64 * 1024;

/// Puts lines together to records.
pub(super) struct Records {
    scanner: Zonefile,
    /// The lines of the record so far, each with its end.
    text: Vec<u8>,
    lines: u64,
    first_line: u32,
    open_parentheses: u32,
    /// The owner of the record before, for records that begin with a blank.
    owner: Name,
    /// Whether that owner was written with the dot at its end.
    is_absolute: bool,
    /// What the first `$ORIGIN` says.
    origin: Option<Name>,
    /// Whether the scanner knows no owner yet.
    is_fresh: bool,
    prepared: Vec<u8>,
    /// The name read last, in wire format.
    wire: Vec<u8>,
}

/// A piece of a master file.
pub(super) enum Entry<'r> {
    /// A blank line.
    Blank,
    /// A comment.
    Comment,
    /// A directive that only the scanner needs.
    Directive,
    /// `$INCLUDE`.
    Include,
    /// A record.
    Record {
        /// What stands on the left, completed by the origin.
        owner: &'r Name,
        /// Whether it was written with the dot at its end.
        is_absolute: bool,
        /// What stands on the right.
        data: Data<'r>,
    },
    /// Not understood.
    Wrong,
    /// A parenthesis or quote that nothing closes.
    Unclosed,
}

/// Record data, as far as policies use it.
pub(super) enum Data<'r> {
    /// The target in wire format.
    Cname(&'r [u8]),
    Address(IpAddr),
    Soa {
        serial: u32,
    },
    /// Records that every signed or delegated zone has.
    OfZone,
    Other,
}

impl Records {
    pub(super) fn new() -> Self {
        Self {
            scanner: scanner(None),
            text: Vec::new(),
            lines: 0,
            first_line: 0,
            open_parentheses: 0,
            owner: Name::ROOT,
            is_absolute: false,
            origin: None,
            is_fresh: true,
            prepared: Vec::new(),
            wire: Vec::new(),
        }
    }

    /// Takes a line; `true` if the record is complete with it.
    pub(super) fn push(&mut self, number: u32, line: &[u8]) -> bool {
        if self.lines == 0 {
            self.first_line = number;
        }
        self.lines += 1;
        self.text.extend_from_slice(line);
        self.text.push(b'\n');
        self.open_parentheses = match parentheses(line, self.open_parentheses) {
            Some(open) => open,
            None => return true,
        };
        self.open_parentheses == 0 || self.text.len() > RECORD_MAX_BYTES
    }

    /// Lines of the record so far, the first of them, and their text.
    pub(super) fn pending(&self) -> (u64, u32, &[u8]) {
        (self.lines, self.first_line, &self.text)
    }

    /// Forgets the record and is ready for the next.
    pub(super) fn clear(&mut self) {
        self.text.clear();
        self.lines = 0;
        self.open_parentheses = 0;
    }

    /// Reads the record.
    pub(super) fn read(&mut self) -> Entry<'_> {
        match self.text.trim_ascii().first() {
            None => return Entry::Blank,
            // A hash sign is no comment in master files, but people write it.
            Some(b';' | b'#') if self.lines == 1 => return Entry::Comment,
            Some(_) => {}
        }
        if self.open_parentheses > 0 {
            return Entry::Unclosed;
        }
        self.prepare();
        self.scanner.extend_from_slice(&self.prepared);
        match self.scanner.next_entry() {
            Ok(Some(ZoneEntry::Record(record))) => self.record(&record),
            Ok(Some(ZoneEntry::Include { .. })) => Entry::Include,
            Ok(None) => {
                self.note_origin();
                Entry::Directive
            }
            Err(_) => {
                // The scanner cannot go on after an error.
                self.scanner = scanner(self.scanner.origin().ok());
                self.is_fresh = true;
                Entry::Wrong
            }
        }
    }

    /// What the first `$ORIGIN` says, if there was one.
    pub(super) fn origin(&self) -> Option<&Name> {
        self.origin.as_ref()
    }

    /// Completes relative names by `origin` from here on.
    pub(super) fn set_origin(&mut self, origin: &Name) {
        if let Ok(origin) = WireName::from_octets(bytes::Bytes::copy_from_slice(origin.as_wire())) {
            self.scanner.set_origin(origin);
        }
    }

    fn note_origin(&mut self) {
        let word = self.text.get(..b"$ORIGIN".len());
        if self.origin.is_none() && word.is_some_and(|word| word.eq_ignore_ascii_case(b"$ORIGIN")) {
            let said = self.scanner.origin().ok();
            self.origin =
                said.and_then(|said| Name::from_wire(to_wire(&said, &mut self.wire)?).ok());
        }
    }

    /// Writes the record as the scanner understands it.
    fn prepare(&mut self) {
        self.prepared.clear();
        if self.is_fresh && self.owner != Name::ROOT && self.text[0].is_ascii_whitespace() {
            let owner = self.owner.to_string();
            self.prepared.extend_from_slice(owner.as_bytes());
            self.prepared.push(b'.');
        }
        let owner_len = self.text.iter().position(u8::is_ascii_whitespace);
        let (owner, rest) = self.text.split_at(owner_len.unwrap_or(0));
        self.prepared.extend_from_slice(owner);
        for piece in rest.split_inclusive(|byte| b" \t\r\n();".contains(byte)) {
            let (token, separator) = piece.split_at(piece.len() - 1);
            match seconds(token) {
                Some(seconds) => self
                    .prepared
                    .extend_from_slice(seconds.to_string().as_bytes()),
                None => self.prepared.extend_from_slice(token),
            }
            self.prepared.extend_from_slice(separator);
        }
    }

    fn record(&mut self, record: &ScannedRecord) -> Entry<'_> {
        let Some(owner) =
            to_wire(record.owner(), &mut self.wire).and_then(|wire| Name::from_wire(wire).ok())
        else {
            return Entry::Wrong;
        };
        self.owner = owner;
        self.is_fresh = false;
        let written = self.text.split(u8::is_ascii_whitespace).next();
        if let Some(written) = written.filter(|written| !written.is_empty()) {
            self.is_absolute = written.ends_with(b".");
        }
        let data = match record.data() {
            ZoneRecordData::Cname(data) => match to_wire(data.cname(), &mut self.wire) {
                Some(target) => Data::Cname(target),
                None => return Entry::Wrong,
            },
            ZoneRecordData::A(data) => Data::Address(data.addr().into()),
            ZoneRecordData::Aaaa(data) => Data::Address(data.addr().into()),
            ZoneRecordData::Soa(data) => Data::Soa {
                serial: data.serial().into_int(),
            },
            ZoneRecordData::Ns(_)
            | ZoneRecordData::Dnskey(_)
            | ZoneRecordData::Rrsig(_)
            | ZoneRecordData::Nsec(_)
            | ZoneRecordData::Nsec3(_)
            | ZoneRecordData::Nsec3param(_)
            | ZoneRecordData::Zonemd(_) => Data::OfZone,
            _ => Data::Other,
        };
        Entry::Record {
            owner: &self.owner,
            is_absolute: self.is_absolute,
            data,
        }
    }
}

/// A scanner for records of class IN below `origin`.
///
/// A zone file need not say its name; without it names are taken as absolute.
fn scanner(origin: Option<WireName<bytes::Bytes>>) -> Zonefile {
    let mut scanner = Zonefile::new().allow_invalid();
    scanner.set_origin(origin.unwrap_or_else(WireName::root));
    scanner.set_default_class(Class::IN);
    scanner
}

fn to_wire<'w>(name: &impl ToName, wire: &'w mut Vec<u8>) -> Option<&'w [u8]> {
    wire.clear();
    name.compose(wire).ok()?;
    wire.make_ascii_lowercase();
    Some(wire)
}

/// Parentheses that are open after `line`; `None` if a quote is.
fn parentheses(line: &[u8], mut open: u32) -> Option<u32> {
    if memchr::memchr3(b'(', b')', b'"', line).is_none() {
        return Some(open);
    }
    let mut is_quoted = false;
    let mut bytes = line.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' => {
                bytes.next();
            }
            b'"' => is_quoted = !is_quoted,
            b'(' if !is_quoted => open += 1,
            b')' if !is_quoted => open = open.saturating_sub(1),
            b';' if !is_quoted => break,
            _ => {}
        }
    }
    (!is_quoted).then_some(open)
}

/// The seconds that a time with units stands for; `None` for everything else.
fn seconds(token: &[u8]) -> Option<u64> {
    if !token.first()?.is_ascii_digit() || !token.last()?.is_ascii_alphabetic() {
        return None;
    }
    let (mut total, mut number) = (0u64, None);
    for byte in token {
        if byte.is_ascii_digit() {
            let digit = u64::from(byte - b'0');
            number = Some(number.unwrap_or(0u64).checked_mul(10)?.checked_add(digit)?);
            continue;
        }
        let unit = match byte.to_ascii_lowercase() {
            b's' => 1,
            b'm' => 60,
            b'h' => 3600,
            b'd' => 86_400,
            b'w' => 604_800,
            _ => return None,
        };
        total = total.checked_add(number.take()?.checked_mul(unit)?)?;
    }
    Some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_with_units_are_seconds() {
        assert_eq!(seconds(b"3H"), Some(10_800));
        assert_eq!(seconds(b"1h30m5s"), Some(5405));
        for token in [
            &b"60"[..],
            b"h",
            b"1x",
            b"1.2d",
            b"",
            b"99999999999999999999w",
        ] {
            assert_eq!(seconds(token), None);
        }
    }

    #[test]
    fn parentheses_in_quotes_and_comments_do_not_count() {
        assert_eq!(parentheses(b"@ SOA a b (1 2", 0), Some(1));
        assert_eq!(parentheses(b"3 4 5) ; (", 1), Some(0));
        assert_eq!(parentheses(b"a TXT \"((\" \\(", 0), Some(0));
        assert_eq!(parentheses(b"a TXT \"", 0), None);
    }
}
