//! The table of devices: the filter on every kind of interface, over emulated cards of several models.
//!
//! A machine has four cards on two cables; `nxdp-lab devices` makes a client and a router of them
//! and prints a line for each row of its table. Here are the cards, the cables and the modules.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};

use super::{
    VmArgs,
    cables::Cables,
    guest::{PROLOGUE, Pack},
    initramfs::Initramfs,
    kernels::{Archive, WholeKernel, decompress},
    machine,
    table::{Cell, Table},
};
use crate::{
    build::{self, Profile},
    process,
    setup::apt,
    workspace::Workspace,
};

/// The kernels when none is named: the oldest that is supported, and a new one.
const KERNELS: [&str; 2] = ["6.1", "6.18"];

/// How long one machine may take.
const LIMIT: Duration = Duration::from_secs(3600);

/// Programs that the rows call.
const TOOLS: [(&str, &str); 5] = [
    ("ip", "iproute2"),
    ("bridge", "iproute2"),
    ("ethtool", "ethtool"),
    ("wg", "wireguard-tools"),
    ("depmod", "kmod"),
];

/// Modules without which a row says that the kernel cannot do it, beside the cards' own.
const MODULES: [&str; 13] = [
    "virtio_pci",
    "8021q",
    "bonding",
    "bridge",
    "ipvlan",
    "macvlan",
    "pppoe",
    "tun",
    "veth",
    "vrf",
    "wireguard",
    "libcurve25519-generic",
    "libchacha20poly1305",
];

/// A model of network cards.
struct Cards {
    name: &'static str,
    /// As the emulator calls the device, with its properties.
    device: &'static str,
    /// The kernel's driver.
    module: &'static str,
    /// Whether the cable hands over merged frames, as a host's network does.
    offloads: bool,
    /// The widest rows that they are tried with, as `nxdp-lab devices --breadth` calls them.
    breadth: &'static str,
}

const CARDS: [Cards; 5] = [
    Cards {
        name: "virtio_net",
        device: "virtio-net-pci",
        module: "virtio_net",
        offloads: false,
        breadth: "driver",
    },
    Cards {
        name: "virtio_net with offloads",
        device: "virtio-net-pci",
        module: "virtio_net",
        offloads: true,
        breadth: "kernel",
    },
    Cards {
        name: "virtio_net with offloads, mrg_rxbuf=off",
        device: "virtio-net-pci,mrg_rxbuf=off",
        module: "virtio_net",
        offloads: true,
        breadth: "driver",
    },
    Cards {
        name: "vmxnet3",
        device: "vmxnet3",
        module: "vmxnet3",
        offloads: false,
        breadth: "offloads",
    },
    Cards {
        name: "e1000e",
        device: "e1000e",
        module: "e1000e",
        offloads: false,
        breadth: "offloads",
    },
];

/// Boots every kernel with cards of every model, prints the table, and fails if a row is at fault.
pub(super) fn run(workspace: &Workspace, args: &VmArgs) -> Result<()> {
    tools()?;
    let archive = Archive::new(workspace)?;
    let programs = programs(workspace)?;
    let kernels = match args.kernels.as_slice() {
        [] => KERNELS.map(str::to_owned).to_vec(),
        named => named.to_vec(),
    };
    let mut faults = 0;
    let mut table = Table::read(workspace)?;
    println!("kernel\tcards\tinterface\tattached to\tmode\toutcome");
    for name in &kernels {
        let kernel = archive.whole_kernel(name)?;
        for cards in CARDS
            .iter()
            .filter(|cards| is_named(&args.cards, cards.name))
        {
            let lines = try_cards(&kernel, cards, &programs, &args.row)
                .with_context(|| format!("{name} with {}", cards.name))?;
            let found: Vec<Cell> = lines.iter().filter_map(|line| Cell::read(line)).collect();
            faults += found.iter().filter(|cell| cell.is_fault()).count();
            table.take(name, found);
            table.write(workspace)?;
        }
    }
    if faults > 0 {
        bail!("{faults} rows are at fault: attached and silent, or clean names lost");
    }
    Ok(())
}

