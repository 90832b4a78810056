//! `nxdp allow`, `block`, `overrides`, `override`, `pause` and `resume`.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, anyhow, ensure};
use clap::{ArgGroup, Args, Subcommand};
use filter_common::name::Name;
use filter_lists::{guard, list};
use filter_user::{
    control::{self, Response, Verb},
    enforcement::{Outcome, Request},
    overrides::{Override, OverrideAction, OverrideClients, OverrideScope, OverrideSpec},
    printable::one_line,
};
use jiff::{Timestamp, Zoned, tz::TimeZone};

use super::{
    Failure, SocketArgument, names,
    offline::{self, Answer, OfflineArguments},
    out, when,
};

/// Flags of `nxdp allow` and `nxdp block`.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("what").required(true).multiple(true).args(["names", "file"])))]
pub(super) struct NameArguments {
    /// Names
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// File of further names, one a line, comments behind `#`; all take effect at once or none does
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// The names alone, not those below them
    #[arg(long, conflicts_with = "suffix")]
    exact: bool,
    /// The names and all below them [default]
    #[arg(long)]
    suffix: bool,
    #[command(flatten)]
    clients: ClientsArguments,
    #[command(flatten)]
    end: EndArguments,
    /// Why, for whoever finds it later
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// Mean it though the name is a top-level domain, a public suffix, or the root; with `block`
    /// also names that everybody depends on
    #[arg(long)]
    force: bool,
    /// Mean it though `must_block` or `must_not_block` of the configuration says the contrary
    #[arg(long)]
    against_guard: bool,
    #[command(flatten)]
    author: AuthorArgument,
    /// Where it was asked for or is discussed
    #[arg(long, value_name = "ID")]
    ticket: Option<String>,
    #[command(flatten)]
    talk: Talk,
}

/// Flags of `nxdp block`.
#[derive(Debug, Args)]
pub(super) struct BlockArguments {
    #[command(flatten)]
    names: NameArguments,
}

/// For whom; everybody by default.
#[derive(Debug, Args)]
struct ClientsArguments {
    /// Only for clients of this policy
    #[arg(long, value_name = "NAME", conflicts_with = "client")]
    policy: Option<String>,
    /// Only for this client: a MAC address or an address
    #[arg(long, value_name = "CLIENT", value_parser = client)]
    client: Option<OverrideClients>,
}

/// Who says so.
#[derive(Debug, Args)]
struct AuthorArgument {
    /// Who says so [default: the user]
    #[arg(long, value_name = "WHO")]
    by: Option<String>,
}

/// Whom to tell, and how to tell what came of it.
#[derive(Debug, Args)]
struct Talk {
    #[command(flatten)]
    socket: SocketArgument,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    offline: OfflineArguments,
}

/// When it ends.
#[derive(Debug, Args)]
struct EndArguments {
    /// How long: 90s, 10m, 2h, 1d, 1w
    #[arg(long = "for", value_name = "DURATION", conflicts_with = "until")]
    lasts: Option<String>,
    /// Until when: 18:00, 2026-02-01, 2026-02-01T18:00
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
}

/// Flags of `nxdp pause`.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("end").required(true).args(["lasts", "until"])))]
pub(super) struct PauseArguments {
    #[command(flatten)]
    clients: ClientsArguments,
    #[command(flatten)]
    end: EndArguments,
    /// Why
    #[arg(
        long,
        value_name = "TEXT",
        default_value = "",
        hide_default_value = true
    )]
    reason: String,
    #[command(flatten)]
    author: AuthorArgument,
    #[command(flatten)]
    talk: Talk,
}

/// Flags of `nxdp resume`.
#[derive(Debug, Args)]
pub(super) struct ResumeArguments {
    #[command(flatten)]
    clients: ClientsArguments,
    #[command(flatten)]
    talk: Talk,
}

/// Flags of `nxdp overrides`.
#[derive(Debug, Args)]
pub(super) struct ListArguments {
    #[command(flatten)]
    talk: Talk,
}

/// What `nxdp override` does.
#[derive(Debug, Subcommand)]
pub(super) enum OverrideCommand {
    /// Remove overrides by their numbers
    Remove(RemoveArguments),
    /// Put what `nxdp overrides --json` told in force, all of it or nothing
    ///
    /// Overrides get new numbers; those that have ended are left out.
    Import(ImportArguments),
}

