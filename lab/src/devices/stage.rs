//! A client and a router of one row, before and after something happens to them.

use std::{
    fs,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use super::{
    ask::servers,
    cards::{self, Card, End},
    pppoe::Session,
    rows::{Change, Row},
};
use crate::{namespace::Namespace, process::Process, query::Transport};

/// What is blocked; the responder knows every name.
pub(super) const BLOCKED: &str = "ads.blocked.test";
/// As long as the blocked one.
pub(super) const CLEAN: &str = "www.cleaned.test";

/// The router's addresses, private and public of both families; the client's end in 2.
pub(super) const PREFIXES: [&str; 4] = ["192.168.77.", "203.0.114.", "fd77::", "2001:db8:77::"];

/// Number of the PPPoE session.
const SESSION: u16 = 7;

const SETTLE: Duration = Duration::from_secs(30);
const ATTACH: Duration = Duration::from_secs(60);

/// What a row looks like before the filter is attached.
pub(super) struct Stage {
    pub(super) client: Namespace,
    pub(super) router: Namespace,
    router_cards: Vec<Card>,
    _resolver: Process,
    _sessions: Vec<Session>,
    cables: usize,
    left: Vec<&'static str>,
}

impl Stage {
    /// Makes both sides; none where the kernel lacks a module.
    pub(super) fn build(row: &Row) -> Result<Option<Self>> {
        for module in row.modules {
            let loaded = Command::new("modprobe").arg(module).status()?;
            if !loaded.success() {
                return Ok(None);
            }
        }
        let (client, router) = (Namespace::new("client")?, Namespace::new("router")?);
        let mut router_cards = Vec::new();
        for cable in 1..=row.cables {
            cards::take(End::Client, cable, &client, &format!("eth{cable}"))?;
            let card = cards::take(End::Router, cable, &router, &format!("lan{cable}"))?;
            router_cards.push(card);
        }
        write_keys()?;
        let sessions = match row.has_session {
            true => vec![
                join(&router, "lan1", End::Client)?,
                join(&client, "eth1", End::Router)?,
            ],
            false => Vec::new(),
        };
        shell(&router, row.router).context("make the router")?;
        shell(&client, row.client).context("make the client")?;
        address(&router, row.l3_namespace, row.router_l3, 1)?;
        address(&client, None, row.client_l3, 2)?;
        let resolver = resolver(&router, row.l3_namespace)?;
        Ok(Some(Self {
            client,
            router,
            router_cards,
            _resolver: resolver,
            _sessions: sessions,
            cables: row.cables,
            left: row.l3_namespace.into_iter().collect(),
        }))
    }

    /// Waits for carriers, neighbours and bonds to settle.
    pub(super) fn wait_until_clean_names_resolve(&self) -> Result<()> {
        let end = Instant::now() + SETTLE;
        for server in servers() {
            while let Err(error) = self.ask(CLEAN, (server, Transport::Udp)) {
                if Instant::now() > end {
                    bail!("{server}: {error}");
                }
                thread::sleep(Duration::from_millis(100));
            }
        }
        Ok(())
    }

    /// Lets something happen to the router.
    pub(super) fn change(&self, row: &Row, change: &Change) -> Result<()> {
        match *change {
            Change::Commands {
                router,
                router_l3,
                client,
                client_l3,
            } => {
                shell(&self.router, router).context("change the router")?;
                shell(&self.client, client).context("change the client")?;
                move_addresses(&self.router, row.router_l3, router_l3, 1)?;
                move_addresses(&self.client, row.client_l3, client_l3, 2)
            }
            Change::Replug => {
                self.router_cards[0].unbind()?;
                self.router_cards[0].bind()?;
                cards::take(End::Router, 1, &self.router, "lan1")?;
                address(&self.router, None, row.router_l3, 1)
            }
            Change::LargePackets => Ok(()),
        }
    }

    /// Lets packets of the first cable be this large; what the router's driver said if it refused.
    pub(super) fn set_mtu(&self, bytes: u32) -> Result<Result<(), String>> {
        let set = |namespace: &Namespace, card: &str| {
            namespace.ip_batch(&format!("link set {card} mtu {bytes}\n"))
        };
        if let Err(error) = set(&self.router, "lan1") {
            return Ok(Err(format!("{error:#}")));
        }
        set(&self.client, "eth1")?;
        Ok(Ok(()))
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // A namespace that ends gives its cards back too, but some minutes later on a slow machine, and
        // until then a VLAN on a card keeps its number.
        let namespaces = [("", &self.client), ("", &self.router)];
        let named = self.left.iter().map(|name| (*name, &self.router));
        for (within, namespace) in named.chain(namespaces) {
            drop(shell(namespace, &remove_devices(within)));
        }
        for cable in 1..=self.cables {
            cards::give_back(&self.client, &format!("eth{cable}"));
            cards::give_back(&self.router, &format!("lan{cable}"));
        }
        for name in &self.left {
            let _gone = Command::new("ip").args(["netns", "del", name]).status();
        }
    }
}

/// Runs commands inside a namespace, up to the first that fails.
fn shell(namespace: &Namespace, commands: &str) -> Result<()> {
    if commands.is_empty() {
        return Ok(());
    }
    // The machine's shell prefers a command of its own to iproute2's.
    let text = format!("ip() {{ /bin/ip \"$@\"; }}\n{commands}");
    namespace.output("sh", &["-ec", &text]).map(drop)
}

/// One end of a PPPoE session, with its device up.
fn join(namespace: &Namespace, card: &str, remote: End) -> Result<Session> {
    let remote = cards::mac_bytes(remote, 1);
    let session = namespace.run(|| Session::join(card, SESSION, remote))??;
    namespace.ip_batch(&format!("link set {} up\n", session.device))?;
    Ok(session)
}

/// Gives an interface its addresses.
fn address(namespace: &Namespace, within: Option<&str>, interface: &str, host: u8) -> Result<()> {
    let ip = within.map_or("ip".to_owned(), |name| format!("ip -n {name}"));
    let mut commands = String::new();
    for prefix in PREFIXES {
        let (len, flag) = if prefix.contains(':') {
            (64, "nodad")
        } else {
            (24, "")
        };
        commands += &format!("{ip} addr replace {prefix}{host}/{len} dev {interface} {flag}\n");
    }
    shell(namespace, &commands).with_context(|| format!("give {interface} addresses"))
}

/// Takes the addresses from one interface to another; a down interface has lost some already.
fn move_addresses(namespace: &Namespace, from: &str, to: &str, host: u8) -> Result<()> {
    if from != to {
        shell(namespace, &format!("ip addr flush dev {from} || true"))?;
    }
    address(namespace, None, to, host)
}

/// Removes every device that can be removed: the cards cannot.
fn remove_devices(within: &str) -> String {
    let ip = match within {
        "" => "ip".to_owned(),
        name => format!("ip -n {name}"),
    };
    format!(
        "for device in $({ip} -o link | sed 's/^[0-9]*: //; s/[:@].*//'); \
         do {ip} link del $device 2>/dev/null || true; done"
    )
}

/// Starts the responder where the addresses are.
fn resolver(router: &Namespace, within: Option<&str>) -> Result<Process> {
    let program = std::env::current_exe()?;
    let mut command = match within {
        Some(name) => {
            let mut ip = Command::new("ip");
            ip.args(["netns", "exec", name]).arg(program);
            ip
        }
        None => Command::new(program),
    };
    command.arg("responder");
    for server in servers() {
        command.args(["--listen", &server.to_string()]);
    }
    let process = router.spawn(command)?;
    process.wait_for_line(0, "responder listens", ATTACH)?;
    Ok(process)
}

/// Keys of the tunnel, for the two sides of this machine.
fn write_keys() -> Result<()> {
    for side in ["router", "client"] {
        let output = Command::new("wg").arg("genkey").output();
        if let Ok(output) = output {
            fs::write(format!("/tmp/{side}.key"), output.stdout)?;
        }
    }
    Ok(())
}
