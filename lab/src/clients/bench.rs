//! A lab whose filter answers each name in another way, and two nameservers behind it.

use std::{fmt::Write as _, fs, net::IpAddr};

use anyhow::{Context, Result};
use hickory_proto::rr::Name;
use tempfile::TempDir;

use super::{
    program::{Client, Setup},
    wire::{Traffic, Wire},
};
use crate::{
    filter::Filter,
    lab::{DNS_SERVERS, Lab},
    query::Transport,
    responder::{Responder, ipv4_of, ipv6_of},
};

/// The kinds of answers, as configurations name them.
pub const KINDS: [&str; 6] = ["nxdomain", "nodata", "null", "refused", "truncate", "drop"];
/// What no list has.
pub const FREE: &str = "free";
/// Where both responders' names and all rules are.
pub const ZONE: &str = "nxdp-show.example.";

/// Addresses of the resolver's interface, beside those of [`DNS_SERVERS`].
const SECOND_SERVERS: [&str; 2] = ["10.53.2.54", "fd00:53:2::54"];

/// The lab at work; its parts end in this order.
#[derive(Debug)]
pub struct Bench {
    filter: Filter,
    _responders: [Responder; 2],
    lab: Lab,
    folder: TempDir,
}

/// One question to a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question {
    /// The nameservers' addresses: 0 for IPv4, 1 for IPv6.
    pub family: usize,
    /// How they are asked.
    pub transport: Transport,
    /// How the name is answered: one of [`KINDS`], or [`FREE`].
    pub kind: &'static str,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lookup {
    /// What the client says.
    pub says: String,
    /// What it sent for the name.
    pub traffic: Traffic,
    /// What the same process says to a free name behind it; none if it asks for one name only.
    pub says_free: Option<String>,
}

/// What a client says that got the addresses which the resolver has for the name.
pub const RESOLVED: &str = "the resolver's answer";

impl Bench {
    /// Starts everything, with more rules, each list with its answer.
    pub fn start(more: &[(&str, &str, &str)]) -> Result<Self> {
        let lab = Lab::new()?;
        let [v4, v6] = SECOND_SERVERS;
        lab.resolver().ip_batch(&format!(
            "address add {v4}/24 dev resolver0\naddress add {v6}/64 dev resolver0 nodad\n"
        ))?;
        let second = lab
            .resolver()
            .run(|| Responder::start(&second_servers(), 1))?
            .context("cannot start the second responder")?;
        let folder = tempfile::tempdir()?;
        let rules = KINDS.map(|kind| (kind, kind, format!("||{kind}.{}^\n", zone())));
        let ours = rules
            .iter()
            .map(|(name, answer, rule)| (*name, *answer, rule.as_str()));
        let lists: Vec<_> = ours.chain(more.iter().copied()).collect();
        let config = configuration(&folder, &lists)?;
        Ok(Self {
            _responders: [lab.start_responder()?, second],
            filter: Filter::start(&lab, folder.path(), &["--config", &config])?,
            lab,
            folder,
        })
    }

    /// The namespaces.
    pub fn lab(&self) -> &Lab {
        &self.lab
    }

    /// The filter.
    pub fn filter(&self) -> &Filter {
        &self.filter
    }

    /// A folder that lives as long as the bench.
    pub fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    /// Lets a client ask.
    pub fn look_up(&self, client: Client, question: Question) -> Result<Lookup> {
        let Question {
            family, transport, ..
        } = question;
        let setup = Setup {
            folder: self.folder.path(),
            servers: servers(family).map(|server| server.to_string()),
            transport,
        };
        let free = Question {
            kind: FREE,
            ..question
        };
        let (name, behind) = (question.name(), format!("behind.{}", free.name()));
        let names = match client {
            Client::Dig => vec![name.as_str()],
            _ => vec![name.as_str(), behind.as_str()],
        };
        let wire = Wire::watch(&self.lab)?;
        let mut says = client.ask(&self.lab, &setup, &names)?.into_iter();
        Ok(Lookup {
            says: told(&name, says.next().unwrap_or_default()),
            says_free: says.next().map(|says| told(&behind, says)),
            traffic: wire.finish()?.of(&name),
        })
    }
}

impl Question {
    /// The name: one for each question, because TCP repeats what an earlier one was not answered.
    pub fn name(self) -> String {
        let transport = match self.transport {
            Transport::Udp => "udp",
            Transport::Tcp => "tcp",
        };
        let family = ["v4", "v6"][self.family];
        format!("{transport}-{family}.{}.{ZONE}", self.kind)
    }
}

/// What a client says, in the words of the page.
pub fn told(name: &str, says: String) -> String {
    let name = Name::from_ascii(name).expect("made of a table's words");
    let (v4, v6) = (ipv4_of(&name).to_string(), ipv6_of(&name));
    if says == v4 || says == format!("{v4} {v6}") {
        RESOLVED.to_owned()
    } else {
        says
    }
}

/// The nameservers of a family, the first one first.
pub fn servers(family: usize) -> [IpAddr; 2] {
    [DNS_SERVERS[family].1.ip(), second_server(family)]
}

/// The second nameserver of a family.
pub fn second_server(family: usize) -> IpAddr {
    second_servers()[family].ip()
}

fn second_servers() -> [std::net::SocketAddr; 2] {
    SECOND_SERVERS.map(|address| {
        let address: IpAddr = address.parse().expect("a constant address");
        (address, 53).into()
    })
}

fn zone() -> &'static str {
    ZONE.trim_end_matches('.')
}

/// Writes lists of name, answer and text, and the configuration that names them.
fn configuration(folder: &TempDir, lists: &[(&str, &str, &str)]) -> Result<String> {
    let mut config = String::new();
    for (name, answer, text) in lists {
        let path = folder.path().join(format!("{name}.txt"));
        fs::write(&path, text)?;
        writeln!(
            config,
            "[[list]]\npath = {path:?}\nname = \"{name}\"\nanswer = \"{answer}\"\n"
        )?;
    }
    let path = folder.path().join("nxdp.toml");
    fs::write(&path, config)?;
    Ok(path.to_string_lossy().into_owned())
}
