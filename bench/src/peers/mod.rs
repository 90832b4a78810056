//! nxdp beside the DNS filters that people use: the same list, the same wire, the same core.
//!
//! Every server works on core 0, its packets' way through the kernel included, and all of that time is
//! counted. The generator is the same for all and no server's limit. A server that is missing or fails
//! is reported, and the others go on.

mod bind;
mod buffers;
mod catalogue;
mod dnsdist;
mod resolvers;
mod row;
mod site;
mod trial;

use std::time::Duration;

use anyhow::{Result, ensure};
use clap::Args;

use crate::rig::Rig;
use buffers::Buffers;
use catalogue::Peer;
use row::Row;

/// The contestant that the others are compared with.
const OWN: &str = "nxdp";
/// Flags of the part.
#[derive(Args, Clone, Debug)]
pub(crate) struct Arguments {
    /// Names of the list
    #[arg(long, default_value_t = 200_000)]
    names: u32,
    /// Only these, by the names that the results have
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Milliseconds a rate
    #[arg(long, default_value_t = 500)]
    time_ms: u64,
    /// Blocked queries a second during the reload
    #[arg(long, default_value_t = 10_000)]
    reload_rate: u32,
}

/// Measures and prints.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let peers = chosen(arguments)?;
    let mut rig = Rig::new()?;
    let _buffers = Buffers::widen();
    println!(
        "# {} names, all queries blocked, every server on core 0, generator on core 1",
        arguments.names
    );
    println!(
        "# cpu: time of the server's threads and of the NAPI thread that feeds it, by the scheduler's clock"
    );
    let mut rows = Vec::new();
    for peer in peers {
        rig.go_on()?;
        match trial::measure(&mut rig, &peer, arguments) {
            Ok(row) => {
                row.print(&peer);
                rows.push(row);
            }
            Err(error) => {
                rig.go_on()?;
                println!("# {}: not measured: {error:#}", peer.name);
            }
        }
    }
    row::print_table(&rows);
    print_ratios(&rows);
    Ok(())
}

fn chosen(arguments: &Arguments) -> Result<Vec<Peer>> {
    let mut peers = catalogue::all();
    for name in &arguments.only {
        ensure!(
            peers.iter().any(|peer| peer.name == name),
            "{name}: no such server; there are {}",
            peers
                .iter()
                .map(|peer| peer.name)
                .collect::<Vec<_>>()
                .join(", ")
        );
    }
    let is_chosen = |peer: &Peer| {
        arguments.only.is_empty() || arguments.only.iter().any(|name| name == peer.name)
    };
    peers.retain(is_chosen);
    Ok(peers)
}

fn print_ratios(rows: &[Row]) {
    let Some(own) = rows.iter().find(|row| row.name == OWN) else {
        return;
    };
    // A server that drops gives no answer that could be compared.
    let others = rows.iter().filter(|row| row.name != OWN && row.answers);
    let ratio = |row: &Row| row.cpu_ns / own.cpu_ns;
    for row in others.clone() {
        println!("peers_{}_to_{OWN}_cpu {:.1} ratio", row.name, ratio(row));
    }
    let fastest = others.min_by(|a, b| a.cpu_ns.total_cmp(&b.cpu_ns));
    if let Some(fastest) = fastest {
        println!("peers_fastest_to_{OWN}_cpu {:.1} ratio", ratio(fastest));
        println!("# the fastest: {}", fastest.name);
    }
}

impl Arguments {
    fn time(&self) -> Duration {
        Duration::from_millis(self.time_ms)
    }
}
