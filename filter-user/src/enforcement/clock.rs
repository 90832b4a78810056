//! Two clocks: people say when something ends by the one on the wall, the kernel
//! counts nanoseconds since the boot.

use jiff::{SignedDuration, Timestamp};
use rustix::time::{ClockId, clock_gettime};

use super::synchronised::kernel_vouches_for;

/// The clock on the wall was set if it differs from the other one by so much more than before.
const STEP_MIN: SignedDuration = SignedDuration::from_millis(500);
/// A clock that nobody synchronises is believed when nobody has set it for so long.
const TRUST_NS: u64 = 24 * 3600 * 1_000_000_000;

/// Both clocks at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    /// The one on the wall.
    pub now: Timestamp,
    /// CLOCK_BOOTTIME in nanoseconds; it goes on while the machine sleeps.
    pub boot_ns: u64,
}

impl Clock {
    /// Looks at both.
    pub fn now() -> Self {
        let boot = clock_gettime(ClockId::Boottime);
        Self {
            now: Timestamp::now(),
            boot_ns: boot.tv_sec.unsigned_abs() * 1_000_000_000 + boot.tv_nsec.unsigned_abs(),
        }
    }

    /// When the kernel has to see the end of something; never zero, which would be never.
    pub fn boot_ns_of(&self, end: Timestamp) -> u64 {
        let left_ns = self.now.duration_until(end).as_nanos();
        let end_ns = i128::from(self.boot_ns) + left_ns;
        u64::try_from(end_ns.max(1)).unwrap_or(u64::MAX)
    }

    /// Whether the time is believed at `later`, when nobody has set the clock since this moment.
    ///
    /// NTP vouches for it, or it has run so long that NTP would have set it if there was any.
    pub fn is_trusted(&self, later: Self) -> bool {
        later.boot_ns.saturating_sub(self.boot_ns) >= TRUST_NS || kernel_vouches_for(later.now)
    }

    /// Whether the clock on the wall was set since `earlier`.
    pub fn was_set_since(&self, earlier: &Self) -> bool {
        let on_the_wall = earlier.now.duration_until(self.now).as_nanos();
        let since_boot = i128::from(self.boot_ns) - i128::from(earlier.boot_ns);
        (on_the_wall - since_boot).abs() >= STEP_MIN.as_nanos()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64, boot_ns: u64) -> Clock {
        Clock {
            now: Timestamp::from_second(second).unwrap(),
            boot_ns,
        }
    }

    #[test]
    fn an_end_is_as_far_away_on_both_clocks() {
        let clock = at(1_000_000, 5_000_000_000);
        let end = |second| clock.boot_ns_of(Timestamp::from_second(second).unwrap());
        assert_eq!(end(1_000_010), 15_000_000_000);
        assert_eq!(end(999_998), 3_000_000_000);
        assert_eq!(end(0), 1);
    }

    #[test]
    fn a_clock_that_is_set_is_noticed_and_one_that_runs_is_not() {
        let before = at(1_000_000, 5_000_000_000);
        assert!(!at(1_000_060, 65_000_000_000).was_set_since(&before));
        assert!(at(1_000_061, 65_000_000_000).was_set_since(&before));
        assert!(at(999_999, 5_000_000_000).was_set_since(&before));
    }

    #[test]
    fn a_clock_that_nobody_vouches_for_is_believed_after_a_day() {
        let day_ns = 86_400_000_000_000;
        let start = at(9_000_000_000, 5_000_000_000);
        assert!(!start.is_trusted(at(9_000_086_399, 4_999_999_999 + day_ns)));
        assert!(start.is_trusted(at(9_000_086_400, 5_000_000_000 + day_ns)));
    }

    #[test]
    fn both_clocks_of_this_machine_go_on_together() {
        let before = Clock::now();
        std::thread::sleep(std::time::Duration::from_millis(5));
        let after = Clock::now();
        assert!(after.boot_ns > before.boot_ns && !after.was_set_since(&before));
    }
}
