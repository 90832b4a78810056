//! Where the message is in a frame, and whether it may be answered.

use super::*;
use crate::frame::BufferFrame;

/// A query over IPv4 and UDP between these link addresses.
fn frame(destination: u8, source: u8) -> Vec<u8> {
    let mut frame = vec![0; 14 + 20 + 8 + 17];
    (frame[0], frame[6], frame[12]) = (destination, source, 8);
    let total_len = frame.len() as u8 - 14;
    frame[14..24].copy_from_slice(&[0x45, 0, 0, total_len, 0, 0, 0, 0, 64, 17]);
    frame[26..34].copy_from_slice(&[10, 0, 0, 2, 10, 0, 0, 1]);
    frame[34..40].copy_from_slice(&[0x9c, 0x40, 0, 53, 0, total_len - 20]);
    frame
}

#[test]
fn a_group_on_either_side_is_not_answered() {
    for (destination, source, is_answerable) in [
        (2, 4, true),
        (0xff, 4, false),
        (2, 1, false),
        (0xff, 1, false),
    ] {
        let mut frame = frame(destination, source);
        let len = frame.len();
        let path = locate(&BufferFrame::new(&mut frame, len)).unwrap();
        assert_eq!(path.is_answerable, is_answerable, "{destination} {source}");
    }
}

#[test]
fn a_packet_that_ends_with_its_header_is_judged_by_what_follows_it() {
    let mut frame = frame(2, 4);
    // The length says that nothing follows; the port of what does is none that matters.
    (frame[17], frame[37]) = (20, 80);
    let len = frame.len();
    let found = locate(&BufferFrame::new(&mut frame, len));
    assert_eq!(found.err(), Some(Reason::OtherPort));
    frame[17] = 19;
    let found = locate(&BufferFrame::new(&mut frame, len));
    assert_eq!(found.err(), Some(Reason::BadFrame));
}
