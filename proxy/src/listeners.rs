//! The open ports. New ones are bound before the snapshot that wants them is published, and accept after it; removed
//! ones close after it, and their connections drain.

mod accept;

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use config::{Key, Rejection, Severity};
use futures::future::{join, join_all};
use rustc_hash::{FxHashMap, FxHashSet};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

pub(crate) use self::accept::Seats;
use crate::datagram::Hubs;
use crate::ingress::gate::Gate;
use crate::snapshot::{Bind, Port, Reader, Snapshot, Transport};
use crate::telemetry::Telemetry;

/// Connections the kernel holds before they are accepted.
const BACKLOG: i32 = 4096;

/// The open ports.
#[derive(Debug)]
pub(crate) struct Listeners {
    seats: Seats,
    telemetry: Arc<Telemetry>,
    reader: Reader,
    drain: Duration,
    open: FxHashMap<Bind, Open>,
    draining: Vec<JoinHandle<()>>,
    /// Those for datagrams.
    hubs: Hubs,
}

#[derive(Debug)]
struct Open {
    address: SocketAddr,
    gate: Arc<Gate>,
    /// Bound, not accepting yet.
    bound: Option<TcpListener>,
    /// Ends accepting when it is dropped.
    _stop: oneshot::Sender<()>,
    stopped: Option<oneshot::Receiver<()>>,
    accepting: Option<JoinHandle<()>>,
}

impl Listeners {
    /// None yet. `drain`: how long connections of a closed port may take to end.
    pub(crate) fn new(seats: Seats, telemetry: Arc<Telemetry>, reader: Reader, drain: Duration) -> Self {
        let hubs = Hubs::new(seats.runtimes().cloned().collect(), reader.clone(), telemetry.clone(), drain);
        Self { seats, telemetry, reader, drain, open: FxHashMap::default(), draining: Vec::new(), hubs }
    }

    /// Binds what `next` wants and is not open. A port that cannot be bound is a rejection of its listeners and is tried
    /// again with the next update; the others are not touched.
    pub(crate) fn bind(&mut self, next: &Snapshot) -> Vec<Rejection> {
        let mut rejections = Vec::new();
        for (bind, port) in &next.ports {
            let bound = match bind.transport {
                Transport::Tcp => self.bind_tcp(*bind, next),
                Transport::Udp => self.hubs.bind(*bind),
            };
            if let Err(error) = bound {
                rejections.extend(reject(*bind, port, &error));
            }
        }
        rejections
    }

    fn bind_tcp(&mut self, bind: Bind, next: &Snapshot) -> io::Result<()> {
        if self.open.contains_key(&bind) {
            return Ok(());
        }
        let bound = listen(bind).or_else(|error| {
            // An address of the same port that is about to close may be in the way.
            let stale = |open: &Bind| open.port == bind.port && !next.ports.contains_key(open);
            let Some(stale) = self.open.keys().copied().find(stale) else { return Err(error) };
            self.close_one(stale, None);
            listen(bind)
        })?;
        let (stop, stopped) = oneshot::channel();
        let open = Open {
            address: bound.local_addr()?,
            gate: Arc::new(Gate::new(bind, &self.telemetry, self.seats.pressure().clone())),
            bound: Some(bound),
            _stop: stop,
            stopped: Some(stopped),
            accepting: None,
        };
        self.open.insert(bind, open);
        Ok(())
    }

    /// After `now` was published in place of `before`: starts accepting on new ports, and closes those that are gone.
    pub(crate) fn settle(&mut self, before: &Snapshot, now: &Snapshot) {
        let gone: Vec<Bind> =
            self.open.keys().filter(|bind| !now.ports.contains_key(bind)).copied().collect();
        for bind in gone {
            self.close_one(bind, before.ports.get(&bind).cloned());
        }
        self.drain_members(before, now);
        for open in self.open.values_mut() {
            if let (Some(bound), Some(stopped)) = (open.bound.take(), open.stopped.take()) {
                open.accepting = self.seats.accept(bound, open.gate.clone(), stopped);
            }
        }
        self.draining.retain(|task| !task.is_finished());
        self.hubs.settle(now);
    }

