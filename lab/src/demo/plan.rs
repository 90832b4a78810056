//! Which questions to ask, and what should come of each.

use std::{
    collections::HashSet,
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use hickory_proto::rr::RecordType;
use serde::Deserialize;

use crate::query::{Query, QueryError};

/// Names looked at in each list.
const CANDIDATES_PER_LIST: usize = 200;
/// Blocked names shown from each list.
const BLOCKED_PER_LIST: usize = 2;
/// Names shown that an exception allows.
const ALLOWED: usize = 2;
/// Names that few lists block; those the lists do block are shown as blocked.
const EVERYDAY_NAMES: [&str; 4] = [
    "www.debian.org",
    "www.rust-lang.org",
    "kernel.org",
    "www.rfc-editor.org",
];

/// How long to wait for an answer.
const TIMEOUT: Duration = Duration::from_secs(1);
/// Put before a name to ask for one below it.
const BELOW: &str = "below.";

/// What the lists say about a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Verdict {
    Block,
    Allow,
    None,
}

/// The questions.
pub(super) struct Plan {
    pub(super) questions: Vec<Question>,
}

/// One question and what should come of it.
#[derive(Clone)]
pub(super) struct Question {
    pub(super) name: String,
    pub(super) record_type: RecordType,
    pub(super) expected: Verdict,
    pub(super) mixed_case: bool,
}

/// One line of `nxdp query --json`.
#[derive(Deserialize)]
struct Judged {
    name: String,
    verdict: Verdict,
    list: Option<String>,
}

impl Plan {
    /// Samples some lists and asks `nxdp query` what all lists together say about the names found.
    pub(super) fn make(nxdp: &Path, sampled: &[PathBuf], all: &[PathBuf]) -> Result<Self> {
        let mut asked: Vec<String> = EVERYDAY_NAMES.map(str::to_owned).into();
        for list in sampled {
            let content =
                fs::read(list).with_context(|| format!("cannot read {}", list.display()))?;
            for name in candidates(&String::from_utf8_lossy(&content)) {
                asked.extend([format!("{BELOW}{name}"), name]);
            }
        }
        asked.retain(|name| name.len() <= 253);
        let judged = judge(nxdp, all, &asked)?;
        let questions = choose(&judged);
        let blocked = questions
            .iter()
            .filter(|question| question.expected == Verdict::Block);
        ensure!(
            blocked.count() > 0,
            "nxdp query finds no blocked name in these lists"
        );
        Ok(Self { questions })
    }
}

impl Question {
    fn new(name: &str, expected: Verdict) -> Self {
        Self {
            name: name.to_owned(),
            record_type: RecordType::A,
            expected,
            mixed_case: false,
        }
    }

    pub(super) fn query(&self) -> Result<Query, QueryError> {
        let query = Query::new(&self.name, self.record_type)?
            .edns()
            .timeout(TIMEOUT);
        Ok(if self.mixed_case {
            query.mixed_case()
        } else {
            query
        })
    }
}

/// Picks blocked names of every list, then allowed ones, then those no rule is for.
fn choose(judged: &[Judged]) -> Vec<Question> {
    let is_below = |judged: &Judged| judged.name.starts_with(BELOW);
    let blocked = |list: &str, below: bool, count| {
        let of_list = move |judged: &Judged| {
            judged.list.as_deref() == Some(list) && is_below(judged) == below
        };
        pick(judged, Verdict::Block, of_list, count)
    };
    let mut questions = Vec::new();
    for list in lists_in_order(judged) {
        questions.extend(blocked(list, false, BLOCKED_PER_LIST));
        questions.extend(blocked(list, true, 1));
    }
    vary(&mut questions);
    questions.extend(pick(
        judged,
        Verdict::Allow,
        |judged| !is_below(judged),
        ALLOWED,
    ));
    // A name that is not blocked although the one above it is: the rule was for that one alone.
    let names_blocked: HashSet<&str> = names_of(judged, Verdict::Block);
    let parent_is_blocked = |judged: &Judged| {
        let parent = judged.name.strip_prefix(BELOW);
        parent.is_some_and(|parent| names_blocked.contains(parent))
    };
    questions.extend(pick(judged, Verdict::None, parent_is_blocked, 1));
    questions.extend(pick(
        judged,
        Verdict::None,
        |judged| !is_below(judged),
        EVERYDAY_NAMES.len(),
    ));
    questions
}

fn pick(
    judged: &[Judged],
    verdict: Verdict,
    fits: impl Fn(&Judged) -> bool,
    count: usize,
) -> Vec<Question> {
    let mut seen = HashSet::new();
    let fitting = judged
        .iter()
        .filter(|judged| judged.verdict == verdict && fits(judged));
    let new = fitting.filter(|judged| seen.insert(&judged.name));
    new.take(count)
        .map(|judged| Question::new(&judged.name, verdict))
        .collect()
}

