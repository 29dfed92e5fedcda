//! Renders what is counted for Prometheus: OpenMetrics 1.0, or the older text format for scrapers that do not ask.
//!
//! Each family comes once, with the series of every role in it. What was never counted has no series, so that 5,000
//! routes of which ten are used cost ten routes' series.

use std::fmt::{self, Write};
use std::sync::Arc;

use config::BackendRef;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeGaugeValue, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use super::counters::{Histogram, Row};
use super::process::Process;
use super::{BackendStats, ListenerStats, RouteStats, Telemetry};
use crate::rule::RuleName;

/// How to write metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// OpenMetrics text, version 1.0.0.
    OpenMetrics,
    /// Prometheus text, version 0.0.4.
    Text,
}

impl Format {
    /// What a scraper's `accept` header asks for.
    #[must_use]
    pub fn accepted(accept: &str) -> Self {
        if accept.contains("application/openmetrics-text") { Self::OpenMetrics } else { Self::Text }
    }

    /// For `content-type`.
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// Writes the metrics of all roles of the process.
///
/// # Errors
/// Those of `out`.
pub fn render(roles: &[Arc<Telemetry>], format: Format, out: &mut impl Write) -> fmt::Result {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Scrape::take(roles)));
    match format {
        Format::OpenMetrics => encode(out, &registry),
        Format::Text => {
            let mut lines = OlderText { out, line: String::new() };
            encode(&mut lines, &registry)
        }
    }
}

/// Turns OpenMetrics into the older text format: there the name of a counter's family ends in `_total` too, and no
/// other comments than help and type are known.
struct OlderText<'o, W> {
    out: &'o mut W,
    line: String,
}

impl<W: Write> OlderText<'_, W> {
    fn end_line(&mut self) -> fmt::Result {
        let line = std::mem::take(&mut self.line);
        let Some(comment) = line.strip_prefix("# ") else { return self.out.write_str(&line) };
        let mut words = comment.splitn(3, ' ');
        if let (Some(keyword @ ("HELP" | "TYPE")), Some(name), Some(rest)) =
            (words.next(), words.next(), words.next())
        {
            let is_counter = FAMILIES.iter().any(|f| f.name == name && matches!(f.kind, MetricType::Counter));
            let suffix = if is_counter { "_total" } else { "" };
            write!(self.out, "# {keyword} {name}{suffix} {rest}")?;
        }
        Ok(())
    }
}

impl<W: Write> Write for OlderText<'_, W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for piece in text.split_inclusive('\n') {
            self.line.push_str(piece);
            if piece.ends_with('\n') {
                self.end_line()?;
            }
        }
        Ok(())
    }
}

/// One metric family; counters are written with `_total` after their name.
#[derive(Debug)]
struct Family {
    name: &'static str,
    help: &'static str,
    kind: MetricType,
}

macro_rules! families {
    ($( $id:ident: $kind:ident $name:literal $help:literal; )*) => {
        $( const $id: Family = Family { name: $name, help: $help, kind: MetricType::$kind }; )*
        /// Every family, in the order it is written.
        const FAMILIES: &[Family] = &[ $( $id ),* ];
    };
}

families! {
    REQUESTS: Counter "fairway_requests" "Requests that matched a rule, by the status sent and the reason";
    DURATIONS: Histogram "fairway_request_duration_seconds" "From the first byte of the request head to the last of the response";
    IN_FLIGHT: Gauge "fairway_requests_in_flight" "Requests of a rule that have not ended";
    UNMATCHED: Counter "fairway_unmatched_requests" "Requests that matched no rule";
    ATTEMPTS: Counter "fairway_backend_requests" "Attempts to get a response from a backend";
    ATTEMPT_DURATIONS: Histogram "fairway_backend_request_duration_seconds" "From sending an attempt to its response head";
    BACKEND_CONNECTIONS: Counter "fairway_backend_connections" "Connections handed to attempts, new or from the pool";
    MIRRORED: Counter "fairway_mirrored_requests" "Copies of requests for a backend, sent or dropped";
    CONNECTIONS: Gauge "fairway_downstream_connections" "Open client connections";
    CONNECTIONS_OPENED: Counter "fairway_downstream_connections_opened" "Client connections, counted once it is known what they speak";
    HANDSHAKES: Counter "fairway_tls_handshake_failures" "TLS handshakes with clients that failed";
    CONFIG_UPDATES: Counter "fairway_config_updates" "Updates of the configuration applied";
    CONFIG_VERSION: Gauge "fairway_config_version" "Version of the configuration that is served";
    CONFIG_AGE: Gauge "fairway_config_age_seconds" "Time since an update of the configuration was applied";
    CONFIG_REJECTIONS: Counter "fairway_config_rejections" "Resources that could not be used, or only in part";
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

/// What is rendered, gathered first so that no lock is held while a slow scraper reads.
#[derive(Debug)]
struct Scrape {
    roles: Vec<Role>,
    process: Process,
}

#[derive(Debug)]
struct Role {
    telemetry: Arc<Telemetry>,
    routes: Vec<(RuleName, Arc<RouteStats>)>,
    backends: Vec<(String, Arc<BackendStats>)>,
    listeners: Vec<(String, Arc<ListenerStats>)>,
}

impl Scrape {
    fn take(roles: &[Arc<Telemetry>]) -> Self {
        let roles = roles.iter().map(Role::take).collect();
        Self { roles, process: Process::read() }
    }
}

impl Role {
    fn take(telemetry: &Arc<Telemetry>) -> Self {
        telemetry.sweep();
        let by_name =
            |a: &RuleName, b: &RuleName| (a.kind, &a.route, &a.rule).cmp(&(b.kind, &b.route, &b.rule));
        let backends = telemetry.backends.all(BackendRef::cmp);
        Self {
            routes: telemetry.routes.all(by_name),
            backends: backends.into_iter().map(|(name, stats)| (name.to_string(), stats)).collect(),
            listeners: telemetry.listeners.all(String::cmp),
            telemetry: telemetry.clone(),
        }
    }
}

/// A family that is being written.
struct Open<'e>(MetricEncoder<'e>);

