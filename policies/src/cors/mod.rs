//! Cross-origin resource sharing, as the Gateway API HTTPCORSFilter and the Fetch standard word it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Filter, Invalid, Lookup, Policy};

/// Which other origins may read responses (GEP-1767).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Cors {
    /// Origins: `*`, `scheme://host[:port]`, or with a leading `*.` label in the host.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allow_origins: Vec<String>,
    /// Whether credentials may be sent. Default false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub allow_credentials: bool,
    /// Methods, or `*`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allow_methods: Vec<String>,
    /// Request header names, or `*`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allow_headers: Vec<String>,
    /// Response header names scripts may read, or `*`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub expose_headers: Vec<String>,
    /// How long a browser may keep a preflight's answer, in seconds. Default 5 (Gateway API).
    #[serde(default = "default_max_age")]
    pub max_age: u32,
}

const fn default_max_age() -> u32 {
    5
}

impl Policy for Cors {
    type Filter = CorsFilter;

    fn compile(&self, _: &dyn Lookup) -> Result<CorsFilter, Invalid> {
        Ok(CorsFilter {})
    }
}

/// A compiled [`Cors`].
#[derive(Debug)]
pub struct CorsFilter {}

impl Filter for CorsFilter {
    type State = ();
}
