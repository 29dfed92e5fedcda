//! The attempts of one request: where each goes, how long it may take, and what a failed one leads to.

use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{StatusCode, Version};
use pingora_core::protocols::Digest;
use pingora_core::upstreams::peer::{ALPN, HttpPeer};
use pingora_error::ErrorType::{
    ConnectTimedout, Custom, HandshakeError, InvalidHTTPHeader, TLSHandshakeTimedout,
};
use pingora_error::{BError, Error, ErrorSource};
use pingora_http::{RequestHeader, ResponseHeader};
use pingora_proxy::Session;
use policies::Reply;
use tokio::time::{Duration, Instant, sleep};

use super::fail::{REFUSED, out_of_time};
use crate::attempt::{Facts, Failure, Next, Sent, Stage};
use crate::context::RequestContext;
use crate::reply::text;
use crate::telemetry::entropy;
use crate::upstream::{IDENTITY, NoEndpoint, Outcome, millis};

/// An attempt of its own limit ends here, so that it can be repeated; the loop around the request cuts later.
const SLACK: Duration = Duration::from_millis(50);

/// Most informational answers to one attempt.
const INFORMATIONAL: u32 = 16;

/// Chooses an endpoint for the next attempt.
pub(super) async fn peer(
    session: &mut Session,
    ctx: &mut RequestContext,
) -> pingora_error::Result<Box<HttpPeer>> {
    let delay = std::mem::take(&mut ctx.upstream.delay);
    if !delay.is_zero() {
        ctx.exchange.set_deadline(ctx.deadline);
        sleep(ctx.deadline.map_or(delay, |at| delay.min(at.saturating_duration_since(Instant::now())))).await;
    }
    if ctx.deadline.is_some_and(|at| at <= Instant::now()) {
        return Err(out_of_time(ctx));
    }
    if ctx.upstream.picked.is_none()
        && let Err(reply) = pick(ctx)
    {
        ctx.upstream.reply = Some(reply);
        return Err(Error::new(Custom(REFUSED)));
    }
    let upstream = &mut ctx.upstream;
    let now = upstream.picked_at.take().unwrap_or_else(Instant::now);
    upstream.count += 1;
    upstream.started = Some(now);
    upstream.recorded = false;
    upstream.informational = 0;
    upstream.deadline = ctx.policy.timeouts.attempt.map(|limit| now + limit);
    ctx.mirrors.seen = 0;
    let within = ctx.limit().map(|at| at.saturating_duration_since(now));
    let Some(picked) = ctx.upstream.picked.as_ref() else { return Err(Error::new(Custom(REFUSED))) };
    // gRPC needs trailers, which HTTP/1 connections of Pingora do not carry.
    let (h2, identity) = (ctx.is_grpc, ctx.identity());
    if let Err(error) = picked.assure(h2, identity, within).await {
        return Err(unreachable(session, ctx, error));
    }
    let mut peer = picked.peer(h2, identity);
    ctx.upstream.is_http2 = matches!(peer.options.alpn, ALPN::H2);
    limit(session, ctx, &mut peer, now);
    Ok(peer)
}

/// Gives the attempt its time. Pingora's limits are per read and write: they make the answer to a silent upstream exact
/// and orderly; the exchange's deadline bounds everything else.
fn limit(session: &mut Session, ctx: &RequestContext, peer: &mut HttpPeer, now: Instant) {
    let one = ctx.upstream.deadline.map(|at| at + SLACK);
    ctx.exchange.set_deadline(ctx.deadline.map_or(one, |all| Some(one.map_or(all, |one| all.min(one)))));
    let options = &mut peer.options;
    // The exchange ends a request on which nothing moves, and what is dropped over HTTP/2 is reset without an answer. While
    // a body goes up, that moves, and Pingora's limit would not know.
    let is_http2 = ctx.sent.version == Some(Version::HTTP_2);
    if is_http2 && !ctx.is_upgrade && session.as_mut().is_body_done() {
        options.read_timeout = ctx.connection_rules().times.stream_idle;
    }
    let Some(at) = ctx.limit() else { return };
    let left = at.saturating_duration_since(now);
    options.total_connection_timeout =
        Some(options.total_connection_timeout.map_or(left, |own| own.min(left)));
    // An upgraded connection lives on after the limit, with the limits of its beginning.
    if !session.is_upgrade_req() {
        options.read_timeout = Some(options.read_timeout.map_or(left, |own| own.min(left)));
        options.write_timeout = Some(options.write_timeout.map_or(left, |own| own.min(left)));
    }
}

