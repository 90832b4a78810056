//! Debian's kernels: fetched by apt with lists of its own, unpacked, never installed.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use super::without_btf;
use crate::{process, workspace::Workspace};

/// Suites of Debian that have the kernels of the matrix, on the machine's own mirror. The lists of an unreleased suite expire early.
const SOURCES: &str = "\
deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] MIRROR bookworm main
deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] MIRROR bookworm-backports main
deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] MIRROR trixie-backports main
deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg check-valid-until=no] MIRROR forky main
";

/// Taken before newer ones while the archive has it: emulated by QEMU 7.2, 6.12.95 crashes at random
/// places, on some processor models before the filter is loaded.
const PREFERRED: [&str; 1] = ["6.12.43+deb12-cloud-amd64"];

/// The archive that this machine installs Debian's packages from.
fn mirror() -> Result<String> {
    let output = Command::new("apt-get")
        .args(["indextargets", "--format", "$(REPO_URI)"])
        .output()
        .context("ask apt for its archive")?;
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines()
        .map(|line| line.trim().trim_end_matches('/'))
        .find(|uri| uri.ends_with("/debian"))
        .map(str::to_owned)
        .context("find Debian's archive among apt's sources: the kernels come from there")
}

/// A kernel that can be booted.
#[derive(Debug)]
pub(super) struct Kernel {
    /// What `uname -r` says.
    pub(super) release: String,
    /// The compressed image.
    pub(super) image: PathBuf,
    /// The module of veth pairs, not compressed, if they are not built in.
    pub(super) veth: Option<PathBuf>,
    /// Where all of this lies.
    pub(super) folder: PathBuf,
}

/// A kernel with the drivers of real cards.
#[derive(Debug)]
pub(super) struct WholeKernel {
    /// What `uname -r` says.
    pub(super) release: String,
    /// The compressed image.
    pub(super) image: PathBuf,
    /// The folder of its modules.
    pub(super) modules: PathBuf,
    /// Where all of this lies.
    pub(super) folder: PathBuf,
}

impl WholeKernel {
    fn in_folder(folder: &Path) -> Option<Self> {
        let release = fs::read_to_string(folder.join("release")).ok()?;
        let modules = modules_of(folder, &release)?;
        let image = image_of(folder, &modules, &release);
        image.is_file().then(|| Self {
            release,
            image,
            modules,
            folder: folder.to_path_buf(),
        })
    }
}

/// Which of Debian's builds of one kernel.
#[derive(Debug, Clone, Copy)]
enum Flavour {
    /// With the drivers of virtual machines alone.
    Cloud,
    /// With all drivers.
    Whole,
}

impl Flavour {
    fn has(self, package: &str) -> bool {
        match self {
            Self::Cloud => package.ends_with("-cloud-amd64"),
            Self::Whole => !package.ends_with("-cloud-amd64") && !package.ends_with("-rt-amd64"),
        }
    }
}

impl Kernel {
    pub(super) fn in_folder(folder: &Path) -> Option<Self> {
        let kernel = Self {
            release: fs::read_to_string(folder.join("release")).ok()?,
            image: folder.join("vmlinuz"),
            veth: Some(folder.join("veth.ko")).filter(|module| module.is_file()),
            folder: folder.to_path_buf(),
        };
        kernel.image.is_file().then_some(kernel)
    }
}

/// The packages of the archive and those already fetched.
pub(super) struct Archive {
    folder: PathBuf,
}

impl Archive {
    /// Makes the folder in the target folder; fetches nothing yet.
    pub(super) fn new(workspace: &Workspace) -> Result<Self> {
        let folder = workspace.target().join("vm");
        for part in ["apt/lists/partial", "apt/cache/archives/partial"] {
            fs::create_dir_all(folder.join(part)).context("make the folder of the kernels")?;
        }
        fs::write(
            folder.join("apt/sources.list"),
            SOURCES.replace("MIRROR", &mirror()?),
        )?;
        Ok(Self { folder })
    }

    /// The kernel of this major and minor number: the one fetched before, or Debian's newest.
    pub(super) fn kernel(&self, name: &str) -> Result<Kernel> {
        let folder = self.folder.join(name);
        if name == without_btf::NAME {
            return without_btf::kernel(self, &folder);
        }
        if let Some(kernel) = Kernel::in_folder(&folder) {
            return Ok(kernel);
        }
        let (release, packages) = self.newest(name, Flavour::Cloud)?;
        eprintln!("vm: fetching {}", packages.join(" "));
        let unpacked = folder.join("unpacked");
        if unpacked.exists() {
            fs::remove_dir_all(&unpacked)?;
        }
        fs::create_dir_all(&unpacked)?;
        self.unpack(&packages, &unpacked)?;
        keep_what_boots(&unpacked, &folder, &release)
            .with_context(|| format!("unpack {}", packages.join(" ")))?;
        fs::remove_dir_all(&unpacked)?;
        Kernel::in_folder(&folder).context("find what was unpacked")
    }

