//! Policies that nothing touches, that change, and that switch by themselves.

use std::{
    cell::Cell,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use crate::show::Show;
use filter_common::{
    address::{self, Address},
    direct::Direct,
    filter::{Host, filter},
    frame::BufferFrame,
    layout::{
        CLIENT_ANSWERED, CONTROL_OVERRIDES, CONTROL_PAUSES, CONTROL_UNTAGGED, ClientRecord,
        Control, InterfaceRecord, OverrideRecord, POLICY_REFUSE_BYPASS, POLICY_UNFILTERED,
        PolicyRecord, Record,
    },
    maps::Maps,
    reason::Reason,
    scratch::Scratch,
    selector::{Selector, mac_key, vlan_key},
    table::Records,
    verdict,
};
use filter_kernel::{Assignments, Filter, Prefix};
use hickory_proto::op::ResponseCode;
use nix::sys::signal::Signal;
use nxdp_lab::{cases::Message, engines::compile_texts, frame::UdpFrame, lab};
use serde_json::Value;

const SOON: Duration = Duration::from_secs(20);

#[test]
fn no_list_and_no_override_touches_the_unfiltered_policy() {
    let list = "||example^$important\n||c.example^$dnsrewrite=REFUSED\n|a.b.example^\n";
    let config = "[guard]\nallow = [{ name = 'example', reason = 'the test' }]\n\
                  [[list]]\npath = 'list.txt'\n\
                  [policy.free]\nclients = ['10.53.1.0/24']\nunfiltered = true\n";
    let show = Show::start("skb", config, list);
    show.nxdp("block b.example --reason try");
    let names = ["example", "b.example", "a.b.example", "c.example"];
    let before = show.filter().counters().unwrap();
    for name in names {
        assert_eq!(show.rcode(name), ResponseCode::NoError, "{name}");
        let by_default = show.rcode_v6(name);
        assert_ne!(by_default, ResponseCode::NoError, "{name}");
    }
    let after = show.filter().counters().unwrap();
    assert_eq!(
        after["pass_unfiltered"] - before["pass_unfiltered"],
        names.len() as u64
    );
    let error = show.refused("block x.example --policy free --reason try");
    assert!(error.contains("'free' is unfiltered"), "{error}");
}

/// Tables of which none but the control record and the policies may be looked at.
struct Untouchable {
    control: Record,
    policy: PolicyRecord,
}

impl Records for Untouchable {
    fn record(&self, index: u32) -> Option<&Record> {
        assert_eq!(index, 0, "a record of a generation was looked at");
        Some(&self.control)
    }
}

impl Maps for Untouchable {
    fn policy(&self, number: u32) -> Option<&PolicyRecord> {
        assert_eq!(number, 7);
        Some(&self.policy)
    }

    fn client(&self, _address: &Address) -> ClientRecord {
        ClientRecord(7)
    }

    fn override_record(&self, _key: u64) -> Option<&OverrideRecord> {
        panic!("an override was looked at")
    }
}

impl Direct for Untouchable {}

#[test]
fn the_unfiltered_policy_looks_at_no_table() {
    let control = Control {
        active: 1,
        flags: Selector::Source.flag() | CONTROL_OVERRIDES,
        ..Control::default()
    };
    let mut tables = Untouchable {
        control: Record(bytemuck::cast(control)),
        policy: PolicyRecord {
            categories: u64::MAX,
            flags: POLICY_UNFILTERED,
            ..PolicyRecord::default()
        },
    };
    let mut scratch: Box<Scratch> = bytemuck::allocation::zeroed_box();
    scratch.label_count = 3;
    scratch.flags = control.flags;
    assert_eq!(
        verdict::decide(&tables, &mut scratch),
        Err(Reason::Unfiltered)
    );
    // The test can fail: any other policy looks.
    tables.policy.flags = 0;
    let looks = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        verdict::decide(&tables, &mut scratch)
    }));
    assert!(looks.is_err());
}

/// A table whose control record is replaced after it was read some times.
struct Replaced {
    records: Vec<Record>,
    after: Record,
    reads_left: Cell<u32>,
    policies: [PolicyRecord; 2],
}

/// The flags that come into force, each of which has the client looked at.
const ALL_AT_ONCE: u32 =
    Selector::Source.flag() | CONTROL_OVERRIDES | CONTROL_PAUSES | CONTROL_UNTAGGED;
