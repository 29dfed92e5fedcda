//! From a listening socket to the worker that serves the connection.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::ingress::admission::{Admission, Held};
use crate::ingress::connection::Connection;
use crate::ingress::gate::Gate;
use crate::ingress::serve::{Server, serve};
use crate::overload::Pressure;

/// How long accepting pauses when the process is out of descriptors or memory: the next one has to come from a
/// connection that ends.
const PAUSE: Duration = Duration::from_millis(20);

/// A worker with what its connections share, and how many they are.
#[derive(Debug)]
struct Seat {
    runtime: Handle,
    server: Arc<Server>,
    taken: Arc<AtomicUsize>,
}

/// Where connections are served.
#[derive(Debug, Clone)]
pub(crate) struct Seats {
    seats: Arc<[Seat]>,
    admission: Arc<Admission>,
    pressure: Arc<Pressure>,
}

impl Seats {
    /// One per worker.
    pub(crate) fn new(
        workers: impl Iterator<Item = (Handle, Arc<Server>)>,
        admission: Arc<Admission>,
        pressure: Arc<Pressure>,
    ) -> Self {
        let seats =
            workers.map(|(runtime, server)| Seat { runtime, server, taken: Arc::default() }).collect();
        Self { seats, admission, pressure }
    }

    /// How short memory is.
    pub(super) const fn pressure(&self) -> &Arc<Pressure> {
        &self.pressure
    }

    /// Of every worker.
    pub(super) fn runtimes(&self) -> impl Iterator<Item = &Handle> {
        self.seats.iter().map(|seat| &seat.runtime)
    }

    /// The one with the fewest connections; none only if there are no workers, which is not so.
    fn emptiest(&self) -> Option<&Seat> {
        self.seats.iter().min_by_key(|seat| seat.taken.load(Ordering::Relaxed))
    }

    /// Accepts until told to stop; what the kernel has connected by then is taken too.
    pub(super) fn accept(
        &self,
        listener: std::net::TcpListener,
        gate: Arc<Gate>,
        stopped: oneshot::Receiver<()>,
    ) -> Option<JoinHandle<()>> {
        Some(self.emptiest()?.runtime.spawn(accept(listener, gate, self.clone(), stopped)))
    }

    fn admit(&self, tcp: TcpStream, peer: SocketAddr, gate: &Arc<Gate>) {
        let (Ok(local), Some(seat)) = (tcp.local_addr(), self.emptiest()) else { return };
        let Some(port) = seat.server.port(gate) else { return };
        if self.pressure.closes_connections() {
            return gate.turned_away("memory");
        }
        let Some(mut held) = self.admission.connection() else { return gate.turned_away("global_limit") };
        let connection = Arc::new(Connection::new(gate.clone(), peer, local, port.traffic.clone()));
        if port.is_by_address() {
            seat.server.bind(&connection);
        }
        let rules = connection.rules();
        // Behind PROXY protocol who it is comes later.
        if rules.proxy_protocol.is_none() && !held.by(connection.peer.ip(), rules.limits.per_address) {
            return gate.turned_away("address_limit");
        }
        let entered = match gate.enter(connection.clone(), held) {
            Ok(entered) => entered,
            Err(held) => {
                gate.turned_away("connection_limit");
                return leave_open(tcp, held, rules.limits.close_delay);
            }
        };
        let taken = Taken::new(&seat.taken);
        let (server, served) = (seat.server.clone(), connection.clone());
        let task = if seat.runtime.id() == Handle::current().id() {
            seat.runtime.spawn(async move {
                let _taken = taken;
                serve(tcp, served, server, entered).await;
            })
        } else {
            // A socket belongs to the runtime it was made in: two more system calls, for each connection once.
            let Ok(tcp) = tcp.into_std() else { return };
            seat.runtime.spawn(async move {
                let _taken = taken;
                match TcpStream::from_std(tcp) {
                    Ok(tcp) => serve(tcp, served, server, entered).await,
                    Err(error) => tracing::warn!(peer = %served.peer, %error, "connection not served"),
                }
            })
        };
        let _ = connection.abort.set(task.abort_handle());
    }
}

/// Closes a connection later, so that its client does not come again at once.
fn leave_open(tcp: TcpStream, held: Held, delay: Duration) {
    if !delay.is_zero() {
        tokio::spawn(async move {
            sleep(delay).await;
            drop((tcp, held));
        });
    }
}

/// A connection of a worker, until it is dropped.
struct Taken(Arc<AtomicUsize>);

impl Taken {
    fn new(taken: &Arc<AtomicUsize>) -> Self {
        taken.fetch_add(1, Ordering::Relaxed);
        Self(taken.clone())
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

async fn accept(
    listener: std::net::TcpListener,
    gate: Arc<Gate>,
    seats: Seats,
    mut stopped: oneshot::Receiver<()>,
) {
    let listener = match TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(port = gate.bind.port, %error, "cannot accept"),
    };
    let mut stopping = false;
    loop {
        let accepted = tokio::select! {
            biased;
            accepted = listener.accept() => accepted,
            // What the kernel has connected already is taken: closing the socket would reset it.
            _ = &mut stopped, if !stopping => { stopping = true; continue }
            () = std::future::ready(()), if stopping => return,
        };
        match accepted {
            Ok((tcp, peer)) => seats.admit(tcp, peer, &gate),
            Err(error) if is_passing(&error) => {}
            Err(error) => {
                tracing::warn!(port = gate.bind.port, %error, "cannot accept");
                sleep(PAUSE).await;
            }
        }
    }
}

/// The client was gone before it was accepted: an error of that connection, not of the socket.
fn is_passing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted
    )
}
