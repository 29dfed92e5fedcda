//! What a request's body is held to: its size, and how fast it comes.

use http::header::CONTENT_LENGTH;
use http::{HeaderMap, StatusCode, Version};
use pingora_error::ErrorType::Custom;
use pingora_error::{Error, Result};
use pingora_proxy::Session;
use policies::Reply;

use super::fail::REFUSED;
use crate::context::RequestContext;
use crate::reply::text;

fn too_large() -> Reply {
    text(StatusCode::PAYLOAD_TOO_LARGE, "request_body_too_large")
}

/// Refuses a body that says of itself that it is too large, before a byte of it is read.
///
/// # Errors
/// The answer.
pub(super) fn announced(ctx: &RequestContext, headers: &HeaderMap) -> Result<(), Reply> {
    let Some(most) = ctx.exchange.connection.rules().body.most else { return Ok(()) };
    let length = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok());
    // One that is no number was refused for it.
    let is_over = length.and_then(|length| length.parse::<u64>().ok()).is_some_and(|length| length > most);
    if is_over { Err(too_large()) } else { Ok(()) }
}

/// It is known what the request is: messages of gRPC and of WebSockets come when there are some.
pub(super) fn begins(ctx: &RequestContext) {
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
    let pace = &ctx.exchange.pace;
    let received = session.body_bytes_read() as u64;
    pace.moves();
    pace.received(received);
    if is_http2(ctx) {
        pace.fed();
        if !end && pace.is_within_window() {
            pace.waits();
        }
    }
    let most = ctx.exchange.connection.rules().body.most;
    if ctx.is_upgrade || most.is_none_or(|most| received <= most) {
        return Ok(());
    }
    ctx.upstream.reply = Some(too_large());
    let mut error = Error::new(Custom(REFUSED));
    error.set_retry(false);
    Err(error)
}
