//! The table of policies and overrides through both bodies of the core, as an operator would
//! have put them in force.

mod bypass;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs,
    net::{IpAddr, SocketAddr},
    sync::atomic::{AtomicU16, Ordering},
    thread,
    time::{Duration, Instant},
};

use filter_kernel::InUse;
use filter_lists::list;
use filter_user::{
    config::Config,
    enforcement::{Clock, Enforcement, Links, Plan, Request},
    overrides::{
        Journal, OverrideAction, OverrideClients, OverrideName, OverrideScope, OverrideSpec,
    },
    pipeline::{Guarding, Request as Compilation, Sources},
    policy::Numbers,
};
use jiff::{SignedDuration, Timestamp};
use nxdp_lab::{
    cases::Message,
    engines::{HostEngine, KernelEngine, Verdict},
    frame::UdpFrame,
    host_tables::HostTables,
    policy_cases::{
        self, CLIENTS, Case, Client, INTERFACE_POLICY, LISTS, POLICIES, SAID, SERVERS, Said,
    },
    segment::Segment,
};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng, seq::IndexedRandom as _};
use serde_json::json;
use tempfile::TempDir;

/// For how long what ends holds: far longer than the first column takes.
const LASTS: Duration = Duration::from_secs(6);

/// A kernel program with policies and overrides in force.
struct World {
    kernel: KernelEngine,
    image: filter_lists::image::Image,
    custom: Option<filter_lists::image::Image>,
    enforcement: Enforcement,
    _folder: TempDir,
}

impl World {
    fn new(policies: &str) -> Self {
        Self::with_custom(policies, "")
    }

    /// The same, but the names of this category are the operator's own, in an image of theirs.
    fn with_custom(policies: &str, own: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut text = format!("overrides = 'overrides'\n{policies}");
        for (file, category, lines) in LISTS {
            fs::write(folder.path().join(file), lines).unwrap();
            if !own.is_empty() && category == own {
                writeln!(text, "[category.{own}]\nnames = ['{file}']").unwrap();
                continue;
            }
            writeln!(text, "[[list]]\npath = '{file}'").unwrap();
            if !category.is_empty() {
                writeln!(text, "category = '{category}'").unwrap();
            }
        }
        let path = folder.path().join("nxdp.toml");
        fs::write(&path, text).unwrap();
        let config = Config::read(&path).unwrap();
        let request = Compilation {
            guarding: Guarding::Skip,
            ..Compilation::default()
        };
        let compiled = Sources::default().compile(&config, &request, &|_| {});
        let compiled = compiled.unwrap();
        let custom = compiled.custom.map(|custom| (*custom.image).clone());
        let mut kernel = KernelEngine::with_custom(&compiled.image, custom.as_ref()).unwrap();
        let plan = Plan::of(&config, &compiled.categories, &Numbers::new()).unwrap();
        let links = links();
        let journal = Journal::open(config.overrides()).unwrap();
        let maps = &mut kernel.filter().maps;
        let mut enforcement = Enforcement::start(plan, links, journal, maps).unwrap();
        enforcement.narrow(maps).unwrap();
        Self {
            kernel,
            image: (*compiled.image).clone(),
            custom,
            enforcement,
            _folder: folder,
        }
    }

    /// The interface by which every frame of TEST_RUN comes takes VLAN tags off from now on.
    fn take_tags_off(&mut self) {
        let links = Links {
            untagged: BTreeSet::from([1]),
            ..links()
        };
        let maps = &mut self.kernel.filter().maps;
        self.enforcement.keep(links, maps).unwrap();
    }

    /// What the kernel counted for all policies together.
    fn queries_of_policies(&mut self) -> u64 {
        let in_use = InUse {
            policies: 16,
            lists: 0,
            custom_lists: 0,
        };
        let tallies = self.kernel.filter().maps.tallies(in_use).unwrap();
        tallies.policies.iter().map(|[queries, _]| queries).sum()
    }

    fn apply(&mut self, request: Request) {
        let maps = &mut self.kernel.filter().maps;
        self.enforcement.apply(request, maps).unwrap();
    }

    /// The core on the host, over what the kernel's maps say now.
    fn host(&mut self) -> HostEngine {
        let maps = &mut self.kernel.filter().maps;
        let custom = self
            .custom
            .as_ref()
            .map(filter_lists::image::Image::records);
        HostEngine::over(HostTables::like(maps, self.image.records(), custom).unwrap())
    }

    /// What both bodies make of a frame.
    fn judge(&mut self, host: &mut HostEngine, frame: &[u8]) -> Verdict {
        host.set_now(Clock::now().boot_ns);
        let on_host = host.judge(frame);
        let in_kernel = self.kernel.judge(frame).unwrap();
        assert_eq!(on_host, in_kernel, "{frame:02x?}");
        on_host
    }

