//! The network cards of the emulated machine, told apart by their hardware addresses.
//!
//! Card `N` of the client has the address 52:54:00:00:01:0N, the router's at the other end of the
//! same cable 52:54:00:00:02:0N.

use std::{
    fs, io,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use crate::namespace::Namespace;

/// How long a card may take to come back out of a namespace that ended.
const RETURN: Duration = Duration::from_secs(30);

/// Which end of a cable.
#[derive(Debug, Clone, Copy)]
pub(super) enum End {
    Client = 1,
    Router = 2,
}

/// A card as the bus knows it.
#[derive(Debug)]
pub(super) struct Card {
    /// Its folder below /sys/bus/pci/devices.
    bus: PathBuf,
    driver: PathBuf,
}

impl Card {
    /// Of the interface with this name in this process' namespace.
    fn of(name: &str) -> io::Result<Self> {
        let device = fs::canonicalize(format!("/sys/class/net/{name}/device"))?;
        // What virtio puts between the bus and the interface is not on the bus.
        let is_on_bus = |path: &&Path| {
            let subsystem = fs::canonicalize(path.join("subsystem")).unwrap_or_default();
            subsystem.ends_with("bus/pci") && path.join("driver").exists()
        };
        let bus = device.ancestors().find(is_on_bus);
        let bus = bus.ok_or_else(|| io::Error::other(format!("{name} is on no PCI bus")))?;
        Ok(Self {
            bus: bus.to_owned(),
            driver: fs::canonicalize(bus.join("driver"))?,
        })
    }

    /// Has its driver let go of it: its interface goes.
    pub(super) fn unbind(&self) -> Result<()> {
        self.tell("unbind")
    }

    /// Has its driver take it again: its interface comes back, in the namespace of the machine.
    pub(super) fn bind(&self) -> Result<()> {
        self.tell("bind")
    }

    fn tell(&self, what: &str) -> Result<()> {
        let address = self.bus.file_name().context("a card has an address")?;
        let file = self.driver.join(what);
        fs::write(&file, address.as_encoded_bytes())
            .with_context(|| format!("write to {}", file.display()))
    }
}

/// The hardware address of a card.
pub(super) fn mac_bytes(end: End, cable: usize) -> [u8; 6] {
    [0x52, 0x54, 0, 0, end as u8, cable as u8]
}

/// The hardware address of a card as sysfs writes it.
fn mac(end: End, cable: usize) -> String {
    mac_bytes(end, cable)
        .map(|byte| format!("{byte:02x}"))
        .join(":")
}

/// Moves a card into a namespace, gives it a name there and brings it up.
pub(super) fn take(end: End, cable: usize, into: &Namespace, name: &str) -> Result<Card> {
    let now = wait_for(&mac(end, cable))?;
    let card = Card::of(&now).context("find the card on its bus")?;
    let path = into.path();
    let path = path.display();
    ip(&["link", "set", &now, "down"])?;
    ip(&[
        "link",
        "set",
        &now,
        "netns",
        &path.to_string(),
        "name",
        name,
    ])?;
    into.ip_batch(&format!("link set {name} up\n"))?;
    Ok(card)
}

/// Moves a card back to the namespace of the machine's first process.
pub(super) fn give_back(from: &Namespace, name: &str) {
    // What fails is looked for again by its address, and missed there.
    drop(from.ip_batch(&format!(
        "link set {name} down\nlink set {name} mtu 1500\nlink set {name} netns 1\n"
    )));
}

/// The name of the card with this hardware address, once it is in this process' namespace.
fn wait_for(mac: &str) -> Result<String> {
    let end = Instant::now() + RETURN;
    loop {
        if let Some(name) = name_of(mac).context("list the cards")? {
            return Ok(name);
        }
        if Instant::now() > end {
            bail!(
                "no card has the address {mac}: the table is for the machine that `cargo xtask vm` makes"
            );
        }
        thread::sleep(Duration::from_millis(20));
    }
}

fn name_of(mac: &str) -> io::Result<Option<String>> {
    for entry in fs::read_dir("/sys/class/net")? {
        let entry = entry?;
        let is_card = entry.path().join("device").exists();
        let address = fs::read_to_string(entry.path().join("address")).unwrap_or_default();
        if is_card && address.trim() == mac {
            return Ok(Some(entry.file_name().to_string_lossy().into_owned()));
        }
    }
    Ok(None)
}

fn ip(arguments: &[&str]) -> Result<()> {
    let output = std::process::Command::new("ip").args(arguments).output()?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("ip {}: {}", arguments.join(" "), said.trim());
    }
    Ok(())
}
