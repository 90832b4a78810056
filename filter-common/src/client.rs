//! Who may be answered: an answer to a forged source would hit a third party.
//!
//! Addresses that are not routed on the Internet are clients always; others
//! must be in a prefix that the operator lists, or that is on the attached
//! interface, on what it is a port of, or on what is stacked on it.

use crate::{
    address::SourceAddress,
    layout::{
        CLIENT_ANSWERED, CONTROL_STRANGERS_PASS, CONTROL_UNTAGGED, Control, INTERFACE_UNTAGGED,
    },
    limit::{self, Admission},
    net::Path,
    reason::Reason,
    scratch::{HEADERS_MAX_BYTES, Scratch, header_bytes},
    steps::Steps,
};

/// The sender of the query whose headers are in `scratch`.
#[inline(always)]
pub fn source(scratch: &Scratch, path: &Path) -> SourceAddress {
    let ip_at = (HEADERS_MAX_BYTES + path.ip_at).wrapping_sub(path.dns_at());
    if path.is_ipv6 {
        SourceAddress::of(&header_bytes(&scratch.bytes, ip_at.wrapping_add(8)))
    } else {
        SourceAddress::of_ipv4(header_bytes(&scratch.bytes, ip_at.wrapping_add(12)))
    }
}

/// Whether `source` may be sent an answer now; [`Reason::Slipped`] asks for a truncated one.
///
/// The client in `scratch` is looked at if its flags have [`CONTROL_UNTAGGED`].
#[inline(always)]
pub fn admit<S: Steps + ?Sized>(
    steps: &S,
    scratch: &Scratch,
    source: SourceAddress,
) -> Result<(), Reason> {
    if !is_client(steps, source) {
        return Err(if scratch.flags & CONTROL_STRANGERS_PASS != 0 {
            Reason::NotClient
        } else {
            Reason::Stranger
        });
    }
    let control = steps
        .record(0)
        .map(Control::of)
        .ok_or(Reason::Inconsistent)?;
    if scratch.flags & CONTROL_UNTAGGED != 0
        && steps.interface(scratch.client.interface).0 & INTERFACE_UNTAGGED != 0
    {
        return Err(Reason::Untagged);
    }
    match limit::spend(steps, control, source) {
        Admission::Send => Ok(()),
        Admission::Slip => Err(Reason::Slipped),
        Admission::Drop => Err(Reason::RateLimited),
    }
}

/// Whether an answer to `source` hits nobody who did not ask.
#[inline(always)]
fn is_client<S: Steps + ?Sized>(steps: &S, source: SourceAddress) -> bool {
    if is_private(source) {
        return true;
    }
    let address = source.address();
    steps.client(&address).0 & CLIENT_ANSWERED != 0 || steps.is_on_link(&address)
}

/// Whether an address is not routed on the Internet: always one of a client.
#[inline(always)]
pub const fn is_private(source: SourceAddress) -> bool {
    match source.ipv4() {
        Some(address) => is_private_ipv4(address),
        None => is_private_ipv6(source.high),
    }
}

/// RFC 1918, RFC 6598 (shared address space) and RFC 3927 (link-local).
#[inline(always)]
const fn is_private_ipv4(address: u32) -> bool {
    address >> 24 == 10
        || address >> 16 == 192 << 8 | 168
        || address >> 20 == 172 << 4 | 1
        || address >> 22 == 100 << 2 | 1
        || address >> 16 == 169 << 8 | 254
}

