//! How much may come (`rateLimit`).
//!
//! Each limit is a table of buckets by key, which outlives changes of the configuration: of this proxy alone ([`Counters`]), or
//! of shares that it has leased ([`Leased`]). A request takes from every limit that it matches, or from none. Nobody is asked, but
//! for limits that a service counts ([`ExactLimits`]), and then once.

mod conditions;
mod counters;
mod exact;
mod filter;
mod global;
mod headers;
mod key;
mod leased;
mod rate;
mod select;
mod spec;

use std::collections::BTreeSet;

use http::HeaderName;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub(crate) use self::conditions::Conditions;
pub use self::counters::Counters;
use self::counters::{FEW, MANY};
pub use self::exact::ExactLimits;
use self::exact::Rule as AskedRule;
pub use self::filter::RateLimitFilter;
use self::filter::{Meter, Price, Rule};
pub use self::global::{Fallback, GlobalLimits, OnQuotaLost};
use self::headers::Names;
pub use self::leased::{Leased, nanos};
use self::rate::Rate;
pub(crate) use self::select::Attribute;
use self::select::Selector;
pub use self::spec::{
    Algorithm, ClaimMatch, ClientSelector, Cost, CostFrom, Costs, How, Limit, LimitRule, LocalLimits,
    MethodMatch, NameMatch, PathHow, PathMatch, SourceHow, SourceMatch, Unit, ValueMatch, XRateLimitHeaders,
};
use self::spec::{SLIDING, is_enforce};
use crate::lease::{Size, Terms};
use crate::mode::Mode;
use crate::rls::Override;
use crate::{BackendRef, Invalid, Lookup, Policy};

/// Rules of one policy.
const MOST: usize = 64;
/// Selectors of one rule.
const MOST_SELECTORS: usize = 8;
/// The greatest cost.
const DEAREST: u64 = 1_000_000_000;

/// How much may come.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RateLimit {
    /// Which of the two is there, as Envoy Gateway once asked for: `Local` or `Global`. It has no effect. Default: whatever is
    /// there.
    #[serde(default, skip_serializing, rename = "type")]
    pub kind: Option<RateLimitType>,
    /// Limits of each proxy for itself: with several proxies as many times as much may come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local: Option<LocalLimits>,
    /// Limits that all proxies hold together, gateways and waypoints.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub global: Option<GlobalLimits>,
    /// Limits that a rate limit service counts, which is asked about each request. Fairway's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exact: Option<ExactLimits>,
    /// `Off`: responses do not tell limits (`RateLimit`, `RateLimit-Policy`). Default: On.
    #[serde(default, skip_serializing_if = "Headers::is_on")]
    pub headers: Headers,
    /// Whether requests are refused or only noted. Default: Enforce.
    #[serde(default, skip_serializing_if = "is_enforce")]
    pub mode: Mode,
}

/// Who holds limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RateLimitType {
    /// Each proxy for itself.
    Local,
    /// All together.
    Global,
}

/// Whether clients are told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Headers {
    /// They are.
    #[default]
    On,
    /// They are not.
    Off,
}

impl Headers {
    #[allow(clippy::trivially_copy_pass_by_ref, reason = "what serde calls")]
    fn is_on(&self) -> bool {
        *self == Self::On
    }
}

impl Policy for RateLimit {
    type Filter = RateLimitFilter;

    fn backends(&self) -> Vec<&BackendRef> {
        self.exact.iter().flat_map(|exact| &exact.backend_refs).collect()
    }

    fn compile(&self, lookup: &dyn Lookup) -> Result<RateLimitFilter, Invalid> {
        if self.local.is_none() && self.global.is_none() && self.exact.is_none() {
            return Err(Invalid::field(
                "local",
                "is missing, and so are global and exact: write one of them",
            ));
        }
        match self.kind {
            Some(RateLimitType::Local) if self.local.is_none() => {
                return Err(Invalid::field(
                    "type",
                    "is Local, and there is no local: write it, or leave type out",
                ));
            }
            Some(RateLimitType::Global) if self.global.is_none() && self.exact.is_none() => {
                return Err(Invalid::field(
                    "type",
                    "is Global, and there is no global: write it, or leave type out",
                ));
            }
            Some(_) | None => {}
        }
        let (mut names, mut rules, mut asked) = (BTreeSet::new(), Vec::new(), Vec::new());
        for group in self.groups() {
            if group.rules.is_empty() || group.rules.len() > MOST {
                let message = format!("holds {} rules; write 1 to {MOST}", group.rules.len());
                return Err(Invalid::field(format!("{}.rules", group.field), message));
            }
            for (at, rule) in group.rules.iter().enumerate() {
                let (field, name) = (format!("{}.rules[{at}]", group.field), group.name(at, rule));
                check_name(&field, &name)?;
                if names.contains(&name) {
                    let message = format!("{name:?} is taken: rules differ in name");
                    return Err(Invalid::field(format!("{field}.name"), message));
                }
                match group.held {
                    Held::Exact => asked.push(self.asked((&field, &name), rule)?),
                    Held::Local => rules.push(self.rule(None, (&field, &name), rule, lookup)?),
                    Held::Leased(global) => {
                        rules.push(self.rule(Some(global), (&field, &name), rule, lookup)?)
                    }
                }
                names.insert(name);
            }
        }
        Ok(RateLimitFilter {
            rules: rules.into(),
            exact: self.exact.as_ref().map(|exact| exact.compile(asked, lookup)).transpose()?,
            clock: lookup.clock(),
            mode: self.mode,
        })
    }