/// Picks an endpoint. The first time before Pingora asks for it, so that an answer instead keeps the connection.
pub(super) fn pick(ctx: &mut RequestContext) -> Result<(), Reply> {
    let Some(cluster) = ctx.cluster() else {
        return Err(text(StatusCode::INTERNAL_SERVER_ERROR, "invalid_backend"));
    };
    let now = Instant::now();
    let (at, tried) = (millis(now), &ctx.upstream.tried);
    let of_session = ctx.policy.session.and_then(|session| cluster.pick_tagged(at, session.wanted?, tried));
    let picked = of_session.unwrap_or_else(|| cluster.pick_at(at, entropy(), tried, 1)).map_err(|none| {
        let reason = match none {
            NoEndpoint::None => "no_endpoints",
            NoEndpoint::Full => "connection_limit",
        };
        text(StatusCode::SERVICE_UNAVAILABLE, reason)
    })?;
    if let Some(session) = &mut ctx.policy.session {
        session.got = Some(picked.tag());
    }
    ctx.upstream.tried.push(picked.address());
    ctx.upstream.picked = Some(picked);
    ctx.upstream.picked_at = Some(now);
    Ok(())
}

/// A connection is there.
///
/// # Errors
/// When it shows a certificate that was not verified. Nothing was sent.
pub(super) fn connected(
    ctx: &RequestContext,
    reused: bool,
    digest: Option<&Digest>,
) -> pingora_error::Result<()> {
    if let Some(cluster) = ctx.cluster() {
        cluster.stats.connected(reused);
    }
    ctx.upstream.picked.as_ref().map_or(Ok(()), |picked| picked.admit(ctx.is_grpc, digest))
}

/// The head is about to be sent, in the form of the connection's protocol.
///
/// # Errors
/// When the attempt needs HTTP/2 and the backend did not take it by ALPN: Pingora falls to HTTP/1.1 then, which would
/// lose gRPC's trailers and is not what the Service says it speaks. Nothing was sent.
pub(super) fn sending(ctx: &RequestContext, head: &RequestHeader) -> pingora_error::Result<()> {
    if ctx.upstream.is_http2 && head.version != Version::HTTP_2 {
        let error = Error::explain(HandshakeError, "the backend does not speak HTTP/2");
        return Err(error.into_up());
    }
    Ok(())
}

/// The head of a response came. An error leads to another attempt.
///
/// # Errors
/// When the rule's plan says so and another attempt can really be made: the upstream's answer is lost by it.
pub(super) fn answered(
    session: &mut Session,
    ctx: &mut RequestContext,
    head: &ResponseHeader,
) -> pingora_error::Result<()> {
    framed(ctx, head)?;
    if head.status.is_informational() && head.status != StatusCode::SWITCHING_PROTOCOLS {
        return Ok(());
    }
    let status = head.status.as_u16();
    let latency = record(ctx, if status < 500 { Outcome::Success } else { Outcome::ServerError }, status);
    ctx.upstream.duration = latency.or(ctx.upstream.duration);
    if status < 400 || ctx.policy.retry.is_none() {
        return Ok(());
    }
    if again(session, ctx, Failure::Response(status), Sent::Maybe) {
        let mut error = Error::new_up(Custom(REFUSED));
        error.set_retry(true);
        return Err(error);
    }
    Ok(())
}

/// Refuses a response whose end is in doubt: the client gets 502, and the connection is not used again.
fn framed(ctx: &mut RequestContext, head: &ResponseHeader) -> pingora_error::Result<()> {
    let upstream = &mut ctx.upstream;
    upstream.informational += u32::from(head.status.is_informational());
    let mut codings = head.headers.get_all(TRANSFER_ENCODING).iter();
    let coding = codings.next();
    let strange = coding.is_some_and(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"chunked"))
        || codings.next().is_some()
        || head.headers.get_all(CONTENT_LENGTH).iter().nth(1).is_some();
    let unasked = head.status == StatusCode::SWITCHING_PROTOCOLS && !ctx.is_upgrade;
    if strange || unasked || upstream.informational > INFORMATIONAL {
        return Err(Error::explain(InvalidHTTPHeader, "the end of the response is in doubt").into_up());
    }
    Ok(())
}

