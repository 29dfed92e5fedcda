//! From a request head to a decision: refused, answered, or to be forwarded to one share of a rule.

use std::sync::Arc;

use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Request as HttpRequest, StatusCode};
use pingora_core::protocols::http::ServerSession;
use pingora_error::Result;
use pingora_http::RequestHeader;
use pingora_proxy::Session;
use policies::{Reply, Request};

use super::head::{Checked, Setting};
use super::path::PathRules;
use super::{Engine, attempts, body, forward, head};
use crate::context::{RequestContext, Sent};
use crate::ingress::connection::Connection;
use crate::reply::{self, text};
use crate::route::ListenerTable;
use crate::rule::Action;
use crate::snapshot::Port;
use crate::split::{Share, Split};
use crate::telemetry::entropy;
use crate::upstream::Cluster;

/// Decides. `true`: the client has its answer.
pub(super) async fn admit(engine: &Engine, session: &mut Session, ctx: &mut RequestContext) -> Result<bool> {
    // A filter may change the fields that say how long the body is; its reader must know before.
    let has_body = !session.as_mut().is_body_done();
    ctx.is_upgrade = session.is_upgrade_req();
    ctx.trace = engine.telemetry.trace(session.req_header());
    let formed = head::check_form(session.req_header(), ctx.exchange.connection.scheme());
    let mut parts = take(session.req_header_mut());
    ctx.sent = Sent::of(&parts);
    let setting =
        Setting { trusted: engine.trusts_clients, is_upgrade: ctx.is_upgrade, paths: &PathRules::DEFAULT };
    let checked = formed
        .and_then(|()| head::check(&mut parts, &setting))
        .and_then(|checked| body::announced(ctx, &parts.headers).map(|()| checked));
    if let Ok(Checked { host, .. }) = &checked {
        forward::add(&mut parts.headers, &ctx.exchange.connection, host, ctx.trace, engine.trusts_clients);
    }
    // What is refused for its form may be understood in another way by who sent it; so may a body that is to come.
    let is_doubtful = checked.as_ref().map_or(true, |checked| checked.waits && has_body);
    let mut req = Request::from(parts);
    let decided = match checked {
        Ok(checked) => {
            ctx.sent.host = Some(checked.host);
            decide(engine, ctx, &mut req, has_body).await
        }
        Err(reply) => Err(reply),
    };
    *session.req_header_mut() = req;
    let Err(reply) = decided else {
        if is_doubtful && let ServerSession::H1(http1) = session.as_downstream_mut() {
            http1.write_continue_response().await?;
        }
        return Ok(false);
    };
    if is_doubtful {
        session.set_keepalive(None);
    }
    reply::send(session, ctx, reply).await?;
    Ok(true)
}

/// Takes the head out, without the second map in which Pingora keeps the case of HTTP/1 field names: names have no case
/// (RFC 9110 section 5.1), and each copy and change of a head would pay for it twice.
fn take(head: &mut RequestHeader) -> Parts {
    let (empty, ()) = HttpRequest::new(()).into_parts();
    std::mem::replace(head, RequestHeader::from(empty)).into()
}

async fn decide(
    engine: &Engine,
    ctx: &mut RequestContext,
    req: &mut Request,
    has_body: bool,
) -> Result<(), Reply> {
    ctx.is_grpc = is_grpc(&req.headers);
    if engine.load.sheds() {
        ctx.exchange.shed();
        return Err(overloaded());
    }
    route(ctx, req)?;
    let Some(rule) = &ctx.rule else { return Err(text(StatusCode::NOT_FOUND, "route_not_found")) };
    rule.chain.request(req, &mut ctx.policy, &mut ctx.rule_state).await?;
    let split = match &rule.action {
        Action::Forward(split) => split,
        Action::Fail(_) => return Err(text(StatusCode::INTERNAL_SERVER_ERROR, "rule_invalid")),
    };
    let Some((index, share)) = pick(split) else {
        return Err(text(StatusCode::INTERNAL_SERVER_ERROR, "no_backend"));
    };
    ctx.share = Some(index);
    if share.target.is_err() {
        return Err(text(StatusCode::INTERNAL_SERVER_ERROR, "invalid_backend"));
    }
    share.chain.request(req, &mut ctx.policy, &mut ctx.share_state).await?;
    ctx.deadline = ctx.policy.timeouts.request.map(|limit| ctx.started + limit);
    attempts::pick(ctx)?;
    mirror(engine, ctx, req, has_body);
    Ok(())
}

