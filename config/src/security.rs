//! SecurityPolicies and what they are made of, apart from routes: a target names its policies, so that a proxy that has
//! not got one knows it, and refuses.

mod effective;

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use policies::{Layer, SecuritySet};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

pub use self::effective::{EffectivePart, Said, effective};
use crate::Redacted;

/// A SecurityPolicy. Listeners, routes, rules and backends name those that are about them; of several each part is
/// decided by level, the more specific default and the more general override winning ([`policies::merge`]).
#[derive(Debug, Clone, Default, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SecurityPolicy {
    /// What holds unless a more specific policy says otherwise.
    #[serde(default, skip_serializing_if = "SecuritySet::is_empty")]
    pub defaults: SecuritySet,
    /// What holds whatever a more specific policy says.
    #[serde(default, skip_serializing_if = "SecuritySet::is_empty")]
    pub overrides: SecuritySet,
    /// Why it cannot be followed: every request to what names it is answered 500.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub invalid: Option<String>,
}

impl SecurityPolicy {
    /// One that cannot be followed.
    #[must_use]
    pub fn invalid(why: impl Into<String>) -> Self {
        Self { invalid: Some(why.into()), ..Self::default() }
    }

    /// What it says at its level.
    #[must_use]
    pub fn layer(&self) -> Layer<SecuritySet> {
        Layer { defaults: self.defaults.clone(), overrides: self.overrides.clone() }
    }

    /// Both sets.
    pub fn sets(&self) -> impl Iterator<Item = &SecuritySet> {
        [&self.defaults, &self.overrides].into_iter()
    }
}

/// What cannot be read is a policy that refuses: kept out, it would leave its targets open, or held to what it said
/// before.
impl<'de> Deserialize<'de> for SecurityPolicy {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Default, Deserialize)]
        #[serde(deny_unknown_fields, default)]
        struct Strict {
            defaults: SecuritySet,
            overrides: SecuritySet,
            invalid: Option<String>,
        }
        let fields = Map::deserialize(deserializer)?;
        Ok(match serde_json::from_value(Value::Object(fields)) {
            Ok(Strict { defaults, overrides, invalid }) => Self { defaults, overrides, invalid },
            Err(error) => Self::invalid(format!("it cannot be read by this version of Fairway: {error}")),
        })
    }
}

/// What is in a Secret or ConfigMap that a SecurityPolicy names. Dumps show the keys only.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Material {
    /// By key, base64 (RFC 4648 section 4).
    pub data: BTreeMap<String, Redacted>,
}

impl Material {
    /// From bytes by key.
    pub fn new<'a>(data: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Self {
        let encoded = |(key, bytes): (&str, &[u8])| (key.to_owned(), Redacted::new(STANDARD.encode(bytes)));
        Self { data: data.into_iter().map(encoded).collect() }
    }

    /// As policies read it.
    ///
    /// # Errors
    /// The key whose value is no base64.
    pub fn decode(&self) -> Result<policies::Material, String> {
        let decoded = self.data.iter().map(|(key, value)| {
            let bytes = STANDARD.decode(value.reveal()).map_err(|_| format!("data.{key}: is no base64"))?;
            Ok((key.clone(), bytes.into()))
        });
        Ok(policies::Material(decoded.collect::<Result<_, String>>()?))
    }
}

/// Of the resource that holds what `object` names.
pub(crate) const fn kind(object: policies::ObjectKind) -> crate::Kind {
    match object {
        policies::ObjectKind::Secret => crate::Kind::Secret,
        policies::ObjectKind::ConfigMap => crate::Kind::ConfigMap,
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
            assert!(bad.sets().all(SecuritySet::is_empty));
        }
    }

    #[test]
    fn what_a_secret_holds_travels_and_is_shown_to_nobody() {
        let material = Material::new([("key", &[0, 255, 7][..])]);
        assert_eq!(&*material.decode().unwrap().0["key"], [0, 255, 7]);
        let shown = Resource::Secret(material.clone()).redacted();
        assert_eq!(
            serde_json::to_string(&shown).unwrap(),
            r#"{"kind":"Secret","data":{"key":"[redacted]"}}"#
        );
        assert!(!format!("{material:?}").contains("AP8H"));
        assert!(Material { data: [("k".to_owned(), Redacted::new("?"))].into() }.decode().is_err());
    }
}
