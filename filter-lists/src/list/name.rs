//! A name in a line: Unicode becomes A-labels, and an error has a position.

use std::net::{Ipv4Addr, Ipv6Addr};

use filter_common::name::{Name, NameError};
use memchr::memrchr;

use super::report::Reason;

/// Reads a name; the error says at which byte of `text` it lies.
#[inline]
pub(super) fn parse(text: &[u8]) -> Result<Name, (usize, Reason)> {
    match Name::from_text(text) {
        Ok(name) => match numeric_end(text) {
            None => Ok(name),
            Some(at) => Err((at, Reason::NumericEnd)),
        },
        Err(error) => parse_other(text, error),
    }
}

/// Where the last label begins, if it is a number.
///
/// RFC 3696 §2: no top-level domain is all-numeric. Such a text is an address, or two lines run
/// into one.
#[inline]
pub(super) fn numeric_end(text: &[u8]) -> Option<usize> {
    let bare = text.strip_suffix(b".").unwrap_or(text);
    if !bare.last()?.is_ascii_digit() {
        return None;
    }
    let start = memrchr(b'.', bare).map_or(0, |dot| dot + 1);
    bare[start..]
        .iter()
        .all(u8::is_ascii_digit)
        .then_some(start)
}

/// Whether the last label may be that of a whole name: letters, or punycode.
pub(super) fn can_end(text: &[u8]) -> bool {
    let last = &text[memrchr(b'.', text).map_or(0, |dot| dot + 1)..];
    let is_punycode = last.len() > 4 && last[..4].eq_ignore_ascii_case(b"xn--");
    let is_word = last.len() >= 2 && last.iter().all(u8::is_ascii_alphabetic);
    is_punycode || is_word || !last.is_ascii()
}

/// Whether AdGuard takes a line with nothing else for a host: two labels or more of letters,
/// digits and inner hyphens. Everything else is a pattern there.
pub(super) fn is_host(text: &[u8]) -> bool {
    let is_label = |label: &[u8]| {
        let inner = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'-';
        label.iter().all(inner) && !label.starts_with(b"-") && !label.ends_with(b"-")
    };
    text.contains(&b'.') && can_end(text) && text.split(|&byte| byte == b'.').all(is_label)
}

#[cold]
fn parse_other(text: &[u8], error: NameError) -> Result<Name, (usize, Reason)> {
    if text.is_ascii() {
        return Err((error_position(text, error), error.into()));
    }
    let unicode = str::from_utf8(text).map_err(|error| (error.valid_up_to(), Reason::NotUtf8))?;
    // A hint at the first character that no name has, before UTS 46 maps it.
    if let Some(at) = text
        .iter()
        .position(|&byte| byte.is_ascii() && !in_names(byte))
    {
        return Err((at, NameError::BadByte(text[at]).into()));
    }
    let ascii = idna::domain_to_ascii(unicode).map_err(|_| (0, Reason::Idna))?;
    let name = Name::from_text(ascii.as_bytes()).map_err(|error| (0, error.into()))?;
    match numeric_end(ascii.as_bytes()) {
        None => Ok(name),
        Some(_) => Err((0, Reason::NumericEnd)),
    }
}

fn in_names(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.')
}

fn error_position(text: &[u8], error: NameError) -> usize {
    let mut start = 0;
    match error {
        NameError::BadByte(_) => text.iter().position(|&byte| !in_names(byte)).unwrap_or(0),
        NameError::EmptyLabel | NameError::LabelTooLong => {
            for label in text.split(|&byte| byte == b'.') {
                let is_it = match error {
                    NameError::EmptyLabel => label.is_empty(),
                    _ => label.len() > filter_common::name::LABEL_MAX_BYTES,
                };
                if is_it {
                    return start;
                }
                start += label.len() + 1;
            }
            0
        }
        NameError::Empty | NameError::NameTooLong => 0,
    }
}

/// What an address in front of names stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Address {
    /// Nowhere, or the asking machine itself: the name is blocked.
    Sink,
    /// A host that is to be reached instead.
    Other(std::net::IpAddr),
}

/// Reads an address, also with a zone (`fe80::1%lo0`).
pub(super) fn address(text: &[u8]) -> Option<Address> {
    if matches!(text, b"0.0.0.0" | b"127.0.0.1" | b"::" | b"::1") {
        return Some(Address::Sink);
    }
    if !text
        .first()
        .is_some_and(|&byte| byte.is_ascii_hexdigit() || byte == b':')
    {
        return None;
    }
    let text = str::from_utf8(text).ok()?;
    if let Ok(v4) = text.parse::<Ipv4Addr>() {
        return Some(
            if v4.is_loopback() || v4.is_unspecified() || v4.is_broadcast() {
                Address::Sink
            } else {
                Address::Other(v4.into())
            },
        );
    }
    let (bare, zone) = text.split_once('%').unwrap_or((text, ""));
    let v6 = bare.parse::<Ipv6Addr>().ok()?;
    let mapped = v6
        .to_ipv4_mapped()
        .is_some_and(|v4| v4.is_loopback() || v4.is_unspecified());
    Some(
        // An address with a zone or a multicast address leads nowhere in an answer.
        if v6.is_loopback()
            || v6.is_unspecified()
            || v6.is_multicast()
            || mapped
            || !zone.is_empty()
        {
            Address::Sink
        } else {
            Address::Other(v6.into())
        },
    )
}

