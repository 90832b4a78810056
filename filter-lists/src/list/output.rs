//! The way of rules to the sink: scope policy, shared answers, counting.

use std::net::IpAddr;

use filter_common::{
    name::Name,
    rule::{AnswerKind, Scope},
};

use super::ScopePolicy;
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
    /// The line that rules belong to.
    pub(super) line: u32,
    rules: u64,
    /// A plain block rule; only its name, scope and `host_rule` change.
    plain: Rule,
    /// A rule with an address that the next lines may complete.
    addressed: Option<(u32, Rule)>,
}

impl<'s, S: Sink> Output<'s, S> {
    pub(super) fn new(sink: &'s mut S, scope: ScopePolicy) -> Self {
        Self {
            sink,
            scope,
            line: 0,
            rules: 0,
            plain: Rule::block(Name::ROOT, Scope::Exact),
            addressed: None,
        }
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

    /// A block rule with an answer of its own.
    pub(super) fn answer(&mut self, name: Name, scope: Scope, kind: AnswerKind) {
        let effect = Effect::Block(Some(Answer::of(kind)));
        self.rule(
            Shape {
                effect,
                ..Shape::block(scope)
            }
            .of(name),
        );
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

    /// Rules handed out so far.
    pub(super) const fn rules(&self) -> u64 {
        self.rules
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
