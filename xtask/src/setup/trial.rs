//! The smallest program that needs no `core`: returns XDP_PASS. Setup compiles it, nothing includes it.

#![allow(internal_features)]
#![feature(no_core, lang_items)]
#![no_core]
#![no_main]

#[lang = "pointee_sized"]
pub trait PointeeSized {}
#[lang = "meta_sized"]
pub trait MetaSized: PointeeSized {}
#[lang = "sized"]
pub trait Sized: MetaSized {}
#[lang = "copy"]
pub trait Copy {}
impl Copy for u32 {}

#[unsafe(no_mangle)]
#[unsafe(link_section = "xdp")]
pub extern "C" fn trial(_context: *const u8) -> u32 {
    2
}
