//! What every list parser promises, whatever the bytes are.
//!
//! Run a target with `cargo fuzz run list_rpz`; finds become named cases of
//! the tests of `filter-user`.

use filter_user::{
    list::{Format, Options, parse},
    rule::Rule,
};

/// Parses `bytes` and checks the account and the rules.
pub fn list(format: Option<Format>, bytes: &[u8]) {
    let options = Options {
        format,
        ..Options::default()
    };
    let mut rules = 0;
    let mut line = 0;
    let report = parse(bytes, &options, &mut |of_line, rule: &Rule| {
        rules += 1;
        line = line.max(of_line);
        let text = rule.name.to_string();
        let labels: usize = rule.name.labels().map(|label| label.len() + 1).sum();
        assert_eq!(labels + 1, rule.name.as_wire().len(), "{text}");
    });
    let Ok(report) = report else { return };
    assert_eq!(report.rules, rules);
    assert_eq!(report.by_kind.total(), report.lines);
    assert!(u64::from(line) <= report.lines);
    for sample in report.samples {
        assert!(sample.line >= 1 && u64::from(sample.line) <= report.lines);
        assert!(sample.column >= 1 && !sample.reason.is_empty());
    }
}
