//! What a running service says: talk on standard error, counters on standard output.
//!
//! On a terminal the counters are one line that renews itself; in a pipe they
//! are plain lines, written when something changed.

use std::{
    collections::BTreeSet,
    io::{IsTerminal as _, Write as _},
    time::Duration,
};

use filter_common::{
    layout::Header,
    reason::{Action, Reason},
};

use filter_kernel::{Counters, features::OnLink};
use ipnet::IpNet;

use crate::{
    fetch::{ListAccount, told_span},
    pipeline::{Compiled, Custom, Progress},
    printable,
};

/// Says something on standard error, whatever stands in it.
macro_rules! say {
    ($($text:tt)*) => {
        eprintln!("{}", printable::lines(&format!($($text)*)))
    };
}

/// How often a terminal is renewed.
const TERMINAL_INTERVAL: Duration = Duration::from_secs(1);
/// How often a pipe gets a line.
const PIPE_INTERVAL: Duration = Duration::from_secs(10);

/// So many warnings of the guards are shown.
const FINDINGS_SHOWN: usize = 3;

/// The service's voice.
#[derive(Debug, Default)]
pub struct Display {
    shown: Option<Counters>,
    /// Counters are asked for, not shown.
    is_daemon: bool,
    /// Interfaces of policies that nothing filtered comes by, as it was told.
    idle: BTreeSet<String>,
    /// What is seldom meant, as it was told.
    warnings: Vec<String>,
}

impl Display {
    /// The voice of a process that nobody looks at.
    pub(super) fn of_daemon() -> Self {
        Self {
            is_daemon: true,
            ..Self::default()
        }
    }

    /// How often [`Display::tick`] wants to be called.
    pub(super) fn interval(&self) -> Duration {
        if std::io::stdout().is_terminal() {
            TERMINAL_INTERVAL
        } else {
            PIPE_INTERVAL
        }
    }

    pub(super) fn compiled(&self, compiled: &Compiled, generation: u32) {
        for list in compiled.all_lists() {
            say!(
                "list '{}': {} rules from {}",
                list.name,
                list.report.rules,
                list.path.display()
            );
        }
        for finding in compiled.all_findings().take(FINDINGS_SHOWN) {
            say!("{finding}");
        }
        let findings = compiled.all_findings().count();
        if findings > FINDINGS_SHOWN {
            let more = findings - FINDINGS_SHOWN;
            say!("and {more} more warnings; `nxdp check --json` tells all of them");
        }
        let image = &compiled.image;
        let records = image.records().len();
        say!(
            "generation {generation}: {} names, {} of kernel memory",
            image.header().name_count,
            human_bytes(records * filter_common::layout::RECORD_BYTES)
        );
    }

    pub(super) fn attached(&self, interface: &str, mode: &str) {
        let way_out = if self.is_daemon {
            ""
        } else {
            "; Ctrl-C detaches"
        };
        say!("attached to {interface} in {mode} mode{way_out}");
    }

    /// Tells of the generation that was found in force.
    pub(super) fn adopted(&self, generation: Option<Header>) {
        match generation {
            Some(header) => say!(
                "going on with generation {}: {} names",
                header.generation,
                header.name_count
            ),
            None => say!("no generation is active yet: every name passes"),
        }
    }

    /// Tells what `nxdp load` put in force.
    pub(super) fn loaded(&self, generation: Option<Header>, is_adopted: bool) {
        let maps = if is_adopted {
            "the maps that were there"
        } else {
            "new maps"
        };
        let names = generation.map_or(0, |header| header.name_count);
        say!("loaded over {maps}: {names} names are active");
    }

    /// Tells what is seldom meant, when it is new.
    pub(super) fn warnings(&mut self, warnings: Vec<String>) {
        for warning in &warnings {
            if !self.warnings.contains(warning) {
                self.trouble(&format!("warning: {warning}"));
            }
        }
        self.warnings = warnings;
    }