fn names_of(judged: &[Judged], verdict: Verdict) -> HashSet<&str> {
    let of_verdict = judged.iter().filter(|judged| judged.verdict == verdict);
    of_verdict.map(|judged| judged.name.as_str()).collect()
}

/// Asks the first blocked names for another type and in mixed case as well.
fn vary(questions: &mut Vec<Question>) {
    let Some(first) = questions.first().cloned() else {
        return;
    };
    let second = questions.get(1).unwrap_or(&first).clone();
    questions.push(Question {
        mixed_case: true,
        ..first
    });
    questions.push(Question {
        record_type: RecordType::HTTPS,
        ..second
    });
}

fn lists_in_order(judged: &[Judged]) -> Vec<&str> {
    let mut lists: Vec<&str> = Vec::new();
    for list in judged.iter().filter_map(|judged| judged.list.as_deref()) {
        if !lists.contains(&list) {
            lists.push(list);
        }
    }
    lists
}

/// Names from lines spread over the whole list, whatever its format is.
fn candidates(content: &str) -> Vec<String> {
    let mut all = Vec::new();
    for line in content.lines() {
        let is_comment = line.starts_with(['#', '!', ';', '[']) || line.contains("##");
        let mut words = line.split(is_separator).map(|word| word.trim_matches('.'));
        let last_name = words.rfind(|word| is_domain_name(word));
        if let Some(name) = last_name.filter(|_| !is_comment) {
            all.push(name.to_ascii_lowercase());
        }
    }
    let step = (all.len() / CANDIDATES_PER_LIST).max(1);
    // An exception is a rare thing; without this the sampling would miss it in a long list.
    let exceptions = content.lines().filter_map(|line| line.strip_prefix("@@||"));
    let exceptions = exceptions.filter_map(|line| line.split(is_separator).next());
    let exceptions = exceptions
        .filter(|name| is_domain_name(name))
        .take(ALLOWED * 5);
    let mut chosen: Vec<String> = all.iter().step_by(step).cloned().collect();
    chosen.extend(exceptions.map(str::to_ascii_lowercase));
    chosen
}

fn is_separator(character: char) -> bool {
    !(character.is_ascii_alphanumeric() || matches!(character, '-' | '_' | '.'))
}

fn is_domain_name(word: &str) -> bool {
    let is_label = |label: &str| !label.is_empty() && label.len() <= 63;
    let is_top = |label: &str| label.starts_with(|first: char| first.is_ascii_alphabetic());
    word.split('.').count() > 1
        && word.split('.').all(is_label)
        && word.rsplit('.').next().is_some_and(is_top)
}

fn judge(nxdp: &Path, lists: &[PathBuf], names: &[String]) -> Result<Vec<Judged>> {
    let mut command = Command::new(nxdp);
    command.args(["query", "-", "--json"]);
    for list in lists {
        command.arg("--list").arg(list);
    }
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command
        .spawn()
        .with_context(|| format!("cannot start {}", nxdp.display()))?;
    let input = child.stdin.take();
    let text = names.join("\n") + "\n";
    // It may answer before it has read everything: write beside reading.
    let output = thread::scope(|scope| {
        scope.spawn(move || input.map(|mut input| input.write_all(text.as_bytes())));
        child.wait_with_output()
    })?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "`nxdp query` failed: {}",
        said.trim()
    );
    let lines = String::from_utf8_lossy(&output.stdout).into_owned();
    let read = |line: &str| {
        serde_json::from_str(line).with_context(|| format!("`nxdp query --json` wrote {line:?}"))
    };
    lines.lines().map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_in_lines_of_any_format() {
        let content = "# x.example\n0.0.0.0 ads.example # why\n||d.example^\n*.w.example\n1.2.3.4\nlocal\n@@||ok.example^\n\
                       address=/d.example/0.0.0.0\nsite.example##.ad\n";
        let found = candidates(content);
        let in_lines = [
            "ads.example",
            "d.example",
            "w.example",
            "ok.example",
            "d.example",
        ];
        assert_eq!(found[..5], in_lines);
        assert_eq!(found[5..], ["ok.example"], "exceptions come a second time");
    }

    #[test]
    fn long_lists_are_sampled_from_start_to_end() {
        let content: String = (0..10_000)
            .map(|number| format!("n{number}.example\n"))
            .collect();
        let found = candidates(&content);
        assert_eq!(found.len(), CANDIDATES_PER_LIST);
        assert_eq!(
            (found[0].as_str(), found[199].as_str()),
            ("n0.example", "n9950.example")
        );
    }
}
