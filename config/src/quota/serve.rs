//! A running quota server: who is connected, and what goes in and out. Sockets are somebody else's ([`crate::xds`]), or
//! there are none: in one process a stream is two channels.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use policies::rate_limit::nanos;
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;

use super::book::Rights;
use super::memory::Memory;
use super::proto::{Crowd, Reports, Response};
use super::server::{BadReport, Limited, Limits, Server, ServerCounts, ServerOptions};
use super::{DOMAIN, Id};
use crate::identity::{GatewayRef, ProxyId};
use crate::redis::Redis;

mod turn;

/// How long a lease holds. A proxy that is gone keeps its share so long, and as long as its policy says after that.
const TTL: Duration = Duration::from_secs(30);
/// How long a proxy without a stream counts among those that share a limit.
const COUNTED: Duration = Duration::from_secs(60);
/// Those who come together are counted together.
const SOON: Duration = Duration::from_millis(100);
/// Messages that may wait for a proxy. It is sent five in a second.
const WAITING: usize = 8;

/// A quota server, and who is connected to it. Cheap to clone; all clones are one.
///
/// Only the replica that leads grants shares ([`Quotas::lead`]): two that do not know of each other would give away everything
/// twice. While nobody leads, proxies go on with their shares, and then with what their policies say.
#[derive(Clone)]
pub struct Quotas(Arc<Shared>);

struct Shared {
    rights: Box<dyn Rights>,
    options: ServerOptions,
    /// Where what a server knows is kept for the next.
    kept: Option<Redis>,
    began: Instant,
    state: Mutex<State>,
    wake: Notify,
}

#[derive(Default)]
struct State {
    leads: bool,
    /// How often that changed.
    term: u64,
    /// While we lead, and know what the leader before us left.
    server: Option<Server<Memory>>,
    /// Since when we lead.
    since: Option<Instant>,
    /// Proxies may have shares of a server before us.
    learns: bool,
    seats: BTreeMap<Arc<str>, Seat>,
    streams: u64,
    /// What everybody was told by: [`Rights::version`], and whether there may be more.
    told: Option<(u64, bool)>,
    /// Somebody came or went.
    is_moved: bool,
    swept: Option<Instant>,
}

/// What is known of a proxy.
struct Seat {
    place: GatewayRef,
    stream: u64,
    out: Option<mpsc::Sender<Response>>,
    /// When it lost its stream.
    lost: Option<Instant>,
    /// How many share each limit that it may use.
    crowds: BTreeMap<Arc<str>, u32>,
}

/// Why a stream cannot be, or cannot go on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Another replica leads, or nobody does.
    #[error("this controller does not lease quotas now; the one that leads does")]
    NotLeading,
    /// The proxy has a newer stream.
    #[error("the proxy has opened another stream")]
    Replaced,
    /// What it said cannot be.
    #[error(transparent)]
    Bad(#[from] BadReport),
}

/// What there is to tell of a quota server.
#[derive(Debug, Clone, Copy, Default)]
pub struct QuotaCounts {
    /// Whether it grants shares.
    pub is_leading: bool,
    /// Streams that are open.
    pub streams: usize,
    /// Buckets it knows.
    pub buckets: usize,
    /// What it has done since it began to lead.
    pub server: ServerCounts,
}

impl Quotas {
    /// One that does not lead. `learns`: proxies may have shares of a server before it.
    #[must_use]
    pub fn new(rights: impl Rights, learns: bool) -> Self {
        Self::with(rights, ServerOptions { ttl: nanos(TTL), learns, ..ServerOptions::default() }, None)
    }

    /// One that does not lead, and goes on from what whoever led before left there. Without that it learns.
    #[must_use]
    pub fn kept(rights: impl Rights, redis: Redis) -> Self {
        Self::with(rights, ServerOptions { ttl: nanos(TTL), ..ServerOptions::default() }, Some(redis))
    }

