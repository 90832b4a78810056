//! Programs to measure against, and the filter in a form that can be repeated.
//!
//! BPF_PROG_TEST_RUN hands a program its own output again, so a program that
//! answers would see its answer the second time. `restore_filter` puts the
//! query back first; `restore` does only that, to be subtracted.

#![no_std]
#![no_main]
#![allow(
    missing_docs,
    clippy::needless_pass_by_value,
    reason = "the attribute of a program drops its documentation and wants its context by value"
)]
#![allow(
    unsafe_code,
    reason = "as in the library: packet memory and maps are raw pointers"
)]

use aya_ebpf::{
    EbpfContext as _,
    bindings::xdp_action,
    helpers::generated::{bpf_xdp_adjust_head, bpf_xdp_store_bytes},
    macros::{map, xdp},
    maps::Array,
    programs::XdpContext,
};

/// Longest frame that can be put back.
const FRAME_MAX_BYTES: usize = 512;

/// The frame to put back: its length, then its bytes.
#[repr(C)]
pub struct Original {
    len: u32,
    bytes: [u8; FRAME_MAX_BYTES],
}

#[map]
static ORIGINAL: Array<Original> = Array::with_max_entries(1, 0);

/// Does nothing: the floor of every measurement.
#[xdp]
pub fn floor(_ctx: XdpContext) -> u32 {
    xdp_action::XDP_PASS
}

/// Frees every frame.
#[xdp]
pub fn discard(_ctx: XdpContext) -> u32 {
    xdp_action::XDP_DROP
}

/// Sends every frame back with its hardware addresses swapped.
#[xdp]
pub fn reflect(ctx: XdpContext) -> u32 {
    if ctx.data() + 12 > ctx.data_end() {
        return xdp_action::XDP_DROP;
    }
    let macs = ctx.data() as *mut [u8; 12];
    // SAFETY: 12 bytes are there, as just compared.
    let [a, b, c, d, e, f, g, h, i, j, k, l] = unsafe { *macs };
    // SAFETY: as above.
    unsafe { *macs = [g, h, i, j, k, l, a, b, c, d, e, f] };
    xdp_action::XDP_TX
}

/// Puts the query back.
#[xdp]
pub fn restore(ctx: XdpContext) -> u32 {
    put_back(&ctx);
    xdp_action::XDP_TX
}

/// Puts the query back and filters it.
#[xdp]
pub fn restore_filter(ctx: XdpContext) -> u32 {
    put_back(&ctx);
    filter_ebpf::run(&ctx)
}

#[inline(always)]
fn put_back(ctx: &XdpContext) {
    let Some(original) = ORIGINAL.get(0) else {
        return;
    };
    let len = original.len as usize;
    if len == 0 || len > FRAME_MAX_BYTES {
        return;
    }
    // Opaque for the verifier's sake, as in the filter.
    let now = core::hint::black_box(ctx.data_end() - ctx.data());
    // SAFETY: the helper checks the room.
    // Answers grow at their start.
    unsafe { bpf_xdp_adjust_head(ctx.as_ptr().cast(), now as i32 - len as i32) };
    // SAFETY: the map value holds `len` bytes, which the helper only reads.
    unsafe {
        bpf_xdp_store_bytes(
            ctx.as_ptr().cast(),
            0,
            original.bytes.as_ptr().cast_mut().cast(),
            len as u32,
        )
    };
}
