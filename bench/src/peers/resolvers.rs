//! unbound, knot-resolver, dnsmasq and PowerDNS recursor.

use std::fmt::Write as _;

use nix::sys::signal::Signal;

use super::{
    catalogue::{Peer, Reload, lines, program, rpz},
    site::Site,
};
use crate::rig::SERVER;

pub(super) fn unbound_zones() -> Peer {
    Peer {
        name: "unbound",
        about: "local-zone always_nxdomain",
        list: |names, _| {
            lines(names, |text, name| {
                writeln!(text, "local-zone: \"{name}\" always_nxdomain")
            })
        },
        config: |site| {
            let list = site.list();
            unbound(
                site,
                &format!(
                    "  module-config: \"iterator\"\n  local-zone: \".\" refuse\n  include: \"{}\"\n",
                    list.display()
                ),
            )
        },
        ..unbound_rpz()
    }
}

pub(super) fn unbound_rpz() -> Peer {
    Peer {
        name: "unbound_rpz",
        about: "response policy zone",
        list: rpz,
        config: |site| {
            let zone = format!(
                "  module-config: \"respip iterator\"\nrpz:\n  name: \"rpz.\"\n  zonefile: \"{}\"\n",
                site.list().display()
            );
            unbound(site, &zone)
        },
        command: |site| {
            let mut command = program("unbound")?;
            command.args(["-d", "-p", "-c"]).arg(site.config());
            Ok(command)
        },
        reload: Reload::Signal(Signal::SIGHUP),
        answers: true,
    }
}

fn unbound(site: &Site, more: &str) -> String {
    format!(
        "remote-control:\n  control-enable: no\nserver:\n  interface: {SERVER}\n  num-threads: 1\n\
         \x20 do-daemonize: no\n  use-syslog: no\n  logfile: \"\"\n  chroot: \"\"\n  username: \"\"\n\
         \x20 pidfile: \"\"\n  directory: \"{}\"\n  access-control: 0.0.0.0/0 allow\n  so-rcvbuf: 4m\n{more}",
        site.folder().display()
    )
}

pub(super) fn knot_rpz() -> Peer {
    Peer {
        name: "knot_rpz",
        about: "knot-resolver, policy.rpz",
        list: rpz,
        config: |site| {
            format!(
                "net.listen('{SERVER}', 53, {{ kind = 'dns' }})\n\
                 net.listen('{}', nil, {{ kind = 'control' }})\n\
                 cache.size = 10 * MB\ntrust_anchors.remove('.')\n\
                 modules.unload('ta_update') modules.unload('ta_signal_query')\n\
                 modules.unload('priming') modules.unload('detect_time_skew')\n\
                 rules = {}\npolicy.add(policy.all(policy.REFUSE))\n",
                site.path("control").display(),
                knot_rules(site)
            )
        },
        command: |site| {
            let mut command = program("kresd")?;
            command.arg("-n").arg("-c").arg(site.config());
            command.arg(site.folder());
            Ok(command)
        },
        reload: Reload::Line {
            socket: "control",
            // A new rule would be behind the one that refuses the rest.
            line: |site| {
                format!(
                    "policy.del(rules.id) rules = {} table.insert(policy.rules, 1, table.remove(policy.rules))\n",
                    knot_rules(site)
                )
            },
        },
        answers: true,
    }
}

fn knot_rules(site: &Site) -> String {
    let list = site.list();
    format!(
        "policy.add(policy.rpz(policy.DENY, '{}', false))",
        list.display()
    )
}

pub(super) fn dnsmasq() -> Peer {
    Peer {
        name: "dnsmasq",
        about: "server=/name/ without a server",
        list: |names, _| lines(names, |text, name| writeln!(text, "server=/{name}/")),
        config: |_| String::new(),
        command: |site| {
            let mut command = program("dnsmasq")?;
            command.args([
                "-k",
                "--no-resolv",
                "--no-hosts",
                "--user=root",
                "--pid-file",
            ]);
            command.args(["--bind-interfaces", "--cache-size=0", "--log-facility=-"]);
            command.arg(format!("--listen-address={SERVER}"));
            command.arg(format!("--conf-file={}", site.config().display()));
            command.arg(format!("--servers-file={}", site.list().display()));
            Ok(command)
        },
        reload: Reload::Signal(Signal::SIGHUP),
        answers: true,
    }
}

pub(super) fn recursor_rpz() -> Peer {
    Peer {
        name: "recursor_rpz",
        about: "PowerDNS recursor, rpzFile, with its packet cache",
        list: rpz,
        config: |site| {
            format!(
                "rpzFile('{}', {{ policyName = 'rpz' }})\n",
                site.list().display()
            )
        },
        command: |site| {
            let mut command = program("pdns_recursor")?;
            let folder = site.folder().display();
            command.args([
                format!("--config-dir={folder}"),
                format!("--socket-dir={folder}"),
                format!("--local-address={SERVER}"),
                format!("--lua-config-file={}", site.config().display()),
            ]);
            command.args(["--allow-from=0.0.0.0/0", "--daemon=no", "--write-pid=no"]);
            command.args(["--disable-syslog=yes", "--threads=1", "--hint-file=no"]);
            command.args(["--pdns-distributes-queries=no", "--security-poll-suffix="]);
            // What it could not resolve before a reload is no answer after it.
            command.arg("--packetcache-servfail-ttl=0");
            Ok(command)
        },
        reload: Reload::Command(|site| {
            let mut command = program("rec_control")?;
            let folder = site.folder().display();
            command.arg(format!("--config-dir={folder}"));
            command.arg(format!("--socket-dir={folder}"));
            command.arg("reload-lua-config");
            Ok(command)
        }),
        answers: true,
    }
}