    /// The kernel of this number with the drivers of real cards, and a folder with its modules.
    pub(super) fn whole_kernel(&self, name: &str) -> Result<WholeKernel> {
        let folder = self.folder.join(format!("{name}-whole"));
        if let Some(kernel) = WholeKernel::in_folder(&folder) {
            return Ok(kernel);
        }
        let (release, packages) = self.newest(name, Flavour::Whole)?;
        eprintln!("vm: fetching {}", packages.join(" "));
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        fs::create_dir_all(&folder)?;
        self.unpack(&packages, &folder)?;
        fs::write(folder.join("release"), release)?;
        WholeKernel::in_folder(&folder).context("find what was unpacked")
    }

    /// Release and packages of the newest kernel of this number.
    fn newest(&self, name: &str, flavour: Flavour) -> Result<(String, Vec<String>)> {
        self.update()?;
        let pattern = "^linux-(image|binary|modules)-[0-9].*-amd64$";
        let found = process::output(self.apt("apt-cache").args(["search", "-n", pattern]))?;
        let names: Vec<&str> = found
            .lines()
            .filter_map(|line| line.split(' ').next())
            .filter(|package| flavour.has(package))
            .collect();
        newest_of(&names, name).with_context(|| {
            format!(
                "find a kernel {name} with its modules in the Debian archive; remove {} to fetch the lists anew",
                self.folder.join("apt").display()
            )
        })
    }

    /// Fetches the lists of packages, once.
    fn update(&self) -> Result<()> {
        let mark = self.folder.join("apt/fetched");
        if mark.exists() {
            return Ok(());
        }
        eprintln!("vm: fetching Debian's package lists");
        process::output(self.apt("apt-get").args(["update", "-q"]))?;
        Ok(fs::write(mark, b"")?)
    }

    /// Fetches packages and unpacks them.
    pub(super) fn unpack(&self, packages: &[String], into: &Path) -> Result<()> {
        self.update()?;
        let mut download = self.apt("apt-get");
        download.current_dir(into).args(["download", "-q"]);
        process::output(download.args(packages))?;
        for entry in into.read_dir()?.flatten() {
            let package = entry.path();
            if package.extension().is_some_and(|end| end == "deb") {
                process::output(Command::new("dpkg-deb").arg("-x").arg(&package).arg(into))?;
                fs::remove_file(&package)?;
            }
        }
        Ok(())
    }

    /// An apt that sees these suites only and leaves the system's own state alone.
    fn apt(&self, program: &str) -> Command {
        let folder = self.folder.join("apt");
        let mut command = process::outer(program);
        for (option, value) in [
            ("Dir::Etc::SourceList", folder.join("sources.list")),
            ("Dir::Etc::SourceParts", "-".into()),
            ("Dir::State::Lists", folder.join("lists")),
            ("Dir::State::Status", "/dev/null".into()),
            ("Dir::Cache", folder.join("cache")),
            ("APT::Sandbox::User", "root".into()),
            ("APT::Architecture", "amd64".into()),
            ("Acquire::Languages", "none".into()),
            ("Acquire::Retries", "2".into()),
        ] {
            command
                .arg("-o")
                .arg(format!("{option}={}", value.display()));
        }
        command
    }
}

/// Up to 6.18 one package holds image and modules; later ones are two.
fn newest_of(names: &[&str], number: &str) -> Option<(String, Vec<String>)> {
    let releases = |kind: &str| {
        let prefix = format!("linux-{kind}-");
        let wanted = format!("{number}.");
        let found = names.iter().filter_map(move |name| {
            let release = name.strip_prefix(&prefix)?;
            release.starts_with(&wanted).then(|| release.to_owned())
        });
        found.collect::<Vec<String>>()
    };
    let modules = releases("modules");
    let split = releases("binary")
        .into_iter()
        .filter(|release| modules.contains(release));
    if let Some(release) = split.max_by_key(|release| numbers(release)) {
        let packages = ["binary", "modules"].map(|kind| format!("linux-{kind}-{release}"));
        return Some((release, packages.to_vec()));
    }
    // From 6.19 on the package of this name is empty.
    let is_whole = modules.is_empty() && releases("binary").is_empty();
    let whole = releases("image").into_iter().filter(|_| is_whole);
    let is_preferred = |release: &String| PREFERRED.contains(&release.as_str());
    let release = whole.max_by_key(|release| (is_preferred(release), numbers(release)))?;
    let package = format!("linux-image-{release}");
    Some((release, vec![package]))
}

