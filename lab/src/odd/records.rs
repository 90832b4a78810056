//! Records that do not belong into a query.

use super::draw::Draw;
use crate::cases::{Message, wire};

/// Name compression (RFC 1035 §4.1.4): the name at position 12.
const QNAME: [u8; 2] = [0xc0, 12];
const TYPE_SIG: u16 = 24;
const TYPE_TSIG: u16 = 250;
const CLASS_ANY: u16 = 255;

/// A record in wire format.
pub(super) fn record(owner: &[u8], rtype: u16, class: u16, ttl: u32, data: &[u8]) -> Vec<u8> {
    let mut record = owner.to_vec();
    record.extend(rtype.to_be_bytes());
    record.extend(class.to_be_bytes());
    record.extend(ttl.to_be_bytes());
    record.extend((data.len() as u16).to_be_bytes());
    record.extend(data);
    record
}

/// A record of some type for some owner.
pub(super) fn any(draw: &mut Draw) -> Vec<u8> {
    let owner = match draw.below(4) {
        0 => vec![0],
        1 => QNAME.to_vec(),
        2 => draw.clean(),
        _ => wire("other.lab.example"),
    };
    let data = match draw.below(4) {
        0 => Vec::new(),
        1 => {
            let len = draw.below(40);
            draw.bytes(len)
        }
        2 => QNAME.to_vec(),
        _ => vec![192, 0, 2, 1],
    };
    let (rtype, class) = (
        draw.choice(&[1, 2, 5, 6, 16, 28, 39, 41, 46, 65, 65_280]),
        draw.choice(&[1, 1, 3, 254, 255]),
    );
    record(&owner, rtype, class, 60, &data)
}

/// An address record for some owner.
pub(super) fn address(draw: &mut Draw) -> Vec<u8> {
    let owner = match draw.below(3) {
        0 => vec![0],
        1 => QNAME.to_vec(),
        _ => draw.clean(),
    };
    record(&owner, 1, 1, 60, &[192, 0, 2, 1])
}

/// A transaction signature (RFC 8945 §4.2) that nobody knows the key of, or one that is cut.
pub(super) fn tsig(draw: &mut Draw) -> Vec<u8> {
    let mut data = wire("hmac-sha256");
    // Time, fudge, size of the signature.
    data.extend([0, 0, 0x69, 0, 0, 0, 1, 44, 0, 32]);
    data.extend(draw.bytes(32));
    data.extend([0xca, 0xfe, 0, 0, 0, 0]);
    if draw.once_in(3) {
        data.truncate(draw.below(data.len()));
    }
    let owner = match draw.below(3) {
        0 => vec![0],
        1 => wire("key.lab.example"),
        _ => QNAME.to_vec(),
    };
    record(&owner, TYPE_TSIG, CLASS_ANY, 0, &data)
}

/// A signature by a public key (RFC 2931 §3).
pub(super) fn sig0(draw: &mut Draw) -> Vec<u8> {
    let mut data = vec![0, 0, 13, 0, 0, 0, 0, 0];
    data.extend([0x7f, 0, 0, 0, 0x60, 0, 0, 0, 0x12, 0x34]);
    data.extend(wire("key.lab.example"));
    data.extend(draw.bytes(64));
    record(&[0], TYPE_SIG, CLASS_ANY, 0, &data)
}

/// Adds a record to one of the three sections; those of later sections must not be there yet.
pub(super) fn push(message: &mut Message, section: usize, record: &[u8]) {
    message.counts[section] = message.counts[section].wrapping_add(1);
    message.rest.extend(record);
}
