//! What policies need of Secrets and ConfigMaps.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Redacted;

/// What is in a Secret or ConfigMap that a policy names. Dumps show the keys only.
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
