//! Each metric with its name, its help and where its values come from.

use std::{collections::BTreeMap, fmt};

use filter_common::reason::{Action, Reason};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{counter::ConstCounter, gauge::ConstGauge},
};

use super::Snapshot;
use crate::{
    control::AttachmentState,
    fetch::{ListAccount, Outcome},
};

/// The labels of one sample.
type Labels<'a> = Vec<(&'static str, &'a str)>;

impl Collector for Snapshot {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut families = Families(encoder);
        self.packets(&mut families)?;
        self.policies(&mut families)?;
        self.lists(&mut families)?;
        self.table(&mut families)?;
        self.log(&mut families)?;
        self.process(&mut families)
    }
}

impl Snapshot {
    fn packets(&self, families: &mut Families<'_>) -> fmt::Result {
        let packets = Reason::ALL.iter().filter_map(|reason| {
            let count = *self.stats.packets.get(reason.name())?;
            let labels = vec![("reason", reason.name()), ("action", action(*reason))];
            Some((labels, count))
        });
        let help = "Packets by what became of them and why";
        families.counters("packets", help, packets)?;
        let interfaces = self.status.interfaces.iter().map(|attachment| {
            let labels = vec![
                ("interface", attachment.interface.as_str()),
                ("mode", attachment.mode.as_str()),
            ];
            let is_attached = attachment.state == AttachmentState::Attached;
            (labels, is_attached.into())
        });
        let help = "1 for each interface that is filtered, 0 for one that should be";
        families.gauges("interface_attached", help, interfaces)?;
        let obstacles = self.status.interfaces.iter().flat_map(|attachment| {
            attachment.obstacles.iter().map(|obstacle| {
                let labels = vec![
                    ("interface", attachment.interface.as_str()),
                    ("kind", obstacle.kind.name()),
                ];
                (labels, 1)
            })
        });
        let help = "1 for each thing that keeps an interface from being filtered as configured";
        families.gauges("interface_obstacle", help, obstacles)?;
        let help = "Networks behind the filtered interfaces, whose addresses count as clients";
        let networks = self.status.clients.on_link.len() as u64;
        families.gauge("client_networks", help, networks)
    }

    fn policies(&self, families: &mut Families<'_>) -> fmt::Result {
        let policies = || {
            let policies = self.stats.policies.iter();
            policies.map(|(name, policy)| (vec![("policy", name.as_str())], policy))
        };
        families.counters(
            "policy_queries",
            "Queries that were judged, by the policy of the client",
            policies().map(|(labels, policy)| (labels, policy.queries)),
        )?;
        families.counters(
            "policy_blocked",
            "Queries that were answered or dropped, by the policy of the client",
            policies().map(|(labels, policy)| (labels, policy.blocked)),
        )?;
        let enforcement = &self.status.enforcement;
        let paused = enforcement.policies.iter().map(|policy| {
            let is_paused = policy.paused_until.is_some();
            (vec![("policy", policy.name.as_str())], is_paused.into())
        });
        let help = "1 for each policy that is paused: its clients are not filtered";
        families.gauges("policy_paused", help, paused)?;
        let help = "Overrides and pauses in force";
        families.gauge("overrides", help, enforcement.overrides.count as u64)?;
        let help = "1 if overrides cannot be read, and so not be changed";
        let is_unreadable = self.status.overrides_error.is_some();
        families.gauge("overrides_unreadable", help, is_unreadable.into())?;
        let help = "Records that the kernel holds for overrides";
        families.gauge(
            "override_records",
            help,
            enforcement.overrides.records as u64,
        )?;
        families.counters(
            "category_blocked",
            "Queries that a rule blocks, or would block where it only observes, by the category of its list",
            self.stats
                .categories
                .iter()
                .map(|(name, count)| (vec![("category", name.as_str())], *count)),
        )
    }

    fn lists(&self, families: &mut Families<'_>) -> fmt::Result {
        let label = |name| vec![("list", name)];
        let blocked = self.stats.lists.iter();
        families.counters(
            "list_blocked",
            "Queries that a rule blocks, or would block where it only observes, by its list",
            blocked.map(|(name, count)| (label(name.as_str()), *count)),
        )?;
        let rules = self.lists.lists.iter();
        let rules = rules.filter_map(|list| Some((list.name.as_str(), list.rules?)));
        families.gauges(
            "list_rules",
            "Rules that were read from each list of the active generation",
            merged(rules, u64::saturating_add),
        )?;
        self.ages(families)
    }

    /// How old the lists are: of lists that share a name, the oldest is told of.
    fn ages(&self, families: &mut Families<'_>) -> fmt::Result {
        let each = |value: fn(&ListAccount) -> Option<u64>| {
            let lists = self.lists.lists.iter();
            lists.filter_map(move |list| Some((list.name.as_str(), value(list)?)))
        };
        families.gauges(
            "list_modified_timestamp_seconds",
            "When the file of each list, or the copy of it, was written, in seconds of the UNIX epoch",
            merged(each(|list| list.fetched_s), u64::min),
        )?;
        families.gauges(
            "list_checked_timestamp_seconds",
            "When the server of each list said last that it has no other, in seconds of the UNIX epoch",
            merged(each(|list| list.checked_s), u64::min),
        )?;
        let is_failed = |list: &ListAccount| {
            let outcome = list.last_try.as_ref()?.outcome;
            Some(matches!(outcome, Outcome::Failed | Outcome::Refused).into())
        };
        families.gauges(
            "list_last_fetch_failed",
            "1 if the last try to fetch the list brought nothing that can be used",
            merged(each(is_failed), u64::max),
        )?;
        let has_url = |list: &ListAccount| list.next_refresh_s.is_some();
        let stopped = &self.lists.refresh_stopped;
        let is_told = stopped.is_some() || self.lists.lists.iter().any(has_url);
        if !is_told {
            return Ok(());
        }
        let help = "1 if lists with an address are not fetched any more at all";
        families.gauge("refresh_stopped", help, stopped.is_some().into())
    }

