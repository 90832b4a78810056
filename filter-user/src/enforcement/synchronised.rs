//! Whether something keeps the kernel's clock right: NTP, PTP or a time service.

#![allow(
    unsafe_code,
    reason = "asks the kernel by adjtimex(2), which no safe library wraps"
)]

use jiff::{SignedDuration, Timestamp};

/// A time that differs by more than this from the kernel's is not the kernel's.
const DIFFERENCE_MAX: SignedDuration = SignedDuration::from_secs(2);

/// Whether the kernel takes its clock for synchronised, and `now` is the time of that clock.
///
/// Time services clear STA_UNSYNC when they have found the time; whoever else sets the clock
/// sets it again (adjtimex(2)).
pub(super) fn kernel_vouches_for(now: Timestamp) -> bool {
    let Some(told) = told() else {
        return false;
    };
    if told.status & libc::STA_UNSYNC != 0 {
        return false;
    }
    #[allow(
        clippy::useless_conversion,
        reason = "the width depends on the machine"
    )]
    let kernel_now = Timestamp::from_second(i64::from(told.time.tv_sec));
    kernel_now.is_ok_and(|kernel_now| now.duration_since(kernel_now).abs() <= DIFFERENCE_MAX)
}

/// What the kernel says of its clock.
fn told() -> Option<libc::timex> {
    // SAFETY: every field is an integer, for which zero is a value; `modes` of zero changes nothing.
    let mut told: libc::timex = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer is to a whole structure that lives until the call returns.
    let state = unsafe { libc::adjtimex(&raw mut told) };
    (state >= 0).then_some(told)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_that_is_not_the_kernels_is_vouched_for_by_nobody() {
        assert!(told().is_some());
        let ahead = Timestamp::now() + SignedDuration::from_hours(60 * 24);
        assert!(!kernel_vouches_for(ahead));
    }
}
