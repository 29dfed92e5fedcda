//! What of a request's body the service is shown.

use std::sync::Arc;

use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::{HeaderName, HeaderValue};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Incoming, Invalid, MOST_INCOMING, Request};

/// Says whether the service is shown a part only. No word of a client's: what one sends is never told.
pub(super) const PARTIAL: HeaderName = HeaderName::from_static("x-envoy-auth-partial-body");

/// The most there can be of it, which is one less than can be asked for: a body may turn out to be larger.
const MOST: usize = MOST_INCOMING - 1;

/// How much of a request's body the service gets, and how. The request waits for so much of it to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BodyToExtAuth {
    /// Most bytes, 1 to 49,152 (48 KiB). A larger body is refused with 413, also where `failOpen` or a service would admit
    /// it.
    #[schemars(range(min = 1, max = 49152))]
    pub max_request_bytes: u32,
    /// Whether the service gets the first `maxRequestBytes` of a larger body instead, with `x-envoy-auth-partial-body:
    /// true`: it must not take them for the body. Default false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub allow_partial_message: bool,
    /// Whether a gRPC service gets it in `raw_body` always, not only where it is no UTF-8; only with `grpc`. Default false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub pack_as_bytes: bool,
}

impl BodyToExtAuth {
    pub(super) fn compile(self, is_grpc: bool) -> Result<Wanted, Invalid> {
        let most = usize::try_from(self.max_request_bytes).unwrap_or(usize::MAX);
        if !(1..=MOST).contains(&most) {
            let message = format!("is {most}; use 1 to {MOST}");
            return Err(Invalid::field("bodyToExtAuth.maxRequestBytes", message));
        }
        if self.pack_as_bytes && !is_grpc {
            let message = "is of gRPC services only; leave it out: other services get all bodies as they are";
            return Err(Invalid::field("bodyToExtAuth.packAsBytes", message));
        }
        Ok(Wanted { most, allows_part: self.allow_partial_message })
    }
}

/// What is read for the service.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted {
    most: usize,
    allows_part: bool,
}

/// A body that the service cannot be shown.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooLarge;

/// What the service is shown.
#[derive(Debug)]
pub(super) struct Shown {
    pub(super) bytes: Bytes,
    pub(super) is_whole: bool,
}

impl Shown {
    /// For [`PARTIAL`].
    pub(super) const fn is_partial(&self) -> &'static str {
        if self.is_whole { "false" } else { "true" }
    }
}

impl Wanted {
    /// `None`: there is no body.
    pub(super) async fn read(
        self,
        req: &Request,
        incoming: Arc<dyn Incoming>,
    ) -> Result<Option<Shown>, TooLarge> {
        if !self.allows_part && length(req).is_some_and(|length| length > self.most as u64) {
            return Err(TooLarge);
        }
        // With one more it is known whether that was all.
        let most = if self.allows_part { self.most } else { self.most + 1 };
        let read = incoming.read(most).await;
        if read.bytes.len() > self.most {
            return Err(TooLarge);
        }
        let is_there = !(read.bytes.is_empty() && read.is_whole);
        Ok(is_there.then_some(Shown { bytes: read.bytes, is_whole: read.is_whole }))
    }
}

/// The length a request says its body has.
pub(super) fn length(req: &Request) -> Option<u64> {
    req.headers.get(CONTENT_LENGTH).map(HeaderValue::to_str)?.ok()?.parse().ok()
}
