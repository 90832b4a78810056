//! The direction of dependencies: `filter-ebpf -> filter-common <- filter-lists, filter-kernel <-
//! filter-user <- nxdp-lab <- nxdp-bench`, and `xtask` on none. Read from `Cargo.lock`, which knows every
//! kind of dependency. The lab is one of filter-user for its tests alone; cargo refuses the circle that any
//! other kind would be.

use super::{Finding, Text};

/// Each package of the workspace and those of its packages that it may depend on.
const ALLOWED: [(&str, &[&str]); 8] = [
    ("filter-common", &[]),
    ("filter-ebpf", &["filter-common"]),
    ("filter-kernel", &["filter-common"]),
    ("filter-lists", &["filter-common"]),
    (
        "filter-user",
        &["filter-common", "filter-kernel", "filter-lists", "nxdp-lab"],
    ),
    (
        "nxdp-bench",
        &[
            "filter-common",
            "filter-kernel",
            "filter-lists",
            "filter-user",
            "nxdp-lab",
        ],
    ),
    (
        "nxdp-lab",
        &[
            "filter-common",
            "filter-kernel",
            "filter-lists",
            "filter-user",
        ],
    ),
    ("xtask", &[]),
];

/// A package in the lock file.
#[derive(Default)]
struct Package<'a> {
    name: &'a str,
    /// Packages of the workspace come from nowhere.
    has_source: bool,
    /// Line and name.
    dependencies: Vec<(usize, &'a str)>,
}

/// Checks the lock file.
pub(super) fn check(lock: &Text) -> Vec<Finding> {
    let packages = packages(lock);
    let local = packages.iter().filter(|package| !package.has_source);
    let names: Vec<&str> = local.clone().map(|package| package.name).collect();
    let mut findings = Vec::new();
    for package in local {
        let rule = ALLOWED.iter().find(|(name, _)| *name == package.name);
        let Some((_, allowed)) = rule else {
            let message = format!(
                "{} has no rule on what it may depend on (ALLOWED in xtask's tidy)",
                package.name
            );
            findings.push(lock.finding(1, message));
            continue;
        };
        for (line, dependency) in &package.dependencies {
            if names.contains(dependency) && !allowed.contains(dependency) {
                let message = format!("{} must not depend on {dependency}", package.name);
                findings.push(lock.finding(*line, message));
            }
        }
    }
    findings
}

fn packages(lock: &Text) -> Vec<Package<'_>> {
    let mut packages: Vec<Package<'_>> = Vec::new();
    for (number, line) in lock.lines() {
        if line == "[[package]]" {
            packages.push(Package::default());
        }
        let Some(package) = packages.last_mut() else {
            continue;
        };
        if let Some(name) = line.strip_prefix("name = ") {
            package.name = name.trim_matches('"');
        } else if line.starts_with("source = ") {
            package.has_source = true;
        } else if let Some(dependency) = line.strip_prefix(" \"") {
            // `"name"`, or `"name version"` where there are several of that name.
            let name = dependency.split([' ', '"']).next().unwrap_or_default();
            package.dependencies.push((number, name));
        }
    }
    packages
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    fn lock(package: &str, dependency: &str) -> Text {
        let text = format!(
            "version = 4\n\n[[package]]\nname = \"{dependency}\"\nversion = \"0.1.0\"\n\n\
             [[package]]\nname = \"{package}\"\nversion = \"0.1.0\"\ndependencies = [\n \"{dependency}\",\n]\n"
        );
        sample("Cargo.lock", &text)
    }

    #[test]
    fn a_dependency_against_the_direction_is_found_with_its_line() {
        let found = check(&lock("filter-common", "filter-user"));
        assert_eq!(found.len(), 1);
        assert_eq!(
            found[0].message,
            "filter-common must not depend on filter-user"
        );
        assert_eq!(found[0].line, 11);
    }

    #[test]
    fn this_tool_depends_on_no_crate_of_the_workspace() {
        assert_eq!(check(&lock("xtask", "filter-common")).len(), 1);
    }

    #[test]
    fn dependencies_along_the_direction_are_fine() {
        assert_eq!(check(&lock("filter-ebpf", "filter-common")), []);
        assert_eq!(check(&lock("nxdp-lab", "filter-user")), []);
    }

    #[test]
    fn a_package_without_a_rule_is_found() {
        let found = check(&lock("filter-new", "filter-common"));
        assert!(
            found[0].message.starts_with("filter-new has no rule"),
            "{found:?}"
        );
    }
}
