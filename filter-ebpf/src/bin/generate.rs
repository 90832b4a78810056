//! The generator of the measurements on the wire, and what counts its answers.
//!
//! `generate` runs over frames that BPF_PROG_TEST_RUN makes anew (live frames): it writes the next
//! query into each and sends it, at a pace or as fast as it runs. `collect` sits where the answers
//! come in, counts and frees them. Neither knows the filter.

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
    helpers::generated::{bpf_ktime_get_ns, bpf_xdp_adjust_tail, bpf_xdp_store_bytes},
    macros::{map, xdp},
    maps::{Array, PerCpuArray},
    programs::XdpContext,
};
// The panic handler.
use filter_ebpf as _;

/// Queries that take turns; a power of two.
const QUERY_COUNT: u32 = 1 << 16;
/// Longest query's frame.
const QUERY_MAX_BYTES: usize = 124;
/// Most that a generator which was kept from running catches up.
const ARREARS_MAX_NS: u64 = 1_000_000;
/// The source ports of the queries end here; whoever else sends from this machine's sockets uses
/// higher ones.
const PORT_END: u16 = 32_768;
/// Ethernet, IPv4 without options and UDP headers, and the flags of a DNS message.
const ANSWER_MIN_BYTES: usize = 14 + 20 + 8 + 8;

/// A query's frame: its length, then its bytes.
#[repr(C)]
pub struct Query {
    len: u32,
    bytes: [u8; QUERY_MAX_BYTES],
}

/// When the next query is due, and how many there were.
#[repr(C)]
pub struct Pace {
    /// Nanoseconds between two queries; 0 is as fast as can be.
    interval_ns: u64,
    due_ns: u64,
    sent: u64,
}

#[map]
static QUERIES: Array<Query> = Array::with_max_entries(QUERY_COUNT, 0);

#[map]
static PACE: Array<Pace> = Array::with_max_entries(1, 0);

/// Answers by rcode; those with answer records 16 higher.
#[map]
static ANSWERS: PerCpuArray<[u64; 32]> = PerCpuArray::with_max_entries(1, 0);

/// Sends the next query if it is due; frees the frame if not.
#[xdp]
pub fn generate(ctx: XdpContext) -> u32 {
    let Some(pace) = PACE.get_ptr_mut(0) else {
        return xdp_action::XDP_ABORTED;
    };
    // SAFETY: the map holds it as long as the program runs, and one thread runs the program.
    let pace = unsafe { &mut *pace };
    if !is_due(pace) {
        return xdp_action::XDP_DROP;
    }
    match put_query(&ctx, pace.sent as u32 % QUERY_COUNT) {
        Some(()) => {
            pace.sent += 1;
            xdp_action::XDP_TX
        }
        None => xdp_action::XDP_ABORTED,
    }
}

#[inline(always)]
fn is_due(pace: &mut Pace) -> bool {
    if pace.interval_ns == 0 {
        return true;
    }
    // SAFETY: the helper takes nothing and cannot fail.
    let now = unsafe { bpf_ktime_get_ns() };
    if now < pace.due_ns {
        return false;
    }
    let is_late = now - pace.due_ns > ARREARS_MAX_NS;
    let due_ns = if is_late { now } else { pace.due_ns };
    pace.due_ns = due_ns + pace.interval_ns;
    true
}

#[inline(always)]
fn put_query(ctx: &XdpContext, number: u32) -> Option<()> {
    let query = QUERIES.get(number)?;
    let len = query.len as usize;
    if len == 0 || len > QUERY_MAX_BYTES {
        return None;
    }
    // Opaque for the verifier's sake, as in the filter.
    let now = core::hint::black_box(ctx.data_end() - ctx.data());
    // SAFETY: the helper checks the room.
    let cut = unsafe { bpf_xdp_adjust_tail(ctx.as_ptr().cast(), len as i32 - now as i32) };
    // SAFETY: the map value holds `len` bytes, which the helper only reads.
    let stored = unsafe {
        bpf_xdp_store_bytes(
            ctx.as_ptr().cast(),
            0,
            query.bytes.as_ptr().cast_mut().cast(),
            len as u32,
        )
    };
    (cut == 0 && stored == 0).then_some(())
}

/// Counts and frees answers to the generator; everything else passes.
#[xdp]
pub fn collect(ctx: XdpContext) -> u32 {
    if ctx.data() + ANSWER_MIN_BYTES > ctx.data_end() {
        return xdp_action::XDP_PASS;
    }
    // SAFETY: so many bytes are there, as just compared.
    let frame = unsafe { &*(ctx.data() as *const [u8; ANSWER_MIN_BYTES]) };
    let port = u16::from_be_bytes([frame[36], frame[37]]);
    let is_answer = frame[12..15] == [0x08, 0x00, 0x45]
        && frame[23] == 17
        && frame[34..36] == [0, 53]
        && port < PORT_END;
    let Some(answers) = ANSWERS.get_ptr_mut(0).filter(|_| is_answer) else {
        return xdp_action::XDP_PASS;
    };
    let has_records = frame[48..50] != [0, 0];
    let kind = usize::from(frame[45] & 0xf) + if has_records { 16 } else { 0 };
    // SAFETY: the value is this CPU's own, and no other program writes it.
    unsafe { (*answers)[kind & 31] += 1 };
    xdp_action::XDP_DROP
}
