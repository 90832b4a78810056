//! The demonstration: the built filter on a real interface, real queries through it.
//!
//! What should happen to a name is asked of `nxdp query`, which reads the lists
//! without the kernel; what does happen is seen by the client. Where the two
//! differ, the demonstration fails.

mod plan;
mod samples;
mod swap;
mod table;

use std::{
    io::Write,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, bail, ensure};
use hickory_proto::rr::RecordType;
use nix::{sys::signal::Signal, unistd::geteuid};
use tempfile::TempDir;
use thiserror::Error;

use self::{plan::Plan, samples::Lists, table::Table};
use crate::{
    lab::{LAN_INTERFACE, Lab},
    process::{Process, Stream},
    query::Query,
    responder::COUNT_NAME,
};

/// How long the filter may take to compile the lists and attach.
const ATTACH_TIMEOUT: Duration = Duration::from_secs(120);
/// How long the filter may take to end.
const END_TIMEOUT: Duration = Duration::from_secs(10);

/// What to show.
#[derive(Clone, Debug)]
pub struct Options {
    /// Lists; the bundled samples when empty.
    pub lists: Vec<PathBuf>,
    /// The binary `nxdp`.
    pub nxdp: PathBuf,
    /// What `nxdp run --mode` takes.
    pub mode: String,
    /// Set from outside to end early.
    pub stop: Arc<AtomicBool>,
}

/// Why there was no demonstration, or none to be proud of.
#[derive(Debug, Error)]
pub enum DemoError {
    /// It cannot begin.
    #[error("{0}")]
    Usage(String),
    /// It failed.
    #[error("{0:#}")]
    Failed(#[from] anyhow::Error),
}

/// Shows everything; the table goes to `out`, talk to standard error.
///
/// # Errors
/// Fails when anything does not work as `nxdp query` says it should.
pub fn run(options: &Options, out: &mut dyn Write) -> Result<(), DemoError> {
    check_start(options)?;
    Demo::start(options)?.show(out)?;
    Ok(())
}

fn check_start(options: &Options) -> Result<(), DemoError> {
    if !geteuid().is_root() {
        let why = "the demonstration makes network namespaces and needs root: run it with sudo";
        return Err(DemoError::Usage(why.to_owned()));
    }
    if !options.nxdp.is_file() {
        let path = options.nxdp.display();
        let why =
            format!("{path} is missing: build it with `cargo xtask build`, or name it with --nxdp");
        return Err(DemoError::Usage(why));
    }
    for list in &options.lists {
        if let Err(error) = std::fs::File::open(list) {
            let why = format!("cannot read the list {}: {error}", list.display());
            return Err(DemoError::Usage(why));
        }
    }
    Ok(())
}

/// Everything that runs; dropping it ends and removes all of it, in this order.
struct Demo<'a> {
    options: &'a Options,
    filter: Process,
    lab: Lab,
    _responder: crate::responder::Responder,
    lists: Lists,
    _folder: TempDir,
}

impl<'a> Demo<'a> {
    fn start(options: &'a Options) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("nxdp-demo-").tempdir()?;
        let lists = Lists::prepare(&options.lists, folder.path())?;
        talk("making three network namespaces: client, router, resolver");
        let lab = Lab::new()?;
        let responder = lab.start_responder()?;
        warm(&lab).context("the lab does not work even without the filter")?;
        let socket = folder.path().join("control.sock");
        let filter = start_filter(options, &lab, &lists, &socket)?;
        Ok(Self {
            options,
            filter,
            lab,
            _responder: responder,
            lists,
            _folder: folder,
        })
    }

    fn show(mut self, out: &mut dyn Write) -> Result<()> {
        self.wait_until_attached()?;
        let shown = self.ask_and_swap(out);
        // Its counters are worth most when something went wrong.
        let ended = self.end_filter(out);
        shown.and(ended)
    }

    fn ask_and_swap(&self, out: &mut dyn Write) -> Result<()> {
        let plan = Plan::make(&self.options.nxdp, self.lists.shown(), &self.lists.paths())?;
        let table = self.ask_all(&plan)?;
        write!(out, "{table}")?;
        out.flush()?;
        let wrong = table.wrong_rows();
        ensure!(
            wrong == 0,
            "{wrong} answers are not what `nxdp query` says they should be"
        );
        talk("rewriting one list; the running filter shall notice by itself");
        let swap = swap::show(&self.lab, &self.lists, &|| self.check_going_on())?;
        write!(out, "\n{swap}")?;
        Ok(())
    }

    fn wait_until_attached(&self) -> Result<()> {
        let end = Instant::now() + ATTACH_TIMEOUT;
        loop {
            let line = self
                .filter
                .wait_for_line(0, "attached", Duration::from_millis(200));
            let is_over = Instant::now() >= end || !self.filter.is_writing();
            match line {
                Err(error) if is_over => return Err(error),
                Err(_) => self.check_going_on()?,
                Ok(_) => return Ok(()),
            }
        }
    }

    fn ask_all(&self, plan: &Plan) -> Result<Table> {
        talk(&format!(
            "asking {} questions over IPv4 and IPv6",
            plan.questions.len()
        ));
        let mut table = Table::default();
        for question in &plan.questions {
            for (family, server) in crate::lab::DNS_SERVERS {
                self.check_going_on()?;
                let reply = question.query()?.ask_from(self.lab.client(), server);
                table.push(question, family, &reply);
            }
        }
        Ok(table)
    }

    /// Ends the filter as Ctrl-C would, and hands on what it counted.
    fn end_filter(&mut self, out: &mut dyn Write) -> Result<()> {
        talk("ending the filter with SIGINT; it counted:");
        let status = self.filter.end(Signal::SIGINT, END_TIMEOUT)?;
        write!(out, "\n{}", self.filter.text(Stream::Out))?;
        out.flush()?;
        ensure!(
            status.success(),
            "nxdp ended with {status}:\n{}",
            self.filter.text(Stream::Err)
        );
        let left = self
            .lab
            .router()
            .output("ip", &["-d", "link", "show", LAN_INTERFACE])?;
        ensure!(
            !left.contains("prog/xdp"),
            "nxdp left its program on {LAN_INTERFACE}:\n{left}"
        );
        Ok(())
    }

    fn check_going_on(&self) -> Result<()> {
        if self.options.stop.load(Ordering::Relaxed) {
            bail!("ended by a signal; everything is removed");
        }
        ensure!(
            self.filter.is_writing(),
            "nxdp ended by itself:\n{}",
            self.filter.text(Stream::Err)
        );
        Ok(())
    }
}

fn start_filter(options: &Options, lab: &Lab, lists: &Lists, socket: &Path) -> Result<Process> {
    let mut command = Command::new(&options.nxdp);
    command.args(["run", "--interface", LAN_INTERFACE, "--mode", &options.mode]);
    command.arg("--socket").arg(socket);
    for list in lists.paths() {
        command.arg("--list").arg(list);
    }
    talk(&format!(
        "starting nxdp on {LAN_INTERFACE} of the router, {} mode",
        options.mode
    ));
    lab.router().spawn(command)
}

/// Lets every station learn the others' hardware addresses, so that no round trip includes that.
fn warm(lab: &Lab) -> Result<()> {
    let query = Query::new(COUNT_NAME, RecordType::TXT).map_err(|error| anyhow!(error))?;
    lab.ask_v4(&query).context("over IPv4")?;
    lab.ask_v6(&query).context("over IPv6")?;
    Ok(())
}

fn talk(line: &str) {
    eprintln!("nxdp-lab: {line}");
}
