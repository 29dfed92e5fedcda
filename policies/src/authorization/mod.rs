//! Who may do what (`authorization`), decided in the proxy.
//!
//! The order of rules says nothing: a Deny rule that matches refuses; else an Allow rule that matches lets through; else,
//! where there are Allow rules, the request is refused; else `defaultAction` decides. What is not known of a caller counts
//! against it, and so does a condition in CEL that fails. See `docs/authorization.md`.
//!
//! All rules are looked at together: each fact they ask for is looked up once, in a table that tells which rules it suits,
//! so the cost is that of the facts and not of the rules. Conditions in CEL come last, for rules that match otherwise.

mod bits;
mod cel;
mod claims;
mod compile;
mod digest;
mod facts;
mod path;
mod spec;
mod table;
mod values;

use std::collections::BTreeSet;
use std::sync::Arc;

use http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use self::bits::Bits;
pub(crate) use self::cel::{Expression, View};
pub(crate) use self::claims::ClaimPath;
use self::facts::Facts;
use self::spec::is_enforce;
pub use self::spec::{
    Action, Certificates, ClaimCondition, GrpcMethod, HeaderCondition, JwtPrincipal, Operation,
    PathCondition, PathType, Principal, Rule, ServiceAccount, ValueType,
};
use crate::mode::Mode;
use crate::{Context, Filter, Invalid, Lookup, Policy, Reply, Request, Verdict};

/// Who may do what. The order of rules says nothing: a Deny rule that matches refuses with 403; else an Allow rule that
/// matches lets through; else, where there is an Allow rule, the request is refused; else `defaultAction` decides.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Authorization {
    /// What becomes of a request that no rule matches, where there is no Allow rule. Default: Deny.
    pub default_action: Action,
    /// At most 256. Default: none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub rules: Vec<Rule>,
    /// `Shadow`: nothing is refused; what would have been is counted and logged. Default: Enforce.
    #[serde(skip_serializing_if = "is_enforce")]
    pub mode: Mode,
}

impl Policy for Authorization {
    type Filter = AuthorizationFilter;

    fn compile(&self, _: &dyn Lookup) -> Result<AuthorizationFilter, Invalid> {
        if self.rules.len() > Bits::MOST {
            let message = format!("has {} rules: at most {} are taken", self.rules.len(), Bits::MOST);
            return Err(Invalid::field("rules", message));
        }
        let mut reader = compile::Reader::default();
        let mut rules = Vec::with_capacity(self.rules.len());
        let mut names = BTreeSet::new();
        let mut cost = 0;
        for (at, rule) in self.rules.iter().enumerate() {
            let field = format!("rules[{at}]");
            let name = rule.name.clone().unwrap_or_else(|| field.clone());
            if !matches!(name.len(), 1..=253) || name.chars().any(char::is_control) {
                return Err(Invalid::field(
                    format!("{field}.name"),
                    "is not 1 to 253 characters without controls",
                ));
            }
            if !names.insert(name.clone()) {
                return Err(Invalid::field(
                    format!("{field}.name"),
                    format!("{name:?} is taken: rules differ in name"),
                ));
            }
            if says_nothing(rule) {
                return Err(Invalid::field(
                    field,
                    "has no condition, so that it would match everything: give principal, operation or when, or say it by \
                     defaultAction",
                ));
            }
            reader.read(at, rule)?;
            let when = rule
                .when
                .as_deref()
                .map(|text| Expression::read(text, &format!("{field}.when")))
                .transpose()?;
            cost += when.as_ref().map_or(0, Expression::cost);
            if cost > cel::MOST_OF_ALL {
                let message = format!(
                    "costs too much together with the rules before it: at most {} in all",
                    cel::MOST_OF_ALL
                );
                return Err(Invalid::field(format!("{field}.when"), message));
            }
            rules.push(Compiled { name: name.into(), when });
        }
        let those = |is: &dyn Fn(&Rule) -> bool| -> Bits {
            self.rules.iter().enumerate().filter(|(_, rule)| is(rule)).map(|(at, _)| at).collect()
        };
        Ok(AuthorizationFilter {
            all: those(&|_| true),
            deny: those(&|rule| rule.action == Action::Deny),
            enforced: those(&|rule| rule.mode == Mode::Enforce),
            conditional: those(&|rule| rule.when.is_some()),
            rules: rules.into(),
            facts: reader.compile()?,
            default: self.default_action,
            mode: self.mode,
        })
    }
}

