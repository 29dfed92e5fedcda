//! One request as its serving loop and the engine share it, and the loop's side of running it.
//!
//! Pingora limits single reads and writes. Total deadlines are kept here, around its whole future: at the deadline the
//! request is first *told* (an HTTP/1 client stream then reports an error, which becomes an orderly 504), and dropped a
//! moment later if it did not end, which closes an HTTP/1 connection and resets an HTTP/2 stream.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU16, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll};
use std::time::Duration;

use futures::task::{ArcWake, waker_ref};
use pingora_core::apps::ReusedHttpStream;
use tokio::time::Instant;

use super::connection::Connection;
use super::over::Over;
use super::pace::Pace;
use super::timer::Timer;
use super::turn::Turn;
use super::wire::Fault;

tokio::task_local! {
    /// The exchange whose request is being started: Pingora's `new_ctx` takes no argument.
    static CURRENT: Arc<Exchange>;
}

/// Most bytes of a body that come at once while policies read it, as many as a frame of HTTP/2 has (RFC 9113 section 4.2).
pub(crate) const PIECE: usize = 16 * 1024;

/// How long after its deadline a request that did not end is dropped.
const GRACE: Duration = Duration::from_millis(100);

/// Moments are microseconds since this one, so that they fit an atomic.
static EPOCH: LazyLock<Instant> = LazyLock::new(Instant::now);

pub(super) fn micros(at: Instant) -> u64 {
    u64::try_from(at.saturating_duration_since(*EPOCH).as_micros()).unwrap_or(u64::MAX)
}

pub(super) fn moment(micros: u64) -> Option<Instant> {
    EPOCH.checked_add(Duration::from_micros(micros))
}

/// One request; an HTTP/1 connection uses the same one again and again.
#[derive(Debug)]
pub(crate) struct Exchange {
    /// Its connection.
    pub(crate) connection: Arc<Connection>,
    /// When its first byte was there.
    begun: AtomicU64,
    /// The engine has the request: its head is complete.
    taken: AtomicBool,
    /// Nothing more of the request is to be read.
    read: AtomicBool,
    /// HTTP/1: no more than [`PIECE`] is read at once.
    pieces: AtomicBool,
    /// Bytes of a response were written.
    answered: AtomicBool,
    /// Status with which Pingora refused the head; 0: it did not.
    refused: AtomicU16,
    /// Why the client's bytes are no request; 0: they are, so far.
    fault: AtomicU8,
    /// 0: none.
    deadline: AtomicU64,
    /// It was turned away, and told to come again later.
    shed: AtomicBool,
    /// Which limit was over; 0: none was.
    over: AtomicU8,
    pub(crate) pace: Pace,
    turn: Turn,
}

impl Exchange {
    pub(crate) fn new(connection: Arc<Connection>) -> Self {
        let pace = Pace::of(connection.rules());
        Self {
            connection,
            begun: AtomicU64::new(micros(Instant::now())),
            taken: AtomicBool::new(false),
            read: AtomicBool::new(false),
            pieces: AtomicBool::new(false),
            answered: AtomicBool::new(false),
            refused: AtomicU16::new(0),
            fault: AtomicU8::new(0),
            deadline: AtomicU64::new(0),
            shed: AtomicBool::new(false),
            over: AtomicU8::new(0),
            pace,
            turn: Turn::default(),
        }
    }

    /// The exchange of the request that is being started on this task.
    pub(crate) fn current() -> Option<Arc<Self>> {
        let exchange = CURRENT.try_with(Arc::clone).ok()?;
        exchange.taken.store(true, Ordering::Relaxed);
        Some(exchange)
    }

    /// Makes it ready for the next request, which begins now.
    pub(crate) fn reset(&self, begun: Instant) {
        self.begun.store(micros(begun), Ordering::Relaxed);
        self.taken.store(false, Ordering::Relaxed);
        self.read.store(false, Ordering::Relaxed);
        self.pieces.store(false, Ordering::Relaxed);
        self.answered.store(false, Ordering::Relaxed);
        self.deadline.store(0, Ordering::Relaxed);
        self.shed.store(false, Ordering::Relaxed);
        self.over.store(0, Ordering::Relaxed);
        self.pace.reset(self.connection.rules());
    }

    /// When the request began.
    pub(crate) fn begun(&self) -> Instant {
        moment(self.begun.load(Ordering::Relaxed)).unwrap_or(*EPOCH)
    }

    /// True once the engine has the request.
    pub(crate) fn is_taken(&self) -> bool {
        self.taken.load(Ordering::Relaxed)
    }

