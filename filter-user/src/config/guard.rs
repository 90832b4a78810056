//! What must hold before lists go live, in the configuration's words.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use filter_lists::guard::{GuardKind, SizeLimits};
use serde::Deserialize;

use super::{Config, Error};

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
    pub name: Option<String>,
    /// Instead of a name: the list of which all findings of a kind are accepted.
    pub list: Option<String>,
    /// That kind.
    pub kind: Option<GuardKind>,
    /// Why.
    pub reason: String,
    /// The only version of a list whose size is accepted, by the digest that the finding tells.
    pub digest: Option<String>,
    /// The same for a policy zone, by the serial of its SOA.
    pub serial: Option<u32>,
}

impl AllowConfig {
    /// What it is about, for messages.
    fn subject(&self) -> &str {
        let list = self.list.as_deref();
        self.name.as_deref().or(list).unwrap_or_default()
    }

    fn check(&self, config: &Config) -> Result<(), Error> {
        if self.reason.trim().is_empty() {
            return Err(Error::NoReason(self.subject().to_owned()));
        }
        match (&self.name, &self.list, self.kind) {
            (Some(_), None, None) => Ok(()),
            (None, Some(list), Some(kind)) => {
                let files = config.custom_lists();
                let mut lists = config.lists.iter().chain(&files);
                if !lists.any(|known| known.name() == *list) {
                    return Err(Error::AllowOfNoList { list: list.clone() });
                }
                match kind.may_be_accepted_together() {
                    true => Ok(()),
                    false => Err(Error::AllowOfKind {
                        kind: kind.as_str(),
                    }),
                }
            }
            _ => Err(Error::AllowOfWhat {
                reason: self.reason.clone(),
            }),
        }
    }
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
    /// Categories whose lists must block some names, each once.
    pub fn must_block_categories(&self) -> Vec<String> {
        let named = self
            .must_block
            .iter()
            .filter_map(|names| names.category.clone());
        let named: BTreeSet<String> = named.collect();
        named.into_iter().collect()
    }

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
            allow.check(config)?;
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
