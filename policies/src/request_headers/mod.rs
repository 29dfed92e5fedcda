//! Changes request header fields (HTTPHeaderFilter). `host` may be set, and `:authority` follows it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::edits::{Edits, Side};
use crate::{Context, Filter, Invalid, Lookup, Policy, Request, Verdict};

pub use crate::edits::{HeaderEdits, HeaderField};

/// Changes to the request head.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct RequestHeaders(pub HeaderEdits);

impl Policy for RequestHeaders {
    type Filter = RequestHeadersFilter;

    fn compile(&self, _: &dyn Lookup) -> Result<RequestHeadersFilter, Invalid> {
        Edits::compile(&self.0, Side::Request).map(RequestHeadersFilter)
    }
}

/// A compiled [`RequestHeaders`].
#[derive(Debug)]
pub struct RequestHeadersFilter(Edits);

impl Filter for RequestHeadersFilter {
    type State = ();

    fn request<'a>(&'a self, req: &'a mut Request, _: &'a mut Context, (): &'a mut ()) -> Verdict<'a> {
        self.0.apply(req);
        Verdict::Continue
    }
}
