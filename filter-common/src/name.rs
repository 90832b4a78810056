//! Canonical names: uncompressed wire format in lower case.

use core::fmt;

/// Longest name on the wire, root label included (RFC 1035 §2.3.4).
pub const NAME_MAX_BYTES: usize = 255;
/// Longest label (RFC 1035 §2.3.4).
pub const LABEL_MAX_BYTES: usize = 63;

/// A domain name as the table knows it: wire format, lower case, root label included.
#[derive(Clone, Copy)]
pub struct Name {
    len: u8,
    bytes: [u8; NAME_MAX_BYTES],
}

/// Why a text is not a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameError {
    /// Nothing there.
    Empty,
    /// Two dots in a row, or a dot at the start.
    EmptyLabel,
    /// A label of more than 63 bytes.
    LabelTooLong,
    /// More than 255 bytes on the wire.
    NameTooLong,
    /// A byte that names in lists do not have, with its position.
    BadByte(u8),
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("empty name"),
            Self::EmptyLabel => f.write_str("empty label"),
            Self::LabelTooLong => f.write_str("label longer than 63 bytes"),
            Self::NameTooLong => f.write_str("name longer than 253 characters"),
            Self::BadByte(byte) => {
                write!(f, "character '{}' cannot be in a name", byte.escape_ascii())
            }
        }
    }
}

impl core::error::Error for NameError {}

impl Name {
    /// The root.
    pub const ROOT: Self = Self {
        len: 1,
        bytes: [0; NAME_MAX_BYTES],
    };

    /// Reads a name as lists write it: letters, digits, `-` and `_` between dots.
    ///
    /// A trailing dot is accepted. Letters become lower case. Non-ASCII text is
    /// refused here: turn it into A-labels first (RFC 5891).
    pub fn from_text(text: &[u8]) -> Result<Self, NameError> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        let text = text.strip_suffix(b".").unwrap_or(text);
        if text.is_empty() {
            return Err(NameError::Empty);
        }
        // Each dot becomes a length, one more length goes first, the root label last.
        if text.len() + 2 > NAME_MAX_BYTES {
            return Err(NameError::NameTooLong);
        }
        let mut bytes = [0; NAME_MAX_BYTES];
        let mut start = 0;
        for (i, &byte) in text.iter().enumerate() {
            if byte == b'.' {
                bytes[start] = label_len(i - start)?;
                start = i + 1;
            } else if allowed(byte) {
                bytes[i + 1] = byte.to_ascii_lowercase();
            } else {
                return Err(NameError::BadByte(byte));
            }
        }
        bytes[start] = label_len(text.len() - start)?;
        Ok(Self {
            len: (text.len() + 2) as u8,
            bytes,
        })
    }

    /// Takes labels in wire format, root label included; letters become lower case.
    pub fn from_wire(wire: &[u8]) -> Result<Self, NameError> {
        if wire.len() > NAME_MAX_BYTES {
            return Err(NameError::NameTooLong);
        }
        let mut name = Self {
            len: wire.len() as u8,
            bytes: [0; NAME_MAX_BYTES],
        };
        name.bytes[..wire.len()].copy_from_slice(wire);
        let mut at = 0;
        loop {
            let len = usize::from(*wire.get(at).ok_or(NameError::Empty)?);
            if len > LABEL_MAX_BYTES {
                return Err(NameError::LabelTooLong);
            }
            at += 1 + len;
            if len == 0 {
                break;
            }
        }
        if at != wire.len() {
            return Err(NameError::EmptyLabel);
        }
        // Lengths are below 64 and no letters.
        name.bytes.make_ascii_lowercase();
        Ok(name)
    }

    /// Wire format, root label included.
    pub fn as_wire(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    /// The labels from left to right, without the root label.
    pub fn labels(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = self.as_wire();
        core::iter::from_fn(move || {
            let (&len, tail) = rest.split_first()?;
            if len == 0 {
                return None;
            }
            let (label, tail) = tail.split_at(usize::from(len));
            rest = tail;
            Some(label)
        })
    }

    /// Number of labels, the root label not counted.
    pub fn label_count(&self) -> usize {
        self.labels().count()
    }

    /// The name without its first label; `None` for the root.
    pub fn parent(&self) -> Option<Self> {
        let first = usize::from(self.bytes[0]);
        if first == 0 {
            return None;
        }
        Self::from_wire(&self.as_wire()[first + 1..]).ok()
    }

    /// Whether this name is `other` or below it.
    pub fn is_at_or_below(&self, other: &Self) -> bool {
        let mut rest = self.as_wire();
        while rest.len() > other.as_wire().len() {
            rest = &rest[usize::from(rest[0]) + 1..];
        }
        rest == other.as_wire()
    }
}

