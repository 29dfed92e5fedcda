//! One HTTP/1 connection: wait, let Pingora read and answer one request, wait again.
//!
//! While it waits there is neither a session nor a buffer, and closing it while draining is decided here.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use pingora_core::apps::HttpServerApp;
use pingora_core::protocols::http::ServerSession;
use tokio::time::Instant;

use super::LULL;
use super::connection::Connection;
use super::exchange::{Ended, Exchange, run};
use super::over::Over;
use super::refused::Refused;
use super::serve::Server;
use super::stream::ClientStream;
use super::timer::Timer;

/// Serves requests until either side is done.
pub(crate) async fn serve(mut stream: Box<ClientStream>, exchange: Arc<Exchange>, server: &Server) {
    let mut timer = Timer::default();
    while next(&mut stream, &exchange, server, &mut timer).await {
        let begun = Instant::now();
        exchange.reset(begun);
        exchange.connection.begins_request();
        stream.begin();
        let times = &exchange.connection.rules().times;
        let request = server.proxy.process_new_http(session(stream, times.stream_idle), &server.never);
        let head_by = begun + times.head;
        let ended = run(request, &exchange, &mut timer, Some(head_by)).await;
        let Ended::Reusable(reused) = ended else {
            if !exchange.is_taken() {
                account_refused(&exchange, server, begun);
            }
            return;
        };
        let (returned, _) = reused.consume();
        let Ok(returned) = returned.into_any().downcast::<ClientStream>() else { return };
        stream = returned;
        stream.rest();
    }
}

/// In a function of its own: what is borrowed here would take room in the task while it waits.
fn session(stream: Box<ClientStream>, stall: Option<Duration>) -> ServerSession {
    let mut session = ServerSession::new_http1(stream);
    session.set_write_timeout(stall);
    // What is read has limits of ours.
    session.set_read_timeout(None);
    session
}

/// Accounts for a head that never became a request of the engine's.
fn account_refused(exchange: &Exchange, server: &Server, begun: Instant) {
    let (status, reason) = match (exchange.fault(), exchange.refused()) {
        (Some(fault), _) => (fault.status(), fault.reason()),
        (None, Some(405)) => (405, "method_not_allowed"),
        (None, Some(status)) => (status, "bad_request"),
        (None, None) if exchange.is_expired() => (Over::Head.status(), Over::Head.reason()),
        // The client closed between two requests.
        (None, None) => return,
    };
    Refused { version: "HTTP/1.1", status, reason, begun }.account(&exchange.connection, server);
}

/// What a client is told in `Retry-After`. One that comes at once all the same is not read before: turning it away again and
/// again would cost what is left for others.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Waits for the next request; false when there will be none.
async fn next(stream: &mut ClientStream, exchange: &Exchange, server: &Server, timer: &mut Timer) -> bool {
    let since = Instant::now();
    let connection = &exchange.connection;
    poll_fn(|cx| {
        if exchange.is_shed() && !server.load.is_calm() && timer.poll(since + RETRY_AFTER, cx).is_pending() {
            return Poll::Pending;
        }
        // What is there is served, even when the time is up.
        if let Poll::Ready(more) = stream.poll_request(cx) {
            return Poll::Ready(more);
        }
        if is_quiet(connection, since, timer, cx) || is_idle(connection, since, timer, cx) {
            return Poll::Ready(false);
        }
        Poll::Pending
    })
    .await
}

/// True when the connection, waiting `since` then, has waited for long enough or takes no more requests. Else the task is
/// woken in time.
pub(crate) fn is_idle(
    connection: &Connection,
    since: Instant,
    timer: &mut Timer,
    cx: &mut Context<'_>,
) -> bool {
    let idle_at = connection.rules().times.idle.map(|idle| since + idle);
    let at = match (idle_at, connection.ends_at()) {
        (Some(idle), Some(end)) => Some(idle.min(end)),
        (idle, end) => idle.or(end),
    };
    at.is_some_and(|at| timer.poll(at, cx).is_ready())
}

/// True when the port has been draining for long enough and the connection, waiting `since` then, should be closed. Else
/// the task is woken in time.
pub(crate) fn is_quiet(
    connection: &Connection,
    since: Instant,
    timer: &mut Timer,
    cx: &mut Context<'_>,
) -> bool {
    // In this order: a drain after the look wakes the task.
    connection.waker.register(cx.waker());
    connection.gate.draining_since().is_some_and(|began| timer.poll(since.max(began) + LULL, cx).is_ready())
}
