//! Receive buffers of servers that do not ask for one.
//!
//! A live frame takes a page there, so that the usual size holds some fifty queries. It is a setting of
//! the whole machine, and is put back with the value.

use std::fs;

const DEFAULT: &str = "/proc/sys/net/core/rmem_default";
const WIDE_BYTES: &str = "4194304";

/// Wide buffers, while the value lives.
pub(super) struct Buffers {
    before: Option<String>,
}

impl Buffers {
    /// Has sockets that are opened from now on get wide buffers, and says so.
    pub(super) fn widen() -> Self {
        let before = fs::read_to_string(DEFAULT).ok();
        if let Err(error) = fs::write(DEFAULT, WIDE_BYTES) {
            println!("# receive buffers stay as they are: {error}");
            return Self { before: None };
        }
        println!("# receive buffers of {WIDE_BYTES} bytes for all, until the end");
        Self { before }
    }
}

impl Drop for Buffers {
    fn drop(&mut self) {
        let Some(before) = &self.before else {
            return;
        };
        if let Err(error) = fs::write(DEFAULT, before) {
            eprintln!(
                "nxdp-bench: {DEFAULT} is not {} again: {error}",
                before.trim()
            );
        }
    }
}