/// Flags of `nxdp override remove`.
#[derive(Debug, Args)]
pub(super) struct RemoveArguments {
    /// Numbers, as `nxdp overrides` tells them
    #[arg(required = true, value_name = "ID")]
    ids: Vec<u32>,
    #[command(flatten)]
    talk: Talk,
}

/// Flags of `nxdp override import`.
#[derive(Debug, Args)]
pub(super) struct ImportArguments {
    /// The file
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    talk: Talk,
}

impl BlockArguments {
    pub(super) fn run(self) -> Result<(), Failure> {
        let names = self.names.names().map_err(Failure::usage)?;
        let scope = self.names.scope().into();
        let harm = |name: &Name| Some((*name, guard::harm(name, scope)?));
        match names.iter().find_map(harm) {
            Some((name, harm)) if !self.names.force => Err(Failure::usage(anyhow!(
                "block '{name}': {harm}; say `--force` if you mean it"
            ))),
            _ => self.names.put_in_force(OverrideAction::Block, &names),
        }
    }
}

impl NameArguments {
    pub(super) fn allow(self) -> Result<(), Failure> {
        let names = self.names().map_err(Failure::usage)?;
        let scope = self.scope().into();
        match names.iter().find(|name| guard::is_suffix(name, scope)) {
            Some(name) if !self.force => Err(Failure::usage(anyhow!(
                "allow '{name}': everything below it would pass; `nxdp pause` lifts blocks for a \
                 time, or say `--force` if you mean it"
            ))),
            _ => self.put_in_force(OverrideAction::Allow, &names),
        }
    }

    fn put_in_force(&self, action: OverrideAction, names: &[Name]) -> Result<(), Failure> {
        let expires = self.end.expires().map_err(Failure::usage)?;
        let spec = |name: &Name| OverrideSpec {
            action,
            name: name.into(),
            scope: self.scope(),
            clients: self.clients.clients(),
            expires,
            reason: self.reason.clone(),
            by: self.author.name(),
            ticket: self.ticket.clone(),
            against_guard: self.against_guard,
        };
        let specs = names.iter().map(spec).collect();
        self.talk.ask(Request::Add(specs))
    }

    fn scope(&self) -> OverrideScope {
        if self.exact {
            OverrideScope::Exact
        } else {
            OverrideScope::Suffix
        }
    }

    fn names(&self) -> anyhow::Result<Vec<Name>> {
        let parse = |text: &String| names::parse(text);
        let mut names: Vec<Name> = self.names.iter().map(parse).collect::<Result<_, _>>()?;
        if let Some(path) = &self.file {
            names.extend(names_of(path)?);
        }
        ensure!(
            !names.is_empty(),
            "no name given: there is none in the file"
        );
        Ok(names)
    }
}

impl PauseArguments {
    pub(super) fn run(self) -> Result<(), Failure> {
        let spec = OverrideSpec {
            action: OverrideAction::Pause,
            name: (&Name::ROOT).into(),
            scope: OverrideScope::Suffix,
            clients: self.clients.clients(),
            expires: self.end.expires().map_err(Failure::usage)?,
            reason: self.reason,
            by: self.author.name(),
            ticket: None,
            against_guard: false,
        };
        self.talk.ask(Request::Add(vec![spec]))
    }
}

impl ResumeArguments {
    pub(super) fn run(self) -> Result<(), Failure> {
        self.talk.ask(Request::Resume(self.clients.clients()))
    }
}

impl ListArguments {
    pub(super) fn run(self) -> Result<(), Failure> {
        self.talk.ask(Request::List)
    }
}

impl OverrideCommand {
    pub(super) fn run(self) -> Result<(), Failure> {
        match self {
            Self::Remove(arguments) => arguments.talk.ask(Request::Remove(arguments.ids)),
            Self::Import(arguments) => {
                let specs = imported(&arguments.file).map_err(Failure::usage)?;
                arguments.talk.ask(Request::Add(specs))
            }
        }
    }
}

impl ClientsArguments {
    fn clients(&self) -> OverrideClients {
        match (&self.policy, &self.client) {
            (Some(policy), _) => OverrideClients::Policy(policy.clone()),
            (None, Some(client)) => client.clone(),
            (None, None) => OverrideClients::Everybody,
        }
    }
}

impl AuthorArgument {
    fn name(&self) -> Option<String> {
        let user = || {
            ["SUDO_USER", "USER"]
                .iter()
                .find_map(|name| std::env::var(name).ok())
        };
        self.by.clone().or_else(user)
    }
}

