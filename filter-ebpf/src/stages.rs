//! The functions that the verifier checks one by one.
//!
//! Each is a global function: it is verified once for all arguments, however
//! often it is called, and its caller is verified without looking inside. That
//! keeps 127 labels far below the verifier's million instructions. What crosses
//! a call is integers and pointers to map values.

use filter_common::{
    answer, bypass, client,
    dns::{self, OptionStep},
    emit, event,
    filter::Stages,
    layout::{Control, Header},
    net::{ENCRYPTED_DNS_PORT, HTTPS_PORT, Path},
    overlay, policy,
    reason::Reason,
    rule::AnswerKind,
    scratch::Scratch,
    table::Records as _,
    tcp,
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
    fn flags(&self) -> u32 {
        Table
            .record(0)
            .map_or(0, |record| Control::of(record).flags)
    }

    #[inline(always)]
    fn parse_question(&mut self) -> Result<(), Reason> {
        match nxdp_parse_question(self.scratch) {
            DONE => Ok(()),
            reason => Err(reason_of(reason)),
        }
    }

    #[inline(always)]
    fn parse_additional(&mut self) -> Result<(), Reason> {
        match nxdp_parse_additional(self.scratch) {
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
    fn compose(&mut self, kind: AnswerKind) -> Result<Reason, Reason> {
        Ok(reason_of(nxdp_compose(self.scratch, kind as u32)))
    }

    #[inline(always)]
    fn admit(&mut self, path: &Path) -> Result<(), Reason> {
        match nxdp_admit(self.scratch, packed(path)) {
            DONE => Ok(()),
            reason => Err(reason_of(reason)),
        }
    }

    #[inline(always)]
    fn rewrite(&mut self, path: &Path) {
        nxdp_rewrite(self.scratch, packed(path));
    }

    #[inline(always)]
    fn rewrite_tcp(&mut self, path: &Path) {
        nxdp_rewrite_tcp(self.scratch, packed(path));
    }

    #[inline(always)]
    fn follow(&mut self, path: &Path) -> Reason {
        reason_of(nxdp_follow(self.scratch, packed(path)))
    }

    #[inline(always)]
    fn judge_bypass(&mut self, path: &Path) -> Reason {
        reason_of(nxdp_judge_bypass(self.scratch, packed(path)))
    }

    #[inline(always)]
    fn tell(&mut self, reason: Reason) {
        nxdp_tell(self.scratch, reason as u32);
    }
}

/// No reason has this number.
const DONE: u32 = 0xff;

#[inline(always)]
fn reason_of(number: u32) -> Reason {
    Reason::from_number(number as u8).unwrap_or(Reason::Inconsistent)
}

/// [`dns::parse_question`]: [`DONE`] or a reason.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn nxdp_parse_question(scratch: *mut Scratch) -> u32 {
    // SAFETY: null or this CPU's map value, which nothing else uses meanwhile.
    match unsafe { scratch.as_mut() }.map(dns::parse_question) {
        Some(Ok(())) => DONE,
        Some(Err(reason)) => reason as u32,
        None => Reason::Inconsistent as u32,
    }
}

/// [`dns::parse_additional`]: [`DONE`] or a reason.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn nxdp_parse_additional(scratch: *mut Scratch) -> u32 {
    // SAFETY: as in `nxdp_parse_question`.
    match unsafe { scratch.as_mut() }.map(|scratch| dns::parse_additional(&Table, scratch)) {
        Some(Ok(())) => DONE,
        Some(Err(reason)) => reason as u32,
        None => Reason::Inconsistent as u32,
    }
}

/// [`verdict::decide`]: the answer kind in bits 8 to 15, or a reason.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn nxdp_decide(scratch: *mut Scratch) -> u32 {
    // SAFETY: as in `nxdp_parse_question`.
    match unsafe { scratch.as_mut() }.map(|scratch| verdict::decide(&Table, scratch)) {
        Some(Ok(kind)) => (kind as u32) << 8,
        Some(Err(reason)) => reason as u32,
        None => Reason::Inconsistent as u32,
    }
}

