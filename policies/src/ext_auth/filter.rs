//! A request at the filter: from the cache, or asked for.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;

use super::body::{Shown, TooLarge, Wanted};
use super::cache::Cache;
use super::decision::Decision;
use super::{grpc, http as plain};
use crate::grpc::Failed;
use crate::mode::Mode;
use crate::{Answer, Call, Context, Filter, Reply, Request, Response, Upstream, Verdict};

/// A compiled [`ExtAuth`](super::ExtAuth).
#[derive(Debug)]
pub struct ExtAuthFilter {
    pub(super) service: Service,
    pub(super) upstream: Arc<dyn Upstream>,
    pub(super) body: Option<Wanted>,
    pub(super) timeout: Duration,
    pub(super) fail_open: bool,
    pub(super) on_error: StatusCode,
    pub(super) cache: Option<Cache>,
    pub(super) mode: Mode,
}

/// How the service is spoken to.
#[derive(Debug)]
pub(super) enum Service {
    Grpc(grpc::Service),
    Http(plain::Service),
}

/// What the response will be changed by.
#[derive(Debug, Default)]
pub struct Told(Option<Arc<Decision>>);

impl Service {
    fn ask(&self, req: &Request, body: Option<&Shown>, ctx: &Context, timeout: Duration) -> Option<Call> {
        match self {
            Self::Grpc(service) => service.ask(req, body, ctx, timeout),
            Self::Http(service) => service.ask(req, body, timeout),
        }
    }

    fn read(&self, answer: Answer) -> Result<Decision, Failed> {
        match self {
            Self::Grpc(_) => grpc::read(&answer),
            Self::Http(service) => service.read(answer),
        }
    }
}

impl Filter for ExtAuthFilter {
    type State = Told;

    fn is_shadow(&self) -> bool {
        self.mode == Mode::Shadow
    }

    fn calls(&self) -> bool {
        true
    }

    fn reads_body(&self) -> bool {
        self.body.is_some()
    }

    fn request<'a>(&'a self, req: &'a mut Request, ctx: &'a mut Context, state: &'a mut Told) -> Verdict<'a> {
        let Some((wanted, incoming)) = self.body.zip(ctx.incoming.clone()) else {
            return self.decide(req, None, ctx, state);
        };
        Verdict::Wait(Box::pin(async move {
            match wanted.read(req, incoming).await {
                Ok(shown) => self.decide(req, shown.as_ref(), ctx, state).decided().await,
                Err(TooLarge) => {
                    self.strip(req);
                    Err(Reply::new(StatusCode::PAYLOAD_TOO_LARGE, "ext_auth_body_too_large"))
                }
            }
        }))
    }

    fn response(&self, rsp: &mut Response, _: &Context, state: &Told) {
        if let Some(Decision::Allow(changes)) = state.0.as_deref() {
            changes.apply_to_response(rsp);
        }
    }
}

impl ExtAuthFilter {
    /// By an answer that is kept, or by asking.
    fn decide<'a>(
        &'a self,
        req: &'a mut Request,
        body: Option<&Shown>,
        ctx: &'a mut Context,
        state: &'a mut Told,
    ) -> Verdict<'a> {
        let key = self.cache.as_ref().map(|cache| (cache, cache.key(req, body, ctx.scheme)));
        if let Some(decision) = key.as_ref().and_then(|(cache, key)| cache.get(key)) {
            return match self.carry_out(decision, req, state) {
                Ok(()) => Verdict::Continue,
                Err(reply) => Verdict::Reply(reply),
            };
        }
        let asked = ctx.net.clone().zip(self.service.ask(req, body, ctx, self.timeout));
        Verdict::Wait(Box::pin(async move {
            let Some((net, call)) = asked else { return self.without(&Failed::Unusable, req, ctx) };
            let answer = net.call(&self.upstream, call).await.map_err(Failed::from);
            match answer.and_then(|answer| self.service.read(answer)) {
                Ok(decision) => {
                    let decision = Arc::new(decision);
                    if let Some((cache, key)) = key {
                        cache.put(key, decision.clone());
                    }
                    self.carry_out(decision, req, state)
                }
                Err(failed) => self.without(&failed, req, ctx),
            }
        }))
    }

    fn carry_out(&self, decision: Arc<Decision>, req: &mut Request, state: &mut Told) -> Result<(), Reply> {
        self.strip(req);
        match &*decision {
            Decision::Allow(changes) => {
                changes.apply(req);
                state.0 = Some(decision);
                Ok(())
            }
            Decision::Deny(reply) => Err(reply.clone()),
        }
    }

    /// What becomes of a request without a decision.
    fn without(&self, failed: &Failed, req: &mut Request, ctx: &mut Context) -> Result<(), Reply> {
        self.strip(req);
        let reply = match failed {
            Failed::Late => Reply::new(self.on_error, "ext_auth_timeout"),
            Failed::Service | Failed::Unusable => Reply::new(self.on_error, "ext_auth_error"),
        };
        if self.fail_open && *failed != Failed::Unusable {
            ctx.would_deny.push(reply.reason);
            return Ok(());
        }
        Err(reply)
    }

    /// Takes away what only the service may say.
    fn strip(&self, req: &mut Request) {
        if let Service::Http(service) = &self.service {
            for name in &service.to_backend {
                req.remove_header(name);
            }
        }
    }
}
