//! Round trips of clean queries to a nameserver behind the program, at a fixed rate.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use nxdp_lab::responder::Responder;

use super::{Contestant, hand_over};
use crate::{
    rig::{
        DNS, Rig, SERVER_CORE, cpu, paced,
        traffic::{clean_name, message},
    },
    sample::Sample,
};

const ROUNDS: u32 = 5;
const TIME: Duration = Duration::from_millis(1000);
const QUERIES: u32 = 4096;
const NOERROR: u8 = 0;
const PARTS: [(&str, usize); 3] = [("p50", 500), ("p99", 990), ("p999", 999)];

/// Prints percentiles with a program that passes everything and with the filter.
pub(super) fn print(rig: &mut Rig, contestants: &mut [Contestant], rate: u32) -> Result<()> {
    println!("# round trips of clean queries at {rate}/s, socket to socket, nameserver on core 0");
    let queries: Vec<_> = (0..QUERIES)
        .map(|number| message(&clean_name(number), 0, false))
        .collect();
    let responder = rig.server().run(|| -> Result<Responder> {
        cpu::pin_this_thread(SERVER_CORE)?;
        let address: SocketAddr = DNS;
        Responder::start(&[address], 1).context("start the nameserver")
    })??;
    let at = |name| {
        contestants
            .iter()
            .position(|contestant| contestant.name == name)
            .context("no such contestant")
    };
    let compared = [("without", at("pass")?), ("with", at("clean")?)];
    let mut samples = compared.map(|_| PARTS.map(|_| Sample::default()));
    let mut attached = 0;
    for _ in 0..ROUNDS {
        for (of, (_, at)) in samples.iter_mut().zip(compared) {
            hand_over(contestants, attached, at)?;
            attached = at;
            let seen = ask(rig, &queries, rate)?;
            for (sample, (_, per_mille)) in of.iter_mut().zip(PARTS) {
                sample.push(seen.latency_us(per_mille));
            }
        }
    }
    for (of, (name, _)) in samples.iter().zip(compared) {
        for (sample, (part, _)) in of.iter().zip(PARTS) {
            sample.print(&format!("wire_latency_{name}_{part}"), "us");
        }
    }
    drop(responder);
    hand_over(contestants, attached, 0)
}

fn ask(rig: &Rig, queries: &[Vec<u8>], rate: u32) -> Result<paced::Seen> {
    let end = Instant::now() + TIME;
    let seen = rig
        .client()
        .run(|| paced::ask(DNS, queries, rate, NOERROR, || Instant::now() < end))??;
    rig.go_on()?;
    ensure!(seen.wrong == 0, "{} wrong answers", seen.wrong);
    if seen.lost() > 0 {
        println!("# {} of {} queries lost", seen.lost(), seen.sent);
    }
    Ok(seen)
}
