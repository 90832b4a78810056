//! BIND with a response policy zone.

use nix::sys::signal::Signal;

use super::catalogue::{Peer, Reload, program, rpz as zone};
use crate::rig::SERVER;

pub(super) fn rpz() -> Peer {
    Peer {
        name: "bind_rpz",
        about: "response policy zone, no recursion before it",
        list: zone,
        config: |site| {
            let folder = site.folder().display();
            format!(
                "options {{\n  directory \"{folder}\"; pid-file none; session-keyfile \"{folder}/session.key\";\n\
                 \x20 managed-keys-directory \"{folder}\"; listen-on port 53 {{ {SERVER}; }}; listen-on-v6 {{ none; }};\n\
                 \x20 allow-query {{ any; }}; allow-recursion {{ any; }}; recursion yes; dnssec-validation no; querylog no;\n\
                 \x20 response-policy {{ zone \"rpz\" min-update-interval 0; }} qname-wait-recurse no min-update-interval 0;\n\
                 }};\ncontrols {{ }};\nzone \"rpz\" {{ type primary; file \"{}\"; }};\n",
                site.list().display()
            )
        },
        command: |site| {
            let mut command = program("named")?;
            command.args(["-g", "-n", "1", "-c"]).arg(site.config());
            Ok(command)
        },
        reload: Reload::Signal(Signal::SIGHUP),
        answers: true,
    }
}
