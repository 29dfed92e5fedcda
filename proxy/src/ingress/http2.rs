//! One HTTP/2 connection: Pingora's codec, our loop.
//!
//! The loop drives the whole connection; each stream is a task of its own. A port that drains says GOAWAY, serves the
//! streams it has, and the connection ends when the last of them does.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use pingora_core::apps::HttpServerApp;
use pingora_core::protocols::Digest;
use pingora_core::protocols::http::ServerSession;
use pingora_core::protocols::http::v2::server::{H2Accept, HttpSession, handshake};
use tokio::time::{Instant, timeout};

use super::connection::Connection;
use super::exchange::{Exchange, run};
use super::refused::Refused;
use super::serve::Server;
use super::stream::ClientStream;
use super::timer::Timer;
use crate::traffic::connection::Keepalive;

/// Streams refused for malformed heads after which the whole connection is (as in Pingora's own loop).
const MALFORMED: u32 = 32;
/// After GOAWAY, how long a client without streams may take to close.
const GOODBYE: std::time::Duration = std::time::Duration::from_secs(5);

#[allow(
    clippy::large_enum_variant,
    reason = "it lives between two lines; a box would cost an allocation a stream"
)]
enum Event {
    Accepted(Option<H2Accept>),
    Drain,
    Idle,
    Flooded,
    /// A PING of ours was not answered.
    Silent,
    Broken,
}

/// Serves streams until either side is done.
pub(crate) async fn serve(mut stream: ClientStream, connection: Arc<Connection>, server: &Arc<Server>) {
    stream.count_frames(connection.clone());
    let begun = Instant::now();
    let rules = connection.rules();
    let mut options = rules.http2.options();
    if let Some(bytes) = connection.head_bytes().and_then(|bytes| u32::try_from(bytes).ok()) {
        options.max_header_list_size(bytes);
    }
    let handshake = handshake(Box::new(stream), Some(options));
    let Ok(Ok(mut http2)) = timeout(rules.times.handshake, handshake).await else { return };
    let digest = Arc::new(Digest::default());
    let active = Arc::new(AtomicUsize::new(0));
    let pings = rules.http2.keepalive.and_then(|keepalive| Some(Pings::new(http2.ping_pong()?, keepalive)));
    let mut patience = Patience::new(&connection, pings);
    let mut malformed = 0;
    loop {
        let event = {
            let mut accept = pin!(HttpSession::from_h2_conn(&mut http2, digest.clone()));
            poll_fn(|cx| {
                if let Poll::Ready(accepted) = accept.as_mut().poll(cx) {
                    return Poll::Ready(accepted.map_or(Event::Broken, Event::Accepted));
                }
                patience.poll(&connection, &active, cx)
            })
            .await
        };
        match event {
            Event::Accepted(Some(H2Accept::Session(session))) => {
                spawn(session, connection.clone(), server.clone(), active.clone());
            }
            Event::Accepted(Some(H2Accept::Rejected)) => {
                malformed += 1;
                if malformed >= MALFORMED {
                    return;
                }
            }
            Event::Flooded => {
                // The next turn of the loop says GOAWAY and ends.
                http2.abrupt_shutdown(h2::Reason::ENHANCE_YOUR_CALM);
                let refused = Refused { version: "HTTP/2", status: 0, reason: "too_many_frames", begun };
                refused.account(&connection, server);
            }
            Event::Idle if patience.leaving => return,
            Event::Drain | Event::Idle => {
                patience.leave();
                http2.graceful_shutdown();
            }
            Event::Accepted(None) | Event::Silent | Event::Broken => return,
        }
    }
}

/// When to stop waiting for streams.
struct Patience {
    timer: Timer,
    /// `None`: never.
    idle_at: Option<Instant>,
    pings: Option<Pings>,
    /// GOAWAY was sent.
    leaving: bool,
    /// A flood was noticed.
    calmed: bool,
}

impl Patience {
    fn new(connection: &Connection, pings: Option<Pings>) -> Self {
        let idle_at = connection.rules().times.idle.map(|idle| Instant::now() + idle);
        Self { timer: Timer::default(), idle_at, pings, leaving: false, calmed: false }
    }

    fn leave(&mut self) {
        self.leaving = true;
        self.idle_at = Some(Instant::now() + GOODBYE);
    }

    fn poll(&mut self, connection: &Connection, active: &AtomicUsize, cx: &mut Context<'_>) -> Poll<Event> {
        if connection.is_flooded() && !std::mem::replace(&mut self.calmed, true) {
            return Poll::Ready(Event::Flooded);
        }
        if !self.leaving {
            connection.waker.register(cx.waker());
            if connection.is_draining() {
                return Poll::Ready(Event::Drain);
            }
            if let Some(at) = connection.ends_at()
                && self.timer.poll(at, cx).is_ready()
            {
                return Poll::Ready(Event::Drain);
            }
        }
        if let Some(pings) = &mut self.pings
            && pings.poll(&mut self.timer, cx).is_ready()
        {
            return Poll::Ready(Event::Silent);
        }
        while let Some(at) = self.idle_at {
            if self.timer.poll(at, cx).is_pending() {
                break;
            }
            if active.load(Ordering::Relaxed) == 0 {
                return Poll::Ready(Event::Idle);
            }
            let idle = connection.rules().times.idle;
            let again = if self.leaving { Some(GOODBYE) } else { idle };
            self.idle_at = again.map(|again| Instant::now() + again);
        }
        Poll::Pending
    }
}

/// PINGs of ours (RFC 9113 section 6.7).
struct Pings {
    pings: h2::PingPong,
    keepalive: Keepalive,
    /// When the next one goes out, or the answer to the last has to be there.
    at: Instant,
    is_out: bool,
}

impl Pings {
    fn new(pings: h2::PingPong, keepalive: Keepalive) -> Self {
        Self { pings, keepalive, at: Instant::now() + keepalive.interval, is_out: false }
    }

    /// Ready when one was not answered in time.
    fn poll(&mut self, timer: &mut Timer, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            if self.is_out {
                match self.pings.poll_pong(cx) {
                    Poll::Ready(Ok(_)) => {
                        self.is_out = false;
                        self.at = Instant::now() + self.keepalive.interval;
                    }
                    // The connection is over; its loop sees that.
                    Poll::Ready(Err(_)) => return Poll::Pending,
                    Poll::Pending => {}
                }
            }
            ready!(timer.poll(self.at, cx));
            if self.is_out {
                return Poll::Ready(());
            }
            self.is_out = self.pings.send_ping(h2::Ping::opaque()).is_ok();
            let next = if self.is_out { self.keepalive.timeout } else { self.keepalive.interval };
            self.at = Instant::now() + next;
        }
    }
}

/// Counts a stream until it is dropped.
struct Active(Arc<AtomicUsize>);

impl Drop for Active {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn spawn(
    mut session: HttpSession,
    connection: Arc<Connection>,
    server: Arc<Server>,
    active: Arc<AtomicUsize>,
) {
    active.fetch_add(1, Ordering::Relaxed);
    let active = Active(active);
    session.set_write_timeout(connection.rules().times.stream_idle);
    connection.begins_request();
    tokio::spawn(async move {
        let _active = active;
        let exchange = Arc::new(Exchange::new(connection));
        let request = server.proxy.process_new_http(ServerSession::new_http2(session), &server.never);
        run(request, &exchange, &mut Timer::default(), None).await;
    });
}
