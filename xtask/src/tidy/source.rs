//! Rules on what stands in a file: length, unfinished marks, unsafe code, paths of one machine.

use super::{Finding, Text};

/// The length above which a Rust file says on a line of its own why it is long.
const LONG_LINES: usize = 500;
const LONG_REASON: &str = "// tidy: long because ";

/// Words for work left undone, in two parts so that this file does not hold them.
const UNFINISHED: [(&str, &str); 5] = [
    ("TO", "DO"),
    ("FIX", "ME"),
    ("XX", "X"),
    ("to", "do!"),
    ("unimple", "mented!"),
];

/// The files that may hold unsafe code, each with the reason.
const UNSAFE_ALLOWED: [(&str, &str); 12] = [
    (
        "filter-ebpf/src/bin/bench.rs",
        "exports a program that calls the kernel's helpers",
    ),
    (
        "filter-ebpf/src/bin/generate.rs",
        "exports programs that write and read packet memory",
    ),
    (
        "filter-ebpf/src/lib.rs",
        "joins what the other files of the kernel side hold",
    ),
    (
        "filter-ebpf/src/maps.rs",
        "map values are raw pointers in the kernel",
    ),
    (
        "filter-ebpf/src/packet.rs",
        "packet memory is raw pointers in the kernel",
    ),
    (
        "filter-ebpf/src/stages.rs",
        "global functions are verified by themselves, over raw pointers",
    ),
    (
        "filter-user/src/memory.rs",
        "asks the allocator for what it does not use",
    ),
    ("filter-kernel/src/table.rs", "maps the table's memory"),
    (
        "lab/src/devices/pppoe.rs",
        "PPPoE sessions are made by system calls",
    ),
    (
        "filter-user/src/enforcement/synchronised.rs",
        "asks whether the clock is synchronised",
    ),
    (
        "lab/src/sys.rs",
        "network namespaces and raw sockets are system calls",
    ),
    (
        "xtask/src/setup/trial.rs",
        "exports the trial program's symbol",
    ),
];

/// Folders that exist on one machine only, in two parts so that this file does not hold them.
const MACHINE_FOLDERS: [(&str, &str); 2] = [("/wo", "rk/"), ("/fa", "rm/")];

/// Checks one file.
pub(super) fn check(text: &Text) -> Vec<Finding> {
    let mut findings = Vec::new();
    if text.has_extension("rs") {
        findings.extend(too_long(text));
        findings.extend(unsafe_code(text));
    }
    // Lock files hold what cargo wrote, lists hold names that mean nothing here.
    if !text.has_extension("lock") && !text.has_extension("txt") {
        findings.extend(unfinished(text));
        findings.extend(machine_paths(text));
    }
    findings
}

fn too_long(text: &Text) -> Option<Finding> {
    let length = text.content.lines().count();
    let says_why = text.lines().any(|(_, line)| line.starts_with(LONG_REASON));
    (length > LONG_LINES && !says_why).then(|| {
        let message =
            format!("{length} lines: split it, or say `{LONG_REASON}…` on a line of its own");
        text.finding(length, message)
    })
}

fn unfinished(text: &Text) -> Vec<Finding> {
    let marked = |line: &str| {
        UNFINISHED
            .iter()
            .any(|(a, b)| has_word(line, &format!("{a}{b}")))
    };
    let lines = text.lines().filter(|(_, line)| marked(line));
    lines
        .map(|(number, _)| {
            text.finding(number, "marks unfinished work: finish it or open an issue")
        })
        .collect()
}

fn machine_paths(text: &Text) -> Vec<Finding> {
    let named = |line: &str| {
        let holds = |(a, b): &(&str, &str)| {
            line.match_indices(&format!("{a}{b}"))
                .any(|(at, _)| !ends_inside_a_path(&line[..at]))
        };
        MACHINE_FOLDERS.iter().any(holds)
    };
    let lines = text.lines().filter(|(_, line)| named(line));
    lines
        .map(|(number, _)| {
            text.finding(
                number,
                "names a folder of one machine: use an environment variable",
            )
        })
        .collect()
}

