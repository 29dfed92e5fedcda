//! Metrics, access log and traces. A request updates a few relaxed atomics of objects the engine already holds; no lock
//! is taken while other requests hold it for more than a copy of one log line.
//!
//! The engine holds [`RouteStats`], [`BackendStats`] and [`ListenerStats`] as long as it serves what they count, and
//! calls [`Telemetry::finish`] once per request. Series of what is gone stay for five minutes, so that the last counts
//! are still scraped.

pub(crate) mod access_log;
mod counters;
pub(crate) mod edges;
mod entropy;
mod metrics;
mod otlp;
mod process;
mod record;
mod retained;
mod settings;
mod stats;
mod streams;
mod trace;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use config::load::{Counters, Counts};
use config::quota::QuotaState;
use config::quota::view::ProxyView;
use config::xds::ClientState;
use config::{BackendRef, Rejection};
use policies::Request;
use tokio::sync::watch;

pub use self::entropy::entropy;
pub use self::metrics::{Format, render};
pub(crate) use self::process::{max_descriptors, resident_bytes};
pub use self::record::{Course, Record, StreamRecord};
pub use self::settings::{AccessLog, Error, Settings};
pub use self::stats::{BackendStats, InFlight, ListenerStats, OpenConnection, RouteStats, Spoken};
pub use self::streams::StreamStats;
pub use self::trace::{TRACEPARENT, TRACESTATE, TraceContext};

use self::access_log::Log;
use self::edges::{EdgeName, EdgeStats};
use self::otlp::Exporter;
use self::retained::{Activity, Retained};
pub(crate) use self::stats::fresh;
use self::stats::{BackendCounters, ConfigStats};
use crate::keys::KeyStore;
use crate::limits::Shown;
use crate::overload::Overload;
use crate::rule::RuleName;

/// Updates between two looks for counters nobody holds any more.
const SWEEP_EVERY: u64 = 32;

/// The telemetry of one role of the process. The default counts, logs nothing and starts unsampled traces.
#[derive(Debug, Default)]
pub struct Telemetry {
    role: &'static str,
    routes: Retained<RuleName, RouteStats>,
    streams: Retained<RuleName, StreamStats>,
    backends: Retained<BackendRef, BackendStats>,
    listeners: Retained<String, ListenerStats>,
    edges: Retained<EdgeName, EdgeStats>,
    config: ConfigStats,
    /// How many pods are known by their addresses.
    workloads: AtomicUsize,
    /// Set where configuration comes from a controller.
    controller: OnceLock<watch::Receiver<ClientState>>,
    /// Set once a proxy runs.
    overload: OnceLock<Arc<Overload>>,
    /// Set once a proxy runs.
    keys: OnceLock<Arc<KeyStore>>,
    /// Set once a proxy runs.
    limits: OnceLock<Shown>,
    log: Option<Log>,
    exporter: Option<Exporter>,
    /// New traces are sampled when 64 random bits are below it.
    sampled_below: u64,
}

impl Telemetry {
    /// Starts the telemetry of a role, `gateway` or `waypoint`: a label, nothing else.
    ///
    /// # Errors
    /// When the log cannot be opened or a setting cannot be used.
    pub fn new(role: &'static str, settings: &Settings) -> Result<Arc<Self>, Error> {
        let default_ratio = if settings.otlp.is_some() { 0.01 } else { 0.0 };
        let sampled_below = threshold(settings.sampling.unwrap_or(default_ratio))?;
        let log = Log::open(&settings.access_log)?;
        let exporter =
            settings.otlp.as_deref().map(|endpoint| Exporter::start(role, endpoint)).transpose()?;
        Ok(Arc::new(Self { role, sampled_below, log, exporter, ..Self::default() }))
    }

