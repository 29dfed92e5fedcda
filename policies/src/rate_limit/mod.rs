//! How much may come (`rateLimit`).
//!
//! Each limit is a table of buckets by key ([`Counters`]), which outlives changes of the configuration. A request takes
//! from every limit that it matches, or from none. Nobody is asked.

mod counters;
mod filter;
mod headers;
mod rate;
mod select;
mod spec;

use std::collections::BTreeSet;

use http::HeaderName;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::counters::Counters;
use self::counters::{FEW, MANY};
pub use self::filter::RateLimitFilter;
use self::filter::{Price, Rule};
use self::headers::Names;
use self::rate::Rate;
use self::select::Selector;
use self::spec::is_enforce;
pub use self::spec::{
    ClaimMatch, ClientSelector, Cost, CostFrom, Costs, How, Limit, LimitRule, LocalLimits, MethodMatch,
    NameMatch, PathHow, PathMatch, SourceHow, SourceMatch, Unit, ValueMatch, XRateLimitHeaders,
};
use crate::mode::Mode;
use crate::{Invalid, Lookup, Policy};

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
    /// Limits of each proxy for itself: with several proxies as many times as much may come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local: Option<LocalLimits>,
    /// `Off`: responses do not tell limits (`RateLimit`, `RateLimit-Policy`). Default: On.
    #[serde(default, skip_serializing_if = "Headers::is_on")]
    pub headers: Headers,
    /// Whether requests are refused or only noted. Default: Enforce.
    #[serde(default, skip_serializing_if = "is_enforce")]
    pub mode: Mode,
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

    fn compile(&self, lookup: &dyn Lookup) -> Result<RateLimitFilter, Invalid> {
        let rules = self.local.as_ref().map_or(&[][..], |local| &local.rules);
        if rules.is_empty() || rules.len() > MOST {
            let message = format!("holds {} rules; write 1 to {MOST}", rules.len());
            return Err(Invalid::field("local.rules", message));
        }
        let mut names = BTreeSet::new();
        let compile = |(at, rule): (usize, &LimitRule)| {
            let field = format!("local.rules[{at}]");
            let name = rule.name.clone().unwrap_or_else(|| format!("rule-{at}"));
            check_name(&field, &name)?;
            if !names.insert(name.clone()) {
                let message = format!("{name:?} is taken: rules differ in name");
                return Err(Invalid::field(format!("{field}.name"), message));
            }
            self.rule(&field, &name, rule, lookup)
        };
        let rules: Vec<Rule> = rules.iter().enumerate().map(compile).collect::<Result<_, _>>()?;
        Ok(RateLimitFilter { rules: rules.into(), clock: lookup.clock(), mode: self.mode })
    }
}

impl RateLimit {
    fn rule(&self, field: &str, name: &str, rule: &LimitRule, lookup: &dyn Lookup) -> Result<Rule, Invalid> {
        if rule.client_selectors.len() > MOST_SELECTORS {
            let message = format!("has more than {MOST_SELECTORS} entries: write fewer");
            return Err(Invalid::field(format!("{field}.clientSelectors"), message));
        }
        let select = Selector::compile(&format!("{field}.clientSelectors"), &rule.client_selectors)?;
        let Limit { requests, unit, burst } = rule.limit;
        if burst == Some(0) {
            return Err(Invalid::field(
                format!("{field}.limit.burst"),
                "is 0, so that nothing could come; write 1 or more, or `requests: 0`",
            ));
        }
        let costs = rule.cost.clone().unwrap_or_default();
        let price = |what: &str, cost: &Option<Cost>| {
            cost.as_ref().map(|cost| cost.compile(&format!("{field}.cost.{what}"))).transpose()
        };
        let rate =
            Rate::new(requests.into(), unit.duration(), burst.unwrap_or_else(|| requests.max(1)).into());
        let names = match self.headers {
            Headers::On => Some(Names::new(name, rate, requests, unit)),
            Headers::Off => None,
        };
        Ok(Rule {
            name: name.into(),
            rate,
            counters: lookup.counters(name, if select.is_distinct() { MANY } else { FEW }),
            select,
            request: price("request", &costs.request)?.unwrap_or(Price::Number(1)),
            response: price("response", &costs.response)?,
            is_shared: rule.shared,
            is_shadow: rule.shadow_mode,
            names,
            tells_older: rule.x_rate_limit_headers == Some(XRateLimitHeaders::DraftVersion03),
        })
    }
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
