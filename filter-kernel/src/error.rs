//! Why the kernel side failed, and what to do.

use std::{
    io,
    path::{Path, PathBuf},
};

use aya::{EbpfError, maps::MapError, programs::ProgramError};
use rustix::thread::CapabilitySet;

use crate::{Mode, features::Kernel};

/// An error of the kernel side.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("load the program: this build has no eBPF object; run `cargo xtask build`")]
    NoObject,
    /// The embedded object lacks something: a broken build.
    #[error("find '{0}' in the embedded eBPF object: rebuild with `cargo xtask build`")]
    Object(&'static str),
    /// Loading and attaching need capabilities that the process lacks.
    #[error(
        "load or attach the program: permission denied without {missing}; run as root or with CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON{}",
        parenthesis(.verifier.as_deref())
    )]
    Permission {
        /// Their names.
        missing: String,
        /// What the verifier said, if it was asked at all.
        verifier: Option<String>,
    },
    /// The process lacks no capability.
    #[error(
        "load or attach the program: permission denied, though no capability is missing; a user namespace, lockdown or a security module forbids BPF here"
    )]
    Forbidden,
    /// The kernel has not what the filter needs.
    #[error("load the program: {0}")]
    Kernel(String),
    /// The verifier refused the program.
    #[error(
        "load the program: the verifier refused it, though this kernel has what the filter asks for: {0}"
    )]
    Verifier(String),
    /// The kernel refused the object.
    #[error("load the program: the kernel refused it, though it has what the filter asks for")]
    Load(#[source] EbpfError),
    /// The table could not be mapped.
    #[error("map the table into memory")]
    MapTable(#[source] io::Error),
    /// The table is too small for another generation.
    #[error(
        "table full: {needed} records needed beside the active generation, {capacity} in all; the table must grow"
    )]
    TableFull {
        /// Records of the new generation.
        needed: u32,
        /// Records of the table.
        capacity: u32,
    },
    /// The new generation does not decide as it should.
    #[error(
        "test the new generation: it decides names otherwise than its lists; the old one stays active"
    )]
    SelfTest,
    /// The kernel does not tell what a map is.
    #[error("ask the kernel about a map")]
    Info(#[source] MapError),
    /// The copied generation does not read back as it was written.
    #[error("check the new generation: the table reads back differently; the old one stays active")]
    CopyDiffers,
    /// The kernel cannot tell when the old generation is unused.
    #[error(
        "wait for running programs (membarrier): the kernel does not offer that, as with `nohz_full` on its command line: boot it without"
    )]
    Membarrier(#[source] io::Error),
    /// The counters cannot be read.
    #[error("read the counters")]
    Counters(#[source] MapError),
    /// The ring of events cannot be read.
    #[error("open the ring of events")]
    Events(#[source] MapError),
    /// The maps of clients cannot be changed.
    #[error("change the maps of clients")]
    Clients(#[source] MapError),
    /// The maps of clients have no room for new clients beside those that leave.
    #[error(
        "change the maps of clients: {needed} {what} before and after together, {max} fit; nothing was changed: leave the old ones out first, that is two reloads"
    )]
    ClientsFull {
        /// Of what.
        what: &'static str,
        /// How many there would be for a moment.
        needed: usize,
        /// How many there can be.
        max: u32,
    },
    /// The policies cannot be changed.
    #[error("change the policies")]
    Policies(#[source] MapError),
    /// The overrides cannot be changed.
    #[error("change the overrides")]
    Overrides(#[source] MapError),
    /// There are no random numbers for keys.
    #[error("draw a random key")]
    Random(#[source] getrandom::Error),
    /// No interface has this name.
    #[error("attach to '{0}': no such interface; `ip link` lists them")]
    NoInterface(String),
    /// Another program is attached.
    #[error(
        "attach to '{0}': another XDP program is attached; see `nxdp features {0}`, detach it through its owner (`nxdp unload` if that is nxdp) or with `ip link set dev {0} xdp off`"
    )]
    Busy(String),
    /// The driver cannot run the program in this mode.
    #[error(
        "attach to '{interface}' in {mode} mode: the driver refused it; `nxdp features {interface}` tells what stands in the way{hint}"
    )]
    Refused {
        /// The interface.
        interface: String,
        /// The mode asked for.
        mode: Mode,
        /// A way out.
        hint: &'static str,
    },
    /// The program of an attachment cannot be replaced.
    #[error("replace the program on the interface with index {index}; the old one goes on")]
    Replace {
        /// Index of the interface.
        index: u32,
        /// What the kernel said.
        #[source]
        source: ProgramError,
    },
    /// A pin cannot be made, opened or removed.
    #[error("{operation} pin '{path}'")]
    Pin {
        /// What was tried.
        operation: &'static str,
        /// The pin or the folder of pins.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Somebody else put something where pins are to be.
    #[error(
        "pin to '{path}': it {what}; remove it, and mount the BPF file system for root alone \
         (`mount -o remount,mode=0711 /sys/fs/bpf`)"
    )]
    Foreign {
        /// What is there.
        path: PathBuf,
        /// What it is.
        what: String,
    },
    /// Nothing is loaded.
    #[error("find the filter below '{0}': nothing is loaded; run `nxdp load` first")]
    NotLoaded(PathBuf),
    /// The folder is on another file system.
    #[error(
        "pin to '{0}': no BPF file system is there; `mount -t bpf bpf {0}`, or name another folder with `--pins`"
    )]
    NoBpfFs(PathBuf),
    /// Somebody else changes the pins.
    #[error("lock '{0}': another nxdp has been changing it for 10 seconds; see `fuser -v {0}`")]
    Locked(PathBuf),
    /// There is a daemon already.
    #[error(
        "lock '{0}': another daemon uses this filter; stop it, or name other pins with `--pins`"
    )]
    SecondDaemon(PathBuf),
    /// Anything else.
    #[error("attach to '{interface}'")]
    Attach {
        /// The interface.
        interface: String,
        /// What the kernel said.
        #[source]
        source: ProgramError,
    },
}

