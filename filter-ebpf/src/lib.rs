//! The XDP program's body: hands a frame to `filter-common` and does what comes back.
//!
//! Owns the maps, raw packet memory and the functions that the verifier checks
//! one by one. It decides nothing: every decision is made in `filter-common`.

#![no_std]
#![allow(
    unsafe_code,
    reason = "packet memory and maps are raw pointers in the kernel; each use proves itself"
)]

mod maps;
mod packet;
pub mod sections;
mod stages;

use aya_ebpf::{bindings::xdp_action, programs::XdpContext};
use filter_common::{
    filter,
    reason::{Action, Reason},
};

use crate::{packet::Packet, stages::Kernel};

/// Judges the frame of `ctx`, answers it in place if so decided, and counts it.
#[inline(always)]
pub fn run(ctx: &XdpContext) -> u32 {
    let mut packet = Packet::new(ctx);
    packet.touch();
    conclude(ctx, filter::filter(&mut packet, Kernel::new))
}

/// Counts the frame of `ctx` and tells what becomes of it.
#[inline(always)]
fn conclude(ctx: &XdpContext, reason: Reason) -> u32 {
    maps::count(reason, ctx.ingress_ifindex() as u32);
    #[cfg(feature = "log")]
    aya_log_ebpf::info!(ctx, "{}", reason.name());
    match reason.action() {
        Action::Pass => xdp_action::XDP_PASS,
        Action::Drop => xdp_action::XDP_DROP,
        Action::Transmit => xdp_action::XDP_TX,
    }
}

/// Loops, so that the verifier refuses a program that kept a path to a panic.
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo) -> ! {
    loop {}
}

#[cfg(target_arch = "bpf")]
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
