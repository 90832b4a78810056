//! What it costs to find the client's policy and the operator's overrides.
//!
//! The same clean query runs through filters that differ in one thing; each figure
//! is what that one thing adds to the filter with one policy, in the same round.

use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use filter_common::{
    address::mapped,
    layout::{
        CLIENT_ANSWERED, CLIENT_PREFIX_MAX, CONTROL_OVERRIDES, ClientRecord, DECISION_BLOCK,
        Decision, OVERRIDE_MAX, POLICY_UNFILTERED, PolicyRecord,
    },
    overrides::ClientKey,
    selector::{MAC_MAX, Selector, mac_key},
};
use filter_kernel::{Assignments, Filter, Prefix, Selected};
use filter_lists::{image::Image, list};
use filter_user::overrides::{Entry, OverrideScope, Tree};
use nxdp_lab::{cases::Message, lab::CLIENT_MAC};

use crate::{
    packet::{image, query},
    programs::{Rounds, object},
    sample::Sample,
};

const CLEAN: &str = "www.not-in-any-list.com";
const XDP_PASS: u32 = 2;
/// Number of the policy that clients get.
const POLICY: u32 = 1;

/// Flags of the part.
#[derive(Args, Clone, Debug)]
pub(crate) struct Arguments {
    /// Names in the table
    #[arg(long, default_value_t = 1_000_000)]
    names: u32,
    #[command(flatten)]
    rounds: Rounds,
}

/// A filter that differs from the plain one.
struct Variant {
    name: &'static str,
    filter: Filter,
    costs: Sample,
}

/// Measures and prints.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let image = image(arguments.names)?;
    let mut floor = Filter::load_from(&object("bench.bpf.o")?, "floor", 1)?;
    let mut plain = load(&image)?;
    let mut variants = [
        Variant::new("prefixes_1m_added", &image, assign_prefixes)?,
        Variant::new("macs_100k_added", &image, assign_macs)?,
        Variant::new("macs_100k_and_prefixes_1m_added", &image, assign_both)?,
        Variant::new("overrides_64k_elsewhere_added", &image, |filter| {
            override_names(filter, "net")
        })?,
        Variant::new("overrides_64k_same_tld_added", &image, |filter| {
            override_names(filter, "com")
        })?,
        Variant::new("unfiltered_added", &image, unfilter)?,
    ];
    let frame = query(&Message::new(CLEAN));
    let mut clean = Sample::default();
    for _ in 0..arguments.rounds.rounds {
        let floor = run_once(&mut floor, &frame, arguments)?;
        let base = run_once(&mut plain, &frame, arguments)?;
        clean.push(base - floor);
        for variant in &mut variants {
            let cost = run_once(&mut variant.filter, &frame, arguments)?;
            variant.costs.push(cost - base);
        }
    }
    clean.print("clean", "ns");
    for variant in &variants {
        variant.costs.print(variant.name, "ns");
    }
    Ok(())
}

impl Variant {
    fn new(
        name: &'static str,
        image: &Image,
        change: impl FnOnce(&mut Filter) -> Result<()>,
    ) -> Result<Self> {
        let mut filter = load(image)?;
        change(&mut filter).with_context(|| format!("prepare {name}"))?;
        Ok(Self {
            name,
            filter,
            costs: Sample::default(),
        })
    }
}

fn load(image: &Image) -> Result<Filter> {
    let capacity = u32::try_from(image.records().len() + 1)?;
    let mut filter = Filter::load_from(&object("nxdp.bpf.o")?, "nxdp", capacity)
        .context("load the filter (needs root)")?;
    filter.maps.activate(image.records(), |_| true)?;
    let block_all = PolicyRecord {
        categories: u64::MAX,
        ..PolicyRecord::default()
    };
    filter.maps.put_policy(POLICY, &block_all)?;
    Ok(filter)
}

fn run_once(filter: &mut Filter, frame: &[u8], arguments: &Arguments) -> Result<f64> {
    let outcome = filter.test_run(frame, arguments.rounds.repeat)?;
    ensure!(outcome.action == XDP_PASS, "the frame does not pass");
    Ok(outcome.duration_ns as f64)
}

/// A million single addresses all over 10.0.0.0/8, the frame's own among them.
fn prefixes() -> Vec<(Prefix, ClientRecord)> {
    let record = ClientRecord(POLICY | CLIENT_ANSWERED);
    let step = (1 << 24) / CLIENT_PREFIX_MAX;
    let addresses = (0..CLIENT_PREFIX_MAX).map(|number| number * step + 2);
    let prefix = |number: u32| {
        let [_, b, c, d] = number.to_be_bytes();
        Prefix {
            address: mapped([10, b, c, d]),
            len: 128,
        }
    };
    addresses.map(|number| (prefix(number), record)).collect()
}

fn macs() -> Selected {
    let others = (0..MAC_MAX - 1).map(|number| {
        let [a, b, c, d] = number.wrapping_mul(2_654_435_761).to_be_bytes();
        [2, 1, a, b, c, d]
    });
    let all = others.chain([CLIENT_MAC]);
    all.map(|mac| (Selector::Mac, mac_key(mac), POLICY))
        .collect()
}

fn assign_prefixes(filter: &mut Filter) -> Result<()> {
    let assignments = Assignments {
        prefixes: prefixes(),
        ..Assignments::default()
    };
    Ok(filter.maps.assign(Arc::new(assignments))?)
}

fn assign_macs(filter: &mut Filter) -> Result<()> {
    let assignments = Assignments {
        selected: macs(),
        ..Assignments::default()
    };
    Ok(filter.maps.assign(Arc::new(assignments))?)
}

/// Of MAC addresses none of which is the frame's, so that the source address decides.
fn assign_both(filter: &mut Filter) -> Result<()> {
    let mut macs = macs();
    macs.remove(Selector::Mac, mac_key(CLIENT_MAC));
    let assignments = Assignments {
        selected: macs,
        prefixes: prefixes(),
        ..Assignments::default()
    };
    Ok(filter.maps.assign(Arc::new(assignments))?)
}

fn override_names(filter: &mut Filter, tld: &str) -> Result<()> {
    let mut tree = Tree::new(filter.maps.key());
    let mut entries = Vec::new();
    for id in 1..=OVERRIDE_MAX {
        let name = list::name(&format!("www{id}.site{}.{tld}", id % 20_000));
        entries.push(Entry {
            name: (&name.map_err(anyhow::Error::msg)?).into(),
            scope: OverrideScope::Suffix,
            client_key: ClientKey::EVERYBODY,
            decision: Decision {
                id,
                action: DECISION_BLOCK,
                ..Decision::default()
            },
        });
    }
    tree.change(&[], &entries);
    for (key, record) in tree.records() {
        filter.maps.put_override(key, Some(&record))?;
    }
    filter.maps.put_flags(CONTROL_OVERRIDES, CONTROL_OVERRIDES);
    Ok(())
}

fn unfilter(filter: &mut Filter) -> Result<()> {
    let unfiltered = PolicyRecord {
        flags: POLICY_UNFILTERED,
        ..PolicyRecord::default()
    };
    Ok(filter.maps.put_policy(0, &unfiltered)?)
}