impl<'e> Open<'e> {
    fn new(encoder: &'e mut DescriptorEncoder<'_>, family: &Family) -> Result<Self, fmt::Error> {
        encoder.encode_descriptor(family.name, family.help, None, family.kind).map(Self)
    }

    fn counter(&mut self, labels: &[(&str, &str)], value: u64) -> fmt::Result {
        self.0.encode_family(&labels)?.encode_counter::<NoLabelSet, u64, f64>(&value, None)
    }

    fn gauge(&mut self, labels: &[(&str, &str)], value: &impl EncodeGaugeValue) -> fmt::Result {
        if labels.is_empty() {
            // A family without labels would be written with empty braces.
            return self.0.encode_gauge(value);
        }
        self.0.encode_family(&labels)?.encode_gauge(value)
    }

    fn histogram(&mut self, labels: &[(&str, &str)], histogram: &Histogram) -> fmt::Result {
        let (sum, count, buckets) = histogram.read();
        self.0.encode_family(&labels)?.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
    }
}

impl Collector for Scrape {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.encode_routes(&mut encoder)?;
        self.encode_backends(&mut encoder)?;
        self.encode_listeners(&mut encoder)?;
        self.encode_config(&mut encoder)?;
        self.encode_losses(&mut encoder)?;
        self.encode_process(&mut encoder)
    }
}

/// The text of a row's labels.
fn row_labels(row: Row) -> (String, &'static str) {
    match row {
        Row::Of(code, reason) => (code.to_string(), reason),
        Row::Other => ("other".to_owned(), "other"),
    }
}

impl Scrape {
    fn routes(&self) -> impl Iterator<Item = ([(&str, &str); 4], &RouteStats)> {
        self.roles.iter().flat_map(|role| {
            role.routes.iter().map(|(name, stats)| {
                let labels = [
                    ("role", role.telemetry.role),
                    ("kind", name.kind),
                    ("route", &*name.route),
                    ("rule", &*name.rule),
                ];
                (labels, &**stats)
            })
        })
    }

    fn encode_routes(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut requests = Open::new(encoder, &REQUESTS)?;
        for ([role, kind, route, rule], stats) in self.routes() {
            for (row, count) in stats.counters().iter().flat_map(|counters| counters.replies.rows()) {
                let (code, reason) = row_labels(row);
                requests.counter(&[role, kind, route, rule, ("code", &code), ("reason", reason)], count)?;
            }
        }
        let mut durations = Open::new(encoder, &DURATIONS)?;
        for (labels, stats) in self.routes() {
            if let Some(counters) = stats.counters() {
                durations.histogram(&labels, &counters.durations)?;
            }
        }
        let mut in_flight = Open::new(encoder, &IN_FLIGHT)?;
        for (labels, stats) in self.routes() {
            if stats.in_flight() != 0 || stats.counters().is_some() {
                in_flight.gauge(&labels, &stats.in_flight())?;
            }
        }
        Ok(())
    }

    fn backends(&self) -> impl Iterator<Item = ([(&str, &str); 2], &super::stats::BackendCounters)> {
        self.roles.iter().flat_map(|role| {
            role.backends.iter().filter_map(|(name, stats)| {
                Some(([("role", role.telemetry.role), ("backend", name.as_str())], stats.counters()?))
            })
        })
    }

    fn encode_backends(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut attempts = Open::new(encoder, &ATTEMPTS)?;
        for ([role, backend], counters) in self.backends() {
            for (outcome, code, count) in counters.attempts() {
                attempts.counter(&[role, backend, ("outcome", outcome), ("code", code)], count)?;
            }
        }
        let mut durations = Open::new(encoder, &ATTEMPT_DURATIONS)?;
        for (labels, counters) in self.backends() {
            durations.histogram(&labels, &counters.durations)?;
        }
        let mut connections = Open::new(encoder, &BACKEND_CONNECTIONS)?;
        for ([role, backend], counters) in self.backends() {
            for (from, count) in counters.connections() {
                connections.counter(&[role, backend, ("from", from)], count)?;
            }
        }
        let mut mirrored = Open::new(encoder, &MIRRORED)?;
        for ([role, backend], counters) in self.backends() {
            for (outcome, count) in counters.mirrors().into_iter().filter(|(_, count)| *count > 0) {
                mirrored.counter(&[role, backend, ("outcome", outcome)], count)?;
            }
        }
        Ok(())
    }

