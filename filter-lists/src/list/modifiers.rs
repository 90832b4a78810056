//! The modifiers of AdGuard rules, `$a,b=c`.

use std::net::IpAddr;

use domain::base::iana::Rtype;
use filter_common::{name::Name, rule::QtypeSet};

use super::{
    dnsrewrite, name,
    report::{Kind, Reason},
};
use crate::rule::{Answer, Client, ClientAddress};

/// What the modifiers of one rule add up to.
#[derive(Debug)]
pub(super) struct Modifiers {
    pub(super) is_important: bool,
    pub(super) is_badfilter: bool,
    pub(super) qtypes: QtypeSet,
    pub(super) except: Vec<Name>,
    pub(super) clients: Vec<Client>,
    pub(super) rewrite: Option<Answer>,
    /// Whether the rule is for pages as a whole.
    is_page: bool,
}

/// What is wrong, and with which part.
type Trouble<'t> = (Kind, &'t [u8], Reason);

/// For pages as a whole: a resolver that reads this syntax (Technitium) blocks the name for them.
const PAGE: [&str; 3] = ["all", "document", "doc"];

/// Says nothing.
const NOTHING: [&str; 1] = ["noop"];

/// For windows that pages open: says nothing beside one for pages, and by itself is for browsers.
const POPUP: &str = "popup";

/// For requests that a resolver cannot tell apart: the rule is never for DNS.
const WEB: [&str; 74] = [
    "1p",
    "3p",
    "app",
    "background",
    "beacon",
    "collapse",
    "content",
    "cookie",
    "csp",
    "css",
    "domain",
    "ehide",
    "elemhide",
    "empty",
    "extension",
    "first-party",
    "font",
    "frame",
    "from",
    "genericblock",
    "generichide",
    "ghide",
    "header",
    "hls",
    "image",
    "inline-font",
    "inline-script",
    "ipaddress",
    "jsinject",
    "jsonprune",
    "match-case",
    "media",
    "method",
    "mp4",
    "network",
    "object",
    "object-subrequest",
    "other",
    "path",
    "permissions",
    "ping",
    "popunder",
    "prefetch",
    "queryprune",
    "redirect",
    "redirect-rule",
    "referrerpolicy",
    "removeheader",
    "removeparam",
    "replace",
    "rewrite",
    "responseheader",
    "script",
    "shide",
    "sitekey",
    "specificblock",
    "specifichide",
    "stealth",
    "strict1p",
    "strict3p",
    "stylesheet",
    "subdocument",
    "third-party",
    "to",
    "trustedjsonprune",
    "uritransform",
    "urlblock",
    "urlskip",
    "urltransform",
    "webrtc",
    "websocket",
    "webtransport",
    "xhr",
    "xmlhttprequest",
];

/// Modifiers for web requests that may be negated, and those for pages when they are.
fn is_web(word: &str) -> bool {
    match word.strip_prefix('~') {
        Some(word) => WEB.contains(&word) || PAGE.contains(&word) || word == POPUP,
        None => WEB.contains(&word) || word == "xmlprune",
    }
}

/// Reads all that stands behind the `$`.
pub(super) fn parse<'t>(options: &'t [u8], is_allow: bool) -> Result<Modifiers, Trouble<'t>> {
    let mut modifiers = Modifiers {
        is_important: false,
        is_badfilter: false,
        qtypes: QtypeSet::ALL,
        except: Vec::new(),
        clients: Vec::new(),
        rewrite: None,
        is_page: false,
    };
    // One invalid modifier makes the rule invalid; one for the web outweighs
    // what is merely not supported.
    let mut trouble: Option<Trouble<'t>> = None;
    if options.is_empty() {
        return Ok(modifiers);
    }
    let mut note = |found: Trouble<'t>| {
        if trouble.is_none_or(|(kind, ..)| weight(found.0) > weight(kind)) {
            trouble = Some(found);
        }
    };
    let mut popup = None;
    for part in split_escaped(options, b',') {
        match modifiers.add(part, is_allow) {
            _ if part == POPUP.as_bytes() => popup = Some(part),
            Ok(()) => {}
            Err(found) => note(found),
        }
    }
    if let Some(part) = popup
        && !modifiers.is_page
    {
        note((Kind::Ignored, part, Reason::WebModifier));
    }
    trouble.map_or(Ok(modifiers), Err)
}

