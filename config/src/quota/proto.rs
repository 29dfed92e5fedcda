//! The messages, as much of them as is used: `envoy/service/rate_limit_quota/v3/rlqs.proto` and
//! `envoy/type/v3/ratelimit_strategy.proto`. Fields from 1000 on are ours; others skip them, as protobuf asks for.

use std::collections::HashMap;

pub use policies::rls::Span;
use prost::{Enumeration, Message, Oneof};

/// The method.
pub const STREAM: &str = "/envoy.service.rate_limit_quota.v3.RateLimitQuotaService/StreamRateLimitQuotas";

/// `RateLimitQuotaUsageReports`.
#[derive(Clone, PartialEq, Message)]
pub struct Reports {
    /// In the first message of a stream only.
    #[prost(string, tag = "1")]
    pub domain: String,
    /// In the order they are to be looked at.
    #[prost(message, repeated, tag = "2")]
    pub usages: Vec<BucketUsage>,
    /// Ours: counts the messages of a client, over all its streams; leases are counted from when it was sent. 0 is none.
    #[prost(uint64, tag = "1000")]
    pub sequence: u64,
    /// Ours: how many messages of the server came on this stream.
    #[prost(uint64, tag = "1001")]
    pub seen: u64,
}

/// `RateLimitQuotaUsageReports.BucketQuotaUsage`. What it counts are tokens: a request that costs three counts three.
#[derive(Clone, PartialEq, Message)]
pub struct BucketUsage {
    /// Which bucket.
    #[prost(message, optional, tag = "1")]
    pub bucket_id: Option<BucketId>,
    /// Since the last report of this bucket.
    #[prost(message, optional, tag = "2")]
    pub time_elapsed: Option<Span>,
    /// Tokens admitted in that time.
    #[prost(uint64, tag = "3")]
    pub allowed: u64,
    /// Tokens refused in that time.
    #[prost(uint64, tag = "4")]
    pub denied: u64,
    /// Ours; without it the client is taken for one that knows nothing of leases.
    #[prost(message, optional, tag = "1000")]
    pub lease: Option<LeaseUsage>,
}

/// Ours: what a client has of a lease. Amounts are millionths of tokens.
#[derive(Clone, PartialEq, Message)]
pub struct LeaseUsage {
    /// The lease in use, and still reserved; 0 is none.
    #[prost(uint64, tag = "1")]
    pub version: u64,
    /// Its rate.
    #[prost(uint64, tag = "2")]
    pub rate: u64,
    /// Its burst.
    #[prost(uint64, tag = "3")]
    pub burst: u64,
    /// What of `allowed` was admitted without a lease.
    #[prost(uint64, tag = "4")]
    pub unleased: u64,
    /// What came back and did not fit.
    #[prost(uint64, tag = "9")]
    pub spilled: u64,
    /// What was left over when its share shrank or was given back.
    #[prost(uint64, tag = "5")]
    pub returned: u64,
    /// What was used in the last window of a sliding window.
    #[prost(uint64, tag = "6")]
    pub in_window: u64,
    /// Tokens that are left.
    #[prost(uint64, tag = "7")]
    pub level: u64,
    /// The lease is given back, and the bucket no longer watched.
    #[prost(bool, tag = "8")]
    pub is_released: bool,
}

/// `BucketId`: the order of its pairs means nothing.
#[derive(Clone, PartialEq, Message)]
pub struct BucketId {
    /// At least one pair, nothing empty.
    #[prost(map = "string, string", tag = "1")]
    pub bucket: HashMap<String, String>,
}

/// `RateLimitQuotaResponse`.
#[derive(Clone, PartialEq, Message)]
pub struct Response {
    /// In the order they are to be done.
    #[prost(message, repeated, tag = "1")]
    pub actions: Vec<BucketAction>,
    /// Ours: the last [`Reports::sequence`] of the client that was seen.
    #[prost(uint64, tag = "1000")]
    pub sequence: u64,
    /// Ours: who shares limits with whom, where that is new.
    #[prost(message, repeated, tag = "1001")]
    pub crowds: Vec<Crowd>,
}