    /// Has connections end in time whose listener left a port that stays open for others.
    fn drain_members(&self, before: &Snapshot, now: &Snapshot) {
        for (bind, open) in &self.open {
            let (Some(old), Some(new)) = (before.ports.get(bind), now.ports.get(bind)) else { continue };
            if Arc::ptr_eq(&old.listeners, &new.listeners) {
                continue;
            }
            let left: FxHashSet<&Key> = new.listeners.iter().map(|(key, _)| key).collect();
            for (key, _) in old.listeners.iter().filter(|(key, _)| !left.contains(key)) {
                let (key, bind, gate) = (key.clone(), *bind, open.gate.clone());
                let (reader, limit) = (self.reader.clone(), self.drain);
                tokio::spawn(async move {
                    sleep(limit).await;
                    let snapshot = reader.load();
                    let port = snapshot.ports.get(&bind);
                    // It may be there again.
                    if port.is_none_or(|port| port.listeners.iter().all(|(member, _)| *member != key)) {
                        gate.cut_streams(&format!("{}/{}", key.namespace, key.name));
                    }
                });
            }
        }
    }

    /// Stops accepting, and lets what is connected end in time.
    fn close_one(&mut self, bind: Bind, last: Option<Arc<Port>>) {
        let Some(open) = self.open.remove(&bind) else { return };
        open.gate.keep(last);
        open.gate.drain();
        let (gate, limit) = (open.gate.clone(), self.drain);
        self.draining.push(tokio::spawn(async move {
            let Open { accepting, _stop: stop, .. } = open;
            drop(stop);
            if let Some(accepting) = accepting {
                let _ = accepting.await;
            }
            if timeout(limit, gate.emptied()).await.is_err() {
                gate.cut();
                let _ = timeout(Duration::from_secs(1), gate.emptied()).await;
            }
        }));
    }

    /// Closes everything and waits for its end.
    pub(crate) async fn close(mut self, last: &Snapshot) {
        let open: Vec<Bind> = self.open.keys().copied().collect();
        for bind in open {
            self.close_one(bind, last.ports.get(&bind).cloned());
        }
        join(join_all(self.draining), self.hubs.close()).await;
    }

    /// Closes everything at once.
    pub(crate) fn cut(&mut self) {
        for open in self.open.values() {
            open.gate.drain();
            open.gate.cut();
            if let Some(accepting) = &open.accepting {
                accepting.abort();
            }
        }
        self.open.clear();
        self.hubs.cut();
    }

    /// What is open, and the address it really has.
    pub(crate) fn addresses(&self) -> Vec<(Bind, SocketAddr)> {
        let tcp = self.open.iter().map(|(bind, open)| (*bind, open.address));
        tcp.chain(self.hubs.addresses()).collect()
    }
}

#[allow(clippy::wildcard_enum_match_arm, reason = "only some kinds have a remedy")]
fn reject(bind: Bind, port: &Port, error: &io::Error) -> Vec<Rejection> {
    let address = bind.address.map_or_else(|| "all addresses".to_owned(), |address| address.to_string());
    let remedy = match error.kind() {
        io::ErrorKind::AddrInUse => "another process listens there: stop it or choose another port",
        io::ErrorKind::PermissionDenied => {
            "the process may not bind it: choose a port above 1023 or give it CAP_NET_BIND_SERVICE"
        }
        io::ErrorKind::AddrNotAvailable => "the address is not one of this host: choose one that is",
        _ => "it is tried again with the next change",
    };
    let message = format!("port {} on {address} cannot be opened: {error}; {remedy}", bind.port);
    let rejection = |key: &config::Key| Rejection {
        key: key.clone(),
        severity: Severity::Refused,
        message: message.clone(),
    };
    port.listeners.iter().map(|(key, _)| rejection(key)).collect()
}

fn listen(bind: Bind) -> io::Result<TcpListener> {
    match bind.address {
        Some(address) => listen_on(SocketAddr::new(address, bind.port)),
        // Both families through one socket; a host without IPv6 has only the other.
        None => listen_on(SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), bind.port)).or_else(|error| {
            if matches!(error.kind(), io::ErrorKind::AddrInUse | io::ErrorKind::PermissionDenied) {
                return Err(error);
            }
            listen_on(SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), bind.port))
        }),
    }
}

fn listen_on(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if address.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED) {
        socket.set_only_v6(false)?;
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}