fn label_len(len: usize) -> Result<u8, NameError> {
    match len {
        0 => Err(NameError::EmptyLabel),
        1..=LABEL_MAX_BYTES => Ok(len as u8),
        _ => Err(NameError::LabelTooLong),
    }
}

impl PartialEq for Name {
    fn eq(&self, other: &Self) -> bool {
        self.as_wire() == other.as_wire()
    }
}

impl Eq for Name {}

impl core::hash::Hash for Name {
    fn hash<H: core::hash::Hasher>(&self, state: &mut H) {
        self.as_wire().hash(state);
    }
}

impl fmt::Display for Name {
    /// Presentation format without the trailing dot; bytes that need it are
    /// escaped as in RFC 1035 §5.1.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.len <= 1 {
            return f.write_str(".");
        }
        for (i, label) in self.labels().enumerate() {
            if i > 0 {
                f.write_str(".")?;
            }
            for &byte in label {
                match byte {
                    b'.' | b'\\' => write!(f, "\\{}", byte as char)?,
                    0x21..=0x7e => write!(f, "{}", byte as char)?,
                    _ => write!(f, "\\{byte:03}")?,
                }
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::{format, string::ToString, vec, vec::Vec};

    use super::*;

    #[test]
    fn text_becomes_lower_case_wire_format() {
        let name = Name::from_text(b"wWw.Example-1_x.COM.").unwrap();
        assert_eq!(name.as_wire(), b"\x03www\x0bexample-1_x\x03com\0");
        assert_eq!(name.to_string(), "www.example-1_x.com");
        assert_eq!(name.label_count(), 3);
    }

    #[test]
    fn what_is_no_name_is_refused_with_the_reason() {
        let label64 = "a".repeat(64);
        let name254 = format!("{}a", "ab.".repeat(85));
        for (text, error) in [
            ("", NameError::Empty),
            (".", NameError::Empty),
            ("a..b", NameError::EmptyLabel),
            (".a", NameError::EmptyLabel),
            ("a b", NameError::BadByte(b' ')),
            ("a/b", NameError::BadByte(b'/')),
            ("ä.de", NameError::BadByte(0xc3)),
            (&label64, NameError::LabelTooLong),
            (&name254, NameError::NameTooLong),
        ] {
            assert_eq!(Name::from_text(text.as_bytes()), Err(error), "{text}");
        }
    }

    #[test]
    fn the_longest_names_are_names() {
        let labels127 = vec!["a"; 127].join(".");
        assert_eq!(
            Name::from_text(labels127.as_bytes()).unwrap().label_count(),
            127
        );
        let name253: Vec<_> = vec![
            "a".repeat(63),
            "b".repeat(63),
            "c".repeat(63),
            "d".repeat(61),
        ];
        let name = Name::from_text(name253.join(".").as_bytes()).unwrap();
        assert_eq!(name.as_wire().len(), 255);
        assert_eq!(Name::from_wire(name.as_wire()), Ok(name));
    }

    #[test]
    fn parents_and_descendants() {
        let name = Name::from_text(b"a.b.c").unwrap();
        let parent = name.parent().unwrap();
        assert_eq!(parent.to_string(), "b.c");
        assert!(name.is_at_or_below(&parent) && name.is_at_or_below(&name));
        assert!(!parent.is_at_or_below(&name));
        assert!(!Name::from_text(b"xb.c").unwrap().is_at_or_below(&parent));
        assert!(name.is_at_or_below(&Name::ROOT));
        assert_eq!(Name::ROOT.parent(), None);
    }

    #[test]
    fn an_error_says_what_is_wrong_with_a_name() {
        for (error, text) in [
            (NameError::Empty, "empty name"),
            (NameError::EmptyLabel, "empty label"),
            (NameError::LabelTooLong, "label longer than 63 bytes"),
            (NameError::NameTooLong, "name longer than 253 characters"),
            (
                NameError::BadByte(0xc3),
                "character '\\xc3' cannot be in a name",
            ),
        ] {
            assert_eq!(error.to_string(), text);
        }
    }
}
