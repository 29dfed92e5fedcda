//! What is served to proxies, and what they say of it.

mod log;
mod rights;
mod seat;

use std::borrow::Borrow;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::Instant;

use self::log::Log;
pub(super) use self::seat::{Batch, Ended, Seat};
use super::scope::Scopes;
use super::wire::Entry;
use crate::identity::{GatewayRef, ProxyId};
use crate::{Generation, Key, Rejection, Resources, Update, quota};

/// How long a proxy that lost its stream is listed.
const LISTED: Duration = Duration::from_secs(60);

/// The configuration that proxies are served, and their answers. Cheap to clone; all clones are one.
///
/// A slow or dead proxy costs its own stream at most: nothing here waits for one.
#[derive(Clone)]
pub struct Hub(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    changes: watch::Sender<u64>,
}

#[derive(Default)]
struct State {
    generation: Option<Generation>,
    is_closed: bool,
    /// As published.
    resources: Resources,
    entries: HashMap<Key, Arc<Entry>>,
    scopes: Scopes,
    /// Limits that all proxies hold together.
    limits: quota::Book,
    /// Counts changes.
    changed: u64,
    /// Of places where a proxy is connected.
    logs: HashMap<GatewayRef, Log>,
    proxies: BTreeMap<ProxyId, Known>,
    /// Streams so far; names the one that a proxy has.
    streams: u64,
}

/// What is known of a proxy.
struct Known {
    /// Its newest stream.
    stream: u64,
    /// Position in the log of its place up to which it has everything; `None` before it answered its first batch.
    position: Option<u64>,
    /// The position of that first batch, once it is read.
    first: Option<u64>,
    generation: Option<Generation>,
    rejections: Arc<[Rejection]>,
    /// When it lost its stream, if it has none.
    lost: Option<Instant>,
}

/// What is known of one proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProxyState {
    /// Which.
    pub proxy: ProxyId,
    /// It uses everything of its Gateway up to this generation, save the rejections. `None`: it has not answered yet.
    /// What does not concern its Gateway is in use at once.
    pub generation: Option<Generation>,
    /// Resources it does not use, or only in part, now.
    pub rejections: Arc<[Rejection]>,
    /// Whether it has a stream. One that lost it is listed for another minute.
    pub is_connected: bool,
}

impl Default for Hub {
    fn default() -> Self {
        Self::new()
    }
}

impl Hub {
    /// A hub without configuration: proxies that connect wait for the first [`Hub::publish`].
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new(Shared { state: Mutex::default(), changes: watch::Sender::new(0) }))
    }

    /// From now on proxies are served this; each is sent what differs from what it has, and only what its Gateway may
    /// see. Costs what these resources do not share with those of before; an unchanged one should be the same `Arc`.
    ///
    /// The first call must come with complete caches: what is missing is removed from proxies. A generation that is older
    /// than the one before is published as the same: the order of calls is believed.
    #[allow(clippy::needless_pass_by_value, reason = "by value or by reference, as the caller has it")]
    pub fn publish(&self, generation: Generation, resources: impl Borrow<Resources>) {
        let mut state = self.0.state.lock();
        let update = Update::between(0, &state.resources, resources.borrow());
        // A copy, so that the next version is compared where it differs from this one.
        state.resources = resources.borrow().clone();
        state.take(generation, &update);
        drop(state);
        self.0.changed();
    }

    /// Like [`Hub::publish`], for who knows what changed: costs what changed, whatever the number of resources. An empty
    /// update says that what is published holds for a newer generation too. The update's own version is not looked at.
    pub fn publish_change(&self, generation: Generation, update: &Update) {
        let mut state = self.0.state.lock();
        update.removes.iter().for_each(|key| drop(state.resources.remove(key)));
        state.resources.extend(update.upserts.clone());
        state.take(generation, update);
        drop(state);
        self.0.changed();
    }

    /// Whether proxies are served. Closing ends all streams, and proxies try again until another replica, or this one
    /// opened again, takes them: so that all proxies come to the leader, who writes status. Without a leader every
    /// replica should be open. A new hub is.
    pub fn set_open(&self, is_open: bool) {
        let mut state = self.0.state.lock();
        state.is_closed = !is_open;
        state.logs.values().for_each(Log::wake);
    }

    /// All proxies, by name.
    #[must_use]
    pub fn proxies(&self) -> Vec<ProxyState> {
        let mut state = self.0.state.lock();
        state.proxies.retain(|_, known| known.lost.is_none_or(|lost| lost.elapsed() < LISTED));
        let told = state.proxies.iter().map(|(proxy, known)| ProxyState {
            proxy: proxy.clone(),
            generation: known.generation,
            rejections: known.rejections.clone(),
            is_connected: known.lost.is_none(),
        });
        told.collect()
    }

    /// The Gateways whose proxies are told of a resource. O(Gateways).
    #[must_use]
    pub fn seers(&self, key: &Key) -> Vec<GatewayRef> {
        let mut seers: Vec<GatewayRef> = self.0.state.lock().scopes.seers(key).cloned().collect();
        seers.sort_unstable();
        seers
    }

    /// Counts changes of [`Hub::proxies`]. Wait for one, then read all: what happened in between is not lost.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.0.changes.subscribe()
    }
}

impl Shared {
    fn changed(&self) {
        self.changes.send_modify(|count| *count = count.wrapping_add(1));
    }
}

impl State {
    /// `resources` are those of now, and this is what changed by it.
    fn take(&mut self, generation: Generation, update: &Update) {
        let is_first = self.generation.is_none();
        self.generation = self.generation.max(Some(generation));
        self.limits.apply(update);
        self.changed += u64::from(!update.is_empty());
        for key in &update.removes {
            self.entries.remove(key);
        }
        for (key, resource) in &update.upserts {
            self.entries.insert(key.clone(), Arc::new(Entry::new(key.clone(), resource.clone())));
        }
        for (place, change) in self.scopes.apply(update, &self.resources) {
            if let Some(log) = self.logs.get_mut(&place) {
                change.into_keys().for_each(|key| log.push(key));
                log.wake();
            }
        }
        let mut passed: HashMap<GatewayRef, u64> = HashMap::new();
        for (proxy, known) in &mut self.proxies {
            let place = proxy.gateway.clone();
            let Some(log) = self.logs.get(&place) else { continue };
            if known.lost.is_some() {
                continue;
            }
            if known.position == Some(log.end()) {
                // Nothing of it concerns this proxy.
                known.generation = self.generation;
            }
            match known.position.or(known.first) {
                Some(position) => {
                    let passed = passed.entry(place).or_insert(position);
                    *passed = position.min(*passed);
                }
                // It may wait for this generation.
                None => log.wake(),
            }
        }
        for (place, log) in &mut self.logs {
            log.forget(passed.get(place).copied(), self.scopes.count(place));
            if is_first {
                log.wake();
            }
        }
    }
}

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.0.state.lock();
        f.debug_struct("Hub")
            .field("generation", &state.generation)
            .field("resources", &state.resources.len())
            .field("proxies", &state.proxies.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
