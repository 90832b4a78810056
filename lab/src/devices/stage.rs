//! A client and a router of one row, and a filter on the router.

use std::{
    fs,
    net::{IpAddr, SocketAddr},
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use super::{
    cards::{self, End},
    outcome::Outcome,
    pppoe::Session,
    rows::Row,
};
use crate::{
    namespace::Namespace,
    process::{Process, Stream},
    query::{Query, QueryError, Transport},
};

/// What is blocked; the responder knows every name.
const BLOCKED: &str = "ads.blocked.test";
const CLEAN: &str = "www.clean.test";

/// The router's addresses, private and public of both families; the client's end in 2.
const PREFIXES: [&str; 4] = ["192.168.77.", "203.0.114.", "fd77::", "2001:db8:77::"];

/// Number of the PPPoE session.
const SESSION: u16 = 7;

const SETTLE: Duration = Duration::from_secs(30);
const ATTACH: Duration = Duration::from_secs(60);
const ANSWER: Duration = Duration::from_millis(1500);
/// Rounds of all questions, so that one lost frame is not the verdict.
const ROUNDS: usize = 3;

/// What a row looks like before the filter is attached.
pub(super) struct Stage {
    client: Namespace,
    router: Namespace,
    folder: TempDir,
    _resolver: Process,
    _sessions: Vec<Session>,
    cables: usize,
    left: Vec<&'static str>,
}

/// nxdp at work.
pub(super) struct Running {
    process: Process,
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
        for cable in 1..=row.cables {
            cards::take(End::Client, cable, &client, &format!("eth{cable}"))?;
            cards::take(End::Router, cable, &router, &format!("lan{cable}"))?;
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
            folder: TempDir::new()?,
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
            while let Err(error) = self.ask(CLEAN, server, Transport::Udp) {
                if Instant::now() > end {
                    bail!("{server}: {error}");
                }
                thread::sleep(Duration::from_millis(100));
            }
        }
        Ok(())
    }

    /// Starts nxdp; what it said if it ended instead of attaching.
    pub(super) fn attach(
        &self,
        nxdp: &Path,
        interfaces: &[&str],
        mode: &str,
    ) -> Result<Result<Running, String>> {
        let list = self.folder.path().join("list.txt");
        fs::write(&list, format!("||blocked.test^\n{BLOCKED}\n"))?;
        let mut command = Command::new(nxdp);
        command.arg("run");
        for interface in interfaces {
            command.args(["--interface", interface]);
        }
        command.args(["--mode", mode, "--answers-per-s", "0"]);
        command.arg("--list").arg(&list);
        command.arg("--socket").arg(self.socket());
        let process = self.router.spawn(command)?;
        match process.wait_for_line(0, "attached to", ATTACH) {
            Ok(_) => Ok(Ok(Running { process })),
            Err(_) if !process.is_writing() => Ok(Err(last_words(&process))),
            Err(error) => Err(error),
        }
    }

    /// Asks for blocked and clean names in every way and says what came.
    pub(super) fn ask_all(&self, filter: &Running) -> Result<Outcome> {
        let (mut asked, mut unanswered) = (0, 0);
        for round in 0..ROUNDS {
            for server in servers() {
                for transport in [Transport::Udp, Transport::Tcp] {
                    asked += 1;
                    match self.ask(BLOCKED, server, transport) {
                        Ok(true) => {
                            return Ok(self.leak(filter, &format!("{transport:?} {server}")));
                        }
                        Ok(false) => {}
                        Err(_) => unanswered += 1,
                    }
                    if !self.resolves(server, transport) {
                        let what = format!("{transport:?} {server}, round {round}");
                        return Ok(Outcome::Lost(what));
                    }
                }
            }
        }
        if unanswered > 0 {
            return Ok(Outcome::Dropped(unanswered, asked));
        }
        Ok(Outcome::Filtered)
    }

    /// A clean name, asked again when one frame is lost, as clients do.
    fn resolves(&self, server: SocketAddr, transport: Transport) -> bool {
        (0..3).any(|_| matches!(self.ask(CLEAN, server, transport), Ok(true)))
    }

    /// A blocked name resolved: told, if nxdp says by now that it filters nothing.
    fn leak(&self, filter: &Running, how: &str) -> Outcome {
        // Proof that frames pass unseen takes traffic and some seconds.
        for _ in 0..60 {
            let _more_traffic = self.ask(CLEAN, servers()[0], Transport::Udp);
            let words = filter.process.text(Stream::Err);
            if let Some(line) = words.lines().find(|line| line.contains("filters nothing")) {
                return Outcome::Told(line.to_owned());
            }
            thread::sleep(Duration::from_millis(100));
        }
        Outcome::Silent(how.to_owned())
    }

    /// Whether the answer has a record.
    fn ask(
        &self,
        name: &str,
        server: SocketAddr,
        transport: Transport,
    ) -> Result<bool, QueryError> {
        let query = Query::new(name, hickory_proto::rr::RecordType::A)?
            .timeout(ANSWER)
            .over(transport);
        let reply = query.ask_from(&self.client, server)?;
        Ok(!reply.answers().is_empty())
    }

    fn socket(&self) -> std::path::PathBuf {
        self.folder.path().join("control.sock")
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // A namespace that ends gives its cards back too, but some minutes later on a slow machine.
        for cable in 1..=self.cables {
            cards::give_back(&self.client, &format!("eth{cable}"));
            cards::give_back(&self.router, &format!("lan{cable}"));
        }
        for name in &self.left {
            let _gone = Command::new("ip").args(["netns", "del", name]).status();
        }
    }
}

fn servers() -> [SocketAddr; 4] {
    PREFIXES.map(|prefix| {
        let address: IpAddr = format!("{prefix}1")
            .parse()
            .expect("an address of the table");
        SocketAddr::new(address, 53)
    })
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
        commands += &format!("{ip} addr add {prefix}{host}/{len} dev {interface} {flag}\n");
    }
    shell(namespace, &commands).with_context(|| format!("give {interface} addresses"))
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

/// The line that says why.
fn last_words(process: &Process) -> String {
    let said = process.text(Stream::Err);
    let lines: Vec<&str> = said
        .lines()
        .filter(|line| !line.trim().is_empty())
        .collect();
    let error = lines.iter().rev().find(|line| line.contains("error"));
    (*error.or(lines.last()).unwrap_or(&"nothing")).to_owned()
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
