//! Changes response header fields (HTTPHeaderFilter).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::edits::{Edits, HeaderEdits, Side};
use crate::{Context, Filter, Invalid, Lookup, Policy, Response};

/// Changes to the response head.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct ResponseHeaders(pub HeaderEdits);

impl Policy for ResponseHeaders {
    type Filter = ResponseHeadersFilter;

    fn compile(&self, _: &dyn Lookup) -> Result<ResponseHeadersFilter, Invalid> {
        Edits::compile(&self.0, Side::Response).map(ResponseHeadersFilter)
    }
}

/// A compiled [`ResponseHeaders`].
#[derive(Debug)]
pub struct ResponseHeadersFilter(Edits);

impl Filter for ResponseHeadersFilter {
    type State = ();

    fn response(&self, rsp: &mut Response, _: &Context, (): &()) {
        self.0.apply(rsp);
    }
}
