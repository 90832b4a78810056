//! The filter, stopped on its way: what the programs that measure its sections are made of.
//!
//! A stopped run does everything up to a section and then fails; the difference of two of
//! them is what the section between costs. Nothing here runs in the filter itself.

use core::hint::black_box;

use aya_ebpf::programs::XdpContext;
use filter_common::{
    filter,
    frame::Frame,
    net::Path,
    parts::Start,
    reason::Reason,
    rule::AnswerKind,
    scratch::{FrameBytes, Scratch},
    stages::Stages,
};

use crate::{conclude, packet::Packet, stages::Kernel};

/// Counts.
pub const ENTRY: u8 = 0;
/// Reads the headers.
pub const LOCATE: u8 = 1;
/// Copies the message, and the headers of what may be answered.
pub const LOAD: u8 = 2;
/// Reads question and OPT record.
pub const PARSE: u8 = 3;
/// Finds policy and generation, but looks no name up.
pub const POLICY: u8 = 4;
/// Looks names up and weighs rules.
pub const DECIDE: u8 = 5;
/// Looks at who would be answered, and sums up the question.
pub const ADMIT: u8 = 6;
/// Writes the answer's message.
pub const COMPOSE: u8 = 7;
/// Writes its headers.
pub const REWRITE: u8 = 8;

/// What a stopped run is counted as.
const STOPPED: Reason = Reason::Inconsistent;

/// Judges the frame of `ctx` up to the section `LAST`.
#[inline(always)]
pub fn run_until<const LAST: u8>(ctx: &XdpContext) -> u32 {
    let mut packet = Until::<_, LAST>(Packet::new(ctx));
    let stages = || Kernel::new().map(Until::<_, LAST>);
    conclude(ctx, filter::filter(&mut packet, stages))
}

/// A frame or stages that end behind the section `LAST`.
struct Until<T, const LAST: u8>(T);

impl<F: Frame, const LAST: u8> Frame for Until<F, LAST> {
    #[inline(always)]
    fn len_bytes(&self) -> usize {
        self.0.len_bytes()
    }

    #[inline(always)]
    fn interface(&self) -> u32 {
        self.0.interface()
    }

    #[inline(always)]
    fn watches_bypasses(&self) -> bool {
        self.0.watches_bypasses()
    }

    #[inline(always)]
    fn read<const N: usize>(&self, at: usize) -> Option<[u8; N]> {
        if LAST < LOCATE {
            return None;
        }
        self.0.read(at)
    }

    #[inline(always)]
    fn load(&self, from: usize, len: usize, bytes: &mut FrameBytes, to: usize) -> Option<()> {
        if LAST < LOAD {
            // Opaque, or finding them would cost nothing.
            black_box((from, len, to));
            return None;
        }
        self.0.load(from, len, bytes, to)
    }

    #[inline(always)]
    fn load_behind(
        &self,
        from: usize,
        len: usize,
        _bytes: &mut FrameBytes,
        to: usize,
    ) -> Option<()> {
        black_box((from, len, to));
        None
    }

    #[inline(always)]
    fn write<const N: usize>(&mut self, at: usize, bytes: [u8; N]) -> Option<()> {
        black_box((at, bytes));
        None
    }

    #[inline(always)]
    fn replace(&mut self, _bytes: &FrameBytes, from: usize, len: usize) -> Option<()> {
        black_box((from, len));
        None
    }
}

impl<S: Stages, const LAST: u8> Stages for Until<S, LAST> {
    #[inline(always)]
    fn scratch(&mut self) -> &mut Scratch {
        self.0.scratch()
    }

    #[inline(always)]
    fn flags(&self) -> u32 {
        if LAST < POLICY {
            return 0;
        }
        self.0.flags()
    }

    #[inline(always)]
    fn parse_question(&mut self) -> Result<(), Reason> {
        if LAST < PARSE {
            return Err(STOPPED);
        }
        self.0.parse_question()
    }

    #[inline(always)]
    fn parse_additional(&mut self) {
        self.0.parse_additional();
    }

    #[inline(always)]
    fn decide(&mut self) -> Result<AnswerKind, Reason> {
        if LAST < POLICY {
            return Err(STOPPED);
        }
        if LAST == POLICY {
            // The root has no labels to walk.
            self.0.scratch().label_count = 0;
        }
        self.0.decide()
    }

    #[inline(always)]
    fn compose(&mut self, kind: AnswerKind) -> Result<Reason, Reason> {
        if LAST < COMPOSE {
            return Err(STOPPED);
        }
        let composed = self.0.compose(kind);
        if LAST == COMPOSE {
            return Err(STOPPED);
        }
        composed
    }

    #[inline(always)]
    fn admit(&mut self, path: &Path) -> Result<(), Reason> {
        if LAST < ADMIT {
            return Err(STOPPED);
        }
        self.0.admit(path)
    }

    #[inline(always)]
    fn rewrite(&mut self, path: &Path) {
        self.0.rewrite(path);
    }

    #[inline(always)]
    fn rewrite_tcp(&mut self, path: &Path) {
        self.0.rewrite_tcp(path);
    }

    #[inline(always)]
    fn follow(&mut self, path: &Path) -> Reason {
        self.0.follow(path)
    }

    #[inline(always)]
    fn resume(&mut self, path: &Path) -> Start {
        self.0.resume(path)
    }

    #[inline(always)]
    fn keep(&mut self, path: &Path, at: usize, total: u32) -> bool {
        self.0.keep(path, at, total)
    }

    #[inline(always)]
    fn agrees(&mut self, path: &Path, at: usize, known: usize) -> bool {
        self.0.agrees(path, at, known)
    }

    #[inline(always)]
    fn pass(&mut self, path: &Path, count: u32) {
        self.0.pass(path, count);
    }

    #[inline(always)]
    fn may_be_merged(&mut self, path: &Path, interface: u32) -> bool {
        self.0.may_be_merged(path, interface)
    }

    #[inline(always)]
    fn is_waiting(&mut self, path: &Path) -> bool {
        self.0.is_waiting(path)
    }

    #[inline(always)]
    fn disarm(&mut self, path: &Path, class_at: usize) -> [u8; 2] {
        self.0.disarm(path, class_at)
    }

    #[inline(always)]
    fn judge_bypass(&mut self, path: &Path) -> Reason {
        self.0.judge_bypass(path)
    }

    #[inline(always)]
    fn tell(&mut self, reason: Reason) {
        self.0.tell(reason);
    }
}
