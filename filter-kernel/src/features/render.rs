//! The report for people.

use std::fmt::{self, Display, Formatter};

use super::{Features, Interface, Kernel, Mode, Offload, Peer, XdpAbility};

impl Display for Features {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        write_kernel(formatter, &self.kernel)?;
        write_interface(formatter, &self.interface)?;
        let mode = match self.expected.mode {
            Some(Mode::Native) => "native",
            Some(Mode::Skb) => "skb (generic XDP, slower)",
            Some(Mode::Hardware) => "hardware",
            None => "none",
        };
        row(
            formatter,
            "mode",
            format_args!("{mode}: {}", self.expected.because),
        )?;
        write_offloads(formatter, &self.offloads)?;
        write_attached(formatter, self)?;
        row(formatter, "clients", "private addresses")?;
        for (prefix, interface) in &self.clients {
            row(
                formatter,
                "clients",
                format_args!("{prefix} on {interface}"),
            )?;
        }
        writeln!(formatter, "\nwhat to do")?;
        for (number, step) in self.advice.iter().enumerate() {
            writeln!(formatter, "  {}. {step}", number + 1)?;
        }
        Ok(())
    }
}

fn row(formatter: &mut Formatter<'_>, name: &str, value: impl Display) -> fmt::Result {
    writeln!(formatter, "{name:<12} {value}")
}

fn write_kernel(formatter: &mut Formatter<'_>, kernel: &Kernel) -> fmt::Result {
    let supported = match (kernel.is_supported, kernel.needs.as_slice()) {
        (true, _) => "supported",
        (false, []) => "too old",
        (false, _) => "not supported: it lacks what the filter needs",
    };
    row(
        formatter,
        "kernel",
        format_args!("{} ({supported})", kernel.release),
    )?;
    row(formatter, "  has", kernel.has.join(", "))?;
    if !kernel.lacks.is_empty() {
        row(formatter, "  lacks", kernel.lacks.join(", "))?;
    }
    let jit = match kernel.has_jit {
        Some(true) => "on",
        Some(false) => "OFF",
        None => "unknown",
    };
    let btf = if kernel.has_btf {
        "yes"
    } else {
        "no (not needed)"
    };
    row(
        formatter,
        "  BPF",
        format_args!("translator {jit}, type information {btf}"),
    )
}

fn write_interface(formatter: &mut Formatter<'_>, interface: &Interface) -> fmt::Result {
    let state = if interface.is_up { "up" } else { "down" };
    row(
        formatter,
        "interface",
        format_args!("{} (index {}, {state})", interface.name, interface.index),
    )?;
    row(
        formatter,
        "driver",
        interface.driver.as_deref().unwrap_or("unknown"),
    )?;
    row(
        formatter,
        "mtu",
        format_args!("{} bytes", interface.mtu_bytes),
    )?;
    let most = interface
        .queues_max
        .map_or_else(String::new, |most| format!(", at most {most}"));
    let (receive, send) = (interface.rx_queues, interface.tx_queues);
    row(
        formatter,
        "queues",
        format_args!("{receive} receive, {send} send{most}"),
    )?;
    if let Some(abilities) = &interface.xdp_abilities {
        row(formatter, "xdp", abilities_text(abilities))?;
    }
    if let Some(parent) = &interface.parent {
        row(formatter, "above", parent)?;
    }
    if !interface.ports.is_empty() {
        row(formatter, "ports", interface.ports.join(", "))?;
    }
    match &interface.peer {
        Some(peer) => row(formatter, "peer", peer_text(peer)),
        None => Ok(()),
    }
}

fn abilities_text(abilities: &[XdpAbility]) -> String {
    if abilities.is_empty() {
        return "nothing in the driver".to_owned();
    }
    let words = abilities.iter().map(|ability| match ability {
        XdpAbility::Basic => "pass, drop, send back",
        XdpAbility::Redirect => "redirect",
        XdpAbility::RedirectTarget => "target of redirects",
        XdpAbility::ZeroCopySocket => "sockets without copying",
        XdpAbility::HardwareOffload => "programs on the card",
        XdpAbility::ReceiveFragments => "packets of several buffers",
        XdpAbility::RedirectTargetFragments => "redirected packets of several buffers",
    });
    words.collect::<Vec<_>>().join(", ")
}

fn peer_text(peer: &Peer) -> String {
    let Peer::Here {
        name,
        has_native_program,
        has_receive_offload,
        has_tag_offload,
    } = peer
    else {
        return "in another namespace".to_owned();
    };
    let program = if *has_native_program {
        "with"
    } else {
        "without"
    };
    let state = |is_on: &Option<bool>| match is_on {
        Some(true) => "on",
        Some(false) => "off",
        None => "unknown",
    };
    format!(
        "{name}, {program} an XDP program in its driver; gro {}, txvlan {}",
        state(has_receive_offload),
        state(has_tag_offload)
    )
}

fn write_offloads(formatter: &mut Formatter<'_>, offloads: &[Offload]) -> fmt::Result {
    for offload in offloads.iter().filter(|offload| offload.is_on) {
        row(
            formatter,
            "offload",
            format_args!("{} is on: {}", offload.name, offload.harm),
        )?;
    }
    if offloads.iter().any(|offload| offload.is_on) {
        return Ok(());
    }
    let why = if offloads.is_empty() {
        "the kernel does not tell"
    } else {
        "none in the way"
    };
    row(formatter, "offloads", why)
}

fn write_attached(formatter: &mut Formatter<'_>, features: &Features) -> fmt::Result {
    for program in &features.attached {
        let name = program.name.as_deref().unwrap_or("of unknown name");
        row(
            formatter,
            "attached",
            format_args!("program {} ({name}), {} mode", program.id, program.mode),
        )?;
    }
    if features.attached.is_empty() {
        row(formatter, "attached", "no program")?;
    }
    Ok(())
}
