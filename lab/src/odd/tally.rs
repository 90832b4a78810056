//! What came of a run.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use super::{Query, query::hex};

/// Data of a blocked name that came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leak {
    /// The server that it came from, by its place in [`super::SERVERS`].
    pub server: usize,
    /// The number of the query, if its port tells.
    pub number: Option<u32>,
    /// What came.
    pub answer: Vec<u8>,
}

/// What came of all queries of a run.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Queries sent to each server.
    pub sent: u32,
    /// Frames that the kernel did not take: too short or too long for the interface.
    pub unsent: u32,
    /// Server and number of queries to which anything came.
    pub answered: BTreeSet<(usize, u32)>,
    /// Server and number of queries that brought data of a blocked name.
    pub data: BTreeSet<(usize, u32)>,
    /// The first answer of each of them, and those of unknown number.
    pub leaks: Vec<Leak>,
}

impl Tally {
    pub(super) fn note(
        &mut self,
        server: usize,
        number: Option<u32>,
        answer: &[u8],
        is_data: bool,
    ) {
        if let Some(number) = number {
            self.answered.insert((server, number));
        }
        let is_new = is_data && number.is_none_or(|number| self.data.insert((server, number)));
        if is_new {
            self.leaks.push(Leak {
                server,
                number,
                answer: answer.to_vec(),
            });
        }
    }

    /// Queries that a server answered, and those that it answered with data of a blocked name.
    pub fn of(&self, server: usize) -> [usize; 2] {
        [&self.answered, &self.data].map(|set| set.range((server, 0)..(server + 1, 0)).count())
    }

    /// Queries with data by their kind, summed over all servers.
    pub fn by_kind(&self, seed: u64) -> BTreeMap<&'static str, usize> {
        let mut kinds = BTreeMap::new();
        for (_, number) in &self.data {
            *kinds.entry(Query::nth(seed, *number).kind()).or_default() += 1;
        }
        kinds
    }
}

impl Leak {
    /// Everything that is needed to see it again.
    pub fn shown(&self, seed: u64) -> String {
        let mut text = format!("{}: ", super::SERVERS[self.server]);
        // Writing to a string does not fail.
        let _written = match self.number {
            Some(number) => {
                let query = Query::nth(seed, number);
                write!(
                    text,
                    "seed {seed} number {number}, {}, {}: {}",
                    query.kind(),
                    query.by(),
                    query.shown()
                )
            }
            None => write!(text, "seed {seed}, a query from another port"),
        };
        text + "\n  answered " + &hex(&self.answer)
    }
}
