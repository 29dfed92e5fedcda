//! One flow: a client, and a socket connected to its endpoint.

use std::cell::RefCell;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use smallvec::SmallVec;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::ReadBuf;
use tokio::net::UdpSocket;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::socket::{Local, PortSocket};
use super::{BATCH, LARGEST};
use crate::stream::account::Account;
use crate::telemetry::{ListenerStats, entropy};
use crate::upstream::{Cluster, NoEndpoint};

thread_local! {
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; LARGEST].into());
}

/// Who talks to which of our addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Flow {
    pub(super) client: SocketAddr,
    pub(super) local: Option<Local>,
}

/// One flow that has an endpoint. When it is dropped, it is accounted for.
#[derive(Debug)]
pub(super) struct Session {
    flow: Flow,
    upstream: UdpSocket,
    account: Account,
    stats: Arc<ListenerStats>,
    begun: Instant,
    /// Milliseconds after `begun` when the last datagram was passed on.
    last: AtomicU64,
    /// Of the task that waits for answers.
    pub(super) task: OnceLock<AbortHandle>,
}

/// A datagram's endpoint refused it, or one before.
#[derive(Debug)]
pub(super) struct Refused;

impl Session {
    /// Opens the way to an endpoint and sends the first datagram there.
    ///
    /// # Errors
    /// Why there is none, as a stable token; nothing was sent.
    pub(super) fn open(
        flow: Flow,
        cluster: &Arc<Cluster>,
        mut account: Account,
        stats: Arc<ListenerStats>,
        first: &[u8],
    ) -> Result<Self, &'static str> {
        let opened = connect(cluster, &mut account, first);
        let upstream = opened.inspect_err(|reason| account.end(reason))?;
        account.received(first.len());
        let last = AtomicU64::new(0);
        Ok(Self { flow, upstream, account, stats, begun: Instant::now(), last, task: OnceLock::new() })
    }

    /// Passes a datagram of the client on.
    ///
    /// # Errors
    /// When nobody takes it at the endpoint: another one should be asked.
    pub(super) fn forward(&self, bytes: &[u8]) -> Result<(), Refused> {
        match self.upstream.try_send(bytes) {
            Ok(_) => {
                self.account.received(bytes.len());
                self.touch();
            }
            Err(error) if is_refusal(&error) => return Err(Refused),
            Err(error) => self.stats.dropped(reason(&error)),
        }
        Ok(())
    }

    /// Passes answers back. Ready when the endpoint takes nothing any more.
    pub(super) fn poll_answers(&self, cx: &mut Context<'_>, port: &PortSocket) -> Poll<Refused> {
        SCRATCH.with_borrow_mut(|scratch| {
            for _ in 0..BATCH {
                let mut answer = ReadBuf::new(scratch);
                match ready!(self.upstream.poll_recv(cx, &mut answer)) {
                    Ok(()) => self.answer(answer.filled(), port),
                    Err(error) if is_refusal(&error) => return Poll::Ready(Refused),
                    // What the network says of single datagrams.
                    Err(_) => {}
                }
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        })
    }

    fn answer(&self, bytes: &[u8], port: &PortSocket) {
        self.account.answered();
        self.touch();
        match port.try_send(bytes, self.flow.client, self.flow.local) {
            Ok(()) => self.account.sent(bytes.len()),
            Err(error) => self.stats.dropped(reason(&error)),
        }
    }

    /// Ends it because of a refusal.
    pub(super) fn refused(&self) {
        self.account.refused();
        self.end("connect_failure");
    }

    /// Ends it: says why, and stops waiting for answers.
    pub(super) fn end(&self, reason: &'static str) {
        self.account.end(reason);
        if let Some(task) = self.task.get() {
            task.abort();
        }
    }

    fn touch(&self) {
        let passed = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last.store(passed, Ordering::Relaxed);
    }

    /// When the last datagram was passed on.
    pub(super) fn last(&self) -> Instant {
        self.begun + std::time::Duration::from_millis(self.last.load(Ordering::Relaxed))
    }
}

/// A socket for answers from one endpoint; the first datagram has been sent through it.
fn connect(cluster: &Arc<Cluster>, account: &mut Account, first: &[u8]) -> Result<UdpSocket, &'static str> {
    let mut tried: SmallVec<[_; 3]> = SmallVec::new();
    loop {
        let picked = cluster.pick(entropy(), &tried).map_err(|none| match none {
            NoEndpoint::None => "no_endpoints",
            NoEndpoint::Full => "connection_limit",
        })?;
        tried.push(picked.address());
        let picked = account.attempt(picked);
        match dial(picked.address(), first) {
            Ok(socket) => return Ok(socket),
            Err(error) if is_local(&error) => return Err(reason(&error)),
            // No route to it, say.
            Err(_) => account.refused(),
        }
        if tried.len() > 2 || !cluster.has_untried(&tried) {
            return Err("connect_failure");
        }
    }
}

fn dial(endpoint: SocketAddr, first: &[u8]) -> io::Result<UdpSocket> {
    let domain = Domain::for_address(endpoint);
    let socket = Socket::new(domain, Type::DGRAM.nonblocking(), Some(Protocol::UDP))?;
    let any: IpAddr =
        if endpoint.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    socket.bind(&SocketAddr::new(any, 0).into())?;
    socket.connect(&endpoint.into())?;
    let socket: std::net::UdpSocket = socket.into();
    // Before the runtime knows it: that would first have to learn that it can be written to.
    socket.send(first)?;
    UdpSocket::from_std(socket)
}

/// An ICMP message has said that nobody listens there.
fn is_refusal(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::ConnectionRefused
}

/// It is this host's fault, or the datagram's: another endpoint would not help.
fn is_local(error: &io::Error) -> bool {
    use nix::errno::Errno;
    let codes = [Errno::EMFILE, Errno::ENFILE, Errno::ENOBUFS, Errno::ENOMEM, Errno::EMSGSIZE, Errno::EAGAIN];
    error.raw_os_error().is_some_and(|code| codes.contains(&Errno::from_raw(code)))
}

/// Why a datagram could not be sent.
#[allow(clippy::wildcard_enum_match_arm, reason = "the rest of what sockets know says the same")]
fn reason(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::WouldBlock => "congested",
        _ if is_local(error) => "no_resources",
        _ => "unreachable",
    }
}
