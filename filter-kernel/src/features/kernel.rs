//! What the running kernel has of what the filter uses.

use std::{fmt, fs, io, path::Path};

use serde::Serialize;

/// The oldest kernel that the filter is made for.
const OLDEST: Version = Version(6, 1);

/// What the filter uses, and since when kernels have it.
const USED: [(&str, Version); 6] = [
    ("ring buffer", Version(5, 8)),
    ("XDP link", Version(5, 9)),
    ("bpf_loop", Version(5, 17)),
    ("bpf_xdp_load_bytes", Version(5, 18)),
    ("XDP abilities of drivers", Version(6, 3)),
    ("tcx", Version(6, 6)),
];

/// The running kernel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Kernel {
    /// Its release, as `uname -r` prints it.
    pub release: String,
    /// Whether the filter is made for it.
    pub is_supported: bool,
    /// Facilities it has by its version; vendors may have added more.
    pub has: Vec<&'static str>,
    /// Facilities it lacks by its version.
    pub lacks: Vec<&'static str>,
    /// Whether it carries its own type information (BTF).
    pub has_btf: bool,
    /// Whether BPF programs are translated to machine code; unknown when it does not tell.
    pub has_jit: Option<bool>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Version(u32, u32);

impl Kernel {
    /// Looks at the running kernel.
    pub(super) fn running() -> io::Result<Self> {
        let release = fs::read_to_string("/proc/sys/kernel/osrelease")?;
        let has_btf = Path::new("/sys/kernel/btf/vmlinux").exists();
        // The file is readable to root alone, and missing where the JIT cannot be switched off.
        let has_jit = fs::read_to_string("/proc/sys/net/core/bpf_jit_enable").ok();
        Ok(Self::of(
            release.trim(),
            has_btf,
            has_jit.map(|value| value.trim() != "0"),
        ))
    }

    pub(super) fn of(release: &str, has_btf: bool, has_jit: Option<bool>) -> Self {
        let version = Version::parse(release);
        let (has, lacks): (Vec<_>, Vec<_>) = USED
            .into_iter()
            .partition(|(_, since)| version.is_none_or(|version| version >= *since));
        let names =
            |list: Vec<(&'static str, Version)>| list.into_iter().map(|(name, _)| name).collect();
        Self {
            release: release.to_owned(),
            is_supported: version.is_none_or(|version| version >= OLDEST),
            has: names(has),
            lacks: names(lacks),
            has_btf,
            has_jit,
        }
    }

    /// What to tell about the oldest kernel.
    pub(super) fn oldest() -> impl fmt::Display {
        OLDEST
    }
}

impl Version {
    /// Reads the first two numbers of a release such as `6.12.9-arch1`.
    fn parse(release: &str) -> Option<Self> {
        let mut numbers = release.split(|character: char| !character.is_ascii_digit());
        let mut number = || numbers.next()?.parse().ok();
        Some(Self(number()?, number()?))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}", self.0, self.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(release: &str) -> Kernel {
        Kernel::of(release, true, None)
    }

    #[test]
    fn releases_are_compared_as_numbers() {
        assert!(
            of("6.12.9-arch1-1").is_supported,
            "12 is more than 1, not less"
        );
        assert!(of("10.0-rc1").is_supported);
        assert!(!of("5.15.0-91-generic").is_supported);
        assert!(!of("6.0.19").is_supported);
    }

    #[test]
    fn what_a_kernel_lacks_follows_from_its_version() {
        assert_eq!(
            of("6.1.0-18-amd64").lacks,
            ["XDP abilities of drivers", "tcx"]
        );
        assert_eq!(of("5.10.0").has, ["ring buffer", "XDP link"]);
        assert!(of("6.18.1").lacks.is_empty());
    }

    #[test]
    fn the_running_kernel_tells_its_release() {
        let kernel = Kernel::running().unwrap();
        assert!(Version::parse(&kernel.release).is_some(), "{kernel:?}");
    }
}