/// Whether `text` is an address or a range of addresses.
pub(super) fn is_address_or_range(text: &[u8]) -> bool {
    let (bare, len) = match text.iter().position(|&byte| byte == b'/') {
        Some(at) => (&text[..at], &text[at + 1..]),
        None => (text, &b"0"[..]),
    };
    (1..=3).contains(&len.len()) && len.iter().all(u8::is_ascii_digit) && address(bare).is_some()
}

/// Whether a hosts file gives this name to the machine itself.
pub(super) fn is_local(text: &[u8]) -> bool {
    const LOCAL: [&[u8]; 14] = [
        b"localhost",
        b"localhost.localdomain",
        b"localhost4",
        b"localhost4.localdomain4",
        b"localhost6",
        b"localhost6.localdomain6",
        b"local",
        b"broadcasthost",
        b"ip6-localhost",
        b"ip6-loopback",
        b"ip6-localnet",
        b"ip6-mcastprefix",
        b"ip6-allnodes",
        b"0.0.0.0",
    ];
    // Every entry begins with one of these, and few names do.
    if !text.first().is_some_and(|byte| b"lLbBiI0".contains(byte)) {
        return false;
    }
    let is_ip6 = text.len() > 4 && text[..4].eq_ignore_ascii_case(b"ip6-") && !text.contains(&b'.');
    is_ip6 || LOCAL.iter().any(|local| text.eq_ignore_ascii_case(local))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unicode_names_become_a_labels() {
        for (text, expected) in [
            ("Bücher.example", "xn--bcher-kva.example"),
            ("пример.рф", "xn--e1afmkfd.xn--p1ai"),
            ("faß.de", "xn--fa-hia.de"),
            ("_dmarc.ÄPFEL.de", "_dmarc.xn--pfel-koa.de"),
        ] {
            assert_eq!(parse(text.as_bytes()).unwrap().to_string(), expected);
        }
    }

    #[test]
    fn an_error_has_a_position() {
        for (text, at, reason) in [
            ("a.b/c", 3, Reason::Name(NameError::BadByte(b'/'))),
            ("ab..c", 3, Reason::Name(NameError::EmptyLabel)),
            ("ü.de/x", 5, Reason::Name(NameError::BadByte(b'/'))),
            ("\u{200d}.de", 0, Reason::Idna),
        ] {
            assert_eq!(parse(text.as_bytes()).unwrap_err(), (at, reason), "{text}");
        }
        assert_eq!(parse(b"ab\xff.de").unwrap_err(), (2, Reason::NotUtf8));
        let long = format!("ok.{}.de", "a".repeat(64));
        let error = (3, Reason::Name(NameError::LabelTooLong));
        assert_eq!(parse(long.as_bytes()).unwrap_err(), error);
    }

    #[test]
    fn addresses_that_lead_nowhere_are_sinks() {
        for text in [
            "0.0.0.0",
            "127.0.0.1",
            "127.0.1.1",
            "::",
            "::1",
            "fe80::1%lo0",
            "ff02::1",
            "255.255.255.255",
            "::ffff:127.0.0.1",
        ] {
            assert_eq!(address(text.as_bytes()), Some(Address::Sink), "{text}");
        }
        for text in ["1.2.3.4", "2001:db8::1"] {
            let other = Address::Other(text.parse().unwrap());
            assert_eq!(address(text.as_bytes()), Some(other));
        }
        for text in ["", "ads.example", "1.2.3", "1.2.3.4.5", "cafe", "fe80::1::"] {
            assert_eq!(address(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn a_name_that_ends_in_a_number_cannot_exist() {
        for (text, at) in [
            ("first.bid0.0.0.0", 15),
            ("ads.1", 4),
            ("1.2.3.4.", 6),
            ("123", 0),
        ] {
            let error = parse(text.as_bytes()).unwrap_err();
            assert_eq!(error, (at, Reason::NumericEnd), "{text}");
        }
        for text in ["ads.1a", "1.example", "4.3.2.1.in-addr.arpa"] {
            assert!(parse(text.as_bytes()).is_ok(), "{text}");
        }
    }

    #[test]
    fn hosts_of_adguard_have_two_labels_of_letters_digits_and_inner_hyphens() {
        for text in ["example.org", "a-b.example", "1.example", "x.xn--p1ai"] {
            assert!(is_host(text.as_bytes()), "{text}");
        }
        for text in [
            "bad_name.example",
            "ads",
            "-a.example",
            "a-.example",
            "a.x",
            "a.example.",
            "a.1b",
        ] {
            assert!(!is_host(text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn ranges_are_no_names() {
        assert!(is_address_or_range(b"10.0.0.0/8") && is_address_or_range(b"::1"));
        assert!(!is_address_or_range(b"10.0.0.0/x") && !is_address_or_range(b"1.2.3.4/"));
    }
}
