//! Flags, help and exit codes: the only module that knows clap.
//!
//! Data goes to standard output, talk to standard error. Exit codes: 0 done,
//! 1 failed, 2 bad usage or configuration, 3 in force but not on every interface.

mod attach;
mod check;
mod client_facts;
mod compile;
mod daemon;
mod diff;
mod features;
mod lists;
mod load;
mod log;
mod metrics;
mod names;
mod offline;
mod out;
mod overrides;
mod policies;
mod query;
mod run;
mod status;
mod top;
mod when;

use std::{collections::BTreeMap, io, path::PathBuf, process::ExitCode};

use clap::{
    Args, Parser, Subcommand, ValueEnum,
    builder::{PossibleValue, PossibleValuesParser, TypedValueParser},
};
use filter_kernel::PINS_DEFAULT;
use filter_lists::{
    guard::{Finding, GuardKind, Severity},
    list::{Format, ScopePolicy},
};
use filter_user::{
    config::{self, AnswerChoice, CONFIG_DEFAULT, Config, ListConfig, ModeChoice, SOCKET_DEFAULT},
    control,
    service::{self, STATE_DEFAULT},
};

/// A DNS filter inside the Linux kernel.
///
/// nxdp compiles blocklists into a table that an XDP program looks names up in
/// as packets arrive: blocked names are answered, dropped or only counted
/// before the network stack sees them; everything else passes untouched.
#[derive(Debug, Parser)]
#[command(name = "nxdp", version, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Compile lists into an image file and say what became of every line
    Compile(compile::Arguments),
    /// Say whether a configuration and its lists are fit to run; needs no root
    ///
    /// Reads everything, asks the guards and shows the lists as they take effect.
    /// Exit code 2 if `nxdp run` would refuse.
    Check(check::Arguments),
    /// Say which names a new image adds, removes or changes
    Diff(diff::Arguments),
    /// Compile, load, attach and stay, until Ctrl-C
    ///
    /// SIGHUP reads configuration and lists again; a list file that changes is
    /// read again by itself. What is wrong changes nothing, and is told. Ending
    /// the process detaches the program; names are then no longer blocked.
    ///
    /// CAUTION: blocked names stop resolving for everybody behind the
    /// interface. Try a list with `--answer observe` first: nothing is blocked
    /// and the counters tell what would have been.
    Run(run::Arguments),
    /// Load and attach the program and end; it stays in force without any process
    ///
    /// Needs root, or CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON. Program, maps and
    /// attachments are pinned below /sys/fs/bpf/nxdp, and the maps handed to the
    /// user of `nxdp daemon`, which fills them and needs no privilege.
    ///
    /// What is loaded already, also by another version, is replaced without a
    /// gap: each interface changes in one atomic step, to the same lists. After a
    /// boot the lists that were active last are active before the first packet.
    ///
    /// An interface that refuses the program keeps it from no other: exit code 3.
    ///
    /// CAUTION: from then on names are blocked until `nxdp unload`, whatever
    /// becomes of the daemon.
    Load(load::Arguments),
    /// Attach the loaded program to interfaces that came after `nxdp load`
    ///
    /// With --watch it stays and does so whenever an interface of the
    /// configuration appears: for PPP, VPN and hot-plugged interfaces. Needs
    /// CAP_BPF and CAP_NET_ADMIN.
    Attach(attach::Arguments),
    /// Keep lists and counters of what `nxdp load` loaded, without any privilege
    ///
    /// The lists are read again on SIGHUP and when a list file changes. However
    /// it ends, the lists that are active stay in force, and the next daemon
    /// goes on with them. Capabilities that it is given are dropped.
    Daemon(daemon::DaemonArguments),
    /// Detach the program everywhere and remove all that `nxdp load` made
    ///
    /// CAUTION: from then on nothing is blocked. Fails if anything is left.
    Unload(load::UnloadArguments),
    /// Say what would happen to a name, and which list and line decide it; needs no root
    Query(query::Arguments),
    /// Say the same, with every other rule that touches the name and why it lost
    Explain(query::Arguments),
    /// Say what this machine and an interface can do, what stands in the way and what to do about it
    Features(features::Arguments),
    /// Let names through at once, whatever the lists say
    ///
    /// In effect when the command returns, and kept over restarts; no list is
    /// compiled. It ends when it should even if nxdp does not run then. Where no
    /// daemon runs, root can say it all the same.
    Allow(overrides::NameArguments),
    /// Block names at once, whatever the lists say
    ///
    /// CAUTION: a blocked name stops resolving for everybody whom it is said for.
    Block(overrides::BlockArguments),
    /// List what `nxdp allow`, `block` and `pause` said that still holds
    Overrides(overrides::ListArguments),
    /// Remove or import overrides
    #[command(subcommand)]
    Override(overrides::OverrideCommand),
    /// Block nothing for a time, for everybody, a policy or one client
    ///
    /// The kernel ends it by itself. Overrides are suspended as well.
    Pause(overrides::PauseArguments),
    /// End a pause early
    Resume(overrides::ResumeArguments),
    /// Show what nxdp is attached to and which lists are active
    ///
    /// Where no daemon runs, root is told what is in force without one.
    Status(status::Arguments),
    /// Have a running nxdp read configuration and lists again, and wait for the outcome
    ///
    /// The lists that are active stay in force if anything is wrong with the new
    /// ones: exit code 1. Takes root, the service's user, or `admin_group` of the configuration.
    Reload(status::ReloadArguments),
    /// Show the packet counters of a running nxdp by reason
    Stats(status::StatsArguments),
    /// Print the counters and more of a running nxdp as OpenMetrics text, for Prometheus and others
    Metrics(metrics::Arguments),
    /// Print the queries that a running nxdp blocked, or all: who asked for what, and what decided
    ///
    /// The query log says who asked for what, so it is off by default. `--set blocked` or
    /// `--set all` turns it on in the running nxdp, `--set off` turns it off;
    /// `queries = "blocked"` below `[log]` turns it on for good. nxdp keeps the
    /// last 1000 queries in memory. Clients of an unfiltered policy are not logged.
    Log(log::Arguments),
    /// Watch a running nxdp on the terminal: rates, verdicts, lists, blocked names, clients
    Top(top::Arguments),
    /// Show the lists: how old they are, how they last came, and when they are asked for again
    ///
    /// `age` is how long ago a list or its copy was written, `checked` how long ago
    /// its server said that it has no other. Asks the running nxdp; with `--config`
    /// and none running, it shows what is on the disk.
    Lists(lists::ListsArguments),
    /// Fetch lists that have a `url` now, and use what came
    ///
    /// Asks the running nxdp to, and waits until it is done; with `--config` and none
    /// running, it fetches by itself for the next start. What the guards refuse, or
    /// is no list, changes nothing. Exit code 1 if a list did not come.
    Update(lists::UpdateArguments),
}