/// Whether a name is among those that were given, as a whole or in part; nothing given means all.
fn is_named(parts: &[String], name: &str) -> bool {
    let is_whole = |part: &String| CARDS.iter().any(|cards| cards.name == *part);
    let means = |part: &String| match is_whole(part) {
        true => name == *part,
        false => name.contains(part.as_str()),
    };
    parts.is_empty() || parts.iter().any(means)
}

fn tools() -> Result<()> {
    let missing: BTreeSet<&str> = TOOLS
        .iter()
        .filter(|(name, _)| process::find(name).is_none())
        .map(|(_, package)| *package)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let missing: Vec<&str> = missing.into_iter().collect();
    apt::install(&missing, "the rows of the table of devices call them")
}

/// The programs that every machine of the table has.
fn programs(workspace: &Workspace) -> Result<PathBuf> {
    build::binaries(workspace, Profile::Dev, &[build::NXDP, build::LAB])?;
    let folder = workspace.target().join("vm");
    let mut pack = Pack::new(folder.join("stripped-for-devices"))?;
    for name in ["nxdp", "nxdp-lab"] {
        let binary = Profile::Dev.binary(workspace, name);
        pack.stripped(&binary, &format!("/bin/{name}"))?;
    }
    for (name, _) in TOOLS {
        let program = process::find(name).with_context(|| format!("find the program {name}"))?;
        pack.program(&program, &format!("/bin/{name}"))?;
    }
    let busybox = process::find("busybox").context("find the program busybox")?;
    pack.program(&busybox, "/bin/busybox")?;
    let archive = folder.join("device-programs.cpio");
    fs::write(&archive, pack.finish()?)?;
    Ok(archive)
}

/// Boots one machine; prints its lines and hands them back.
fn try_cards(
    kernel: &WholeKernel,
    cards: &Cards,
    programs: &Path,
    rows: &[String],
) -> Result<Vec<String>> {
    let initramfs = initramfs(kernel, cards, programs, rows)?;
    let log = kernel.folder.join(format!("{}.log", cards.name));
    let cables = Cables::lay(cards.device, cards.offloads)?;
    let outcome = machine::boot(&kernel.image, &initramfs, &cables, LIMIT, &log)?;
    let lines: Vec<String> = outcome
        .console
        .lines()
        .filter_map(|line| line.trim_end().strip_prefix("device\t"))
        .map(str::to_owned)
        .collect();
    for line in &lines {
        println!("{}\t{line}", kernel.release);
    }
    if !outcome.in_time || lines.is_empty() || !outcome.console.contains("@@ end") {
        bail!(
            "the machine did not come to the end of the table; see {}",
            log.display()
        );
    }
    Ok(lines)
}

fn initramfs(
    kernel: &WholeKernel,
    cards: &Cards,
    programs: &Path,
    rows: &[String],
) -> Result<PathBuf> {
    let mut own = Initramfs::default();
    add_modules(&mut own, kernel, cards.module)?;
    own.file(Path::new("/init"), script(cards, rows).as_bytes());
    own.file(
        Path::new("/etc/passwd"),
        b"root:x:0:0:root:/tmp:/applets/sh\n",
    );
    let mut bytes = fs::read(programs).context("read the packed programs")?;
    bytes.extend(own.finish());
    let path = kernel.folder.join("initramfs.cpio");
    fs::write(&path, bytes).with_context(|| format!("write {}", path.display()))?;
    Ok(path)
}

