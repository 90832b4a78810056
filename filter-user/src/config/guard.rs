//! What must hold before lists go live, in the configuration's words.

use std::path::{Path, PathBuf};

use filter_common::name::Name;
use filter_lists::{
    guard::{GuardedName, Guards, Override, RequiredName, SizeLimits},
    image::Kind,
    input::Input,
    list,
};
use serde::Deserialize;

use super::{Config, Error};
use crate::policy::Categories;

/// The table `[guard]`.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct GuardConfig {
    /// Files of names that no list may block, besides the built-in ones.
    pub must_not_block: Vec<PathBuf>,
    /// Files of names that the lists must block.
    pub must_block: Vec<MustBlock>,
    /// Refused when a list lost more than this share of its rules at once, in percent.
    pub max_shrink_percent: u64,
    /// Refused when a list gained more than this at once, in percent of the rules it had.
    pub max_growth_percent: u64,
    /// File of popular names, none of which may be hit by a hash collision.
    pub popular: Option<PathBuf>,
    /// Findings that are accepted.
    pub allow: Vec<AllowConfig>,
}

/// Names that must be blocked.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct MustBlock {
    /// The category whose lists must block them; without it any list may.
    pub category: Option<String>,
    /// The file.
    pub file: PathBuf,
}

/// A finding that is accepted.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct AllowConfig {
    /// The name of the rule or of what it hits; the list where its size is the finding.
    pub name: String,
    /// Why.
    pub reason: String,
    /// The only version of a list whose size is accepted, by the digest that the finding tells.
    pub digest: Option<String>,
    /// The same for a policy zone, by the serial of its SOA.
    pub serial: Option<u32>,
}

impl Default for GuardConfig {
    fn default() -> Self {
        let sizes = SizeLimits::default();
        Self {
            must_not_block: Vec::new(),
            must_block: Vec::new(),
            max_shrink_percent: sizes.shrink_percent,
            max_growth_percent: sizes.growth_percent,
            popular: None,
            allow: Vec::new(),
        }
    }
}

impl GuardConfig {
    /// Makes paths relative to `folder`.
    pub(super) fn relocate(&mut self, folder: &Path) {
        let files = self.must_not_block.iter_mut();
        let files = files.chain(self.must_block.iter_mut().map(|names| &mut names.file));
        for file in files.chain(&mut self.popular) {
            *file = folder.join(&*file);
        }
    }

    /// Checks what the types cannot say.
    pub(super) fn check(&self, config: &Config) -> Result<(), Error> {
        for allow in &self.allow {
            if allow.reason.trim().is_empty() {
                return Err(Error::NoReason(allow.name.clone()));
            }
        }
        for category in self
            .must_block
            .iter()
            .filter_map(|names| names.category.as_ref())
        {
            if !config.categories().contains(&category.as_str()) {
                return Err(Error::UnknownCategory(category.clone()));
            }
        }
        Ok(())
    }
}

impl Config {
    /// The guards with the names in their files, for lists whose categories have these bits.
    ///
    /// A name that must be blocked is looked for in the image of its category: in that of custom
    /// categories, if only these have it. The other image must not let it through.
    ///
    /// # Errors
    ///
    /// When a file cannot be read or a line of it is no name.
    pub fn guards(&self, categories: &Categories, kind: Kind) -> Result<Guards, Error> {
        let config = &self.guard;
        let mut guards = Guards {
            category_masks: categories.masks_in_use(self),
            sizes: SizeLimits {
                shrink_percent: config.max_shrink_percent,
                growth_percent: config.max_growth_percent,
                ..SizeLimits::default()
            },
            overrides: (config.allow.iter())
                .map(|allow| Override {
                    name: allow.name.clone(),
                    reason: allow.reason.clone(),
                    digest: allow.digest.clone(),
                    serial: allow.serial,
                })
                .collect(),
            ..Guards::default()
        };
        for path in &config.must_not_block {
            let guarded = |name, source| GuardedName { name, source };
            guards.must_not_block.extend(names(path, guarded)?);
        }
        for MustBlock { category, file } in &config.must_block {
            let category = category.as_deref();
            let mask = category.and_then(|category| categories.mask(category));
            let is_custom = category.is_some_and(|category| self.is_only_custom(category));
            let category_mask = mask.unwrap_or(u64::MAX);
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

    /// The popular names.
    ///
    /// # Errors
    ///
    /// When the file cannot be read.
    pub fn popular_names(&self) -> Result<Vec<Name>, Error> {
        self.guard
            .popular
            .as_deref()
            .map_or(Ok(Vec::new()), popular_names)
    }
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