    fn notes(&self) -> Vec<String> {
        let Size { keys, .. } = Size::default();
        // Some 400 bytes for a key, and the logs of windows.
        let memory = |rules: &[LimitRule]| {
            if rules.iter().any(|rule| rule.limit.algorithm == Algorithm::SlidingWindow) { 64 } else { 32 }
        };
        let tells_apart = |rule: &LimitRule| {
            Selector::compile("", &rule.client_selectors).is_ok_and(|selector| selector.parts() > 0)
        };
        let note = |group: &Group<'_>| {
            let limits = group.rules.iter().enumerate().filter(|(_, rule)| tells_apart(rule));
            let names: Vec<String> = limits.map(|(at, rule)| group.name(at, rule)).collect();
            let what = match group.held {
                // They are the service's.
                Held::Exact => return None,
                Held::Leased(_) => format!(
                    "{keys} keys of each in {} MiB at most; keys beyond that share an equal part of the limit with others",
                    memory(group.rules)
                ),
                Held::Local => {
                    format!("{MANY} keys of each in 4 MiB; the fullest bucket makes room for a new one")
                }
            };
            let (names, field) = (names.join(", "), group.field);
            (!names.is_empty()).then(|| {
                format!("rateLimit.{field}: {names}: clients decide how many keys there are; a proxy holds {what}.")
            })
        };
        self.groups().iter().filter_map(note).collect()
    }
}

/// Rules that are held in the same way.
struct Group<'r> {
    field: &'static str,
    /// Before the index of a rule without a name.
    prefix: &'static str,
    rules: &'r [LimitRule],
    held: Held<'r>,
}

/// By whom.
#[derive(Clone, Copy)]
enum Held<'r> {
    /// By each proxy for itself.
    Local,
    /// By all together.
    Leased(&'r GlobalLimits),
    /// By a service.
    Exact,
}

impl Group<'_> {
    fn name(&self, at: usize, rule: &LimitRule) -> String {
        rule.name.clone().unwrap_or_else(|| format!("{}-{at}", self.prefix))
    }
}

/// A limit that all proxies hold together, as a quota server has to know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shared {
    /// Of the rule.
    pub name: String,
    /// What is to be held.
    pub terms: Terms,
    /// Whether buckets are told apart by keys.
    pub is_keyed: bool,
}

