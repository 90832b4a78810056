//! What runs inside a machine: the built programs, the libraries they need, and the script that starts
//! them one after the other.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail};

use super::{initramfs::Initramfs, kernels::Kernel};
use crate::{
    build::{self, Binary, Profile},
    process,
    workspace::Workspace,
};

/// Test binaries that a machine runs.
const TESTS: [&str; 2] = ["lab", "packet"];
/// What was built, beside the tests.
pub(super) const BUILT: [Binary; 3] = [build::NXDP, build::LAB, build::PROBE];
/// Programs of this machine that the lab starts.
const TOOLS: [&str; 3] = ["ip", "ethtool", "setpriv"];

/// Everything but the kernel's own part, as an archive that all machines share.
pub(super) struct Programs {
    archive: PathBuf,
}

impl Programs {
    /// Builds the tests and packs them with what they need.
    pub(super) fn build(workspace: &Workspace, frames: u32) -> Result<Self> {
        let folder = workspace.target().join("vm");
        fs::create_dir_all(&folder).context("make the folder of the machines")?;
        let mut pack = Pack::new(folder.join("stripped"))?;
        for (_, name) in BUILT {
            let binary = Profile::Release.binary(workspace, name);
            pack.stripped(&binary, &format!("/bin/{name}"))?;
        }
        for (name, binary) in tests(workspace)? {
            pack.stripped(&binary, &format!("/tests/{name}"))?;
        }
        for name in TOOLS {
            let program =
                process::find(name).with_context(|| format!("find the program {name}"))?;
            pack.program(&program, &format!("/bin/{name}"))?;
        }
        let busybox = process::find("busybox").context("find the program busybox")?;
        pack.program(&busybox, "/bin/busybox")?;
        let object = workspace.ebpf_objects().join("nxdp.bpf.o");
        pack.archive.copy(&object, Path::new("/nxdp.bpf.o"))?;
        pack.archive
            .file(Path::new("/init"), script(frames).as_bytes());
        let archive = folder.join("programs.cpio");
        fs::write(&archive, pack.finish()?)?;
        Ok(Self { archive })
    }

    /// The file system of one kernel: the programs, and its module.
    pub(super) fn initramfs(&self, kernel: &Kernel) -> Result<PathBuf> {
        let mut own = Initramfs::default();
        if let Some(veth) = &kernel.veth {
            own.copy(veth, Path::new("/veth.ko"))?;
        }
        let mut bytes = fs::read(&self.archive).context("read the packed programs")?;
        bytes.extend(own.finish());
        let path = kernel.folder.join("initramfs.cpio");
        fs::write(&path, bytes).with_context(|| format!("write {}", path.display()))?;
        Ok(path)
    }
}

/// Programs and the shared libraries they name, each where it is on this machine.
pub(super) struct Pack {
    pub(super) archive: Initramfs,
    libraries: BTreeSet<PathBuf>,
    scratch: PathBuf,
}

impl Pack {
    pub(super) fn new(scratch: PathBuf) -> Result<Self> {
        fs::create_dir_all(&scratch).context("make the folder of stripped programs")?;
        Ok(Self {
            archive: Initramfs::default(),
            libraries: BTreeSet::new(),
            scratch,
        })
    }

    /// Adds a program without its debugging information, if it can be taken away.
    pub(super) fn stripped(&mut self, from: &Path, to: &str) -> Result<()> {
        let Some(strip) = process::find("strip") else {
            return self.program(from, to);
        };
        let name = from.file_name().context("name a program")?;
        let smaller = self.scratch.join(name);
        process::run(Command::new(strip).arg("-o").arg(&smaller).arg(from))?;
        self.program(&smaller, to)
    }

    pub(super) fn program(&mut self, from: &Path, to: &str) -> Result<()> {
        // Of a static program ldd says so and fails.
        let said = Command::new("ldd")
            .arg(from)
            .output()
            .context("start ldd")?;
        self.libraries
            .extend(libraries(&String::from_utf8_lossy(&said.stdout)));
        self.archive.copy(from, Path::new(to))
    }

    pub(super) fn finish(mut self) -> Result<Vec<u8>> {
        for library in &self.libraries {
            self.archive.copy(library, library)?;
        }
        for folder in ["proc", "sys", "dev", "tmp", "run", "applets"] {
            self.archive.folder(folder);
        }
        fs::remove_dir_all(&self.scratch).context("remove the stripped programs")?;
        Ok(self.archive.finish())
    }
}