const fn weight(kind: Kind) -> u8 {
    match kind {
        Kind::Invalid => 2,
        Kind::Ignored => 1,
        _ => 0,
    }
}

impl Modifiers {
    /// Whether they leave something out, so that a rule for every name makes sense.
    pub(super) fn restrict(&self) -> bool {
        !self.clients.is_empty() || !self.except.is_empty() || self.qtypes != QtypeSet::ALL
    }

    fn add<'t>(&mut self, part: &'t [u8], is_allow: bool) -> Result<(), Trouble<'t>> {
        let (word, value) = match part.iter().position(|&byte| byte == b'=') {
            Some(at) if at > 0 => (&part[..at], &part[at + 1..]),
            _ => (part, &b""[..]),
        };
        let here = |(kind, reason)| (kind, part, reason);
        let fail = |kind, reason| Err((kind, part, reason));
        let Ok(word) = str::from_utf8(word) else {
            return fail(Kind::Invalid, Reason::UnknownModifier);
        };
        match word {
            "important" => self.is_important = true,
            "badfilter" => self.is_badfilter = true,
            "dnstype" => self.qtypes = qtypes(value).map_err(here)?,
            "denyallow" => self.except = names(value).map_err(here)?,
            "client" => self.clients = clients(value).map_err(here)?,
            "ctag" if is_tag_list(value) => return fail(Kind::Unsupported, Reason::ClientTag),
            "ctag" => return fail(Kind::Invalid, Reason::ModifierValue),
            "dnsrewrite" => match dnsrewrite::parse(value) {
                // An exception without a value lifts all rewrites.
                Ok(_) if is_allow && !value.is_empty() => {
                    return fail(Kind::Unsupported, Reason::CancelOneRewrite);
                }
                found => self.rewrite = Some(found.map_err(here)?),
            },
            "respgeo" => return fail(Kind::Unsupported, Reason::AnswerTrigger),
            _ if PAGE.contains(&word) => self.is_page = true,
            _ if NOTHING.contains(&word) || is_noop(word) => {}
            _ if is_web(word) => return fail(Kind::Ignored, Reason::WebModifier),
            _ => return fail(Kind::Invalid, Reason::UnknownModifier),
        }
        Ok(())
    }
}

/// `$___` only separates others.
fn is_noop(word: &str) -> bool {
    !word.is_empty() && word.bytes().all(|byte| byte == b'_')
}

/// Parts between separators that no backslash precedes.
fn split_escaped(text: &[u8], separator: u8) -> impl Iterator<Item = &[u8]> {
    let mut escaped = false;
    text.split(move |&byte| {
        let splits = byte == separator && !escaped;
        escaped = byte == b'\\' && !escaped;
        splits
    })
}

fn qtypes(value: &[u8]) -> Result<QtypeSet, (Kind, Reason)> {
    let invalid = |reason| (Kind::Invalid, reason);
    let (mut only, mut except) = (Vec::new(), Vec::new());
    for word in value.split(|&byte| byte == b'|') {
        let (list, word) = match word.strip_prefix(b"~") {
            Some(word) => (&mut except, word),
            None => (&mut only, word),
        };
        let qtype = qtype(word).ok_or(invalid(Reason::UnknownQtype))?;
        if !list.contains(&qtype) {
            list.push(qtype);
        }
    }
    let set = if only.is_empty() {
        QtypeSet::except(&except)
    } else {
        only.retain(|qtype| !except.contains(qtype));
        if only.is_empty() {
            return Err(invalid(Reason::ModifierValue));
        }
        QtypeSet::only(&only)
    };
    set.ok_or((Kind::Unsupported, Reason::TooManyQtypes))
}

