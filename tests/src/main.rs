//! The binary `nxdp-lab`: the lab's parts as commands.

use std::{
    net::SocketAddr,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result};
use clap::{Args, Parser, Subcommand};
use hickory_proto::rr::RecordType;
use nxdp_tests::{
    query::{Query, Reply, Transport},
    responder::Responder,
};
use signal_hook::consts::{SIGINT, SIGTERM};

/// The lab in which nxdp is tried and tested.
#[derive(Parser)]
#[command(name = "nxdp-lab", version)]
struct Arguments {
    #[command(subcommand)]
    command: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Answers DNS queries for every name, until SIGINT or SIGTERM; then says how many came.
    Responder(ResponderArguments),
    /// Asks one question and prints the answer.
    Query(QueryArguments),
}

#[derive(Args)]
struct ResponderArguments {
    /// Address and port to listen on, UDP and TCP; may be repeated.
    #[arg(long = "listen", value_name = "ADDR:PORT", required = true)]
    addresses: Vec<SocketAddr>,
    /// UDP threads for each address.
    #[arg(long, default_value_t = 1)]
    threads: usize,
}

#[derive(Args)]
struct QueryArguments {
    /// The name.
    name: String,
    /// The resolver.
    #[arg(long, value_name = "ADDR:PORT")]
    server: SocketAddr,
    /// The record type.
    #[arg(long = "type", default_value = "A")]
    record_type: RecordType,
    /// Sends OPT.
    #[arg(long)]
    edns: bool,
    /// Mixes the case of the name.
    #[arg(long)]
    mixed_case: bool,
    /// Asks over TCP.
    #[arg(long)]
    tcp: bool,
    /// Milliseconds to wait for the answer.
    #[arg(long, default_value_t = 2000)]
    timeout_ms: u64,
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Verb::Responder(arguments) => respond(&arguments),
        Verb::Query(arguments) => ask(&arguments),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("nxdp-lab: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn respond(arguments: &ResponderArguments) -> Result<()> {
    let stop = stop_flag()?;
    let responder = Responder::start(&arguments.addresses, arguments.threads)
        .context("cannot listen; is the address there and the port free?")?;
    eprintln!("nxdp-lab: responder listens");
    while !stop.load(Ordering::Relaxed) {
        std::thread::sleep(Duration::from_millis(20));
    }
    let received = responder.received();
    println!("udp {}", received.udp);
    println!("tcp {}", received.tcp);
    println!("malformed {}", received.malformed);
    Ok(())
}

/// A flag that SIGINT and SIGTERM set.
fn stop_flag() -> Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&stop))
            .context("cannot watch for signals")?;
    }
    Ok(stop)
}

fn ask(arguments: &QueryArguments) -> Result<()> {
    let mut query = Query::new(&arguments.name, arguments.record_type)?
        .timeout(Duration::from_millis(arguments.timeout_ms));
    if arguments.edns {
        query = query.edns();
    }
    if arguments.mixed_case {
        query = query.mixed_case();
    }
    if arguments.tcp {
        query = query.over(Transport::Tcp);
    }
    print_reply(&query.ask(arguments.server)?);
    Ok(())
}

fn print_reply(reply: &Reply) {
    println!("rcode {}", reply.rcode());
    for record in reply.answers() {
        println!("answer {record}");
    }
    if let Some((owner, soa)) = reply.soa() {
        println!("soa {owner} {soa}");
    }
    if let Some(error) = reply.extended_error() {
        println!("ede {} {}", error.code, error.text);
    }
    println!("bytes {}", reply.bytes.len());
    println!("round_trip_us {}", reply.round_trip.as_micros());
}
