//! The program that is attached to an interface.

#![no_std]
#![no_main]
#![allow(
    missing_docs,
    reason = "the attribute of a program drops its documentation"
)]

use aya_ebpf::{macros::xdp, programs::XdpContext};

/// Judges a frame as the driver hands it over.
#[xdp]
pub fn nxdp(ctx: XdpContext) -> u32 {
    filter_ebpf::run(&ctx)
}
