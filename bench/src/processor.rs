//! Which processor this is, by what its maker numbers: a name such as "AMD EPYC" is that of many.

use std::fs;

/// What tells processors apart in `/proc/cpuinfo`: on x86, and on ARM, which gives no names at all.
const NUMBERS: [(&str, &[(&str, &str)]); 2] = [
    (
        "vendor_id",
        &[
            ("vendor_id", ""),
            ("cpu family", "family"),
            ("model", "model"),
            ("stepping", "stepping"),
        ],
    ),
    (
        "CPU implementer",
        &[
            ("CPU implementer", "implementer"),
            ("CPU part", "part"),
            ("CPU variant", "variant"),
            ("CPU revision", "revision"),
        ],
    ),
];

/// The first processor of this machine.
pub(crate) fn key() -> String {
    key_in(&fs::read_to_string("/proc/cpuinfo").unwrap_or_default())
}

/// The name of the first processor, or what numbers it where it has none.
pub(crate) fn name() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    field(&text, "model name").map_or_else(|| key_in(&text), str::to_owned)
}

fn key_in(cpuinfo: &str) -> String {
    let known = NUMBERS
        .iter()
        .find(|(first, _)| field(cpuinfo, first).is_some());
    let Some((_, numbers)) = known else {
        return format!("unknown {}", std::env::consts::ARCH);
    };
    let words = numbers.iter().filter_map(|(name, word)| {
        let value = field(cpuinfo, name)?;
        Some(format!("{word} {value}").trim_start().to_owned())
    });
    words.collect::<Vec<_>>().join(" ")
}

/// The first line of this name.
fn field<'a>(cpuinfo: &'a str, name: &str) -> Option<&'a str> {
    let mut pairs = cpuinfo.lines().filter_map(|line| line.split_once(':'));
    let (_, value) = pairs.find(|(found, _)| found.trim() == name)?;
    Some(value.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_generations_of_one_name_are_two_processors() {
        let epyc = |family, model, stepping| {
            key_in(&format!(
                "processor\t: 0\nvendor_id\t: AuthenticAMD\ncpu family\t: {family}\n\
                 model\t\t: {model}\nmodel name\t: AMD EPYC\nstepping\t: {stepping}\n"
            ))
        };
        assert_eq!(epyc(23, 1, 2), "AuthenticAMD family 23 model 1 stepping 2");
        assert_ne!(epyc(23, 1, 2), epyc(25, 17, 1));
        assert_ne!(epyc(25, 17, 1), epyc(25, 17, 0));
    }

    #[test]
    fn a_processor_without_a_name_is_known_by_its_numbers() {
        let arm = "processor\t: 0\nBogoMIPS\t: 243.75\nFeatures\t: fp asimd\n\
                   CPU implementer\t: 0x41\nCPU architecture: 8\nCPU variant\t: 0x3\n\
                   CPU part\t: 0xd0c\nCPU revision\t: 1\n";
        assert_eq!(
            key_in(arm),
            "implementer 0x41 part 0xd0c variant 0x3 revision 1"
        );
        assert!(key_in("").starts_with("unknown "));
    }
}
