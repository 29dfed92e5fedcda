//! The way back: filters, limits, and the account of a request.

use http::header::CONNECTION;
use http::{HeaderName, StatusCode};
use pingora_error::Result;
use pingora_http::ResponseHeader;
use pingora_proxy::Session;
use tokio::time::Instant;

use super::attempts::record;
use super::fail::out_of_time;
use super::fields;
use crate::context::RequestContext;
use crate::upstream::Outcome;

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");

/// A response head of the upstream, before the client gets it.
pub(super) fn head(session: &mut Session, ctx: &mut RequestContext, head: &mut ResponseHeader) {
    ctx.exchange.pace.moves();
    if head.status == StatusCode::SWITCHING_PROTOCOLS {
        // The limits are for the handshake; what follows lasts as long as both want it.
        ctx.deadline = None;
        ctx.upstream.deadline = None;
        ctx.exchange.set_deadline(None);
        ctx.exchange.set_read(false);
        ctx.exchange.pace.open();
        return;
    }
    if head.status.is_informational() {
        return;
    }
    // About the upstream's connection, not the client's (RFC 9110 section 7.6.1).
    if head.headers.contains_key(CONNECTION) {
        for name in fields::strip_response(&head.headers) {
            head.remove_header(&name);
        }
    }
    head.remove_header(&KEEP_ALIVE);
    ctx.apply_response(head);
    if ctx.exchange.connection.is_draining() {
        session.set_keepalive(None);
    }
}

/// Breaks a response off that is over its limit, however it drips.
pub(super) fn in_time(ctx: &mut RequestContext) -> Result<()> {
    ctx.exchange.pace.moves();
    match ctx.limit() {
        Some(at) if at <= Instant::now() => Err(out_of_time(ctx)),
        _ => Ok(()),
    }
}

/// The request has ended.
pub(super) fn account(session: &Session, ctx: &mut RequestContext) {
    // An attempt without an outcome by now was given up by the client.
    record(ctx, Outcome::Cancelled, 0);
    let answer = session.response_written().map(|head| head.status);
    // A client that was told to go on has no answer by that.
    let answer = answer.filter(|status| *status != StatusCode::CONTINUE);
    let status = answer.map_or(0, |status| status.as_u16());
    let read = session.body_bytes_read();
    let sent = session.body_bytes_sent();
    ctx.account(status, read as u64, sent as u64);
}
