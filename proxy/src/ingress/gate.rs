//! One listening port as its connections see it: who is connected, and whether it is closing.

use std::collections::hash_map::Entry;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwapOption;
use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::admission::Held;
use super::connection::Connection;
use crate::overload::Pressure;
use crate::snapshot::{Bind, Port};
use crate::telemetry::{ListenerStats, OpenConnection, Spoken, Telemetry};

/// One listening port and its connections.
#[derive(Debug)]
pub(crate) struct Gate {
    /// Which.
    pub(crate) bind: Bind,
    /// `address:port`: what is counted here is not known to belong to one listener.
    pub(crate) name: Box<str>,
    stats: Arc<ListenerStats>,
    /// How short memory is.
    pub(crate) pressure: Arc<Pressure>,
    /// When that began.
    draining: OnceLock<Instant>,
    next: AtomicUsize,
    open: Mutex<FxHashMap<usize, Arc<Connection>>>,
    empty: Notify,
    /// Its last configuration, once it is no longer in the snapshot: requests that still come over its connections
    /// are answered as they would have been before.
    last: ArcSwapOption<Port>,
}

impl Gate {
    pub(crate) fn new(bind: Bind, telemetry: &Telemetry, pressure: Arc<Pressure>) -> Self {
        let name = bind.name();
        Self {
            bind,
            stats: telemetry.listener(&name),
            name: name.into(),
            pressure,
            draining: OnceLock::new(),
            next: AtomicUsize::new(0),
            open: Mutex::default(),
            empty: Notify::new(),
            last: ArcSwapOption::empty(),
        }
    }

    /// Takes a connection in until the guard is dropped.
    ///
    /// # Errors
    /// The port has as many as it may.
    pub(crate) fn enter(self: &Arc<Self>, connection: Arc<Connection>, held: Held) -> Result<Entered, Held> {
        let mut open = self.open.lock();
        if open.len() >= connection.rules().limits.connections {
            return Err(held);
        }
        loop {
            let id = self.next.fetch_add(1, Ordering::Relaxed);
            // A number comes again only after 2^64 connections; then the next free one does.
            if let Entry::Vacant(entry) = open.entry(id) {
                entry.insert(connection);
                let counted = self.stats.connection_opened();
                return Ok(Entered { gate: self.clone(), id, counted, held });
            }
        }
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining_since().is_some()
    }

    /// When it began to drain.
    pub(crate) fn draining_since(&self) -> Option<Instant> {
        self.draining.get().copied()
    }

    /// Keeps the configuration to serve what is left with.
    pub(crate) fn keep(&self, port: Option<Arc<Port>>) {
        self.last.store(port);
    }

    /// See [`Gate::keep`].
    pub(crate) fn kept(&self) -> Option<Arc<Port>> {
        self.last.load_full()
    }

    /// From now on answers close their connections; those that wait for a request are woken to see it.
    pub(crate) fn drain(&self) {
        self.draining.get_or_init(Instant::now);
        for connection in self.open.lock().values() {
            connection.waker.wake();
        }
    }

    /// Counts a connection that was closed before anything was asked over it.
    pub(crate) fn turned_away(&self, reason: &'static str) {
        self.stats.turned_away(reason);
    }

    /// Counts a TLS handshake that failed.
    pub(crate) fn handshake_failed(&self, reason: &'static str) {
        self.stats.handshake_failed(reason);
    }

    /// Connections open now.
    pub(crate) fn count(&self) -> usize {
        self.open.lock().len()
    }

    /// Returns when no connection is left.
    pub(crate) async fn emptied(&self) {
        loop {
            let notified = self.empty.notified();
            if self.count() == 0 {
                return;
            }
            notified.await;
        }
    }

    /// Cuts what is left.
    pub(crate) fn cut(&self) {
        self.cut_where(|_| true);
    }

    /// Cuts what is left of a listener that others share the port with. Its requests need none of this: each asks anew
    /// where it belongs.
    pub(crate) fn cut_streams(&self, listener: &str) {
        self.cut_where(|connection| connection.stream_of() == Some(listener));
    }

    fn cut_where(&self, is_cut: impl Fn(&Connection) -> bool) {
        for connection in self.open.lock().values().filter(|connection| is_cut(connection)) {
            if let Some(task) = connection.abort.get() {
                task.abort();
            }
        }
    }
}

/// A connection that is counted; dropping it says that it ended.
#[derive(Debug)]
pub(crate) struct Entered {
    gate: Arc<Gate>,
    id: usize,
    counted: OpenConnection,
    held: Held,
}

impl Entered {
    /// Says who the client is, once it is known; false when it has too many connections.
    #[must_use]
    pub(crate) fn belongs_to(&mut self, connection: &Arc<Connection>) -> bool {
        self.gate.open.lock().insert(self.id, connection.clone());
        self.held.by(connection.peer.ip(), connection.rules().limits.per_address)
    }

    /// Says what the client speaks, once it is known.
    pub(crate) fn speaks(&mut self, spoken: Spoken) {
        self.counted.speaks(spoken);
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        let mut open = self.gate.open.lock();
        let gone = open.remove(&self.id);
        let left = open.len();
        drop(open);
        drop(gone);
        if left == 0 {
            self.gate.empty.notify_waiters();
        }
    }
}