/// The paths in what ldd says.
fn libraries(said: &str) -> Vec<PathBuf> {
    let words = said.lines().filter_map(|line| {
        let (file, _) = line.split_once(" (0x")?;
        let path = file.rsplit("=> ").next()?.trim();
        path.starts_with('/').then(|| PathBuf::from(path))
    });
    words.collect()
}

/// Compiles the tests and finds their binaries by name.
fn tests(workspace: &Workspace) -> Result<Vec<(&'static str, PathBuf)>> {
    let mut cargo = build::cargo(workspace);
    cargo.args(["test", "--no-run", "--package", "filter-user"]);
    cargo.args(["--package", "nxdp-lab"]);
    cargo.args(TESTS.map(|name| format!("--test={name}")));
    cargo.args(["--message-format", "json-render-diagnostics"]);
    let output = cargo
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("start {}", process::line(&cargo)))?;
    if !output.status.success() {
        bail!("{} ended with {}", process::line(&cargo), output.status);
    }
    let said = String::from_utf8_lossy(&output.stdout);
    let built: Vec<PathBuf> = said.lines().filter_map(build::executable).collect();
    let find = |name: &'static str| {
        let named = |path: &&PathBuf| stem(path).is_some_and(|stem| stem == name);
        let path = built.iter().find(named);
        let path = path.with_context(|| format!("find the test binary {name}"))?;
        Ok((name, path.clone()))
    };
    TESTS.into_iter().map(find).collect()
}

/// `packet` of `…/deps/packet-45b610aa49f4a76c`.
fn stem(path: &Path) -> Option<&str> {
    let (stem, _hash) = path.file_name()?.to_str()?.rsplit_once('-')?;
    Some(stem)
}

/// How every script begins.
pub(super) const PROLOGUE: &str = "\
#!/bin/busybox sh
/bin/busybox --install -s /applets
export PATH=/bin:/applets HOME=/tmp TMPDIR=/tmp RUST_BACKTRACE=0
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev 2>/dev/null
mount -t tmpfs tmp /tmp
";

/// The first process of a machine: every step says where it begins and how it ended.
fn script(frames: u32) -> String {
    format!(
        r#"{PROLOGUE}export NXDP_FRAMES={frames}
step() {{
    name=$1
    shift
    echo "@@ begin $name"
    "$@" 2>&1
    echo "@@ end $name $?"
}}
with() {{
    caps=$1
    shift
    # By its path: the shell prefers its own command of this name.
    /bin/setpriv --reuid 65534 --regid 65534 --clear-groups \
        --inh-caps=-all,$caps --ambient-caps=-all,$caps --bounding-set=-all,$caps "$@"
}}
[ ! -e /veth.ko ] || insmod /veth.ko
/bin/ip link set lo up
echo "unprivileged_bpf_disabled $(cat /proc/sys/kernel/unprivileged_bpf_disabled)"
step verify nxdp-probe verify /nxdp.bpf.o
step cases /tests/packet --nocapture cases::
step count nxdp-probe cases
step differential /tests/packet --nocapture differential::
step veth /tests/lab --test-threads 1 veth::
step demo nxdp-lab demo --nxdp /bin/nxdp
/bin/ip link add vm0 type veth peer name vm1
/bin/ip link set vm0 up
/bin/ip link set vm1 up
step features nxdp features vm0
step caps with +bpf,+net_admin,+perfmon nxdp-probe attach vm0
step no-perfmon with +bpf,+net_admin nxdp-probe attach vm0
poweroff -f
"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_what_ldd_says_the_files_are_taken() {
        let said = "\tlinux-vdso.so.1 (0x00007ffe)\n\
            \tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f)\n\
            \t/lib64/ld-linux-x86-64.so.2 (0x00007f)\n\tstatically linked\n";
        let paths = [
            "/lib/x86_64-linux-gnu/libc.so.6",
            "/lib64/ld-linux-x86-64.so.2",
        ];
        assert_eq!(libraries(said), paths.map(PathBuf::from));
    }

    #[test]
    fn a_test_binary_is_known_by_its_name_without_the_hash() {
        assert_eq!(stem(Path::new("/t/deps/packet-45b6")), Some("packet"));
        assert_eq!(
            stem(Path::new("/t/deps/nxdp-probe-45b6")),
            Some("nxdp-probe")
        );
    }
}
