//! Clusters: the live state of a backend, shared by every route and outliving snapshots.
//!
//! A cluster compiles a `config::Backend` once; its endpoints are swapped inside it. What was learned of an endpoint
//! (latency, errors, requests in flight) belongs to its address and stays as long as the address does. Picking takes
//! no lock and allocates nothing.
//!
//! What a reader would get wrong: connections are pooled by Pingora, not here. A removed endpoint is never picked
//! again, so its pooled connections are never used again and end by their idle timeout.

mod balance;
mod client;
mod dial;
mod health;
mod names;
mod peer;
mod pins;
mod reach;
mod session;
pub(crate) mod trust;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arc_swap::ArcSwap;
use config::{Backend, BackendRef, Endpoints};
use pingora_core::upstreams::peer::HttpPeer;
use policies::session_persistence::tag;
use rustc_hash::FxHashMap;
use tokio::time::Instant;

use self::health::{Average, Gate, Health, Rise};
use self::peer::Dialer;
use self::pins::Pins;
use crate::telemetry::BackendStats;

pub(crate) use self::client::ClientIdentity;
pub(crate) use self::dial::{DialError, bad_certificate, open};
pub(crate) use self::health::Millis;
pub(crate) use self::pins::{IDENTITY, Strict};
pub use self::trust::trust_file;

/// Retries that are always allowed at one time: a handful of clients that fail together, as in the conformance suite,
/// are no storm.
const LEAST_RETRIES: u32 = 16;
/// One retry at a time for so many requests in flight.
const REQUESTS_PER_RETRY: u32 = 5;
/// Copies of requests under way to one cluster.
const MOST_MIRRORS: u32 = 256;
/// The cluster's mean latency halves in this time without requests.
const MEAN_HALF_LIFE: f32 = 30_000.0;

/// One backend. Endpoints swap inside it without recompiling routes.
#[derive(Debug)]
pub struct Cluster {
    name: String,
    /// Which backend.
    pub backend: BackendRef,
    /// Counters.
    pub stats: Arc<BackendStats>,
    spec: Backend,
    dialer: Dialer,
    endpoints: ArcSwap<Vec<Arc<Endpoint>>>,
    load: Arc<Load>,
}

/// What a cluster and its successors count together.
#[derive(Debug)]
struct Load {
    in_use: AtomicU32,
    retrying: AtomicU32,
    mirroring: AtomicU32,
    /// Microseconds to the response head.
    mean: Average,
}

/// One address of a cluster.
#[derive(Debug)]
struct Endpoint {
    address: SocketAddr,
    /// As sessions name it.
    tag: u64,
    prototype: HttpPeer,
    health: Arc<Health>,
    /// There when the policy asks for what Pingora cannot check.
    pins: Option<Pins>,
}

impl Cluster {
    /// A cluster without endpoints.
    ///
    /// # Errors
    /// When the backend's settings cannot be used (CA bundle, host name).
    pub fn new(
        backend: BackendRef,
        spec: &Backend,
        stats: Arc<BackendStats>,
    ) -> Result<Self, policies::Invalid> {
        Ok(Self {
            name: backend.to_string(),
            dialer: Dialer::new(&backend, spec)?,
            spec: spec.clone(),
            backend,
            stats,
            endpoints: ArcSwap::default(),
            load: Arc::new(Load {
                in_use: AtomicU32::new(0),
                retrying: AtomicU32::new(0),
                mirroring: AtomicU32::new(0),
                mean: Average::new(0, 0.0),
            }),
        })
    }

    /// The cluster of a changed backend: endpoints, what was learned of them and what is in flight carry over.
    ///
    /// # Errors
    /// As [`Cluster::new`].
    pub fn succeed(previous: &Self, spec: &Backend) -> Result<Self, policies::Invalid> {
        let mut next = Self::new(previous.backend.clone(), spec, previous.stats.clone())?;
        next.load = previous.load.clone();
        let renewed = (previous.spec.protocol, &previous.spec.tls) != (spec.protocol, &spec.tls);
        let known = previous.endpoints.load();
        let endpoints = known.iter().map(|endpoint| {
            if renewed {
                // Whatever failed, failed with other settings.
                endpoint.health.open();
            }
            next.endpoint(endpoint.address, endpoint.health.clone())
        });
        next.endpoints.store(Arc::new(endpoints.collect()));
        Ok(next)
    }

    fn endpoint(&self, address: SocketAddr, health: Arc<Health>) -> Arc<Endpoint> {
        let pins = self.dialer.is_strict().then(Pins::default);
        let tag = tag(&self.name, address);
        Arc::new(Endpoint { address, tag, prototype: self.dialer.prototype(address), health, pins })
    }