/// RFC 4193 (unique local) and RFC 4291 §2.5.6 (link-local), by the first eight bytes.
#[inline(always)]
const fn is_private_ipv6(high: u64) -> bool {
    high >> 57 == 0xfc >> 1 || high >> 54 == 0xfe80 >> 6
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        address::{Address, mapped},
        direct::Direct,
        layout::{ClientRecord, PolicyRecord, Record},
        maps::Maps,
        table::Records,
    };

    #[test]
    fn private_ranges_end_where_their_rfcs_say() {
        for (address, private) in [
            ([9, 255, 255, 255], false),
            ([10, 0, 0, 0], true),
            ([11, 0, 0, 0], false),
            ([100, 63, 255, 255], false),
            ([100, 64, 0, 0], true),
            ([100, 127, 255, 255], true),
            ([100, 128, 0, 0], false),
            ([169, 254, 1, 1], true),
            ([172, 15, 0, 0], false),
            ([172, 16, 0, 0], true),
            ([172, 31, 255, 255], true),
            ([172, 32, 0, 0], false),
            ([192, 168, 0, 0], true),
            ([192, 169, 0, 0], false),
            ([8, 8, 8, 8], false),
        ] {
            let source = SourceAddress::of(&mapped(address));
            assert_eq!(source, SourceAddress::of_ipv4(address));
            assert_eq!(source.address(), mapped(address));
            assert_eq!(is_private(source), private, "{address:?}");
        }
        for (start, private) in [
            ([0xfb, 0xff], false),
            ([0xfc, 0], true),
            ([0xfd, 0xff], true),
            ([0xfe, 0x7f], false),
            ([0xfe, 0x80], true),
            ([0xfe, 0xbf], true),
            ([0xfe, 0xc0], false),
            ([0x20, 0x01], false),
        ] {
            let mut address = [0; 16];
            address[..2].copy_from_slice(&start);
            assert_eq!(
                is_private(SourceAddress::of(&address)),
                private,
                "{start:?}"
            );
        }
    }
    /// One client prefix with this record covers every address.
    struct Everybody(ClientRecord);

    impl Records for Everybody {
        fn record(&self, _index: u32) -> Option<&Record> {
            None
        }
    }

    impl Maps for Everybody {
        fn policy(&self, _number: u32) -> Option<&PolicyRecord> {
            None
        }

        fn client(&self, _address: &Address) -> ClientRecord {
            self.0
        }
    }

    impl Direct for Everybody {}

    #[test]
    fn a_client_that_has_a_policy_is_no_client_to_be_answered_by_that() {
        let scratch: Scratch = bytemuck::Zeroable::zeroed();
        let far = SourceAddress::of(&mapped([8, 8, 8, 8]));
        let admitted = |record| admit(&Everybody(ClientRecord(record)), &scratch, far);
        assert_eq!(admitted(3), Err(Reason::Stranger));
        // It is one, and what comes next is that there is no control record.
        assert_eq!(admitted(3 | CLIENT_ANSWERED), Err(Reason::Inconsistent));
        let near = SourceAddress::of(&mapped([10, 0, 0, 1]));
        let admitted = admit(&Everybody(ClientRecord(0)), &scratch, near);
        assert_eq!(admitted, Err(Reason::Inconsistent));
        // Numbers of policies are in front of the flag.
        assert!(CLIENT_ANSWERED > 0xffff && CLIENT_ANSWERED.is_power_of_two());
    }
    #[test]
    fn the_source_is_read_where_the_headers_end_in_front_of_the_message() {
        let path = |is_ipv6, ip_len: usize| Path {
            ip_at: 14,
            is_ipv6,
            is_pppoe: false,
            vlan: 0,
            is_tcp: false,
            transport_at: 14 + ip_len,
            transport_len: 8,
            payload_len: 0,
            source_port: 0,
            destination_port: 53,
            is_answerable: true,
            odd: 0,
        };
        let mut scratch: Scratch = bytemuck::Zeroable::zeroed();
        for (at, byte) in scratch.bytes.iter_mut().enumerate() {
            *byte = at as u8;
        }
        // Behind the address: the destination, and UDP.
        let last = (HEADERS_MAX_BYTES - 8 - 4) as u8;
        let v4 = mapped([last - 4, last - 3, last - 2, last - 1]);
        let found = source(&scratch, &path(false, 20));
        assert_eq!(found, SourceAddress::of(&v4));
        let first = (HEADERS_MAX_BYTES - 8 - 32) as u8;
        let v6: Address = std::array::from_fn(|i| first + i as u8);
        assert_eq!(source(&scratch, &path(true, 40)), SourceAddress::of(&v6));
    }

    #[test]
    fn where_tags_are_taken_off_nobody_is_answered_if_the_flags_say_that_it_happens() {
        let near = SourceAddress::of(&mapped([10, 0, 0, 1]));
        for (flags, interface, admitted) in [
            (0, INTERFACE_UNTAGGED, Ok(())),
            (CONTROL_UNTAGGED, 0, Ok(())),
            (CONTROL_UNTAGGED, !INTERFACE_UNTAGGED, Ok(())),
            (CONTROL_UNTAGGED, INTERFACE_UNTAGGED, Err(Reason::Untagged)),
        ] {
            let mut world = crate::world::World {
                records: vec![Record::default()],
                ..Default::default()
            };
            world.interfaces.insert(2, interface);
            let mut scratch: Scratch = bytemuck::Zeroable::zeroed();
            (scratch.flags, scratch.client.interface) = (flags, 2);
            assert_eq!(admit(&world, &scratch, near), admitted, "{flags}");
        }
    }

    #[test]
    fn a_stranger_is_told_apart_as_the_flags_say() {
        let far = SourceAddress::of(&mapped([8, 8, 8, 8]));
        let world = crate::world::World::default();
        for (flags, reason) in [
            (0, Reason::Stranger),
            (CONTROL_UNTAGGED, Reason::Stranger),
            (CONTROL_STRANGERS_PASS, Reason::NotClient),
        ] {
            let mut scratch: Scratch = bytemuck::Zeroable::zeroed();
            scratch.flags = flags;
            assert_eq!(admit(&world, &scratch, far), Err(reason), "{flags}");
        }
    }
}