    /// One that does not lead, and leases so. `kept`: where the next leader finds what was leased.
    #[must_use]
    pub fn with(rights: impl Rights, options: ServerOptions, kept: Option<Redis>) -> Self {
        Self(Arc::new(Shared {
            rights: Box::new(rights),
            options,
            kept,
            began: Instant::now(),
            state: Mutex::default(),
            wake: Notify::new(),
        }))
    }

    /// Begins to grant shares, or ends: then all streams end, and everything is forgotten. Whoever begins learns first what
    /// proxies have, or reads it.
    pub fn lead(&self, leads: bool) {
        self.turn(leads, self.0.options.learns);
    }

    /// Begins to grant shares where nobody ever did: there is nothing to learn.
    pub fn lead_first(&self) {
        self.turn(true, false);
    }

    fn turn(&self, leads: bool, learns: bool) {
        let mut state = self.0.state.lock();
        if state.leads == leads {
            return;
        }
        let term = state.term + 1;
        *state = State { streams: state.streams, leads, learns, term, ..State::default() };
        drop(state);
        if leads && self.0.kept.is_none() {
            self.begin(term, |_, _| {});
        }
        self.0.wake.notify_one();
    }

    /// A server, if it is still wanted.
    fn begin(&self, term: u64, with: impl FnOnce(&mut Server<Memory>, u64)) {
        let now = self.now();
        let mut state = self.0.state.lock();
        let options = ServerOptions { learns: state.learns, ..self.0.options };
        if state.leads && state.term == term && state.server.is_none() {
            let server =
                state.server.insert(Server::new(now, epoch(), options, Memory::new(options.buckets)));
            with(server, now);
            state.since = Some(Instant::now());
        }
    }

    /// Whether we grant shares now.
    #[must_use]
    pub fn is_leading(&self) -> bool {
        self.0.state.lock().server.is_some()
    }

    /// A stream of a proxy; its older one, if there is one, ends.
    ///
    /// # Errors
    /// While we do not lead.
    pub fn connect(&self, proxy: &ProxyId) -> Result<Session, Refused> {
        let client: Arc<str> = proxy.to_string().into();
        let (out, responses) = mpsc::channel(WAITING);
        let mut state = self.0.state.lock();
        let State { server, seats, streams, is_moved, .. } = &mut *state;
        let server = server.as_mut().ok_or(Refused::NotLeading)?;
        *streams += 1;
        server.opened(&client);
        let seat = Seat {
            place: proxy.gateway.clone(),
            stream: *streams,
            out: Some(out),
            lost: None,
            crowds: BTreeMap::new(),
        };
        seats.insert(Arc::clone(&client), seat);
        *is_moved = true;
        let session = Session { quotas: self.clone(), client, stream: *streams, responses };
        drop(state);
        self.0.wake.notify_one();
        Ok(session)
    }

    fn now(&self) -> u64 {
        // As if it had begun an hour ago: nothing is at the edge of time.
        nanos(self.0.began.elapsed() + Duration::from_hours(1))
    }

    /// Tells everybody how many they are, where that is new. Costs places and limits, once in a second when something changed.
    fn tell_crowds(&self, state: &mut State) {
        let State { server: Some(server), since, learns, seats, told, is_moved, swept, .. } = state else {
            return;
        };
        let wait = if *is_moved { SOON } else { Duration::from_secs(1) };
        // Whoever had a share of a server before us may not have found us yet.
        let is_least = *learns && since.is_some_and(|since| since.elapsed() < COUNTED);
        let by = (self.0.rights.version(), is_least);
        if swept.is_some_and(|swept| swept.elapsed() < wait) {
            return;
        }
        *swept = Some(Instant::now());
        let before = seats.len();
        seats.retain(|_, seat| seat.lost.is_none_or(|lost| lost.elapsed() < COUNTED));
        if !std::mem::take(is_moved) && *told == Some(by) && seats.len() == before {
            return;
        }
        let is_new = told.replace(by).is_some_and(|(_, was_least)| was_least != is_least);
        let places: BTreeSet<&GatewayRef> = seats.values().map(|seat| &seat.place).collect();
        let limits: BTreeMap<GatewayRef, Vec<Arc<str>>> =
            places.into_iter().map(|place| (place.clone(), self.0.rights.limits(place))).collect();
        let mut counts: BTreeMap<&Arc<str>, u32> = BTreeMap::new();
        for seat in seats.values() {
            for limit in limits.get(&seat.place).into_iter().flatten() {
                *counts.entry(limit).or_default() += 1;
            }
        }
        for (client, seat) in seats.iter_mut() {
            let limits = limits.get(&seat.place).into_iter().flatten();
            let now: BTreeMap<Arc<str>, u32> =
                limits.map(|limit| (Arc::clone(limit), counts.get(limit).copied().unwrap_or(1))).collect();
            let news = now.iter().filter(|(limit, count)| is_new || seat.crowds.get(*limit) != Some(*count));
            let news =
                news.map(|(limit, proxies)| Crowd { limit: limit.to_string(), proxies: *proxies, is_least });
            server.tell(client, news.collect::<Vec<_>>());
            seat.crowds = now;
        }
    }