    /// Replaces the endpoints; those that stay keep what was learned of them, those that go finish what they have.
    pub fn set_endpoints(&self, endpoints: &Endpoints) {
        self.set_endpoints_at(now(), endpoints);
    }

    fn set_endpoints_at(&self, now: Millis, endpoints: &Endpoints) {
        let previous = self.endpoints.load();
        let known: FxHashMap<SocketAddr, &Arc<Endpoint>> =
            previous.iter().map(|endpoint| (endpoint.address, endpoint)).collect();
        let mean = self.load.mean.at(now, MEAN_HALF_LIFE);
        let mut next: Vec<Arc<Endpoint>> = Vec::with_capacity(endpoints.endpoints.len());
        let mut seen = rustc_hash::FxHashSet::default();
        for address in endpoints.endpoints.iter().map(|endpoint| endpoint.address) {
            // The same address twice would get twice its share.
            if seen.insert(address) {
                next.push(known.get(&address).map_or_else(
                    || self.endpoint(address, Arc::new(Health::new(now, mean))),
                    |endpoint| Arc::clone(endpoint),
                ));
            }
        }
        self.endpoints.store(Arc::new(next));
    }

    /// Picks an endpoint for one attempt, none of `tried` if another is left. `entropy`: fresh random bits.
    ///
    /// # Errors
    /// When no endpoint can take the request.
    pub fn pick(self: &Arc<Self>, entropy: u64, tried: &[SocketAddr]) -> Result<Picked, NoEndpoint> {
        self.pick_at(now(), entropy, tried, 1)
    }

    /// As [`pick`](Self::pick), for a whole connection: of what shares one over HTTP/2 it takes the place of all.
    ///
    /// # Errors
    /// As [`pick`](Self::pick).
    pub fn pick_whole(self: &Arc<Self>, entropy: u64, tried: &[SocketAddr]) -> Result<Picked, NoEndpoint> {
        self.pick_at(now(), entropy, tried, self.dialer.streams())
    }

    /// As [`pick`](Self::pick), for who has read the clock.
    ///
    /// # Errors
    /// When no endpoint can take the request.
    pub(crate) fn pick_at(
        self: &Arc<Self>,
        now: Millis,
        entropy: u64,
        tried: &[SocketAddr],
        takes: u32,
    ) -> Result<Picked, NoEndpoint> {
        let endpoints = self.endpoints.load();
        let mean = self.load.mean.at(now, MEAN_HALF_LIFE);
        let endpoint = balance::choose(&endpoints, now, mean, entropy, tried).ok_or(NoEndpoint::None)?;
        self.take(endpoint, now, takes)
    }

    fn take(
        self: &Arc<Self>,
        endpoint: &Arc<Endpoint>,
        now: Millis,
        takes: u32,
    ) -> Result<Picked, NoEndpoint> {
        let in_use = self.load.in_use.fetch_add(takes, Ordering::Relaxed);
        if self.limit().is_some_and(|limit| in_use.saturating_add(takes) > limit) {
            self.load.in_use.fetch_sub(takes, Ordering::Relaxed);
            return Err(NoEndpoint::Full);
        }
        if endpoint.health.gate(now) == Gate::Probe {
            endpoint.health.claim_probe(now);
        }
        endpoint.health.enter();
        Ok(Picked { cluster: Arc::clone(self), endpoint: Arc::clone(endpoint), takes })
    }

    /// Requests in flight that fill the allowed connections: one each over HTTP/1.1, many share one over HTTP/2.
    fn limit(&self) -> Option<u32> {
        self.spec.max_connections.map(|connections| connections.saturating_mul(self.dialer.streams()))
    }

    /// True when an endpoint outside `tried` is left.
    #[must_use]
    pub fn has_untried(&self, tried: &[SocketAddr]) -> bool {
        self.endpoints.load().iter().any(|endpoint| !tried.contains(&endpoint.address))
    }

    /// Leave to repeat an attempt by policy: at most a fifth of the requests in flight and at least sixteen at a time
    /// per cluster, so that retries cannot multiply an overload. `None`: the budget is spent. Hold it until the
    /// repeated attempt ends.
    #[must_use]
    pub fn retry_permit(&self) -> Option<RetryPermit> {
        let allowed = (self.in_flight() / REQUESTS_PER_RETRY).max(LEAST_RETRIES);
        Counted::below(allowed, &self.load, |load| &load.retrying).map(RetryPermit)
    }

    /// Leave to send a copy of a request; `None`: enough are under way.
    pub(crate) fn mirror_permit(&self) -> Option<MirrorPermit> {
        Counted::below(MOST_MIRRORS, &self.load, |load| &load.mirroring).map(MirrorPermit)
    }

    /// Requests in flight, mirrors included.
    #[must_use]
    pub fn in_flight(&self) -> u32 {
        self.load.in_use.load(Ordering::Relaxed)
    }

