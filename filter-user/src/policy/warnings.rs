//! What is legal in a configuration, and seldom meant.

use filter_kernel::Prefix;

use super::{Categories, Policies, Policy};
use crate::config::Config;

/// Shorter prefixes hold more clients than one operator has.
const IPV4_MIN_BITS: u32 = 8;
const IPV6_MIN_BITS: u32 = 16;
/// Bits in front of an IPv4 address in the form of the kernel's maps.
const MAPPED_BITS: u32 = 96;

impl Policies {
    /// Sentences about what the operator should look at.
    pub fn warnings(&self, config: &Config, categories: &Categories) -> Vec<String> {
        let must_block = config.guard.must_block_categories();
        let unbound = must_block.iter().filter_map(|category| {
            let mask = categories.mask(category)?;
            let free = self.iter().filter(|policy| !binds(policy, mask));
            let names: Vec<&str> = free.map(|policy| policy.name.as_str()).collect();
            (!names.is_empty()).then(|| {
                format!(
                    "must_block: category '{category}' does not bind the clients of policy {}: \
                     a policy must block it at all times, and not only observe",
                    names.join(", ")
                )
            })
        });
        let lifted = config
            .guard
            .must_block
            .iter()
            .filter(|names| names.category.is_none());
        let lifted = lifted.map(|names| {
            format!(
                "must_block: '{}' has no category: `nxdp pause` lifts its names; write `category`",
                names.file.display()
            )
        });
        unbound.chain(lifted).chain(self.wide_prefixes()).collect()
    }

    fn wide_prefixes(&self) -> impl Iterator<Item = String> {
        let wide = self
            .clients()
            .prefixes
            .iter()
            .filter(|(prefix, _)| is_wide(prefix));
        wide.map(|(prefix, number)| {
            let policy = self.numbered(*number).map_or("", |policy| &policy.name);
            format!("policy '{policy}': {prefix} is wider than the network of one operator")
        })
    }
}

/// Whether a policy blocks categories whatever the time.
fn binds(policy: &Policy, mask: u64) -> bool {
    let usual = policy.categories & mask == mask;
    let mut spans = policy.schedule.spans.iter();
    usual && spans.all(|span| span.change.allow & mask == 0) && !policy.observes()
}

fn is_wide(prefix: &Prefix) -> bool {
    let is_ipv4 = prefix.len >= MAPPED_BITS && prefix.to_string().contains('.');
    match is_ipv4 {
        true => prefix.len - MAPPED_BITS < IPV4_MIN_BITS,
        false => prefix.len < IPV6_MIN_BITS,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Numbers;

    fn warnings(text: &str) -> Vec<String> {
        let config: Config = toml::from_str(text).unwrap();
        let categories = Categories::of(&config);
        let policies = Policies::resolve(&config, &categories, &Numbers::new()).unwrap();
        policies.warnings(&config, &categories)
    }

    const LISTS: &str =
        "list = [{ path = 'a', category = 'ads' }, { path = 'l', category = 'legal' }]\n";
    const GUARD: &str = "[guard]\nmust_block = [{ category = 'legal', file = 'orders.txt' }]\n";

    #[test]
    fn an_order_that_does_not_bind_every_policy_is_told() {
        assert_eq!(warnings(&format!("{LISTS}{GUARD}")), [""; 0]);
        let some = format!(
            "{LISTS}{GUARD}[policy.default]\nblock = ['legal']\n\
             [policy.staff]\nclients = ['10.0.0.0/8']\nblock = ['ads']\n\
             [policy.free]\nclients = ['10.1.0.0/16']\nunfiltered = true\n\
             [policy.trial]\nclients = ['10.2.0.0/16']\nobserve = true\n\
             [policy.night]\nclients = ['10.3.0.0/16']\n\
             schedule = {{ time_zone = 'UTC', span = [{{ from = '20:00', to = '22:00', allow = ['legal'] }}] }}\n"
        );
        let told = warnings(&some);
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(
            told[0].contains("policy free, night, staff, trial:"),
            "{told:?}"
        );
        let without = "[guard]\nmust_block = [{ file = 'orders.txt' }]\n";
        assert!(warnings(without)[0].contains("'orders.txt' has no category"));
    }

    #[test]
    fn a_prefix_wider_than_an_operator_is_told() {
        let of = |client: &str| warnings(&format!("[policy.x]\nclients = ['{client}']")).len();
        for (client, count) in [
            ("0.0.0.0/1", 1),
            ("10.0.0.0/7", 1),
            ("10.0.0.0/8", 0),
            ("2000::/3", 1),
            ("2001::/16", 0),
            ("2001:db8::/32", 0),
        ] {
            assert_eq!(of(client), count, "{client}");
        }
    }
}
