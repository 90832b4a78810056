//! The functions that the verifier checks one by one.
//!
//! Each is a global function: it is verified once for all arguments, however
//! often it is called, and its caller is verified without looking inside. That
//! keeps 127 labels far below the verifier's million instructions. What crosses
//! a call is integers and pointers to map values.

use filter_common::{
    answer, client, dns, emit,
    filter::Stages,
    layout::Header,
    net::Path,
    reason::Reason,
    rule::AnswerKind,
    scratch::Scratch,
    verdict::{self, Asked, Best},
};

use crate::maps::{self, Table};

/// The stages over this CPU's working memory.
pub struct Kernel {
    scratch: *mut Scratch,
}

impl Kernel {
    /// Fails if the map is missing, which the loader rules out.
    #[inline(always)]
    pub fn new() -> Option<Self> {
        maps::scratch().map(|scratch| Self { scratch })
    }
}

impl Stages for Kernel {
    #[inline(always)]
    fn scratch(&mut self) -> &mut Scratch {
        // SAFETY: the live value of a per-CPU map; see `maps::count`.
        unsafe { &mut *self.scratch }
    }

    #[inline(always)]
    fn parse(&mut self) -> Result<(), Reason> {
        match nxdp_parse(self.scratch) {
            DONE => Ok(()),
            reason => Err(reason_of(reason)),
        }
    }

    #[inline(always)]
    fn decide(&mut self) -> Result<AnswerKind, Reason> {
        let decided = nxdp_decide(self.scratch);
        match AnswerKind::from_number((decided >> 8) as u8) {
            Some(kind) => Ok(kind),
            None => Err(reason_of(decided)),
        }
    }

    #[inline(always)]
    fn sum_question(&mut self) {
        nxdp_sum_question(self.scratch);
    }

    #[inline(always)]
    fn compose(&mut self, kind: AnswerKind) -> Result<Reason, Reason> {
        Ok(reason_of(nxdp_compose(self.scratch, kind as u32)))
    }

    #[inline(always)]
    fn is_client(&mut self, path: &Path) -> bool {
        nxdp_is_client(self.scratch, packed(path)) != 0
    }

    #[inline(always)]
    fn rewrite(&mut self, path: &Path) {
        nxdp_rewrite(self.scratch, packed(path));
    }
}

/// No reason has this number.
const DONE: u32 = 0xff;

#[inline(always)]
fn reason_of(number: u32) -> Reason {
    Reason::from_number(number as u8).unwrap_or(Reason::Inconsistent)
}

/// [`dns::parse`]: [`DONE`] or a reason.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn nxdp_parse(scratch: *mut Scratch) -> u32 {
    // SAFETY: null or this CPU's map value, which nothing else uses meanwhile.
    match unsafe { scratch.as_mut() }.map(dns::parse) {
        Some(Ok(())) => DONE,
        Some(Err(reason)) => reason as u32,
        None => Reason::Inconsistent as u32,
    }
}

/// [`verdict::decide`]: the answer kind in bits 8 to 15, or a reason.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn nxdp_decide(scratch: *mut Scratch) -> u32 {
    // SAFETY: as in `nxdp_parse`.
    match unsafe { scratch.as_mut() }.map(|scratch| verdict::decide(&Table, scratch)) {
        Some(Ok(kind)) => (kind as u32) << 8,
        Some(Err(reason)) => reason as u32,
        None => Reason::Inconsistent as u32,
    }
}

/// [`answer::sum_question`].
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn nxdp_sum_question(scratch: *mut Scratch) -> u32 {
    // SAFETY: as in `nxdp_parse`.
    if let Some(scratch) = unsafe { scratch.as_mut() } {
        answer::sum_question(scratch);
    }
    DONE
}

/// [`answer::compose`]: a reason.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn nxdp_compose(scratch: *mut Scratch, kind: u32) -> u32 {
    let Some(kind) = AnswerKind::from_number(kind as u8) else {
        return Reason::Inconsistent as u32;
    };
    // SAFETY: as in `nxdp_parse`.
    match unsafe { scratch.as_mut() }.map(|scratch| answer::compose(&Table, scratch, kind)) {
        Some(Ok(reason) | Err(reason)) => reason as u32,
        None => Reason::Inconsistent as u32,
    }
}

/// An answerable path, whose positions fit a byte, in one word.
#[inline(always)]
const fn packed(path: &Path) -> u32 {
    (path.ip_at as u32 & 0xff) << 24
        | (path.udp_at as u32 & 0xff) << 16
        | (path.is_ipv6 as u32) << 1
        | path.is_pppoe as u32
}

#[inline(always)]
const fn unpacked(packed: u32) -> Path {
    Path {
        ip_at: (packed >> 24) as usize,
        udp_at: (packed >> 16 & 0xff) as usize,
        is_ipv6: packed & 2 != 0,
        is_pppoe: packed & 1 != 0,
        dns_len: 0,
        is_answerable: true,
    }
}

/// [`client::is_client`] with a path as [`packed`] makes it.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn nxdp_is_client(scratch: *const Scratch, path: u32) -> u32 {
    // SAFETY: as in `nxdp_parse`.
    match unsafe { scratch.as_ref() } {
        Some(scratch) => u32::from(client::is_client(&Table, scratch, &unpacked(path))),
        None => 0,
    }
}

/// [`emit::rewrite`] with a path as [`packed`] makes it.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn nxdp_rewrite(scratch: *mut Scratch, path: u32) -> u32 {
    // SAFETY: as in `nxdp_parse`.
    if let Some(scratch) = unsafe { scratch.as_mut() } {
        emit::rewrite(scratch, &unpacked(path));
    }
    DONE
}

/// [`verdict::visit`].
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn nxdp_visit(
    scratch: *mut Scratch,
    header: *const Header,
    depth: u32,
    parent: u64,
) -> u64 {
    // SAFETY: as in `nxdp_parse`.
    let scratch = unsafe { scratch.as_mut() };
    // SAFETY: null or a record of the table, which has this size and alignment.
    let header = unsafe { header.as_ref() };
    match (scratch, header) {
        (Some(scratch), Some(header)) => verdict::visit(&Table, scratch, header, depth, parent),
        _ => 0,
    }
}

/// [`verdict::weigh`].
#[inline(always)]
pub fn weigh(class_base: u32, class: u16, asked: Asked, best: Best) -> Best {
    let packed = u64::from(class_base) << 32 | u64::from(class) << 16 | u64::from(asked.qtype);
    Best(nxdp_weigh(
        packed,
        asked.categories,
        u32::from(asked.is_qname),
        best.0,
    ))
}

/// [`verdict::weigh`] with class base, class and query type in one word.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn nxdp_weigh(packed: u64, categories: u64, is_qname: u32, best: u64) -> u64 {
    let asked = Asked {
        categories,
        qtype: packed as u16,
        is_qname: is_qname != 0,
    };
    verdict::weigh(
        &Table,
        (packed >> 32) as u32,
        (packed >> 16) as u16,
        asked,
        Best(best),
    )
    .0
}
