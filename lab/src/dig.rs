//! `dig`, the client that people use, and what it prints.

use anyhow::{Context, Result, ensure};

use crate::namespace::Namespace;

/// One answer as dig shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DigAnswer {
    /// The response code, e.g. `NXDOMAIN`.
    pub status: String,
    /// Header flags, e.g. `qr rd ra`.
    pub flags: String,
    /// The extended DNS error, e.g. `15 (Blocked): (name of the list)`.
    pub extended_error: Option<String>,
    /// Whether there is an OPT record.
    pub has_opt: bool,
    /// The question's name, in the case of the answer.
    pub name: String,
    /// Answer records: the data of each.
    pub answers: Vec<String>,
    /// Authority records: type and data of each.
    pub authorities: Vec<String>,
}

/// Runs dig in a namespace; `arguments` may ask for several names, each answer in its turn.
///
/// # Errors
/// Fails when dig does, above all when nothing answers, or warns.
pub fn dig(namespace: &Namespace, arguments: &[&str]) -> Result<Vec<DigAnswer>> {
    let common = ["+tries=1", "+time=3", "+nostats", "+noidnin", "+noidnout"];
    let printed = namespace.output("dig", &[&common, arguments].concat())?;
    for trouble in ["WARNING", "Warning", "malformed", "timed out", "mismatch"] {
        ensure!(!printed.contains(trouble), "dig is not content:\n{printed}");
    }
    let answers: Result<Vec<_>> = printed
        .split(";; ->>HEADER<<-")
        .skip(1)
        .map(|text| read(text).with_context(|| format!("cannot read what dig printed:\n{text}")))
        .collect();
    let answers = answers?;
    ensure!(!answers.is_empty(), "dig shows no answer:\n{printed}");
    Ok(answers)
}

fn read(text: &str) -> Result<DigAnswer> {
    let mut answer = DigAnswer {
        status: between(text, "status: ", ",")?.to_owned(),
        flags: between(text, ";; flags: ", ";")?.to_owned(),
        ..DigAnswer::default()
    };
    let mut section = "";
    for line in text.lines() {
        if let Some(title) = line.strip_prefix(";; ") {
            section = title.split(' ').next().unwrap_or_default();
        } else if let Some(error) = line.strip_prefix("; EDE: ") {
            answer.extended_error = Some(error.to_owned());
        } else if line.starts_with("; EDNS: version: 0") {
            answer.has_opt = true;
        } else if let Some(question) = line.strip_prefix(';') {
            if section == "QUESTION" {
                let name = question.split_whitespace().next();
                name.context("an empty question")?
                    .clone_into(&mut answer.name);
            }
        } else {
            add_record(&mut answer, section, line);
        }
    }
    Ok(answer)
}

/// A record's line: name, time to live, class, type, data.
fn add_record(answer: &mut DigAnswer, section: &str, line: &str) {
    let fields: Vec<&str> = line.split_whitespace().collect();
    if fields.len() < 5 {
        return;
    }
    match section {
        "ANSWER" => answer.answers.push(fields[4..].join(" ")),
        "AUTHORITY" => answer.authorities.push(fields[3..].join(" ")),
        _ => {}
    }
}

fn between<'a>(text: &'a str, before: &str, after: &str) -> Result<&'a str> {
    text.split_once(before)
        .and_then(|(_, rest)| rest.split_once(after))
        .map(|(found, _)| found)
        .with_context(|| format!("no {before:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_of_an_answer_is_read() {
        let text = " opcode: QUERY, status: NXDOMAIN, id: 1\n\
                    ;; flags: qr rd ra; QUERY: 1, ANSWER: 1, AUTHORITY: 1, ADDITIONAL: 1\n\n\
                    ;; OPT PSEUDOSECTION:\n; EDNS: version: 0, flags:; udp: 1232\n\
                    ; EDE: 15 (Blocked): (ours)\n;; QUESTION SECTION:\n;A.example.\t\t\tIN\tA\n\n\
                    ;; ANSWER SECTION:\nA.example.\t60\tIN\tA\t192.0.2.1\n\n\
                    ;; AUTHORITY SECTION:\nexample. 60 IN SOA a. b. 1 2 3 4 5\n";
        let answer = read(text).unwrap();
        assert_eq!(answer.status, "NXDOMAIN");
        assert_eq!(answer.flags, "qr rd ra");
        assert_eq!(
            answer.extended_error.as_deref(),
            Some("15 (Blocked): (ours)")
        );
        assert!(answer.has_opt);
        assert_eq!(answer.name, "A.example.");
        assert_eq!(answer.answers, ["192.0.2.1"]);
        assert_eq!(answer.authorities, ["SOA a. b. 1 2 3 4 5"]);
    }
}
