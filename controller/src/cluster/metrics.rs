//! What the controller counts of itself.

use std::sync::atomic::AtomicU64;

use config::load::LoadCounts;
use config::quota::QuotaCounts;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use crate::ObjectKind;
use crate::rollout::Phase;

/// A kind of object.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Kind {
    kind: &'static str,
}

impl From<ObjectKind> for Kind {
    fn from(kind: ObjectKind) -> Self {
        Self { kind: kind.as_str() }
    }
}

/// Which way messages go.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Direction {
    direction: &'static str,
}

/// Where a Rollout stands.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct InPhase {
    phase: &'static str,
}

/// How a write ended.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Outcome {
    pub(crate) kind: &'static str,
    pub(crate) outcome: &'static str,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    pub(crate) events: Family<Kind, Counter>,
    pub(crate) watch_errors: Family<Kind, Counter>,
    pub(crate) undecodable: Family<Kind, Counter>,
    pub(crate) objects: Family<Kind, Gauge>,
    pub(crate) translations: Histogram,
    pub(crate) resources: Gauge,
    pub(crate) status_writes: Family<Outcome, Counter>,
    pub(crate) status_queue: Gauge,
    pub(crate) applies: Family<Outcome, Counter>,
    pub(crate) captures: Family<Outcome, Counter>,
    pub(crate) proxies: Gauge,
    pub(crate) rejections: Gauge,
    pub(crate) leader: Gauge,
    pub(crate) generation: Gauge<u64, AtomicU64>,
    pub(crate) authority_expiry: Gauge,
    quota_streams: Gauge,
    quota_buckets: Gauge,
    quota_messages: Family<Direction, Gauge>,
    quota_refused: Gauge,
    rollouts: Family<InPhase, Gauge>,
    load_streams: Gauge,
    load_backends: Gauge,
    load_reports: Gauge,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut registry = Registry::with_prefix("fairway_controller");
        let metrics = Self {
            registry: Registry::default(),
            events: Family::default(),
            watch_errors: Family::default(),
            undecodable: Family::default(),
            objects: Family::default(),
            translations: Histogram::new(exponential_buckets(0.000_25, 2.0, 16)),
            resources: Gauge::default(),
            status_writes: Family::default(),
            status_queue: Gauge::default(),
            applies: Family::default(),
            captures: Family::default(),
            proxies: Gauge::default(),
            rejections: Gauge::default(),
            leader: Gauge::default(),
            generation: Gauge::default(),
            authority_expiry: Gauge::default(),
            quota_streams: Gauge::default(),
            quota_buckets: Gauge::default(),
            quota_messages: Family::default(),
            quota_refused: Gauge::default(),
            rollouts: Family::default(),
            load_streams: Gauge::default(),
            load_backends: Gauge::default(),
            load_reports: Gauge::default(),
        };
        let r = &mut registry;
        r.register("watch_events", "Events of watches", metrics.events.clone());
        r.register(
            "watch_errors",
            "Watches that failed and were started again",
            metrics.watch_errors.clone(),
        );
        r.register("undecodable_objects", "Objects that could not be read", metrics.undecodable.clone());
        r.register("objects", "Objects known", metrics.objects.clone());
        r.register_with_unit(
            "translation",
            "Time of a translation",
            Unit::Seconds,
            metrics.translations.clone(),
        );
        r.register("resources", "Resources published to proxies", metrics.resources.clone());
        r.register("status_writes", "Writes of a status", metrics.status_writes.clone());
        r.register(
            "status_queue",
            "Statuses that wait to be compared or written",
            metrics.status_queue.clone(),
        );
        r.register("applies", "Writes of what runs for Gateways", metrics.applies.clone());
        r.register(
            "captures",
            "Writes that lead clients of Services to waypoints, and back",
            metrics.captures.clone(),
        );
        r.register("proxies", "Proxies connected to this replica", metrics.proxies.clone());
        r.register(
            "rejections",
            "Resources that connected proxies do not use, or only in part",
            metrics.rejections.clone(),
        );
        r.register("leader", "1 when this replica leads", metrics.leader.clone());
        r.register("generation", "Revision of the published configuration", metrics.generation.clone());
        r.register_with_unit(
            "authority_expiry_timestamp",
            "When the authority that signs certificates between controller and proxies ends, since 1970",
            Unit::Seconds,
            metrics.authority_expiry.clone(),
        );
        metrics.register_quotas(r);
        metrics.register_rollouts(r);
        Self { registry, ..metrics }
    }

    fn register_quotas(&self, r: &mut Registry) {
        r.register("quota_streams", "Proxies that lease shares of limits here", self.quota_streams.clone());
        r.register("quota_buckets", "Buckets of limits that are known here", self.quota_buckets.clone());
        r.register(
            "quota_messages",
            "Messages about shares of limits since this replica leads",
            self.quota_messages.clone(),
        );
        r.register(
            "quota_refused",
            "Reports of buckets for which there was no place, since this replica leads",
            self.quota_refused.clone(),
        );
    }

    fn register_rollouts(&self, r: &mut Registry) {
        r.register(
            "rollouts",
            "Rollouts by where they stand, of the replica that leads",
            self.rollouts.clone(),
        );
        r.register(
            "load_streams",
            "Proxies that tell what backends are doing here",
            self.load_streams.clone(),
        );
        r.register("load_backends", "Backends that proxies are asked for", self.load_backends.clone());
        r.register("load_reports", "Reports of what backends are doing, so far", self.load_reports.clone());
    }

    /// So many Rollouts stand there.
    pub(crate) fn rollouts(&self, phase: Phase, count: usize) {
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        self.rollouts.get_or_create(&InPhase { phase: phase.as_str() }).set(count);
    }

    /// Takes over what is known of proxies' reports.
    pub(crate) fn loads(&self, counts: LoadCounts) {
        let integer = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        self.load_streams.set(integer(counts.streams as u64));
        self.load_backends.set(integer(counts.backends as u64));
        self.load_reports.set(integer(counts.reports));
    }

    /// Takes over what the quota server counts.
    pub(crate) fn quotas(&self, counts: QuotaCounts) {
        let integer = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        self.quota_streams.set(integer(counts.streams as u64));
        self.quota_buckets.set(integer(counts.buckets as u64));
        self.quota_refused.set(integer(counts.server.refused));
        for (direction, count) in [("received", counts.server.received), ("sent", counts.server.sent)] {
            self.quota_messages.get_or_create(&Direction { direction }).set(integer(count));
        }
    }

    /// In OpenMetrics text.
    pub(crate) fn encode(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}