/// Ours: how many proxies may use a limit, so that each knows what an equal part is before it needs one.
#[derive(Clone, PartialEq, Message)]
pub struct Crowd {
    /// The limit.
    #[prost(string, tag = "1")]
    pub limit: String,
    /// How many.
    #[prost(uint32, tag = "2")]
    pub proxies: u32,
    /// There may be more: the server has just started, and not all have found it. Who knows of more keeps to that.
    #[prost(bool, tag = "3")]
    pub is_least: bool,
}

/// `RateLimitQuotaResponse.BucketAction`.
#[derive(Clone, PartialEq, Message)]
pub struct BucketAction {
    /// Which bucket.
    #[prost(message, optional, tag = "1")]
    pub bucket_id: Option<BucketId>,
    /// What to do.
    #[prost(oneof = "Action", tags = "2, 3")]
    pub action: Option<Action>,
}

/// What to do with a bucket.
#[derive(Clone, PartialEq, Oneof)]
pub enum Action {
    /// Keep to this.
    #[prost(message, tag = "2")]
    Assign(Assign),
    /// Forget it.
    #[prost(message, tag = "3")]
    Abandon(Abandon),
}

/// `QuotaAssignmentAction`.
#[derive(Clone, PartialEq, Message)]
pub struct Assign {
    /// Unset never ends; zero ends now.
    #[prost(message, optional, tag = "2")]
    pub time_to_live: Option<Span>,
    /// Unset admits all.
    #[prost(message, optional, tag = "3")]
    pub strategy: Option<Strategy>,
    /// Ours: the same, exactly.
    #[prost(message, optional, tag = "1000")]
    pub lease: Option<Lease>,
}

/// Ours: a lease. Amounts are millionths of tokens.
#[derive(Clone, PartialEq, Message)]
pub struct Lease {
    /// What the client reports when it uses it.
    #[prost(uint64, tag = "1")]
    pub version: u64,
    /// Tokens per unit, or window, of the limit.
    #[prost(uint64, tag = "2")]
    pub rate: u64,
    /// Tokens that may be kept.
    #[prost(uint64, tag = "3")]
    pub burst: u64,
    /// Tokens that come with it.
    #[prost(uint64, tag = "4")]
    pub tokens: u64,
}

/// `AbandonAction`.
#[derive(Clone, PartialEq, Message)]
pub struct Abandon {
    /// Ours: the server does not know this limit, and may later.
    #[prost(bool, tag = "1000")]
    pub is_unknown: bool,
}

/// `type.v3.RateLimitStrategy`.
#[derive(Clone, PartialEq, Message)]
pub struct Strategy {
    /// Which.
    #[prost(oneof = "Rule", tags = "1, 2, 3")]
    pub rule: Option<Rule>,
}

/// The ways to say how much.
#[derive(Clone, PartialEq, Oneof)]
pub enum Rule {
    /// All or nothing.
    #[prost(enumeration = "Blanket", tag = "1")]
    Blanket(i32),
    /// So many per unit.
    #[prost(message, tag = "2")]
    PerUnit(PerUnit),
    /// A bucket.
    #[prost(message, tag = "3")]
    TokenBucket(TokenBucket),
}

/// `RateLimitStrategy.BlanketRule`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Enumeration)]
#[repr(i32)]
pub enum Blanket {
    /// Everything is admitted.
    AllowAll = 0,
    /// Nothing is.
    DenyAll = 1,
}

/// `RateLimitStrategy.RequestsPerTimeUnit`.
#[derive(Clone, PartialEq, Message)]
pub struct PerUnit {
    /// 0 admits nothing.
    #[prost(uint64, tag = "1")]
    pub requests: u64,
    /// `type.v3.RateLimitUnit`: 0, or that of a [`Unit`](crate::rls::Unit).
    #[prost(int32, tag = "2")]
    pub unit: i32,
}

/// `type.v3.TokenBucket`.
#[derive(Clone, PartialEq, Message)]
pub struct TokenBucket {
    /// Greater than 0.
    #[prost(uint32, tag = "1")]
    pub max_tokens: u32,
    /// `google.protobuf.UInt32Value`; unset is 1.
    #[prost(message, optional, tag = "2")]
    pub tokens_per_fill: Option<Count>,
    /// Greater than 0.
    #[prost(message, optional, tag = "3")]
    pub fill_interval: Option<Span>,
}

/// `google.protobuf.UInt32Value`.
#[derive(Clone, PartialEq, Message)]
pub struct Count {
    /// The value.
    #[prost(uint32, tag = "1")]
    pub value: u32,
}
