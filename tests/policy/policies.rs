//! Who asks decides: six clients, three resolver addresses, and lists and overrides that change.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    net::{IpAddr, SocketAddr},
    path::Path,
    process::Command,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use hickory_proto::{op::ResponseCode, rr::RecordType};
use nix::sys::signal::Signal;
use nxdp_lab::{
    filter::{self, Filter},
    lab::Lab,
    namespace::Namespace,
    process::{Process, Stream},
    query::Query,
    responder::Responder,
    station::Station,
};
use serde_json::Value;
use tempfile::TempDir;

const SOON: Duration = Duration::from_secs(20);
/// Queries that dnsperf sends a second.
const LOAD_PER_S: u32 = 5_000;
const VLAN: u16 = 30;
/// How long lists reload and overrides come and go.
const UNREST: Duration = Duration::from_secs(8);

/// A category and a name that one of its lists blocks.
const CATEGORIES: [(&str, &str); 4] = [
    ("ads", "ads.nxdp-show.example"),
    ("malware", "malware.nxdp-show.example"),
    ("adult", "adult.nxdp-show.example"),
    ("social", "social.nxdp-show.example"),
];
const CLEAN: &str = "clean.nxdp-show.example";
/// Blocked for everybody by an override that comes and goes.
const RESTLESS: &str = "restless.nxdp-show.example";

/// What each policy blocks.
const POLICIES: [(&str, &[&str]); 7] = [
    ("default", &["ads"]),
    ("kids", &["ads", "malware", "adult", "social"]),
    ("office", &["malware"]),
    ("printer", &[]),
    ("guests", &["malware", "adult"]),
    ("second", &["malware"]),
    ("third", &["malware", "adult"]),
];

/// A lab with six clients and a resolver with three addresses.
struct Household {
    filter: Filter,
    lab: Lab,
    _responder: Responder,
    stations: Vec<Station>,
    folder: TempDir,
}

/// A client: its name, its namespace, the address it asks from, its policy.
struct Client<'a> {
    what: String,
    namespace: &'a Namespace,
    source: Option<IpAddr>,
    /// Nothing if the resolver that is asked decides.
    policy: Option<&'static str>,
}

/// The resolver's addresses, with the policy of whoever has none of its own.
fn resolvers() -> Vec<(SocketAddr, &'static str)> {
    let mut resolvers = Vec::new();
    for (host, policy) in [("53", "default"), ("54", "second"), ("55", "third")] {
        for address in [format!("10.53.2.{host}"), format!("fd00:53:2::{host}")] {
            resolvers.push((SocketAddr::new(address.parse().unwrap(), 53), policy));
        }
    }
    resolvers
}

impl Household {
    fn start(mode: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let lab = Lab::new().unwrap();
        let more: String = ["54", "55"]
            .iter()
            .map(|host| {
                format!(
                    "address add 10.53.2.{host}/24 dev resolver0\n\
                     address add fd00:53:2::{host}/64 dev resolver0 nodad\n"
                )
            })
            .collect();
        lab.resolver().ip_batch(&more).unwrap();
        let addresses: Vec<SocketAddr> = resolvers().iter().map(|(address, _)| *address).collect();
        let responder = lab.resolver().run(|| Responder::start(&addresses, 1));
        let stations = [
            (11, None),
            (12, None),
            (13, None),
            (14, None),
            (15, Some(VLAN)),
        ];
        let stations = stations.map(|(number, vlan)| Station::join(&lab, number, vlan).unwrap());
        write_lists(folder.path(), 0);
        let config = folder.path().join("nxdp.toml");
        fs::write(&config, config_of(&stations)).unwrap();
        let mut arguments = vec!["--mode".to_owned(), mode.to_owned(), "--config".to_owned()];
        arguments.push(config.to_str().unwrap().to_owned());
        for station in &stations {
            arguments.extend(["--interface".to_owned(), station.lan()]);
        }
        Self {
            filter: Filter::start(&lab, folder.path(), &arguments).unwrap(),
            _responder: responder.unwrap().unwrap(),
            lab,
            stations: stations.into(),
            folder,
        }
    }

