//! The binary `nxdp-lab`: the lab's parts as commands.

use std::{
    io::stdout,
    net::SocketAddr,
    path::PathBuf,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use clap::{Args, Parser, Subcommand};
use hickory_proto::rr::RecordType;
use nxdp_lab::{
    demo::{self, DemoError, Options},
    devices,
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
    /// Shows the filter at work in three network namespaces, then removes everything
    ///
    /// Makes a client, a router and a resolver, runs nxdp on the router's interface,
    /// asks real questions over IPv4 and IPv6, rewrites a list under way and ends.
    /// Nothing on the machine itself is filtered.
    Demo(DemoArguments),
    /// Answers DNS queries for every name, until SIGINT or SIGTERM; then says how many came
    Responder(ResponderArguments),
    /// Asks one question and prints the answer
    Query(QueryArguments),
    /// Attaches the filter to every kind of interface over this machine's network cards
    ///
    /// For the machine that `cargo xtask vm devices` emulates: it takes the cards whose hardware
    /// addresses it knows, and nothing else of the machine.
    Devices(DevicesArguments),
}

#[derive(Args)]
struct DemoArguments {
    /// Block lists instead of the bundled samples; may be repeated
    #[arg(long = "list", value_name = "FILE", num_args = 1..)]
    lists: Vec<PathBuf>,
    /// The binary nxdp [default: the one beside this program]
    #[arg(long, value_name = "PATH")]
    nxdp: Option<PathBuf>,
    /// Where the filter runs
    #[arg(long, value_name = "MODE", default_value = "native", value_parser = ["native", "skb"])]
    mode: String,
}

#[derive(Args)]
struct ResponderArguments {
    /// Address and port to listen on, UDP and TCP; may be repeated
    #[arg(long = "listen", value_name = "ADDR:PORT", required = true)]
    addresses: Vec<SocketAddr>,
    /// UDP threads for each address
    #[arg(long, default_value_t = 1)]
    threads: usize,
}

#[derive(Args)]
struct QueryArguments {
    /// The name
    name: String,
    /// The resolver
    #[arg(long, value_name = "ADDR:PORT")]
    server: SocketAddr,
    /// The record type
    #[arg(long = "type", default_value = "A")]
    record_type: RecordType,
    /// Sends OPT
    #[arg(long)]
    edns: bool,
    /// Mixes the case of the name
    #[arg(long)]
    mixed_case: bool,
    /// Asks over TCP
    #[arg(long)]
    tcp: bool,
    /// Milliseconds to wait for the answer
    #[arg(long, default_value_t = 2000)]
    timeout_ms: u64,
}

#[derive(Args)]
struct DevicesArguments {
    /// What the cards are, for the table
    #[arg(long, default_value = "cards")]
    cards: String,
    /// Rows by a part of their names; all when none is named
    #[arg(long = "row", value_name = "NAME")]
    rows: Vec<String>,
    /// The widest rows: those about the driver, its offloads as well, or the kernel's devices above, too
    #[arg(long, value_enum, default_value = "kernel")]
    breadth: devices::Breadth,
    /// The binary nxdp [default: the one beside this program]
    #[arg(long, value_name = "PATH")]
    nxdp: Option<PathBuf>,
}

/// Exit code for bad usage.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Verb::Demo(arguments) => demonstrate(arguments),
        Verb::Responder(arguments) => respond(&arguments).map_err(DemoError::from),
        Verb::Query(arguments) => ask(&arguments).map_err(DemoError::from),
        Verb::Devices(arguments) => try_devices(arguments).map_err(DemoError::from),
    };
    let Err(error) = result else {
        return ExitCode::SUCCESS;
    };
    eprintln!("nxdp-lab: {error}");
    match error {
        DemoError::Usage(_) => ExitCode::from(USAGE),
        DemoError::Failed(_) => ExitCode::FAILURE,
    }
}

fn demonstrate(arguments: DemoArguments) -> Result<(), DemoError> {
    let options = Options {
        lists: arguments.lists,
        nxdp: match arguments.nxdp {
            Some(path) => path,
            None => beside_this_program("nxdp")?,
        },
        mode: arguments.mode,
        stop: stop_flag()?,
    };
    demo::run(&options, &mut stdout().lock())
}

fn try_devices(arguments: DevicesArguments) -> Result<()> {
    let options = devices::Options {
        nxdp: match arguments.nxdp {
            Some(path) => path,
            None => beside_this_program("nxdp")?,
        },
        cards: arguments.cards,
        rows: arguments.rows,
        breadth: arguments.breadth,
    };
    ensure!(
        devices::run(&options, &mut stdout().lock())?,
        "some device is attached and silent"
    );
    Ok(())
}

fn beside_this_program(name: &str) -> Result<PathBuf> {
    let program = std::env::current_exe().context("cannot find this program's own path")?;
    Ok(program.with_file_name(name))
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
        // The second signal ends the process at once; the kernel removes what it held.
        signal_hook::flag::register_conditional_shutdown(signal, 1, Arc::clone(&stop))
            .context("cannot watch for signals")?;
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
    println!("rcode {}", reply.rcode_text());
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