    /// What is known of each endpoint, for `/config` and metrics; not for the request path.
    #[must_use]
    pub fn endpoints(&self) -> Vec<EndpointState> {
        let now = now();
        let state = |endpoint: &Arc<Endpoint>| EndpointState {
            address: endpoint.address,
            in_flight: endpoint.health.in_flight(),
            latency: Duration::from_micros(endpoint.health.latency(now) as u64),
            errors: endpoint.health.errors(now),
            is_shut: endpoint.health.gate(now) != Gate::Open,
        };
        self.endpoints.load().iter().map(state).collect()
    }

    /// What the backend speaks.
    #[must_use]
    pub fn protocol(&self) -> config::AppProtocol {
        self.spec.protocol
    }

    /// True when connections to it use TLS.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        self.spec.tls.is_some()
    }
}

impl policies::Upstream for Cluster {
    fn name(&self) -> &str {
        &self.name
    }
}

/// A moment as clusters count time: milliseconds since the first call in this process.
pub(crate) fn millis(at: Instant) -> Millis {
    static START: OnceLock<Instant> = OnceLock::new();
    at.saturating_duration_since(*START.get_or_init(|| at)).as_millis() as Millis
}

fn now() -> Millis {
    millis(Instant::now())
}

/// One endpoint as it is now.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EndpointState {
    /// Where.
    pub address: SocketAddr,
    /// Requests in flight.
    pub in_flight: u32,
    /// Time to the response head, recent peaks.
    pub latency: Duration,
    /// Recent share of failures, 0 to 1.
    pub errors: f32,
    /// Connecting failed lately; used only when every other is shut too.
    pub is_shut: bool,
}

/// Why no endpoint can take a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoEndpoint {
    /// The backend has no endpoints: 503 `no_endpoints`.
    None,
    /// The connection limit is reached: 503 `connection_limit`.
    Full,
}

/// Leave to repeat one attempt; dropping it gives it back.
#[derive(Debug)]
pub struct RetryPermit(#[expect(dead_code, reason = "held for its drop")] Counted);

/// Leave to send one copy; dropping it gives it back.
#[derive(Debug)]
pub(crate) struct MirrorPermit(#[expect(dead_code, reason = "held for its drop")] Counted);

/// One of a limited number.
#[derive(Debug)]
struct Counted {
    load: Arc<Load>,
    counter: fn(&Load) -> &AtomicU32,
}

impl Counted {
    fn below(most: u32, load: &Arc<Load>, counter: fn(&Load) -> &AtomicU32) -> Option<Self> {
        let before = counter(load).fetch_add(1, Ordering::Relaxed);
        // Made before the check: dropping it takes the count back.
        let counted = Self { load: load.clone(), counter };
        (before < most).then_some(counted)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        (self.counter)(&self.load).fetch_sub(1, Ordering::Relaxed);
    }
}

/// An endpoint with one request in flight; dropping it ends the request.
#[derive(Debug)]
pub struct Picked {
    cluster: Arc<Cluster>,
    endpoint: Arc<Endpoint>,
    /// Of the cluster's limit.
    takes: u32,
}

impl Picked {
    /// Where.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.endpoint.address
    }

    /// As sessions name it.
    pub(crate) fn tag(&self) -> u64 {
        self.endpoint.tag
    }

    /// Whose.
    #[must_use]
    pub fn cluster(&self) -> &Arc<Cluster> {
        &self.cluster
    }

    /// Tells how the attempt went, once; feeds latency and error averages. `latency`: time to the response head, or
    /// until it failed.
    pub fn record(&self, outcome: Outcome, latency: Duration) {
        self.record_at(now(), outcome, latency);
    }

    /// As [`record`](Self::record), for who has read the clock.
    pub(crate) fn record_at(&self, now: Millis, outcome: Outcome, latency: Duration) {
        self.endpoint.health.record(now, outcome, latency);
        // One sample in 16 ms is enough for the mean, and all endpoints write it.
        if outcome == Outcome::Success && !self.cluster.load.mean.is_fresh(now) {
            let micros = latency.as_micros() as f32;
            self.cluster.load.mean.add(now, MEAN_HALF_LIFE, micros, Rise::Slowly);
        }
    }
}

impl Drop for Picked {
    fn drop(&mut self) {
        self.endpoint.health.leave();
        self.cluster.load.in_use.fetch_sub(self.takes, Ordering::Relaxed);
    }
}

/// How an attempt went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// A response below 500 arrived; latency is time to its head.
    Success,
    /// A response of 500 or above arrived.
    ServerError,
    /// No connection.
    ConnectFailure,
    /// The connection broke or the attempt timed out before a response.
    Broken,
    /// The client went away: says nothing of the endpoint.
    Cancelled,
}

#[cfg(test)]
mod tests;
