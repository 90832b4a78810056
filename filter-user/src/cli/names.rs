//! Names as people write them on a command line.

use std::net::IpAddr;

use anyhow::{anyhow, bail};
use filter_common::name::Name;
use filter_lists::list;

/// Reads a name; `.` is the root.
pub(super) fn parse(text: &str) -> anyhow::Result<Name> {
    if text == "." {
        return Ok(Name::ROOT);
    }
    let address = text.split('/').next().unwrap_or(text);
    if address.parse::<IpAddr>().is_ok() {
        return Err(no_address(text));
    }
    list::name(text).map_err(|reason| anyhow!("read name '{text}': {reason}"))
}

/// A name out of a file, unless it is an address: that would be taken for a name that nobody asks for.
pub(super) fn refuse_address(name: Name) -> anyhow::Result<Name> {
    let text = name.to_string();
    if text.parse::<IpAddr>().is_ok() {
        bail!(no_address(&text));
    }
    Ok(name)
}

fn no_address(text: &str) -> anyhow::Error {
    anyhow!(
        "'{text}' is an address, and nxdp filters by the names that are asked for: write the name; `--client {text}` \
         names a client"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_no_name_and_the_error_says_what_is() {
        for text in ["192.0.2.1", "192.0.2.0/24", "2001:db8::1", "::/0"] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains("write the name"), "{error}");
        }
        for text in [
            "1.2.0.192.in-addr.arpa",
            "192.0.2.1.example",
            "cafe.example",
        ] {
            assert_eq!(parse(text).unwrap().to_string(), text);
        }
        let name = Name::from_text(b"192.0.2.1").unwrap();
        assert!(refuse_address(name).is_err());
    }
}
