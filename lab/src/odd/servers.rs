//! The nameservers, as their packages ship them, each at an address of its own.
//!
//! One BIND is authoritative for the root and everything below it. The resolvers ask it. Two of them run a
//! second time, with the data in their own configuration: that is another way through their code.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use hickory_proto::rr::RecordType;
use tempfile::TempDir;

use super::names::{self, CLEAN, CLEAN_V4, EXACT, LEAK_V4, LEAK_V6, LEAK_WORD, SUFFIXES};
use crate::{
    lab::{LAN_INTERFACE, Lab},
    process::{Process, Stream, system_program},
    query::Query,
};

/// Their names, in the order of their addresses.
pub const NAMES: [&str; 8] = [
    "unbound",
    "dnsmasq",
    "BIND",
    "Knot Resolver",
    "PowerDNS Recursor",
    "BIND, authoritative",
    "unbound, local data",
    "dnsmasq, local data",
];
const AUTHORITY: usize = 5;
const READY_TIMEOUT: Duration = Duration::from_secs(30);

/// One of them at work.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) place: usize,
    pub(super) process: Process,
}

/// The IPv4 address of a server.
pub(super) fn v4(place: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 53, 1, 60 + place as u8)
}

/// The IPv6 address of a server.
pub(super) fn v6(place: usize) -> Ipv6Addr {
    Ipv6Addr::new(0xfd00, 0x53, 1, 0, 0, 0, 0, 0x60 + place as u16)
}

/// The place of the server with this address.
pub(super) fn place_of(address: IpAddr) -> Option<usize> {
    (0..NAMES.len()).find(|place| address == v4(*place) || address == v6(*place))
}

/// Starts all that are installed and waits until they answer.
///
/// # Errors
/// Fails when one ends or does not answer, and quotes what it wrote.
pub(super) fn start(lab: &Lab, folder: &TempDir) -> Result<Vec<Server>> {
    // Listeners take data beside SYN without being asked to, from clients without a cookie, too.
    lab.router().write_sysctl("net/ipv4/tcp_fastopen", "1539")?;
    let addresses = (0..NAMES.len()).map(|place| {
        format!(
            "address add {}/24 dev {LAN_INTERFACE}\naddress add {}/64 dev {LAN_INTERFACE} nodad\n",
            v4(place),
            v6(place)
        )
    });
    lab.router().ip_batch(&addresses.collect::<String>())?;
    let mut servers = Vec::new();
    for place in [AUTHORITY, 0, 1, 2, 3, 4, 6, 7] {
        let Some(command) = command(place, folder.path())? else {
            println!("{} is not installed, and is not asked", NAMES[place]);
            continue;
        };
        servers.push(Server {
            place,
            process: lab.router().spawn(command)?,
        });
    }
    servers.sort_by_key(|server| server.place);
    for server in &servers {
        server.wait_until_ready(lab)?;
    }
    Ok(servers)
}

impl Server {
    fn wait_until_ready(&self, lab: &Lab) -> Result<()> {
        let end = Instant::now() + READY_TIMEOUT;
        let query =
            Query::new("www.free.lab.example", RecordType::A)?.timeout(Duration::from_millis(200));
        for address in [IpAddr::V4(v4(self.place)), IpAddr::V6(v6(self.place))] {
            let server = SocketAddr::new(address, 53);
            while !query
                .ask_from(lab.client(), server)
                .is_ok_and(|reply| reply.answers().len() == 1)
            {
                let name = NAMES[self.place];
                ensure!(
                    self.process.is_writing() && Instant::now() < end,
                    "{name} at {server} does not answer: {}{}",
                    self.process.text(Stream::Err),
                    self.process.text(Stream::Out)
                );
                thread::sleep(Duration::from_millis(20));
            }
        }
        Ok(())
    }
}

/// The command that runs a server in the foreground, with its configuration in a folder of its own.
fn command(place: usize, folder: &Path) -> Result<Option<Command>> {
    let program = ["unbound", "dnsmasq", "named", "kresd", "pdns_recursor"][match place {
        AUTHORITY => 2,
        6 | 7 => place - 6,
        _ => place,
    }];
    let Some(path) = system_program(program) else {
        return Ok(None);
    };
    let folder = folder.join(format!("server{place}"));
    fs::create_dir(&folder)?;
    let mut command = Command::new(path);
    let config = folder.join("config");
    let text = match place {
        0 => unbound(
            place,
            &folder,
            &format!(
                "stub-zone:\n  name: \".\"\n  stub-addr: {}\n",
                v4(AUTHORITY)
            ),
        ),
        1 => format!("server={}\n", v4(AUTHORITY)),
        2 => named(
            place,
            &folder,
            &format!(
                "recursion yes; allow-recursion {{ any; }}; forward only; forwarders {{ {}; }};",
                v4(AUTHORITY)
            ),
            "",
        ),
        3 => kresd(place),
        4 => String::new(),
        AUTHORITY => {
            let zone = folder.join("zone");
            fs::write(&zone, names::zone(v4(AUTHORITY)))?;
            let zone = format!(
                "zone \".\" {{ type primary; file \"{}\"; }};\n",
                zone.display()
            );
            named(place, &folder, "recursion no;", &zone)
        }
        6 => unbound(place, &folder, &unbound_data()),
        _ => dnsmasq_data(),
    };
    fs::write(&config, text).with_context(|| format!("write {}", config.display()))?;
    match program {
        "unbound" => command.args(["-d", "-p", "-c"]).arg(&config),
        "named" => command.args(["-g", "-n", "1", "-c"]).arg(&config),
        "kresd" => command.args(["-n", "-c"]).arg(&config).arg(&folder),
        "dnsmasq" => dnsmasq(&mut command, place, &config),
        _ => recursor(&mut command, place, &folder),
    };
    Ok(Some(command))
}

