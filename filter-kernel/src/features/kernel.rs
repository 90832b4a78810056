//! What the running kernel has of what the filter uses.
//!
//! It is asked for by trying, which root may do. To others a kernel's version must do: it does not
//! tell what was left out when the kernel was built.

use std::{error::Error as StdError, fmt, fs, io, path::Path};

use aya::{
    maps::MapType,
    programs::ProgramType,
    sys::{BpfHelper, is_helper_supported, is_map_supported, is_program_supported},
};
use rustix::thread::{MembarrierCommand, membarrier_query};
use serde::Serialize;

/// The oldest kernel that the filter is made for.
const OLDEST: Version = Version(6, 1);

/// Something of the kernel that the filter uses.
struct Facility {
    name: &'static str,
    /// The first kernel with it.
    since: Version,
    /// What a kernel must be built with to have it, if the filter cannot do without.
    needs: Option<&'static str>,
    /// Asks for it; unknown to those who may not ask, and where asking is not possible.
    ask: fn() -> Option<bool>,
}

const BPF: Option<&str> = Some("CONFIG_BPF_SYSCALL");

const USED: [Facility; 7] = [
    Facility {
        name: "BPF",
        since: Version(4, 4),
        needs: BPF,
        ask: || answer(is_map_supported(MapType::Array)),
    },
    Facility {
        name: "XDP",
        since: Version(4, 8),
        needs: Some("CONFIG_BPF_SYSCALL and CONFIG_NET"),
        ask: || answer(is_program_supported(ProgramType::Xdp)),
    },
    Facility {
        name: "ring buffer",
        since: Version(5, 8),
        needs: BPF,
        ask: || answer(is_map_supported(MapType::RingBuf)),
    },
    Facility {
        name: "XDP link",
        since: Version(5, 9),
        needs: BPF,
        ask: || None,
    },
    Facility {
        name: "bpf_xdp_load_bytes",
        since: Version(5, 18),
        needs: BPF,
        ask: || {
            let helper = BpfHelper::BPF_FUNC_xdp_load_bytes;
            answer(is_helper_supported(ProgramType::Xdp, helper))
        },
    },
    Facility {
        name: "membarrier",
        since: Version(4, 3),
        needs: Some("CONFIG_MEMBARRIER, and a boot without `nohz_full`"),
        ask: || Some(membarrier_query().contains_command(MembarrierCommand::Global)),
    },
    Facility {
        name: "XDP abilities of drivers",
        since: Version(6, 3),
        needs: None,
        ask: || None,
    },
];

/// What the kernel's word on a facility means.
fn answer<E: StdError + 'static>(asked: Result<bool, E>) -> Option<bool> {
    match asked {
        Ok(has) => Some(has),
        Err(error) if is_no_such_call(&error) => Some(false),
        Err(_) => None,
    }
}

