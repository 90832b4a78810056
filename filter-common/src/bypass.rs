//! Encrypted transports, by which names go past the filter.
//!
//! A policy may refuse port 853 everywhere and HTTPS to listed resolvers. TCP is
//! reset at once, so that a client falls back to port 53 without waiting;
//! datagrams are dropped, and so is what cannot be answered.

use crate::{
    address::{Address, SourceAddress, mapped},
    client,
    layout::{CONTROL_BY_ANY, Control, POLICY_OBSERVE, POLICY_REFUSE_BYPASS},
    net::{ENCRYPTED_DNS_PORT, Path},
    overrides,
    reason::Reason,
    scratch::Scratch,
    steps::Steps,
    tcp,
};

/// What becomes of a packet to one of [`crate::net::BYPASS_PORTS`], whose client is in `scratch`.
///
/// If it is answerable, its headers are there too, and become those of a reset if it is one.
#[inline(always)]
pub fn judge<S: Steps + ?Sized>(steps: &S, scratch: &mut Scratch, path: &Path) -> Reason {
    let Some(flags) = refused_by(steps, scratch, path) else {
        return Reason::OtherPort;
    };
    if flags & POLICY_OBSERVE != 0 {
        return Reason::BypassObserved;
    }
    if !path.is_answerable || !path.is_tcp || !tcp::can_be_refused(scratch, path) {
        return Reason::BypassDropped;
    }
    match client::admit(steps, scratch, SourceAddress::of(&scratch.client.source)) {
        Ok(()) => {
            tcp::refuse(scratch, path);
            Reason::BypassReset
        }
        Err(_) => Reason::BypassDropped,
    }
}

/// The flags of the policy that refuses a packet, if it does.
#[inline(always)]
fn refused_by<S: Steps + ?Sized>(steps: &S, scratch: &mut Scratch, path: &Path) -> Option<u32> {
    let control = steps.record(0).map(Control::of)?;
    let number = if scratch.flags & CONTROL_BY_ANY != 0 {
        steps.select_policy(scratch, scratch.flags)
    } else {
        0
    };
    let policy = steps.policy(number)?;
    let flags = policy.flags;
    let is_paused = policy.paused_until_ns != 0 && steps.now_ns() < policy.paused_until_ns;
    let is_refused = flags & POLICY_REFUSE_BYPASS != 0
        && !is_paused
        && (path.destination_port == ENCRYPTED_DNS_PORT
            || is_resolver(steps, &scratch.client.destination))
        && !overrides::is_client_paused(steps, scratch, control);
    is_refused.then_some(flags)
}

/// Whether this is the address of a listed resolver, or stands for it in an IPv6-only network.
#[inline(always)]
fn is_resolver<S: Steps + ?Sized>(steps: &S, address: &Address) -> bool {
    steps.is_resolver(address)
        || translated(address).is_some_and(|address| steps.is_resolver(&address))
}

/// The IPv4 address that an address translates to (NAT64).
///
/// RFC 6052 §2.1: 64:ff9b::/96. RFC 8215 §4: prefixes out of 64:ff9b:1::/48, of which those of 96 bits
/// are known here; in shorter ones the address is elsewhere.
#[inline(always)]
fn translated(address: &Address) -> Option<Address> {
    let SourceAddress { high, low } = SourceAddress::of(address);
    let is_well_known = high == 0x0064_ff9b << 32 && low >> 32 == 0;
    let is_local = high >> 16 == 0x0064_ff9b_0001;
    (is_well_known || is_local).then(|| mapped((low as u32).to_be_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        layout::{PolicyRecord, Record},
        world::World,
    };

    #[test]
    fn addresses_behind_a_translator_are_those_of_their_last_bytes() {
        let address = |text: &str| text.parse::<std::net::Ipv6Addr>().unwrap().octets();
        let eights = Some(mapped([8, 8, 8, 8]));
        assert_eq!(translated(&address("64:ff9b::808:808")), eights);
        assert_eq!(translated(&address("64:ff9b:1:fffe::808:808")), eights);
        assert_eq!(translated(&address("64:ff9b:2::808:808")), None);
        assert_eq!(translated(&address("64:ff9b::1:808:808")), None);
        assert_eq!(translated(&address("2001:db8::808:808")), None);
    }

    #[test]
    fn a_policy_refuses_bypasses_unless_it_is_paused() {
        let path = Path {
            ip_at: 14,
            is_ipv6: false,
            is_pppoe: false,
            vlan: 0,
            is_tcp: false,
            transport_at: 34,
            transport_len: 8,
            payload_len: 0,
            source_port: 40_000,
            destination_port: ENCRYPTED_DNS_PORT,
            is_answerable: true,
            odd: 0,
        };
        for (flags, paused_until_ns, now, is_refused) in [
            (POLICY_REFUSE_BYPASS, 0, 5, true),
            (POLICY_REFUSE_BYPASS, 10, 9, false),
            (POLICY_REFUSE_BYPASS, 10, 10, true),
            (POLICY_REFUSE_BYPASS, 10, 11, true),
            (!POLICY_REFUSE_BYPASS, 0, 5, false),
        ] {
            let policy = PolicyRecord {
                flags,
                paused_until_ns,
                ..PolicyRecord::default()
            };
            let world = World {
                records: vec![Record::default()],
                policies: [(0, policy)].into(),
                ..World::default()
            };
            world.now_ns.set(now);
            let mut scratch: Scratch = bytemuck::Zeroable::zeroed();
            let refused = refused_by(&world, &mut scratch, &path);
            assert_eq!(refused, is_refused.then_some(flags), "{now}");
        }
    }
}