fn says_nothing(rule: &Rule) -> bool {
    rule.principal.as_ref().is_none_or(|principal| *principal == Principal::default())
        && rule.operation.as_ref().is_none_or(|operation| *operation == Operation::default())
        && rule.when.is_none()
}

/// Compiled [`Authorization`].
#[derive(Debug)]
pub struct AuthorizationFilter {
    rules: Box<[Compiled]>,
    facts: Facts,
    all: Bits,
    deny: Bits,
    enforced: Bits,
    /// Rules with `when`.
    conditional: Bits,
    default: Action,
    mode: Mode,
}

#[derive(Debug)]
struct Compiled {
    name: Arc<str>,
    when: Option<Expression>,
}

/// Why a request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refusal {
    /// A Deny rule matches.
    Denied(usize),
    /// Nothing lets it through.
    Default,
    /// A condition in CEL failed.
    CelError(usize),
}

impl AuthorizationFilter {
    /// What these of the rules decide. `matched`: rules that match, but for their `when`.
    fn decide(&self, rules: Bits, matched: Bits, view: cel::View<'_>) -> Option<Refusal> {
        let (deny, allow) = (matched & rules & self.deny, matched & rules & !self.deny);
        if let Some(rule) = (deny & !self.conditional).first() {
            return Some(Refusal::Denied(rule));
        }
        for rule in (deny & self.conditional).iter() {
            match self.holds(rule, view) {
                Ok(false) => {}
                Ok(true) => return Some(Refusal::Denied(rule)),
                Err(_) => return Some(Refusal::CelError(rule)),
            }
        }
        if !(allow & !self.conditional).is_empty() {
            return None;
        }
        let mut failed = None;
        for rule in allow.iter() {
            match self.holds(rule, view) {
                Ok(false) => {}
                Ok(true) => return None,
                Err(_) => failed = failed.or(Some(Refusal::CelError(rule))),
            }
        }
        let has_allow = !(self.all & rules & !self.deny).is_empty();
        let lets_through = self.default == Action::Allow && !has_allow;
        failed.or((!lets_through).then_some(Refusal::Default))
    }

    fn holds(&self, rule: usize, view: cel::View<'_>) -> Result<bool, cel::Failed> {
        self.rules
            .get(rule)
            .and_then(|rule| rule.when.as_ref())
            .map_or(Err(cel::Failed), |when| when.holds(view))
    }

    /// Answer and rule.
    fn refuse(&self, refusal: Refusal) -> (Reply, Option<Arc<str>>) {
        let (reply, rule) = match refusal {
            Refusal::Denied(rule) => (Reply::new(StatusCode::FORBIDDEN, "authz_denied"), Some(rule)),
            Refusal::Default => (Reply::new(StatusCode::FORBIDDEN, "authz_default"), None),
            Refusal::CelError(rule) => (Reply::new(StatusCode::FORBIDDEN, "authz_cel_error"), Some(rule)),
        };
        (reply, rule.and_then(|rule| self.rules.get(rule)).map(|rule| rule.name.clone()))
    }
}

impl Filter for AuthorizationFilter {
    type State = ();

    fn is_shadow(&self) -> bool {
        self.mode == Mode::Shadow
    }

    fn request<'a>(&'a self, req: &'a mut Request, ctx: &'a mut Context, (): &'a mut ()) -> Verdict<'a> {
        let mut matched = self.all;
        self.facts.keep(&mut matched, self.deny, req, ctx);
        let view = cel::View { req, ctx };
        if let Some(refusal) = self.decide(self.enforced, matched, view) {
            let (reply, rule) = self.refuse(refusal);
            ctx.denied_by = rule;
            return Verdict::Reply(reply);
        }
        if self.enforced != self.all
            && let Some(refusal) = self.decide(self.all, matched, view)
        {
            let (reply, rule) = self.refuse(refusal);
            ctx.denied_by = rule;
            ctx.would_deny.push(reply.reason);
        }
        Verdict::Continue
    }
}

#[cfg(test)]
mod tests;