/// [`answer::compose`]: a reason.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn nxdp_compose(scratch: *mut Scratch, kind: u32) -> u32 {
    let Some(kind) = AnswerKind::from_number(kind as u8) else {
        return Reason::Inconsistent as u32;
    };
    // SAFETY: as in `nxdp_parse_question`.
    match unsafe { scratch.as_mut() }.map(|scratch| answer::compose(&Table, scratch, kind)) {
        Some(Ok(reason) | Err(reason)) => reason as u32,
        None => Reason::Inconsistent as u32,
    }
}

/// The bit of TCP in a packed path: the functions that are for TCP alone set it, so
/// that the compiler knows.
const TCP: u32 = 4;

/// A path in one word; its positions fit a byte if it is answerable, else they say nothing.
#[inline(always)]
const fn packed(path: &Path) -> u32 {
    (path.ip_at as u32 & 0xff) << 24
        | (path.transport_at as u32 & 0xff) << 16
        | (path.transport_len as u32 & 0xff) << 8
        | (path.is_answerable as u32) << 4
        | ((path.destination_port == ENCRYPTED_DNS_PORT) as u32) << 3
        | (path.is_tcp as u32) << 2
        | (path.is_ipv6 as u32) << 1
        | path.is_pppoe as u32
}

#[inline(always)]
const fn unpacked(packed: u32) -> Path {
    Path {
        ip_at: (packed >> 24) as usize,
        transport_at: (packed >> 16 & 0xff) as usize,
        transport_len: (packed >> 8 & 0xff) as usize,
        destination_port: if packed & 8 != 0 {
            ENCRYPTED_DNS_PORT
        } else {
            HTTPS_PORT
        },
        is_tcp: packed & TCP != 0,
        is_ipv6: packed & 2 != 0,
        is_pppoe: packed & 1 != 0,
        is_answerable: packed & 16 != 0,
        vlan: 0,
        payload_len: 0,
        source_port: 0,
    }
}

/// [`client::admit`] and [`answer::sum_question`] with a path as [`packed`] makes it: [`DONE`] or a
/// reason.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn nxdp_admit(scratch: *mut Scratch, path: u32) -> u32 {
    // SAFETY: as in `nxdp_parse_question`.
    let Some(scratch) = (unsafe { scratch.as_mut() }) else {
        return Reason::Inconsistent as u32;
    };
    answer::sum_question(scratch);
    match client::admit(&Table, scratch, client::source(scratch, &unpacked(path))) {
        Ok(()) => DONE,
        Err(reason) => reason as u32,
    }
}

/// [`tcp::rewrite`] with a path as [`packed`] makes it.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn nxdp_rewrite_tcp(scratch: *mut Scratch, path: u32) -> u32 {
    // SAFETY: as in `nxdp_parse_question`.
    if let Some(scratch) = unsafe { scratch.as_mut() } {
        tcp::rewrite(&Table, scratch, &unpacked(path | TCP));
    }
    DONE
}

/// [`tcp::follow`] with a path as [`packed`] makes it: a reason.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn nxdp_follow(scratch: *mut Scratch, path: u32) -> u32 {
    // SAFETY: as in `nxdp_parse_question`.
    match unsafe { scratch.as_mut() } {
        Some(scratch) => tcp::follow(&Table, scratch, &unpacked(path | TCP)) as u32,
        None => Reason::Inconsistent as u32,
    }
}

/// [`bypass::judge`] with a path as [`packed`] makes it: a reason.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn nxdp_judge_bypass(scratch: *mut Scratch, path: u32) -> u32 {
    // SAFETY: as in `nxdp_parse_question`.
    match unsafe { scratch.as_mut() } {
        Some(scratch) => bypass::judge(&Table, scratch, &unpacked(path)) as u32,
        None => Reason::Inconsistent as u32,
    }
}

