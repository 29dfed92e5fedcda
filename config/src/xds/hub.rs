//! What is served to proxies, and what they say of it.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::watch;

use crate::identity::ProxyId;
use crate::{Generation, Rejection, Resources};

/// The configuration that proxies are served, and their answers. Cheap to clone; all clones are one.
///
/// A slow or dead proxy costs its own stream at most: nothing here waits for one.
#[derive(Debug, Clone)]
pub struct Hub {
    state: Arc<Mutex<State>>,
    changes: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    generation: Option<Generation>,
    resources: Resources,
    is_open: bool,
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
        let state = State { is_open: true, ..State::default() };
        Self { state: Arc::new(Mutex::new(state)), changes: watch::Sender::new(0) }
    }

    /// From now on proxies are served this; each is sent what differs from what it has, and only what its Gateway may
    /// see. Costs a pass over the keys, and work for what changed; an unchanged resource should be the same `Arc`.
    ///
    /// The first call must come with complete caches: what is missing is removed from proxies. A generation that is older
    /// than the one before is published as the same: the order of calls is believed.
    pub fn publish(&self, generation: Generation, resources: Resources) {
        let mut state = self.state.lock();
        state.generation = state.generation.max(Some(generation));
        state.resources = resources;
        drop(state);
        self.changes.send_modify(|count| *count += 1);
    }

    /// Whether proxies are served. Closing ends all streams, and proxies try again until another replica, or this one
    /// opened again, takes them: so that all proxies come to the leader, who writes status. Without a leader every
    /// replica should be open. A new hub is.
    pub fn set_open(&self, is_open: bool) {
        self.state.lock().is_open = is_open;
    }

    /// All proxies, by name.
    #[must_use]
    pub fn proxies(&self) -> Vec<ProxyState> {
        Vec::new()
    }

    /// Counts changes of [`Hub::proxies`]. Wait for one, then read all: what happened in between is not lost.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }
}