    /// The six clients, those with several addresses once with each.
    fn clients(&self) -> Vec<Client<'_>> {
        let policies = ["kids", "kids", "office", "printer", "guests"];
        let mut clients = Vec::new();
        let mut add = |what: String, namespace, source, policy| {
            clients.push(Client {
                what,
                namespace,
                source,
                policy,
            });
        };
        for (number, (station, policy)) in self.stations.iter().zip(policies).enumerate() {
            let what = |how: &str| format!("client {} ({policy}, {how})", number + 1);
            let namespace = station.namespace();
            add(what("IPv4"), namespace, Some(station.ipv4()), Some(policy));
            add(what("IPv6"), namespace, Some(station.ipv6()), Some(policy));
            if policy == "kids" {
                for interface_id in [0x1d2c_7a01_93b4_55e6, 0xa9f0_0c3e_7b12_4d87] {
                    let address = station.add_privacy_address(interface_id).ok();
                    add(what("privacy"), namespace, address, Some(policy));
                }
            }
        }
        add(
            "client 6 (default)".to_owned(),
            self.lab.client(),
            None,
            None,
        );
        clients
    }

    fn nxdp(&self, arguments: &[&str]) -> String {
        let output = Command::new(filter::binary().unwrap())
            .args(arguments)
            .arg("--socket")
            .arg(self.filter.socket())
            .output()
            .unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {error}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// dnsperf from the default client, for names that its policy blocks.
    fn load(&self) -> Process {
        let queries = self.folder.path().join("queries.txt");
        fs::write(
            &queries,
            "ads.nxdp-show.example A\nwww.ads.nxdp-show.example AAAA\n",
        )
        .unwrap();
        let mut command = Command::new("dnsperf");
        command
            .args(["-s", "10.53.2.53", "-e", "-W", "-d"])
            .arg(&queries)
            .args(["-Q", &LOAD_PER_S.to_string(), "-l", "60"]);
        self.lab.client().spawn(command).unwrap()
    }
}

/// The lists of all categories; one of them says which time it was written.
fn write_lists(folder: &Path, serial: u32) {
    for (category, name) in CATEGORIES {
        let mut text = format!("||{name}^\n||serial{serial}.{category}.example^\n");
        for number in 0..200 {
            writeln!(text, "||n{number}.{category}.example^").unwrap();
        }
        let path = folder.join(format!("{category}.txt"));
        let new = path.with_extension("new");
        fs::write(&new, text).unwrap();
        fs::rename(&new, &path).unwrap();
    }
}

fn config_of(stations: &[Station]) -> String {
    let mut config = "overrides = 'overrides'\n".to_owned();
    for (category, _) in CATEGORIES {
        write!(
            config,
            "[[list]]\npath = '{category}.txt'\ncategory = '{category}'\n"
        )
        .unwrap();
    }
    for (policy, blocks) in POLICIES {
        writeln!(config, "[policy.{policy}]\nblock = {blocks:?}").unwrap();
        let clients = match policy {
            "kids" => format!(
                "clients = ['{}', '{}']",
                stations[0].mac(),
                stations[1].mac()
            ),
            "office" => {
                "clients = ['10.53.13.0/24', 'fd00:53:13::/64', '10.53.14.0/24', 'fd00:53:14::/64']"
                    .to_owned()
            }
            // Inside the prefixes above: the longest one decides.
            "printer" => format!(
                "clients = ['{}', '{}']",
                stations[3].ipv4(),
                stations[3].ipv6()
            ),
            "guests" => format!("clients = ['vlan:{VLAN}']"),
            "second" => "destinations = ['10.53.2.54', 'fd00:53:2::54']".to_owned(),
            "third" => "destinations = ['10.53.2.55', 'fd00:53:2::55']".to_owned(),
            _ => String::new(),
        };
        writeln!(config, "{clients}").unwrap();
    }
    config
}

fn blocks(policy: &str) -> &'static [&'static str] {
    POLICIES.iter().find(|(name, _)| *name == policy).unwrap().1
}

