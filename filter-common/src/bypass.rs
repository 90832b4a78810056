//! Encrypted transports, by which names go past the filter.
//!
//! A policy may refuse port 853 everywhere and HTTPS to listed resolvers. TCP is
//! reset at once, so that a client falls back to port 53 without waiting;
//! datagrams are dropped.

use crate::{
    client::{self, Source},
    layout::{CONTROL_BY_ANY, Control, POLICY_REFUSE_BYPASS},
    net::{ENCRYPTED_DNS_PORT, Path},
    overlay,
    reason::Reason,
    scratch::Scratch,
    tcp,
    verdict::Steps,
};

/// What becomes of a packet to one of [`crate::net::BYPASS_PORTS`], whose headers are in
/// `scratch`, and become those of a reset if it is one.
#[inline(always)]
pub fn judge<S: Steps + ?Sized>(steps: &S, scratch: &mut Scratch, path: &Path) -> Reason {
    if !is_refused(steps, scratch, path) {
        return Reason::OtherPort;
    }
    if !path.is_tcp || !tcp::can_be_refused(scratch, path) {
        return Reason::BypassDropped;
    }
    match client::admit(steps, scratch, Source::of(&scratch.asker.source)) {
        Ok(()) => {
            tcp::refuse(scratch, path);
            Reason::BypassReset
        }
        Err(_) => Reason::BypassDropped,
    }
}

#[inline(always)]
fn is_refused<S: Steps + ?Sized>(steps: &S, scratch: &mut Scratch, path: &Path) -> bool {
    let Some(control) = steps.record(0).map(Control::of) else {
        return false;
    };
    let number = if control.flags & CONTROL_BY_ANY != 0 {
        steps.select_policy(scratch, control.flags)
    } else {
        0
    };
    let Some(policy) = steps.policy(number) else {
        return false;
    };
    let is_paused = policy.paused_until_ns != 0 && steps.now_ns() < policy.paused_until_ns;
    policy.flags & POLICY_REFUSE_BYPASS != 0
        && !is_paused
        && (path.destination_port == ENCRYPTED_DNS_PORT
            || steps.is_resolver(&scratch.asker.destination))
        && !overlay::is_client_paused(steps, scratch, control)
}
