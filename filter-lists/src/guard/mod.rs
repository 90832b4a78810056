//! What must hold before a compiled image goes live.
//!
//! A finding names the rule, the list and the line. One that refuses the image
//! can be overridden by name, with a reason; nothing else can. Owns no lists
//! of rules and changes nothing: it only looks.

mod names;
mod refusal;
mod required;
mod sizes;
mod suffixes;

use std::fmt;

use filter_common::{name::Name, rule::Scope};
use serde::{Deserialize, Serialize};

pub use self::refusal::Refusal;
use crate::{
    compile::ListBuilder,
    image::{Image, Origin},
    list,
};

/// Query types that a block may be for: A, AAAA and HTTPS, which applications ask, then PTR, MX,
/// TXT, SRV, SVCB, NS, SOA, CNAME and DNSKEY, without which mail, services, delegations and
/// validation break. More than a rule can exclude.
const USUAL_QTYPES: [u16; 12] = [1, 28, 65, 12, 15, 16, 33, 64, 2, 6, 5, 48];

/// What is being guarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GuardKind {
    /// A rule whose name is a single label: a whole top-level domain.
    SingleLabel,
    /// A rule whose name is a suffix under which registries sell names (`co.uk`).
    PublicSuffix,
    /// A rule whose name is a suffix under which a company's customers live (`github.io`).
    PrivateSuffix,
    /// A name that is protected by default.
    Protected,
    /// A name that the operator said must not be blocked.
    MustNotBlock,
    /// A name that the operator said must be blocked.
    MustBlock,
    /// A list that became much smaller or larger.
    Size,
}

impl GuardKind {
    /// Whether a permission may accept all that a list does of this kind: rules for suffixes, which
    /// somebody may publish lists of. What a name protects is accepted name by name.
    pub const fn may_be_accepted_together(self) -> bool {
        matches!(
            self,
            Self::SingleLabel | Self::PublicSuffix | Self::PrivateSuffix
        )
    }

    /// The word for it in the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SingleLabel => "single-label",
            Self::PublicSuffix => "public-suffix",
            Self::PrivateSuffix => "private-suffix",
            Self::Protected => "protected",
            Self::MustNotBlock => "must-not-block",
            Self::MustBlock => "must-block",
            Self::Size => "size",
        }
    }
}

/// How bad a finding is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// The image must not go live.
    Refuse,
    /// Somebody should look at it.
    Warn,
    /// It would refuse the image, but the configuration says why it may.
    Overridden(String),
}

/// Something that a guard found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Which guard.
    pub kind: GuardKind,
    /// How bad it is.
    pub severity: Severity,
    /// The name, or the list for [`GuardKind::Size`].
    pub subject: String,
    /// The name that the rule behind it is written for, if there is one.
    pub rule_name: Option<String>,
    /// What is wrong.
    pub what: String,
    /// The rule, if one is behind it.
    pub rule: Option<String>,
    /// The list.
    pub list: Option<String>,
    /// Where the list came from.
    pub path: Option<String>,
    /// Line in the list.
    pub line: Option<u32>,
    /// Version of the list, where the finding is about it as a whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<ListVersion>,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match &self.severity {
            Severity::Refuse => "refused",
            Severity::Warn => "warning",
            Severity::Overridden(_) => "overridden",
        };
        write!(f, "{severity} ({}): ", self.kind.as_str())?;
        self.write_matter(f)?;
        match &self.severity {
            Severity::Overridden(reason) => write!(f, "; allowed because: {reason}"),
            _ => Ok(()),
        }
    }
}

/// A finding that is accepted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AcceptedFinding {
    /// [`Finding::subject`] or [`Finding::rule_name`], in any case and as Unicode or not: one
    /// override accepts all that a rule does.
    pub name: String,
    /// Instead of a name: all findings about a list that are of a kind.
    pub list: Option<(String, GuardKind)>,
    /// Why; an override without a reason does not count.
    pub reason: String,
    /// [`ListVersion::digest`] of the only version of the list that is accepted.
    pub digest: Option<String>,
    /// [`ListVersion::serial`] of the only version of the list that is accepted.
    pub serial: Option<u32>,
}

/// Which version of a list a finding is about.
///
/// A size that was right once says nothing about the next one, so that it is accepted for one version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ListVersion {
    /// [`ListBuilder::digest`] of its rules.
    pub digest: String,
    /// Serial number of its SOA, if it is a policy zone with one.
    pub serial: Option<u32>,
}

/// A name that must not be blocked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuardedName {
    /// The name.
    pub name: Name,
    /// Who says so: a file and line, for the message.
    pub source: String,
}

/// A name that must be blocked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequiredName {
    /// The name.
    pub name: Name,
    /// Categories whose lists must block it: one, or all where every list counts.
    pub category_mask: u64,
    /// Who says so: a file and line, for the message.
    pub source: String,
}

/// How much a list may change at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SizeLimits {
    /// Refused when more than this share of the rules is gone, in percent.
    pub shrink_percent: u64,
    /// Refused when more rules than this came on top, in percent of those there were.
    pub growth_percent: u64,
    /// Smaller lists may change as they like.
    pub least_rules: u64,
}

impl Default for SizeLimits {
    fn default() -> Self {
        Self {
            shrink_percent: 50,
            growth_percent: 200,
            least_rules: 100,
        }
    }
}