    /// Says whether the whole request was read.
    pub(crate) fn set_read(&self, read: bool) {
        self.read.store(read, Ordering::Relaxed);
    }

    /// What is read now belongs to no request yet.
    pub(crate) fn is_read(&self) -> bool {
        self.read.load(Ordering::Relaxed)
    }

    /// Says whether reads are kept small.
    pub(crate) fn read_in_pieces(&self, pieces: bool) {
        self.pieces.store(pieces, Ordering::Relaxed);
    }

    /// Most bytes to be read at once.
    pub(super) fn at_once(&self) -> usize {
        if self.pieces.load(Ordering::Relaxed) { PIECE } else { usize::MAX }
    }

    /// Says that bytes of a response were written.
    pub(crate) fn answered(&self) {
        self.answered.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_answered(&self) -> bool {
        self.answered.load(Ordering::Relaxed)
    }

    /// Says that the head was refused before the engine saw it.
    pub(crate) fn refuse(&self, status: u16) {
        self.refused.store(status, Ordering::Relaxed);
    }

    /// See [`Exchange::refuse`].
    pub(crate) fn refused(&self) -> Option<u16> {
        Some(self.refused.load(Ordering::Relaxed)).filter(|status| *status != 0)
    }

    /// Says that what the client sent is no request.
    pub(crate) fn fail(&self, fault: Fault) {
        self.fault.store(fault as u8, Ordering::Relaxed);
    }

    /// See [`Exchange::fail`].
    pub(crate) fn fault(&self) -> Option<Fault> {
        Fault::of(self.fault.load(Ordering::Relaxed))
    }

    /// Sets or clears when the request must have ended. Called while the request is polled, so the loop sees it next.
    pub(crate) fn set_deadline(&self, at: Option<Instant>) {
        self.deadline.store(at.map_or(0, |at| micros(at).max(1)), Ordering::Relaxed);
    }

    fn deadline(&self) -> Option<Instant> {
        match self.deadline.load(Ordering::Relaxed) {
            0 => None,
            micros => moment(micros),
        }
    }

    /// Says that it is turned away and the client told to come again later.
    pub(crate) fn shed(&self) {
        self.shed.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_shed(&self) -> bool {
        self.shed.load(Ordering::Relaxed)
    }

    /// The limit that was over, once one was.
    pub(crate) fn over(&self) -> Option<Over> {
        Over::of(self.over.load(Ordering::Relaxed))
    }

    /// True once a limit was over.
    pub(crate) fn is_expired(&self) -> bool {
        self.over.load(Ordering::Relaxed) != 0
    }

    fn expire(&self, over: Over) {
        self.over.store(over as u8, Ordering::Relaxed);
    }

    /// Whichever limit is over first. `moved`: when something did.
    fn limit(&self, moved: Instant) -> Option<(Instant, Over)> {
        let lasting = self.connection.rules().limits.request;
        let limit = self.pace.limit(self.begun(), moved, lasting, self.is_read());
        let deadline = self.deadline().map(|at| (at, Over::Deadline));
        match (deadline, limit) {
            (Some(deadline), Some(limit)) => Some(if limit.0 < deadline.0 { limit } else { deadline }),
            (deadline, limit) => deadline.or(limit),
        }
    }
}

impl Default for Exchange {
    /// Of a request that no loop of ours runs; there is none.
    fn default() -> Self {
        Self::new(Arc::new(Connection::default()))
    }
}

impl ArcWake for Exchange {
    fn wake_by_ref(exchange: &Arc<Self>) {
        exchange.turn.wake();
    }
}

/// What became of a request.
#[derive(Debug)]
pub(crate) enum Ended {
    /// The connection may carry another request.
    Reusable(ReusedHttpStream),
    /// It may not.
    Closed,
    /// It was dropped: too slow a head, or over its deadline.
    Cut,
    /// A bug: the request is lost, the process is not.
    Panicked,
}

/// The future of one request, as Pingora makes it.
pub(crate) type Request<'a> = Pin<Box<dyn Future<Output = Option<ReusedHttpStream>> + Send + 'a>>;

/// Runs a request to its end or its limits. `head_by`: when its head must be complete.
pub(crate) async fn run(
    mut request: Request<'_>,
    exchange: &Arc<Exchange>,
    timer: &mut Timer,
    head_by: Option<Instant>,
) -> Ended {
    let mut moved = exchange.begun();
    // When a limit was over, and the deadline of then: an answer to that gets a new one.
    let mut expired: Option<(Instant, Option<Instant>)> = None;
    poll_fn(|cx| {
        loop {
            let polled = catch_unwind(AssertUnwindSafe(|| step(&mut request, exchange, cx)));
            match polled {
                Ok(Poll::Ready(Some(reused))) => return Poll::Ready(Ended::Reusable(reused)),
                Ok(Poll::Ready(None)) => return Poll::Ready(Ended::Closed),
                Err(_) => return Poll::Ready(Ended::Panicked),
                Ok(Poll::Pending) => {}
            }
            if exchange.pace.take_moved() {
                moved = Instant::now();
            }
            let limit = match expired {
                Some((at, before)) => {
                    let answer = exchange.deadline().filter(|by| Some(*by) != before);
                    Some((answer.unwrap_or(at) + GRACE, None))
                }
                None if exchange.is_taken() => exchange.limit(moved).map(|(at, over)| (at, Some(over))),
                None => head_by.map(|at| (at, Some(Over::Head))),
            };
            let Some((at, over)) = limit else { return Poll::Pending };
            if timer.poll(at, cx).is_pending() {
                return Poll::Pending;
            }
            let Some(over) = over else { return Poll::Ready(Ended::Cut) };
            exchange.expire(over);
            if over == Over::Head {
                return Poll::Ready(Ended::Cut);
            }
            expired = Some((at, exchange.deadline()));
        }
    })
    .await
}

fn step(
    request: &mut Request<'_>,
    exchange: &Arc<Exchange>,
    cx: &mut Context<'_>,
) -> Poll<Option<ReusedHttpStream>> {
    let waker = waker_ref(exchange);
    let mut inner = Context::from_waker(&waker);
    exchange.turn.take(cx, || {
        if exchange.is_taken() {
            return request.as_mut().poll(&mut inner);
        }
        CURRENT.sync_scope(exchange.clone(), || request.as_mut().poll(&mut inner))
    })
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;
    use tokio::net::{TcpListener, TcpStream};

    use super::*;
    use crate::ingress::stream::ClientStream;

    /// A client, and a stream of ours with a request under way.
    async fn pair() -> (TcpStream, ClientStream, Arc<Exchange>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let mut stream = ClientStream::plain(listener.accept().await.unwrap().0, Vec::new());
        let exchange = Arc::new(Exchange::default());
        stream.serve(exchange.clone());
        stream.begin();
        (client, stream, exchange)
    }

    async fn told(mut client: TcpStream) -> String {
        let mut told = String::new();
        let read = client.read_to_string(&mut told);
        tokio::time::timeout(Duration::from_secs(20), read).await.unwrap().unwrap();
        told
    }

    #[tokio::test]
    async fn a_panic_costs_one_request_and_the_client_is_told() {
        let (client, stream, exchange) = pair().await;
        let request: Request<'_> = Box::pin(async move {
            assert!(Exchange::current().is_some());
            let _held = stream;
            tokio::task::yield_now().await;
            panic!("a bug");
        });
        let ended = run(request, &exchange, &mut Timer::default(), None).await;
        assert!(matches!(ended, Ended::Panicked), "{ended:?}");
        let told = told(client).await;
        assert!(told.starts_with("HTTP/1.1 500 ") && told.ends_with("\r\n\r\npanic"), "{told}");
    }

    #[tokio::test]
    async fn a_request_that_does_not_end_in_time_is_dropped_with_504() {
        let (client, stream, exchange) = pair().await;
        let deadline = exchange.clone();
        let request: Request<'_> = Box::pin(async move {
            assert!(Exchange::current().is_some());
            deadline.set_deadline(Some(Instant::now() + Duration::from_millis(50)));
            let _held = stream;
            std::future::pending().await
        });
        let ended = run(request, &exchange, &mut Timer::default(), None).await;
        assert!(matches!(ended, Ended::Cut), "{ended:?}");
        assert!(told(client).await.starts_with("HTTP/1.1 504 "));
    }

    #[tokio::test]
    async fn a_head_that_does_not_come_in_time_is_408() {
        let (client, stream, exchange) = pair().await;
        let request: Request<'_> = Box::pin(async move {
            let _held = stream;
            std::future::pending().await
        });
        let head_by = Instant::now() + Duration::from_millis(50);
        let ended = run(request, &exchange, &mut Timer::default(), Some(head_by)).await;
        assert!(matches!(ended, Ended::Cut), "{ended:?}");
        assert!(told(client).await.starts_with("HTTP/1.1 408 "));
    }
}
