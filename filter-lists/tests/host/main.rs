//! Lists and images by the public functions of the crate; no root, no kernel.
#![expect(clippy::unwrap_used, reason = "a failed test panics")]

mod formats;
mod guard;
mod image;
mod lists;
mod programs;
mod real_images;
mod real_lists;
mod room;
mod semantics;

use proptest::prelude::ProptestConfig;

/// So many cases of a property where long tests are wanted (`NXDP_LONG`). Else as many as proptest
/// tries by itself, which `PROPTEST_CASES` changes.
fn cases(in_a_long_run: u32) -> ProptestConfig {
    match std::env::var_os("NXDP_LONG") {
        Some(_) => ProptestConfig::with_cases(in_a_long_run),
        None => ProptestConfig::default(),
    }
}
