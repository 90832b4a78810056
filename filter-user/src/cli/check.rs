//! `nxdp check`.

use std::io::{self, Write};

use clap::Args;
use filter_lists::list::Kind;
use filter_user::{
    config::{Config, ListConfig},
    pipeline::{Compiled, Guarding, ListOutcome, Request, Sources},
    service::progress_bar,
};
use serde_json::json;

use super::{Failure, GivenLists, policies::PolicyTable, print_findings};

/// Flags of `nxdp check`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    lists: GivenLists,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Arguments {
    pub(super) fn run(self) -> Result<(), Failure> {
        let config = self.lists.config().map_err(Failure::usage)?;
        let request = Request {
            guarding: Guarding::Tell,
            ..Request::default()
        };
        let compiled = Sources::default()
            .compile(&config, &request, &progress_bar())
            .map_err(Failure::usage)?;
        let policies = PolicyTable::new(&config, &compiled.categories)?;
        let mut out = io::stdout().lock();
        if self.json {
            let mut account = account(&config, &compiled)?;
            account["policies"] = policies.json();
            writeln!(out, "{account}")?;
        } else {
            print(&config, &compiled, &mut out)?;
            if !config.policies.is_empty() {
                policies.print(&mut out)?;
            }
        }
        compiled.admit().map_err(Failure::usage)
    }
}

/// A list as it takes effect.
struct Effective<'a> {
    config: &'a ListConfig,
    outcome: &'a ListOutcome,
}

impl Effective<'_> {
    fn answer(&self, all: &Config) -> String {
        match self.config.answer {
            Some(answer) => answer.to_string(),
            None => format!("{}*", all.answer),
        }
    }
}

fn lists<'a>(
    configs: &'a [ListConfig],
    compiled: &'a Compiled,
) -> impl Iterator<Item = Effective<'a>> {
    let pairs = configs.iter().zip(compiled.all_lists());
    pairs.map(|(config, outcome)| Effective { config, outcome })
}

/// The lists, and the files of custom categories behind them.
fn all_lists(config: &Config) -> Vec<ListConfig> {
    [config.lists.clone(), config.custom_lists()].concat()
}

fn print(config: &Config, compiled: &Compiled, out: &mut dyn Write) -> anyhow::Result<()> {
    writeln!(
        out,
        "{:<20} {:<9} {:<10} {:<12} {:<10} {:>9} {:>9} {:>9} {:>8} {:>7}  file",
        "list",
        "format",
        "scope",
        "category",
        "answer",
        "lines",
        "rules",
        "redundant",
        "unsupp.",
        "invalid"
    )?;
    let configs = all_lists(config);
    for list in lists(&configs, compiled) {
        let report = &list.outcome.report;
        writeln!(
            out,
            "{:<20} {:<9} {:<10} {:<12} {:<10} {:>9} {:>9} {:>9} {:>8} {:>7}  {}",
            list.outcome.name,
            report.format,
            list.config.scope.unwrap_or_default(),
            list.config.category.as_deref().unwrap_or("every"),
            list.answer(config),
            report.lines,
            report.rules,
            report.by_kind.of(Kind::Redundant),
            report.by_kind.of(Kind::Unsupported),
            report.by_kind.of(Kind::Invalid),
            list.outcome.path.display(),
        )?;
    }
    if configs.iter().any(|list| list.answer.is_none()) {
        writeln!(out, "* for lines that name no answer of their own")?;
    }
    let findings: Vec<_> = compiled.all_findings().cloned().collect();
    print_findings(out, &findings)?;
    writeln!(out, "{} names", compiled.image.report().names)?;
    if let Some(custom) = &compiled.custom {
        let names = custom.image.report().names;
        writeln!(out, "{names} names of custom categories")?;
    }
    Ok(())
}

fn account(config: &Config, compiled: &Compiled) -> anyhow::Result<serde_json::Value> {
    let configs = all_lists(config);
    let entries: Vec<_> = lists(&configs, compiled)
        .map(|list| {
            json!({
                "name": list.outcome.name,
                "path": list.outcome.path,
                "format": list.outcome.report.format,
                "scope": list.config.scope.unwrap_or_default(),
                "category": list.config.category,
                "answer": list.config.answer,
                "lines": list.outcome.report.lines,
                "rules": list.outcome.report.rules,
                "by_kind": list.outcome.report.by_kind,
            })
        })
        .collect();
    Ok(json!({
        "version": 1,
        "names": compiled.image.report().names,
        "custom_names": compiled.custom.as_ref().map(|custom| custom.image.report().names),
        "lists": entries,
        "findings": serde_json::to_value(compiled.all_findings().collect::<Vec<_>>())?,
    }))
}
