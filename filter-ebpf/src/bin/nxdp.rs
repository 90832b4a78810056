//! The program that is attached to an interface.

#![no_std]
#![no_main]
#![allow(
    missing_docs,
    clippy::needless_pass_by_value,
    reason = "the attribute of a program drops its documentation and wants its context by value"
)]

use aya_ebpf::{macros::xdp, programs::XdpContext};

/// Judges a frame as the driver hands it over.
///
/// Inlined into what the attribute makes: Linux 6.1 allows the stacks of nested calls 512 bytes together.
#[xdp]
#[inline(always)]
pub fn nxdp(ctx: XdpContext) -> u32 {
    filter_ebpf::run(&ctx)
}