    /// The role, as in logs and metrics.
    #[must_use]
    pub fn role(&self) -> &'static str {
        self.role
    }

    /// The counters of a rule; the same for the same name as long as anybody holds them.
    #[must_use]
    pub fn route(&self, rule: &RuleName) -> Arc<RouteStats> {
        self.routes.get(rule)
    }

    /// The counters of a rule for whole connections or datagrams; the same for the same name as long as anybody holds
    /// them.
    #[must_use]
    pub fn stream(&self, rule: &RuleName) -> Arc<StreamStats> {
        self.streams.get(rule)
    }

    /// The counters of a backend; the same for the same name as long as anybody holds them.
    #[must_use]
    pub fn backend(&self, backend: &BackendRef) -> Arc<BackendStats> {
        self.backends.get(backend)
    }

    /// The counters of a listener, `namespace/gateway/section`; the same for the same name as long as anybody holds
    /// them. Of a port whose listener is not known before the TLS handshake, name the address.
    #[must_use]
    pub fn listener(&self, listener: &str) -> Arc<ListenerStats> {
        self.listeners.get(listener)
    }

    /// Counts an update that is applied: the configuration served is now `version`.
    pub fn config_applied(&self, version: u64, rejections: &[Rejection]) {
        let update = self.config.applied(version, rejections);
        // Where nobody scrapes, names that went away must not pile up either. O(routes), so not every time.
        if update.is_multiple_of(SWEEP_EVERY) {
            self.sweep();
        }
    }

    /// Shows how many pods are known by their addresses.
    pub(crate) fn knows(&self, workloads: usize) {
        self.workloads.store(workloads, Ordering::Relaxed);
    }

    /// Shows how the role and its controller get on. The first call holds.
    pub fn follow_controller(&self, state: watch::Receiver<ClientState>) {
        _ = self.controller.set(state);
    }

    /// How the role and its controller get on; `None` without a controller.
    #[must_use]
    pub fn controller(&self) -> Option<ClientState> {
        self.controller.get().map(|state| state.borrow().clone())
    }

    /// Shows what is short. The first call holds.
    pub(crate) fn follow_overload(&self, overload: Arc<Overload>) {
        _ = self.overload.set(overload);
    }

    /// Shows how keys of token issuers are. The first call holds.
    pub(crate) fn follow_keys(&self, keys: Arc<KeyStore>) {
        _ = self.keys.set(keys);
    }

    /// Shows limits that are held together with other proxies. The first call holds.
    pub(crate) fn follow_limits(&self, limits: Shown) {
        _ = self.limits.set(limits);
    }

    /// What there is to tell of them; `None` before a proxy runs. Costs a look at each key.
    pub(crate) fn limits(&self) -> Option<ProxyView> {
        self.limits.get().map(|limits| limits.view(self.role))
    }

    /// How the role and its quota server get on; `None` before a proxy runs.
    pub(crate) fn quota(&self) -> Option<QuotaState> {
        self.limits.get().map(|limits| limits.state.borrow().clone())
    }

    /// What is short; `None` before a proxy runs.
    pub(crate) fn overload(&self) -> Option<&Overload> {
        self.overload.get().map(|overload| &**overload)
    }

    /// The place of a request in its trace: the client's, or a new one.
    #[must_use]
    pub fn trace(&self, req: &Request) -> TraceContext {
        TraceContext::from_request(req, entropy, |random| random < self.sampled_below)
    }

    /// Accounts for one finished request: metrics, access log, span.
    pub fn finish(&self, record: &Record<'_>) {
        let course = &record.course;
        match record.stats {
            Some(stats) => {
                stats.finish(record.status, course.reason, course.duration);
                stats.would_deny(record.would_deny);
            }
            None => self.listener(course.listener).unmatched.add(record.status, course.reason),
        }
        if let Some(log) = &self.log {
            log.log(self.role, record);
        }
        if let Some(exporter) = &self.exporter
            && record.trace.is_sampled()
        {
            exporter.export(record);
        }
    }

    /// Logs a connection or flow that has ended; its counters are its rule's to keep.
    pub fn finish_stream(&self, record: &StreamRecord<'_>) {
        if let Some(log) = &self.log {
            log.log_stream(self.role, record);
        }
    }

    /// Writes out what is buffered; for the end of a drain. Blocks the thread, for four seconds at most.
    pub fn flush(&self) {
        if let Some(log) = &self.log {
            log.flush();
        }
        if let Some(exporter) = &self.exporter {
            exporter.flush();
        }
    }

    /// Access log lines lost so far; `None` when the log is off.
    fn dropped_lines(&self) -> Option<u64> {
        self.log.as_ref().map(Log::dropped)
    }

    /// Spans exported and dropped so far; `None` without a collector.
    fn spans(&self) -> Option<(u64, u64)> {
        self.exporter.as_ref().map(Exporter::counts)
    }

    fn sweep(&self) {
        self.routes.sweep();
        self.streams.sweep();
        self.backends.sweep();
        self.listeners.sweep();
        self.edges.sweep();
    }
}

/// A ratio as a bound for 64 random bits.
fn threshold(ratio: f64) -> Result<u64, Error> {
    if !(0.0..=1.0).contains(&ratio) {
        return Err(Error::Sampling(ratio));
    }
    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    // 2^64 times a ratio in 0..=1; the cast saturates at 1.
    Ok((ratio * 2f64.powi(64)) as u64)
}

impl Activity for RouteStats {
    fn activity(&self) -> u64 {
        self.replies.total()
    }
}

impl Activity for StreamStats {
    fn activity(&self) -> u64 {
        self.activity()
    }
}

/// What is told of a backend is what metrics show of it.
impl Counters for Telemetry {
    fn read(&self, backend: &BackendRef) -> Counts {
        let stats = self.backends.find(backend);
        stats.and_then(|stats| stats.counters().map(BackendCounters::loads)).unwrap_or_default()
    }
}

impl Activity for BackendStats {
    fn activity(&self) -> u64 {
        self.counters().map_or(0, |counters| counters.attempts().map(|(_, _, count)| count).sum())
    }
}

impl Activity for ListenerStats {
    fn activity(&self) -> u64 {
        let opened: u64 = self.connections().map(|(_, _, opened)| opened).sum();
        let refused = self.refused.total() + self.dropped.total() + self.turned_away.total();
        opened + self.unmatched.total() + self.handshakes.total() + refused
    }
}

#[cfg(test)]
mod tests;
