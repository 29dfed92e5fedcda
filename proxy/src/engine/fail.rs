//! From an error to an answer: what the client is told, and the reason for the log.

use http::StatusCode;
use pingora_error::ErrorType::{
    ConnectError, ConnectNoRoute, ConnectProxyFailure, ConnectRefused, ConnectTimedout, Custom, HTTPStatus,
    HandshakeError, InvalidCert, InvalidH2, InvalidHTTPHeader, ReadTimedout, SocketError,
    TLSHandshakeFailure, TLSHandshakeTimedout, WriteTimedout,
};
use pingora_error::{BError, Error, ErrorSource};
use pingora_proxy::{FailToProxy, Session};
use policies::Reply;
use tokio::time::{Duration, Instant};

use crate::context::RequestContext;
use crate::egress::is_bad;
use crate::ingress::over::Over;
use crate::reply::{self, text};

/// Type of the errors the engine itself makes; what is meant is in the context.
pub(super) const REFUSED: &str = "fairway";

/// A limit that is not further away than this is over: timers are coarse.
const NEAR: Duration = Duration::from_millis(100);

/// How long an answer of ours may take to be written.
const ANSWER: Duration = Duration::from_secs(5);

/// The error of a request that is over its time, all attempts or one.
pub(super) fn out_of_time(ctx: &mut RequestContext) -> BError {
    ctx.upstream.reply = Some(late(ctx));
    let mut error = Error::new(Custom(REFUSED));
    error.set_retry(false);
    error
}

fn late(ctx: &RequestContext) -> Reply {
    let all = ctx.deadline.is_some_and(|at| at <= Instant::now());
    text(StatusCode::GATEWAY_TIMEOUT, if all { "request_timeout" } else { "backend_timeout" })
}

/// Answers a request that failed for good, if anybody is there to hear it.
pub(super) async fn answer(session: &mut Session, ctx: &mut RequestContext, error: &Error) -> FailToProxy {
    let nothing = FailToProxy { error_code: 0, can_reuse_downstream: false };
    let begun = session.response_written().is_some_and(|head| !head.status.is_informational());
    let Some(reply) = reply(ctx, error) else {
        ctx.reason = "client_abort";
        return nothing;
    };
    if begun {
        // Too late for an answer: the response stops short, which the client can see.
        ctx.reason = reply.reason;
        return nothing;
    }
    let error_code = reply.status.as_u16();
    // Whatever is left of the request's time, its answer gets some of its own.
    ctx.exchange.set_deadline(Some(Instant::now() + ANSWER));
    // Pingora closes the connection of a failed request in any case; the client should know.
    session.set_keepalive(None);
    let _ = reply::send(session, ctx, reply).await;
    FailToProxy { error_code, can_reuse_downstream: false }
}

#[allow(
    clippy::wildcard_enum_match_arm,
    reason = "Pingora's list of errors is long; what is not named means the same"
)]
/// What to tell the client; `None` when it is gone.
fn reply(ctx: &mut RequestContext, error: &Error) -> Option<Reply> {
    if let Some(reply) = ctx.upstream.reply.take() {
        return Some(reply);
    }
    match ctx.exchange.over() {
        None => {}
        Some(Over::Deadline) => return Some(late(ctx)),
        Some(over) => {
            let status = StatusCode::from_u16(over.status()).unwrap_or(StatusCode::GATEWAY_TIMEOUT);
            return Some(text(status, over.reason()));
        }
    }
    if let HTTPStatus(code) = error.etype {
        let status = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        return Some(text(status, "internal_error"));
    }
    let (status, reason) = match error.esource {
        ErrorSource::Downstream => match (ctx.exchange.fault(), &error.etype) {
            (Some(fault), _) => {
                let status = StatusCode::from_u16(fault.status()).unwrap_or(StatusCode::BAD_REQUEST);
                (status, fault.reason())
            }
            (None, InvalidHTTPHeader) => (StatusCode::BAD_REQUEST, "bad_request"),
            (None, ReadTimedout) => (StatusCode::REQUEST_TIMEOUT, "request_body_timeout"),
            (None, _) => return None,
        },
        ErrorSource::Upstream => upstream(ctx, error),
        ErrorSource::Internal | ErrorSource::Unset => (StatusCode::INTERNAL_SERVER_ERROR, "internal_error"),
    };
    Some(text(status, reason))
}

#[allow(clippy::wildcard_enum_match_arm, reason = "as above")]
fn upstream(ctx: &RequestContext, error: &Error) -> (StatusCode, &'static str) {
    let is_late = ctx.limit().is_some_and(|at| at <= Instant::now());
    match error.etype {
        // Of two limits the nearer one was given to Pingora: the request's own, or that something has to move.
        ReadTimedout | WriteTimedout if ctx.limit().is_none_or(|at| at > Instant::now() + NEAR) => {
            (StatusCode::GATEWAY_TIMEOUT, Over::Idle.reason())
        }
        ReadTimedout | WriteTimedout => (StatusCode::GATEWAY_TIMEOUT, late(ctx).reason),
        ConnectTimedout | TLSHandshakeTimedout if is_late => (StatusCode::GATEWAY_TIMEOUT, late(ctx).reason),
        ConnectTimedout | ConnectRefused | ConnectNoRoute | ConnectProxyFailure | ConnectError
        | SocketError => (StatusCode::SERVICE_UNAVAILABLE, "connect_failure"),
        TLSHandshakeFailure | TLSHandshakeTimedout | InvalidCert | HandshakeError => {
            (StatusCode::BAD_GATEWAY, "upstream_tls")
        }
        InvalidHTTPHeader | InvalidH2 => (StatusCode::BAD_GATEWAY, "upstream_protocol"),
        _ if is_bad(error) => (StatusCode::BAD_GATEWAY, "upstream_protocol"),
        _ => (StatusCode::BAD_GATEWAY, "upstream_reset"),
    }
}
