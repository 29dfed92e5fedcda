//! Messages between who asks whether a request is within its limits and who counts, as much of them as is used:
//! `envoy/service/ratelimit/v3/rls.proto` and `envoy/extensions/common/ratelimit/v3/ratelimit.proto`.

use bytes::Bytes;
use prost::{Enumeration, Message};

/// The method.
pub const SHOULD_RATE_LIMIT: &str = "/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit";

/// `RateLimitRequest`.
#[derive(Clone, PartialEq, Message)]
pub struct Request {
    /// Whose descriptors they are.
    #[prost(string, tag = "1")]
    pub domain: String,
    /// At least one.
    #[prost(message, repeated, tag = "2")]
    pub descriptors: Vec<Descriptor>,
    /// What the request costs; 0 is 1.
    #[prost(uint32, tag = "3")]
    pub hits_addend: u32,
}

/// `RateLimitDescriptor`.
#[derive(Clone, PartialEq, Message)]
pub struct Descriptor {
    /// At least one, in order.
    #[prost(message, repeated, tag = "1")]
    pub entries: Vec<Entry>,
    /// A limit instead of the configured one.
    #[prost(message, optional, tag = "2")]
    pub limit: Option<Override>,
    /// What the request costs here, 0 too, instead of [`Request::hits_addend`].
    #[prost(message, optional, tag = "3")]
    pub hits_addend: Option<u64>,
}

/// `RateLimitDescriptor.Entry`.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Entry {
    /// Not empty.
    #[prost(string, tag = "1")]
    pub key: String,
    /// May be empty.
    #[prost(string, tag = "2")]
    pub value: String,
}

/// `RateLimitDescriptor.RateLimitOverride`.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct Override {
    /// So many per unit.
    #[prost(uint32, tag = "1")]
    pub requests_per_unit: u32,
    /// `type.v3.RateLimitUnit`: that of a [`Unit`](crate::rate_limit::Unit).
    #[prost(int32, tag = "2")]
    pub unit: i32,
}

/// `RateLimitResponse`.
#[derive(Clone, PartialEq, Message)]
pub struct Response {
    /// Over if any descriptor is.
    #[prost(enumeration = "Code", tag = "1")]
    pub overall_code: i32,
    /// One for each descriptor.
    #[prost(message, repeated, tag = "2")]
    pub statuses: Vec<DescriptorStatus>,
    /// For whoever sent the request.
    #[prost(message, repeated, tag = "3")]
    pub response_headers_to_add: Vec<HeaderValue>,
    /// For the backend.
    #[prost(message, repeated, tag = "4")]
    pub request_headers_to_add: Vec<HeaderValue>,
    /// Of a refusal.
    #[prost(bytes = "bytes", tag = "5")]
    pub raw_body: Bytes,
}

/// `config.core.v3.HeaderValue`.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct HeaderValue {
    /// Its name.
    #[prost(string, tag = "1")]
    pub key: String,
    /// Its value, as bytes: what is no UTF-8 is one all the same.
    #[prost(bytes = "bytes", tag = "2")]
    pub value: Bytes,
    /// The same, instead.
    #[prost(bytes = "bytes", tag = "3")]
    pub raw_value: Bytes,
}

/// `RateLimitResponse.DescriptorStatus`.
#[derive(Clone, PartialEq, Message)]
pub struct DescriptorStatus {
    /// What is said of it.
    #[prost(enumeration = "Code", tag = "1")]
    pub code: i32,
    /// Unset: no limit is configured.
    #[prost(message, optional, tag = "2")]
    pub current_limit: Option<RateLimit>,
    /// What is left of it.
    #[prost(uint32, tag = "3")]
    pub limit_remaining: u32,
    /// Until its window ends.
    #[prost(message, optional, tag = "4")]
    pub duration_until_reset: Option<Span>,
}

/// `RateLimitResponse.RateLimit`.
#[derive(Clone, PartialEq, Message)]
pub struct RateLimit {
    /// So many per unit.
    #[prost(uint32, tag = "1")]
    pub requests_per_unit: u32,
    /// `RateLimitResponse.RateLimit.Unit`.
    #[prost(int32, tag = "2")]
    pub unit: i32,
    /// Its name, if it has one.
    #[prost(string, tag = "3")]
    pub name: String,
}

/// `RateLimitResponse.Code`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Enumeration)]
#[repr(i32)]
pub enum Code {
    /// Never said.
    Unknown = 0,
    /// It may go on.
    Ok = 1,
    /// It may not.
    OverLimit = 2,
}

/// `google.protobuf.Duration`.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct Span {
    /// Whole seconds.
    #[prost(int64, tag = "1")]
    pub seconds: i64,
    /// The rest.
    #[prost(int32, tag = "2")]
    pub nanos: i32,
}

const SECOND: u64 = 1_000_000_000;

impl Span {
    /// So many nanoseconds.
    #[must_use]
    pub fn of(nanos: u64) -> Self {
        Self {
            seconds: i64::try_from(nanos / SECOND).unwrap_or(i64::MAX),
            nanos: i32::try_from(nanos % SECOND).unwrap_or_default(),
        }
    }

    /// In nanoseconds; less than none is none.
    #[must_use]
    pub fn in_nanos(&self) -> u64 {
        let seconds = u64::try_from(self.seconds).unwrap_or(0);
        seconds.saturating_mul(SECOND).saturating_add(u64::try_from(self.nanos).unwrap_or(0))
    }
}
