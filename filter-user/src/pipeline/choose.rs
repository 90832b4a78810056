//! Which file is read for a list: its own, one that would take its place, or what was there before.

use std::{path::Path, sync::Arc};

use filter_lists::image::ListInfo;

use super::{
    Damaged, Error, Progress, ReadList, Request, Sources, meter::Meter, refuse_empty, terms::info,
    with_cause,
};
use crate::{
    config::{Config, ListConfig},
    fetch,
    policy::Categories,
};

impl Sources {
    /// The list as it is now, or an empty one where that is wanted of a damaged one.
    pub(super) fn list<P: Fn(Progress) + Sync>(
        &self,
        all: &Config,
        categories: &Categories,
        request: &Request<'_>,
        config: &ListConfig,
        meter: &Meter<'_, P>,
    ) -> Result<Arc<ReadList>, Error> {
        let mut replacements = request.replacements.iter();
        let instead = replacements.find(|other| other.path == config.path);
        let path = instead.map_or(&config.path, |other| &other.file);
        let read = match self.file(categories, config, path, meter, refuse_empty) {
            Err(error @ Error::NoCopy { .. }) => {
                self.former(all, categories, config, meter).ok_or(error)
            }
            other => other,
        };
        match read {
            Err(
                error @ (Error::NoCopy { .. }
                | Error::List { .. }
                | Error::Empty { .. }
                | Error::Excess { .. }),
            ) if config.url.is_some() && request.damaged == Damaged::LeaveOut => {
                let info = info(categories, config);
                let before = request.previous.and_then(|image| image.rules_of(&info));
                if before.is_some_and(|rules| rules > 0) {
                    return Err(Error::Lost {
                        path: config.path.clone(),
                        why: with_cause(&error),
                    });
                }
                Ok(Arc::new(ReadList::left_out(config, info, &error)))
            }
            other => other,
        }
    }

    /// The list as it came from the address that it had before, if it did not come from this one.
    fn former<P: Fn(Progress) + Sync>(
        &self,
        all: &Config,
        categories: &Categories,
        config: &ListConfig,
        meter: &Meter<'_, P>,
    ) -> Option<Arc<ReadList>> {
        let is_other = |path: &Path| all.lists.iter().any(|list| list.path == path);
        let path = fetch::former_copy(&config.path, is_other)?;
        let info = ListInfo {
            // Under the new address it is another list, which may be larger or smaller.
            path: path.display().to_string(),
            ..info(categories, config)
        };
        let config = ListConfig {
            path: path.clone(),
            ..config.clone()
        };
        let read = self.file_as(info, &config, &path, meter, refuse_empty);
        read.ok()
    }
}