/// The number of a query type, by mnemonic or `TYPE65`.
pub(super) fn qtype(word: &[u8]) -> Option<u16> {
    let word = str::from_utf8(word).ok()?;
    word.to_ascii_uppercase()
        .parse::<Rtype>()
        .ok()
        .map(Rtype::to_int)
}

fn names(value: &[u8]) -> Result<Vec<Name>, (Kind, Reason)> {
    value
        .split(|&byte| byte == b'|')
        .map(|text| name::parse(text).map_err(|_| (Kind::Invalid, Reason::ModifierValue)))
        .collect()
}

fn is_tag_list(value: &[u8]) -> bool {
    value.split(|&byte| byte == b'|').all(|tag| {
        let tag = tag.strip_prefix(b"~").unwrap_or(tag);
        !tag.is_empty()
            && tag
                .iter()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'_')
    })
}

fn clients(value: &[u8]) -> Result<Vec<Client>, (Kind, Reason)> {
    let mut clients = Vec::new();
    for text in split_escaped(value, b'|') {
        let (not, text) = match text.strip_prefix(b"~") {
            Some(text) => (true, text),
            None => (false, text),
        };
        let text = unquoted(text);
        if text.is_empty() {
            return Err((Kind::Invalid, Reason::ModifierValue));
        }
        let client = str::from_utf8(text).ok().and_then(|text| client(text, not));
        clients.push(client.ok_or((Kind::Unsupported, Reason::ClientName))?);
    }
    Ok(clients)
}

fn unquoted(text: &[u8]) -> &[u8] {
    match text {
        [b'"', inner @ .., b'"'] | [b'\'', inner @ .., b'\''] => inner,
        _ => text,
    }
}

fn client(text: &str, not: bool) -> Option<Client> {
    if let Ok(ClientAddress::Mac(address)) = text.parse() {
        return Some(Client::Mac { address, not });
    }
    let (address, len) = text
        .split_once('/')
        .map_or((text, None), |(a, l)| (a, Some(l)));
    let address: IpAddr = address.parse().ok()?;
    let full = if address.is_ipv4() { 32 } else { 128 };
    let len = match len {
        Some(len) => len.parse().ok().filter(|len| *len <= full)?,
        None => full,
    };
    Some(Client::Prefix { address, len, not })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn query_types_have_names_and_numbers() {
        assert_eq!(qtype(b"aaaa"), Some(28));
        assert_eq!(qtype(b"HTTPS"), Some(65));
        assert_eq!(qtype(b"TYPE64"), Some(64));
        assert_eq!(qtype(b"NONE"), None);
        assert_eq!(qtype(b""), None);
    }

    #[test]
    fn lists_of_words_have_no_doubles() {
        for (i, word) in WEB.iter().enumerate() {
            assert!(
                !WEB[i + 1..].contains(word) && !PAGE.contains(word) && *word != POPUP,
                "{word}"
            );
        }
    }

    #[test]
    fn clients_are_addresses_prefixes_and_hardware_addresses() {
        let prefix = |address: &str, len, not| Client::Prefix {
            address: address.parse().unwrap(),
            len,
            not,
        };
        assert_eq!(
            clients(b"192.0.2.1|~2001:db8::/32|'10.0.0.0/8'").unwrap(),
            [
                prefix("192.0.2.1", 32, false),
                prefix("2001:db8::", 32, true),
                prefix("10.0.0.0", 8, false)
            ]
        );
        let address = [0xaa, 0xbb, 0xcc, 0, 0x11, 0x22];
        for text in ["aa:bb:cc:00:11:22", "AA-BB-CC-00-11-22"] {
            assert_eq!(
                client(text, false),
                Some(Client::Mac {
                    address,
                    not: false
                })
            );
        }
        for text in [&b"Mom"[..], b"'Frank\\'s laptop'", b"10.0.0.0/33", b"a:b"] {
            assert_eq!(clients(text).unwrap_err().0, Kind::Unsupported);
        }
        assert_eq!(clients(b"").unwrap_err().0, Kind::Invalid);
    }
}
