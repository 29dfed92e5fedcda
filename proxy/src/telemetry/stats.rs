//! What is counted, one object per rule, backend and listener. The engine holds them by `Arc`, so that a request
//! updates them without a lookup.

use std::collections::HashSet;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use config::load::Counts;
use config::{Rejection, Severity};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::counters::{Histogram, Table};
use crate::upstream::Outcome;

/// RED counters of one rule. Laid out so that an ordinary request touches two cache lines of it: with thousands of rules
/// each is a miss.
#[derive(Debug, Default)]
#[repr(C)]
pub struct RouteStats {
    in_flight: AtomicI64,
    pub(crate) durations: Histogram,
    pub(crate) replies: Table<12>,
    /// What policies in shadow mode would have refused, by reason; allocated with the first.
    would_deny: OnceLock<Box<Table<12>>>,
}

impl RouteStats {
    /// Counts a request as in flight until the guard is dropped.
    #[must_use]
    pub fn start(self: &Arc<Self>) -> InFlight {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        InFlight(self.clone())
    }

    pub(crate) fn finish(&self, status: u16, reason: &'static str, duration: Duration) {
        self.replies.add(status, reason);
        self.durations.observe(duration);
    }

    /// Counts refusals of policies in shadow mode.
    pub(crate) fn would_deny(&self, reasons: &[&'static str]) {
        for reason in reasons {
            self.would_deny.get_or_init(Box::default).add(0, reason);
        }
    }

    /// Those counted.
    pub(crate) fn would_denied(&self) -> Option<&Table<12>> {
        self.would_deny.get().map(Box::as_ref)
    }

    pub(crate) fn in_flight(&self) -> i64 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// True once a request ended.
    pub(crate) fn is_seen(&self) -> bool {
        !self.replies.is_empty()
    }
}

/// A request in flight; dropping it ends the request.
#[derive(Debug)]
pub struct InFlight(Arc<RouteStats>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

/// RED counters of one backend, counted per attempt; allocated with the first.
#[derive(Debug, Default)]
pub struct BackendStats {
    seen: OnceLock<Box<BackendCounters>>,
}

/// What a backend has once it was attempted.
#[derive(Debug, Default)]
pub(crate) struct BackendCounters {
    /// By `Outcome` and code class, in the order of [`ATTEMPTS`].
    attempts: [AtomicU64; ATTEMPTS.len()],
    pub(crate) durations: Histogram,
    opened: AtomicU64,
    reused: AtomicU64,
    mirrored: AtomicU64,
    mirrors_dropped: AtomicU64,
}

/// `outcome` and `code` labels of attempts.
const ATTEMPTS: [(&str, &str); 10] = [
    ("success", "1xx"),
    ("success", "2xx"),
    ("success", "3xx"),
    ("success", "4xx"),
    ("server_error", "5xx"),
    ("connect_failure", "none"),
    ("broken", "none"),
    ("cancelled", "none"),
    ("success", "other"),
    ("success", "none"),
];

impl BackendStats {
    /// Counts one attempt. `status`: of its response head; 0 when none came, or none is to come. `latency`: from sending it to that head
    /// or to its failure.
    pub fn attempt(&self, outcome: Outcome, status: u16, latency: Duration) {
        let counters = self.counters_mut();
        let at = match (outcome, status) {
            (Outcome::Success, 100..=199) => 0,
            (Outcome::Success, 200..=299) => 1,
            (Outcome::Success, 300..=399) => 2,
            (Outcome::Success, 400..=499) => 3,
            (Outcome::ServerError, _) => 4,
            (Outcome::ConnectFailure, _) => 5,
            (Outcome::Broken, _) => 6,
            (Outcome::Cancelled, _) => 7,
            (Outcome::Success, 0) => 9,
            (Outcome::Success, _) => 8,
        };
        if let Some(count) = counters.attempts.get(at) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        if status != 0 && matches!(outcome, Outcome::Success | Outcome::ServerError) {
            counters.durations.observe(latency);
        }
    }

    /// Counts a connection handed to an attempt: `reused` from the pool, or new.
    pub fn connected(&self, reused: bool) {
        let counters = self.counters_mut();
        if reused { &counters.reused } else { &counters.opened }.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a copy of a request for this backend: `sent`, or dropped because too many were under way.
    pub fn mirrored(&self, sent: bool) {
        let counters = self.counters_mut();
        if sent { &counters.mirrored } else { &counters.mirrors_dropped }.fetch_add(1, Ordering::Relaxed);
    }

    fn counters_mut(&self) -> &BackendCounters {
        self.seen.get_or_init(Box::default)
    }

    pub(crate) fn counters(&self) -> Option<&BackendCounters> {
        self.seen.get().map(Box::as_ref)
    }
}

impl BackendCounters {
    /// `outcome`, `code` and count of attempts that happened.
    pub(crate) fn attempts(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
        let counts = self.attempts.iter().map(|count| count.load(Ordering::Relaxed));
        ATTEMPTS.iter().zip(counts).filter(|(_, n)| *n > 0).map(|((outcome, code), n)| (*outcome, *code, n))
    }

    /// The same as who asks for loads wants it.
    pub(crate) fn loads(&self) -> Counts {
        let mut all = Counts { latency: self.durations.buckets().collect(), ..Counts::default() };
        for ((outcome, _), count) in ATTEMPTS.iter().zip(&self.attempts) {
            let sum = match *outcome {
                "success" => &mut all.succeeded,
                "cancelled" => &mut all.cancelled,
                _ => &mut all.failed,
            };
            *sum += load(count);
        }
        all
    }

    /// Connections by where they came from.
    pub(crate) fn connections(&self) -> [(&'static str, u64); 2] {
        [("new", load(&self.opened)), ("pool", load(&self.reused))]
    }

    /// Copies by what became of them.
    pub(crate) fn mirrors(&self) -> [(&'static str, u64); 2] {
        [("sent", load(&self.mirrored)), ("dropped", load(&self.mirrors_dropped))]
    }
}

fn load(count: &AtomicU64) -> u64 {
    count.load(Ordering::Relaxed)
}

/// Counters of one listener.
#[derive(Debug, Default)]
pub struct ListenerStats {
    /// Open connections and connections opened, by [`Spoken`].
    open: [AtomicI64; Spoken::ALL.len()],
    opened: [AtomicU64; Spoken::ALL.len()],
    pub(crate) unmatched: Table<12>,
    pub(crate) handshakes: Table<12>,
    /// Connections without a rule, by reason.
    pub(crate) refused: Table<12>,
    /// Connections closed before anything was asked over them, by reason.
    pub(crate) turned_away: Table<12>,
    /// Datagrams that went nowhere, by reason.
    pub(crate) dropped: Table<12>,
}

/// What a client speaks on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spoken {
    /// Nothing yet: the connection is new, or in its TLS handshake.
    Unknown,
    /// HTTP/1.1 or older.
    Http1,
    /// HTTP/2.
    Http2,
    /// Anything, for a TCPRoute.
    Tcp,
    /// Anything inside TLS that a TLSRoute passes on or ends.
    Tls,
    /// Datagrams of one client, for a UDPRoute.
    Udp,
}

impl Spoken {
    pub(crate) const ALL: [Self; 6] =
        [Self::Unknown, Self::Http1, Self::Http2, Self::Tcp, Self::Tls, Self::Udp];

    const fn is_http(self) -> bool {
        matches!(self, Self::Unknown | Self::Http1 | Self::Http2)
    }

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Http1 => "http1",
            Self::Http2 => "http2",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
            Self::Udp => "udp",
        }
    }
}

impl ListenerStats {
    /// Counts a connection as open until the guard is dropped.
    #[must_use]
    pub fn connection_opened(self: &Arc<Self>) -> OpenConnection {
        self.shift(Spoken::Unknown, 1);
        OpenConnection { stats: self.clone(), spoken: Spoken::Unknown }
    }

    /// Counts a TLS handshake that failed, for a stable reason such as `no_certificate`.
    pub fn handshake_failed(&self, reason: &'static str) {
        self.handshakes.add(0, reason);
    }

    /// Counts a connection that no rule is for.
    pub(crate) fn refused(&self, reason: &'static str) {
        self.refused.add(0, reason);
    }

    /// Counts a connection that is closed before anything is asked over it.
    pub(crate) fn turned_away(&self, reason: &'static str) {
        self.turned_away.add(0, reason);
    }

    /// Counts a datagram that goes nowhere.
    pub(crate) fn dropped(&self, reason: &'static str) {
        self.dropped.add(0, reason);
    }

    fn shift(&self, spoken: Spoken, by: i64) {
        if let Some(open) = self.open.get(spoken as usize) {
            open.fetch_add(by, Ordering::Relaxed);
        }
    }

    fn spoke(&self, spoken: Spoken) {
        if let Some(opened) = self.opened.get(spoken as usize) {
            opened.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Open connections and connections opened so far, by what they speak. What only some listeners speak is left out
    /// where it was never spoken.
    pub(crate) fn connections(&self) -> impl Iterator<Item = (Spoken, i64, u64)> {
        let counts = self.open.iter().zip(&self.opened);
        let counts = Spoken::ALL.into_iter().zip(counts).map(|(spoken, (open, opened))| {
            (spoken, open.load(Ordering::Relaxed), opened.load(Ordering::Relaxed))
        });
        counts.filter(|(spoken, open, opened)| spoken.is_http() || *open != 0 || *opened > 0)
    }
}

/// An open client connection; dropping it ends it.
#[derive(Debug)]
pub struct OpenConnection {
    stats: Arc<ListenerStats>,
    spoken: Spoken,
}

impl OpenConnection {
    /// Says what the client speaks, once it is known.
    pub fn speaks(&mut self, spoken: Spoken) {
        if self.spoken == Spoken::Unknown && spoken != Spoken::Unknown {
            self.stats.shift(Spoken::Unknown, -1);
            self.stats.shift(spoken, 1);
            self.stats.spoke(spoken);
            self.spoken = spoken;
        }
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.stats.shift(self.spoken, -1);
        if self.spoken == Spoken::Unknown {
            self.stats.spoke(Spoken::Unknown);
        }
    }
}

/// What is served, and since when.
#[derive(Debug, Default)]
pub(crate) struct ConfigStats {
    updates: AtomicU64,
    version: AtomicU64,
    refused: AtomicU64,
    degraded: AtomicU64,
    /// Those in force.
    rejected: Mutex<Vec<Rejection>>,
    applied: Mutex<Option<Instant>>,
}

impl ConfigStats {
    /// Counts an update and says which it is, from 0. `rejections`: all that are in force; those that were before are
    /// not counted again.
    pub(crate) fn applied(&self, version: u64, rejections: &[Rejection]) -> u64 {
        self.version.store(version, Ordering::Relaxed);
        let mut rejected = self.rejected.lock();
        for rejection in fresh(&rejected, rejections) {
            let count = match rejection.severity {
                Severity::Degraded => &self.degraded,
                Severity::Refused => &self.refused,
            };
            count.fetch_add(1, Ordering::Relaxed);
        }
        *rejected = rejections.to_vec();
        drop(rejected);
        *self.applied.lock() = Some(Instant::now());
        self.updates.fetch_add(1, Ordering::Relaxed)
    }

    /// Updates applied so far.
    pub(crate) fn updates(&self) -> u64 {
        load(&self.updates)
    }

    /// Version served and seconds since it was applied; `None` before the first.
    pub(crate) fn served(&self) -> Option<(u64, f64)> {
        let applied = (*self.applied.lock())?;
        Some((load(&self.version), applied.elapsed().as_secs_f64()))
    }

    /// Rejections so far, by severity.
    pub(crate) fn rejections(&self) -> [(&'static str, u64); 2] {
        [("degraded", load(&self.degraded)), ("refused", load(&self.refused))]
    }

    /// Rejections in force, by severity.
    pub(crate) fn rejected(&self) -> [(&'static str, i64); 2] {
        let rejected = self.rejected.lock();
        let refused = rejected.iter().filter(|rejection| rejection.severity == Severity::Refused).count();
        let count = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        [("degraded", count(rejected.len() - refused)), ("refused", count(refused))]
    }
}

/// The rejections that were not there before.
pub(crate) fn fresh<'a>(before: &[Rejection], now: &'a [Rejection]) -> Vec<&'a Rejection> {
    let known: HashSet<_> =
        before.iter().map(|rejection| (&rejection.key, rejection.message.as_str())).collect();
    now.iter().filter(|rejection| !known.contains(&(&rejection.key, rejection.message.as_str()))).collect()
}
