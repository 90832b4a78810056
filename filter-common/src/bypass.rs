//! Encrypted transports, by which names go past the filter.
//!
//! A policy may refuse port 853 everywhere and HTTPS to listed resolvers. TCP is
//! reset at once, so that a client falls back to port 53 without waiting;
//! datagrams are dropped, and so is what cannot be answered.

use crate::{
    address::SourceAddress,
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
            || steps.is_resolver(&scratch.client.destination))
        && !overrides::is_client_paused(steps, scratch, control);
    is_refused.then_some(flags)
}
