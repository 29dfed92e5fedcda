//! Policies that are attached to something (SecurityPolicy, BackendTrafficPolicy), apart from routes: a target names its
//! policies, so that a proxy that has not got one knows it, and refuses.

mod effective;

use policies::{Layer, Parts, SecuritySet, TrafficSet};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

pub use self::effective::{EffectivePart, Said, effective};

/// Who may send requests.
pub type SecurityPolicy = Attached<SecuritySet>;
/// How much may come.
pub type BackendTrafficPolicy = Attached<TrafficSet>;

/// A policy. Listeners, routes, rules and backends name those that are about them; of several of a kind each part is
/// decided by level, the more specific default and the more general override winning ([`policies::merge`]).
#[derive(Debug, Clone, Default, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "Attached{S}")]
pub struct Attached<S: Parts> {
    /// What holds unless a more specific policy says otherwise.
    #[serde(default, skip_serializing_if = "is_empty")]
    pub defaults: S,
    /// What holds whatever a more specific policy says.
    #[serde(default, skip_serializing_if = "is_empty")]
    pub overrides: S,
    /// Why it cannot be followed: every request to what names it is answered 500.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub invalid: Option<String>,
}

fn is_empty<S: Parts>(set: &S) -> bool {
    set.names().is_empty()
}

impl<S: Parts> Attached<S> {
    /// One that cannot be followed.
    #[must_use]
    pub fn invalid(why: impl Into<String>) -> Self {
        Self { invalid: Some(why.into()), ..Self::default() }
    }

    /// What it says at its level.
    #[must_use]
    pub fn layer(&self) -> Layer<S> {
        Layer { defaults: self.defaults.clone(), overrides: self.overrides.clone() }
    }

    /// Both sets.
    pub fn sets(&self) -> impl Iterator<Item = &S> {
        [&self.defaults, &self.overrides].into_iter()
    }
}

/// What cannot be read is a policy that refuses: kept out, it would leave its targets open, or held to what it said
/// before.
impl<'de, S: Parts> Deserialize<'de> for Attached<S> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields, bound = "S: Default + DeserializeOwned")]
        struct Strict<S> {
            #[serde(default)]
            defaults: S,
            #[serde(default)]
            overrides: S,
            #[serde(default)]
            invalid: Option<String>,
        }
        let fields = Map::deserialize(deserializer)?;
        Ok(match serde_json::from_value(Value::Object(fields)) {
            Ok(Strict { defaults, overrides, invalid }) => Self { defaults, overrides, invalid },
            Err(error) => Self::invalid(format!("it cannot be read by this version of Fairway: {error}")),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Resource;

    fn read(text: &str) -> SecurityPolicy {
        let Resource::SecurityPolicy(policy) = serde_json::from_str(text).unwrap() else { panic!("{text}") };
        *policy
    }

    #[test]
    fn a_policy_that_cannot_be_read_refuses_instead_of_being_left_out() {
        let good = read(r#"{"kind": "SecurityPolicy", "defaults": {"cors": {"allowOrigins": ["*"]}}}"#);
        assert!(good.invalid.is_none() && good.defaults.cors.is_some(), "{good:?}");
        for part in [r#""defaults": {"ofTomorrow": {}}"#, r#""ofTomorrow": 1"#, r#""overrides": 7"#] {
            let bad = read(&format!(r#"{{"kind": "SecurityPolicy", {part}}}"#));
            assert!(bad.invalid.is_some(), "{part}");
            assert!(bad.sets().all(is_empty));
        }
    }
}
