//! A worker's part of a port: takes datagrams, finds their flow or begins one.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::inbox::Inbox;
use super::session::{Flow, Refused, Session};
use super::sessions::Sessions;
use super::socket::{Arrived, PortSocket};
use super::{BATCH, LULL};
use crate::snapshot::{Bind, Port, Reader};
use crate::stream::account::Account;
use crate::stream::way::{NoWay, Way};
use crate::telemetry::{ListenerStats, Spoken, Telemetry};

/// What all workers of a port share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) bind: Bind,
    pub(super) reader: Reader,
    pub(super) telemetry: Arc<Telemetry>,
    /// Counts by address, where the listener is not known.
    pub(super) stats: Arc<ListenerStats>,
    /// See [`IDLE`](super::IDLE).
    pub(super) idle: Duration,
    pub(super) open: AtomicUsize,
    /// Told whenever the last flow has ended.
    pub(super) empty: Notify,
}

/// One flow more, until it is dropped.
struct Counted(Arc<Shared>);

impl Counted {
    fn new(shared: &Arc<Shared>) -> Self {
        shared.open.fetch_add(1, Ordering::AcqRel);
        Self(shared.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        if self.0.open.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.empty.notify_waiters();
        }
    }
}

/// A worker's part of a port.
pub(super) struct Post {
    shared: Arc<Shared>,
    socket: Arc<PortSocket>,
    /// Of this worker only: nobody waits for the lock.
    sessions: Arc<Mutex<Sessions>>,
    /// True: no flow may begin.
    draining: watch::Receiver<bool>,
    answering: JoinSet<()>,
}

impl Post {
    pub(super) fn new(
        shared: Arc<Shared>,
        socket: PortSocket,
        most: usize,
        draining: watch::Receiver<bool>,
    ) -> Self {
        let sessions = Arc::new(Mutex::new(Sessions::new(most)));
        Self { shared, socket: Arc::new(socket), sessions, draining, answering: JoinSet::new() }
    }

    /// Serves until it is dropped, and its flows with it.
    pub(super) async fn run(mut self) {
        let mut inbox = Inbox::default();
        loop {
            tokio::select! {
                readable = self.socket.readable() => if let Err(error) = readable {
                    return tracing::error!(port = self.shared.bind.port, %error, "cannot receive");
                },
                Some(_) = self.answering.join_next() => continue,
            }
            for _ in 0..BATCH {
                // An error of one datagram says nothing of the next.
                let Ok(arrived) = self.socket.try_receive(&mut inbox) else { break };
                self.take(arrived, inbox.bytes.get(..arrived.length).unwrap_or_default());
            }
            tokio::task::yield_now().await;
        }
    }

    fn take(&mut self, arrived: Arrived, bytes: &[u8]) {
        let flow = Flow { client: arrived.client, local: arrived.local };
        let known = self.sessions.lock().get(&flow).cloned();
        if let Some(session) = known {
            match session.forward(bytes) {
                Ok(()) => return,
                Err(Refused) => {
                    self.sessions.lock().remove(&flow, &session);
                    session.refused();
                }
            }
        }
        if *self.draining.borrow() {
            return self.shared.stats.dropped("draining");
        }
        if let Err((stats, reason)) = self.begin(flow, bytes) {
            stats.dropped(reason);
        }
    }

    fn begin(&mut self, flow: Flow, bytes: &[u8]) -> Result<(), (Arc<ListenerStats>, &'static str)> {
        let shared = &self.shared;
        let unknown = |reason| (shared.stats.clone(), reason);
        let port: Option<Arc<Port>> = shared.reader.load().ports.get(&shared.bind).cloned();
        let table = port.as_ref().and_then(|port| port.streams.as_ref());
        let table = table.ok_or_else(|| unknown("route_not_found"))?;
        let Way { rule, cluster } = Way::find(table, None)
            .map_err(|NoWay { reason, .. }| (shared.telemetry.listener(table.name()), reason))?;
        let evicted = self.sessions.lock().make_room();
        if let Some(evicted) = evicted {
            evicted.end("session_evicted");
        }
        let (telemetry, client) = (shared.telemetry.clone(), flow.client);
        let account = Account::new(telemetry, "UDP", table.name.clone(), rule, None, client);
        let session = Session::open(flow, &cluster, account, shared.stats.clone(), bytes).map_err(unknown)?;
        let session = Arc::new(session);
        self.sessions.lock().insert(flow, session.clone());
        let answers = answers(session.clone(), self.socket.clone(), shared.idle, self.draining.clone());
        let (sessions, ended, counted) = (self.sessions.clone(), session.clone(), Counted::new(shared));
        let mut open = shared.stats.connection_opened();
        open.speaks(Spoken::Udp);
        let task = self.answering.spawn(async move {
            let _held = (counted, open);
            let over = answers.await;
            sessions.lock().remove(&flow, &ended);
            match over {
                Ok(reason) => ended.end(reason),
                Err(Refused) => ended.refused(),
            }
        });
        let _ = session.task.set(task);
        Ok(())
    }
}

/// Passes answers back until the flow is over; says why it is.
async fn answers(
    session: Arc<Session>,
    socket: Arc<PortSocket>,
    idle: Duration,
    mut draining: watch::Receiver<bool>,
) -> Result<&'static str, Refused> {
    loop {
        let is_draining = *draining.borrow_and_update();
        let quiet = if is_draining { LULL } else { idle };
        tokio::select! {
            Refused = std::future::poll_fn(|cx| session.poll_answers(cx, &socket)) => return Err(Refused),
            () = sleep_until(session.last() + quiet) => {
                if session.last() + quiet <= Instant::now() {
                    return Ok("ok");
                }
            }
            changed = draining.changed() => if changed.is_err() {
                return Ok("cut");
            },
        }
    }
}