/// [`event::tell`] with a reason as a number.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn nxdp_tell(scratch: *const Scratch, reason: u32) -> u32 {
    // SAFETY: as in `nxdp_parse_question`.
    if let Some(scratch) = unsafe { scratch.as_ref() } {
        event::tell(&Table, scratch, reason_of(reason));
    }
    DONE
}

/// [`dns::option`].
#[inline(always)]
pub fn option(scratch: &mut Scratch) -> OptionStep {
    match nxdp_option(scratch) {
        NEXT => OptionStep::Next,
        END => OptionStep::End,
        _ => OptionStep::Bad,
    }
}

const NEXT: u32 = OptionStep::Next as u32;
const END: u32 = OptionStep::End as u32;

/// [`dns::option`] as a number.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn nxdp_option(scratch: *mut Scratch) -> u32 {
    // SAFETY: as in `nxdp_parse_question`.
    match unsafe { scratch.as_mut() } {
        Some(scratch) => dns::option(scratch) as u32,
        None => END,
    }
}

/// [`policy::select`].
#[inline(always)]
pub fn select_policy(scratch: &Scratch, flags: u32) -> u32 {
    nxdp_select_policy(scratch, flags)
}

/// [`policy::select`].
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn nxdp_select_policy(scratch: *const Scratch, flags: u32) -> u32 {
    // SAFETY: as in `nxdp_parse_question`.
    match unsafe { scratch.as_ref() } {
        Some(scratch) => policy::select(&Table, flags, &scratch.asker),
        None => 0,
    }
}

/// [`overlay::walk`].
#[inline(always)]
pub fn overlay(scratch: &mut Scratch) {
    nxdp_overlay(scratch);
}

/// [`overlay::walk`].
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn nxdp_overlay(scratch: *mut Scratch) -> u32 {
    // SAFETY: as in `nxdp_parse_question`.
    if let Some(scratch) = unsafe { scratch.as_mut() } {
        overlay::walk(&Table, scratch);
    }
    DONE
}

/// [`overlay::visit`].
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn nxdp_overlay_visit(
    scratch: *mut Scratch,
    control: *const Control,
    depth: u32,
    parent: u64,
) -> u64 {
    // SAFETY: as in `nxdp_parse_question`.
    let scratch = unsafe { scratch.as_mut() };
    // SAFETY: as in `nxdp_visit`.
    let control = unsafe { control.as_ref() };
    match (scratch, control) {
        (Some(scratch), Some(control)) => overlay::visit(&Table, scratch, control, depth, parent),
        _ => 0,
    }
}

/// [`emit::rewrite`] with a path as [`packed`] makes it.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn nxdp_rewrite(scratch: *mut Scratch, path: u32) -> u32 {
    // SAFETY: as in `nxdp_parse_question`.
    if let Some(scratch) = unsafe { scratch.as_mut() } {
        emit::rewrite(scratch, &unpacked(path & !TCP));
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
    // SAFETY: as in `nxdp_parse_question`.
    let scratch = unsafe { scratch.as_mut() };
    // SAFETY: null or a record of the table, which has this size and alignment.
    let header = unsafe { header.as_ref() };
    match (scratch, header) {
        (Some(scratch), Some(header)) => verdict::visit(&Table, scratch, header, depth, parent),
        _ => 0,
    }
}

/// [`verdict::consult_custom`].
#[inline(always)]
pub fn consult_custom(scratch: &mut Scratch) {
    nxdp_consult_custom(scratch);
}

/// [`verdict::consult_custom`].
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn nxdp_consult_custom(scratch: *mut Scratch) -> u32 {
    // SAFETY: as in `nxdp_parse_question`.
    if let Some(scratch) = unsafe { scratch.as_mut() } {
        verdict::consult_custom(&Table, scratch);
    }
    DONE
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