/// Asks every name of every resolver from every client; what differs from what should be.
fn wrong_verdicts(clients: &[Client<'_>]) -> (u64, Vec<String>) {
    let (mut asked, mut wrong) = (0, Vec::new());
    for client in clients {
        let resolvers = resolvers();
        let resolvers = resolvers.iter().filter(|(server, _)| {
            client
                .source
                .is_none_or(|source| source.is_ipv4() == server.is_ipv4())
        });
        for (server, by_destination) in resolvers {
            let policy = client.policy.unwrap_or(by_destination);
            let clean = ("clean", CLEAN);
            for (category, name) in CATEGORIES.into_iter().chain([clean]) {
                let mut query = Query::new(name, RecordType::A).unwrap().timeout(SOON);
                if let Some(source) = client.source {
                    query = query.from_address(source);
                }
                let reply = query.ask_from(client.namespace, *server).unwrap();
                let is_blocked = reply.outcome() == ResponseCode::NXDomain;
                asked += 1;
                if is_blocked != blocks(policy).contains(&category) {
                    wrong.push(format!(
                        "{} asks {server} for {name}: {}",
                        client.what,
                        reply.rcode_text()
                    ));
                }
            }
        }
    }
    (asked, wrong)
}

/// Rewrites lists, and lets overrides of a name that the table does not hold come and go.
fn unrest(show: &Household, stop: &AtomicBool, rounds: &AtomicU64) {
    let mut serial = 0;
    while !stop.load(Ordering::Relaxed) {
        serial += 1;
        write_lists(show.folder.path(), serial);
        show.filter.process().signal(Signal::SIGHUP).unwrap();
        for clients in [&[][..], &["--policy", "kids"], &["--client", "10.53.13.2"]] {
            let order = [
                "block", RESTLESS, "--reason", "unrest", "--for", "1h", "--json",
            ];
            let told = show.nxdp(&[&order[..], clients].concat());
            let told: Value = serde_json::from_str(&told).unwrap();
            let id = told["overrides"][0]["id"].to_string();
            show.nxdp(&["override", "remove", &id]);
        }
        rounds.fetch_add(1, Ordering::Relaxed);
    }
}

/// Fourteen addresses of five clients ask three resolvers each, one client asks six addresses.
const QUESTIONS: u64 = (14 * 3 + 6) * 5;

fn the_table_of_verdicts_holds(mode: &str) {
    let show = Household::start(mode);
    let clients = show.clients();
    let (asked, wrong) = wrong_verdicts(&clients);
    assert!(wrong.is_empty(), "{} of {asked}: {wrong:#?}", wrong.len());
    assert_eq!(asked, QUESTIONS);
    let before = show.filter.status().unwrap()["generation"]
        .as_u64()
        .unwrap();

    let mut load = show.load();
    let (stop, rounds) = (AtomicBool::new(false), AtomicU64::new(0));
    let tables = thread::scope(|scope| {
        let unrest = scope.spawn(|| unrest(&show, &stop, &rounds));
        let end = Instant::now() + UNREST;
        let mut tables = 0;
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            while Instant::now() < end || rounds.load(Ordering::Relaxed) < 3 {
                let (asked, wrong) = wrong_verdicts(&clients);
                assert!(wrong.is_empty(), "{} of {asked}: {wrong:#?}", wrong.len());
                tables += 1;
            }
        }));
        stop.store(true, Ordering::Relaxed);
        unrest.join().unwrap();
        result.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        tables
    });
    assert!(
        load.wait(Duration::ZERO).unwrap().is_none(),
        "the load ended early"
    );
    assert!(load.end(Signal::SIGINT, SOON).unwrap().success());
    let told = load.text(Stream::Out);
    assert!(
        told.contains("NXDOMAIN") && !told.contains("NOERROR"),
        "{told}"
    );
    assert!(told.contains("Queries lost:         0"), "{told}");
    let reloaded = |status: &Value| {
        status["generation"].as_u64().unwrap() > before + 1 && status["last_error"].is_null()
    };
    show.filter
        .wait_for_status("two reloads", reloaded)
        .unwrap();
    eprintln!(
        "{mode}: {tables} tables of {QUESTIONS} verdicts, none wrong, in {} rounds of unrest",
        rounds.load(Ordering::Relaxed)
    );
    counts_add_up(&show);
}

/// Every policy was asked something, and those that block nothing blocked nothing.
fn counts_add_up(show: &Household) {
    let counted = show.nxdp(&["stats", "--by", "policy", "--json"]);
    let mut counted: Value = serde_json::from_str(&counted).unwrap();
    assert_eq!(counted["version"], 1);
    let counted: BTreeMap<String, BTreeMap<String, u64>> =
        serde_json::from_value(counted["policies"].take()).unwrap();
    for (policy, blocks) in POLICIES {
        let (queries, blocked) = (counted[policy]["queries"], counted[policy]["blocked"]);
        assert!(queries > 0, "{policy}: {counted:?}");
        assert_eq!(blocked > 0, !blocks.is_empty(), "{policy}: {counted:?}");
    }
    let sum: u64 = counted.values().map(|policy| policy["blocked"]).sum();
    let categories = show.nxdp(&["stats", "--by", "category", "--json"]);
    let mut categories: Value = serde_json::from_str(&categories).unwrap();
    let categories: BTreeMap<String, u64> =
        serde_json::from_value(categories["categories"].take()).unwrap();
    assert!(
        CATEGORIES
            .iter()
            .all(|(category, _)| categories[*category] > 0)
    );
    assert_eq!(
        categories.values().sum::<u64>(),
        sum,
        "{categories:?} {counted:?}"
    );
}

#[test]
fn six_clients_and_three_resolvers_see_what_their_policies_say_in_native_mode() {
    the_table_of_verdicts_holds("native");
}

#[test]
fn six_clients_and_three_resolvers_see_what_their_policies_say_in_generic_mode() {
    the_table_of_verdicts_holds("skb");
}
