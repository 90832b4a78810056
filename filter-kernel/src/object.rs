//! The eBPF object that is part of this build, if it is part of it.
//!
//! A build without the object compiles: whoever reads, checks or tests what needs no program is not
//! asked for the eBPF toolchain. It loads nothing, says why, and cannot become a binary that calls
//! [`require`].

use crate::Error;

#[cfg(test)]
mod tests;

/// The object that `cargo xtask build` made; empty in a build without it.
static OBJECT: &[u8] = aya::include_bytes_aligned!(env!("NXDP_BPF_OBJECT"));
const IS_EMPTY: bool = include_bytes!(env!("NXDP_BPF_OBJECT")).is_empty();

/// Name of the program in the object.
pub(crate) const PROGRAM: &str = "nxdp";

/// The object's bytes.
///
/// # Errors
///
/// [`Error::NoObject`] in a build without it.
pub(crate) fn bytes() -> Result<&'static [u8], Error> {
    match OBJECT.is_empty() {
        true => Err(Error::NoObject),
        false => Ok(OBJECT),
    }
}

/// Stops the compilation of a binary that calls it in a build without the object.
///
/// The type parameter puts the check off until code is made of the call: `cargo check` makes none,
/// so that it works without the object. Any type does.
pub fn require<T>() {
    const {
        let _ = size_of::<T>();
        assert!(
            !IS_EMPTY,
            "this build has no eBPF object: run `cargo xtask build`"
        );
    }
}
