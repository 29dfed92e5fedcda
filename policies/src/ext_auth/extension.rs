//! Constants for a gRPC service: written in the policy, or in an object of its namespace.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::MOST_EXTENSIONS;
use crate::schema::rule;
use crate::{Invalid, KeyRef, Lookup, ObjectRef};

/// A constant. Exactly one of `value` and `valueRef`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(transform = rule(
    "has(self.value) != has(self.valueRef) && (!has(self.type) || (self.type == 'Value') == has(self.value))",
    "give one of value and valueRef, as type says",
))]
pub struct ContextExtension {
    /// Name; unique in the list.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// `Value` or `ValueRef`. Default: the one that is given.
    #[serde(default, skip_serializing_if = "Option::is_none", rename = "type")]
    pub kind: Option<ContextExtensionType>,
    /// The constant; up to 4,096 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = MOST_BYTES))]
    pub value: Option<String>,
    /// Where it is: a key of a Secret or ConfigMap of the policy's namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value_ref: Option<KeyRef>,
}

/// Where a constant is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ContextExtensionType {
    /// In the policy.
    Value,
    /// In an object.
    ValueRef,
}

const MOST_BYTES: usize = 4096;

impl ContextExtension {
    pub(super) fn object(&self) -> Option<&ObjectRef> {
        self.value_ref.as_ref().map(|key| &key.object)
    }

    fn resolve(&self, field: &str, lookup: &dyn Lookup) -> Result<String, Invalid> {
        use ContextExtensionType::{Value, ValueRef};
        let text = match (self.kind, &self.value, &self.value_ref) {
            (None | Some(Value), Some(value), None) => value.clone(),
            (None | Some(ValueRef), None, Some(KeyRef { object, key })) => {
                let material =
                    lookup.material(object).ok_or_else(|| Invalid::ObjectNotFound(object.clone()))?;
                let field = format!("{field}.valueRef.key");
                let bytes = material.0.get(key);
                let bytes =
                    bytes.ok_or_else(|| Invalid::field(&field, format!("{object} has no key {key:?}")))?;
                let text = std::str::from_utf8(bytes);
                text.map_err(|_| Invalid::field(&field, format!("{key:?} in {object} is no text")))?
                    .to_owned()
            }
            _ => return Err(Invalid::field(field, "needs either value or valueRef, as type says")),
        };
        if text.len() > MOST_BYTES {
            let message = format!("is longer than {MOST_BYTES} bytes; shorten it");
            return Err(Invalid::field(format!("{field}.value"), message));
        }
        Ok(text)
    }
}

/// By name.
pub(super) fn compile(
    extensions: &[ContextExtension],
    lookup: &dyn Lookup,
) -> Result<BTreeMap<String, String>, Invalid> {
    if extensions.len() > MOST_EXTENSIONS {
        let message = format!("has more than {MOST_EXTENSIONS} entries");
        return Err(Invalid::field("contextExtensions", message));
    }
    let mut by_name = BTreeMap::new();
    for (at, extension) in extensions.iter().enumerate() {
        let field = format!("contextExtensions[{at}]");
        if extension.name.is_empty() {
            return Err(Invalid::field(format!("{field}.name"), "is empty; name it"));
        }
        let text = extension.resolve(&field, lookup)?;
        if by_name.insert(extension.name.clone(), text).is_some() {
            let message = format!("{:?} is there twice; keep one of them", extension.name);
            return Err(Invalid::field(format!("{field}.name"), message));
        }
    }
    Ok(by_name)
}
