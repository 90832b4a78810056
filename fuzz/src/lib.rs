//! What every list parser and the image reader promise, whatever the bytes are.
//!
//! Run a target with `cargo fuzz run list_rpz`; finds become named cases of
//! the tests of `filter-lists`.

use std::sync::LazyLock;

use filter_common::name::Name;
use filter_lists::{compile::{self, ListBuilder}, image::{Image, ListInfo}, list::{Format, Options, parse}, rule::Rule};

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

/// Reads an image, damages it as `bytes` say, and mends the checksums so that
/// what they would catch reaches the checks behind them.
///
/// The first half of the inputs are whole files; the others are edits of a
/// sound image, four bytes each: where (of 65,536 parts of the file), how and what.
pub fn image(bytes: &[u8]) {
    let Some((&kind, bytes)) = bytes.split_first() else {
        return;
    };
    if kind & 1 == 0 {
        read(bytes);
        return;
    }
    let mut file = SOUND_IMAGE.clone();
    for edit in bytes.chunks_exact(4) {
        let part = usize::from(u16::from_le_bytes([edit[0], edit[1]]));
        let at = part * file.len() / (1 << 16);
        match edit[2] % 3 {
            0 => file[at] = edit[3],
            1 => file[at] = file[at].wrapping_add(edit[3]),
            _ => file.truncate(at.max(1)),
        }
    }
    if kind & 2 != 0 {
        mend(&mut file);
    }
    read(&file);
}

/// An image that was read must answer everything, whatever it says.
fn read(file: &[u8]) {
    let Ok(image) = Image::read_from(&mut &file[..], file.len() as u64) else {
        return;
    };
    let client = "192.0.2.1".parse().ok();
    for text in ["a.example.org", "example.org", "b.a.example.net", "x"] {
        let name = Name::from_text(text.as_bytes()).expect("a name");
        for qtype in [1, 28, 65] {
            let _ = image.explain(&name, qtype, u64::MAX, client);
        }
    }
    let mut again = Vec::new();
    image.write_to(&mut again).expect("memory takes everything");
    let reread = Image::read_from(&mut &again[..], again.len() as u64);
    assert!(reread.is_ok_and(|reread| reread == image));
}

/// Compiled once: it is the same for every input.
static SOUND_IMAGE: LazyLock<Vec<u8>> = LazyLock::new(sound_image);

/// The file of a small image with every kind of rule.
fn sound_image() -> Vec<u8> {
    const LIST: &str = "||example.org^\n@@||a.example.org^$important\n|example.net^$dnstype=A|AAAA\n\
        *.b.example.net\n||x^\n||c.example.net^$denyallow=d.c.example.net\n192.0.2.1 e.example.net\n\
        ||f.example.net^$dnsrewrite=2001:db8::1\n||g.example.net^$client=192.0.2.0/24\n";
    let mut builder = ListBuilder::new(ListInfo::new("list", "list.txt"));
    let parsed = parse(
        LIST.as_bytes(),
        &Options::default(),
        &mut |line: u32, rule: &Rule| {
            builder.rule(line, rule);
        },
    );
    assert!(parsed.is_ok());
    let options = compile::Options {
        seed: Some(1),
        ..compile::Options::default()
    };
    let image = compile::compile(&[&builder], &options).expect("compiles");
    let mut file = Vec::new();
    image.write_to(&mut file).expect("memory takes everything");
    file
}

/// Writes the checksums that a file's sections and head have.
///
/// The head: 24 bytes of magic and versions, four sections of start, length
/// and checksum, its own checksum.
fn mend(file: &mut [u8]) {
    const SECTIONS: usize = 24;
    const SECTION: usize = 24;
    const HEAD: usize = SECTIONS + 4 * SECTION;
    if file.len() < HEAD + 8 {
        return;
    }
    let word = |file: &[u8], at: usize| {
        let bytes = file[at..at + 8].try_into().expect("eight bytes");
        u64::from_ne_bytes(bytes) as usize
    };
    for section in (SECTIONS..HEAD).step_by(SECTION) {
        let (start, len) = (word(file, section), word(file, section + 8));
        let end = start.saturating_add(len);
        if let Some(bytes) = file.get(start..end) {
            let sum = xxhash_rust::xxh3::xxh3_64(bytes);
            file[section + 16..section + 24].copy_from_slice(&sum.to_ne_bytes());
        }
    }
    let sum = xxhash_rust::xxh3::xxh3_64(&file[..HEAD]);
    file[HEAD..HEAD + 8].copy_from_slice(&sum.to_ne_bytes());
}
