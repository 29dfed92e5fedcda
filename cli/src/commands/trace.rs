//! `fairway trace`: one request through what proxies would make of the manifests, without sending it.

mod ask;

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task;

use anyhow::anyhow;
use config::{Key, Kind, Resource, Resources, Update};
use policies::{Answer, Call, Chain, ChainState, Context, Net, Reply, Scheme, Unanswered, Upstream, written};
use proxy::compile::Compiler;
use proxy::rule::Action;
use proxy::snapshot::{Snapshot, Transport};
use proxy::telemetry::Telemetry;

use self::ask::Asked;
use crate::args::Trace;
use crate::input::Input;
use crate::output;

pub(crate) fn run(args: &Trace) -> anyhow::Result<bool> {
    let input = Input::read(&args.manifests)?;
    for finding in input.loader.findings() {
        output::error(&finding.to_string());
    }
    let asked = Asked::parse(&args.request)?;
    let traced = trace(&asked, args.service.as_deref(), &input.translation.resources)?;
    for step in &traced.steps {
        output::line(step);
    }
    output::line(&format!("=> {}", traced.end));
    Ok(true)
}

/// What becomes of a request.
#[derive(Debug)]
struct Traced {
    /// Every decision, in order.
    steps: Vec<String>,
    /// `status reason`, or the backend that gets it.
    end: String,
}

/// What policies call here: nobody, who never answers.
#[derive(Debug)]
struct Silence;

impl Net for Silence {
    fn call<'a>(
        &'a self,
        _: &'a Arc<dyn Upstream>,
        _: Call,
    ) -> Pin<Box<dyn Future<Output = Result<Answer, Unanswered>> + Send + 'a>> {
        Box::pin(std::future::pending())
    }
}

/// # Errors
/// Nobody listens there.
fn trace(asked: &Asked, service: Option<&str>, resources: &Resources) -> anyhow::Result<Traced> {
    let update = Update { version: 1, upserts: resources.clone(), removes: Vec::new() };
    let (snapshot, _) = Compiler::new(Arc::new(Telemetry::default())).apply(update);
    let port = match service {
        Some(service) => waypoint_port(service, resources)?,
        None => asked.port,
    };
    let mut steps = Vec::new();
    let end = decide(asked, port, &snapshot, &mut steps)?;
    Ok(Traced { steps, end })
}

/// Where the waypoint listens for a Service port.
fn waypoint_port(service: &str, resources: &Resources) -> anyhow::Result<u16> {
    let (namespace, name) = service.split_once('/').unwrap_or(("default", service));
    match resources.get(&Key::new(Kind::Listener, namespace, name)).map(|resource| &**resource) {
        Some(Resource::Listener(listener)) => Ok(listener.port),
        _ => {
            Err(anyhow!("no waypoint listens for {service}: write NAMESPACE/NAME:PORT of a Service with one"))
        }
    }
}

fn decide(asked: &Asked, port: u16, snapshot: &Snapshot, steps: &mut Vec<String>) -> anyhow::Result<String> {
    let bound = snapshot.ports.iter().find(|(bind, _)| (bind.port, bind.transport) == (port, Transport::Tcp));
    let Some((_, bound)) = bound else {
        let mut all: Vec<String> = snapshot.ports.keys().map(|bind| bind.port.to_string()).collect();
        all.sort();
        return Err(anyhow!("nobody listens on port {port}: there are {}", all.join(", ")));
    };
    let mut req = asked.request()?;
    let Some(listener) = bound.routes.listener(&asked.host) else {
        steps.push(format!("listener  none of port {port} serves {}", asked.host));
        return Ok("404 route_not_found".to_owned());
    };
    steps.push(format!("listener  {}", listener.name()));
    let uri = req.uri.clone();
    let Some(found) = listener.find(&req, &asked.host, uri.path(), uri.query()) else {
        steps.push("match     no rule".to_owned());
        return Ok("404 route_not_found".to_owned());
    };
    steps.push(format!("match     {}", found.rule.name));
    let scheme = if asked.is_tls { Scheme::Https } else { Scheme::Http };
    let client = Some(std::net::Ipv4Addr::LOCALHOST.into());
    let mut ctx = Context {
        scheme,
        client,
        port,
        matched_prefix: found.matched_prefix,
        net: Some(Arc::new(Silence)),
        ..Context::default()
    };
    if let Some(end) = run_chain("rule", found.chain, &mut req, &mut ctx, steps) {
        return Ok(end);
    }
    let split = match &found.rule.action {
        Action::Forward(split) => split,
        Action::Fail(why) => {
            steps.push(format!("action    the rule is invalid: {why}"));
            return Ok("500 rule_invalid".to_owned());
        }
    };
    let Some(share) = split.pick() else {
        steps.push("backend   none has a weight".to_owned());
        return Ok("500 no_backend".to_owned());
    };
    let cluster = match &share.target {
        Ok(cluster) => cluster,
        Err(why) => {
            steps.push(format!("backend   invalid: {why}"));
            return Ok("500 invalid_backend".to_owned());
        }
    };
    let shares = split.shares().len();
    let of = if shares > 1 { format!(" (one of {shares}, by weight)") } else { String::new() };
    steps.push(format!("backend   {}{of}", cluster.backend));
    if let Some(end) = run_chain("backend", &share.chain, &mut req, &mut ctx, steps) {
        return Ok(end);
    }
    steps.extend(ctx.mirrors.iter().map(|mirror| format!("mirror    {}", mirror.name())));
    Ok(cluster.backend.to_string())
}

/// Runs the policies of a rule or backend; `Some`: how it ends there.
fn run_chain(
    whose: &str,
    chain: &Chain,
    req: &mut policies::Request,
    ctx: &mut Context,
    steps: &mut Vec<String>,
) -> Option<String> {
    let (mut state, before) = (ChainState::default(), ctx.would_deny.len());
    let mut told = |name: &'static str, decided: Result<(), &Reply>| {
        let decided = match decided {
            Ok(()) => "passes".to_owned(),
            Err(reply) => end_of(reply),
        };
        steps.push(format!("policy    {} of the {whose}: {decided}", written(name)));
    };
    let decided = {
        let decision = pin!(chain.observed(req, ctx, &mut state, &mut told));
        match decision.poll(&mut task::Context::from_waker(task::Waker::noop())) {
            task::Poll::Ready(decided) => Some(decided),
            task::Poll::Pending => None,
        }
    };
    let Some(decided) = decided else {
        steps.push("policy    asks somebody else, whose answer is not simulated".to_owned());
        return Some("not known".to_owned());
    };
    let shadows = ctx.would_deny.iter().skip(before);
    steps.extend(shadows.map(|reason| format!("shadow    would have refused: {reason}")));
    match decided {
        Ok(()) => None,
        Err(reply) => Some(end_of(&reply)),
    }
}

fn end_of(reply: &Reply) -> String {
    format!("{} {}", reply.status.as_u16(), reply.reason)
}

#[cfg(test)]
mod tests;
