//! What the service says of itself on the control socket.

use std::time::Instant;

use filter_common::layout::RECORD_BYTES;
use jiff::Timestamp;

use super::{
    Cause, Service, Wish, clients, error_chain,
    socket::{Asked, Socket},
};
use crate::{
    config::LogQueries,
    control::{ListStatus, PROTOCOL_VERSION, PolicyStats, Response, Stats, Status, Verb},
    enforcement::{Outcome, Request},
    fetch::Accounts,
    metrics,
    querylog::{self, LogHeader},
};

/// Answers a client on the control socket.
pub(super) fn reply(service: &mut Service, asked: Asked) {
    match asked.for_log() {
        Ok((stream, request)) => {
            let log = service.observer.log.clone();
            tokio::spawn(log.tell(stream, request, opening));
        }
        Err(asked) if asked.waits_for_reload() => {
            let is_busy = service.reload.is_some();
            service.waiting.add(asked, is_busy);
            service.start_reload(Cause::Asked);
        }
        Err(asked) => Socket::reply(asked, |verb, accepted| answer(service, verb, accepted)),
    }
}

fn opening(header: Result<LogHeader, querylog::Error>) -> Response {
    match header {
        Ok(header) => Response::Log(header),
        Err(error) => Response::Error(error.to_string()),
    }
}

/// Tells those who waited for a reload what became of it.
pub(super) fn reloaded(service: &mut Service, outcome: Result<(), String>) {
    let response = match outcome {
        Ok(()) => Response::Status(status(service)),
        Err(why) => Response::Error(why),
    };
    for asked in service.waiting.done() {
        Socket::reply(asked, |_, _| response.clone());
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

fn answer(service: &mut Service, verb: Verb, accepted: Instant) -> Response {
    let answered = match verb {
        // Who waits is answered by `reloaded`.
        Verb::Reload | Verb::ReloadAndWait => {
            service.start_reload(Cause::Asked);
            Ok(Response::Status(status(service)))
        }
        Verb::Status => Ok(Response::Status(status(service))),
        Verb::Stats => stats(service).map(Response::Stats),
        Verb::Logging(queries) => return logging(service, queries),
        Verb::Metrics => metrics(service).map(Response::Metrics),
        // Handed to the log before it comes here.
        Verb::Log(_) => Ok(Response::Error(querylog::Error::Off.to_string())),
        Verb::Overrides(request) => overrides(service, request, accepted),
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

fn logging(service: &mut Service, queries: LogQueries) -> Response {
    let switched = service.observer.switch(&mut service.kernel, queries);
    match switched.and_then(|()| Ok(stats(service)?)) {
        Ok(stats) => Response::Stats(stats),
        Err(error) => Response::Error(error_chain(&error)),
    }
}

fn metrics(service: &mut Service) -> Result<String, filter_kernel::Error> {
    let stats = stats(service)?;
    Ok(metrics::encode(status(service), stats, lists(service)))
}

fn overrides(
    service: &mut Service,
    request: Request,
    accepted: Instant,
) -> Result<Response, filter_kernel::Error> {
    let Service {
        kernel,
        enforcement,
        ..
    } = service;
    let waited = accepted.elapsed();
    match kernel.change(|maps| enforcement.apply(request, maps)) {
        Ok(outcome) => Ok(Response::Overrides(Outcome {
            took: outcome.took.map(|took| took.after(waited)),
            ..outcome
        })),
        Err(error) => Ok(Response::Error(error_chain(&error))),
    }
}

fn lists(service: &Service) -> Accounts {
    let outcomes: Vec<_> = service.compiled.all_lists().collect();
    service.refresh.accounts(&service.config, &outcomes, true)
}

fn status(service: &Service) -> Status {
    let header = service.kernel.maps().active();
    let names = header.map_or(0, |header| header.name_count);
    let generation_bytes = header.map_or(0, |header| {
        u64::from(header.record_count) * RECORD_BYTES as u64
    });
    Status {
        version: PROTOCOL_VERSION,
        pid: std::process::id(),
        uptime_s: service.started.elapsed().as_secs(),
        interfaces: service.interfaces.attachments(),
        clients: clients::status(&service.config, &service.near, &service.strangers),
        generation: header.map_or(0, |header| header.generation),
        names,
        generation_bytes,
        table_bytes: u64::from(service.kernel.maps().capacity()) * RECORD_BYTES as u64,
        bytes_per_name: generation_bytes as f64 / f64::from(names.max(1)),
        lists: service.compiled.lists.iter().map(ListStatus::of).collect(),
        custom: service.custom_status(),
        last_error: service.last_error.clone(),
        reloads: service.observer.reloads,
        program: service.kernel.program(),
        wanted_table_bytes: service.wish.as_ref().map(Wish::bytes),
        refresh_stopped: service.refresh.why_stopped().map(str::to_owned),
        overrides_error: service.enforcement.seal().map(str::to_owned),
        enforcement: service
            .enforcement
            .status(&service.compiled.categories, Timestamp::now()),
    }
}

fn stats(service: &mut Service) -> Result<Stats, filter_kernel::Error> {
    service.record_counts()?;
    let counters = service.kernel.maps().counters()?;
    service.observer.log.note_lost(counters.events_lost());
    let packets = counters.iter();
    let named_counters = &service.named_counters;
    let policies = named_counters.policies.iter();
    Ok(Stats {
        version: PROTOCOL_VERSION,
        generation: service
            .kernel
            .maps()
            .active()
            .map_or(0, |header| header.generation),
        packets: packets
            .map(|(reason, count)| (reason.name().to_owned(), count))
            .collect(),
        policies: policies
            .map(|(name, &[queries, blocked])| (name.clone(), PolicyStats { queries, blocked }))
            .collect(),
        lists: named_counters.lists.clone(),
        categories: named_counters.categories.clone(),
        log: service.observer.log.stats(),
    })
}
