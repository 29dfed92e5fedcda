//! From a request head to a decision: refused, answered, or to be forwarded to one share of a rule.

use std::sync::Arc;

use http::header::RETRY_AFTER;
use http::request::Parts;
use http::{HeaderValue, Method, Request as HttpRequest, StatusCode, Version};
use pingora_core::protocols::http::ServerSession;
use pingora_error::Result;
use pingora_http::RequestHeader;
use pingora_proxy::Session;
use policies::traffic_split::Preference;
use policies::{Chain, Context, Net, Reply, Request};

use super::ahead::{Ahead, Announced, Stop};
use super::forward::Hop;
use super::head::{Checked, Setting};
use super::{Engine, attempts, body, fail, fields, forward, head, listener, source};
use crate::call::Outbound;
use crate::context::{RequestContext, Sent, rules};
use crate::ingress::connection::Connection;
use crate::reply::{self, text};
use crate::route::ListenerTable;
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
    let is_unclear = checked.is_err();
    let waits = checked.as_ref().is_ok_and(|checked| checked.waits);
    let mut req = Request::from(parts);
    let decided = match checked {
        Ok(Checked { answer: Some(reply), .. }) | Err(reply) => Err(Stop::Reply(reply)),
        Ok(_) => decide(engine, session, ctx, &mut req, Announced { has_body, waits }).await,
    };
    *session.req_header_mut() = req;
    // It may have been told already, for a policy that reads the body.
    let is_to_come = waits && has_body && session.response_written().is_none();
    match decided {
        Ok(()) => {
            if is_to_come && let ServerSession::H1(http1) = session.as_downstream_mut() {
                http1.write_continue_response().await?;
            }
            Ok(false)
        }
        Err(Stop::Broken(error)) => {
            session.set_keepalive(None);
            fail::answer(session, ctx, &error).await;
            Ok(true)
        }
        Err(Stop::Reply(reply)) => {
            // What is too large is not read to its end either.
            let is_more = reply.status == StatusCode::PAYLOAD_TOO_LARGE && !session.as_mut().is_body_done();
            if is_unclear || is_to_come || is_more {
                session.set_keepalive(None);
            }
            reply::send(session, ctx, reply).await?;
            Ok(true)
        }
    }
}

/// Checks the host, then the rest by the rules of the listener it names.
fn check(engine: &Engine, ctx: &mut RequestContext, head: &mut Parts) -> Result<Checked, Reply> {
    ctx.sent.host = Some(head::host(head)?);
    listener::find(ctx, &head.headers)?;
    let RequestContext { listener, sent, exchange, snapshot, .. } = ctx;
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
    ctx.policy.caller.peer = source::peer(connection, listener.as_deref(), snapshot);
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
    session: &mut Session,
    ctx: &mut RequestContext,
    req: &mut Request,
    announced: Announced,
) -> Result<(), Stop> {
    let rules = ctx.rules();
    if let Some(reply) = health_check(rules, &ctx.exchange.connection, req) {
        return Err(reply.into());
    }
    if engine.load.sheds() {
        ctx.exchange.shed();
        return Err(overloaded().into());
    }
    rules.early.request(req);
    ctx.is_grpc = fields::is_grpc(&req.headers);
    route(ctx, req)?;
    body::begins(session, ctx);
    let announced = Announced { has_body: announced.has_body && !ctx.is_upgrade, ..announced };
    let has_body = consult(engine, session, ctx, req, announced).await?;
    ctx.deadline = ctx.policy.timeouts.request.map(|limit| ctx.started + limit);
    attempts::pick(ctx)?;
    mirror(engine, ctx, req, has_body);
    Ok(())
}

/// Asks the policies of the rule, and those of the backend it chooses. Tells whether there is a body.
async fn consult(
    engine: &Engine,
    session: &mut Session,
    ctx: &mut RequestContext,
    req: &mut Request,
    announced: Announced,
) -> Result<bool, Stop> {
    ctx.deadline = ctx.chain.limits().request.map(|limit| ctx.started + limit);
    let RequestContext { exchange, listener, sent, rule, chain, policy, share, upstream, deadline, .. } = ctx;
    let Some(rule) = rule else { return Err(text(StatusCode::NOT_FOUND, "route_not_found").into()) };
    let outbound = |chain: &Chain| {
        let net = || Outbound { net: engine.net.clone(), identity: identity(listener.as_deref()) };
        chain.calls().then(|| Arc::new(net()) as Arc<dyn Net>)
    };
    let of_connection = exchange.connection.rules();
    let mut ahead = Ahead {
        session,
        exchange,
        rules: listener.as_deref().map_or(of_connection, |listener| &listener.traffic.connection),
        is_http2: sent.version == Some(Version::HTTP_2),
        announced,
        deadline: *deadline,
        answer: &mut upstream.reply,
    };
    let named = |chain: &Chain| chain.is_by_route().then(|| (rule.name.kind, rule.name.route.clone()));
    (policy.net, policy.route) = (outbound(chain), named(chain));
    ahead.run(chain, req, policy, &mut ctx.rule_state).await?;
    let fails = |reason| Err(text(StatusCode::INTERNAL_SERVER_ERROR, reason).into());
    let Action::Forward(split) = &rule.action else { return fails("rule_invalid") };
    let Some((index, picked)) = pick(split, policy) else { return fails("no_backend") };
    *share = Some(index);
    if picked.target.is_err() {
        return fails("invalid_backend");
    }
    policy.net = policy.net.take().or_else(|| outbound(&picked.chain));
    policy.route = policy.route.take().or_else(|| named(&picked.chain));
    ahead.run(&picked.chain, req, policy, &mut ctx.share_state).await?;
    Ok(ahead.has_body())
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
    let workload = ctx.policy.caller.peer.as_ref().and_then(|peer| peer.workload.as_ref());
    let caller = workload.map(|workload| workload.namespace.as_str());
    let asked = (req.uri.path(), req.uri.query());
    let found = ctx.listener.as_ref().and_then(|listener| listener.find_for(caller, req, host, asked));
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

/// GEP-1619: "a persistent session takes precedence over traffic split weights", also over one of 0.
fn pick<'s>(split: &'s Split, policy: &Context) -> Option<(usize, &'s Share)> {
    if let Some(tag) = policy.session.and_then(|session| session.wanted) {
        let has = |share: &Share| share.target.as_ref().is_ok_and(|cluster| cluster.has_tagged(tag));
        if let Some(found) = split.shares().iter().enumerate().find(|(_, share)| has(share)) {
            return Some(found);
        }
    }
    let Preference { target, key } = &policy.split;
    let named = target.as_ref().and_then(|target| split.shares().iter().find(|share| share.is(target)));
    let picked = match (named, key) {
        (Some(named), _) => named,
        (None, Some(key)) => split.pick_by(*key)?,
        (None, None) => split.pick()?,
    };
    let index = split.shares().iter().position(|share| std::ptr::eq(share, picked))?;
    Some((index, picked))
}

/// What backends are shown.
fn identity(listener: Option<&ListenerTable>) -> Option<Arc<ClientIdentity>> {
    listener?.identity.clone()
}

/// Starts the copies the chain decided on.
fn mirror(engine: &Engine, ctx: &mut RequestContext, req: &Request, has_body: bool) {
    let identity = identity(ctx.listener.as_deref());
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