    /// Tells that the table grew.
    pub(super) fn grown(&self, bytes: usize) {
        eprintln!("the table has room for {} now", human_bytes(bytes));
    }

    /// Tells, once, which policies are for interfaces that nothing filtered comes by.
    pub(super) fn idle_policies(&mut self, names: BTreeSet<String>) {
        for name in names.difference(&self.idle) {
            self.trouble(&format!("policy: {}", idle_policy(name)));
        }
        self.idle = names;
    }

    /// Tells which networks count as clients.
    pub(super) fn clients(&self, on_link: &OnLink) {
        let networks = on_link
            .iter()
            .map(|(prefix, interface)| format!(", {prefix} on {interface}"));
        self.trouble(&format!(
            "clients are private addresses{}, and who is listed",
            networks.collect::<String>()
        ));
    }

    /// Tells which clients are sent answers by another way than other packets.
    pub(super) fn other_ways(&self, ways: &[(IpNet, String)]) {
        for (prefix, way) in ways {
            self.trouble(&format!(
                "packets to clients in {prefix} leave by {way}, which is not filtered: answers to them leave by the \
                 interface that their queries come by"
            ));
        }
    }

    /// Tells that something is not as it should be, or changed by itself.
    pub(super) fn trouble(&self, what: &str) {
        say!("{what}");
    }

    pub(super) fn reloading(&self, why: &str) {
        say!("reloading: {why}");
    }

    pub(super) fn reload_failed(&self, why: &str) {
        say!("reload failed, configuration and lists loaded before stay in force: {why}");
    }

    /// Tells how old the copy is that a list starts from.
    pub(super) fn starts_from(&self, list: &ListAccount) {
        if let (Some(age), Some(wait_s)) = (list.age(), list.next_refresh_s) {
            say!(
                "list '{}': starting from the copy of {} ago; {} is asked again in {}",
                list.name,
                told_span(age),
                list.source,
                told_span(Duration::from_secs(wait_s))
            );
        }
    }

    /// Tells that a list did not come, and what is filtered with meanwhile.
    pub(super) fn not_fetched(&self, list: &ListAccount) {
        let Some(failure) = list.failure() else {
            return;
        };
        let meanwhile = match (list.bytes, list.age()) {
            (Some(_), Some(age)) => format!("the copy of {} ago stays in force", told_span(age)),
            (Some(_), None) => "the copy there is stays in force".to_owned(),
            (None, _) => "there is no copy of it, and nothing of it is filtered".to_owned(),
        };
        let next = list.next_refresh_s.map_or_else(String::new, |wait_s| {
            format!("; next try in {}", told_span(Duration::from_secs(wait_s)))
        });
        say!("{failure}; {meanwhile}{next}");
    }

    /// Tells that lists are not fetched at all.
    pub(super) fn no_refresh(&self, why: &str) {
        say!("lists are not refreshed, the copies there are stay in force: {why}");
    }

    /// Tells that lists are fetched again.
    pub(super) fn refreshes(&self) {
        eprintln!("lists are refreshed again");
    }

    pub(super) fn swapped(&self, compiled: &Compiled, generation: u32, took: Duration) {
        say!(
            "generation {generation} active: {} names, swapped in {:.1} ms",
            compiled.image.header().name_count,
            took.as_secs_f64() * 1e3
        );
    }

    /// Tells that names of custom categories changed, alone.
    pub(super) fn custom_swapped(&self, custom: &Custom, generation: u32, swap: Duration) {
        say!(
            "custom categories: generation {generation} active: {} names, compiled in {:.1} ms, swapped in {:.1} ms; \
             the lists are untouched",
            custom.image.header().name_count,
            custom.took.as_secs_f64() * 1e3,
            swap.as_secs_f64() * 1e3,
        );
    }

    /// Tells that names of custom categories are not taken over.
    pub(super) fn custom_refused(&self, why: &str) {
        say!("custom categories: not changed, the names before stay in force: {why}");
    }

