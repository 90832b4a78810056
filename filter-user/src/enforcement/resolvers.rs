//! Resolvers that answer over HTTPS, by which names go past the filter.

use filter_kernel::Prefix;
use ipnet::IpNet;

use crate::config::{BypassConfig, Config};

const BUILT_IN: &str = include_str!("resolvers.txt");

/// The prefixes that policies with `block_bypass` refuse, in order and each once.
pub(super) fn prefixes(config: &Config) -> Vec<Prefix> {
    if !config.blocks_bypass() {
        return Vec::new();
    }
    let BypassConfig {
        resolvers,
        built_in_resolvers,
    } = &config.bypass;
    let built_in = built_in_resolvers.then(built_in).into_iter().flatten();
    let mut prefixes: Vec<Prefix> = built_in
        .chain(resolvers.iter().map(|resolver| resolver.0))
        .map(Prefix::from)
        .collect();
    prefixes.sort_unstable();
    prefixes.dedup();
    prefixes
}

/// The built-in ones, one a line, comments behind `#`.
fn built_in() -> impl Iterator<Item = IpNet> {
    let lines = BUILT_IN
        .lines()
        .map(|line| line.split('#').next().unwrap_or_default().trim());
    lines
        .filter(|line| !line.is_empty())
        .filter_map(|line| crate::config::prefix(line).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_built_in_list_is_an_address_or_prefix() {
        let lines = BUILT_IN
            .lines()
            .map(|line| line.split('#').next().unwrap_or_default());
        let count = lines.filter(|line| !line.trim().is_empty()).count();
        assert!(count > 20);
        assert_eq!(built_in().count(), count);
    }
}
