//! The guards of a configuration, with the names in the files that it points to.

use std::{path::Path, sync::Arc};

use filter_common::name::Name;
use filter_lists::{
    guard::{AcceptedFinding, GuardedName, Guards, RequiredName, SizeLimits},
    image::Kind,
    input::Input,
    list,
};

use crate::{
    config::{Config, Error, MustBlock},
    overrides::{GuardedNames, Wanted},
    policy::Categories,
};

/// The guards with the names in their files, for lists whose categories have these bits.
///
/// A name that must be blocked is looked for in the image of its category: in that of custom
/// categories, if only these have it. The other image must not let it through.
///
/// # Errors
///
/// When a file cannot be read or a line of it is no name.
pub(super) fn guards(
    config: &Config,
    categories: &Categories,
    kind: Kind,
) -> Result<Guards, Error> {
    let guard = &config.guard;
    let mut guards = Guards {
        category_masks: categories.masks_in_use(config),
        sizes: SizeLimits {
            shrink_percent: guard.max_shrink_percent,
            growth_percent: guard.max_growth_percent,
            ..SizeLimits::default()
        },
        overrides: (guard.allow.iter())
            .map(|allow| AcceptedFinding {
                name: allow.name.clone().unwrap_or_default(),
                list: allow.list.clone().zip(allow.kind),
                reason: allow.reason.clone(),
                digest: allow.digest.clone(),
                serial: allow.serial,
            })
            .collect(),
        ..Guards::default()
    };
    for path in &guard.must_not_block {
        let guarded = |name, source| GuardedName { name, source };
        guards.must_not_block.extend(names(path, guarded)?);
    }
    for MustBlock { category, file } in &guard.must_block {
        let category = category.as_deref();
        let mask = category.and_then(|category| categories.mask(category));
        let is_custom = category.is_some_and(|category| config.is_only_custom(category));
        let category_mask = mask.unwrap_or(u64::MAX);
        guards.kept_categories |= mask.unwrap_or(0);
        let names = names(file, |name, source| RequiredName {
            name,
            category_mask,
            source,
        })?;
        match is_custom == (kind == Kind::Custom) {
            true => guards.must_block.extend(names),
            false => guards.must_not_allow.extend(names),
        }
    }
    Ok(guards)
}

/// The names of a configuration that overrides contradict only on purpose.
///
/// # Errors
///
/// When a file cannot be read or a line of it is no name.
pub fn guarded_names(config: &Config) -> Result<GuardedNames, Error> {
    let mut guarded = GuardedNames::default();
    let must_not_block = config.guard.must_not_block.iter();
    let must_block = config.guard.must_block.iter().map(|names| &names.file);
    let files = must_not_block
        .map(|file| (Wanted::Passed, file))
        .chain(must_block.map(|file| (Wanted::Blocked, file)));
    for (wanted, file) in files {
        let source: Arc<str> = file.display().to_string().into();
        for name in names(file, |name, _| name)? {
            guarded.add(wanted, &name, &source);
        }
    }
    Ok(guarded)
}

/// The popular names of a configuration, none of which a hash collision may hit.
pub(super) fn popular(config: &Config) -> Result<Vec<Name>, Error> {
    let file = config.guard.popular.as_deref();
    file.map_or(Ok(Vec::new()), popular_names)
}

/// Names of a file as services publish them: `name` or `rank,name`; what is no name is skipped.
///
/// # Errors
///
/// When the file cannot be read.
pub fn popular_names(path: &Path) -> Result<Vec<Name>, Error> {
    let mut names = Vec::new();
    read_names(path, |_, name| names.extend(name))?;
    Ok(names)
}

/// What `make` makes of each name of a file and its place.
fn names<T>(path: &Path, make: impl Fn(Name, String) -> T) -> Result<Vec<T>, Error> {
    let mut names = Vec::new();
    let mut wrong = None;
    read_names(path, |line, name| match name {
        Ok(name) => names.push(make(name, format!("{}:{line}", path.display()))),
        Err(reason) => {
            wrong.get_or_insert((line, reason));
        }
    })?;
    match wrong {
        None => Ok(names),
        Some((line, reason)) => Err(Error::Name {
            path: path.to_owned(),
            line,
            reason,
        }),
    }
}

fn read_names(path: &Path, each: impl FnMut(u32, Result<Name, String>)) -> Result<(), Error> {
    let file = Input::open(path).map_err(|source| Error::OpenNames {
        path: path.to_owned(),
        source,
    })?;
    list::names(file, each).map_err(|source| Error::ReadNames {
        path: path.to_owned(),
        source,
    })
}