/// What to look for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guards {
    /// Category masks of the policies in use: a name counts as blocked if one of them blocks it.
    pub category_masks: Vec<u64>,
    /// Names that must not be blocked, besides the built-in ones.
    pub must_not_block: Vec<GuardedName>,
    /// Names that must be blocked.
    pub must_block: Vec<RequiredName>,
    /// Names that another image must block, and that this one must not let through.
    pub must_not_allow: Vec<RequiredName>,
    /// Categories that a pause does not lift: policies select them without the others then.
    pub kept_categories: u64,
    /// How much a list may change at once.
    pub sizes: SizeLimits,
    /// Findings that are accepted.
    pub overrides: Vec<AcceptedFinding>,
}

impl Default for Guards {
    fn default() -> Self {
        Self {
            category_masks: vec![u64::MAX],
            must_not_block: Vec::new(),
            must_block: Vec::new(),
            must_not_allow: Vec::new(),
            kept_categories: 0,
            sizes: SizeLimits::default(),
            overrides: Vec::new(),
        }
    }
}

impl Guards {
    /// Looks at an image, the lists it was compiled from and the image that it is to replace.
    pub fn check(
        &self,
        lists: &[&ListBuilder],
        image: &Image,
        previous: Option<&Image>,
    ) -> Vec<Finding> {
        let mut findings = suffixes::check(self, lists, image);
        findings.extend(names::check(self, image));
        findings.extend(required::check(self, lists, image));
        findings.extend(
            previous
                .into_iter()
                .flat_map(|old| sizes::check(self, lists, old, image)),
        );
        for finding in &mut findings {
            self.apply_override(finding);
        }
        findings
    }

    /// The names that no hash collision may hit, whatever the lists say of them: the protected
    /// ones, built in and the operator's.
    pub fn never_blocked(&self) -> impl Iterator<Item = Name> {
        let own = self.must_not_block.iter().map(|guarded| guarded.name);
        names::built_in().map(|(name, _)| name).chain(own)
    }

    fn apply_override(&self, finding: &mut Finding) {
        let accepted = self
            .overrides
            .iter()
            .find(|accepted| accepted.covers(finding) && !accepted.reason.trim().is_empty());
        if let (Some(accepted), Severity::Refuse) = (accepted, &finding.severity) {
            finding.severity = Severity::Overridden(accepted.reason.clone());
        }
    }
}

impl AcceptedFinding {
    fn covers(&self, finding: &Finding) -> bool {
        let names_version = self.digest.is_some() || self.serial.is_some();
        let is_version = match &finding.version {
            Some(version) => names_version && self.is_of(version),
            None => !names_version,
        };
        is_version && self.is_about(finding)
    }

    fn is_of(&self, version: &ListVersion) -> bool {
        let digest = self.digest.as_ref();
        digest.is_none_or(|digest| digest.eq_ignore_ascii_case(&version.digest))
            && (self.serial.is_none() || self.serial == version.serial)
    }

    fn is_about(&self, finding: &Finding) -> bool {
        if let Some((list, kind)) = &self.list {
            return kind.may_be_accepted_together()
                && *kind == finding.kind
                && finding.list.as_ref() == Some(list);
        }
        let spelled = list::name(&self.name).map(|name| name.to_string());
        let is_this = |told: &String| {
            self.name.eq_ignore_ascii_case(told) || spelled.as_ref().is_ok_and(|name| name == told)
        };
        is_this(&finding.subject) || finding.rule_name.as_ref().is_some_and(is_this)
    }
}

/// Whether the image must not go live.
pub fn refuses(findings: &[Finding]) -> bool {
    findings
        .iter()
        .any(|finding| finding.severity == Severity::Refuse)
}

/// Why a block by hand would cut everybody off from something, if it would.
pub fn harm(name: &Name, scope: Scope) -> Option<String> {
    if suffixes::is_refused(name, scope) {
        return Some("it is what registries sell names under".to_owned());
    }
    let (protected, why) = names::built_in().find(|(protected, _)| match scope {
        Scope::Exact => protected == name,
        Scope::Subs | Scope::Suffix => protected.is_at_or_below(name),
    })?;
    Some(format!("{protected} is protected ({why})"))
}

/// Whether a rule of this scope would be for all that registries sell below a name.
pub fn is_suffix(name: &Name, scope: Scope) -> bool {
    scope != Scope::Exact && suffixes::is_refused(name, scope)
}

/// The names that are protected by default.
pub fn protected_names() -> impl Iterator<Item = (Name, &'static str)> {
    names::built_in()
}

impl Finding {
    /// What an override has to name.
    pub fn override_name(&self) -> &str {
        match (self.kind, &self.rule_name) {
            // The rule in the way of a block is the one that should go.
            (GuardKind::MustBlock, _) | (_, None) => &self.subject,
            (_, Some(name)) => name,
        }
    }

    /// What is wrong with what, and the rule behind it, without the severity.
    fn write_matter(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.subject, self.what)?;
        if let (Some(rule), Some(list)) = (&self.rule, &self.list)
            && let (Some(path), Some(line)) = (&self.path, self.line)
        {
            write!(f, "; rule {rule} of list '{list}' at {path}:{line}")?;
        }
        Ok(())
    }

    fn of_rule(kind: GuardKind, severity: Severity, what: String, origin: &Origin) -> Self {
        Self {
            kind,
            severity,
            subject: origin.name.to_string(),
            rule_name: Some(origin.name.to_string()),
            what,
            rule: Some(origin.rule.clone()),
            list: Some(origin.list_name.to_owned()),
            path: Some(origin.path.to_owned()),
            line: Some(origin.line),
            version: None,
        }
    }
}
