//! The functions that the verifier checks one by one.
//!
//! Each is a global function: it is verified once for all arguments, however
//! often it is called, and its caller is verified without looking inside. That
//! keeps 127 labels far below the verifier's million instructions. What crosses
//! a call is integers and pointers to map values.

use filter_common::{
    answer, bypass, client, dns, emit, event,
    layout::{Control, Header},
    merged,
    net::{ENCRYPTED_DNS_PORT, HTTPS_PORT, Path},
    overrides,
    parts::{self, Start},
    policy,
    reason::Reason,
    rule::{AnswerKind, Best},
    scratch::Scratch,
    stages::Stages,
    steps::{Asked, OptionStep},
    table::Records as _,
    tcp, verdict,
};

use crate::maps::{self, BpfMaps};

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
        BpfMaps
            .record(0)
            .map_or(0, |record| Control::of(record).flags)
    }

    #[inline(always)]
    fn parse_question(&mut self) -> Result<(), Reason> {
        done(nxdp_parse_question(self.scratch))
    }

    #[inline(always)]
    fn parse_additional(&mut self) {
        nxdp_parse_additional(self.scratch);
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
        done(nxdp_admit(self.scratch, packed(path)))
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
    fn resume(&mut self, path: &Path) -> Start {
        let start = nxdp_resume(self.scratch, packed(path));
        Start {
            kept: (start & 0x1ff) as usize,
            rest: (start >> 32) as usize,
        }
    }

    #[inline(always)]
    fn keep(&mut self, path: &Path, at: usize, total: u32) -> bool {
        nxdp_keep(self.scratch, packed(path), at as u32, total) != 0
    }

    #[inline(always)]
    fn agrees(&mut self, path: &Path, at: usize, known: usize) -> bool {
        nxdp_agrees(self.scratch, packed(path), at as u32, known as u32) != 0
    }

    #[inline(always)]
    fn pass(&mut self, path: &Path, count: u32) {
        nxdp_pass(self.scratch, packed(path), count);
    }

    #[inline(always)]
    fn may_be_merged(&mut self, path: &Path, interface: u32) -> bool {
        nxdp_may_be_merged(self.scratch, packed(path), interface) != 0
    }

    #[inline(always)]
    fn is_waiting(&mut self, path: &Path) -> bool {
        nxdp_is_waiting(self.scratch, packed(path)) != 0
    }

    #[inline(always)]
    fn disarm(&mut self, path: &Path, class_at: usize) -> [u8; 2] {
        let checksum = nxdp_disarm(self.scratch, packed(path), class_at as u32);
        (checksum as u16).to_ne_bytes()
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
/// What a stage returns that was handed nothing.
const INCONSISTENT: u32 = Reason::Inconsistent as u32;

/// What a stage returns that has no stage to hand over to.
#[inline(always)]
fn number_of(result: Result<(), Reason>) -> u32 {
    match result {
        Ok(()) => DONE,
        Err(reason) => reason as u32,
    }
}

/// The reverse of [`number_of`].
#[inline(always)]
fn done(number: u32) -> Result<(), Reason> {
    match number {
        DONE => Ok(()),
        reason => Err(reason_of(reason)),
    }
}

#[inline(always)]
fn reason_of(number: u32) -> Reason {
    Reason::from_number(number as u8).unwrap_or(Reason::Inconsistent)
}

/// A pointer as the reference that a stage's function takes.
macro_rules! lent {
    (mut $pointer:ident) => {
        $pointer.as_mut()
    };
    (const $pointer:ident) => {
        $pointer.as_ref()
    };
}

/// Exports the stages: pointers to map values in front of the semicolon, integers behind it, and
/// what a stage returns when a pointer is null, which the verifier cannot rule out.
macro_rules! stages {
    ($(
        $(#[doc = $doc:literal])+
        fn $name:ident(
            $($pointer:ident: *$access:tt $target:ty),* $(; $($value:ident: $type:ty),+)?
        ) -> $returned:ty, else $missing:expr;
        $body:block
    )+) => {$(
        $(#[doc = $doc])+
        #[unsafe(no_mangle)]
        #[inline(never)]
        pub extern "C" fn $name(
            $($pointer: *$access $target,)* $($($value: $type,)+)?
        ) -> $returned {
            $(
                // SAFETY: null, or a live map value of this type: this CPU's working memory, which
                // nothing else uses meanwhile, or a record of the table, which nothing here writes.
                let Some($pointer) = (unsafe { lent!($access $pointer) }) else {
                    return $missing;
                };
            )*
            $body
        }
    )+};
}

stages! {
    /// [`dns::parse_question`]: [`DONE`] or a reason.
    fn nxdp_parse_question(scratch: *mut Scratch) -> u32, else INCONSISTENT;
    { number_of(dns::parse_question(scratch)) }

    /// [`dns::parse_additional`].
    fn nxdp_parse_additional(scratch: *mut Scratch) -> u32, else DONE;
    {
        dns::parse_additional(&BpfMaps, scratch);
        DONE
    }

    /// [`dns::option`] as a number.
    fn nxdp_option(scratch: *mut Scratch) -> u32, else END;
    { dns::option(scratch) as u32 }

    /// [`verdict::decide`]: the answer kind in bits 8 to 15, or a reason.
    fn nxdp_decide(scratch: *mut Scratch) -> u32, else INCONSISTENT;
    {
        match verdict::decide(&BpfMaps, scratch) {
            Ok(kind) => (kind as u32) << 8,
            Err(reason) => reason as u32,
        }
    }

    /// [`policy::select`].
    fn nxdp_select_policy(scratch: *const Scratch; flags: u32) -> u32, else 0;
    { policy::select(&BpfMaps, flags, &scratch.client) }

    /// [`overrides::walk`].
    fn nxdp_override(scratch: *mut Scratch) -> u32, else DONE;
    {
        overrides::walk(&BpfMaps, scratch);
        DONE
    }

    /// [`overrides::visit`].
    fn nxdp_override_visit(
        scratch: *mut Scratch, control: *const Control; depth: u32, parent: u64
    ) -> u64, else 0;
    { overrides::visit(&BpfMaps, scratch, control, depth, parent) }

    /// [`verdict::visit`].
    fn nxdp_visit(
        scratch: *mut Scratch, header: *const Header; depth: u32, parent: u64
    ) -> u64, else 0;
    { verdict::visit(&BpfMaps, scratch, header, depth, parent) }

    /// [`verdict::walk`].
    fn nxdp_walk(scratch: *mut Scratch) -> u32, else 0;
    { verdict::walk(&BpfMaps, scratch) }

    /// [`verdict::consult_custom`].
    fn nxdp_consult_custom(scratch: *mut Scratch) -> u32, else DONE;
    {
        verdict::consult_custom(&BpfMaps, scratch);
        DONE
    }

    /// [`verdict::weigh`] with class base, class and query type in one word.
    fn nxdp_weigh(; packed: u64, categories: u64, facts: u32, best: u64) -> u64, else 0;
    {
        let asked = Asked {
            categories,
            qtype: packed as u16,
            is_qname: facts & IS_QNAME != 0,
            observes: facts >> OBSERVES_SHIFT,
        };
        let (class_base, class) = ((packed >> 32) as u32, (packed >> 16) as u16);
        verdict::weigh(&BpfMaps, class_base, class, asked, Best(best)).0
    }

    /// [`client::admit`] and [`answer::sum_question`] with a path as [`packed`] makes it: [`DONE`]
    /// or a reason.
    fn nxdp_admit(scratch: *mut Scratch; path: u32) -> u32, else INCONSISTENT;
    {
        answer::sum_question(scratch);
        let source = client::source(scratch, &unpacked(path));
        number_of(client::admit(&BpfMaps, scratch, source))
    }

    /// [`answer::compose`]: a reason.
    fn nxdp_compose(scratch: *mut Scratch; kind: u32) -> u32, else INCONSISTENT;
    {
        let Some(kind) = AnswerKind::from_number(kind as u8) else {
            return INCONSISTENT;
        };
        match answer::compose(&BpfMaps, scratch, kind) {
            Ok(reason) | Err(reason) => reason as u32,
        }
    }

    /// [`emit::rewrite`] with a path as [`packed`] makes it.
    fn nxdp_rewrite(scratch: *mut Scratch; path: u32) -> u32, else DONE;
    {
        emit::rewrite(scratch, &unpacked(path & !TCP));
        DONE
    }

    /// [`tcp::rewrite`] with a path as [`packed`] makes it.
    fn nxdp_rewrite_tcp(scratch: *mut Scratch; path: u32) -> u32, else DONE;
    {
        tcp::rewrite(&BpfMaps, scratch, &unpacked(path | TCP));
        DONE
    }

    /// [`tcp::follow`] with a path as [`packed`] makes it: a reason.
    fn nxdp_follow(scratch: *mut Scratch; path: u32) -> u32, else INCONSISTENT;
    { tcp::follow(&BpfMaps, scratch, &unpacked(path | TCP)) as u32 }

    /// [`parts::resume`] with a path as [`packed`] makes it: what is kept, and above that the rest.
    fn nxdp_resume(scratch: *mut Scratch; path: u32) -> u64, else 0;
    {
        let start = parts::resume(&BpfMaps, scratch, &unpacked(path | TCP));
        (start.rest as u64) << 32 | start.kept as u64
    }

    /// [`parts::keep`] with a path as [`packed`] makes it.
    fn nxdp_keep(scratch: *const Scratch; path: u32, at: u32, total: u32) -> u32, else 1;
    { u32::from(parts::keep(&BpfMaps, scratch, &unpacked(path | TCP), at, total)) }

    /// [`parts::agrees`] with a path as [`packed`] makes it.
    fn nxdp_agrees(scratch: *const Scratch; path: u32, at: u32, known: u32) -> u32, else 1;
    { u32::from(parts::agrees(&BpfMaps, scratch, &unpacked(path | TCP), at, known)) }

    /// [`tcp::pass`] with a path as [`packed`] makes it.
    fn nxdp_pass(scratch: *const Scratch; path: u32, count: u32) -> u32, else DONE;
    {
        tcp::pass(&BpfMaps, scratch, &unpacked(path | TCP), count);
        parts::release(&BpfMaps, scratch);
        DONE
    }

    /// [`merged::may_be`] with a path as [`packed`] makes it.
    fn nxdp_may_be_merged(scratch: *const Scratch; path: u32, interface: u32) -> u32, else 1;
    { u32::from(merged::may_be(&BpfMaps, scratch, &unpacked(path), interface)) }

    /// [`tcp::is_waiting`] with a path as [`packed`] makes it.
    fn nxdp_is_waiting(scratch: *const Scratch; path: u32) -> u32, else 1;
    { u32::from(tcp::is_waiting(&BpfMaps, scratch, &unpacked(path | TCP))) }

    /// [`tcp::disarmed`] with a path as [`packed`] makes it.
    fn nxdp_disarm(scratch: *mut Scratch; path: u32, class_at: u32) -> u32, else 0;
    {
        let checksum = tcp::disarmed(scratch, &unpacked(path | TCP), class_at as usize);
        u32::from(u16::from_ne_bytes(checksum))
    }

    /// [`bypass::judge`] with a path as [`packed`] makes it: a reason.
    fn nxdp_judge_bypass(scratch: *mut Scratch; path: u32) -> u32, else INCONSISTENT;
    { bypass::judge(&BpfMaps, scratch, &unpacked(path)) as u32 }

    /// [`event::tell`] with a reason as a number.
    fn nxdp_tell(scratch: *const Scratch; reason: u32) -> u32, else DONE;
    {
        event::tell(&BpfMaps, scratch, reason_of(reason));
        DONE
    }
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

/// Bits of what `nxdp_weigh` is told: [`Asked::is_qname`] and [`Asked::observes`].
const IS_QNAME: u32 = 1;
const OBSERVES_SHIFT: u32 = 1;

/// [`verdict::weigh`].
#[inline(always)]
pub fn weigh(class_base: u32, class: u16, asked: Asked, best: Best) -> Best {
    let packed = u64::from(class_base) << 32 | u64::from(class) << 16 | u64::from(asked.qtype);
    let is_qname = u32::from(asked.is_qname) * IS_QNAME;
    let facts = is_qname | (asked.observes << OBSERVES_SHIFT);
    Best(nxdp_weigh(packed, asked.categories, facts, best.0))
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
        odd: 0,
    }
}
