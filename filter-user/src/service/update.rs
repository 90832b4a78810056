//! Lists without a running service: what there is of them, and fetching more.

use std::sync::Arc;

use super::{
    Error, PrepareError, error_chain,
    refresh::{Judged, Refresh},
};
use crate::{
    config::Config,
    fetch::{self, Accounts},
    identity,
    pipeline::{Compiled, Damaged, Guarding, Part, Request, Sources},
};

/// Fetches the lists of a name, or all with an address, into the cache of a configuration.
///
/// # Errors
///
/// When there is no such list, or the cache cannot be used. What became of each list is in
/// the accounts.
pub async fn update(config: Config, name: Option<&str>) -> Result<Accounts, Error> {
    let mut refresh = Refresh::open(&config)?;
    let lists = refresh.find(name).map_err(Error::NoSuchList)?;
    refresh.fetch(&lists).await;
    let mut outcomes = Vec::new();
    if !refresh.replacements().is_empty() {
        match judge(&config, &refresh).await? {
            Ok(compiled) => {
                refresh.admit(&Judged::of(&compiled));
                outcomes = compiled.lists;
            }
            Err(error) => {
                let error = Error::Prepare(error);
                refresh.reject(&error_chain(&error), error.is_of_lists());
            }
        }
    }
    let outcomes: Vec<_> = outcomes.iter().collect();
    Ok(refresh.accounts(&config, &outcomes, false))
}

/// Lets this process be whoever owns the folder of copies, for good, if it is root.
///
/// # Errors
///
/// When it may not.
pub fn become_owner_of_copies(config: &Config) -> Result<(), Error> {
    identity::become_owner(&config.fetch.cache).map_err(|source| {
        Error::Fetch(fetch::Error::Cache {
            path: config.fetch.cache.clone(),
            source,
        })
    })
}

/// What the disk tells of the lists of a configuration.
pub fn lists(config: &Config) -> Accounts {
    Refresh::without_network(config, "no nxdp is running").accounts(config, &[], false)
}

/// Compiles the lists with what was fetched, as a service that has the copies would.
async fn judge(
    config: &Config,
    refresh: &Refresh,
) -> Result<Result<Compiled, PrepareError>, Error> {
    let (config, replacements) = (config.clone(), refresh.replacements());
    let compiling = tokio::task::spawn_blocking(move || {
        let sources = Sources::default();
        let as_it_is = Request {
            guarding: Guarding::Skip,
            damaged: Damaged::LeaveOut,
            part: Part::Lists,
            ..Request::default()
        };
        // Without any copy there is nothing to compare with.
        let previous = sources.compile(&config, &as_it_is, &|_| {}).ok();
        let previous = previous.map(|compiled| Arc::clone(&compiled.image));
        let request = Request {
            previous: previous.as_deref(),
            replacements: &replacements,
            damaged: Damaged::LeaveOut,
            part: Part::Lists,
            ..Request::default()
        };
        Ok(sources.compile_with(&config, &request, false, &|_| {})?)
    });
    compiling.await.map_err(Error::Background)
}
