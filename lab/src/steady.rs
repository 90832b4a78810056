//! A steady load of queries whose right answers are known.
//!
//! Each client has one query under way: what is lost or wrong is told query by query.

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use anyhow::Result;
use hickory_proto::{
    op::ResponseCode,
    rr::{RData, RecordType},
};

use crate::{
    lab::{self, Lab},
    query::{Query, QueryError, Reply},
    responder::ipv4_of,
};

/// How long a query may take before it is lost, as for resolv.conf(5): what is lost never comes, and
/// a responder that gets no processor time for a while loses nothing.
const PATIENCE: Duration = Duration::from_secs(5);
/// QueryClients for each address family.
const CLIENTS: usize = 2;
/// Queries that are asked twice where the lab stands still twice: each client has one under way.
///
/// Short of memory, a kernel drops frames on veth (its allocations there do not wait). Whatever
/// happens again and again and loses something each time is far above this.
pub const REPEATED_MAX: u64 = 4 * CLIENTS as u64;
/// Wrong answers that are told in words.
const EXAMPLES_MAX: usize = 5;

/// What became of the queries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Queries that were sent.
    pub sent: u64,
    /// Those that had to be asked twice: a datagram was lost on the way.
    pub repeated: u64,
    /// Those without an answer, asked twice.
    pub lost: u64,
    /// Those with a wrong answer: a blocked name let through, or another one not.
    pub wrong: u64,
    /// Some of the lost and wrong ones in words.
    pub examples: BTreeSet<String>,
}

impl Tally {
    fn add(&mut self, other: Self) {
        self.sent += other.sent;
        self.repeated += other.repeated;
        self.lost += other.lost;
        self.wrong += other.wrong;
        let room = EXAMPLES_MAX.saturating_sub(self.examples.len());
        self.examples.extend(other.examples.into_iter().take(room));
    }

    fn note(&mut self, what: String) {
        if self.examples.len() < EXAMPLES_MAX {
            self.examples.insert(what);
        }
    }
}

/// Names to ask for.
#[derive(Clone, Debug)]
pub struct Names {
    /// Those that are blocked all the time.
    pub blocked: Vec<String>,
    /// Those that never are.
    pub clean: Vec<String>,
}

/// Does `work` while the lab's client asks without a pause, and tells what it got.
///
/// # Panics
/// When `work` does, after the clients have ended.
pub fn while_asking<T>(lab: &Lab, names: &Names, work: impl FnOnce() -> T) -> Result<(T, Tally)> {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .flat_map(|number| lab::DNS_SERVERS.map(|(_, server)| (number, server)))
            .map(|(number, server)| {
                let stop = &stop;
                scope.spawn(move || lab.client().run(|| ask(names, server, number, stop)))
            })
            .collect();
        // A panic in here must end the clients, or the scope would wait for ever.
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        stop.store(true, Ordering::Relaxed);
        let mut tally = Tally::default();
        for client in clients {
            match client.join() {
                Ok(seen) => tally.add(seen?),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        match done {
            Ok(done) => Ok((done, tally)),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

fn ask(names: &Names, server: SocketAddr, first: usize, stop: &AtomicBool) -> Tally {
    let mut tally = Tally::default();
    let mut at = first;
    while !stop.load(Ordering::Relaxed) {
        at += 1;
        let is_blocked = !at.is_multiple_of(4);
        let of_kind = if is_blocked {
            &names.blocked
        } else {
            &names.clean
        };
        let name = &of_kind[at % of_kind.len()];
        tally.sent += 1;
        let first = judge(name, is_blocked, server);
        tally.repeated += u64::from(first.is_err());
        match first.or_else(|_| judge(name, is_blocked, server)) {
            Ok(None) => {}
            Ok(Some(wrong)) => {
                tally.wrong += 1;
                tally.note(wrong);
            }
            Err(error) => {
                tally.lost += 1;
                tally.note(format!("{name} to {server}: {error}"));
            }
        }
    }
    tally
}

/// What is wrong with the answer, if anything.
fn judge(name: &str, is_blocked: bool, server: SocketAddr) -> Result<Option<String>, QueryError> {
    let query = Query::new(name, RecordType::A)?.timeout(PATIENCE);
    let reply = query.ask(server)?;
    let is_right = match is_blocked {
        true => reply.outcome() == ResponseCode::NXDomain && reply.answers().is_empty(),
        false => reply.outcome() == ResponseCode::NoError && has_own_address(&query, &reply),
    };
    let got = || format!("{name}: {} {:?}", reply.rcode_text(), reply.answers());
    Ok((!is_right).then(got))
}

fn has_own_address(query: &Query, reply: &Reply) -> bool {
    match reply.answers() {
        [record] => matches!(&record.data, RData::A(address) if address.0 == ipv4_of(query.name())),
        _ => false,
    }
}
