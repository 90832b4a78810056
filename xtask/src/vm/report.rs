//! What a machine's console tells, step by step, as one line.

use std::{collections::BTreeMap, fmt};

use super::budget::Measured;

/// One kernel's results.
#[derive(Debug)]
pub(super) struct Report {
    kernel: String,
    release: String,
    steps: Vec<Step>,
    /// What the verifier said, by program.
    pub(super) programs: BTreeMap<String, Measured>,
}

#[derive(Debug)]
struct Step {
    name: String,
    /// Its exit status; none if it did not end.
    status: Option<u32>,
    lines: Vec<String>,
}

impl Report {
    /// Names of the columns.
    pub(super) const HEADER: &'static str =
        "kernel\trelease\tloads\tinstructions\tstack\tload ms\tcases\tframes\tveth\tdemo\tcaps";

    /// The steps that must succeed on every kernel.
    const REQUIRED: [&'static str; 7] = [
        "verify",
        "cases",
        "differential",
        "veth",
        "demo",
        "features",
        "caps",
    ];

    /// Reads a console.
    pub(super) fn read(kernel: &str, release: &str, console: &str) -> Self {
        let steps = steps(console);
        let verified = steps.iter().filter(|step| step.name == "verify");
        let lines = verified.flat_map(|step| &step.lines);
        let programs = lines.filter_map(|line| Measured::read(line)).collect();
        Self {
            kernel: kernel.to_owned(),
            release: release.to_owned(),
            steps,
            programs,
        }
    }

    pub(super) fn has_no_step(&self) -> bool {
        self.steps.is_empty()
    }

    pub(super) fn last_step(&self) -> Option<&str> {
        self.steps.last().map(|step| step.name.as_str())
    }

    /// What did not succeed, with what it said.
    pub(super) fn faults(&self) -> Vec<String> {
        let failed = |name: &&str| !self.step(name).is_some_and(Step::is_good);
        let tell = |name: &str| match self.step(name) {
            Some(step) => format!("{}: {name} failed:\n  {}", self.kernel, step.tail()),
            None => format!("{}: {name} was not reached", self.kernel),
        };
        let mut faults: Vec<String> = Self::REQUIRED
            .into_iter()
            .filter(failed)
            .map(tell)
            .collect();
        match self.step(NO_PERFMON) {
            Some(step) if step.tells_what_it_lacks() => {}
            Some(step) => faults.push(format!(
                "{}: {NO_PERFMON} must fail and name CAP_PERFMON, but:\n  {}",
                self.kernel,
                step.tail()
            )),
            None => faults.push(tell(NO_PERFMON)),
        }
        faults
    }

    /// Whether `nxdp features` says that the kernel has no type information, and is supported.
    pub(super) fn is_without_btf(&self) -> bool {
        let says = |part: &str| {
            let mut lines = self
                .step("features")
                .into_iter()
                .flat_map(|step| &step.lines);
            lines.any(|line| line.contains(part))
        };
        says("type information no (not needed)") && says("(supported)")
    }

    fn step(&self, name: &str) -> Option<&Step> {
        self.steps.iter().find(|step| step.name == name)
    }

    fn outcome(&self, name: &str) -> &'static str {
        match self.step(name) {
            Some(step) if step.is_good() => "ok",
            Some(_) => "FAILED",
            None => "-",
        }
    }

    /// The word behind `mark` in a step that succeeded, or how the step ended.
    fn figure(&self, name: &str, mark: &str, source: &str) -> String {
        let counted = self.step(source).and_then(|step| step.word_after(mark));
        match (self.outcome(name), counted) {
            ("ok", Some(figure)) => figure,
            (outcome, _) => outcome.to_owned(),
        }
    }
}

/// The step that loads with one capability too few.
const NO_PERFMON: &str = "no-perfmon";

impl Step {
    fn is_good(&self) -> bool {
        self.status == Some(0)
    }

    /// It failed, and for want of CAP_PERFMON.
    fn tells_what_it_lacks(&self) -> bool {
        let is_named = |line: &String| line.contains("denied without CAP_PERFMON;");
        self.status == Some(1) && self.lines.iter().any(is_named)
    }

    fn word_after(&self, mark: &str) -> Option<String> {
        let found = self.lines.iter().find_map(|line| {
            let (_, rest) = line.split_once(mark)?;
            rest.split_whitespace().next()
        });
        found.map(str::to_owned)
    }