/// Whether the error at the bottom of a chain is that the kernel has no such call.
fn is_no_such_call(error: &(dyn StdError + 'static)) -> bool {
    let of_system = error.downcast_ref::<io::Error>();
    match of_system.and_then(io::Error::raw_os_error) {
        Some(number) => number == libc::ENOSYS,
        None => error.source().is_some_and(is_no_such_call),
    }
}

/// The running kernel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Kernel {
    /// Its release, as `uname -r` prints it.
    pub release: String,
    /// Whether the filter is made for it, and it has what the filter cannot do without.
    pub is_supported: bool,
    /// Facilities it has: by trying, or by its version for those who may not try.
    pub has: Vec<&'static str>,
    /// Facilities it lacks.
    pub lacks: Vec<&'static str>,
    /// What it must be built with, and run with, to have those it lacks and the filter needs.
    pub needs: Vec<&'static str>,
    /// Whether it carries its own type information (BTF), which the filter does without.
    pub has_btf: bool,
    /// Whether BPF programs are translated to machine code; unknown when it does not tell.
    pub has_jit: Option<bool>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Version(u32, u32);

impl Kernel {
    /// Looks at the running kernel.
    pub(crate) fn running() -> io::Result<Self> {
        let release = fs::read_to_string("/proc/sys/kernel/osrelease")?;
        let has_btf = Path::new("/sys/kernel/btf/vmlinux").exists();
        // The file is readable to root alone, and missing where the JIT cannot be switched off.
        let has_jit = fs::read_to_string("/proc/sys/net/core/bpf_jit_enable").ok();
        Ok(Self::of(
            release.trim(),
            has_btf,
            has_jit.map(|value| value.trim() != "0"),
            |facility| (facility.ask)(),
        ))
    }

    /// A kernel that answers for each facility as `ask` does.
    fn of(
        release: &str,
        has_btf: bool,
        has_jit: Option<bool>,
        ask: impl Fn(&Facility) -> Option<bool>,
    ) -> Self {
        let version = Version::parse(release);
        let by_version = |since| version.is_none_or(|version| version >= since);
        let (has, lacks): (Vec<_>, Vec<_>) = USED
            .iter()
            .partition(|facility| ask(facility).unwrap_or_else(|| by_version(facility.since)));
        let names = |list: &[&Facility]| list.iter().map(|facility| facility.name).collect();
        let mut needs: Vec<_> = lacks.iter().filter_map(|facility| facility.needs).collect();
        needs.dedup();
        Self {
            release: release.to_owned(),
            is_supported: by_version(OLDEST) && needs.is_empty(),
            has: names(&has),
            lacks: names(&lacks),
            needs,
            has_btf,
            has_jit,
        }
    }

    /// One whose version alone is known.
    #[cfg(test)]
    pub(super) fn of_version(release: &str, has_jit: Option<bool>) -> Self {
        Self::of(release, true, has_jit, |_| None)
    }

    /// Why the filter does not run on it, if that is known.
    pub(crate) fn shortcoming(&self) -> Option<String> {
        let release = &self.release;
        let is_old = Version::parse(release).is_some_and(|version| version < OLDEST);
        match (is_old, self.needs.as_slice()) {
            (true, _) => Some(format!(
                "Linux {release} is older than {OLDEST}, the oldest that the filter is made for"
            )),
            (false, []) => None,
            (false, needs) => Some(format!(
                "Linux {release} lacks {}: it takes a kernel with {}; type information (BTF) is not needed",
                self.lacks_needed().join(", "),
                needs.join(", ")
            )),
        }
    }

    fn lacks_needed(&self) -> Vec<&'static str> {
        let is_needed = |name: &&&str| {
            let mut used = USED.iter();
            used.any(|facility| facility.name == **name && facility.needs.is_some())
        };
        self.lacks.iter().filter(is_needed).copied().collect()
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
        Kernel::of_version(release, None)
    }

    /// A kernel of 6.1 without some facilities.
    fn without(names: &[&str]) -> Kernel {
        let ask = |facility: &Facility| Some(!names.contains(&facility.name));
        Kernel::of("6.1.176", false, None, ask)
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
        assert_eq!(of("6.1.0-18-amd64").lacks, ["XDP abilities of drivers"]);
        assert_eq!(
            of("5.10.0").lacks,
            ["bpf_xdp_load_bytes", "XDP abilities of drivers"]
        );
        assert!(of("6.18.1").lacks.is_empty());
    }

    #[test]
    fn a_kernel_is_told_by_what_it_lacks_and_not_by_its_version() {
        let kernel = without(&["ring buffer", "membarrier", "XDP abilities of drivers"]);
        assert!(!kernel.is_supported);
        assert_eq!(
            kernel.shortcoming().unwrap(),
            "Linux 6.1.176 lacks ring buffer, membarrier: it takes a kernel with CONFIG_BPF_SYSCALL, \
             CONFIG_MEMBARRIER, and a boot without `nohz_full`; type information (BTF) is not needed"
        );
        let old = of("5.15.0-91-generic").shortcoming().unwrap();
        assert!(old.starts_with("Linux 5.15.0-91-generic is older than 6.1"));
    }

    #[test]
    fn a_kernel_without_type_information_has_what_the_filter_needs() {
        let kernel = without(&["XDP abilities of drivers"]);
        assert!(kernel.is_supported && !kernel.has_btf);
        assert_eq!(kernel.shortcoming(), None);
    }

    #[test]
    fn a_kernel_without_bpf_says_no_to_every_question_of_it() {
        let unknown = io::Error::from_raw_os_error(libc::ENOSYS);
        assert_eq!(answer(Err(unknown)), Some(false));
        let denied = io::Error::from_raw_os_error(libc::EPERM);
        assert_eq!(answer(Err(denied)), None, "the version must do");
        assert_eq!(answer::<io::Error>(Ok(true)), Some(true));
    }

    #[test]
    fn the_running_kernel_tells_its_release() {
        let kernel = Kernel::running().unwrap();
        assert!(Version::parse(&kernel.release).is_some(), "{kernel:?}");
    }
}
