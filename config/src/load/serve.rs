//! A running server: who is asked for what, and what they told. Sockets are somebody else's ([`crate::xds`]).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;

use super::proto::{Report, Request};
use super::{Counts, MAX_BACKENDS};
use crate::BackendRef;
use crate::identity::{GatewayRef, ProxyId};
use crate::quota::proto::Span;

/// How often proxies tell.
const INTERVAL: Duration = Duration::from_secs(1);

/// Who may see which backend.
pub trait Sight: Send + Sync + 'static {
    /// Whether requests of a place may go there.
    fn sees(&self, place: &GatewayRef, backend: &BackendRef) -> bool;

    /// Changes whenever somebody may see something else.
    fn version(&self) -> u64;
}

/// A server, and who is connected to it. Cheap to clone; all clones are one.
///
/// Only the replica that leads asks ([`Loads::lead`]): all proxies are connected to that one.
#[derive(Clone)]
pub struct Loads(Arc<Shared>);

struct Shared {
    sight: Box<dyn Sight>,
    state: Mutex<State>,
    /// Counts changes of what is asked, and of who leads.
    changed: watch::Sender<u64>,
}

#[derive(Default)]
struct State {
    is_leading: bool,
    wanted: BTreeSet<BackendRef>,
    /// By which [`Sight::version`] proxies were asked.
    seen: u64,
    totals: BTreeMap<BackendRef, Counts>,
    /// The newest stream of each proxy.
    streams: BTreeMap<ProxyId, u64>,
    opened: u64,
    reports: u64,
}

/// Why a stream cannot be, or cannot go on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Another replica leads, or nobody does.
    #[error("this controller does not ask for loads now; the one that leads does")]
    NotLeading,
    /// The proxy has a newer stream.
    #[error("the proxy has opened another stream")]
    Replaced,
}

/// What there is to tell of a server.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LoadCounts {
    /// Streams that are open.
    pub streams: usize,
    /// Backends that proxies are asked for.
    pub backends: usize,
    /// Reports of proxies so far.
    pub reports: u64,
}

impl fmt::Debug for Loads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loads").field("counts", &self.told()).finish_non_exhaustive()
    }
}

impl Loads {
    /// One that does not lead, and asks for nothing.
    #[must_use]
    pub fn new(sight: impl Sight) -> Self {
        let (state, changed) = (Mutex::default(), watch::Sender::new(0));
        Self(Arc::new(Shared { sight: Box::new(sight), state, changed }))
    }

    /// Begins to take streams, or ends: then all streams end, and everything is forgotten.
    pub fn lead(&self, leads: bool) {
        let mut state = self.0.state.lock();
        if state.is_leading == leads {
            return;
        }
        let (opened, reports) = (state.opened, state.reports);
        *state = State { is_leading: leads, opened, reports, ..State::default() };
        drop(state);
        self.0.wake();
    }

    /// Whether this replica asks.
    #[must_use]
    pub fn is_leading(&self) -> bool {
        self.0.state.lock().is_leading
    }

    /// From now on proxies are asked for these, each for those that it may see. What was told of others is forgotten. To be
    /// called now and then with the same too: what proxies may see changes.
    pub fn want(&self, backends: BTreeSet<BackendRef>) {
        let seen = self.0.sight.version();
        let mut state = self.0.state.lock();
        let wanted: BTreeSet<BackendRef> = backends.into_iter().take(MAX_BACKENDS).collect();
        if state.wanted == wanted && state.seen == seen {
            return;
        }
        state.totals.retain(|backend, _| wanted.contains(backend));
        (state.wanted, state.seen) = (wanted, seen);
        drop(state);
        self.0.wake();
    }

    /// What all proxies told of a backend since it is asked for.
    #[must_use]
    pub fn counts(&self, backend: &BackendRef) -> Counts {
        self.0.state.lock().totals.get(backend).cloned().unwrap_or_default()
    }

    /// A stream of a proxy; its older one, if there is one, ends.
    ///
    /// # Errors
    /// While we do not lead.
    pub fn connect(&self, proxy: &ProxyId) -> Result<Session, Refused> {
        let mut state = self.0.state.lock();
        if !state.is_leading {
            return Err(Refused::NotLeading);
        }
        state.opened += 1;
        let stream = state.opened;
        state.streams.insert(proxy.clone(), stream);
        drop(state);
        // Its older stream has to hear of it.
        self.0.wake();
        let changed = self.0.changed.subscribe();
        Ok(Session { loads: self.clone(), proxy: proxy.clone(), stream, changed, asked: Vec::new() })
    }

    /// What there is to tell.
    #[must_use]
    pub fn told(&self) -> LoadCounts {
        let state = self.0.state.lock();
        LoadCounts { streams: state.streams.len(), backends: state.wanted.len(), reports: state.reports }
    }
}

impl Shared {
    fn wake(&self) {
        self.changed.send_modify(|count| *count = count.wrapping_add(1));
    }
}

/// A stream of a proxy.
#[derive(Debug)]
pub struct Session {
    loads: Loads,
    proxy: ProxyId,
    stream: u64,
    changed: watch::Receiver<u64>,
    /// What the proxy was asked for last, sorted.
    asked: Vec<String>,
}

impl Session {
    /// The next thing to ask the proxy, when that is something else than before.
    ///
    /// # Errors
    /// The stream is over.
    pub async fn ask(&mut self) -> Result<Request, Refused> {
        loop {
            // Before looking: what changes meanwhile is looked at again.
            self.changed.borrow_and_update();
            let now = self.to_ask()?;
            if now != self.asked {
                self.asked.clone_from(&now);
                let nanos = u64::try_from(INTERVAL.as_nanos()).unwrap_or(u64::MAX);
                return Ok(Request { clusters: now, interval: Some(Span::of(nanos)) });
            }
            if self.changed.changed().await.is_err() {
                return Err(Refused::NotLeading);
            }
        }
    }

    fn to_ask(&self) -> Result<Vec<String>, Refused> {
        let Loads(shared) = &self.loads;
        let state = shared.state.lock();
        self.is_current(&state)?;
        let wanted = state.wanted.clone();
        drop(state);
        let place = self.proxy.gateway.clone();
        Ok(wanted.iter().filter(|one| shared.sight.sees(&place, one)).map(ToString::to_string).collect())
    }

    fn is_current(&self, state: &State) -> Result<(), Refused> {
        match state.streams.get(&self.proxy) {
            _ if !state.is_leading => Err(Refused::NotLeading),
            Some(stream) if *stream == self.stream => Ok(()),
            Some(_) | None => Err(Refused::Replaced),
        }
    }

    /// The proxy tells. Only what it was asked for counts: a proxy says nothing of backends that it may not see.
    ///
    /// # Errors
    /// The stream is over.
    pub fn report(&mut self, report: &Report) -> Result<(), Refused> {
        let mut state = self.loads.0.state.lock();
        self.is_current(&state)?;
        state.reports += 1;
        for cluster in report.clusters.iter().take(MAX_BACKENDS) {
            if self.asked.binary_search(&cluster.name).is_err() {
                continue;
            }
            let Ok(backend) = cluster.name.parse() else { continue };
            // It may have been asked for a moment ago and not any more.
            if state.wanted.contains(&backend) {
                state.totals.entry(backend).or_default().add(&cluster.decode());
            }
        }
        Ok(())
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let mut state = self.loads.0.state.lock();
        if state.streams.get(&self.proxy) == Some(&self.stream) {
            state.streams.remove(&self.proxy);
        }
    }
}
