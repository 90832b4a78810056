//! What the service says of itself on the control socket.

use std::collections::BTreeMap;

use filter_common::{layout::RECORD_BYTES, reason::Action};

use super::{
    Cause, Service, error_chain,
    observe::POLICIES,
    socket::{Asked, Socket},
};
use crate::{
    control::{ListStatus, PROTOCOL_VERSION, PolicyStats, Response, Stats, Status, Verb},
    fetch::Accounts,
    kernel::{self, Counters, InUse, Tallies},
    metrics, querylog,
};

/// Answers a client on the control socket.
pub(super) async fn reply(service: &mut Service, asked: Asked) {
    match asked.for_log() {
        Ok((stream, request)) => {
            let log = service.observer.log.clone();
            tokio::spawn(log.tell(stream, request));
        }
        Err(asked) => Socket::reply(asked, |verb| answer(service, verb)).await,
    }
}

/// Answers a client that reads metrics over HTTP.
pub(super) fn scrape(service: &mut Service, asked: metrics::Asked) {
    // Without an answer the client hears that there is none now.
    if let Ok(text) = metrics(service) {
        // It may have left.
        let _ = asked.send(text);
    }
}

fn answer(service: &mut Service, verb: Verb) -> Response {
    let answered = match verb {
        Verb::Reload => {
            service.start_reload(Cause::Asked);
            Ok(Response::Status(status(service)))
        }
        Verb::Status => Ok(Response::Status(status(service))),
        Verb::Stats => stats(service).map(Response::Stats),
        Verb::Metrics => metrics(service).map(Response::Metrics),
        // Handed to the log before it comes here.
        Verb::Log(_) => Ok(Response::Error(querylog::Error::Off.to_string())),
        Verb::Lists => Ok(Response::Lists(lists(service))),
        Verb::Update { list } => Ok(update(service, list.as_deref())),
    };
    answered.unwrap_or_else(|error| Response::Error(error_chain(&error)))
}

fn update(service: &mut Service, list: Option<&str>) -> Response {
    match service.refresh.find(list) {
        Ok(found) => {
            service.refresh.hurry(&found);
            Response::Lists(lists(service))
        }
        Err(why) => Response::Error(why),
    }
}

fn metrics(service: &mut Service) -> Result<String, kernel::Error> {
    let stats = stats(service)?;
    Ok(metrics::encode(status(service), stats, lists(service)))
}

fn lists(service: &Service) -> Accounts {
    let outcomes = &service.compiled.lists;
    service.refresh.accounts(&service.config, outcomes, true)
}

fn status(service: &Service) -> Status {
    let header = service.side.maps().active();
    let names = header.map_or(0, |header| header.name_count);
    let generation_bytes = header.map_or(0, |header| {
        u64::from(header.record_count) * RECORD_BYTES as u64
    });
    Status {
        version: PROTOCOL_VERSION,
        pid: std::process::id(),
        uptime_s: service.started.elapsed().as_secs(),
        interfaces: service.interfaces.attachments(),
        generation: header.map_or(0, |header| header.generation),
        names,
        generation_bytes,
        table_bytes: u64::from(service.side.maps().capacity()) * RECORD_BYTES as u64,
        bytes_per_name: generation_bytes as f64 / f64::from(names.max(1)),
        lists: service
            .compiled
            .lists
            .iter()
            .map(|list| ListStatus {
                name: list.name.clone(),
                path: list.path.clone(),
                rules: list.report.rules,
            })
            .collect(),
        last_error: service.last_error.clone(),
        reloads: service.observer.reloads,
    }
}

fn stats(service: &mut Service) -> Result<Stats, kernel::Error> {
    service.observer.count(&service.side)?;
    let maps = service.side.maps();
    let counters = maps.counters()?;
    let tallies = maps.tallies(InUse {
        policies: POLICIES.len(),
        lists: 0,
    })?;
    let packets: BTreeMap<String, u64> = counters
        .iter()
        .map(|(reason, count)| (reason.name().to_owned(), count))
        .collect();
    service.observer.log.note_lost(counters.events_lost());
    Ok(Stats {
        version: PROTOCOL_VERSION,
        generation: maps.active().map_or(0, |header| header.generation),
        packets,
        policies: policies(&counters, &tallies),
        lists: service.observer.lists.by_list().clone(),
        categories: service.observer.lists.by_category().clone(),
        log: service.observer.log.stats(),
    })
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
