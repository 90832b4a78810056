//! Every server, and how it is run.

use std::{fmt::Write as _, process::Command};

use anyhow::{Context as _, Result};
use nix::sys::signal::Signal;
use nxdp_lab::{filter, process::system_program};

use super::{bind, dnsdist, resolvers, site::Site};

/// A server and how it is told what to block.
pub(super) struct Peer {
    pub(super) name: &'static str,
    pub(super) about: &'static str,
    /// The list in its own format.
    pub(super) list: fn(&mut dyn Iterator<Item = String>, serial: u32) -> String,
    /// Its configuration.
    pub(super) config: fn(&Site) -> String,
    /// The command that runs it in the foreground.
    pub(super) command: fn(&Site) -> Result<Command>,
    pub(super) reload: Reload,
    /// Whether it answers blocked queries, and does not drop them.
    pub(super) answers: bool,
}

/// How a server is told to read its list again.
pub(super) enum Reload {
    /// By a signal.
    Signal(Signal),
    /// By a command.
    Command(fn(&Site) -> Result<Command>),
    /// By a line on a control socket in its folder.
    Line {
        socket: &'static str,
        line: fn(&Site) -> String,
    },
    /// It cannot, and why.
    Never(&'static str),
}

/// All of them, nxdp first.
pub(super) fn all() -> Vec<Peer> {
    vec![
        nxdp(),
        dnsdist::suffixes(),
        dnsdist::bpf(),
        resolvers::unbound_zones(),
        resolvers::unbound_rpz(),
        bind::rpz(),
        resolvers::knot_rpz(),
        resolvers::dnsmasq(),
        resolvers::recursor_rpz(),
    ]
}

fn nxdp() -> Peer {
    Peer {
        name: super::OWN,
        about: "nxdp run, native mode",
        list: |names, _| lines(names, |text, name| writeln!(text, "||{name}^")),
        config: |_| String::new(),
        command: |site| {
            let mut command = Command::new(filter::binary()?);
            command
                .args(["run", "--interface", &site.device, "--socket"])
                .arg(site.path("control.sock"))
                .args(["--answers-per-s", "0", "--list"])
                .arg(site.list());
            Ok(command)
        },
        reload: Reload::Signal(Signal::SIGHUP),
        answers: true,
    }
}

/// A list with one or more lines a name.
pub(super) fn lines(
    names: &mut dyn Iterator<Item = String>,
    line: impl Fn(&mut String, &str) -> std::fmt::Result,
) -> String {
    let mut text = String::new();
    for name in names {
        // Writing to a string does not fail.
        let _written = line(&mut text, &name);
    }
    text
}

/// A response policy zone: each name and all below it.
pub(super) fn rpz(names: &mut dyn Iterator<Item = String>, serial: u32) -> String {
    let head = format!(
        "$TTL 60\n@ SOA localhost. root.localhost. {} 3600 600 86400 60\n@ NS localhost.\n",
        serial + 1
    );
    let both = |text: &mut String, name: &str| writeln!(text, "{name} CNAME .\n*.{name} CNAME .");
    head + &lines(names, both)
}

/// A command by the name of its program, wherever the system keeps it.
pub(super) fn program(name: &str) -> Result<Command> {
    let path = system_program(name);
    Ok(Command::new(path.with_context(|| {
        format!(
            "{name} is missing (`cargo xtask bench peers` installs it where that starts no service)"
        )
    })?))
}