const INTERFACE: u32 = 5;

impl Records for Replaced {
    fn record(&self, index: u32) -> Option<&Record> {
        if index != 0 {
            return self.records.get(index as usize);
        }
        match self.reads_left.get() {
            0 => Some(&self.after),
            left => {
                self.reads_left.set(left - 1);
                self.records.first()
            }
        }
    }
}

impl Maps for Replaced {
    fn policy(&self, number: u32) -> Option<&PolicyRecord> {
        self.policies.get(number as usize)
    }

    fn client(&self, address: &Address) -> ClientRecord {
        assert_eq!(
            *address,
            address::mapped(lab::CLIENT_V4.octets()),
            "an earlier packet's"
        );
        ClientRecord(1)
    }

    fn interface(&self, interface: u32) -> InterfaceRecord {
        assert_eq!(interface, INTERFACE, "an earlier packet's");
        InterfaceRecord::default()
    }
}

impl Direct for Replaced {}

#[test]
fn policies_that_come_into_force_while_a_packet_is_judged_are_for_the_next_one() {
    let image = compile_texts(&[("list", "||blocked.test^\n")]).unwrap();
    let before = Control {
        active: 1,
        ..Control::default()
    };
    let after = Control {
        flags: ALL_AT_ONCE,
        ..before
    };
    let policy = |flags| PolicyRecord {
        categories: u64::MAX,
        flags,
        ..PolicyRecord::default()
    };
    let query = UdpFrame::query_v4(40_000, &Message::new("blocked.test").bytes()).build();
    let mut encrypted = query.clone();
    encrypted[36..38].copy_from_slice(&853_u16.to_be_bytes());
    for (frame, of_old, of_new) in [
        (query, Reason::NxDomain, Reason::Unfiltered),
        (encrypted, Reason::BypassDropped, Reason::OtherPort),
    ] {
        let reasons = (0..8).map(|reads| {
            let control = [Record(bytemuck::cast(before))];
            let tables = Replaced {
                records: [&control, image.records()].concat(),
                after: Record(bytemuck::cast(after)),
                reads_left: Cell::new(reads),
                policies: [policy(POLICY_REFUSE_BYPASS), policy(POLICY_UNFILTERED)],
            };
            let mut scratch: Box<Scratch> = bytemuck::allocation::zeroed_box();
            let mut buffer = frame.clone();
            buffer.resize(1024, 0);
            let mut frame = BufferFrame::new(&mut buffer, frame.len())
                .from_interface(INTERFACE)
                .watching_bypasses();
            filter(&mut frame, || Some(Host::new(&tables, &mut scratch)))
        });
        let reasons: Vec<Reason> = reasons.collect();
        // The flags are the first thing that is read.
        let expected = [&[of_new][..], &[of_old; 7]].concat();
        assert_eq!(reasons, expected);
    }
}

#[test]
fn a_policy_that_changes_takes_its_clients_along_on_sighup_and_a_wrong_one_changes_nothing() {
    let lists = "[[list]]\npath = 'list.txt'\ncategory = 'ads'\n";
    let config = |policy: &str| format!("{policy}\n{lists}");
    let show = Show::start(
        "skb",
        &format!("[policy.family]\nclients = ['10.53.1.2']\nanswer = 'refused'\n{lists}"),
        "||ads.example^\n",
    );
    assert_eq!(show.rcode("ads.example"), ResponseCode::Refused);
    let reload = |text: &str| {
        show.configure("skb", text);
        show.filter().process().signal(Signal::SIGHUP).unwrap();
    };
    reload(&config(
        "[policy.family]\nclients = ['10.53.1.2']\nblock = []\n[policy.other]\nclients = ['10.53.1.0/24']",
    ));
    let has_other = |status: &Value| status["policies"].as_array().unwrap().len() == 3;
    show.filter()
        .wait_for_status("the new policies", has_other)
        .unwrap();
    assert_eq!(show.rcode("ads.example"), ResponseCode::NoError);
    reload(&config("[policy.other]\nclients = ['10.53.1.0/24']"));
    let is_alone = |status: &Value| status["policies"].as_array().unwrap().len() == 2;
    show.filter()
        .wait_for_status("the policy to go", is_alone)
        .unwrap();
    assert_eq!(show.rcode("ads.example"), ResponseCode::NXDomain);

    reload(&config(
        "[policy.other]\nclients = ['10.53.1.0/24']\n[policy.twice]\nclients = ['10.53.1.0/24']\nunfiltered = true",
    ));
    let failed = |status: &Value| status["last_error"].is_string();
    let status = show
        .filter()
        .wait_for_status("the failure", failed)
        .unwrap();
    let error = status["last_error"].as_str().unwrap();
    assert!(
        error.contains("'other'") && error.contains("'twice'"),
        "{error}"
    );
    assert_eq!(status["policies"].as_array().unwrap().len(), 2);
    assert_eq!(show.rcode("ads.example"), ResponseCode::NXDomain);
}

