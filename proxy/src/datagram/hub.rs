//! The open UDP ports.
//!
//! A port that goes away keeps its sockets until its flows are over or the drain time is: their clients are still
//! answered. If it comes back meanwhile, it goes on with them.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::future::join_all;
use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};
use tokio::task::{AbortHandle, JoinHandle};
use tokio::time::timeout;

use super::post::{Post, Shared};
use super::socket::{self, PortSocket};
use super::{IDLE, MOST};
use crate::snapshot::{Bind, Reader, Snapshot};
use crate::telemetry::Telemetry;

/// The open UDP ports.
#[derive(Debug)]
pub(crate) struct Hubs {
    runtimes: Vec<Handle>,
    reader: Reader,
    telemetry: Arc<Telemetry>,
    drain: Duration,
    open: FxHashMap<Bind, Hub>,
    closing: FxHashMap<Bind, (Hub, JoinHandle<()>)>,
}

#[derive(Debug)]
struct Hub {
    address: SocketAddr,
    shared: Arc<Shared>,
    /// Bound, not served yet.
    bound: Vec<UdpSocket>,
    draining: watch::Sender<bool>,
    /// Of the workers.
    tasks: Arc<Mutex<Tasks>>,
}

#[derive(Debug, Default)]
struct Tasks {
    running: Vec<AbortHandle>,
    /// They were ended: the sockets are gone, or will be.
    are_ended: bool,
}

impl Hubs {
    /// None yet. `drain`: how long flows of a closed port may go on.
    pub(crate) fn new(
        runtimes: Vec<Handle>,
        reader: Reader,
        telemetry: Arc<Telemetry>,
        drain: Duration,
    ) -> Self {
        let (open, closing) = Default::default();
        Self { runtimes, reader, telemetry, drain, open, closing }
    }

    /// Binds a port, if it is not open.
    ///
    /// # Errors
    /// Those of the system.
    pub(crate) fn bind(&mut self, bind: Bind) -> io::Result<()> {
        if self.open.contains_key(&bind) {
            return Ok(());
        }
        if let Some((hub, closer)) = self.closing.remove(&bind) {
            closer.abort();
            if hub.reopen() {
                self.open.insert(bind, hub);
                return Ok(());
            }
        }
        let bound = socket::bind(bind, self.runtimes.len().max(1))?;
        let address = bound.first().ok_or(io::ErrorKind::NotFound)?.local_addr()?;
        let shared = Arc::new(Shared {
            bind,
            reader: self.reader.clone(),
            stats: self.telemetry.listener(&format!("{}/udp", bind.name())),
            telemetry: self.telemetry.clone(),
            idle: IDLE,
            open: AtomicUsize::new(0),
            empty: Notify::new(),
        });
        let (draining, _) = watch::channel(false);
        let hub = Hub { address, shared, bound, draining, tasks: Arc::default() };
        self.open.insert(bind, hub);
        Ok(())
    }

    /// After `now` was published: serves new ports, and closes those that are gone.
    pub(crate) fn settle(&mut self, now: &Snapshot) {
        let gone: Vec<Bind> =
            self.open.keys().filter(|bind| !now.ports.contains_key(bind)).copied().collect();
        for bind in gone {
            self.close_one(bind);
        }
        for hub in self.open.values_mut() {
            hub.serve(&self.runtimes);
        }
        self.closing.retain(|_, (_, closer)| !closer.is_finished());
    }

    fn close_one(&mut self, bind: Bind) {
        let Some(hub) = self.open.remove(&bind) else { return };
        hub.draining.send_replace(true);
        let (shared, tasks, limit) = (hub.shared.clone(), hub.tasks.clone(), self.drain);
        let closer = tokio::spawn(async move {
            let is_over = timeout(limit, shared.emptied()).await.is_ok();
            tasks.lock().end();
            if !is_over {
                let _ = timeout(Duration::from_secs(1), shared.emptied()).await;
            }
        });
        self.closing.insert(bind, (hub, closer));
    }

    /// Closes everything and waits for its end.
    pub(crate) async fn close(mut self) {
        let open: Vec<Bind> = self.open.keys().copied().collect();
        for bind in open {
            self.close_one(bind);
        }
        join_all(self.closing.into_values().map(|(_, closer)| closer)).await;
    }

    /// Closes everything at once.
    pub(crate) fn cut(&mut self) {
        let closing = self.closing.drain().map(|(_, (hub, _))| hub);
        for hub in closing.chain(self.open.drain().map(|(_, hub)| hub)) {
            hub.tasks.lock().end();
        }
    }

    /// What is open, and the address it really has.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = (Bind, SocketAddr)> {
        self.open.iter().map(|(bind, hub)| (*bind, hub.address))
    }
}

impl Hub {
    fn serve(&mut self, runtimes: &[Handle]) {
        let bound = std::mem::take(&mut self.bound);
        let mut tasks = self.tasks.lock();
        for (runtime, socket) in runtimes.iter().zip(bound) {
            let (shared, draining) = (self.shared.clone(), self.draining.subscribe());
            let task = runtime.spawn(async move {
                match PortSocket::new(socket) {
                    Ok(socket) => Post::new(shared, socket, MOST, draining).run().await,
                    Err(error) => tracing::error!(port = shared.bind.port, %error, "cannot receive"),
                }
            });
            tasks.running.push(task.abort_handle());
        }
    }

    /// Takes back that it closes; false when it is too late.
    fn reopen(&self) -> bool {
        let tasks = self.tasks.lock();
        if !tasks.are_ended {
            self.draining.send_replace(false);
        }
        !tasks.are_ended
    }
}

impl Tasks {
    fn end(&mut self) {
        self.are_ended = true;
        for task in self.running.drain(..) {
            task.abort();
        }
    }
}

impl Shared {
    /// Returns when no flow is left.
    async fn emptied(&self) {
        loop {
            let notified = self.empty.notified();
            if self.open.load(Ordering::Acquire) == 0 {
                return;
            }
            notified.await;
        }
    }
}
