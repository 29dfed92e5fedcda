//! Changes request header fields (HTTPHeaderFilter), and the data type shared with its response twin.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Filter, Invalid, Lookup, Policy};

/// One header field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HeaderField {
    /// Name, in any case.
    pub name: String,
    /// Value.
    pub value: String,
}

/// Fields to set (replace), add (append) and remove; in that order: set, add, remove.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HeaderEdits {
    /// Fields that replace all of that name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub set: Vec<HeaderField>,
    /// Fields added to those of that name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub add: Vec<HeaderField>,
    /// Names removed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remove: Vec<String>,
}

/// Changes to the request head.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct RequestHeaders(pub HeaderEdits);

impl Policy for RequestHeaders {
    type Filter = RequestHeadersFilter;

    fn compile(&self, _: &dyn Lookup) -> Result<RequestHeadersFilter, Invalid> {
        Ok(RequestHeadersFilter {})
    }
}

/// A compiled [`RequestHeaders`].
#[derive(Debug)]
pub struct RequestHeadersFilter {}

impl Filter for RequestHeadersFilter {
    type State = ();
}
