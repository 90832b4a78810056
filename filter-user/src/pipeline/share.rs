//! How much memory the rules of lists may take.
//!
//! Whoever is ended for lack of memory is started again, and reads the same lists. What rules take
//! until they are compiled is counted as they are read; compiling takes some five times as much.

use std::sync::Arc;

use super::{Error, ReadList, Request, Sources};
use crate::memory;

/// The part of the memory that the rules of one list may take.
const OF_ONE: u64 = 8;
/// And those of all lists.
const OF_ALL: u64 = 6;

impl Sources {
    /// Sources on a machine with so much memory.
    pub fn with_memory(bytes: u64) -> Self {
        Self {
            memory_bytes: Some(bytes),
            ..Self::default()
        }
    }

    fn memory_bytes(&self) -> u64 {
        self.memory_bytes.unwrap_or_else(memory::limit_bytes)
    }

    /// Bytes that the rules of one list may take.
    pub(super) fn most_of_one(&self) -> usize {
        usize::try_from(self.memory_bytes() / OF_ONE).unwrap_or(usize::MAX)
    }

    /// Fails if the lists take too much together; a list that is new is to blame if one is.
    pub(super) fn refuse_too_much(
        &self,
        lists: &[Arc<ReadList>],
        request: &Request<'_>,
    ) -> Result<(), Error> {
        let bytes = lists.iter().map(|list| list.builder.bytes() as u64).sum();
        let max_bytes = self.memory_bytes() / OF_ALL;
        let is_new = |list: &ReadList| {
            let mut replacements = request.replacements.iter();
            replacements.any(|new| new.path == list.config.path)
        };
        let largest = (lists.iter()).max_by_key(|list| (is_new(list), list.builder.bytes()));
        match largest {
            Some(list) if bytes > max_bytes => Err(Error::Memory {
                path: list.config.path.clone(),
                bytes,
                max_bytes,
            }),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::{config::Config, pipeline::Replacement};

    #[test]
    fn lists_that_the_memory_is_too_small_for_are_refused_and_the_new_one_is_to_blame() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let write = |name: &str, count: u32| {
            let lines = (0..count).map(|i| format!("{name}{i}.example\n"));
            fs::write(path(name), lines.collect::<String>()).unwrap();
        };
        write("a", 2_000);
        write("b", 1_000);
        write("new", 2_500);
        let text = format!(
            "list = [{{ path = {:?} }}, {{ path = {:?} }}]",
            path("a"),
            path("b")
        );
        let config: Config = toml::from_str(&text).unwrap();
        let replacements = [Replacement {
            path: path("b"),
            file: path("new"),
        }];
        let compiled = |memory_bytes: u64, replacements: &[Replacement]| {
            let request = Request {
                replacements,
                ..Request::default()
            };
            Sources::with_memory(memory_bytes).compile(&config, &request, &|_| {})
        };
        // Some twenty bytes a rule.
        assert!(compiled(2 << 20, &replacements).is_ok());
        assert!(compiled(500_000, &[]).is_ok());
        let blamed = compiled(500_000, &replacements).unwrap_err();
        assert!(
            matches!(&blamed, Error::Memory { path: of, .. } if *of == path("b")),
            "{blamed}"
        );
        let alone = compiled(200_000, &[]).unwrap_err();
        assert!(
            matches!(&alone, Error::Excess { path: of, .. } if *of == path("a")),
            "{alone}"
        );
    }
}
