//! `nxdp lists` and `nxdp update`.

use std::{
    io::{self, Write as _},
    path::PathBuf,
    thread,
    time::Duration,
};

use anyhow::anyhow;
use clap::Args;
use filter_user::{
    config::{Config, SOCKET_DEFAULT},
    control::{self, Response, Verb},
    fetch::{Accounts, ListAccount, Outcome, told_span},
    service::{self, human_bytes},
};

use super::{Failure, out};

/// How often a running nxdp is asked whether it is done.
const POLL_INTERVAL: Duration = Duration::from_millis(200);
/// Columns of a name before it is cut.
const NAME_COLUMNS: usize = 24;

/// Where lists are told of.
#[derive(Debug, Args)]
struct ListsTarget {
    /// Control socket of the running nxdp [default: that of the configuration, or /run/nxdp/control.sock]
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
    /// Configuration to use if no nxdp is running [default: /etc/nxdp/nxdp.toml]
    #[arg(long, short = 'c', value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Flags of `nxdp lists`.
#[derive(Debug, Args)]
pub(super) struct ListsArguments {
    #[command(flatten)]
    target: ListsTarget,
}

/// Flags of `nxdp update`.
#[derive(Debug, Args)]
pub(super) struct UpdateArguments {
    /// Name of the list, as `nxdp lists` shows it; all that have a `url` by default
    #[arg(long, short = 'l', value_name = "NAME")]
    list: Option<String>,
    #[command(flatten)]
    target: ListsTarget,
}

impl ListsArguments {
    pub(super) fn run(self) -> Result<(), Failure> {
        let config = self.target.config()?;
        let accounts = match (self.target.ask(config.as_ref(), Verb::Lists), config) {
            (Err(control::Error::NotRunning { .. }), Some(config)) => service::lists(&config),
            (answer, _) => answer?,
        };
        if self.target.json {
            return print_json(&accounts);
        }
        print(&accounts)
    }
}

impl UpdateArguments {
    pub(super) fn run(self) -> Result<(), Failure> {
        let config = self.target.config()?;
        let verb = Verb::Update {
            list: self.list.clone(),
        };
        let accounts = match (self.target.ask(config.as_ref(), verb), config) {
            (Err(control::Error::NotRunning { .. }), Some(config)) => self.update(config)?,
            (answer, config) => self.wait(config.as_ref(), answer?)?,
        };
        let asked: Vec<_> = (accounts.lists.iter())
            .filter(|list| list.last_try.is_some() && self.is_asked(list))
            .collect();
        if self.target.json {
            print_json(&accounts)?;
        } else {
            for list in &asked {
                print_outcome(list)?;
            }
        }
        let failures: Vec<_> = asked.iter().filter_map(|list| list.failure()).collect();
        if failures.is_empty() {
            return Ok(());
        }
        Err(anyhow!("{}", failures.join("\n")).into())
    }

    fn is_asked(&self, list: &ListAccount) -> bool {
        self.list.as_ref().is_none_or(|name| *name == list.name)
    }

    /// Fetches without a running service.
    fn update(&self, config: Config) -> Result<Accounts, Failure> {
        // Nothing that is downloaded is read with privileges, and copies belong to the daemon.
        service::become_owner_of_copies(&config)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        Ok(runtime.block_on(service::update(config, self.list.as_deref()))?)
    }

    /// Asks the running service until it is done with the lists.
    fn wait(&self, config: Option<&Config>, first: Accounts) -> Result<Accounts, Failure> {
        let mut accounts = first;
        let is_busy = |list: &ListAccount| list.is_busy && self.is_asked(list);
        while accounts.lists.iter().any(is_busy) {
            thread::sleep(POLL_INTERVAL);
            accounts = self.target.ask(config, Verb::Lists)?;
        }
        Ok(accounts)
    }
}

impl ListsTarget {
    fn config(&self) -> Result<Option<Config>, Failure> {
        let file = self.config.clone().or_else(super::usual_config);
        let read = file.as_deref().map(Config::read).transpose();
        read.map_err(Failure::usage)
    }

    fn ask(&self, config: Option<&Config>, verb: Verb) -> Result<Accounts, control::Error> {
        let of_config = config.map_or(SOCKET_DEFAULT.as_ref(), Config::socket);
        let socket = self.socket.as_deref().unwrap_or(of_config);
        match control::ask(socket, verb)? {
            Response::Lists(accounts) => Ok(accounts),
            _ => Err(control::Error::Refused(
                "understand the answer: it is to another question".to_owned(),
            )),
        }
    }
}

fn print_json(accounts: &Accounts) -> Result<(), Failure> {
    let mut out = out::stdout();
    serde_json::to_writer(&mut out, accounts)?;
    writeln!(out)?;
    Ok(())
}

fn print(accounts: &Accounts) -> Result<(), Failure> {
    let mut out = out::stdout();
    writeln!(
        out,
        "{:<NAME_COLUMNS$} {:>9} {:>10} {:>12} {:>12} {:>12}  last result",
        "list", "rules", "size", "age", "checked", "next"
    )?;
    for list in &accounts.lists {
        let name: String = list.name.chars().take(NAME_COLUMNS).collect();
        writeln!(
            out,
            "{name:<NAME_COLUMNS$} {:>9} {:>10} {:>12} {:>12} {:>12}  {}",
            or_dash(list.rules),
            or_dash(list.bytes.map(|bytes| human_bytes(bytes as usize))),
            or_dash(list.age().map(told_span)),
            or_dash(list.checked_ago().map(told_span)),
            or_dash(
                list.next_refresh_s
                    .map(|wait_s| told_span(Duration::from_secs(wait_s)))
            ),
            result(list),
        )?;
    }
    if let Some(why) = &accounts.refresh_stopped {
        writeln!(out, "REFRESH STOPPED, no list is fetched: {why}")?;
    }
    for failure in accounts.lists.iter().filter_map(ListAccount::failure) {
        writeln!(out, "{failure}")?;
    }
    Ok(())
}

fn or_dash(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

fn result(list: &ListAccount) -> &'static str {
    match list.last_try.as_ref().map(|last| last.outcome) {
        _ if list.is_busy => "being fetched",
        None if list.bytes.is_none() => "missing",
        None => "-",
        Some(Outcome::New) => "new",
        Some(Outcome::Unchanged) => "unchanged",
        Some(Outcome::Failed) => "failed",
        Some(Outcome::Refused) => "refused",
    }
}

fn print_outcome(list: &ListAccount) -> io::Result<()> {
    let rules = list
        .rules
        .map_or_else(String::new, |rules| format!(", {rules} rules"));
    writeln!(out::stdout(), "{}: {}{rules}", list.name, result(list))
}
