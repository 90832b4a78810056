//! `nxdp query` and `nxdp explain`.

use std::{
    io::{self, BufRead as _, BufWriter, Write},
    path::PathBuf,
    sync::Arc,
};

use anyhow::{Context as _, anyhow};
use clap::Args;
use filter_common::name::Name;
use filter_lists::{
    image::{Answered, Explanation, Image, Layers, Origin, PolicyView, Verdict},
    input::Input,
    list,
    rule::{ClientAddress, qtype_text},
};
use filter_user::{
    config::{self, ListConfig},
    enforcement::{Judgement, Preview},
    pipeline::{Guarding, Request, Sources},
    policy::ClientFacts,
    printable::Printable,
    service::progress_bar,
};
use serde_json::json;

use super::{
    Failure, ListArguments,
    client_facts::{self, ClientArguments},
    names,
};

/// Version of the objects that `--json` prints.
const JSON_VERSION: u32 = 1;

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
    #[command(flatten)]
    facts: ClientArguments,
    /// Print JSON, one object a line
    #[arg(long)]
    json: bool,
}

/// What is printed of a name.
type Printer = fn(Layers<'_>, &Name, &Asked<'_>, &mut dyn Write) -> anyhow::Result<()>;

/// One question.
struct Asked<'a> {
    text: &'a str,
    qtype: u16,
    json: bool,
    client: Option<ClientAddress>,
    /// What policies and overrides say of it; an image alone knows none.
    judgement: Option<Judgement<'a>>,
    /// The lists, to show lines as they were written.
    lists: &'a [ListConfig],
    /// What that rests on.
    notes: &'a [String],
}

impl Asked<'_> {
    /// What the lists have to know of the policy.
    fn policy(&self) -> PolicyView {
        let judgement = self.judgement.as_ref();
        judgement.map_or(PolicyView::from(EVERY_CATEGORY), |judgement| PolicyView {
            categories: judgement.categories,
            answer: judgement.chosen.policy.answer,
            varies_below: judgement.varies_below,
        })
    }

    /// What the client is sent for a verdict of the lists.
    fn answered(&self, verdict: &Verdict<'_>) -> Option<Answered> {
        verdict.answered(self.qtype)
    }

    /// The line of a rule as its author wrote it, where that is not how rules are shown.
    fn written(&self, origin: &Origin<'_>) -> Option<String> {
        let is_its =
            |list: &&ListConfig| list.source() == origin.path && list.name() == origin.list_name;
        let list = self.lists.iter().find(is_its)?;
        let file = Input::open(&list.path).ok()?;
        let text = list::line(file, origin.line).ok().flatten()?;
        (text != origin.rule && !text.is_empty()).then_some(text)
    }

    /// The verdict if something else than the lists decides.
    fn undecided_by_lists(&self) -> Option<Verdict<'static>> {
        let decision = client_facts::decision(self.judgement.as_ref()?)?;
        Some(Verdict {
            decision,
            record: None,
            answer: None,
            winner: None,
        })
    }
}

/// What is asked.
struct Loaded {
    image: Arc<Image>,
    custom: Option<Arc<Image>>,
    preview: Option<Preview>,
    lists: Vec<ListConfig>,
    /// Who asks, and what that rests on.
    facts: ClientFacts,
    notes: Vec<String>,
}

impl Arguments {
    pub(super) fn query(mut self) -> Result<(), Failure> {
        self.sort_lists_out()?;
        self.each(print_verdict)
    }

    pub(super) fn explain(mut self) -> Result<(), Failure> {
        self.sort_lists_out()?;
        self.each(print_explanation)
    }

    /// Takes files among the names for lists once a list is named: `--list A B` means both.
    fn sort_lists_out(&mut self) -> Result<(), Failure> {
        if self.lists.lists.is_empty() {
            return Ok(());
        }
        let (files, names) = std::mem::take(&mut self.names)
            .into_iter()
            .partition(|name| std::path::Path::new(name).is_file());
        self.names = names;
        let files: Vec<String> = files;
        self.lists
            .lists
            .extend(files.into_iter().map(PathBuf::from));
        if self.names.is_empty() {
            return Err(Failure::usage(anyhow!(
                "no name to ask for: every word is a file and taken for a list; write a name behind them, or `-` to read names from standard input"
            )));
        }
        Ok(())
    }