    pub(super) fn tick(&mut self, counters: &Counters) {
        if self.is_daemon {
            return;
        }
        let before = self.shown.replace(*counters);
        let is_terminal = std::io::stdout().is_terminal();
        let is_news = match &before {
            Some(before) => before != counters,
            None => counters.iter().any(|(_, packets)| packets > 0),
        };
        if !is_news && !is_terminal {
            return;
        }
        let line = summary(counters, before.map(|before| counters.since(&before)));
        let mut out = std::io::stdout().lock();
        // A reader that left must not stop the filter.
        let _ = if is_terminal {
            write!(out, "\r\x1b[K{line}").and_then(|()| out.flush())
        } else {
            writeln!(out, "{line}")
        };
    }

    /// Prints every counter that is not zero, and their sums.
    pub(super) fn end(&self, counters: &Counters) {
        let mut out = std::io::stdout().lock();
        if out.is_terminal() {
            let _ = writeln!(out);
        }
        for (reason, packets) in counters.iter().filter(|(_, packets)| *packets > 0) {
            let _ = writeln!(out, "{:<24} {packets:>12}", reason.name());
        }
        let _ = writeln!(out, "{}", summary(counters, None));
        say!("detached");
    }
}

/// What is wrong with a policy for an interface.
pub fn idle_policy(name: &str) -> String {
    format!(
        "nothing that is filtered comes by interface:{name}: it is neither attached nor has a port that is; a VLAN is \
         written vlan:ID"
    )
}

/// A heading and the reasons that are summed below it.
type Column = (&'static str, fn(Reason) -> bool);

/// One line of counters, with what came since the last one.
fn summary(counters: &Counters, since: Option<Counters>) -> String {
    let sum = |counters: &Counters, wanted: fn(Reason) -> bool| -> u64 {
        counters
            .iter()
            .filter(|(reason, _)| wanted(*reason))
            .map(|(_, packets)| packets)
            .sum()
    };
    let columns: [Column; 4] = [
        ("answered", |reason| reason.action() == Action::Transmit),
        ("dropped", |reason| reason.action() == Action::Drop),
        ("allowed or no rule", |reason| {
            matches!(reason, Reason::NoRule | Reason::Allowed | Reason::Observed)
        }),
        ("other packets", |reason| {
            reason.action() == Action::Pass
                && !matches!(reason, Reason::NoRule | Reason::Allowed | Reason::Observed)
        }),
    ];
    let cells: Vec<String> = columns
        .iter()
        .map(|(name, wanted)| {
            let more = since
                .as_ref()
                .map_or_else(String::new, |since| format!(" (+{})", sum(since, *wanted)));
            format!("{name} {}{more}", sum(counters, *wanted))
        })
        .collect();
    cells.join("  ")
}

/// An error with its causes, each said once.
pub fn error_chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        next = cause.source();
    }
    text
}

/// Bytes for people, in powers of 1024.
pub fn human_bytes(bytes: usize) -> String {
    const UNITS: [&str; 4] = ["B", "KiB", "MiB", "GiB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 {
        format!("{bytes} B")
    } else {
        format!("{value:.1} {}", UNITS[unit])
    }
}

/// Progress of a compilation on a terminal; silent in a pipe.
pub fn progress_bar() -> impl Fn(Progress) + Send + Sync {
    let bar = indicatif::ProgressBar::new(0).with_style(
        indicatif::ProgressStyle::with_template(
            "{msg:20} [{bar:30}] {bytes}/{total_bytes} {elapsed}",
        )
        .unwrap_or_else(|_| indicatif::ProgressStyle::default_bar()),
    );
    move |progress| {
        bar.set_length(progress.total_bytes);
        bar.set_position(progress.done_bytes);
        if progress.done_bytes >= progress.total_bytes {
            bar.finish_and_clear();
        } else {
            bar.set_message(printable::one_line(&progress.list).into_owned());
        }
    }
}
