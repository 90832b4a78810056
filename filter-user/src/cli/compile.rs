//! `nxdp compile`.

use std::{
    fs,
    io::{self, Write as _},
    os::fd::AsFd as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, anyhow};
use clap::Args;
use filter_lists::{image::Image, list::Kind};
use filter_user::{
    config::Config,
    pipeline::{Compiled, Guarding, Request, Sources},
    policy::Categories,
    service::{human_bytes, progress_bar},
};
use serde_json::json;

use super::{Failure, GivenLists, out, print_findings};

/// Flags of `nxdp compile`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Image file to write; without it only the account is given
    #[arg(long, short = 'o', value_name = "FILE")]
    output: Option<PathBuf>,
    /// Image file to write for the names of custom categories
    #[arg(long, value_name = "FILE")]
    custom_output: Option<PathBuf>,
    #[command(flatten)]
    lists: GivenLists,
    /// Print the account as JSON
    #[arg(long)]
    json: bool,
    /// Write the whole account, with samples of every kind of line, to a JSON file
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Fail if a line of a list is invalid, and write no image
    #[arg(long)]
    strict: bool,
    /// Image that the new one is to replace: refuse if a list shrank or grew too much
    #[arg(long, value_name = "IMAGE")]
    previous: Option<PathBuf>,
    /// Compile the names of custom categories alone, for the image on standard input
    #[arg(long, hide = true, requires = "custom_output", conflicts_with_all = ["output", "previous"])]
    beside_stdin: bool,
    /// Draw the hash key from this number, for reproducible images; whoever knows it can make colliding names
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,
}

impl Arguments {
    pub(super) fn run(self) -> Result<(), Failure> {
        let config = self.lists.config().map_err(Failure::usage)?;
        if let (true, Some(output)) = (self.beside_stdin, &self.custom_output) {
            return beside(&config, output);
        }
        let previous = self.previous.as_deref().map(Image::open).transpose()?;
        let request = Request {
            seed: self.seed,
            previous: previous.as_ref(),
            guarding: Guarding::Tell,
            ..Request::default()
        };
        let compiled = Sources::default().compile(&config, &request, &progress_bar())?;
        let account = account(&compiled)?;
        if let Some(path) = &self.report {
            std::fs::write(path, format!("{account:#}\n"))
                .with_context(|| format!("write report '{}'", path.display()))?;
        }
        if self.json {
            writeln!(out::stdout(), "{account}")?;
        } else {
            print(&compiled)?;
        }
        let invalid: u64 = lines(&compiled, Kind::Invalid);
        if self.strict && invalid > 0 {
            return Err(anyhow!(
                "{invalid} invalid lines: mend them, or compile without `--strict` to leave them out"
            )
            .into());
        }
        compiled.admit()?;
        if let Some(path) = &self.output {
            compiled.image.save(path)?;
            out::say(&format!("wrote {}", path.display()));
        }
        match (&self.custom_output, &compiled.custom) {
            (Some(path), Some(custom)) => {
                custom.image.save(path)?;
                out::say(&format!("wrote {}", path.display()));
            }
            (None, Some(_)) if self.output.is_some() => eprintln!(
                "the names of custom categories are not in it; `--custom-output FILE` writes theirs"
            ),
            _ => {}
        }
        Ok(())
    }
}

/// Compiles custom categories with the bits that fit the image on standard input.
fn beside(config: &Config, output: &Path) -> Result<(), Failure> {
    let mut input = fs::File::from(io::stdin().as_fd().try_clone_to_owned()?);
    let len = input.metadata()?.len();
    let image = Image::read_from(&mut input, len)?;
    let categories = Categories::beside(config, image.lists());
    let sources = Sources::default();
    let custom = sources.compile_custom(config, &categories, None, Guarding::Refuse)?;
    if let Some(custom) = custom {
        custom.image.save(output)?;
    }
    Ok(())
}

fn lines(compiled: &Compiled, kind: Kind) -> u64 {
    compiled
        .all_lists()
        .map(|list| list.report.by_kind.of(kind))
        .sum()
}

/// The whole account, version 1.
fn account(compiled: &Compiled) -> anyhow::Result<serde_json::Value> {
    let report = compiled.image.report();
    Ok(json!({
        "version": 1,
        "names": report.names,
        "kernel_bytes": report.kernel_bytes,
        "bytes_per_name": report.bytes_per_name(),
        "read_s": compiled.read.as_secs_f64(),
        "build_s": compiled.build.as_secs_f64(),
        "lists": serde_json::to_value(compiled.all_lists().collect::<Vec<_>>())?,
        "findings": serde_json::to_value(compiled.all_findings().collect::<Vec<_>>())?,
        "custom": compiled.custom.as_ref().map(|custom| json!({
            "names": custom.image.report().names,
            "kernel_bytes": custom.image.report().kernel_bytes,
            "took_s": custom.took.as_secs_f64(),
            "rules": custom.image.report(),
        })),
        "rules": serde_json::to_value(report)?,
    }))
}

fn print(compiled: &Compiled) -> anyhow::Result<()> {
    let mut out = out::stdout();
    for list in compiled.all_lists() {
        writeln!(
            out,
            "{} ({}, {} lines)",
            list.name, list.report.format, list.report.lines
        )?;
        for kind in Kind::ALL {
            let lines = list.report.by_kind.of(kind);
            if lines > 0 {
                writeln!(out, "  {kind:<12} {lines:>9}")?;
            }
        }
        for sample in &list.report.samples {
            writeln!(
                out,
                "  {}:{}:{}: {}: {}: {}",
                list.path.display(),
                sample.line,
                sample.column,
                sample.kind,
                sample.reason,
                sample.text
            )?;
        }
    }
    let findings: Vec<_> = compiled.all_findings().cloned().collect();
    print_findings(&mut out, &findings)?;
    let report = compiled.image.report();
    let total = report.total;
    writeln!(
        out,
        "{} rules: {} in the table, {} duplicate, {} redundant, {} overridden, {} deleted, {} unsupported, {} acting on others",
        total.rules,
        total.in_table,
        total.duplicate,
        total.redundant,
        total.overridden,
        total.deleted,
        total.unsupported,
        total.directive,
    )?;
    writeln!(
        out,
        "{} names, {} of kernel memory ({:.1} bytes a name), {:.2} s ({:.2} s reading, {:.2} s building)",
        report.names,
        human_bytes(report.kernel_bytes as usize),
        report.bytes_per_name(),
        (compiled.read + compiled.build).as_secs_f64(),
        compiled.read.as_secs_f64(),
        compiled.build.as_secs_f64(),
    )?;
    if let Some(custom) = &compiled.custom {
        let report = custom.image.report();
        writeln!(
            out,
            "custom categories: {} names, {} of kernel memory, {:.1} ms",
            report.names,
            human_bytes(report.kernel_bytes as usize),
            custom.took.as_secs_f64() * 1e3,
        )?;
    }
    Ok(())
}
