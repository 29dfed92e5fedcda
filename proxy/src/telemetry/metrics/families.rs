//! Every metric family, and how its series are written.

use std::fmt;

use prometheus_client::encoding::{
    DescriptorEncoder, EncodeCounterValue, EncodeGaugeValue, MetricEncoder, NoLabelSet,
};
use prometheus_client::metrics::MetricType;

use crate::telemetry::counters::Histogram;

/// One metric family; counters are written with `_total` after their name.
#[derive(Debug)]
pub(super) struct Family {
    pub(super) name: &'static str,
    help: &'static str,
    pub(super) kind: MetricType,
}

macro_rules! families {
    ($( $id:ident: $kind:ident $name:literal $help:literal; )*) => {
        $( pub(super) const $id: Family = Family { name: $name, help: $help, kind: MetricType::$kind }; )*
        /// Every family, in the order it is written.
        pub(super) const FAMILIES: &[Family] = &[ $( $id ),* ];
    };
}

families! {
    REQUESTS: Counter "fairway_requests" "Requests that matched a rule, by the status sent and the reason";
    DURATIONS: Histogram "fairway_request_duration_seconds" "From the first byte of the request head to the last of the response";
    IN_FLIGHT: Gauge "fairway_requests_in_flight" "Requests of a rule that have not ended";
    WOULD_DENY: Counter "fairway_requests_would_deny" "Requests that a policy in shadow mode would have refused, by the reason";
    UNMATCHED: Counter "fairway_unmatched_requests" "Requests that matched no rule";
    ATTEMPTS: Counter "fairway_backend_requests" "Attempts to get a response from a backend";
    ATTEMPT_DURATIONS: Histogram "fairway_backend_request_duration_seconds" "From sending an attempt to its response head";
    BACKEND_CONNECTIONS: Counter "fairway_backend_connections" "Connections handed to attempts, new or from the pool";
    MIRRORED: Counter "fairway_mirrored_requests" "Copies of requests for a backend, sent or dropped";
    STREAMS: Counter "fairway_stream_connections" "Connections and UDP flows of a rule that have ended, by reason";
    STREAMS_OPEN: Gauge "fairway_stream_connections_open" "Connections and UDP flows of a rule that are open";
    STREAM_BYTES: Counter "fairway_stream_bytes" "Bytes passed on for a rule: in from clients, out from backends";
    STREAMS_UNMATCHED: Counter "fairway_unmatched_connections" "Connections that no rule is for";
    DATAGRAMS_DROPPED: Counter "fairway_datagrams_dropped" "Datagrams that were not passed on";
    SERVICE_REQUESTS: Counter "fairway_service_requests" "Requests to a captured Service, by who sent them and the class of the status sent";
    SERVICE_DURATIONS: Histogram "fairway_service_request_duration_seconds" "Requests to a captured Service, by who sent them: from the first byte of the request head to the last of the response";
    SERVICE_CONNECTIONS: Counter "fairway_service_connections" "Connections to a captured Service that carried no requests and have ended, by whose they were";
    SERVICE_BYTES: Counter "fairway_service_connection_bytes" "Bytes of these connections: in from clients, out from backends";
    CONNECTIONS: Gauge "fairway_downstream_connections" "Open client connections";
    CONNECTIONS_OPENED: Counter "fairway_downstream_connections_opened" "Client connections, counted once it is known what they speak";
    TURNED_AWAY: Counter "fairway_downstream_connections_refused" "Client connections closed before anything was asked over them";
    HANDSHAKES: Counter "fairway_tls_handshake_failures" "TLS handshakes with clients that failed";
    MEMORY_LEVEL: Gauge "fairway_overload_memory_level" "0 enough; 1 connections end; 2 requests are shed; 3 connections are closed";
    MEMORY_USED: Gauge "fairway_overload_memory_used_bytes" "Memory that counts against the limit";
    MEMORY_LIMIT: Gauge "fairway_overload_memory_limit_bytes" "The limit of memory";
    DELAY: Gauge "fairway_overload_delay_seconds" "How late the latest worker is, smoothed";
    SHED: Gauge "fairway_overload_shed_ratio" "Share of new requests that the most loaded worker turns away";
    JWKS_AGE: Gauge "fairway_jwks_age_seconds" "Time since the keys of a token issuer that are in use were fetched";
    JWKS_FETCHES: Counter "fairway_jwks_fetches" "Fetches of keys of token issuers";
    LIMIT_REQUESTS: Counter "fairway_global_limit_requests" "Requests that a global limit decided about";
    LIMIT_KEYS: Gauge "fairway_global_limit_keys" "Keys of a global limit that this proxy holds";
    LIMIT_BUCKETS: Gauge "fairway_global_limit_buckets" "Buckets of a global limit, by what they decide by";
    LIMIT_OVERFLOWED: Counter "fairway_global_limit_overflowed" "Requests of keys for which there was no place";
    QUOTA_CONNECTED: Gauge "fairway_quota_connected" "1 while there is a stream to the quota server";
    QUOTA_LOST: Gauge "fairway_quota_lost" "1 while there has been none for so long that limits do without";
    QUOTA_STREAMS: Counter "fairway_quota_streams" "Streams to the quota server opened";
    QUOTA_MESSAGES: Counter "fairway_quota_messages" "Messages to and from the quota server";
    QUOTA_ASSIGNMENTS: Counter "fairway_quota_assignments" "Shares that came from the quota server, by what became of them";
    CONFIG_UPDATES: Counter "fairway_config_updates" "Updates of the configuration applied";
    CONFIG_VERSION: Gauge "fairway_config_version" "Version of the configuration that is served";
    CONFIG_AGE: Gauge "fairway_config_age_seconds" "Time since an update of the configuration was applied";
    CONFIG_REJECTIONS: Counter "fairway_config_rejections" "Resources that could not be used, or only in part";
    CONFIG_REJECTED: Gauge "fairway_config_rejected" "Resources that are not in use now, or only in part";
    WORKLOADS: Gauge "fairway_workloads" "Pods that are known by their addresses";
    CONTROLLER_CONNECTED: Gauge "fairway_controller_connected" "1 while there is a stream of configuration from the controller";
    CONTROLLER_STREAMS: Counter "fairway_controller_streams" "Streams of configuration opened";
    CONTROLLER_ANSWERS: Counter "fairway_controller_answers" "Updates from the controller, by whether something of them was rejected";
    CONTROLLER_ANSWER_AGE: Gauge "fairway_controller_last_answer_age_seconds" "Time since the controller was answered";
    CONTROLLER_CERTIFICATES: Counter "fairway_controller_certificates" "Certificates received from the controller";
    SNAPSHOT_AGE: Gauge "fairway_snapshot_age_seconds" "Time since the snapshot on disk was written";
    SNAPSHOT_FAILED: Gauge "fairway_snapshot_failed" "1 while the snapshot on disk cannot be used or written";
    LOG_DROPPED: Counter "fairway_access_log_dropped" "Access log lines lost because they could not be written fast enough or at all";
    SPANS_EXPORTED: Counter "fairway_spans_exported" "Spans the OTLP collector took";
    SPANS_DROPPED: Counter "fairway_spans_dropped" "Spans lost because the OTLP collector is slow, away or refuses them";
    BUILD: Gauge "fairway_build_info" "The version that runs; always 1";
    RESIDENT: Gauge "process_resident_memory_bytes" "Resident memory";
    OPEN_FDS: Gauge "process_open_fds" "Open file descriptors";
    MAX_FDS: Gauge "process_max_fds" "Largest number of open file descriptors";
    CPU: Counter "process_cpu_seconds" "Processor time, user and system";
    START: Gauge "process_start_time_seconds" "Start of the process, seconds since 1970";
}