    /// What there is to tell.
    #[must_use]
    pub fn counts(&self) -> QuotaCounts {
        let state = self.0.state.lock();
        let Some(server) = &state.server else { return QuotaCounts::default() };
        QuotaCounts {
            is_leading: true,
            streams: state.seats.values().filter(|seat| seat.out.is_some()).count(),
            buckets: server.records().iter().count(),
            server: server.counts(),
        }
    }

    /// Looks at what the server knows, if we lead; `now` is its time. Everything waits meanwhile.
    pub(super) fn look<T>(&self, look: impl FnOnce(&Server<Memory>, u64) -> T) -> Option<T> {
        let now = self.now();
        self.0.state.lock().server.as_ref().map(|server| look(server, now))
    }
}

impl fmt::Debug for Quotas {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Quotas").field("counts", &self.counts()).finish_non_exhaustive()
    }
}

/// A stream of a proxy; dropping it ends it.
#[derive(Debug)]
pub struct Session {
    quotas: Quotas,
    client: Arc<str>,
    stream: u64,
    /// For the proxy; it ends when the stream has to.
    pub responses: mpsc::Receiver<Response>,
}

impl Session {
    /// Takes in a message of the proxy.
    ///
    /// # Errors
    /// When the stream has to end.
    pub fn report(&self, reports: &Reports) -> Result<(), Refused> {
        let (shared, now) = (&self.quotas.0, self.quotas.now());
        let mut state = shared.state.lock();
        let State { server, seats, .. } = &mut *state;
        let server = server.as_mut().ok_or(Refused::NotLeading)?;
        let seat = seats.get(&self.client).filter(|seat| seat.stream == self.stream && seat.out.is_some());
        let seat = seat.ok_or(Refused::Replaced)?;
        server.report(now, &self.client, reports, &Allowed { rights: &*shared.rights, seat })?;
        drop(state);
        shared.wake.notify_one();
        Ok(())
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let mut state = self.quotas.0.state.lock();
        let State { server, seats, is_moved, .. } = &mut *state;
        if let Some(seat) = seats.get_mut(&self.client).filter(|seat| seat.stream == self.stream) {
            (seat.out, seat.lost) = (None, Some(Instant::now()));
            *is_moved = true;
            if let Some(server) = server {
                server.closed(&self.client);
            }
        }
    }
}

/// What a proxy may have shares of.
struct Allowed<'a> {
    rights: &'a dyn Rights,
    seat: &'a Seat,
}

impl Limits for Allowed<'_> {
    fn limit(&self, domain: &str, id: &Id) -> Option<Limited> {
        // In another domain there would be another bucket of the same name.
        if domain != DOMAIN {
            return None;
        }
        let limited = self.rights.limited(&self.seat.place, id)?;
        Some(Limited { proxies: self.seat.crowds.get(id.limit()?).copied(), ..limited })
    }
}

/// Of two starts the later one's is greater, as long as clocks are about right; what matters is that they differ.
fn epoch() -> u32 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u32::try_from(since.as_secs() & u64::from(u32::MAX)).unwrap_or(1)
}
