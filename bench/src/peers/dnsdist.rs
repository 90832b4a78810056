//! dnsdist: its suffix matcher, and its socket filter in the kernel.

use std::{fmt::Write as _, process::Command};

use anyhow::Result;

use super::{
    catalogue::{Peer, Reload, lines, program},
    site::Site,
};
use crate::rig::DNS;

const CONTROL: &str = "127.0.0.1:5199";
/// 32 zero bytes: the control socket is on the namespace's own loopback.
const KEY: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

pub(super) fn suffixes() -> Peer {
    Peer {
        name: "dnsdist",
        about: "SuffixMatchNode, sockets",
        list: plain,
        config: |site| {
            format!(
                "setSecurityPollSuffix('')\nsetLocal('{DNS}')\nsetACL({{'0.0.0.0/0'}})\n\
                 controlSocket('{CONTROL}')\nsetKey('{KEY}')\n\
                 function reload_list()\n\
                 local names = newSuffixMatchNode()\n\
                 for line in io.lines('{}') do names:add(newDNSName(line)) end\n\
                 setRules({{newRuleAction(SuffixMatchNodeRule(names), RCodeAction(DNSRCode.NXDOMAIN)), \
                 newRuleAction(AllRule(), RCodeAction(DNSRCode.REFUSED))}})\n\
                 end\nreload_list()\n",
                site.list().display()
            )
        },
        command,
        reload: Reload::Command(|_| {
            let mut command = program("dnsdist")?;
            command.args(["-c", CONTROL, "-k", KEY, "-e", "reload_list()"]);
            Ok(command)
        }),
        answers: true,
    }
}

pub(super) fn bpf() -> Peer {
    Peer {
        name: "dnsdist_ebpf",
        about: "BPF socket filter: exact names only, drops instead of answering; per query received",
        list: plain,
        config: |site| {
            format!(
                "setSecurityPollSuffix('')\nbpf = newBPFFilter(1, 1, {})\n\
                 setDefaultBPFFilter(bpf)\naddLocal('{DNS}')\nsetACL({{'0.0.0.0/0'}})\n\
                 for line in io.lines('{}') do bpf:blockQName(newDNSName(line)) end\n\
                 addAction(AllRule(), RCodeAction(DNSRCode.REFUSED))\n",
                site.names + 1,
                site.list().display()
            )
        },
        command,
        reload: Reload::Never("names are added and removed one by one"),
        answers: false,
    }
}

fn command(site: &Site) -> Result<Command> {
    let mut command = program("dnsdist")?;
    command
        .args(["--supervised", "--disable-syslog", "-C"])
        .arg(site.config());
    Ok(command)
}

fn plain(names: &mut dyn Iterator<Item = String>, _: u32) -> String {
    lines(names, |text, name| writeln!(text, "{name}"))
}