/// The numbers of a release, which order releases as text does not.
fn numbers(release: &str) -> Vec<u32> {
    release
        .split(|character: char| !character.is_ascii_digit())
        .filter_map(|number| number.parse().ok())
        .collect()
}

/// Moves the image and the one module that is needed out of an unpacked package.
fn keep_what_boots(unpacked: &Path, folder: &Path, release: &str) -> Result<()> {
    let modules =
        modules_of(unpacked, release).with_context(|| format!("find the modules of {release}"))?;
    let image = image_of(unpacked, &modules, release);
    fs::rename(&image, folder.join("vmlinuz"))
        .with_context(|| format!("find {}", image.display()))?;
    let veth = modules.join("kernel/drivers/net/veth.ko");
    let compressed = veth.with_extension("ko.xz");
    if veth.is_file() {
        fs::rename(&veth, folder.join("veth.ko"))?;
    } else if compressed.is_file() {
        decompress(&compressed, &folder.join("veth.ko"))?;
    } else {
        bail!("find the module veth of {release}");
    }
    fs::write(folder.join("release"), release)?;
    Ok(())
}

/// The folder of an unpacked package that holds the modules.
fn modules_of(unpacked: &Path, release: &str) -> Option<PathBuf> {
    ["usr/lib/modules", "lib/modules"]
        .map(|place| unpacked.join(place).join(release))
        .into_iter()
        .find(|place| place.is_dir())
}

/// The image of an unpacked package: newer ones lie beside the modules.
fn image_of(unpacked: &Path, modules: &Path, release: &str) -> PathBuf {
    let in_boot = unpacked.join("boot").join(format!("vmlinuz-{release}"));
    if in_boot.is_file() {
        in_boot
    } else {
        modules.join("vmlinuz")
    }
}

pub(super) fn decompress(from: &Path, to: &Path) -> Result<()> {
    let mut command = Command::new("busybox");
    command
        .args(["xz", "-dc"])
        .arg(from)
        .stdout(fs::File::create(to)?);
    process::run(&mut command)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: [&str; 8] = [
        "linux-image-6.1.0-9-cloud-amd64",
        "linux-image-6.1.0-50-cloud-amd64",
        "linux-image-6.12.95+deb12-cloud-amd64",
        "linux-binary-7.2.9+deb13-cloud-amd64",
        "linux-modules-7.2.9+deb13-cloud-amd64",
        "linux-image-7.2.12+deb13-cloud-amd64",
        "linux-binary-7.2.12+deb13-cloud-amd64",
        "linux-image-6.19.14+deb13-cloud-amd64",
    ];

    #[test]
    fn the_newest_is_found_by_number_and_6_1_is_not_6_12() {
        let (release, packages) = newest_of(&NAMES, "6.1").unwrap();
        assert_eq!(release, "6.1.0-50-cloud-amd64");
        assert_eq!(packages, ["linux-image-6.1.0-50-cloud-amd64"]);
    }

    #[test]
    fn a_preferred_kernel_comes_before_a_newer_one() {
        let names = ["43", "95"].map(|minor| format!("linux-image-6.12.{minor}+deb12-cloud-amd64"));
        let names = names.each_ref().map(String::as_str);
        let (release, _) = newest_of(&names, "6.12").unwrap();
        assert_eq!(release, "6.12.43+deb12-cloud-amd64");
    }

    #[test]
    fn a_kernel_of_two_packages_needs_both() {
        let (release, packages) = newest_of(&NAMES, "7.2").unwrap();
        assert_eq!(release, "7.2.9+deb13-cloud-amd64");
        assert_eq!(packages.len(), 2);
    }

    #[test]
    fn a_cloud_kernel_is_not_taken_for_a_whole_one_nor_a_real_time_kernel() {
        assert!(Flavour::Whole.has("linux-image-6.1.0-50-amd64"));
        assert!(!Flavour::Whole.has("linux-image-6.1.0-50-cloud-amd64"));
        assert!(!Flavour::Whole.has("linux-image-6.1.0-50-rt-amd64"));
        assert!(Flavour::Cloud.has("linux-image-6.1.0-50-cloud-amd64"));
    }

    #[test]
    fn a_kernel_that_is_not_there_is_not_found() {
        assert_eq!(newest_of(&NAMES, "5.15"), None);
    }
}
