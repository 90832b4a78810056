//! Compiling with files that would take the place of others.
//!
//! One bad list must not keep the good ones out: what the guards refuse because of
//! a replacement, or what cannot be read or compiled for one, is compiled again without it.

use std::path::{Path, PathBuf};

use filter_lists::guard::Refusal;

use super::{Compiled, Error, Progress, Request, Sources, with_cause};
use crate::config::{Config, ListConfig};

/// A file that would take the place of a list's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replacement {
    /// The list's file.
    pub path: PathBuf,
    /// The one that is read instead.
    pub file: PathBuf,
}

/// A list and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// The list's file.
    pub path: PathBuf,
    /// Why.
    pub why: String,
}

impl Sources {
    /// Compiles with as many of the request's replacements as can be read and the guards let pass.
    ///
    /// Which ones they did not is in [`Compiled::refused`].
    ///
    /// # Errors
    ///
    /// As [`Sources::compile`], and if no replacement passes and nothing else is wanted.
    pub fn compile_with(
        &self,
        config: &Config,
        request: &Request<'_>,
        is_needed: bool,
        progress: &(impl Fn(Progress) + Sync),
    ) -> Result<Compiled, Error> {
        let mut left = request.replacements.to_vec();
        let mut refused: Vec<Rejected> = Vec::new();
        let mut first_error = None;
        loop {
            let attempt = Request {
                replacements: &left,
                ..*request
            };
            let error = match self.compile(config, &attempt, progress) {
                Ok(compiled) => {
                    return Ok(Compiled {
                        refused,
                        ..compiled
                    });
                }
                // What was refused is why there is nothing.
                Err(error @ Error::Nothing { .. }) => return Err(first_error.unwrap_or(error)),
                Err(error) => error,
            };
            let (blamed, innocent) = blame(config, &error, left);
            if blamed.is_empty() || (innocent.is_empty() && !is_needed) {
                return Err(error);
            }
            refused.extend(blamed.into_iter().map(|replacement| Rejected {
                path: replacement.path,
                why: with_cause(&error),
            }));
            first_error.get_or_insert(error);
            left = innocent;
        }
    }
}

/// Parts replacements into those that may be why the image was refused, and the others.
fn blame(
    config: &Config,
    error: &Error,
    replacements: Vec<Replacement>,
) -> (Vec<Replacement>, Vec<Replacement>) {
    match error {
        Error::Refused(refusal) => {
            let is_named = |replacement: &Replacement| is_named(config, refusal, &replacement.path);
            replacements.into_iter().partition(is_named)
        }
        Error::Compile(_) => (replacements, Vec::new()),
        Error::List { path, .. }
        | Error::Empty { path, .. }
        | Error::Excess { path, .. }
        | Error::Memory { path, .. } => replacements.into_iter().partition(|one| one.path == *path),
        _ => (Vec::new(), replacements),
    }
}

/// Whether a finding is about a list, or about none in particular.
fn is_named(config: &Config, refusal: &Refusal, path: &Path) -> bool {
    let list = config.lists.iter().find(|list| list.path == path);
    let source = list.map(ListConfig::source);
    refusal
        .findings()
        .iter()
        .any(|finding| finding.path.is_none() || finding.path == source)
}
