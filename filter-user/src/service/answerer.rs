//! What the service says of itself on the control socket.

use std::collections::BTreeMap;

use filter_common::{layout::RECORD_BYTES, reason::Action};

use super::{
    Service, error_chain,
    observe::POLICIES,
    socket::{Asked, Socket},
};
use crate::{
    control::{
        Attachment, ListStatus, PROTOCOL_VERSION, PolicyStats, Response, Stats, Status, Verb,
    },
    kernel::{self, Counters, InUse, Tallies},
    metrics, querylog,
};

/// Answers a client on the control socket.
pub(super) async fn reply(service: &Service, asked: Asked) {
    match asked.for_log() {
        Ok((stream, request)) => {
            let log = service.observer.log.clone();
            tokio::spawn(log.tell(stream, request));
        }
        Err(asked) => Socket::reply(asked, |verb| answer(service, verb)).await,
    }
}

/// Answers a client that reads metrics over HTTP.
pub(super) fn scrape(service: &Service, asked: metrics::Asked) {
    // Without an answer the client hears that there is none now.
    if let Ok(stats) = stats(service) {
        let _ = asked.send(metrics::encode(status(service), stats));
    }
}

fn answer(service: &Service, verb: Verb) -> Response {
    let answered = match verb {
        Verb::Status => Ok(Response::Status(status(service))),
        Verb::Stats => stats(service).map(Response::Stats),
        Verb::Metrics => {
            stats(service).map(|stats| Response::Metrics(metrics::encode(status(service), stats)))
        }
        // Handed to the log before it comes here.
        Verb::Log(_) => Ok(Response::Error(querylog::Error::Off.to_string())),
    };
    answered.unwrap_or_else(|error| Response::Error(error_chain(&error)))
}

fn status(service: &Service) -> Status {
    let header = service.filter.active();
    let names = header.map_or(0, |header| header.name_count);
    let generation_bytes = header.map_or(0, |header| {
        u64::from(header.record_count) * RECORD_BYTES as u64
    });
    Status {
        version: PROTOCOL_VERSION,
        pid: std::process::id(),
        uptime_s: service.started.elapsed().as_secs(),
        interfaces: service
            .filter
            .attachments()
            .map(|(interface, mode)| Attachment {
                interface: interface.to_owned(),
                mode: mode.to_string(),
            })
            .collect(),
        generation: header.map_or(0, |header| header.generation),
        names,
        generation_bytes,
        table_bytes: u64::from(service.filter.capacity()) * RECORD_BYTES as u64,
        bytes_per_name: generation_bytes as f64 / f64::from(names.max(1)),
        lists: service
            .compiled
            .lists
            .iter()
            .zip(&service.observer.modified_at_s)
            .map(|(list, modified_at_s)| ListStatus {
                name: list.name.clone(),
                path: list.path.clone(),
                rules: list.report.rules,
                modified_at_s: *modified_at_s,
            })
            .collect(),
        last_error: service.last_error.clone(),
        reloads: service.observer.reloads,
    }
}

fn stats(service: &Service) -> Result<Stats, kernel::Error> {
    let counters = service.filter.counters()?;
    let tallies = service.filter.tallies(InUse {
        policies: POLICIES.len(),
        lists: service.compiled.lists.len(),
    })?;
    let packets: BTreeMap<String, u64> = counters
        .iter()
        .map(|(reason, count)| (reason.name().to_owned(), count))
        .collect();
    let mut stats = Stats {
        version: PROTOCOL_VERSION,
        generation: service
            .filter
            .active()
            .map_or(0, |header| header.generation),
        packets,
        policies: policies(&counters, &tallies),
        log: service.observer.log.stats(),
        ..Stats::default()
    };
    for (list, count) in service.config.lists.iter().zip(&tallies.lists) {
        *stats.lists.entry(list.name()).or_default() += count;
        if let Some(category) = &list.category {
            *stats.categories.entry(category.clone()).or_default() += count;
        }
    }
    stats.log.lost = counters.events_lost();
    Ok(stats)
}

/// Policies by name. The kernel counts the default one only while there are others: it has the rest.
fn policies(counters: &Counters, tallies: &Tallies) -> BTreeMap<String, PolicyStats> {
    let of_queries = counters.iter().filter(|(reason, _)| reason.is_of_query());
    let mut rest = PolicyStats::default();
    for (reason, count) in of_queries {
        rest.queries += count;
        rest.blocked += match reason.action() {
            Action::Pass => 0,
            Action::Drop | Action::Transmit => count,
        };
    }
    let mut named = BTreeMap::new();
    for (name, &[queries, blocked]) in POLICIES.into_iter().zip(&tallies.policies).skip(1) {
        rest.queries = rest.queries.saturating_sub(queries);
        rest.blocked = rest.blocked.saturating_sub(blocked);
        named.insert(name.to_owned(), PolicyStats { queries, blocked });
    }
    named.insert(POLICIES[0].to_owned(), rest);
    named
}
