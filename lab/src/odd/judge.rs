//! Whether what came back has data of a blocked name.
//!
//! Nothing is parsed, so that nothing can be hidden from it: every record of a blocked name holds bytes
//! that nothing else in the lab holds, and no query does.

use super::names::{LEAK_V4, LEAK_V6, LEAK_WORD};

/// Whether these bytes of an answer have data of a blocked name.
pub(super) fn has_blocked_data(answer: &[u8]) -> bool {
    let [a, b, c, d] = LEAK_V4.octets();
    // RDLENGTH and the address.
    let address = [0, 4, a, b, c, d];
    has(answer, &address) || has(answer, &LEAK_V6.octets()) || has(answer, LEAK_WORD.as_bytes())
}

fn has(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|window| window == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::odd::{KIND_COUNT, Query};

    #[test]
    fn data_is_found_wherever_it_lies() {
        let address = [&[0xff; 3][..], &[0, 4, 198, 18, 66, 66, 0]].concat();
        assert!(has_blocked_data(&address));
        assert!(!has_blocked_data(&address[..8]));
        assert!(has_blocked_data(b"\x06xleakx"));
    }

    #[test]
    fn no_query_holds_what_data_holds() {
        for number in 0..KIND_COUNT as u32 * 50 {
            assert!(
                !has_blocked_data(Query::nth(3, number).message()),
                "{number}"
            );
        }
    }
}