/// `https://host/…/` and `../…/` are no absolute paths of a machine.
fn ends_inside_a_path(before: &str) -> bool {
    before.ends_with(|last: char| last.is_alphanumeric() || "._-".contains(last))
}

fn unsafe_code(text: &Text) -> Vec<Finding> {
    if UNSAFE_ALLOWED
        .iter()
        .any(|(file, _)| text.path == std::path::Path::new(file))
    {
        return Vec::new();
    }
    let lines = text
        .lines()
        .filter(|(_, line)| has_word(&code(line), "unsafe"));
    lines
        .map(|(number, _)| {
            let message = "unsafe code outside the files that may hold it (see UNSAFE_ALLOWED in xtask's tidy)";
            text.finding(number, message)
        })
        .collect()
}

/// A line without what stands in strings and comments.
fn code(line: &str) -> String {
    let line = line.replace("\\\"", "");
    let without_strings: Vec<&str> = line.split('"').step_by(2).collect();
    let code = without_strings.join(" ");
    code.split("//").next().unwrap_or_default().to_string()
}

/// Tells whether the word stands in the line by itself, not as a part of another.
fn has_word(line: &str, word: &str) -> bool {
    let is_part = |letter: char| letter.is_alphanumeric() || letter == '_';
    line.match_indices(word).any(|(at, _)| {
        let ends_before = !line[..at].ends_with(is_part);
        let starts_after = !line[at + word.len()..].starts_with(is_part);
        ends_before && (starts_after || word.ends_with('!'))
    })
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    #[test]
    fn a_long_file_needs_a_reason() {
        let long = "fn f() {}\n".repeat(LONG_LINES + 1);
        assert_eq!(check(&sample("a/src/lib.rs", &long)).len(), 1);
        let reasoned = format!("{LONG_REASON}it is a table\n{long}");
        assert_eq!(check(&sample("a/src/lib.rs", &reasoned)), []);
        let at_the_limit = "fn f() {}\n".repeat(LONG_LINES);
        assert_eq!(check(&sample("a/src/lib.rs", &at_the_limit)), []);
    }

    #[test]
    fn every_unfinished_mark_is_found_as_a_word_only() {
        for (a, b) in UNFINISHED {
            let found = check(&sample(
                "a/src/lib.rs",
                &format!("fn f() {{}}\n// {a}{b} more\n"),
            ));
            assert_eq!(found.len(), 1, "{a}{b}");
            assert_eq!(found[0].line, 2);
        }
        let template = format!("mktemp nxdp.{}\n", "X".repeat(6));
        assert_eq!(check(&sample("run", &template)), []);
    }

    #[test]
    fn unsafe_code_is_found_outside_the_named_files_only() {
        let code = "let value = unsafe { *pointer };\n";
        assert_eq!(check(&sample("filter-lists/src/compile.rs", code)).len(), 1);
        assert_eq!(check(&sample("filter-kernel/src/attach.rs", code)).len(), 1);
        assert_eq!(check(&sample(UNSAFE_ALLOWED[0].0, code)), []);
    }

    #[test]
    fn a_lint_a_comment_or_a_string_about_unsafe_code_is_none() {
        assert_eq!(
            check(&sample("a/src/lib.rs", "#![forbid(unsafe_code)]\n")),
            []
        );
        assert_eq!(check(&sample("a/src/lib.rs", "//! no unsafe here\n")), []);
        assert_eq!(
            check(&sample("a/src/lib.rs", "let word = \"unsafe\";\n")),
            []
        );
    }

    #[test]
    fn a_path_of_one_machine_is_found_but_not_a_web_address() {
        for (a, b) in MACHINE_FOLDERS {
            assert_eq!(
                check(&sample("docs/a.md", &format!("see {a}{b}x\n"))).len(),
                1
            );
            assert_eq!(
                check(&sample(
                    "docs/a.md",
                    &format!("see https://example.org{a}{b}x\n")
                )),
                []
            );
        }
    }
}
