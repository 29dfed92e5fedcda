//! The messages, as much of them as is used: `envoy/service/load_stats/v3/lrs.proto` and
//! `envoy/config/endpoint/v3/load_report.proto`. Fields that are not here are skipped by both sides, as protobuf asks for.

use std::collections::BTreeMap;

use prost::Message;

use super::Counts;
use super::counts::MAX_BUCKETS;
use crate::quota::proto::Span;

/// The method.
pub const STREAM: &str = "/envoy.service.load_stats.v3.LoadReportingService/StreamLoadStats";

/// Begins the name of a latency bucket; its upper bound in nanoseconds follows, or [`SLOWER`].
const LATENCY: &str = "fairway.dev/latency_le_ns/";
/// The bucket of what is slower than all bounds.
const SLOWER: &str = "inf";

/// `LoadStatsRequest`.
#[derive(Clone, PartialEq, Message)]
pub struct Report {
    /// Who tells; in the first message of a stream.
    #[prost(message, optional, tag = "1")]
    pub node: Option<Node>,
    /// What came to each backend since it was told of last.
    #[prost(message, repeated, tag = "2")]
    pub clusters: Vec<ClusterStats>,
}

/// `envoy.config.core.v3.Node`.
#[derive(Clone, PartialEq, Message)]
pub struct Node {
    /// Name of the pod.
    #[prost(string, tag = "1")]
    pub id: String,
    /// `role/namespace/name` of the Gateway.
    #[prost(string, tag = "2")]
    pub cluster: String,
}

/// `LoadStatsResponse`.
#[derive(Clone, PartialEq, Message)]
pub struct Request {
    /// The backends to tell of, as `namespace/name:port`. None: nothing is to be told. (Envoy wants at least one, and is never
    /// sent none.)
    #[prost(string, repeated, tag = "1")]
    pub clusters: Vec<String>,
    /// How often.
    #[prost(message, optional, tag = "2")]
    pub interval: Option<Span>,
}

/// `ClusterStats`.
#[derive(Clone, PartialEq, Message)]
pub struct ClusterStats {
    /// The backend.
    #[prost(string, tag = "1")]
    pub name: String,
    /// One: we know of no localities.
    #[prost(message, repeated, tag = "2")]
    pub localities: Vec<LocalityStats>,
    /// The time in which it came.
    #[prost(message, optional, tag = "4")]
    pub interval: Option<Span>,
}

/// `UpstreamLocalityStats`.
#[derive(Clone, PartialEq, Message)]
pub struct LocalityStats {
    /// Those that ended well.
    #[prost(uint64, tag = "2")]
    pub succeeded: u64,
    /// Those that ended in errors of the backend.
    #[prost(uint64, tag = "4")]
    pub failed: u64,
    /// All, also those that clients have given up.
    #[prost(uint64, tag = "8")]
    pub issued: u64,
    /// Latency, a metric for each bucket.
    #[prost(message, repeated, tag = "5")]
    pub metrics: Vec<Metric>,
}

/// `EndpointLoadMetricStats`.
#[derive(Clone, PartialEq, Message)]
pub struct Metric {
    /// Which.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Requests in it.
    #[prost(uint64, tag = "2")]
    pub requests: u64,
}

impl ClusterStats {
    /// What came to a backend in so many nanoseconds.
    pub(super) fn encode(name: String, counts: &Counts, nanos: u64) -> Self {
        let metrics = counts.latency.iter().map(|(bound, requests)| Metric {
            name: match *bound {
                Counts::SLOWER => format!("{LATENCY}{SLOWER}"),
                bound => format!("{LATENCY}{bound}"),
            },
            requests: *requests,
        });
        let locality = LocalityStats {
            succeeded: counts.succeeded,
            failed: counts.failed,
            issued: counts.requests().saturating_add(counts.cancelled),
            metrics: metrics.collect(),
        };
        Self { name, localities: vec![locality], interval: Some(Span::of(nanos)) }
    }

    /// What it says. Metrics that are no latency of ours are left out.
    pub(super) fn decode(&self) -> Counts {
        let mut all = Counts::default();
        for locality in &self.localities {
            let mut latency = BTreeMap::new();
            for metric in locality.metrics.iter().take(MAX_BUCKETS) {
                let Some(bound) = metric.name.strip_prefix(LATENCY) else { continue };
                let bound = if bound == SLOWER { Some(Counts::SLOWER) } else { bound.parse().ok() };
                if let Some(bound) = bound {
                    latency.insert(bound, metric.requests);
                }
            }
            let (succeeded, failed) = (locality.succeeded, locality.failed);
            let cancelled = locality.issued.saturating_sub(succeeded.saturating_add(failed));
            all.add(&Counts { succeeded, failed, cancelled, latency });
        }
        all
    }
}
