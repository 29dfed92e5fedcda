//! Answers with a redirect (HTTPRequestRedirectFilter).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Filter, Invalid, Lookup, Policy};

/// A path as a redirect or rewrite changes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum PathModifier {
    /// The whole path is replaced; the query stays.
    ReplaceFullPath(String),
    /// The matched prefix is replaced; the rest stays.
    ReplacePrefixMatch(String),
}

/// Where to send the client; what is not set stays as the request has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Redirect {
    /// `http` or `https`. Default: the scheme of the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheme: Option<String>,
    /// Host name. Default: the Host of the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// Path. Default: the path of the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<PathModifier>,
    /// Port. Default: the well-known port of `scheme` if that is set, else the listener's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// 301, 302, 303, 307 or 308. Default 302.
    #[serde(default = "default_status")]
    pub status_code: u16,
}

const fn default_status() -> u16 {
    302
}

impl Policy for Redirect {
    type Filter = RedirectFilter;

    fn compile(&self, _: &dyn Lookup) -> Result<RedirectFilter, Invalid> {
        Ok(RedirectFilter {})
    }
}

/// A compiled [`Redirect`].
#[derive(Debug)]
pub struct RedirectFilter {}

impl Filter for RedirectFilter {
    type State = ();
}