/// No connection.
pub(super) fn unreachable(session: &mut Session, ctx: &mut RequestContext, mut error: BError) -> BError {
    let (mut failure, sent) = Failure::of(&error, Stage::Connecting);
    if matches!(error.etype, ConnectTimedout | TLSHandshakeTimedout) && is_late(ctx) {
        failure = Failure::Timeout;
    }
    record(ctx, if failure == Failure::Connect { Outcome::ConnectFailure } else { Outcome::Broken }, 0);
    let again = again(session, ctx, failure, sent);
    error.set_retry(again);
    error
}

/// The attempt broke off, on either side.
pub(super) fn broken(
    session: &mut Session,
    ctx: &mut RequestContext,
    mut error: BError,
    reused: bool,
) -> BError {
    if error.etype == Custom(REFUSED) {
        return error;
    }
    if error.etype == Custom(IDENTITY) {
        return doubted(ctx, error);
    }
    if error.etype == HandshakeError {
        return unreachable(session, ctx, error);
    }
    let upstream = error.esource == ErrorSource::Upstream;
    record(ctx, if upstream || is_late(ctx) { Outcome::Broken } else { Outcome::Cancelled }, 0);
    let begun = session.response_written().is_some_and(|head| !head.status.is_informational());
    let (failure, sent) = Failure::of(&error, Stage::Connected { reused });
    let again = upstream && !begun && again(session, ctx, failure, sent);
    error.set_retry(again);
    error
}

/// The connection showed a certificate that was not verified. The next attempt verifies the endpoint anew; a second
/// such connection ends the request.
fn doubted(ctx: &mut RequestContext, mut error: BError) -> BError {
    let first = !std::mem::replace(&mut ctx.upstream.is_doubted, true);
    if !first {
        record(ctx, Outcome::ConnectFailure, 0);
        ctx.upstream.reply = Some(text(StatusCode::BAD_GATEWAY, "upstream_tls"));
    }
    error.set_retry(first && !ctx.exchange.is_expired());
    error
}

/// Asks whether to try again, and prepares it.
fn again(session: &mut Session, ctx: &mut RequestContext, failure: Failure, sent: Sent) -> bool {
    if ctx.exchange.is_expired() {
        return false;
    }
    let Some(cluster) = ctx.cluster().cloned() else { return false };
    let facts = Facts {
        failure,
        sent,
        idempotent: ctx.sent.method.is_idempotent(),
        replayable: !session.as_ref().retry_buffer_truncated(),
        untried: cluster.has_untried(&ctx.upstream.tried),
        left: ctx.deadline.map(|at| at.saturating_duration_since(Instant::now())),
        entropy: entropy(),
    };
    let upstream = &mut ctx.upstream;
    // The permit of the attempt that failed is free again.
    upstream.permit = None;
    let Next::Again { delay, budgeted } = upstream.attempts.next(ctx.policy.retry.as_deref(), &facts) else {
        return false;
    };
    if budgeted {
        upstream.permit = cluster.retry_permit();
        if upstream.permit.is_none() {
            return false;
        }
    }
    upstream.picked = None;
    upstream.delay = delay;
    true
}

fn is_late(ctx: &RequestContext) -> bool {
    ctx.limit().is_some_and(|at| at <= Instant::now())
}

/// Tells the endpoint and the backend's counters how the attempt went, once; then says how long it took.
pub(super) fn record(ctx: &mut RequestContext, outcome: Outcome, status: u16) -> Option<Duration> {
    let upstream = &mut ctx.upstream;
    let (picked, started) = upstream.picked.as_ref().zip(upstream.started)?;
    if std::mem::replace(&mut upstream.recorded, true) {
        return None;
    }
    let now = Instant::now();
    let latency = now.saturating_duration_since(started);
    picked.record_at(millis(now), outcome, latency);
    picked.cluster().stats.attempt(outcome, status, latency);
    Some(latency)
}
