//! Sends copies of requests to other backends (HTTPRequestMirrorFilter). Answers to copies are ignored.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Filter, Invalid, Lookup, Policy};

use crate::BackendRef;

/// One mirror.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Mirror {
    /// Who gets the copy.
    pub backend: BackendRef,
    /// Share of the requests that are copied.
    #[serde(default, skip_serializing_if = "Fraction::is_all")]
    pub fraction: Fraction,
}

/// `numerator / denominator`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Fraction {
    /// 0 to `denominator`.
    pub numerator: u32,
    /// Above 0. Default 100.
    #[serde(default = "hundred")]
    pub denominator: u32,
}

const fn hundred() -> u32 {
    100
}

impl Default for Fraction {
    fn default() -> Self {
        Self { numerator: 100, denominator: 100 }
    }
}

impl Fraction {
    /// True when every request is taken.
    #[must_use]
    pub const fn is_all(&self) -> bool {
        self.numerator >= self.denominator
    }
}

/// Every mirror of one rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Mirrors(pub Vec<Mirror>);

impl Policy for Mirrors {
    type Filter = MirrorFilter;

    fn compile(&self, _: &dyn Lookup) -> Result<MirrorFilter, Invalid> {
        Ok(MirrorFilter {})
    }
}

/// A compiled [`Mirrors`].
#[derive(Debug)]
pub struct MirrorFilter {}

impl Filter for MirrorFilter {
    type State = ();
}