#[test]
fn a_schedule_switches_by_itself() {
    // A span that starts with the next minute.
    let now_s = jiff::Timestamp::now().as_second();
    let minute_ahead = jiff::Timestamp::from_second(now_s - now_s % 60 + 60).unwrap();
    let from = minute_ahead.strftime("%H:%M");
    let to = (minute_ahead + jiff::SignedDuration::from_secs(3600)).strftime("%H:%M");
    let config = format!(
        "[[list]]\npath = 'list.txt'\ncategory = 'social'\n\
         [policy.default]\nblock = []\n[policy.default.schedule]\ntime_zone = 'UTC'\n\
         [[policy.default.schedule.span]]\nfrom = '{from}'\nto = '{to}'\nblock = ['social']\n"
    );
    let show = Show::start("skb", &config, "||social.example^\n");
    let is_before = jiff::Timestamp::now() < minute_ahead;
    if is_before {
        let status = show.filter().status().unwrap();
        let next: jiff::Timestamp =
            serde_json::from_value(status["policies"][0]["next_switch"].clone()).unwrap();
        assert_eq!(next, minute_ahead);
    }
    let end = Instant::now() + Duration::from_secs(65) + SOON;
    while show.rcode("social.example") != ResponseCode::NXDomain {
        assert!(Instant::now() < end, "the schedule did not switch");
        thread::sleep(Duration::from_millis(50));
    }
    let late = jiff::Timestamp::now().duration_since(minute_ahead);
    assert!(!late.is_negative(), "switched {late:#} early");
}

fn assignments(seed: u32) -> Assignments {
    let policy = seed % 7 + 1;
    let prefix = |text: String| Prefix::from(text.parse::<ipnet::IpNet>().unwrap());
    let record = ClientRecord(policy | CLIENT_ANSWERED);
    let mut prefixes: Vec<_> = (0..200)
        .map(|i| {
            (
                prefix(format!("10.{}.{i}.0/{}", seed % 3, 24 + i % 9)),
                record,
            )
        })
        .chain([(prefix(format!("2001:db8:{seed}::/48")), record)])
        .collect();
    prefixes.sort_unstable_by_key(|(prefix, _)| *prefix);
    let mac = |i| mac_key([2, 0, 0, 0, i, seed as u8 % 2]);
    let macs = (0..50).map(|i| (Selector::Mac, mac(i), policy));
    let vlan = |vlan| vlan_key(vlan * (seed as u16 % 3 + 1));
    let vlans = (1..40).map(|number| (Selector::Vlan, vlan(number), policy));
    let destinations = (0..30).map(|i| (Selector::Destination, [i; 16], policy));
    Assignments {
        selected: macs.chain(vlans).chain(destinations).collect(),
        prefixes,
        interfaces: (1..9)
            .map(|index| (index + seed, InterfaceRecord(policy)))
            .collect(),
        resolvers: vec![prefix(format!("192.0.2.{seed}/32"))],
    }
}

#[test]
fn the_maps_of_clients_become_what_is_assigned_and_another_process_finds_that() {
    let mut filter = Filter::load(2).unwrap();
    for seed in [0, 1, 2, 5, 1] {
        let wanted = assignments(seed);
        filter.maps.assign(Arc::new(wanted.clone())).unwrap();
        assert_eq!(*filter.maps.adopt_assignments().unwrap(), wanted, "{seed}");
    }
    filter.maps.assign(Arc::default()).unwrap();
    assert_eq!(
        *filter.maps.adopt_assignments().unwrap(),
        Assignments::default()
    );
}