impl Error {
    pub(crate) fn load(error: EbpfError) -> Self {
        let is_denied = matches!(os_error(&error), Some(libc::EPERM | libc::EACCES));
        let missing = missing(capabilities());
        let shortcoming = || Kernel::running().ok()?.shortcoming();
        match verifier_log(&error) {
            // A kernel without type information denies with other words than that.
            verifier if !missing.is_empty() && (is_denied || verifier.is_some()) => {
                Self::Permission { missing, verifier }
            }
            log => match (shortcoming(), log) {
                (Some(shortcoming), _) => Self::Kernel(shortcoming),
                (None, Some(log)) => Self::Verifier(log),
                (None, None) if is_denied => Self::Forbidden,
                (None, None) => Self::Load(error),
            },
        }
    }

    pub(crate) fn attach(interface: &str, mode: Mode, source: ProgramError) -> Self {
        if let ProgramError::UnknownInterface { .. } = source {
            return Self::NoInterface(interface.to_owned());
        }
        match os_error(&source) {
            Some(libc::EBUSY | libc::EEXIST) => Self::Busy(interface.to_owned()),
            Some(libc::EPERM | libc::EACCES) => Self::load(source.into()),
            Some(libc::EINVAL | libc::EOPNOTSUPP | libc::ERANGE) => Self::refused(interface, mode),
            _ => Self::Attach {
                interface: interface.to_owned(),
                source,
            },
        }
    }

    pub(crate) fn pin(operation: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Pin {
            operation,
            path: path.to_owned(),
            source,
        }
    }