/// Adds modules with all that they need, and the lists by which `modprobe` finds them.
fn add_modules(archive: &mut Initramfs, kernel: &WholeKernel, card: &str) -> Result<()> {
    let needs = dependencies(kernel)?;
    let mut wanted = BTreeSet::new();
    for module in MODULES.iter().copied().chain([card]) {
        // A module that a kernel lacks or has built in is found out by its row.
        if let Some((path, others)) = needs.get(&module.replace('-', "_")) {
            wanted.insert(path.clone());
            wanted.extend(others.iter().cloned());
        }
    }
    let within = Path::new("/lib/modules").join(&kernel.release);
    let mut list = String::new();
    let scratch = kernel.folder.join("module.ko");
    for path in &wanted {
        let plain = path.trim_end_matches(".xz");
        if plain == path {
            archive.copy(&kernel.modules.join(path), &within.join(plain))?;
        } else {
            decompress(&kernel.modules.join(path), &scratch)?;
            archive.copy(&scratch, &within.join(plain))?;
        }
        let others = &needs[&name_of(path)].1;
        let others: Vec<&str> = others
            .iter()
            .map(|other| other.trim_end_matches(".xz"))
            .collect();
        list += &format!("{plain}: {}\n", others.join(" "));
    }
    archive.file(&within.join("modules.dep"), list.as_bytes());
    for name in ["modules.alias", "modules.symbols", "modules.builtin"] {
        let path = kernel.modules.join(name);
        if path.is_file() && name != "modules.symbols" {
            archive.copy(&path, &within.join(name))?;
        }
    }
    Ok(())
}

/// Path and dependencies of every module, by its name.
fn dependencies(kernel: &WholeKernel) -> Result<BTreeMap<String, (String, Vec<String>)>> {
    let list = kernel.modules.join("modules.dep");
    if !list.is_file() {
        let base = kernel
            .modules
            .ancestors()
            .nth(3)
            .context("find what the modules lie in")?;
        // depmod looks in lib/modules; newer packages put them into usr/lib/modules.
        let mut depmod = process::outer("depmod");
        depmod.arg("-b").arg(base).arg(&kernel.release);
        process::output(&mut depmod)?;
    }
    let text = fs::read_to_string(&list).with_context(|| format!("read {}", list.display()))?;
    let lines = text.lines().filter_map(|line| line.split_once(':'));
    Ok(lines
        .map(|(path, others)| {
            let others = others.split_whitespace().map(str::to_owned).collect();
            (name_of(path), (path.to_owned(), others))
        })
        .collect())
}

/// `8021q` of `kernel/net/8021q/8021q.ko.xz`, with `_` as the kernel has it.
fn name_of(path: &str) -> String {
    let file = path.rsplit('/').next().unwrap_or(path);
    let stem = file.split(".ko").next().unwrap_or(file);
    stem.replace('-', "_")
}

/// The first process of the machine.
fn script(cards: &Cards, rows: &[String]) -> String {
    let rows: Vec<String> = rows.iter().map(|row| format!("--row '{row}'")).collect();
    format!(
        "{PROLOGUE}mkdir -p /run/netns\n\
         mknod /dev/ppp c 108 0\n\
         ip link set lo up\n\
         modprobe virtio_pci\n\
         modprobe {}\n\
         nxdp-lab devices --nxdp /bin/nxdp --cards '{}' --breadth {} {}\n\
         echo \"@@ end $?\"\n\
         poweroff -f\n",
        cards.module,
        cards.name,
        cards.breadth,
        rows.join(" ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_is_meant_by_its_whole_name_or_by_a_part_of_it() {
        let named = |part: &str| {
            let parts = [part.to_owned()];
            let cards = CARDS.iter().filter(|cards| is_named(&parts, cards.name));
            cards.map(|cards| cards.name).collect::<Vec<_>>()
        };
        assert_eq!(named("virtio_net"), ["virtio_net"]);
        assert_eq!(named("offloads").len(), 2);
        assert_eq!(named("e1000"), ["e1000e"]);
        assert!(is_named(&[], "vmxnet3"));
    }

    #[test]
    fn a_module_is_known_by_its_name_as_the_kernel_writes_it() {
        assert_eq!(name_of("kernel/net/8021q/8021q.ko.xz"), "8021q");
        assert_eq!(
            name_of("kernel/lib/crypto/libcurve25519-generic.ko"),
            "libcurve25519_generic"
        );
    }
}