    fn table(&self, families: &mut Families<'_>) -> fmt::Result {
        let status = &self.status;
        let help = "Number of the active generation";
        families.gauge("generation", help, status.generation.into())?;
        let help = "Distinct names with a rule in the active generation";
        families.gauge("names", help, status.names.into())?;
        let help = "Kernel memory of the active generation";
        families.gauge("generation_bytes", help, status.generation_bytes)?;
        let help = "Kernel memory of the table, with room for the next generation";
        families.gauge("table_bytes", help, status.table_bytes)?;
        let reloads = &status.reloads;
        let results = [("done", reloads.done), ("failed", reloads.failed)];
        families.counters(
            "reloads",
            "Reloads by what became of them; a failed one leaves the lists before it in force",
            results.map(|(result, count)| (vec![("result", result)], count)),
        )?;
        let help = "1 if the last reload failed";
        let is_failed = u64::from(status.last_error.is_some());
        families.gauge("last_reload_failed", help, is_failed)?;
        if let Some(bytes) = status.wanted_table_bytes {
            let help = "Kernel memory of a table in which there would be room for the lists";
            families.gauge("table_wanted_bytes", help, bytes)?;
        }
        let loaded = (reloads.done_at_s > 0).then_some((Vec::new(), reloads.done_at_s));
        let help = "When this process made a generation active last, in seconds of the UNIX epoch";
        families.gauges("generation_loaded_timestamp_seconds", help, loaded)
    }

    fn log(&self, families: &mut Families<'_>) -> fmt::Result {
        let log = &self.stats.log;
        let help = "Queries that the query log told of";
        families.counter("log_queries", help, log.told)?;
        let help = "Queries that are missing in the query log, because its ring was full";
        families.counter("log_lost", help, log.lost)?;
        let labels = |target| vec![("target", target)];
        let taps = || {
            log.dnstap
                .iter()
                .map(|tap| (tap, labels(tap.target.as_str())))
        };
        families.counters(
            "dnstap_frames",
            "Queries that were written as dnstap",
            taps().map(|(tap, labels)| (labels, tap.written)),
        )?;
        families.counters(
            "dnstap_lost",
            "Queries that are missing in dnstap, because it was not read or written in time",
            taps().map(|(tap, labels)| (labels, tap.lost)),
        )?;
        families.gauges(
            "dnstap_open",
            "1 if the dnstap file is open or the socket connected",
            taps().map(|(tap, labels)| (labels, tap.open.into())),
        )
    }

    fn process(&self, families: &mut Families<'_>) -> fmt::Result {
        let help = "Seconds since the start";
        families.gauge("uptime_seconds", help, self.status.uptime_s)?;
        let help = "1, with the version that runs";
        let labels = vec![("version", env!("CARGO_PKG_VERSION"))];
        families.gauges("build_info", help, [(labels, 1)])
    }
}

fn action(reason: Reason) -> &'static str {
    match reason.action() {
        Action::Pass => "pass",
        Action::Drop => "drop",
        Action::Transmit => "answer",
    }
}

/// One value for each name: lists may share one, samples may not.
fn merged<'a>(
    values: impl Iterator<Item = (&'a str, u64)>,
    merge: fn(u64, u64) -> u64,
) -> impl Iterator<Item = (Labels<'a>, u64)> {
    let mut by_name = BTreeMap::new();
    for (name, value) in values {
        by_name
            .entry(name)
            .and_modify(|merged| *merged = merge(*merged, value))
            .or_insert(value);
    }
    let samples = by_name.into_iter();
    samples.map(|(name, value)| (vec![("list", name)], value))
}

/// Writes families one after the other.
struct Families<'a>(DescriptorEncoder<'a>);

impl Families<'_> {
    fn counter(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        self.single(name, help, &ConstCounter::new(value))
    }

    fn gauge(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        self.single(name, help, &ConstGauge::new(value))
    }

    fn counters<'l>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (Labels<'l>, u64)>,
    ) -> fmt::Result {
        let samples = samples.into_iter();
        let samples = samples.map(|(labels, value)| (labels, ConstCounter::new(value)));
        self.family(name, help, samples)
    }

    fn gauges<'l>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (Labels<'l>, u64)>,
    ) -> fmt::Result {
        let samples = samples.into_iter();
        let samples = samples.map(|(labels, value)| (labels, ConstGauge::new(value)));
        self.family(name, help, samples)
    }

    fn single(&mut self, name: &str, help: &str, metric: &impl EncodeMetric) -> fmt::Result {
        let kind = metric.metric_type();
        metric.encode(self.0.encode_descriptor(name, help, None, kind)?)
    }

    /// A family without samples is left out.
    fn family<'l, M: EncodeMetric>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl Iterator<Item = (Labels<'l>, M)>,
    ) -> fmt::Result {
        let mut samples = samples.peekable();
        let Some((_, first)) = samples.peek() else {
            return Ok(());
        };
        let kind = first.metric_type();
        let mut encoder = self.0.encode_descriptor(name, help, None, kind)?;
        for (labels, metric) in samples {
            metric.encode(encoder.encode_family(&labels)?)?;
        }
        Ok(())
    }
}
