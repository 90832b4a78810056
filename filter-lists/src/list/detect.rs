//! What format a list is in, by its first lines.

use super::{Format, adguard, dnsmasq, name, unbound};

/// Lines with content that are looked at.
const LINES_LOOKED_AT: usize = 200;

/// The format of a list that begins with `head`.
///
/// `file_name` decides where the content leaves a doubt: in a file without a
/// line that says something. Lists that mix hosts, plain and AdGuard lines are
/// read by one parser whatever is detected; the format settles only what a
/// bare `*.d` and a line with a path are.
pub fn detect(head: &[u8], file_name: Option<&str>) -> Format {
    let mut votes = [0u32; Format::ALL.len()];
    let mut seen = 0;
    for line in head.split(|&byte| byte == b'\n') {
        let line = line.trim_ascii();
        if let Some(format) = certain(line) {
            return format;
        }
        if let Some(format) = vote(line) {
            votes[format as usize] += 1;
            seen += 1;
            if seen == LINES_LOOKED_AT {
                break;
            }
        }
    }
    // Equal votes go to the simpler format, which comes first.
    let best = Format::ALL
        .into_iter()
        .rev()
        .max_by_key(|&format| votes[format as usize]);
    match best {
        Some(format) if votes[format as usize] > 0 => format,
        _ => by_name(file_name.unwrap_or_default()),
    }
}

/// Whether `head` begins as a web page does.
pub(super) fn is_html(head: &[u8]) -> bool {
    let head = head.trim_ascii_start();
    [&b"<!doctype html"[..], b"<html", b"<head", b"<?xml"]
        .iter()
        .any(|start| {
            head.get(..start.len())
                .is_some_and(|head| head.eq_ignore_ascii_case(start))
        })
}

/// Lines that only one format has.
fn certain(line: &[u8]) -> Option<Format> {
    let first = line.first()?;
    if *first == b'[' && line.ends_with(b"]") && line.len() < 64 {
        let word = line[1..].to_ascii_lowercase();
        return (word.starts_with(b"adblock") || word.starts_with(b"adguard"))
            .then_some(Format::Adguard);
    }
    if *first == b'$' && (line.starts_with(b"$TTL") || line.starts_with(b"$ORIGIN")) {
        return Some(Format::Rpz);
    }
    if line == b"server:" {
        return Some(Format::Unbound);
    }
    let is_comment = matches!(first, b'#' | b'!' | b';');
    (!is_comment && has_word(line, b"SOA")).then_some(Format::Rpz)
}

fn vote(line: &[u8]) -> Option<Format> {
    let first = line.first()?;
    if matches!(first, b'#' | b'!' | b';') {
        return None;
    }
    let token = line
        .split(u8::is_ascii_whitespace)
        .next()
        .unwrap_or_default();
    Some(if dnsmasq::is_setting(line) {
        Format::Dnsmasq
    } else if unbound::is_setting(line) {
        Format::Unbound
    } else if has_word(line, b"CNAME") {
        Format::Rpz
    } else if adguard::is_pattern(line)
        || memchr::memmem::find(line, b"##")
            .is_some_and(|at| at > 0 && !line[at - 1].is_ascii_whitespace())
    {
        Format::Adguard
    } else if token.len() < line.len() && name::address(token).is_some() {
        Format::Hosts
    } else if line.starts_with(b"*.") || line.starts_with(b".") {
        Format::Wildcard
    } else {
        Format::Domains
    })
}

/// Whether a word stands in a line in front of its comment.
fn has_word(line: &[u8], word: &[u8]) -> bool {
    line.split(u8::is_ascii_whitespace)
        .take_while(|token| !matches!(token.first(), Some(b'#' | b';')))
        .any(|token| token.eq_ignore_ascii_case(word))
}

fn by_name(file_name: &str) -> Format {
    let file_name = file_name.to_ascii_lowercase();
    let hints = [
        ("dnsmasq", Format::Dnsmasq),
        ("unbound", Format::Unbound),
        ("rpz", Format::Rpz),
        (".zone", Format::Rpz),
        ("hosts", Format::Hosts),
        ("adguard", Format::Adguard),
        ("wildcard", Format::Wildcard),
    ];
    hints
        .into_iter()
        .find(|(part, _)| file_name.contains(part))
        .map_or(Format::Domains, |(_, format)| format)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_format_is_known_by_its_lines() {
        for (head, format) in [
            (
                "# c\n127.0.0.1 localhost\n0.0.0.0 ads.example\n",
                Format::Hosts,
            ),
            ("::1 ip6-localhost\n", Format::Hosts),
            ("ads.example\ntracker.example\n", Format::Domains),
            ("*.ads.example\n*.tracker.example\n", Format::Wildcard),
            ("! Title: x\n||ads.example^\n", Format::Adguard),
            ("[Adblock Plus]\nads.example\n", Format::Adguard),
            ("@@||ads.example^$important\n", Format::Adguard),
            ("# c\naddress=/ads.example/\n", Format::Dnsmasq),
            ("server=/ads.example/\n", Format::Dnsmasq),
            (
                "server:\n  local-zone: \"ads.example\" always_nxdomain\n",
                Format::Unbound,
            ),
            ("local-zone: ads.example static\n", Format::Unbound),
            (
                "verbosity: 1\ninterface: 0.0.0.0\nlocal-zone: \"ads.example\" static\n",
                Format::Unbound,
            ),
            (
                "no-resolv\ncache-size=1000\nport=5353\nlocal=/ads.example/\n",
                Format::Dnsmasq,
            ),
            (
                "a=1.example\n-ad-1=x\nads.example\nads2.example\n",
                Format::Domains,
            ),
            (
                "$TTL 60\n@ IN SOA localhost. root. (1 2 3 4 5)\n",
                Format::Rpz,
            ),
            ("ads.example CNAME .\n*.ads.example CNAME .\n", Format::Rpz),
        ] {
            assert_eq!(detect(head.as_bytes(), None), format, "{head}");
        }
    }

    #[test]
    fn words_of_a_comment_make_no_policy_zone() {
        for text in [
            "0.0.0.0 a.example # soa record host\n",
            "0.0.0.0 a.example # cname\n0.0.0.0 b.example\t; CNAME\n",
            "0.0.0.0 a.example #cname of b.example\n",
        ] {
            assert_eq!(detect(text.as_bytes(), None), Format::Hosts, "{text}");
        }
        let zone = b"a.example CNAME . ; why\n";
        assert_eq!(detect(zone, None), Format::Rpz);
    }

    #[test]
    fn a_file_without_content_is_known_by_its_name() {
        assert_eq!(detect(b"# nothing\n", Some("my-rpz.txt")), Format::Rpz);
        assert_eq!(detect(b"", Some("HOSTS")), Format::Hosts);
        assert_eq!(detect(b"", None), Format::Domains);
    }

    #[test]
    fn web_pages_are_known() {
        assert!(is_html(b"\r\n <!DOCTYPE html><p>404") && is_html(b"<HTML lang=en>"));
        assert!(!is_html(b"ads.example") && !is_html(b"<"));
    }
}
