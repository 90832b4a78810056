//! `[limit]`: how many answers a client prefix may cause.

use serde::Deserialize;

use super::Error;

/// A token bucket for each /24 of IPv4 and /56 of IPv6 (see [`filter_common::limit`]).
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct LimitConfig {
    /// Answers a second; 0 means no limit.
    pub answers_per_s: u32,
    /// Answers at once, after a pause.
    pub burst: u32,
}

impl Default for LimitConfig {
    fn default() -> Self {
        Self {
            answers_per_s: 1_000,
            burst: 5_000,
        }
    }
}

impl LimitConfig {
    /// Most answers a second or at once: the kernel counts parts of them in 32 bits.
    pub const MAX: u32 = 4_000_000;

    pub(super) fn check(&self) -> Result<(), Error> {
        let is_possible = self.answers_per_s == 0 || self.burst > 0;
        if is_possible && self.answers_per_s.max(self.burst) <= Self::MAX {
            Ok(())
        } else {
            Err(Error::Limit)
        }
    }
}