/// Lists, named by flags or by a configuration file.
#[derive(Debug, Args)]
struct ListArguments {
    /// List file: hosts, plain domains, wildcard, AdGuard, dnsmasq, unbound or RPZ, detected; may be repeated, and further files may follow
    #[arg(long = "list", short = 'l', value_name = "FILE")]
    lists: Vec<PathBuf>,
    /// Configuration file (TOML); flags win over it [default: /etc/nxdp/nxdp.toml, if no list is named]
    #[arg(long, short = 'c', value_name = "FILE")]
    config: Option<PathBuf>,
    /// Format of the lists named by flags, instead of detecting it
    #[arg(long, value_name = "FORMAT")]
    format: Option<Format>,
    /// Scope of the lists named by flags: as-format, exact or suffix
    #[arg(long, value_name = "SCOPE")]
    scope: Option<ScopePolicy>,
    /// File of popular names, `name` or `rank,name` a line, that no hash collision may hit
    #[arg(long, value_name = "FILE")]
    popular: Option<PathBuf>,
}

impl ListArguments {
    /// The configuration that file and flags make together.
    fn config(&self) -> Result<Config, config::Error> {
        self.config_with(&[])
    }

    /// The configuration file: the one that is named, or the usual one where no list is.
    fn file(&self, files: &[PathBuf]) -> Option<PathBuf> {
        let names_none = self.lists.is_empty() && files.is_empty();
        let usual = || names_none.then(usual_config).flatten();
        self.config.clone().or_else(usual)
    }