/// What is turned away so that others are served in time.
fn overloaded() -> Reply {
    let mut reply = text(StatusCode::SERVICE_UNAVAILABLE, "overloaded");
    reply.headers.push((RETRY_AFTER, HeaderValue::from_static("1")));
    reply
}

/// Finds the rule; in the context afterwards.
fn route(ctx: &mut RequestContext, req: &Request) -> Result<(), Reply> {
    let not_found = || text(StatusCode::NOT_FOUND, "route_not_found");
    let connection = &ctx.exchange.connection;
    let bind = connection.gate.bind;
    let kept;
    let port = match ctx.snapshot.ports.get(&bind) {
        Some(port) => port,
        // The port is closing: what still comes over its connections is served as it was.
        None => {
            kept = connection.gate.kept().ok_or_else(not_found)?;
            &kept
        }
    };
    let host = ctx.sent.host.as_ref().map_or("", head::Host::as_str);
    let listener = port.routes.listener(host);
    ctx.listener = listener.map(|listener| listener.name().clone());
    if let Some(asked) = listener {
        if connection.sni().is_some_and(|sni| is_misdirected(port, connection, sni, host, asked)) {
            return Err(text(StatusCode::MISDIRECTED_REQUEST, "misdirected_request"));
        }
        ctx.identity = asked.identity.clone();
    }
    let found = listener.and_then(|listener| listener.find(req, host, req.uri.path(), req.uri.query()));
    let found = found.ok_or_else(not_found)?;
    ctx.is_grpc |= found.rule.is_grpc;
    ctx.policy.matched_prefix = found.matched_prefix;
    ctx.policy.scheme = connection.scheme();
    ctx.policy.port = if bind.port == 0 { connection.local.port() } else { bind.port };
    ctx.policy.entropy = entropy();
    ctx.in_flight = Some(found.rule.stats.start());
    ctx.rule = Some(found.rule.clone());
    Ok(())
}

/// A TLS connection made for one listener must not carry requests for another, whose certificate and client checks it
/// never saw (GEP-3567, RFC 9110 section 15.5.20); nor one for a listener that has come to verify clients by other
/// authorities. Gateway API: "If another Listener has an exact match or more specific wildcard entry, the Gateway SHOULD
/// return a 421." A host that no listener serves is none of this: 404.
fn is_misdirected(
    port: &Port,
    connection: &Connection,
    sni: &str,
    host: &str,
    asked: &ListenerTable,
) -> bool {
    if asked.trust.is_some() && asked.trust != connection.trust() {
        return true;
    }
    // Without SNI the handshake was that of the listener without a host name.
    sni != host && port.routes.listener(sni).is_none_or(|shaken| !std::ptr::eq(shaken, asked))
}

fn pick(split: &Split) -> Option<(usize, &Share)> {
    let picked = split.pick()?;
    let index = split.shares().iter().position(|share| std::ptr::eq(share, picked))?;
    Some((index, picked))
}

fn is_grpc(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|kind| {
        kind.as_bytes()
            .strip_prefix(b"application/grpc")
            .is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')))
    })
}

/// Starts the copies the chain decided on.
fn mirror(engine: &Engine, ctx: &mut RequestContext, req: &Request, has_body: bool) {
    let identity = &ctx.identity;
    for upstream in std::mem::take(&mut ctx.policy.mirrors) {
        let upstream: Arc<dyn std::any::Any + Send + Sync> = upstream;
        if let Ok(cluster) = upstream.downcast::<Cluster>() {
            ctx.mirrors.bodies.extend(engine.net.start_mirror(cluster, req, has_body, identity.clone()));
        }
    }
}

/// Takes note of a piece of the body: the mirrors get it, once, because a retry goes through the body again.
pub(super) fn tee(ctx: &mut RequestContext, body: Option<&bytes::Bytes>, end: bool) {
    ctx.exchange.set_read(end);
    let mirrors = &mut ctx.mirrors;
    if mirrors.bodies.is_empty() {
        return;
    }
    if let Some(body) = body {
        let known = mirrors.sent.saturating_sub(mirrors.seen).min(body.len());
        mirrors.seen += body.len();
        mirrors.sent = mirrors.sent.max(mirrors.seen);
        if known < body.len() {
            let fresh = body.slice(known..);
            mirrors.bodies.iter_mut().for_each(|mirror| mirror.push(fresh.clone()));
        }
    }
    if end {
        mirrors.bodies.drain(..).for_each(crate::call::MirrorBody::finish);
    }
}
