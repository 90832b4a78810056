//! Words of a configuration line, with or without quotes.

/// Pieces of a line.
pub(super) type Words<'l> = Vec<&'l [u8]>;

/// The words up to a comment; `None` if a quote is left open.
pub(super) fn words(mut text: &[u8]) -> Option<Words<'_>> {
    let mut words = Vec::with_capacity(2);
    loop {
        text = text.trim_ascii_start();
        let (word, rest) = match text.first() {
            None | Some(b'#') => return Some(words),
            Some(&quote @ (b'"' | b'\'')) => {
                let inner = &text[1..];
                let end = inner.iter().position(|&byte| byte == quote)?;
                (&inner[..end], &inner[end + 1..])
            }
            Some(_) => {
                let end = text
                    .iter()
                    .position(u8::is_ascii_whitespace)
                    .unwrap_or(text.len());
                text.split_at(end)
            }
        };
        words.push(word);
        text = rest;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_hold_words_together() {
        let all = |text: &'static str| words(text.as_bytes());
        assert_eq!(all(" \"a b\" c # d").unwrap(), [&b"a b"[..], b"c"]);
        assert_eq!(all("'a\"b'").unwrap(), [&b"a\"b"[..]]);
        assert_eq!(all("").unwrap(), [&b""[..]; 0]);
        assert_eq!(all("\"a"), None);
    }
}
