//! The programs' own time, as the kernel measures it around each run.

use std::time::Duration;

use anyhow::{Context as _, Result};
use aya::sys::{Stats, enable_stats};

use super::{Contestant, hand_over};
use crate::rig::Rig;

const TIME: Duration = Duration::from_millis(500);

/// Prints nanoseconds a run; the first contestant is attached, and is again afterwards.
pub(super) fn print(rig: &mut Rig, contestants: &mut [Contestant]) -> Result<()> {
    // In force as long as the file is open, whatever becomes of this process.
    let _stats = enable_stats(Stats::RunTime).context("measure programs' run time")?;
    println!(
        "# the programs' own time, in a round of its own: two clock readings of it are in each"
    );
    for at in 0..contestants.len() {
        hand_over(contestants, at.saturating_sub(1), at)?;
        rig.aim(&contestants[at].frames)?;
        let before = run_time(&mut contestants[at])?;
        rig.send(None, TIME, &[])?;
        let after = run_time(&mut contestants[at])?;
        let (time, runs) = (after.0 - before.0, after.1 - before.1);
        let name = contestants[at].name;
        println!(
            "wire_{name}_program {:.1} ns",
            time.as_nanos() as f64 / runs as f64
        );
    }
    hand_over(contestants, contestants.len() - 1, 0)
}

fn run_time(contestant: &mut Contestant) -> Result<(Duration, u64)> {
    let hold = contestant.filter.hold()?;
    let id = hold.program_id()?;
    let mut programs = aya::programs::loaded_programs().flatten();
    let info = programs
        .find(|program| program.id() == id)
        .context("the program is gone")?;
    Ok((info.run_time(), info.run_count()))
}