fn unbound(place: usize, folder: &Path, more: &str) -> String {
    format!(
        "remote-control:\n  control-enable: no\nserver:\n  interface: {}\n  interface: {}\n\
         \x20 num-threads: 1\n  do-daemonize: no\n  use-syslog: no\n  logfile: \"\"\n  chroot: \"\"\n\
         \x20 username: \"\"\n  pidfile: \"\"\n  directory: \"{}\"\n  access-control: 0.0.0.0/0 allow\n\
         \x20 access-control: ::/0 allow\n  module-config: \"iterator\"\n  incoming-num-tcp: 500\n\
         \x20 do-not-query-localhost: no\n{more}",
        v4(place),
        v6(place),
        folder.display()
    )
}

/// The same data as the zone has, in the words of a configuration.
fn unbound_data() -> String {
    let mut text = String::new();
    for (name, is_alone) in SUFFIXES
        .map(|name| (name, false))
        .into_iter()
        .chain([(EXACT, true)])
    {
        let kind = if is_alone { "static" } else { "redirect" };
        text += &format!(
            "  local-zone: \"{name}.\" {kind}\n  local-data: \"{name}. A {LEAK_V4}\"\n\
             \x20 local-data: \"{name}. AAAA {LEAK_V6}\"\n\
             \x20 local-data: '{name}. TXT \"{LEAK_WORD}\"'\n\
             \x20 local-data: \"{name}. MX 10 {LEAK_WORD}.\"\n"
        );
    }
    for name in CLEAN {
        text += &format!(
            "  local-zone: \"{name}.\" redirect\n  local-data: \"{name}. A {CLEAN_V4}\"\n"
        );
    }
    text + "  local-zone: \".\" static\n"
}

fn named(place: usize, folder: &Path, more: &str, zones: &str) -> String {
    let folder = folder.display();
    format!(
        "options {{\n  directory \"{folder}\"; pid-file none; session-keyfile \"{folder}/session.key\";\n\
         \x20 managed-keys-directory \"{folder}\"; listen-on port 53 {{ {}; }};\n\
         \x20 listen-on-v6 port 53 {{ {}; }}; allow-query {{ any; }}; dnssec-validation no; querylog no;\n\
         \x20 tcp-clients 500; servfail-ttl 0; max-cache-size 64m; notify no; {more}\n}};\n\
         controls {{ }};\nlogging {{ category default {{ null; }}; }};\n{zones}",
        v4(place),
        v6(place)
    )
}

fn kresd(place: usize) -> String {
    format!(
        "net.listen('{}', 53, {{ kind = 'dns' }})\nnet.listen('{}', 53, {{ kind = 'dns' }})\n\
         cache.size = 20 * MB\ntrust_anchors.remove('.')\n\
         modules.unload('ta_update') modules.unload('ta_signal_query')\n\
         modules.unload('priming') modules.unload('detect_time_skew')\n\
         policy.add(policy.all(policy.STUB('{}')))\n",
        v4(place),
        v6(place),
        v4(AUTHORITY)
    )
}

fn dnsmasq<'a>(command: &'a mut Command, place: usize, config: &Path) -> &'a mut Command {
    command.args([
        "-k",
        "--no-resolv",
        "--no-hosts",
        "--user=root",
        "--pid-file",
    ]);
    command.args(["--bind-interfaces", "--log-facility=-", "--cache-size=5000"]);
    command.args([
        "--dns-forward-max=5000",
        "--interface=",
        "--except-interface=lo",
    ]);
    command
        .arg(format!("--listen-address={}", v4(place)))
        .arg(format!("--listen-address={}", v6(place)))
        .arg(format!("--conf-file={}", config.display()))
}

/// The same data as the zone has, in the words of a configuration.
fn dnsmasq_data() -> String {
    let mut text = String::new();
    for name in SUFFIXES {
        text += &format!("address=/{name}/{LEAK_V4}\naddress=/{name}/{LEAK_V6}\n");
    }
    for name in SUFFIXES.into_iter().chain([EXACT]) {
        text += &format!(
            "host-record={name},{LEAK_V4},{LEAK_V6}\ntxt-record={name},{LEAK_WORD}\n\
             mx-host={name},{LEAK_WORD},10\nsrv-host={name},{LEAK_WORD},1,1,1\n"
        );
    }
    for name in CLEAN {
        text += &format!("address=/{name}/{CLEAN_V4}\n");
    }
    text
}

fn recursor<'a>(command: &'a mut Command, place: usize, folder: &Path) -> &'a mut Command {
    let folder = folder.display();
    command.args([
        format!("--config-dir={folder}"),
        format!("--socket-dir={folder}"),
        format!("--local-address={},{}", v4(place), v6(place)),
        format!("--forward-zones=.={}", v4(AUTHORITY)),
    ]);
    command.args([
        "--allow-from=0.0.0.0/0,::/0",
        "--daemon=no",
        "--write-pid=no",
    ]);
    command.args([
        "--disable-syslog=yes",
        "--threads=1",
        "--hint-file=no",
        "--dnssec=off",
    ]);
    command.args([
        "--pdns-distributes-queries=no",
        "--security-poll-suffix=",
        "--dont-query=",
    ]);
    // What fails once is tried again: many queries fail here. One zone holds all: that a name is not
    // there says nothing of others.
    command.args(["--server-down-max-fails=0", "--root-nx-trust=no"]);
    command.args(["--max-tcp-clients=500", "--quiet"])
}
