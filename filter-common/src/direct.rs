//! The host's body of the [`Steps`]: each is called as it is.

use crate::{
    dns,
    layout::{Control, Header, Record},
    maps::Maps,
    overrides, policy,
    rule::Best,
    scratch::Scratch,
    steps::{Asked, OptionStep, Steps},
    table::Records,
    verdict,
};

/// Tables over which every step is a direct call.
pub trait Direct: Records + Maps {}

impl Direct for [Record] {}

impl<T: Direct + ?Sized> Steps for T {
    #[inline(always)]
    fn visit(&self, scratch: &mut Scratch, header: &Header, depth: u32, parent: u64) -> u64 {
        verdict::visit(self, scratch, header, depth, parent)
    }

    #[inline(always)]
    fn walk(&self, scratch: &mut Scratch) -> u32 {
        verdict::walk(self, scratch)
    }

    #[inline(always)]
    fn weigh(&self, class_base: u32, class: u16, asked: Asked, best: Best) -> Best {
        verdict::weigh(self, class_base, class, asked, best)
    }

    #[inline(always)]
    fn consult_custom(&self, scratch: &mut Scratch) {
        verdict::consult_custom(self, scratch);
    }

    #[inline(always)]
    fn option(&self, scratch: &mut Scratch) -> OptionStep {
        dns::option(scratch)
    }

    #[inline(always)]
    fn select_policy(&self, scratch: &Scratch, flags: u32) -> u32 {
        policy::select(self, flags, &scratch.client)
    }

    #[inline(always)]
    fn find_override(&self, scratch: &mut Scratch) {
        overrides::walk(self, scratch);
    }

    #[inline(always)]
    fn override_visit(
        &self,
        scratch: &mut Scratch,
        control: &Control,
        depth: u32,
        parent: u64,
    ) -> u64 {
        overrides::visit(self, scratch, control, depth, parent)
    }
}