    /// Its last lines, which tell why it failed.
    fn tail(&self) -> String {
        let from = self.lines.len().saturating_sub(12);
        self.lines[from..].join("\n  ")
    }
}

fn steps(console: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut is_inside = false;
    for line in console.lines().map(str::trim_end) {
        if let Some(name) = line.strip_prefix("@@ begin ") {
            steps.push(Step {
                name: name.to_owned(),
                status: None,
                lines: Vec::new(),
            });
            is_inside = true;
        } else if let Some(step) = steps.last_mut().filter(|_| is_inside) {
            match line.strip_prefix("@@ end ") {
                Some(end) => {
                    step.status = end.rsplit(' ').next().and_then(|word| word.parse().ok());
                    is_inside = false;
                }
                None => step.lines.push(line.to_owned()),
            }
        }
    }
    steps
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [instructions, stack, load_ms] = match self.programs.get("nxdp") {
            Some(nxdp) => [nxdp.instructions, nxdp.stack, nxdp.load_ms].map(|n| n.to_string()),
            None => ["-"; 3].map(str::to_owned),
        };
        let columns = [
            self.kernel.clone(),
            self.release.clone(),
            self.outcome("verify").to_owned(),
            instructions,
            stack,
            load_ms,
            self.figure("cases", "cases ", "count"),
            self.figure("differential", "tried ", "differential"),
            self.outcome("veth").to_owned(),
            self.outcome("demo").to_owned(),
            self.outcome("caps").to_owned(),
        ];
        f.write_str(&columns.join("\t"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONSOLE: &str = "\
boot noise\r
@@ begin verify\r
program nxdp instructions 100 stack 64 load_us 2500\r
@@ end verify 0\r
@@ begin cases\r
test result: ok. 3 passed\r
@@ end cases 0\r
@@ begin count\r
cases 232\r
@@ end count 0\r
@@ begin differential\r
thread panicked\r
@@ end differential 101\r
@@ begin veth\r
";
    const DENIED: &str = "\
@@ begin no-perfmon\r
nxdp-probe: permission denied without CAP_PERFMON; run as root\r
@@ end no-perfmon 1\r
";

    #[test]
    fn figures_are_read_from_the_steps() {
        let line = Report::read("6.1", "6.1.0-50", CONSOLE).to_string();
        assert_eq!(
            line.split('\t').collect::<Vec<_>>(),
            [
                "6.1", "6.1.0-50", "ok", "100", "64", "2", "232", "FAILED", "FAILED", "-", "-"
            ]
        );
    }

    #[test]
    fn what_failed_or_did_not_come_is_a_fault() {
        let faults = Report::read("6.1", "6.1.0-50", CONSOLE).faults();
        assert_eq!(
            faults.len(),
            6,
            "differential, veth, demo, features, caps, no-perfmon: {faults:?}"
        );
        assert!(faults[0].ends_with("thread panicked"), "{faults:?}");
    }

    #[test]
    fn that_a_kernel_has_no_type_information_is_read_from_what_features_says() {
        let without = |features: &str| {
            let console = format!("@@ begin features\r\n{features}\r\n@@ end features 0\r\n");
            Report::read("6.1", "6.1.0-50", &console).is_without_btf()
        };
        let none = "  BPF  translator on, type information no (not needed)";
        assert!(without(&format!("kernel 6.1 (supported)\r\n{none}")));
        assert!(!without(&format!("kernel 6.1 (too old)\r\n{none}")));
        assert!(!without(
            "kernel 6.1 (supported)\r\n  BPF  type information yes"
        ));
        assert!(!without(""));
    }

    #[test]
    fn loading_without_cap_perfmon_must_fail_and_name_it() {
        let faults = |console: &str| Report::read("6.1", "6.1.0-50", console).faults();
        let is_at_fault = |console: &str| faults(console).iter().any(|f| f.contains(NO_PERFMON));
        assert!(!is_at_fault(DENIED));
        assert!(is_at_fault(&DENIED.replace("no-perfmon 1", "no-perfmon 0")));
        assert!(is_at_fault(
            &DENIED.replace("CAP_PERFMON", "CAP_BPF and CAP_PERFMON")
        ));
        assert!(is_at_fault(""));
    }
}