    fn config_with(&self, files: &[PathBuf]) -> Result<Config, config::Error> {
        let mut config = match self.file(files) {
            Some(path) => Config::read(&path)?,
            None => Config::default(),
        };
        config
            .lists
            .extend(self.lists.iter().chain(files).map(|path| ListConfig {
                format: self.format,
                scope: self.scope,
                ..ListConfig::of_path(path)
            }));
        if let Some(path) = &self.popular {
            config.guard.popular = Some(path.clone());
        }
        Ok(config)
    }
}

/// The configuration file of an installed nxdp, where there is one.
fn usual_config() -> Option<PathBuf> {
    let path = PathBuf::from(CONFIG_DEFAULT);
    // What cannot be looked for is an error when it is read.
    path.try_exists().unwrap_or(true).then_some(path)
}

/// Where the filter is pinned.
#[derive(Debug, Args)]
struct PinsArgument {
    /// Folder on a BPF file system in which the filter is pinned
    #[arg(long, value_name = "DIR", default_value = PINS_DEFAULT)]
    pins: PathBuf,
}

/// Where the daemon keeps what it needs after a restart.
#[derive(Debug, Args)]
struct StateArgument {
    /// Folder of the daemon's state: the lists that were active last
    #[arg(long, value_name = "DIR", default_value = STATE_DEFAULT)]
    state: PathBuf,
}

/// Lists as arguments, by flags or by a configuration file.
#[derive(Debug, Args)]
struct GivenLists {
    /// List files; the same as `--list`
    #[arg(value_name = "LIST")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    flags: ListArguments,
}

impl GivenLists {
    /// The configuration file, if there is one.
    fn file(&self) -> Option<PathBuf> {
        self.flags.file(&self.files)
    }

    /// The configuration that all of them make together, with one list at least.
    fn config(&self) -> Result<Config, config::Error> {
        let config = self.flags.config_with(&self.files)?;
        match config.is_without_lists() {
            true => Err(config::Error::NoList),
            false => Ok(config),
        }
    }
}

/// Where a running nxdp listens.
#[derive(Debug, Args)]
struct SocketArgument {
    /// Control socket of the running nxdp [default: /run/nxdp/control.sock, or that of /etc/nxdp/nxdp.toml]
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
}

impl SocketArgument {
    /// The socket: the one that is named, the usual one, or that of the usual configuration.
    fn path(&self) -> PathBuf {
        let usual = PathBuf::from(SOCKET_DEFAULT);
        let configured = || match usual.try_exists() {
            Ok(false) => Config::read(&usual_config()?).ok()?.socket,
            _ => None,
        };
        let named = self.socket.clone().or_else(configured);
        named.unwrap_or_else(|| SOCKET_DEFAULT.into())
    }
}

/// Where the program runs.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum ModeFlag {
    /// In the driver, before the kernel allocates anything
    Native,
    /// Behind the driver (generic XDP): any device, slower
    Skb,
}

impl From<ModeFlag> for ModeChoice {
    fn from(flag: ModeFlag) -> Self {
        match flag {
            ModeFlag::Native => Self::Native,
            ModeFlag::Skb => Self::Skb,
        }
    }
}

/// The words for answers as values of a flag, each with what it means.
fn answer_parser() -> impl TypedValueParser<Value = AnswerChoice> {
    let value = |answer: AnswerChoice| PossibleValue::new(answer.word()).help(answer.meaning());
    PossibleValuesParser::new(AnswerChoice::all().map(value))
        .try_map(|word| AnswerChoice::from_word(&word).ok_or("no such answer"))
}

/// How nxdp ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Exit {
    /// Everything that was asked for is done.
    Done = 0,
    /// Something failed.
    Failed = 1,
    /// The flags or the configuration make no sense.
    Usage = 2,
    /// The filter is in force, but not on every interface.
    Partly = 3,
}

/// An error and the exit code that goes with it.
#[derive(Debug)]
struct Failure {
    exit: Exit,
    error: anyhow::Error,
}

impl Failure {
    fn partly(error: impl Into<anyhow::Error>) -> Self {
        Self {
            exit: Exit::Partly,
            error: error.into(),
        }
    }