impl RateLimit {
    /// Local ones first: what they refuse takes no share, and nobody is asked about it.
    fn groups(&self) -> Vec<Group<'_>> {
        let local = self.local.iter().map(|local| Group {
            field: "local",
            prefix: "rule",
            rules: &local.rules,
            held: Held::Local,
        });
        let global = self.global.iter().map(|global| Group {
            field: "global",
            prefix: "global",
            rules: &global.rules,
            held: Held::Leased(global),
        });
        let exact = self.exact.iter().map(|exact| Group {
            field: "exact",
            prefix: "exact",
            rules: &exact.rules,
            held: Held::Exact,
        });
        local.chain(global).chain(exact).collect()
    }

    /// The limits that all proxies hold together; none of what cannot be held.
    #[must_use]
    pub fn shared(&self) -> Vec<Shared> {
        let groups = self.groups();
        let rules = groups.iter().filter_map(|group| match group.held {
            Held::Leased(global) => Some((group, global)),
            Held::Local | Held::Exact => None,
        });
        let rules = rules.flat_map(|(group, global)| {
            group.rules.iter().enumerate().filter_map(move |(at, rule)| {
                let terms = global.terms("", rule.limit).ok()?;
                let select = Selector::compile("", &rule.client_selectors).ok()?;
                Some(Shared { name: group.name(at, rule), terms, is_keyed: parts(rule, &select) > 0 })
            })
        });
        rules.collect()
    }

    /// A rule that is decided here; `global`: by a share.
    fn rule(
        &self,
        global: Option<&GlobalLimits>,
        (field, name): (&str, &str),
        rule: &LimitRule,
        lookup: &dyn Lookup,
    ) -> Result<Rule, Invalid> {
        let select = select(field, rule)?;
        let Limit { requests, unit, burst, algorithm } = rule.limit;
        if burst == Some(0) {
            return Err(Invalid::field(
                format!("{field}.limit.burst"),
                "is 0, so that nothing could come; write 1 or more, or `requests: 0`",
            ));
        }
        let parts = parts(rule, &select);
        let meter = match global {
            Some(global) => {
                let terms = global.terms(field, rule.limit)?;
                Meter::Leased(lookup.leased(name, parts > 0, terms))
            }
            None if algorithm != Algorithm::TokenBucket => {
                return Err(Invalid::field(format!("{field}.limit.algorithm"), SLIDING));
            }
            None => Meter::Local(lookup.counters(name, if select.parts() > 0 { MANY } else { FEW })),
        };
        let costs = rule.cost.clone().unwrap_or_default();
        let rate =
            Rate::new(requests.into(), unit.duration(), burst.unwrap_or_else(|| requests.max(1)).into());
        Ok(Rule {
            name: name.into(),
            rate,
            meter,
            parts,
            select,
            request: price(field, "request", costs.request.as_ref())?.unwrap_or(Price::Number(1)),
            response: price(field, "response", costs.response.as_ref())?,
            is_shared: rule.shared,
            is_shadow: rule.shadow_mode,
            names: self.names(name, rate, rule.limit),
            tells_older: tells_older(rule),
        })
    }

    /// A rule that a service is asked for.
    fn asked(&self, (field, name): (&str, &str), rule: &LimitRule) -> Result<AskedRule, Invalid> {
        exact::check(field, rule)?;
        let Limit { requests, unit, .. } = rule.limit;
        let rate = Rate::new(requests.into(), unit.duration(), requests.max(1).into());
        let cost = rule.cost.as_ref().and_then(|costs| costs.request.as_ref());
        Ok(AskedRule {
            name: name.into(),
            select: select(field, rule)?,
            rate,
            limit: Override { requests_per_unit: requests, unit: unit.number() },
            price: price(field, "request", cost)?.unwrap_or(Price::Number(1)),
            is_shared: rule.shared,
            is_shadow: rule.shadow_mode,
            names: self.names(name, rate, rule.limit),
            tells_older: tells_older(rule),
        })
    }

    fn names(&self, name: &str, rate: Rate, limit: Limit) -> Option<Names> {
        match self.headers {
            Headers::On => Some(Names::new(name, rate, limit.requests, limit.unit)),
            Headers::Off => None,
        }
    }
}

fn select(field: &str, rule: &LimitRule) -> Result<Selector, Invalid> {
    let field = format!("{field}.clientSelectors");
    if rule.client_selectors.len() > MOST_SELECTORS {
        let message = format!("has more than {MOST_SELECTORS} entries: write fewer");
        return Err(Invalid::field(field, message));
    }
    Selector::compile(&field, &rule.client_selectors)
}

fn price(field: &str, what: &str, cost: Option<&Cost>) -> Result<Option<Price>, Invalid> {
    cost.map(|cost| cost.compile(&format!("{field}.cost.{what}"))).transpose()
}

fn tells_older(rule: &LimitRule) -> bool {
    rule.x_rate_limit_headers == Some(XRateLimitHeaders::DraftVersion03)
}

/// Parts of the keys of a rule: the route's kind and name are two.
fn parts(rule: &LimitRule, select: &Selector) -> usize {
    select.parts() + if rule.shared { 0 } else { 2 }
}

fn check_name(field: &str, name: &str) -> Result<(), Invalid> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if !matches!(name.len(), 1..=63) || !name.bytes().all(fits) {
        let message = format!("{name:?} is not 1 to 63 letters, digits, -, _ and .");
        return Err(Invalid::field(format!("{field}.name"), message));
    }
    Ok(())
}

impl Cost {
    fn compile(&self, field: &str) -> Result<Price, Invalid> {
        match (self.from, self.number, &self.header) {
            (CostFrom::Number, Some(number), None) if number <= DEAREST => Ok(Price::Number(number)),
            (CostFrom::Number, Some(number), None) => {
                Err(Invalid::field(format!("{field}.number"), format!("{number} is more than {DEAREST}")))
            }
            (CostFrom::Number, _, _) => {
                Err(Invalid::field(field, "is from Number: write `number`, and no `header`"))
            }
            (CostFrom::Header, None, Some(name)) => {
                let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| {
                    Invalid::field(
                        format!("{field}.header"),
                        format!("{name:?} is no name of a header field"),
                    )
                })?;
                Ok(Price::Header(name))
            }
            (CostFrom::Header, _, _) => {
                Err(Invalid::field(field, "is from Header: write `header`, and no `number`"))
            }
        }
    }
}

#[cfg(test)]
mod tests;
