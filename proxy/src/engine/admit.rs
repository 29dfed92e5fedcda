//! From a request head to a decision: refused, answered, or to be forwarded to one share of a rule.

use std::sync::Arc;

use http::header::RETRY_AFTER;
use http::request::Parts;
use http::{HeaderValue, Method, Request as HttpRequest, StatusCode};
use pingora_core::protocols::http::ServerSession;
use pingora_error::Result;
use pingora_http::RequestHeader;
use pingora_proxy::Session;
use policies::{Reply, Request};

use super::forward::Hop;
use super::head::{Checked, Setting};
use super::{Engine, attempts, body, fields, forward, head, listener};
use crate::call::Outbound;
use crate::context::{RequestContext, Sent, rules};
use crate::ingress::connection::Connection;
use crate::reply::{self, text};
use crate::rule::Action;
use crate::split::{Share, Split};
use crate::telemetry::entropy;
use crate::traffic::request::RequestRules;
use crate::upstream::{ClientIdentity, Cluster};

/// Decides. `true`: the client has its answer.
pub(super) async fn admit(engine: &Engine, session: &mut Session, ctx: &mut RequestContext) -> Result<bool> {
    // A filter may change the fields that say how long the body is; its reader must know before.
    let has_body = !session.as_mut().is_body_done();
    ctx.is_upgrade = session.is_upgrade_req();
    ctx.trace = engine.telemetry.trace(session.req_header());
    let formed = head::check_form(session.req_header(), ctx.exchange.connection.scheme());
    let mut parts = take(session.req_header_mut());
    ctx.sent = Sent::of(&parts);
    let checked = formed
        .and_then(|()| check(engine, ctx, &mut parts))
        .and_then(|checked| body::announced(ctx, &parts.headers).map(|()| checked));
    // What is refused for its form may be understood in another way by who sent it; so may a body that is to come.
    let is_doubtful = checked.as_ref().map_or(true, |checked| checked.waits && has_body);
    let mut req = Request::from(parts);
    let decided = match checked {
        Ok(Checked { answer: Some(reply), .. }) | Err(reply) => Err(reply),
        Ok(_) => decide(engine, ctx, &mut req, has_body).await,
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

/// Checks the host, then the rest by the rules of the listener it names.
fn check(engine: &Engine, ctx: &mut RequestContext, head: &mut Parts) -> Result<Checked, Reply> {
    ctx.sent.host = Some(head::host(head)?);
    listener::find(ctx, &head.headers)?;
    let RequestContext { listener, sent, exchange, .. } = ctx;
    let rules = rules(listener.as_deref());
    let connection = &exchange.connection;
    let setting = Setting {
        rules,
        peer: connection.peer,
        trusts_clients: engine.trusts_clients,
        is_upgrade: ctx.is_upgrade,
    };
    // There is one: it was put there.
    let Some(host) = &mut sent.host else { return Err(text(StatusCode::BAD_REQUEST, "bad_host")) };
    let checked = head::check(head, host, &setting)?;
    // Whoever has come to verify nobody has not verified this one.
    let verifies = listener.as_ref().is_some_and(|listener| listener.trust.is_some());
    let hop = Hop {
        connection,
        shown: connection.shown().filter(|_| verifies),
        host,
        trace: ctx.trace,
        rules,
        is_forwarded: checked.client.is_forwarded,
        trusts_clients: engine.trusts_clients,
    };
    forward::add(&mut head.headers, &hop);
    ctx.policy.caller.peer = connection.caller().filter(|_| verifies).cloned();
    ctx.client = checked.client.address;
    Ok(checked)
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
    let rules = ctx.rules();
    if let Some(reply) = health_check(rules, &ctx.exchange.connection, req) {
        return Err(reply);
    }
    if engine.load.sheds() {
        ctx.exchange.shed();
        return Err(overloaded());
    }
    rules.early.request(req);
    ctx.is_grpc = fields::is_grpc(&req.headers);
    route(ctx, req)?;
    let Some(rule) = &ctx.rule else { return Err(text(StatusCode::NOT_FOUND, "route_not_found")) };
    if ctx.chain.calls() {
        ctx.policy.net = Some(Arc::new(Outbound { net: engine.net.clone(), identity: identity(ctx) }));
    }
    let decided = ctx.chain.request(req, &mut ctx.policy, &mut ctx.rule_state).await;
    decided.map_err(|reply| ctx.policy.denials.dress(reply))?;
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
    let decided = share.chain.request(req, &mut ctx.policy, &mut ctx.share_state).await;
    decided.map_err(|reply| ctx.policy.denials.dress(reply))?;
    ctx.deadline = ctx.policy.timeouts.request.map(|limit| ctx.started + limit);
    attempts::pick(ctx)?;
    mirror(engine, ctx, req, has_body);
    Ok(())
}

/// The answer to a health check of the listener's own.
fn health_check(rules: &RequestRules, connection: &Connection, req: &Request) -> Option<Reply> {
    let path = rules.health_check.as_deref()?;
    if req.uri.path() != path || !matches!(req.method, Method::GET | Method::HEAD) {
        return None;
    }
    let is_ready = !connection.gate.is_draining();
    let status = if is_ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    Some(Reply::new(status, "health_check"))
}

/// What is turned away so that others are served in time.
fn overloaded() -> Reply {
    let mut reply = text(StatusCode::SERVICE_UNAVAILABLE, "overloaded");
    reply.headers.push((RETRY_AFTER, HeaderValue::from_static("1")));
    reply
}

/// Finds the rule; in the context afterwards.
fn route(ctx: &mut RequestContext, req: &Request) -> Result<(), Reply> {
    let connection = &ctx.exchange.connection;
    let host = ctx.sent.host.as_ref().map_or("", head::Host::as_str);
    let found =
        ctx.listener.as_ref().and_then(|listener| listener.find(req, host, req.uri.path(), req.uri.query()));
    let found = found.ok_or_else(|| text(StatusCode::NOT_FOUND, "route_not_found"))?;
    let bound = connection.gate.bind.port;
    ctx.is_grpc |= found.rule.is_grpc;
    ctx.policy.matched_prefix = found.matched_prefix;
    ctx.policy.scheme = connection.scheme();
    ctx.policy.client = Some(ctx.client.ip());
    ctx.policy.port = if bound == 0 { connection.local.port() } else { bound };
    ctx.policy.entropy = entropy();
    ctx.in_flight = Some(found.rule.stats.start());
    ctx.chain = found.chain.clone();
    ctx.rule = Some(found.rule.clone());
    Ok(())
}

fn pick(split: &Split) -> Option<(usize, &Share)> {
    let picked = split.pick()?;
    let index = split.shares().iter().position(|share| std::ptr::eq(share, picked))?;
    Some((index, picked))
}

/// What backends are shown.
fn identity(ctx: &RequestContext) -> Option<Arc<ClientIdentity>> {
    ctx.listener.as_ref()?.identity.clone()
}

/// Starts the copies the chain decided on.
fn mirror(engine: &Engine, ctx: &mut RequestContext, req: &Request, has_body: bool) {
    let identity = identity(ctx);
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