    fn usage(error: impl Into<anyhow::Error>) -> Self {
        Self {
            exit: Exit::Usage,
            error: error.into(),
        }
    }
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self {
            exit: Exit::Failed,
            error: error.into(),
        }
    }
}

/// Does what the command line says.
pub(crate) fn main() -> ExitCode {
    // Clap prints its own errors and ends with 2.
    let result = match Cli::parse().command {
        Command::Compile(arguments) => arguments.run(),
        Command::Check(arguments) => arguments.run(),
        Command::Diff(arguments) => arguments.run(),
        Command::Run(arguments) => arguments.run(),
        Command::Load(arguments) => arguments.run(),
        Command::Attach(arguments) => arguments.run(),
        Command::Daemon(arguments) => arguments.run(),
        Command::Unload(arguments) => arguments.run(),
        Command::Query(arguments) => arguments.query(),
        Command::Explain(arguments) => arguments.explain(),
        Command::Features(arguments) => arguments.run(),
        Command::Allow(arguments) => arguments.allow(),
        Command::Block(arguments) => arguments.run(),
        Command::Overrides(arguments) => arguments.run(),
        Command::Override(command) => command.run(),
        Command::Pause(arguments) => arguments.run(),
        Command::Resume(arguments) => arguments.run(),
        Command::Status(arguments) => arguments.status(),
        Command::Reload(arguments) => arguments.run(),
        Command::Stats(arguments) => arguments.stats(),
        Command::Metrics(arguments) => arguments.run(),
        Command::Log(arguments) => arguments.run(),
        Command::Top(arguments) => arguments.run(),
        Command::Lists(arguments) => arguments.run(),
        Command::Update(arguments) => arguments.run(),
    };
    let exit = match result {
        Ok(()) => Exit::Done,
        Err(failure) if is_broken_pipe(&failure.error) => Exit::Done,
        Err(failure) => {
            out::say(&format!(
                "nxdp: {}",
                service::error_chain(failure.error.as_ref())
            ));
            failure.exit
        }
    };
    ExitCode::from(exit as u8)
}

/// So many findings that refuse nothing are shown.
const FINDINGS_SHOWN: usize = 10;
/// So many names of those that are accepted together are shown.
const NAMES_SHOWN: usize = 5;

/// Shows what the guards found; what refuses is told by the refusal.
fn print_findings(out: &mut dyn io::Write, findings: &[Finding]) -> io::Result<()> {
    let others = || findings.iter().filter(|f| f.severity != Severity::Refuse);
    let mut accepted: BTreeMap<(GuardKind, &str, &str), Vec<&str>> = BTreeMap::new();
    for finding in others() {
        if let (Severity::Overridden(reason), Some(list)) = (&finding.severity, &finding.list)
            && finding.kind.may_be_accepted_together()
        {
            let key = (finding.kind, list.as_str(), reason.as_str());
            accepted.entry(key).or_default().push(&finding.subject);
        }
    }
    accepted.retain(|_, names| names.len() > NAMES_SHOWN);
    for ((kind, list, reason), names) in &accepted {
        writeln!(
            out,
            "overridden ({}): {} rules of list '{list}', such as {}; allowed because: {reason}",
            kind.as_str(),
            names.len(),
            names[..NAMES_SHOWN].join(", ")
        )?;
    }
    let is_told = |finding: &&Finding| match (&finding.severity, &finding.list) {
        (Severity::Overridden(reason), Some(list)) => {
            !accepted.contains_key(&(finding.kind, list.as_str(), reason.as_str()))
        }
        _ => true,
    };
    for finding in others().filter(is_told).take(FINDINGS_SHOWN) {
        writeln!(out, "{finding}")?;
    }
    match others().filter(is_told).count() {
        count if count > FINDINGS_SHOWN => {
            let more = count - FINDINGS_SHOWN;
            writeln!(
                out,
                "and {more} more warnings; `nxdp check --json` tells all of them"
            )
        }
        _ => Ok(()),
    }
}

/// Whether whoever read the output has enough of it.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    // The control socket can break too; that is a failure.
    !error.is::<control::Error>()
        && error.chain().any(|cause| {
            cause
                .downcast_ref::<std::io::Error>()
                .is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
        })
}
