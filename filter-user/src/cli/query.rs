//! `nxdp query` and `nxdp explain`.

use std::{
    io::{self, BufRead as _, BufWriter, Write},
    path::PathBuf,
    sync::Arc,
};

use anyhow::{Context as _, anyhow};
use clap::Args;
use filter_common::name::Name;
use filter_user::{
    compile::qtype_text,
    config,
    image::{Explanation, Image, Origin, Verdict},
    list,
    pipeline::{Guarding, Request, Sources},
    service::progress_bar,
};
use serde_json::json;

use super::{Failure, ListArguments};

/// Flags of `nxdp query` and `nxdp explain`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Names to ask for; `-` reads one name a line from standard input
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
    #[command(flatten)]
    lists: ListArguments,
    /// Image file that `nxdp compile -o` wrote, instead of lists
    #[arg(long, value_name = "FILE", conflicts_with_all = ["lists", "config"])]
    image: Option<PathBuf>,
    /// Query type: a mnemonic such as AAAA, or TYPE65
    #[arg(long = "type", short = 't', value_name = "TYPE", default_value = "A")]
    qtype: String,
    /// Print JSON, one object a line
    #[arg(long)]
    json: bool,
}

/// What is printed of a name.
type Printer = fn(&Image, &Name, &Asked<'_>, &mut dyn Write) -> anyhow::Result<()>;

/// One question.
struct Asked<'a> {
    text: &'a str,
    qtype: u16,
    json: bool,
}

impl Arguments {
    pub(super) fn query(mut self) -> Result<(), Failure> {
        self.sort_lists_out();
        self.each(print_verdict)
    }

    pub(super) fn explain(mut self) -> Result<(), Failure> {
        self.sort_lists_out();
        self.each(print_explanation)
    }

    /// Takes files among the names for lists once a list is named: `--list A B` means both.
    fn sort_lists_out(&mut self) {
        if self.lists.lists.is_empty() {
            return;
        }
        let (files, names) = std::mem::take(&mut self.names)
            .into_iter()
            .partition(|name| std::path::Path::new(name).is_file());
        self.names = names;
        let files: Vec<String> = files;
        self.lists
            .lists
            .extend(files.into_iter().map(PathBuf::from));
    }

    fn each(self, print: Printer) -> Result<(), Failure> {
        let qtype = list::qtype(&self.qtype).ok_or_else(|| {
            let text = &self.qtype;
            Failure::usage(anyhow!(
                "unknown query type '{text}': use a mnemonic such as AAAA, or TYPE65"
            ))
        })?;
        let image = self.image()?;
        let mut out = BufWriter::new(io::stdout().lock());
        for name in &self.names {
            if name == "-" {
                for line in io::stdin().lock().lines() {
                    let line = line.context("read names from standard input")?;
                    let name = line.trim();
                    if !name.is_empty() {
                        self.one(&image, name, qtype, print, &mut out)?;
                    }
                }
            } else {
                self.one(&image, name, qtype, print, &mut out)?;
            }
        }
        out.flush()?;
        Ok(())
    }

    fn image(&self) -> Result<Arc<Image>, Failure> {
        if let Some(path) = &self.image {
            return Ok(Arc::new(Image::open(path)?));
        }
        let config = self.lists.config().map_err(Failure::usage)?;
        if config.lists.is_empty() {
            return Err(Failure::usage(config::Error::NoList));
        }
        let request = Request {
            guarding: Guarding::Skip,
            ..Request::default()
        };
        Ok(Sources::default()
            .compile(&config, &request, &progress_bar())?
            .image)
    }

    fn one(
        &self,
        image: &Image,
        text: &str,
        qtype: u16,
        print: Printer,
        out: &mut dyn Write,
    ) -> Result<(), Failure> {
        let name = list::name(text)
            .map_err(|error| Failure::usage(anyhow!("read name '{text}': {error}")))?;
        let asked = Asked {
            text,
            qtype,
            json: self.json,
        };
        Ok(print(image, &name, &asked, out)?)
    }
}

/// Every list applies: policies choose among categories, and there is one policy.
pub(super) const EVERY_CATEGORY: u64 = u64::MAX;

fn print_verdict(
    image: &Image,
    name: &Name,
    asked: &Asked<'_>,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    let verdict = image.query(name, asked.qtype, EVERY_CATEGORY);
    if asked.json {
        writeln!(out, "{}", verdict_json(asked, &verdict))?;
    } else {
        writeln!(out, "{}", verdict_text(asked, &verdict))?;
    }
    Ok(())
}

fn verdict_json(asked: &Asked<'_>, verdict: &Verdict<'_>) -> serde_json::Value {
    let winner = verdict.winner.as_ref();
    json!({
        "name": asked.text,
        "type": qtype_text(asked.qtype),
        "verdict": verdict.decision.as_str(),
        "rule": winner.map(|origin| &origin.rule),
        "list": winner.map(|origin| origin.list_name),
        "path": winner.map(|origin| origin.path),
        "line": winner.map(|origin| origin.line),
    })
}

fn verdict_text(asked: &Asked<'_>, verdict: &Verdict<'_>) -> String {
    let word = verdict.decision.as_str();
    let name = asked.text;
    match &verdict.winner {
        Some(origin) => format!("{word:<6} {name}  by {}", place(origin)),
        None => format!("{word:<6} {name}"),
    }
}

fn place(origin: &Origin<'_>) -> String {
    format!(
        "{} ({}, {}:{})",
        origin.rule, origin.list_name, origin.path, origin.line
    )
}

fn print_explanation(
    image: &Image,
    name: &Name,
    asked: &Asked<'_>,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    let explanation = image.explain(name, asked.qtype, EVERY_CATEGORY);
    if asked.json {
        writeln!(out, "{}", explanation_json(asked, &explanation))?;
        return Ok(());
    }
    writeln!(out, "{}", verdict_text(asked, &explanation.verdict))?;
    for (origin, loss) in &explanation.others {
        writeln!(out, "       not by {}: {loss}", place(origin))?;
    }
    Ok(())
}

fn explanation_json(asked: &Asked<'_>, explanation: &Explanation<'_>) -> serde_json::Value {
    let mut object = verdict_json(asked, &explanation.verdict);
    object["others"] = explanation
        .others
        .iter()
        .map(|(origin, loss)| {
            json!({
                "rule": origin.rule,
                "list": origin.list_name,
                "path": origin.path,
                "line": origin.line,
                "lost_because": loss.to_string(),
            })
        })
        .collect();
    object
}