/// A family that is being written.
pub(super) struct Open<'e>(MetricEncoder<'e>);

impl<'e> Open<'e> {
    pub(super) fn new(encoder: &'e mut DescriptorEncoder<'_>, family: &Family) -> Result<Self, fmt::Error> {
        encoder.encode_descriptor(family.name, family.help, None, family.kind).map(Self)
    }

    pub(super) fn counter(
        &mut self,
        labels: &[(&str, &str)],
        value: &impl EncodeCounterValue,
    ) -> fmt::Result {
        if labels.is_empty() {
            return self.0.encode_counter::<NoLabelSet, _, f64>(value, None);
        }
        self.0.encode_family(&labels)?.encode_counter::<NoLabelSet, _, f64>(value, None)
    }

    pub(super) fn gauge(&mut self, labels: &[(&str, &str)], value: &impl EncodeGaugeValue) -> fmt::Result {
        if labels.is_empty() {
            // A family without labels would be written with empty braces.
            return self.0.encode_gauge(value);
        }
        self.0.encode_family(&labels)?.encode_gauge(value)
    }

    pub(super) fn histogram(&mut self, labels: &[(&str, &str)], histogram: &Histogram) -> fmt::Result {
        let (sum, count, buckets) = histogram.read();
        self.0.encode_family(&labels)?.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
    }
}
