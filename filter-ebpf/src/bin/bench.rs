//! Programs to measure against, and the filter in a form that can be repeated.
//!
//! BPF_PROG_TEST_RUN hands a program its own output again, so a program that
//! answers would see its answer the second time. `restore_filter` puts the
//! query back first; `restore` does only that, to be subtracted. `fresh_filter` asks for
//! another name each time, and `fresh` only writes it.

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
use filter_ebpf::sections;

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

/// Where a query for `www.`, a label of twelve bytes and anything has that label: behind Ethernet, IPv4, UDP,
/// DNS header and five bytes of name.
const LABEL_AT: usize = 14 + 20 + 8 + 12 + 5;
const LABEL_BYTES: usize = 12;

/// Which labels are written one after the other; `nxdp-bench` makes lists of the same ones.
#[repr(C)]
pub struct Fresh {
    /// Runs so far.
    runs: u64,
    /// Different labels; 0 means that the frame stays as it is.
    count: u64,
    /// Distance of their numbers.
    step: u64,
    /// The first number.
    first: u64,
}

#[map]
static FRESH: Array<Fresh> = Array::with_max_entries(1, 0);

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

/// Puts the query back and has it ask for the next name.
#[xdp]
pub fn fresh(ctx: XdpContext) -> u32 {
    put_back(&ctx);
    rename(&ctx);
    xdp_action::XDP_TX
}

/// The same, and filters it.
#[xdp]
pub fn fresh_filter(ctx: XdpContext) -> u32 {
    put_back(&ctx);
    rename(&ctx);
    filter_ebpf::run(&ctx)
}

macro_rules! stopped {
    ($($program:ident: $last:ident),* $(,)?) => {$(
        #[xdp]
        pub fn $program(ctx: XdpContext) -> u32 {
            put_back(&ctx);
            sections::run_until::<{ sections::$last }>(&ctx)
        }
    )*};
}

stopped! {
    until_entry: ENTRY,
    until_locate: LOCATE,
    until_load: LOAD,
    until_parse: PARSE,
    until_policy: POLICY,
    until_decide: DECIDE,
    until_admit: ADMIT,
    until_compose: COMPOSE,
    until_rewrite: REWRITE,
}

/// Work that has nothing to do with the filter and always costs the same: what ratios are taken to.
#[xdp]
pub fn yardstick(ctx: XdpContext) -> u32 {
    let mut state = (ctx.data_end() - ctx.data()) as u64;
    let mut i = 0;
    while i < YARDSTICK_STEPS {
        // Opaque, or the compiler computes the end.
        state = core::hint::black_box(state).wrapping_mul(ODD) ^ i;
        i += 1;
    }
    if state == 0 {
        xdp_action::XDP_DROP
    } else {
        xdp_action::XDP_PASS
    }
}

const YARDSTICK_STEPS: u64 = 64;
const ODD: u64 = 0x9e37_79b9_7f4a_7c15;

#[inline(always)]
fn rename(ctx: &XdpContext) {
    let Some(fresh) = FRESH.get_ptr_mut(0) else {
        return;
    };
    // SAFETY: the live value of a map that nothing else touches while programs are measured.
    let fresh = unsafe { &mut *fresh };
    let place = ctx.data() + LABEL_AT;
    if fresh.count == 0 || place + LABEL_BYTES > ctx.data_end() {
        return;
    }
    let number = fresh.first + fresh.runs % fresh.count * fresh.step;
    fresh.runs += 1;
    // SAFETY: that many bytes are there, as just compared.
    unsafe { *(place as *mut [u8; LABEL_BYTES]) = label(number) };
}

/// Another label for each number below 2^48, in an order that looks random: both steps can be undone.
#[inline(always)]
fn label(number: u64) -> [u8; LABEL_BYTES] {
    const LOW_48: u64 = (1 << 48) - 1;
    let mut mixed = number.wrapping_mul(ODD) & LOW_48;
    mixed ^= mixed >> 24;
    mixed = mixed.wrapping_mul(ODD) & LOW_48;
    mixed ^= mixed >> 24;
    let [a, b, c, d, e, f, g, h] = letters(mixed as u32).to_le_bytes();
    let [i, j, k, l, ..] = letters((mixed >> 32) as u32).to_le_bytes();
    [a, b, c, d, e, f, g, h, i, j, k, l]
}

/// The eight half bytes of a word as letters from `a` to `p`.
#[inline(always)]
fn letters(word: u32) -> u64 {
    let mut spread = u64::from(word);
    spread = (spread | spread << 16) & 0x0000_ffff_0000_ffff;
    spread = (spread | spread << 8) & 0x00ff_00ff_00ff_00ff;
    spread = (spread | spread << 4) & 0x0f0f_0f0f_0f0f_0f0f;
    spread + u64::from_le_bytes([b'a'; 8])
}

/// Not a multiple of eight.
const SETTLED_AT: usize = 12;

#[inline(always)]
fn put_back(ctx: &XdpContext) {
    let Some(original) = ORIGINAL.get(0) else {
        return;
    };
    // Counted from 0, so that what is added makes at least 1: Linux 6.1 does not learn from a
    // comparison with 0 that a length is none, and a helper must not be handed one. Opaque, or the
    // compiler sees that it could leave both out.
    let last = core::hint::black_box(original.len.wrapping_sub(1)) as usize;
    if last >= FRAME_MAX_BYTES {
        return;
    }
    let len = last + 1;
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
    // A read across two of these stores waits until both are done. Whoever reads first would pay
    // for that, and it is a cost of putting back.
    let place = ctx.data() + SETTLED_AT;
    if place + size_of::<u64>() <= ctx.data_end() {
        // SAFETY: that many bytes are there, as just compared.
        core::hint::black_box(unsafe { (place as *const u64).read_unaligned() });
    }
}