    fn each(self, print: Printer) -> Result<(), Failure> {
        let qtype = list::qtype(&self.qtype).ok_or_else(|| {
            let text = &self.qtype;
            Failure::usage(anyhow!(
                "unknown query type '{text}': use a mnemonic such as AAAA, or TYPE65"
            ))
        })?;
        let loaded = self.loaded()?;
        let mut out = Printable(BufWriter::new(io::stdout().lock()));
        for name in &self.names {
            if name == "-" {
                for line in io::stdin().lock().lines() {
                    let line = line.context("read names from standard input")?;
                    let name = line.trim();
                    if !name.is_empty() {
                        self.one(&loaded, name, qtype, print, &mut out)?;
                    }
                }
            } else {
                self.one(&loaded, name, qtype, print, &mut out)?;
            }
        }
        out.flush()?;
        Ok(())
    }

    fn loaded(&self) -> Result<Loaded, Failure> {
        let file = self.lists.file(&[]).filter(|_| self.image.is_none());
        self.facts.check(file.is_some())?;
        if let Some(path) = &self.image {
            return Ok(Loaded {
                image: Arc::new(Image::open(path)?),
                custom: None,
                preview: None,
                lists: Vec::new(),
                facts: self.facts.facts(),
                notes: Vec::new(),
            });
        }
        let config = self.lists.config().map_err(Failure::usage)?;
        if config.is_without_lists() {
            return Err(Failure::usage(config::Error::NoList));
        }
        let request = Request {
            guarding: Guarding::Skip,
            ..Request::default()
        };
        let compiled = Sources::default().compile(&config, &request, &progress_bar())?;
        let preview = (self.facts).preview(&config, &compiled.categories, file.is_some())?;
        let (facts, notes) = self.facts.known(&config, preview.policies());
        Ok(Loaded {
            facts,
            notes,
            image: compiled.image,
            custom: compiled.custom.map(|custom| custom.image),
            preview: Some(preview),
            lists: [config.custom_lists(), config.lists].concat(),
        })
    }

    fn one(
        &self,
        loaded: &Loaded,
        text: &str,
        qtype: u16,
        print: Printer,
        out: &mut dyn Write,
    ) -> Result<(), Failure> {
        let name = names::parse(text).map_err(Failure::usage)?;
        let asked = Asked {
            text,
            qtype,
            json: self.json,
            client: self.facts.client_address(),
            judgement: (loaded.preview.as_ref()).map(|preview| preview.judge(&name, &loaded.facts)),
            lists: &loaded.lists,
            notes: &loaded.notes,
        };
        let layers = Layers::new(&loaded.image, loaded.custom.as_deref());
        Ok(print(layers, &name, &asked, out)?)
    }
}

/// Every list applies: policies choose among categories, and an image knows none.
pub(super) const EVERY_CATEGORY: u64 = u64::MAX;

fn print_verdict(
    images: Layers<'_>,
    name: &Name,
    asked: &Asked<'_>,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    let by_lists = || images.query(name, asked.qtype, asked.policy());
    let verdict = asked.undecided_by_lists().unwrap_or_else(by_lists);
    if asked.json {
        writeln!(out, "{}", verdict_json(asked, &verdict))?;
    } else {
        let policy = asked.judgement.as_ref().and_then(client_facts::policy_text);
        let policy = policy.map_or_else(String::new, |policy| format!("  [{policy}]"));
        let answer = answer_text(asked, &verdict);
        writeln!(
            out,
            "{}{answer}{policy}",
            verdict_text(asked, &verdict, place)
        )?;
    }
    Ok(())
}

/// What the client is sent, behind a verdict.
fn answer_text(asked: &Asked<'_>, verdict: &Verdict<'_>) -> String {
    let answered = asked.answered(verdict);
    answered.map_or_else(String::new, |answered| format!("  -> {answered}"))
}

