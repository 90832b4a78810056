//! A kernel without type information (CONFIG_DEBUG_INFO_BTF off), which no package has: built from
//! Debian's source.
//!
//! OpenWrt and Raspberry Pi OS build theirs so. It takes some ten minutes of processor time once, and
//! is tried only when it is named.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};

use super::kernels::{Archive, Kernel};
use crate::{process, setup::apt};

/// What it is called among the kernels.
pub(super) const NAME: &str = "6.1-without-btf";
/// Debian's package of the source.
const SOURCE: &str = "linux-source-6.1";
/// Laid over the smallest configuration there is.
const FRAGMENT: &str = include_str!("without_btf.config");
/// What must have come of it, and what must not.
const MUST_HAVE: [&str; 4] = [
    "CONFIG_BPF_SYSCALL=y",
    "CONFIG_BPF_JIT=y",
    "CONFIG_VETH=y",
    "CONFIG_MEMBARRIER=y",
];
const MUST_LACK: &str = "CONFIG_DEBUG_INFO_BTF=y";
/// Programs that a build needs, and their packages.
const TOOLS: [(&str, &str); 5] = [
    ("gcc", "gcc"),
    ("make", "make"),
    ("flex", "flex"),
    ("bison", "bison"),
    ("bc", "bc"),
];

/// The kernel: the one built before, or one that is built now.
pub(super) fn kernel(archive: &Archive, folder: &Path) -> Result<Kernel> {
    if let Some(kernel) = Kernel::in_folder(folder) {
        return Ok(kernel);
    }
    tools()?;
    let tree = folder.join("source");
    if tree.exists() {
        fs::remove_dir_all(&tree)?;
    }
    fs::create_dir_all(&tree)?;
    eprintln!("vm: fetching {SOURCE}");
    archive.unpack(&[SOURCE.to_owned()], &tree)?;
    let source = tree.join(format!("usr/src/{SOURCE}"));
    let mut unpack = Command::new("tar");
    unpack.arg("-xJf").arg(with_end(&source, ".tar.xz"));
    process::run(unpack.arg("-C").arg(tree.join("usr/src")))?;
    configure(&source)?;
    eprintln!("vm: building Linux without type information");
    let image = build(&source)?;
    fs::copy(&image, folder.join("vmlinuz"))?;
    let release = fs::read_to_string(source.join("include/config/kernel.release"))?;
    fs::write(folder.join("release"), release.trim())?;
    fs::remove_dir_all(&tree)?;
    Kernel::in_folder(folder).context("find what was built")
}

fn tools() -> Result<()> {
    let missing = TOOLS
        .iter()
        .filter(|(program, _)| process::find(program).is_none());
    let mut packages: Vec<&str> = missing.map(|(_, package)| *package).collect();
    if !Path::new("/usr/include/libelf.h").exists() {
        packages.push("libelf-dev");
    }
    if packages.is_empty() {
        return Ok(());
    }
    apt::install(&packages, "a kernel without type information is built")
}

/// Makes the configuration, and sees that it is the one that was meant.
fn configure(source: &Path) -> Result<()> {
    let make = |target: &str| {
        let mut command = Command::new("make");
        command.arg("-C").arg(source).args(["-s", target]);
        process::output(&mut command)
    };
    make("tinyconfig")?;
    fs::write(source.join("without_btf.config"), FRAGMENT)?;
    let mut merge = Command::new("scripts/kconfig/merge_config.sh");
    merge.current_dir(source);
    process::output(merge.args(["-m", ".config", "without_btf.config"]))?;
    make("olddefconfig")?;
    let config = fs::read_to_string(source.join(".config"))?;
    let has = |wanted: &str| config.lines().any(|line| line == wanted);
    for line in MUST_HAVE {
        ensure!(
            has(line),
            "configure a kernel without type information: {line} is not to be had"
        );
    }
    ensure!(
        !has(MUST_LACK),
        "configure a kernel without type information: it has {MUST_LACK}"
    );
    Ok(())
}

fn build(source: &Path) -> Result<PathBuf> {
    let jobs = std::thread::available_parallelism()?;
    let mut make = Command::new("nice");
    make.args(["-n", "10", "make", "-s", "-C"]).arg(source);
    process::run(make.args([&format!("-j{jobs}"), "bzImage"]))?;
    Ok(source.join("arch/x86/boot/bzImage"))
}

fn with_end(path: &Path, end: &str) -> PathBuf {
    let mut text = path.as_os_str().to_owned();
    text.push(end);
    text.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fragment_asks_for_what_must_come_of_it_and_against_type_information() {
        for line in MUST_HAVE {
            assert!(FRAGMENT.lines().any(|asked| asked == line), "{line}");
        }
        assert!(FRAGMENT.contains("# CONFIG_DEBUG_INFO_BTF is not set"));
    }
}