    fn listeners(&self) -> impl Iterator<Item = ([(&str, &str); 2], &ListenerStats)> {
        self.roles.iter().flat_map(|role| {
            role.listeners
                .iter()
                .map(|(name, stats)| ([("role", role.telemetry.role), ("listener", name.as_str())], &**stats))
        })
    }

    fn encode_listeners(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut unmatched = Open::new(encoder, &UNMATCHED)?;
        for ([role, listener], stats) in self.listeners() {
            for (row, count) in stats.unmatched.rows() {
                let (code, reason) = row_labels(row);
                unmatched.counter(&[role, listener, ("code", &code), ("reason", reason)], count)?;
            }
        }
        // Who counts connections under an address and requests under a listener's name has both.
        let is_connected = |stats: &ListenerStats| stats.connections().any(|(_, open, n)| open != 0 || n > 0);
        let connected = || self.listeners().filter(|(_, stats)| is_connected(stats));
        let mut open = Open::new(encoder, &CONNECTIONS)?;
        for ([role, listener], stats) in connected() {
            for (spoken, count, _) in stats.connections() {
                open.gauge(&[role, listener, ("protocol", spoken.as_str())], &count)?;
            }
        }
        let mut opened = Open::new(encoder, &CONNECTIONS_OPENED)?;
        for ([role, listener], stats) in connected() {
            for (spoken, _, count) in stats.connections() {
                opened.counter(&[role, listener, ("protocol", spoken.as_str())], count)?;
            }
        }
        let mut handshakes = Open::new(encoder, &HANDSHAKES)?;
        for ([role, listener], stats) in self.listeners() {
            for (row, count) in stats.handshakes.rows() {
                handshakes.counter(&[role, listener, ("reason", row_labels(row).1)], count)?;
            }
        }
        Ok(())
    }

    fn encode_config(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let roles = || self.roles.iter().map(|role| (("role", role.telemetry.role), &role.telemetry.config));
        let mut updates = Open::new(encoder, &CONFIG_UPDATES)?;
        for (role, config) in roles() {
            updates.counter(&[role], config.updates())?;
        }
        let mut version = Open::new(encoder, &CONFIG_VERSION)?;
        for (role, config) in roles() {
            if let Some((served, _)) = config.served() {
                version.gauge(&[role], &i64::try_from(served).unwrap_or(i64::MAX))?;
            }
        }
        let mut age = Open::new(encoder, &CONFIG_AGE)?;
        for (role, config) in roles() {
            if let Some((_, seconds)) = config.served() {
                age.gauge(&[role], &seconds)?;
            }
        }
        let mut rejections = Open::new(encoder, &CONFIG_REJECTIONS)?;
        for (role, config) in roles() {
            for (severity, count) in config.rejections() {
                rejections.counter(&[role, ("severity", severity)], count)?;
            }
        }
        Ok(())
    }

    fn encode_losses(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let roles = || self.roles.iter().map(|role| (("role", role.telemetry.role), &role.telemetry));
        let mut lines = Open::new(encoder, &LOG_DROPPED)?;
        for (role, telemetry) in roles() {
            if let Some(count) = telemetry.dropped_lines() {
                lines.counter(&[role], count)?;
            }
        }
        let mut exported = Open::new(encoder, &SPANS_EXPORTED)?;
        for (role, telemetry) in roles() {
            if let Some((count, _)) = telemetry.spans() {
                exported.counter(&[role], count)?;
            }
        }
        let mut dropped = Open::new(encoder, &SPANS_DROPPED)?;
        for (role, telemetry) in roles() {
            if let Some((_, count)) = telemetry.spans() {
                dropped.counter(&[role], count)?;
            }
        }
        Ok(())
    }

    fn encode_process(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let version = [("version", env!("CARGO_PKG_VERSION"))];
        Open::new(encoder, &BUILD)?.gauge(&version, &1i64)?;
        let integers = [
            (&RESIDENT, self.process.resident_bytes),
            (&OPEN_FDS, self.process.open_fds),
            (&MAX_FDS, self.process.max_fds),
        ];
        for (family, value) in integers {
            if let Some(value) = value {
                Open::new(encoder, family)?.gauge(&[], &i64::try_from(value).unwrap_or(i64::MAX))?;
            }
        }
        if let Some(cpu) = self.process.cpu_seconds {
            let mut family = Open::new(encoder, &CPU)?;
            family.0.encode_counter::<NoLabelSet, f64, f64>(&cpu, None)?;
        }
        if let Some(start) = self.process.start_seconds {
            Open::new(encoder, &START)?.gauge(&[], &start)?;
        }
        Ok(())
    }
}