    /// A failure of aya, whose causes are shown.
    pub(crate) fn open_pin(
        operation: &'static str,
        path: &Path,
        error: &(dyn std::error::Error + 'static),
    ) -> Self {
        let source = match os_error(error) {
            Some(number) => io::Error::from_raw_os_error(number),
            None => io::Error::other(error.to_string()),
        };
        Self::pin(operation, path, source)
    }

    pub(crate) fn refused(interface: &str, mode: Mode) -> Self {
        Self::Refused {
            interface: interface.to_owned(),
            mode,
            hint: match mode {
                Mode::Native => "; `--mode skb` works on any driver, slower",
                Mode::Skb => "",
            },
        }
    }
}

/// The capabilities of this thread that count.
fn capabilities() -> CapabilitySet {
    rustix::thread::capabilities(None).map_or(CapabilitySet::empty(), |sets| sets.effective)
}

/// Names the needed capabilities that are not among `held`.
fn missing(held: CapabilitySet) -> String {
    const NEEDED: [(CapabilitySet, &str); 3] = [
        (CapabilitySet::BPF, "CAP_BPF"),
        (CapabilitySet::NET_ADMIN, "CAP_NET_ADMIN"),
        // Without it the verifier refuses what could leak kernel memory to speculation.
        (CapabilitySet::PERFMON, "CAP_PERFMON"),
    ];
    if held.contains(CapabilitySet::SYS_ADMIN) {
        return String::new();
    }
    let missing = NEEDED.iter().filter(|(one, _)| !held.contains(*one));
    let names: Vec<&str> = missing.map(|(_, name)| *name).collect();
    names.join(" and ")
}

/// What the verifier said of a program that it refused.
fn verifier_log(error: &EbpfError) -> Option<String> {
    let EbpfError::ProgramError(ProgramError::LoadError { verifier_log, .. }) = error else {
        return None;
    };
    verifier_words(&verifier_log.to_string())
}

/// The end of a verifier's log, which tells why, in one line; none if there is nothing.
fn verifier_words(log: &str) -> Option<String> {
    const LINES: usize = 12;
    // Said at every function, by kernels without type information.
    let is_noise = |line: &&str| line.is_empty() || *line == "btf_vmlinux is malformed";
    let lines = log.lines().map(str::trim).filter(|line| !is_noise(line));
    let lines: Vec<&str> = lines.collect();
    let words = lines[lines.len().saturating_sub(LINES)..].join("; ");
    (!words.is_empty()).then_some(words)
}

fn parenthesis(verifier: Option<&str>) -> String {
    verifier.map_or_else(String::new, |log| format!(" (the verifier: {log})"))
}

/// The error number at the bottom of a chain of errors.
pub(crate) fn os_error(error: &(dyn std::error::Error + 'static)) -> Option<i32> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(number) = error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::raw_os_error)
        {
            return Some(number);
        }
        next = error.source();
    }
    None
}

impl std::fmt::Display for Mode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Native => "native",
            Self::Skb => "skb",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_log_the_end_is_told_without_what_says_nothing() {
        let log = "btf_vmlinux is malformed\n".repeat(200) + "\ninfinite loop detected\n";
        assert_eq!(
            verifier_words(&log).as_deref(),
            Some("infinite loop detected")
        );
        assert_eq!(verifier_words("btf_vmlinux is malformed\n"), None);
        let long: String = (0..40).map(|line| format!("{line}: r0 = 0\n")).collect();
        let words = verifier_words(&long).unwrap();
        assert!(
            words.starts_with("28: r0") && words.ends_with("39: r0 = 0"),
            "{words}"
        );
    }

    #[test]
    fn what_is_missing_is_named_and_nothing_is_missing_to_sys_admin() {
        let two = CapabilitySet::BPF | CapabilitySet::NET_ADMIN;
        assert_eq!(missing(two), "CAP_PERFMON");
        assert_eq!(missing(two | CapabilitySet::PERFMON), "");
        assert_eq!(missing(CapabilitySet::SYS_ADMIN), "");
        assert_eq!(missing(CapabilitySet::NET_ADMIN), "CAP_BPF and CAP_PERFMON");
    }
}
