//! What a running filter tells of itself as OpenMetrics text.
//!
//! Made anew for every reader from what `status`, `stats` and `lists` say, so that they
//! never contradict each other. [`Listener`] hands it out over HTTP, on loopback only.

mod families;
mod http;

use prometheus_client::{encoding::text, registry::Registry};

pub use self::http::{Asked, Error, Listener};
use crate::{
    control::{Stats, Status},
    fetch::Accounts,
};

/// The media type of the text.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What is told of.
#[derive(Debug)]
struct Snapshot {
    status: Status,
    stats: Stats,
    lists: Accounts,
}

/// All metrics as text.
pub fn encode(status: Status, stats: Stats, lists: Accounts) -> String {
    let mut registry = Registry::with_prefix("nxdp");
    registry.register_collector(Box::new(Snapshot {
        status,
        stats,
        lists,
    }));
    let mut out = String::new();
    // Writing to a string cannot fail.
    let _ = text::encode(&mut out, &registry);
    out
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use filter_kernel::features::{Obstacle, ObstacleKind};

    use super::*;
    use crate::{
        config::LogQueries,
        control::{Attachment, AttachmentState, ListStatus, PolicyStats, Reloads},
        enforcement::{EnforcementStatus, OverridesStatus, PolicyStatus},
        fetch::{LastTry, ListAccount, Outcome},
        querylog::{LogStats, TapStats},
    };

    fn text() -> String {
        let status = Status {
            uptime_s: 60,
            interfaces: vec![Attachment {
                interface: "lan0".to_owned(),
                mode: "native".to_owned(),
                state: AttachmentState::Attached,
                obstacles: vec![Obstacle {
                    interface: "lan0".to_owned(),
                    kind: ObstacleKind::Merging,
                    says: "words".to_owned(),
                    remedy: None,
                }],
                ..Attachment::default()
            }],
            generation: 7,
            names: 1000,
            table_bytes: 4096,
            wanted_table_bytes: Some(1 << 20),
            overrides_error: Some("permission denied".to_owned()),
            lists: vec![ListStatus {
                name: "odd \"list\"".to_owned(),
                path: "ads.txt".into(),
                rules: 3,
            }],
            reloads: Reloads {
                done: 2,
                failed: 1,
                done_at_s: 1_700_000_001,
            },
            enforcement: EnforcementStatus {
                policies: vec![PolicyStatus {
                    name: "kids".to_owned(),
                    paused_until: Some(jiff::Timestamp::MAX),
                    ..PolicyStatus::default()
                }],
                overrides: OverridesStatus {
                    count: 3,
                    records: 5,
                    next_end: None,
                },
            },
            ..Status::default()
        };
        let stats = Stats {
            packets: [("answer_nxdomain".to_owned(), 5)].into(),
            policies: [(
                "kids".to_owned(),
                PolicyStats {
                    queries: 9,
                    blocked: 4,
                },
            )]
            .into(),
            lists: [("odd \"list\"".to_owned(), 4)].into(),
            categories: [("ads".to_owned(), 4)].into(),
            log: LogStats {
                queries: LogQueries::All,
                sample: 1,
                told: 9,
                lost: 2,
                dnstap: vec![TapStats {
                    target: "/run/tap".to_owned(),
                    written: 6,
                    lost: 3,
                    open: true,
                }],
            },
            ..Stats::default()
        };
        let lists = Accounts {
            lists: vec![ListAccount {
                name: "odd \"list\"".to_owned(),
                rules: Some(3),
                fetched_s: Some(1_700_000_000),
                checked_s: Some(1_700_000_002),
                last_try: Some(LastTry {
                    at_s: 1_700_000_003,
                    outcome: Outcome::Failed,
                    why: None,
                }),
                ..ListAccount::default()
            }],
            refresh_stopped: Some("permission denied".to_owned()),
            ..Accounts::default()
        };
        encode(status, stats, lists)
    }

    #[test]
    fn the_text_says_what_status_and_stats_say() {
        let text = text();
        for line in [
            "nxdp_packets_total{reason=\"answer_nxdomain\",action=\"answer\"} 5",
            "nxdp_policy_queries_total{policy=\"kids\"} 9",
            "nxdp_policy_blocked_total{policy=\"kids\"} 4",
            "nxdp_policy_paused{policy=\"kids\"} 1",
            "nxdp_overrides 3",
            "nxdp_override_records 5",
            "nxdp_list_blocked_total{list=\"odd \\\"list\\\"\"} 4",
            "nxdp_list_rules{list=\"odd \\\"list\\\"\"} 3",
            "nxdp_list_modified_timestamp_seconds{list=\"odd \\\"list\\\"\"} 1700000000",
            "nxdp_list_checked_timestamp_seconds{list=\"odd \\\"list\\\"\"} 1700000002",
            "nxdp_list_last_fetch_failed{list=\"odd \\\"list\\\"\"} 1",
            "nxdp_category_blocked_total{category=\"ads\"} 4",
            "nxdp_interface_attached{interface=\"lan0\",mode=\"native\"} 1",
            "nxdp_interface_obstacle{interface=\"lan0\",kind=\"merging\"} 1",
            "nxdp_client_networks 0",
            "nxdp_reloads_total{result=\"failed\"} 1",
            "nxdp_log_lost_total 2",
            "nxdp_dnstap_lost_total{target=\"/run/tap\"} 3",
            "nxdp_generation 7",
            "nxdp_table_bytes 4096",
            "nxdp_table_wanted_bytes 1048576",
            "nxdp_refresh_stopped 1",
            "nxdp_overrides_unreadable 1",
        ] {
            assert!(
                text.lines().any(|known| known == line),
                "no {line} in\n{text}"
            );
        }
        assert!(text.ends_with("# EOF\n"));
    }

    /// The names of the samples, and what OpenMetrics §5.1 asks of the text around them.
    #[test]
    fn every_sample_stands_below_the_type_of_its_family_and_counters_end_in_total() {
        let text = text();
        let mut families = BTreeSet::new();
        let mut family = ("", "");
        for line in text.lines().filter(|line| *line != "# EOF") {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                family = rest.split_once(' ').unwrap();
                assert!(families.insert(family.0), "{} comes twice", family.0);
            } else if !line.starts_with('#') {
                let name = line.split(['{', ' ']).next().unwrap();
                let wanted = match family.1 {
                    "counter" => format!("{}_total", family.0),
                    "info" => format!("{}_info", family.0),
                    _ => family.0.to_owned(),
                };
                assert_eq!(name, wanted, "{line}");
            }
        }
    }

    /// Names of metrics in a text: `nxdp_` and what follows.
    fn named(text: &str) -> BTreeSet<&str> {
        let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
        text.match_indices("nxdp_")
            .filter(|(at, _)| !text[..*at].ends_with(is_part))
            .map(|(at, _)| {
                let rest = &text[at..];
                &rest[..rest.find(|c| !is_part(c)).unwrap_or(rest.len())]
            })
            .collect()
    }

    #[test]
    fn dashboard_and_alert_rules_use_metrics_that_exist() {
        let text = text();
        let known = named(&text);
        for file in [
            include_str!("../../../packaging/grafana/nxdp.json"),
            include_str!("../../../packaging/prometheus/nxdp.rules.yml"),
        ] {
            let used = named(file);
            assert!(used.len() > 5);
            let unknown: Vec<_> = used.difference(&known).collect();
            assert!(unknown.is_empty(), "{unknown:?}");
        }
    }

    #[test]
    fn the_documentation_names_every_metric() {
        let text = text();
        let documented = named(include_str!("../../../docs/operate.md"));
        let samples = text.lines().filter(|line| !line.starts_with('#'));
        for sample in samples {
            let name = sample.split(['{', ' ']).next().unwrap();
            assert!(documented.contains(name), "{name}");
        }
    }
}
