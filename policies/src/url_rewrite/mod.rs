//! Changes the host and path the backend sees (HTTPURLRewriteFilter).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Filter, Invalid, Lookup, Policy};

use crate::redirect::PathModifier;

/// What the backend sees instead.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct UrlRewrite {
    /// Host header. Default: as the client sent it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// Path. Default: as the client sent it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<PathModifier>,
}

impl Policy for UrlRewrite {
    type Filter = UrlRewriteFilter;

    fn compile(&self, _: &dyn Lookup) -> Result<UrlRewriteFilter, Invalid> {
        Ok(UrlRewriteFilter {})
    }
}

/// A compiled [`UrlRewrite`].
#[derive(Debug)]
pub struct UrlRewriteFilter {}

impl Filter for UrlRewriteFilter {
    type State = ();
}
