//! The steps that the kernel program keeps as functions of their own, so that the verifier
//! sees each of them once, and what they hand each other.
//!
//! The functions that take steps are generic over [`Steps`] and know no body of them. The kernel
//! program brings one that calls its global functions; [`direct`](crate::direct) is the one of
//! the host.

use crate::{
    layout::{Control, Header},
    maps::Maps,
    rule::Best,
    scratch::Scratch,
    table::Records,
};

/// Everything that is looked up, and the functions that are called by name.
pub trait Steps: Records + Maps {
    /// [`verdict::visit`](crate::verdict::visit).
    fn visit(&self, scratch: &mut Scratch, header: &Header, depth: u32, parent: u64) -> u64;

    /// [`verdict::walk`](crate::verdict::walk).
    fn walk(&self, scratch: &mut Scratch) -> u32;

    /// [`verdict::weigh`](crate::verdict::weigh).
    fn weigh(&self, class_base: u32, class: u16, asked: Asked, best: Best) -> Best;

    /// [`verdict::consult_custom`](crate::verdict::consult_custom).
    fn consult_custom(&self, scratch: &mut Scratch);

    /// [`dns::option`](crate::dns::option).
    fn option(&self, scratch: &mut Scratch) -> OptionStep;

    /// [`policy::select`](crate::policy::select) for the query in `scratch`.
    fn select_policy(&self, scratch: &Scratch, flags: u32) -> u32;

    /// [`overrides::walk`](crate::overrides::walk).
    fn find_override(&self, scratch: &mut Scratch);

    /// [`overrides::visit`](crate::overrides::visit).
    fn override_visit(
        &self,
        scratch: &mut Scratch,
        control: &Control,
        depth: u32,
        parent: u64,
    ) -> u64;
}

/// What a rule is held against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Categories that the policy blocks.
    pub categories: u64,
    /// Query type.
    pub qtype: u16,
    /// 1 if rules that ask for no answer of their own only observe.
    pub observes: u32,
    /// The name in hand is the qname, not a parent of it.
    pub is_qname: bool,
}

/// What is behind an option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum OptionStep {
    /// Another one.
    Next = 0,
    /// Nothing, or what was not loaded.
    End = 1,
    /// Less than its length says.
    Bad = 2,
}
