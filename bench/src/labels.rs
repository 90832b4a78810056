//! What a query costs as its name has more labels.

use std::fmt::Write as _;

use anyhow::Result;
use clap::Args;
use filter_common::reason::Reason;
use nxdp_lab::cases::Message;

use crate::{
    packet::{TOWER, blocked_name, image, query},
    page,
    plot::{self, Plot},
    programs::{Programs, Rounds},
    sample::Sample,
};

/// Numbers of labels.
const COUNTS: [usize; 12] = [2, 3, 4, 6, 8, 12, 16, 32, 48, 64, 96, 112];

/// Flags of the part.
#[derive(Args, Clone, Debug)]
pub(crate) struct Arguments {
    /// Names in the table
    #[arg(long, default_value_t = 1_000_000)]
    names: u32,
    #[command(flatten)]
    rounds: Rounds,
}

/// Names of each number of labels, and what must become of queries for them.
struct Curve {
    name: &'static str,
    what: &'static str,
    reason: Reason,
    costs: Vec<Sample>,
}

/// Measures and prints.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let mut programs = Programs::new(&image(arguments.names)?)?;
    let blocked = blocked_name(arguments.names / 2);
    let mut curves = [
        Curve::new("clean", "clean, no rule near", Reason::NoRule),
        Curve::new(
            "tower",
            "a rule at each depth, none applies",
            Reason::NoRule,
        ),
        Curve::new("blocked", "below a rule, answered", Reason::NxDomain),
    ];
    for count in COUNTS {
        let below = |name: &str| {
            let labels = name.split('.').count();
            format!("{}{name}", "a.".repeat(count.saturating_sub(labels)))
        };
        let names = [
            below("unlisted.com"),
            vec![TOWER; count].join("."),
            below(&blocked),
        ];
        for (curve, name) in curves.iter_mut().zip(names) {
            let frame = query(&Message::new(&name).opt(0, &[]));
            let (cost, reason) = programs.cost(&arguments.rounds, &frame)?;
            anyhow::ensure!(reason == curve.reason, "{name}: {}", reason.name());
            cost.print(&format!("labels_{count}_{}", curve.name), "ns");
            curve.costs.push(cost);
        }
    }
    let points = |curve: &Curve| {
        let medians = curve.costs.iter().map(Sample::median);
        COUNTS
            .iter()
            .map(|&count| count as f64)
            .zip(medians)
            .collect()
    };
    let plot = Plot {
        file: "labels",
        title: "Cost of a query by the labels of its name, one million names, warm",
        x: "labels",
        is_logarithmic: false,
        curves: curves
            .iter()
            .map(|curve| (curve.what, points(curve)))
            .collect(),
    };
    page::put("labels", table(&curves) + &plot::on_page(&plot));
    plot::draw(&plot)
}

impl Curve {
    fn new(name: &'static str, what: &'static str, reason: Reason) -> Self {
        Self {
            name,
            what,
            reason,
            costs: Vec::new(),
        }
    }
}

fn table(curves: &[Curve]) -> String {
    let mut text = String::from("| labels |");
    for curve in curves {
        // Writing to a string does not fail.
        let _ = write!(text, " {}, ns |", curve.what);
    }
    text += "\n|---:|---:|---:|---:|\n";
    for (at, count) in COUNTS.iter().enumerate() {
        let _ = write!(text, "| {count} |");
        for curve in curves {
            let _ = write!(text, " {:.0} |", curve.costs[at].median());
        }
        text.push('\n');
    }
    text
}
