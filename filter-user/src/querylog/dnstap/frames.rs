//! Frame Streams: how dnstap payloads follow each other in a file or on a socket.
//!
//! A data frame is its length, in four bytes of network order, and the payload. A
//! control frame begins with a length of zero, then its own length, its type and its
//! fields. A file holds START, data, STOP. On a socket the writer says READY first, the
//! reader ACCEPT, and FINISH after STOP.

use std::io::{self, Read};

/// What the frames hold.
pub const CONTENT_TYPE: &[u8] = b"protobuf:dnstap.Dnstap";
/// Longest control frame that the protocol allows, in bytes.
const CONTROL_MAX_BYTES: u32 = 512;
/// The field of control frames that names the content.
const FIELD_CONTENT_TYPE: u32 = 1;

/// Types of control frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Control {
    /// The reader takes this content.
    Accept = 1,
    /// Data begin.
    Start = 2,
    /// Data end.
    Stop = 3,
    /// The writer has this content.
    Ready = 4,
    /// The reader has everything.
    Finish = 5,
}

/// A control frame; all but STOP and FINISH name the content.
pub fn control(kind: Control) -> Vec<u8> {
    let mut body = (kind as u32).to_be_bytes().to_vec();
    if !matches!(kind, Control::Stop | Control::Finish) {
        body.extend(FIELD_CONTENT_TYPE.to_be_bytes());
        body.extend((CONTENT_TYPE.len() as u32).to_be_bytes());
        body.extend(CONTENT_TYPE);
    }
    let mut frame = 0u32.to_be_bytes().to_vec();
    frame.extend((body.len() as u32).to_be_bytes());
    frame.extend(body);
    frame
}

/// Adds a data frame to `frames`.
pub fn push_data(frames: &mut Vec<u8>, payload: &[u8]) {
    frames.extend((payload.len() as u32).to_be_bytes());
    frames.extend(payload);
}

/// Reads a control frame that must be of type `wanted` and, if it is ACCEPT, take our content.
pub fn expect(input: &mut impl Read, wanted: Control) -> io::Result<()> {
    let escape = word(input)?;
    let len = word(input)?;
    if escape != 0 || !(4..=CONTROL_MAX_BYTES).contains(&len) {
        return Err(odd("no control frame"));
    }
    let mut body = vec![0; len as usize];
    input.read_exact(&mut body)?;
    if body[..4] != (wanted as u32).to_be_bytes() {
        return Err(odd("another control frame than the one that is due"));
    }
    if wanted == Control::Accept && !takes_dnstap(&body[4..]) {
        return Err(odd("the reader does not take dnstap"));
    }
    Ok(())
}

/// Whether the fields of an ACCEPT name our content, or none at all, which means any.
fn takes_dnstap(mut fields: &[u8]) -> bool {
    let is_any = fields.is_empty();
    while let Some(([kind, len], rest)) = two_words(fields) {
        let Some((value, rest)) = rest.split_at_checked(len as usize) else {
            return false;
        };
        if kind == FIELD_CONTENT_TYPE && value == CONTENT_TYPE {
            return true;
        }
        fields = rest;
    }
    is_any
}

fn two_words(bytes: &[u8]) -> Option<([u32; 2], &[u8])> {
    let (first, rest) = bytes.split_first_chunk::<4>()?;
    let (second, rest) = rest.split_first_chunk::<4>()?;
    Some((
        [u32::from_be_bytes(*first), u32::from_be_bytes(*second)],
        rest,
    ))
}

fn word(input: &mut impl Read) -> io::Result<u32> {
    let mut bytes = [0; 4];
    input.read_exact(&mut bytes)?;
    Ok(u32::from_be_bytes(bytes))
}

fn odd(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_frames_read_back_as_what_they_are() {
        for kind in [Control::Accept, Control::Ready, Control::Finish] {
            let frame = control(kind);
            assert!(expect(&mut &frame[..], kind).is_ok(), "{kind:?}");
            assert!(expect(&mut &frame[..], Control::Stop).is_err(), "{kind:?}");
            for cut in 0..frame.len() {
                assert!(expect(&mut &frame[..cut], kind).is_err());
            }
        }
    }

    #[test]
    fn a_reader_of_something_else_is_noticed() {
        let mut frame = control(Control::Accept);
        assert!(expect(&mut &frame[..], Control::Accept).is_ok());
        let last = frame.len() - 1;
        frame[last] ^= 1;
        assert!(expect(&mut &frame[..], Control::Accept).is_err());
        // No field at all: any content.
        let any = [0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 1];
        assert!(expect(&mut &any[..], Control::Accept).is_ok());
    }

    #[test]
    fn lengths_that_no_control_frame_has_are_refused_before_anything_is_read() {
        let huge = [0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff];
        assert!(expect(&mut &huge[..], Control::Accept).is_err());
        let data = [0, 0, 0, 4, 1, 2, 3, 4];
        assert!(expect(&mut &data[..], Control::Accept).is_err());
    }
}