    fn check(&mut self, cases: &[Case], column: usize) -> Vec<String> {
        let mut host = self.host();
        let mut wrong = Vec::new();
        for case in cases {
            let verdict = self.judge(&mut host, &query(case.from, case.to, case.name));
            if verdict.reason != case.reasons[column] {
                wrong.push(format!(
                    "{}: {} instead of {}",
                    case.description,
                    verdict.reason.name(),
                    case.reasons[column].name()
                ));
            }
        }
        wrong
    }

    /// Every client asks every server for every name, over UDP and TCP; how often what came of it.
    fn compare(&mut self, names: &[String]) -> BTreeMap<&'static str, u32> {
        let mut host = self.host();
        let mut reasons = BTreeMap::new();
        for client in CLIENTS {
            for server in SERVERS.iter().filter(|to| is_reachable(client, to)) {
                for name in names {
                    for frame in [
                        query(client, server, name),
                        query_over_tcp(client, server, name),
                    ] {
                        let verdict = self.judge(&mut host, &frame);
                        *reasons.entry(verdict.reason.name()).or_default() += 1;
                    }
                }
            }
        }
        reasons
    }
}

fn links() -> Links {
    Links {
        names: BTreeMap::from([(1, "lo".to_owned())]),
        ..Links::default()
    }
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn is_reachable(client: Client, server: &str) -> bool {
    address(client.address).is_ipv4() == address(server).is_ipv4()
}

fn socket(text: &str, port: u16) -> SocketAddr {
    SocketAddr::new(address(text), port)
}

const fn mac(last: u8) -> [u8; 6] {
    [2, 0, 0, 0, 0, last]
}

fn datagram(from: Client, to: SocketAddr, payload: &[u8]) -> Vec<u8> {
    let frame = UdpFrame::new(socket(from.address, 40_000), to, payload);
    let frame = frame.macs(mac(from.mac), mac(0xff));
    match from.vlan {
        0 => frame.build(),
        vlan => frame.vlan(vlan).build(),
    }
}

fn query(from: Client, to: &str, name: &str) -> Vec<u8> {
    datagram(
        from,
        socket(to, 53),
        &Message::new(name).opt(0x8000, &[]).bytes(),
    )
}

/// Connections that were made up so far.
static CONNECTIONS: AtomicU16 = AtomicU16::new(0);

fn segment(from: Client, to: SocketAddr, segment: Segment) -> Vec<u8> {
    // Each in one of its own: what becomes of a query depends on those before it in its connection.
    let port = 20_000 + CONNECTIONS.fetch_add(1, Ordering::Relaxed) % 40_000;
    let mut frame = Segment {
        source: socket(from.address, port),
        destination: to,
        vlan: (from.vlan != 0).then_some(from.vlan),
        ..segment
    }
    .build();
    frame[6..12].copy_from_slice(&mac(from.mac));
    frame
}

fn query_over_tcp(from: Client, to: &str, name: &str) -> Vec<u8> {
    let to = socket(to, 53);
    let message = Message::new(name).bytes();
    segment(from, to, Segment::query(to.is_ipv6(), &message))
}

fn spec(said: &Said, now: Timestamp) -> OverrideSpec {
    let name = match said.name {
        "." => serde_json::from_value(json!(".")).unwrap(),
        name => OverrideName::from(&list::name(name).unwrap()),
    };
    OverrideSpec {
        action: said.action,
        name,
        scope: said.scope,
        clients: serde_json::from_value(json!(said.clients)).unwrap(),
        expires: said
            .ends
            .then(|| now + SignedDuration::try_from(LASTS).unwrap()),
        reason: "the table".to_owned(),
        by: None,
        ticket: None,
        against_guard: false,
    }
}

/// Names of the table, and one that nothing is said of.
fn names() -> Vec<String> {
    let asked = policy_cases::all();
    let names = asked.iter().map(|case| case.name).chain(["clean.test"]);
    names.map(str::to_owned).collect()
}

#[test]
fn what_would_be_answered_is_dropped_where_tags_are_taken_off() {
    for policies in [POLICIES.to_owned(), format!("{POLICIES}{INTERFACE_POLICY}")] {
        let mut world = World::new(&policies);
        let before = world.compare(&names());
        world.take_tags_off();
        let told = world.queries_of_policies();
        let mut after = world.compare(&names());
        // The default policy has its tally too: every query is in one, whatever came of it.
        let judged = world.queries_of_policies() - told;
        assert_eq!(
            judged,
            after.values().map(|count| u64::from(*count)).sum::<u64>()
        );
        let dropped = after.remove("drop_tag_offload").unwrap();
        let (answered, others): (BTreeMap<_, _>, BTreeMap<_, _>) = before
            .into_iter()
            .partition(|(name, _)| name.starts_with("answer_"));
        assert_eq!(dropped, answered.values().sum::<u32>());
        assert!(
            dropped > 0 && others == after,
            "{others:?} became {after:?}"
        );
    }
}

#[test]
fn every_case_before_and_after_the_end_of_what_ends() {
    let cases = policy_cases::all();
    let mut world = World::new(POLICIES);
    let start = Instant::now();
    let now = Timestamp::now();
    world.apply(Request::Add(
        SAID.iter().map(|said| spec(said, now)).collect(),
    ));
    let wrong = world.check(&cases, 0);
    assert!(wrong.is_empty(), "{wrong:#?}");
    let before = world.compare(&names());
    assert!(start.elapsed() < LASTS, "the first column took too long");

    // Nobody tells the kernel.
    thread::sleep(LASTS.saturating_sub(start.elapsed()) + Duration::from_millis(50));
    let wrong = world.check(&cases, 1);
    assert!(wrong.is_empty(), "{wrong:#?}");
    let after = world.compare(&names());
    assert!(before.contains_key("pass_paused") && !after.contains_key("pass_paused"));
    println!("before: {before:?}\nafter: {after:?}");
}

#[test]
fn every_case_where_a_category_is_the_operators_own() {
    for own in ["adult", "ads"] {
        let mut world = World::with_custom(POLICIES, own);
        assert!(world.kernel.filter().maps.active_custom().is_some());
        let now = Timestamp::now();
        world.apply(Request::Add(
            SAID.iter().map(|said| spec(said, now)).collect(),
        ));
        let wrong = world.check(&policy_cases::all(), 0);
        assert!(wrong.is_empty(), "{own}: {wrong:#?}");
        world.compare(&names());
    }
}

#[test]
fn every_case_with_a_policy_for_the_interface() {
    let policies = [POLICIES, INTERFACE_POLICY].concat();
    let mut world = World::new(&policies);
    let wrong = world.check(&policy_cases::by_interface(), 0);
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// A random override of one of few names, so that they lie over and beside each other.
fn random_override(random: &mut StdRng, now: Timestamp) -> OverrideSpec {
    let labels =
        (0..random.random_range(1..4)).map(|_| ["a", "b", "ads"][random.random_range(0..3)]);
    let name = labels.collect::<Vec<_>>().join(".") + ".test";
    let audiences = [
        "everybody",
        "policy default",
        "policy kids",
        "policy guests",
        "client 10.1.2.9",
        "client fd00:9::2",
        "client 02:00:00:00:00:02",
        "client 02:00:00:00:00:01",
    ];
    let clients: OverrideClients =
        serde_json::from_value(json!(audiences.choose(random).unwrap())).unwrap();
    let is_pause = random.random_range(0..20) == 0;
    let name = if is_pause { ".".to_owned() } else { name };
    OverrideSpec {
        action: match random.random_range(0..2) {
            _ if is_pause => OverrideAction::Pause,
            0 => OverrideAction::Allow,
            _ => OverrideAction::Block,
        },
        name: serde_json::from_value(json!(name)).unwrap(),
        scope: if random.random() {
            OverrideScope::Exact
        } else {
            OverrideScope::Suffix
        },
        clients,
        expires: (is_pause || random.random()).then(|| now + SignedDuration::from_hours(1)),
        reason: "chance".to_owned(),
        by: None,
        ticket: None,
        against_guard: false,
    }
}

#[test]
fn the_kernel_decides_as_the_host_does_whatever_overrides_come_and_go() {
    let mut world = World::new(POLICIES);
    let mut random = StdRng::seed_from_u64(0x6f76_6572);
    let mut names: Vec<String> = vec!["test".to_owned()];
    for label in ["a", "b", "ads"] {
        let below = names.clone();
        names.extend(below.iter().map(|name| format!("{label}.{name}")));
    }
    let mut seen = BTreeMap::<&str, u32>::new();
    for _ in 0..6 {
        for _ in 0..10 {
            let now = Timestamp::now();
            let specs = (0..random.random_range(1..8)).map(|_| random_override(&mut random, now));
            let specs = specs.collect();
            world.apply(Request::Add(specs));
            let ids: Vec<u32> = world
                .enforcement
                .overrides()
                .map(|entry| entry.id)
                .collect();
            let gone: Vec<u32> = ids
                .into_iter()
                .filter(|_| random.random_range(0..4) == 0)
                .collect();
            world.apply(Request::Remove(gone));
        }
        for (reason, count) in world.compare(&names) {
            *seen.entry(reason).or_default() += count;
        }
    }
    for reason in [
        "pass_override",
        "pass_paused",
        "pass_no_rule",
        "answer_nxdomain",
        "answer_nodata",
    ] {
        assert!(seen.contains_key(reason), "{seen:?}");
    }
    println!("{seen:?}");
}
