//! A list is rewritten under way: one name stops being blocked at the moment another starts.

use std::{
    fmt, thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use hickory_proto::{op::ResponseCode, rr::RecordType};

use super::samples::Lists;
use crate::{lab::Lab, query::Query};

const OLD_NAME: &str = "before-the-swap.example";
const NEW_NAME: &str = "after-the-swap.example";

/// How long the filter may take to notice the new content and to compile all lists again.
const TIMEOUT: Duration = Duration::from_secs(60);

/// What was seen.
pub(super) struct Swap {
    took: Duration,
    queries: usize,
    before: Pair,
    after: Pair,
}

/// Whether each name is blocked, the old one asked first.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Pair {
    old: bool,
    new: bool,
}

/// Rewrites the list and asks for both names until the change is there.
pub(super) fn show(
    lab: &Lab,
    lists: &Lists,
    check_going_on: &dyn Fn() -> Result<()>,
) -> Result<Swap> {
    let before = ask_pair(lab)?;
    ensure!(
        before
            == Pair {
                old: true,
                new: false
            },
        "before the swap, {before}"
    );
    lists.rewrite(&format!("||{NEW_NAME}^\n"))?;
    let start = Instant::now();
    let mut queries = 0;
    loop {
        check_going_on()?;
        let pair = ask_pair(lab)?;
        queries += 2;
        match pair {
            Pair {
                old: false,
                new: true,
            } => {
                return Ok(Swap {
                    took: start.elapsed(),
                    queries,
                    before,
                    after: pair,
                });
            }
            // The old name was asked first: that the swap came in between explains
            // two blocked names, but nothing but a gap explains two that pass.
            Pair {
                old: false,
                new: false,
            } => bail!("during the swap, {pair}: half a list was in force"),
            Pair { old: true, .. } => {}
        }
        ensure!(
            start.elapsed() < TIMEOUT,
            "{TIMEOUT:?} after the list changed, {pair}"
        );
        thread::sleep(Duration::from_millis(2));
    }
}

fn ask_pair(lab: &Lab) -> Result<Pair> {
    let is_blocked = |name: &str| -> Result<bool> {
        let reply = lab.ask_v4(&Query::new(name, RecordType::A)?);
        let reply = reply.with_context(|| format!("a query for {name} was lost"))?;
        Ok(reply.outcome() == ResponseCode::NXDomain)
    };
    Ok(Pair {
        old: is_blocked(OLD_NAME)?,
        new: is_blocked(NEW_NAME)?,
    })
}

impl fmt::Display for Pair {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{OLD_NAME} is {}, {NEW_NAME} is {}",
            word(self.old),
            word(self.new)
        )
    }
}

impl fmt::Display for Swap {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "before the list was rewritten: {}", self.before)?;
        writeln!(
            formatter,
            "{:.1} s after it was rewritten:  {}",
            self.took.as_secs_f64(),
            self.after
        )?;
        writeln!(
            formatter,
            "{} queries meanwhile, none lost, none answered by half a list",
            self.queries
        )
    }
}

fn word(is_blocked: bool) -> &'static str {
    if is_blocked { "blocked" } else { "not blocked" }
}
