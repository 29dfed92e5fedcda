//! Which share of a rule's backends a request goes to, where that is not left to the weights alone (`trafficSplit`).
//!
//! Weights say how many, this says who: [`sticky`](StickyBy) requests with one key go to one backend, in every proxy and
//! after every restart, and when weights move so do only as many keys as that takes; targets send testers to a backend
//! whatever its weight.

mod cookie;

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use self::cookie::Cookie;
pub use self::cookie::StickyCookie;
use crate::authorization::ClaimPath;
use crate::edits::name;
use crate::rate_limit::{Attribute, ClientSelector, Conditions};
use crate::schema::{CLAIM_PATH, OBJECT_NAME, field_name, form};
use crate::{Context, Filter, Invalid, Lookup, Policy, Request, Response, Verdict, extract, stable};

/// Targets of one policy.
const MOST: usize = 16;
/// Selectors of one target.
const MOST_SELECTORS: usize = 8;

/// Who goes where. `stickyBy` or `targets` is there, or both.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("minProperties" = 1))]
pub struct TrafficSplit {
    /// What keeps a client at one backend. Default: nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sticky_by: Option<StickyBy>,
    /// Requests that go to one backend whatever its weight; the first that matches decides; up to 16. Where a rule does not
    /// name the backend, a target has no say.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = MOST))]
    pub targets: Vec<Target>,
}

/// What keeps a client at one backend. Exactly one field. A request without it goes by weight.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("minProperties" = 1, "maxProperties" = 1))]
pub struct StickyBy {
    /// The value of this header field, such as `X-User`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = field_name)]
    pub header: Option<String>,
    /// The value of a cookie. A client that has none gets one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cookie: Option<StickyCookie>,
    /// A claim of a token that `jwt` of a SecurityPolicy has verified.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claim: Option<StickyClaim>,
}

/// A claim.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StickyClaim {
    /// Name of the provider (`jwt.providers[].name`) that verified the token. Default: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub provider: Option<String>,
    /// Name of the claim, a string, number or truth value. A dot leads into an object; `\.` is a dot of the name.
    #[schemars(transform = form(CLAIM_PATH))]
    pub name: String,
}

/// Requests that go to one backend.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Target {
    /// Which requests: those for which all conditions hold, as in `rateLimit`, without `Distinct`; 1 to 8.
    #[schemars(length(min = 1, max = MOST_SELECTORS))]
    pub client_selectors: Vec<ClientSelector>,
    /// Where they go.
    pub backend_ref: TargetBackend,
}

/// One of the rule's `backendRefs`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TargetBackend {
    /// Name of the Service.
    #[schemars(transform = form(OBJECT_NAME))]
    pub name: String,
    /// Its port. Default: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub port: Option<u16>,
}

/// What the engine is told.
#[derive(Debug, Clone, Default)]
pub struct Preference {
    /// The backend it goes to, if it is one of the rule's.
    pub target: Option<Arc<TargetBackend>>,
    /// Else, what chooses by weight, always the same.
    pub key: Option<u64>,
}

impl Policy for TrafficSplit {
    type Filter = TrafficSplitFilter;

    fn compile(&self, _: &dyn Lookup) -> Result<TrafficSplitFilter, Invalid> {
        if self.sticky_by.is_none() && self.targets.is_empty() {
            return Err(Invalid::field(
                "stickyBy",
                "is missing, and there are no targets; write one of them",
            ));
        }
        if self.targets.len() > MOST {
            return Err(Invalid::field("targets", format!("has more than {MOST} entries")));
        }
        let key = self.sticky_by.as_ref().map(StickyBy::compile).transpose()?;
        let compile = |(at, target): (usize, &Target)| {
            let field = format!("targets[{at}].clientSelectors");
            if !(1..=MOST_SELECTORS).contains(&target.client_selectors.len()) {
                return Err(Invalid::field(field, format!("holds not 1 to {MOST_SELECTORS} entries")));
            }
            let conditions = Conditions::compile(&field, &target.client_selectors)?;
            Ok((conditions, Arc::new(target.backend_ref.clone())))
        };
        let targets = self.targets.iter().enumerate().map(compile).collect::<Result<_, _>>()?;
        Ok(TrafficSplitFilter { key, targets })
    }
}

impl StickyBy {
    fn compile(&self) -> Result<Key, Invalid> {
        match self {
            Self { header: Some(header), cookie: None, claim: None } => {
                Ok(Key::Value(Attribute::Header(name("stickyBy.header", header)?)))
            }
            Self { header: None, cookie: Some(cookie), claim: None } => Ok(Key::Cookie(cookie.compile()?)),
            Self { header: None, cookie: None, claim: Some(StickyClaim { provider, name }) } => {
                Ok(Key::Value(Attribute::Claim(
                    provider.as_deref().map(Into::into),
                    ClaimPath::read(name, "stickyBy.claim.name")?,
                )))
            }
            _ => Err(Invalid::field("stickyBy", "has not exactly one of header, cookie and claim")),
        }
    }
}

/// A compiled [`TrafficSplit`].
#[derive(Debug)]
pub struct TrafficSplitFilter {
    key: Option<Key>,
    targets: Box<[(Conditions, Arc<TargetBackend>)]>,
}

/// Where a key is.
#[derive(Debug)]
enum Key {
    Value(Attribute),
    Cookie(Cookie),
}

impl Filter for TrafficSplitFilter {
    /// A cookie that the client has to be given.
    type State = Option<u64>;

    fn request<'a>(
        &'a self,
        req: &'a mut Request,
        ctx: &'a mut Context,
        given: &'a mut Option<u64>,
    ) -> Verdict<'a> {
        let target = self.targets.iter().find(|(conditions, _)| conditions.hold(req, ctx));
        let key = match &self.key {
            Some(Key::Value(attribute)) => attribute.find(req, ctx).map(|value| stable::hash(&value)),
            Some(Key::Cookie(cookie)) => {
                let value = extract::cookie(req, cookie.name()).find(|value| !value.is_empty());
                let (key, fresh) = match value {
                    Some(value) => (stable::hash(value), None),
                    None => Cookie::fresh(ctx.entropy),
                };
                *given = fresh;
                Some(key)
            }
            None => None,
        };
        ctx.split = Preference { target: target.map(|(_, target)| target.clone()), key };
        Verdict::Continue
    }

    fn response(&self, rsp: &mut Response, ctx: &Context, given: &Option<u64>) {
        if let (Some(Key::Cookie(cookie)), Some(value)) = (&self.key, given) {
            cookie.give(rsp, *value, ctx.scheme);
        }
    }
}

#[cfg(test)]
mod tests;