impl EndArguments {
    fn expires(&self) -> anyhow::Result<Option<Timestamp>> {
        match (&self.lasts, &self.until) {
            (Some(duration), _) => {
                when::after(duration, Timestamp::now(), TimeZone::system).map(Some)
            }
            (None, Some(time)) => when::until(time, &Zoned::now()).map(Some),
            (None, None) => Ok(None),
        }
    }
}

fn client(text: &str) -> Result<OverrideClients, String> {
    OverrideClients::client(text).ok_or_else(|| {
        "write a MAC address or an address; a policy is for whole prefixes".to_owned()
    })
}

/// Names of a file, all of which must be right.
fn names_of(path: &Path) -> anyhow::Result<Vec<Name>> {
    let context = || format!("read names '{}'", path.display());
    let file = fs::File::open(path).with_context(context)?;
    let mut names = Vec::new();
    let mut wrong = None;
    list::names(file, |line, name| {
        let name = name.map_err(|reason| anyhow!("{reason}"));
        match name.and_then(names::refuse_address) {
            Ok(name) => names.push(name),
            Err(reason) => {
                wrong.get_or_insert(anyhow!("line {line}: {reason}"));
            }
        }
    })
    .with_context(context)?;
    match wrong {
        Some(error) => Err(error.context(context())),
        None => Ok(names),
    }
}

fn imported(path: &Path) -> anyhow::Result<Vec<OverrideSpec>> {
    let context = || format!("read overrides '{}'", path.display());
    let text = fs::read(path).with_context(context)?;
    let told: Outcome = serde_json::from_slice(&text).with_context(context)?;
    let now = Timestamp::now();
    let holds = |spec: &OverrideSpec| spec.expires.is_none_or(|end| end > now);
    let specs = told.overrides.into_iter().map(|entry| entry.spec);
    Ok(specs.filter(holds).collect())
}

impl Talk {
    fn ask(&self, request: Request) -> Result<(), Failure> {
        let verb = Verb::Overrides(request.clone());
        match offline::ask(&self.socket, &self.offline, verb)? {
            Answer::Running(Response::Overrides(outcome)) => tell(&outcome, self.json),
            Answer::Running(_) => Err(control::Error::OtherAnswer.into()),
            Answer::Offline(filter) => {
                let outcome = filter.overrides(request)?;
                eprintln!("no daemon runs: this is in force, and the next daemon goes on with it");
                tell(&outcome, self.json)
            }
        }
    }
}

/// So many changes are told one by one.
const SHOWN: usize = 20;

fn tell(outcome: &Outcome, json: bool) -> Result<(), Failure> {
    let mut out = out::stdout();
    if json {
        serde_json::to_writer(&mut out, outcome)?;
        writeln!(out)?;
        return Ok(());
    }
    for entry in &outcome.removed {
        writeln!(out, "removed {}", line(entry))?;
    }
    let is_long = outcome.overrides.len() > SHOWN && !outcome.removed.is_empty();
    for entry in outcome
        .overrides
        .iter()
        .take(if is_long { SHOWN } else { usize::MAX })
    {
        writeln!(out, "{}", line(entry))?;
    }
    if is_long {
        writeln!(out, "and {} more", outcome.overrides.len() - SHOWN)?;
    }
    Ok(())
}

/// One override on a line.
pub(super) fn line(entry: &Override) -> String {
    let spec = &entry.spec;
    let names = match (spec.action, spec.scope) {
        (OverrideAction::Pause, _) => String::new(),
        (_, OverrideScope::Exact) => format!(" {} alone", spec.name),
        (_, OverrideScope::Suffix) => format!(" {} and below", spec.name),
    };
    let end = spec.expires.map_or_else(
        || "until it is removed".to_owned(),
        |end| format!("until {}", when::local(end)),
    );
    let mut line = format!(
        "#{} {}{names} for {} {end}",
        entry.id,
        spec.action.as_str(),
        spec.clients
    );
    if !spec.reason.is_empty() {
        line.push_str(&format!(": {}", one_line(&spec.reason)));
    }
    if spec.against_guard {
        line.push_str(" [against a guard]");
    }
    let notes = [spec.by.as_ref(), spec.ticket.as_ref()];
    let notes: Vec<&str> = notes.into_iter().flatten().map(String::as_str).collect();
    if !notes.is_empty() {
        line.push_str(&format!(" ({})", one_line(&notes.join(", "))));
    }
    line
}