fn verdict_json(asked: &Asked<'_>, verdict: &Verdict<'_>) -> serde_json::Value {
    let mut object = origin_json(verdict.winner.as_ref());
    object["version"] = json!(JSON_VERSION);
    object["name"] = json!(asked.text);
    object["type"] = json!(qtype_text(asked.qtype));
    object["verdict"] = json!(verdict.decision.as_str());
    object["answer"] = json!(asked.answered(verdict).map(|answered| answered.to_string()));
    if let Some(judgement) = &asked.judgement {
        client_facts::add_json(&mut object, judgement);
    }
    object
}

fn origin_json(origin: Option<&Origin<'_>>) -> serde_json::Value {
    json!({
        "rule": origin.map(|origin| &origin.rule),
        "scope": origin.map(|origin| origin.scope.word()),
        "list": origin.map(|origin| origin.list_name),
        "category": origin.and_then(|origin| origin.category),
        "path": origin.map(|origin| origin.path),
        "line": origin.map(|origin| origin.line),
    })
}

fn verdict_text(
    asked: &Asked<'_>,
    verdict: &Verdict<'_>,
    place: fn(&Origin<'_>) -> String,
) -> String {
    let word = verdict.decision.as_str();
    let name = asked.text;
    let decider = asked
        .judgement
        .as_ref()
        .and_then(client_facts::decider_text);
    match (&verdict.winner, decider) {
        (Some(origin), _) => format!("{word:<6} {name}  by {}", place(origin)),
        (None, Some(decider)) => format!("{word:<6} {name}  {decider}"),
        (None, None) => format!("{word:<6} {name}"),
    }
}

fn place(origin: &Origin<'_>) -> String {
    format!(
        "{} ({}, {}:{})",
        origin.rule, origin.list_name, origin.path, origin.line
    )
}

fn whole_place(origin: &Origin<'_>) -> String {
    let scope = origin.scope.word();
    let category = match origin.category {
        Some(category) => format!("category {category}"),
        None => "every category".to_owned(),
    };
    format!(
        "{} ({}, {}:{}, {scope}, {category})",
        origin.rule, origin.list_name, origin.path, origin.line
    )
}

fn print_explanation(
    images: Layers<'_>,
    name: &Name,
    asked: &Asked<'_>,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    let by_lists = images.explain(name, asked.qtype, asked.policy(), asked.client);
    let other = asked.undecided_by_lists();
    let verdict = other.as_ref().unwrap_or(&by_lists.verdict);
    if asked.json {
        writeln!(out, "{}", explanation_json(asked, verdict, &by_lists))?;
        return Ok(());
    }
    let answer = answer_text(asked, verdict);
    writeln!(out, "{}{answer}", verdict_text(asked, verdict, whole_place))?;
    if let Some(written) = verdict
        .winner
        .as_ref()
        .and_then(|origin| asked.written(origin))
    {
        writeln!(out, "       written: {written}")?;
    }
    if let Some(policy) = asked.judgement.as_ref().and_then(client_facts::policy_text) {
        writeln!(out, "       {policy}")?;
    }
    if let (Some(_), Some(origin)) = (&other, &by_lists.verdict.winner) {
        let word = by_lists.verdict.decision.as_str();
        writeln!(out, "       lists alone: {word} by {}", whole_place(origin))?;
    }
    for note in asked.notes {
        writeln!(out, "       note: {note}")?;
    }
    for (origin, loss) in &by_lists.others {
        writeln!(out, "       not by {}: {loss}", whole_place(origin))?;
        if let Some(written) = asked.written(origin) {
            writeln!(out, "         written: {written}")?;
        }
    }
    Ok(())
}

fn explanation_json(
    asked: &Asked<'_>,
    verdict: &Verdict<'_>,
    explanation: &Explanation<'_>,
) -> serde_json::Value {
    let mut object = verdict_json(asked, verdict);
    let winner = verdict.winner.as_ref();
    object["written"] = json!(winner.and_then(|origin| asked.written(origin)));
    object["notes"] = json!(asked.notes);
    object["by_lists"] = json!(explanation.verdict.decision.as_str());
    object["others"] = explanation
        .others
        .iter()
        .map(|(origin, loss)| {
            let mut other = origin_json(Some(origin));
            other["lost_because"] = json!(loss.to_string());
            other["written"] = json!(asked.written(origin));
            other
        })
        .collect();
    object
}
