//! What the service says of itself on the control socket.

use filter_common::layout::RECORD_BYTES;
use jiff::Timestamp;

use super::{Cause, Service, error_chain};
use crate::{
    control::{ListStatus, PROTOCOL_VERSION, PolicyStats, Response, Stats, Status, Verb},
    fetch::Accounts,
    kernel,
    regime::Request,
};

/// Answers one request.
pub(super) fn answer(service: &mut Service, verb: Verb) -> Response {
    match verb {
        Verb::Reload => {
            service.start_reload(Cause::Asked);
            Response::Status(status(service))
        }
        Verb::Status => Response::Status(status(service)),
        Verb::Stats => match stats(service) {
            Ok(stats) => Response::Stats(stats),
            Err(error) => Response::Error(error_chain(&error)),
        },
        Verb::Overrides(request) => overrides(service, request),
        Verb::Lists => Response::Lists(lists(service)),
        Verb::Update { list } => match service.refresh.find(list.as_deref()) {
            Ok(found) => {
                service.refresh.hurry(&found);
                Response::Lists(lists(service))
            }
            Err(why) => Response::Error(why),
        },
    }
}

fn overrides(service: &mut Service, request: Request) -> Response {
    let Service { side, regime, .. } = service;
    match side.change(|maps| regime.obey(request, maps)) {
        Ok(outcome) => Response::Overrides(outcome),
        Err(error) => Response::Error(error_chain(&error)),
    }
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
        standing: service
            .regime
            .standing(&service.compiled.categories, Timestamp::now()),
    }
}

fn stats(service: &mut Service) -> Result<Stats, kernel::Error> {
    service.book()?;
    let counters = service.side.maps().counters()?;
    let packets = counters.iter();
    let ledger = &service.ledger;
    let policies = ledger.policies.iter();
    Ok(Stats {
        version: PROTOCOL_VERSION,
        generation: service
            .side
            .maps()
            .active()
            .map_or(0, |header| header.generation),
        packets: packets
            .map(|(reason, count)| (reason.name().to_owned(), count))
            .collect(),
        policies: policies
            .map(|(name, &[queries, blocked])| (name.clone(), PolicyStats { queries, blocked }))
            .collect(),
        lists: ledger.lists.clone(),
        categories: ledger.categories.clone(),
    })
}
