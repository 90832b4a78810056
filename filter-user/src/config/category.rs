//! Custom categories in the configuration's words: names of the operator's own.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use filter_lists::list::{Format, ScopePolicy};
use serde::Deserialize;

use super::{AnswerChoice, BYPASS_CATEGORY, Config, EdeCode, Error, ListConfig};

/// The table `[category.NAME]`.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct CategoryConfig {
    /// Files of names, in any format that lists have.
    pub names: Vec<PathBuf>,
    /// Format of the files; detected by default.
    pub format: Option<Format>,
    /// Whether names match as their format says, or all as one scope.
    pub scope: Option<ScopePolicy>,
    /// What a client gets for a name; what the files or the policy say by default.
    pub answer: Option<AnswerChoice>,
    /// Seconds for which an answer may be cached; the configuration's by default.
    pub ttl_s: Option<u32>,
    /// INFO-CODE of the extended error; the configuration's by default.
    pub ede: Option<EdeCode>,
    /// EXTRA-TEXT of the extended error (RFC 8914), 60 bytes at most; the file's name by default.
    pub text: Option<String>,
}

impl CategoryConfig {
    /// Checks what the types cannot say of the category with this name.
    fn check(&self, name: &str) -> Result<(), Error> {
        if name == BYPASS_CATEGORY {
            return Err(Error::CustomBypass);
        }
        if self.names.is_empty() {
            return Err(Error::CategoryWithoutNames(name.to_owned()));
        }
        Ok(())
    }
}

/// Makes paths relative to `folder`.
pub(super) fn relocate(categories: &mut BTreeMap<String, CategoryConfig>, folder: &Path) {
    let files = categories
        .values_mut()
        .flat_map(|category| &mut category.names);
    for file in files {
        *file = folder.join(&*file);
    }
}

pub(super) fn check(config: &Config) -> Result<(), Error> {
    for (name, category) in &config.custom {
        category.check(name)?;
    }
    Ok(())
}

impl Config {
    /// The files of custom categories as lists, in the order of their numbers.
    pub fn custom_lists(&self) -> Vec<ListConfig> {
        let categories = self.custom.iter();
        let lists = categories.flat_map(|(name, category)| {
            category.names.iter().map(|path| ListConfig {
                format: category.format,
                scope: category.scope,
                category: Some(name.clone()),
                answer: category.answer,
                ttl_s: category.ttl_s,
                ede: category.ede,
                text: category.text.clone(),
                ..ListConfig::of_path(path)
            })
        });
        lists.collect()
    }

    /// The files of custom categories, whose change is to be noticed by itself.
    pub fn custom_files(&self) -> impl Iterator<Item = PathBuf> {
        let categories = self.custom.values();
        categories.flat_map(|category| &category.names).cloned()
    }

    /// Whether the names of a category are all in the operator's files, none in a list.
    pub(crate) fn is_only_custom(&self, category: &str) -> bool {
        let mut lists = self.lists.iter();
        self.custom.contains_key(category)
            && !lists.any(|list| list.category.as_deref() == Some(category))
    }
}
