//! The way of rules to the sink: scope policy, shared answers, counting.

use std::net::IpAddr;

use filter_common::{
    name::Name,
    rule::{AnswerKind, Scope},
};

use super::{Options, ScopePolicy};
use crate::rule::{Answer, Effect, Rule, Shape};

/// Takes the rules of a list.
pub trait Sink {
    /// Takes one rule of line `line`, counted from 1.
    fn rule(&mut self, line: u32, rule: &Rule);
}

impl<F: FnMut(u32, &Rule)> Sink for F {
    fn rule(&mut self, line: u32, rule: &Rule) {
        self(line, rule);
    }
}

/// What line parsers write to.
pub(super) struct Output<'s, S> {
    sink: &'s mut S,
    scope: ScopePolicy,
    only_blocks: bool,
    /// The line that rules belong to.
    pub(super) line: u32,
    rules: u64,
    /// Statements that become rules when all are known.
    held: u64,
    /// A plain block rule; only its name, scope and `host_rule` change.
    plain: Rule,
    /// A rule with an address that the next lines may complete.
    addressed: Option<(u32, Rule)>,
}

impl<'s, S: Sink> Output<'s, S> {
    pub(super) fn new(sink: &'s mut S, options: &Options) -> Self {
        Self {
            sink,
            scope: options.scope,
            only_blocks: options.only_blocks,
            line: 0,
            rules: 0,
            held: 0,
            plain: Rule::block(Name::ROOT, Scope::Exact),
            addressed: None,
        }
    }

    /// Whether lines that answer with an address of their own give no rule.
    pub(super) const fn refuses_redirects(&self) -> bool {
        self.only_blocks
    }

    /// A block rule of a hosts or plain line.
    #[inline]
    pub(super) fn host(&mut self, name: Name, scope: Scope) {
        self.block(name, scope, true);
    }

    /// A block rule with the answer that the policy says.
    #[inline]
    pub(super) fn block(&mut self, name: Name, scope: Scope, host_rule: bool) {
        self.plain.name = name;
        self.plain.shape.scope = self.scoped(scope);
        self.plain.shape.host_rule = host_rule;
        self.rules += 1;
        self.sink.rule(self.line, &self.plain);
    }

    /// An exception.
    pub(super) fn allow(&mut self, name: Name, scope: Scope) {
        self.rule(
            Shape {
                effect: Effect::Allow,
                ..Shape::block(scope)
            }
            .of(name),
        );
    }

    /// Any rule.
    pub(super) fn rule(&mut self, rule: Rule) {
        self.rule_of_line(self.line, rule);
    }

    /// A rule of an earlier line.
    pub(super) fn rule_of_line(&mut self, line: u32, mut rule: Rule) {
        // A rule for all names of a client has no scope to change.
        if rule.name != Name::ROOT {
            rule.shape.scope = self.scoped(rule.shape.scope);
        }
        self.rules += 1;
        self.sink.rule(line, &rule);
    }

    /// A block rule that answers with `address`.
    ///
    /// Lists give the two addresses of a name in two lines, one after the
    /// other; they become one rule. Returns `false` if the rule has an
    /// address of this kind already.
    pub(super) fn address(
        &mut self,
        name: Name,
        scope: Scope,
        address: IpAddr,
        host_rule: bool,
    ) -> bool {
        if address.is_unspecified() {
            self.rule(
                Shape {
                    effect: Effect::Block(Some(Answer::of(AnswerKind::Null))),
                    host_rule,
                    ..Shape::block(scope)
                }
                .of(name),
            );
            return true;
        }
        if let Some((_, rule)) = &mut self.addressed
            && rule.name == name
            && rule.shape.scope == scope
            && let Effect::Block(Some(answer)) = &mut rule.shape.effect
        {
            return answer.add(address);
        }
        self.flush();
        let mut answer = Answer::of(AnswerKind::Address);
        answer.add(address);
        let rule = Shape {
            effect: Effect::Block(Some(answer)),
            host_rule,
            ..Shape::block(scope)
        }
        .of(name);
        self.addressed = Some((self.line, rule));
        true
    }

    /// Notes that the line says something of a name, and hands back its number.
    pub(super) const fn hold(&mut self) -> u32 {
        self.held += 1;
        self.line
    }

    /// What lines gave so far: rules, and what becomes rules at the end.
    pub(super) const fn given(&self) -> u64 {
        self.rules + self.held
    }

    /// Hands out what is left and says how many rules there were.
    pub(super) fn finish(mut self) -> u64 {
        self.flush();
        self.rules
    }

    fn flush(&mut self) {
        if let Some((line, rule)) = self.addressed.take() {
            self.rule_of_line(line, rule);
        }
    }

    #[inline]
    fn scoped(&self, scope: Scope) -> Scope {
        match self.scope {
            ScopePolicy::AsFormat => scope,
            ScopePolicy::Exact => Scope::Exact,
            ScopePolicy::Suffix => Scope::Suffix,
        }
    }
}

impl Answer {
    /// Adds an address; `false` if there is one of this kind already.
    pub(super) fn add(&mut self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(address) if self.ipv4.is_none() => self.ipv4 = Some(address),
            IpAddr::V6(address) if self.ipv6.is_none() => self.ipv6 = Some(address),
            _ => return false,
        }
        true
    }
}
