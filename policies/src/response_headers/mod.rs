//! Changes response header fields (HTTPHeaderFilter).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Filter, Invalid, Lookup, Policy};

use crate::request_headers::HeaderEdits;

/// Changes to the response head.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct ResponseHeaders(pub HeaderEdits);

impl Policy for ResponseHeaders {
    type Filter = ResponseHeadersFilter;

    fn compile(&self, _: &dyn Lookup) -> Result<ResponseHeadersFilter, Invalid> {
        Ok(ResponseHeadersFilter {})
    }
}

/// A compiled [`ResponseHeaders`].
#[derive(Debug)]
pub struct ResponseHeadersFilter {}

impl Filter for ResponseHeadersFilter {
    type State = ();
}
