//! What was found out of one server, as lines and as a row of the table.

use std::time::Duration;

use anyhow::{Context as _, Result};

use super::{catalogue::Peer, trial::Memory};
use crate::rig::{Outcome, paced::Seen};

const MIB: f64 = (1 << 20) as f64;

/// The figures of one server.
pub(super) struct Row {
    pub(super) name: &'static str,
    pub(super) answers: bool,
    /// Answers a second at the rate with the most, or queries dropped.
    served: f64,
    /// The share of the server's core that was in use then.
    load: f64,
    /// The least that a query took of the core, over all rates.
    pub(super) cpu_ns: f64,
    loaded: Duration,
    resident_mib: f64,
    kernel_mib: f64,
    reloaded: Option<Reloaded>,
}

/// A reload, and what a client saw meanwhile.
pub(super) struct Reloaded {
    /// Until the new list was in force, if it ever was.
    pub(super) took: Option<Duration>,
    pub(super) seen: Seen,
}

impl Row {
    pub(super) fn new(
        peer: &Peer,
        loaded: Duration,
        memory: &Memory,
        outcomes: &[Outcome],
        reloaded: Option<Reloaded>,
    ) -> Result<Self> {
        let served = |outcome: &Outcome| {
            if peer.answers {
                outcome.answered_a_second()
            } else {
                outcome.received_a_second()
            }
        };
        let best = outcomes
            .iter()
            .max_by(|a, b| served(a).total_cmp(&served(b)))
            .context("nothing was measured")?;
        let cpu_ns = |outcome: &Outcome| outcome.load() * 1e9 / served(outcome);
        Ok(Self {
            name: peer.name,
            answers: peer.answers,
            served: served(best),
            load: best.load(),
            cpu_ns: outcomes.iter().map(cpu_ns).fold(f64::INFINITY, f64::min),
            loaded,
            resident_mib: memory.resident as f64 / MIB,
            kernel_mib: memory.kernel as f64 / MIB,
            reloaded,
        })
    }

    /// Prints each figure on a line.
    pub(super) fn print(&self, peer: &Peer) {
        let name = self.name;
        println!("# {name}: {}", peer.about);
        let served = if self.answers { "answered" } else { "dropped" };
        let line = |what: &str, value: f64, unit: &str| {
            println!("peers_{name}_{what} {value:.1} {unit}");
        };
        line(served, self.served / 1e3, "thousand queries/s");
        line("load", self.load * 100.0, "% of the core");
        line("cpu", self.cpu_ns, "ns a query");
        line("start", self.loaded.as_secs_f64() * 1e3, "ms");
        line("resident", self.resident_mib, "MiB");
        line("kernel_maps", self.kernel_mib, "MiB");
        let Some(Reloaded { took, seen }) = &self.reloaded else {
            return;
        };
        match took {
            Some(took) => line("reload", took.as_secs_f64() * 1e3, "ms"),
            None => println!("# {name}: the new list did not come into force in time"),
        }
        line("reload_sent", seen.sent as f64, "queries");
        line("reload_lost", seen.lost() as f64, "queries");
        line("reload_wrong", seen.wrong as f64, "queries");
        line("reload_silence", seen.silence.as_secs_f64() * 1e3, "ms");
        line("latency_p50", seen.latency_us(500), "us");
        line("latency_p99", seen.latency_us(990), "us");
    }

    fn columns(&self) -> [String; 10] {
        let reload = self.reloaded.as_ref();
        let of_reload = |value: &dyn Fn(&Reloaded) -> String| reload.map_or("-".into(), value);
        [
            self.name.to_owned(),
            format!("{:.0} k", self.served / 1e3),
            format!("{:.0}", self.load * 100.0),
            format!("{:.0}", self.cpu_ns),
            format!("{:.2}", self.loaded.as_secs_f64()),
            format!("{:.0} + {:.0}", self.resident_mib, self.kernel_mib),
            of_reload(&|reload| {
                let took = reload.took.map(|took| format!("{:.2}", took.as_secs_f64()));
                took.unwrap_or_else(|| "never".into())
            }),
            of_reload(&|reload| reload.seen.sent.to_string()),
            of_reload(&|reload| (reload.seen.lost() + reload.seen.wrong).to_string()),
            of_reload(&|reload| format!("{:.0}", reload.seen.silence.as_secs_f64() * 1e3)),
        ]
    }
}

/// Prints all rows as a table of comments.
pub(super) fn print_table(rows: &[Row]) {
    let head = [
        "server",
        "queries/s",
        "core %",
        "CPU ns a query",
        "start s",
        "MiB (own + kernel maps)",
        "reload s",
        "sent meanwhile",
        "lost or wrong",
        "longest silence ms",
    ];
    println!("# | {} |", head.join(" | "));
    println!("# |{}", "---|".repeat(head.len()));
    for row in rows {
        println!("# | {} |", row.columns().join(" | "));
    }
}
