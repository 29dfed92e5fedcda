//! What a request's body is held to: its size, and how fast it comes.

use http::header::CONTENT_LENGTH;
use http::{HeaderMap, StatusCode, Version};
use pingora_error::ErrorType::Custom;
use pingora_error::{Error, Result};
use pingora_proxy::Session;
use policies::Reply;

use super::fail::REFUSED;
use crate::context::RequestContext;
use crate::ingress::exchange::Exchange;
use crate::reply::text;
use crate::traffic::connection::ConnectionRules;

pub(super) fn too_large() -> Reply {
    text(StatusCode::PAYLOAD_TOO_LARGE, "request_body_too_large")
}

/// Refuses a body that says of itself that it is too large, before a byte of it is read.
///
/// # Errors
/// The answer.
pub(super) fn announced(ctx: &RequestContext, headers: &HeaderMap) -> Result<(), Reply> {
    let Some(most) = ctx.connection_rules().body.most else { return Ok(()) };
    let length = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok());
    // One that is no number was refused for it.
    let is_over = length.and_then(|length| length.parse::<u64>().ok()).is_some_and(|length| length > most);
    if is_over { Err(too_large()) } else { Ok(()) }
}

/// It is known what the request is, and whose: messages of gRPC and of WebSockets come when there are some.
pub(super) fn begins(session: &mut Session, ctx: &RequestContext) {
    let rules = ctx.connection_rules();
    ctx.exchange.pace.hold_to(rules);
    session.as_downstream_mut().set_write_timeout(rules.times.stream_idle);
    if ctx.is_upgrade || (ctx.is_grpc && is_http2(ctx)) {
        ctx.exchange.pace.open();
    }
}

fn is_http2(ctx: &RequestContext) -> bool {
    ctx.sent.version == Some(Version::HTTP_2)
}

/// From now on the body is read. Over HTTP/1 the stream sees that by itself.
pub(super) fn is_waited_for(session: &mut Session, ctx: &RequestContext) {
    if is_http2(ctx) && !session.as_mut().is_body_done() {
        ctx.exchange.pace.waits();
    }
}

/// A piece of it, or its end, came.
///
/// # Errors
/// When that is too much, or all of it came too slowly. The backend's connection is not used again.
pub(super) fn piece(session: &Session, ctx: &mut RequestContext, end: bool) -> Result<()> {
    let (received, is_http2) = (session.body_bytes_read() as u64, is_http2(ctx));
    let fits = note(&ctx.exchange, ctx.connection_rules(), is_http2, received, end);
    if ctx.is_upgrade || fits {
        return Ok(());
    }
    ctx.upstream.reply = Some(too_large());
    let mut error = Error::new(Custom(REFUSED));
    error.set_retry(false);
    Err(error)
}

/// Takes note of it: `received` bytes have come in all. False when that is too much.
pub(super) fn note(
    exchange: &Exchange,
    rules: &ConnectionRules,
    is_http2: bool,
    received: u64,
    end: bool,
) -> bool {
    let pace = &exchange.pace;
    pace.moves();
    pace.received(received);
    if is_http2 {
        pace.fed();
        if !end && pace.is_within_window() {
            pace.waits();
        }
    }
    rules.body.most.is_none_or(|most| received <= most)
}
