//! A request at the service.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use smallvec::SmallVec;

use super::breaker::Breaker;
use super::entries::Entries;
use crate::changes::{Change, Changes, How, Unusable};
use crate::grpc::{self, Failed};
use crate::rate_limit::filter::{Price, refuse};
use crate::rate_limit::headers::{Names, seconds};
use crate::rate_limit::rate::{Rate, Taken};
use crate::rate_limit::select::Selector;
use crate::rls::{self, Code, Descriptor, DescriptorStatus, Override};
use crate::{Answer, Call, Context, Reply, Request, Response, Upstream};

/// What a refused client is told to wait when the service does not say.
const UNSAID: Duration = Duration::from_secs(1);

/// Compiled [`ExactLimits`](super::ExactLimits).
#[derive(Debug)]
pub(in crate::rate_limit) struct Exact {
    pub(super) upstream: Arc<dyn Upstream>,
    pub(super) authority: HeaderValue,
    pub(super) domain: String,
    pub(super) timeout: Duration,
    pub(super) fail_closed: bool,
    pub(super) breaker: Breaker,
    pub(super) clock: fn() -> Duration,
    pub(super) rules: Box<[Rule]>,
}

/// A limit.
#[derive(Debug)]
pub(in crate::rate_limit) struct Rule {
    pub(in crate::rate_limit) name: Arc<str>,
    pub(in crate::rate_limit) select: Selector,
    pub(in crate::rate_limit) rate: Rate,
    pub(in crate::rate_limit) limit: Override,
    pub(in crate::rate_limit) price: Price,
    pub(in crate::rate_limit) is_shared: bool,
    pub(in crate::rate_limit) is_shadow: bool,
    pub(in crate::rate_limit) names: Option<Names>,
    pub(in crate::rate_limit) tells_older: bool,
}

/// What was said of a request.
#[derive(Debug, Default)]
pub(in crate::rate_limit) struct Told {
    /// Of limits, by the indices of their rules.
    taken: SmallVec<[(usize, Taken); 2]>,
    changes: Changes,
}

/// What is asked, and for which rules.
pub(in crate::rate_limit) struct Asked {
    /// `None`: it cannot be asked for.
    call: Option<Call>,
    rules: SmallVec<[usize; 4]>,
}

impl Exact {
    /// `None`: no rule is about the request.
    pub(in crate::rate_limit) fn ask(&self, req: &Request, ctx: &Context) -> Option<Asked> {
        let (mut rules, mut descriptors) = (SmallVec::new(), Vec::new());
        for (at, rule) in self.rules.iter().enumerate() {
            if let Some(descriptor) = rule.descriptor(req, ctx) {
                rules.push(at);
                descriptors.push(descriptor);
            }
        }
        if rules.is_empty() {
            return None;
        }
        let message = rls::Request { domain: self.domain.clone(), descriptors, hits_addend: 0 };
        let call = grpc::call(rls::SHOULD_RATE_LIMIT, &self.authority, &message, self.timeout);
        Some(Asked { call, rules })
    }

    /// Asks, and does what is said.
    ///
    /// # Errors
    /// The refusal.
    pub(in crate::rate_limit) async fn decide(
        &self,
        asked: Asked,
        req: &mut Request,
        ctx: &mut Context,
        told: &mut Told,
    ) -> Result<(), Reply> {
        if !self.breaker.permits((self.clock)()) {
            return self.without(Failed::Service, ctx);
        }
        match self.answer(asked.call, ctx).await {
            Ok((response, changes)) => {
                self.breaker.succeeded();
                self.carry_out(&asked.rules, &response, changes, (req, ctx, told))
            }
            Err(failed) => {
                self.breaker.failed((self.clock)());
                self.without(failed, ctx)
            }
        }
    }

    async fn answer(&self, call: Option<Call>, ctx: &Context) -> Result<(rls::Response, Changes), Failed> {
        let (net, call) = ctx.net.clone().zip(call).ok_or(Failed::Unusable)?;
        let answer: Answer = net.call(&self.upstream, call).await?;
        let mut response: rls::Response = grpc::read(&answer)?;
        if response.overall_code() == Code::Unknown {
            return Err(Failed::Unusable);
        }
        let changes = |list: Vec<rls::HeaderValue>| list.into_iter().map(change).collect::<Result<_, _>>();
        let request = changes(std::mem::take(&mut response.request_headers_to_add))?;
        let of_response = changes(std::mem::take(&mut response.response_headers_to_add))?;
        let changes = Changes { request, response: of_response, ..Changes::default() }.checked()?;
        Ok((response, changes))
    }

    fn carry_out(
        &self,
        asked: &[usize],
        response: &rls::Response,
        changes: Changes,
        (req, ctx, told): (&mut Request, &mut Context, &mut Told),
    ) -> Result<(), Reply> {
        // A service that does not say which limit is over leaves only all of them.
        let says_each = response.statuses.len() == asked.len();
        let status = |at: usize| response.statuses.get(at).filter(|_| says_each);
        let is_over = response.overall_code() == Code::OverLimit;
        let mut refused = None;
        for (at, rule) in asked.iter().enumerate() {
            let Some((index, rule)) = self.rules.get(*rule).map(|found| (*rule, found)) else { continue };
            let is_this = is_over && status(at).is_none_or(|status| status.code() == Code::OverLimit);
            let taken = status(at).and_then(|status| taken(status, !is_this));
            told.taken.extend(taken.map(|taken| (index, taken)));
            if is_this && rule.is_shadow {
                ctx.denied_by = Some(rule.name.clone());
                ctx.would_deny.push("rate_limited");
            } else if is_this && refused.is_none() {
                refused = Some((rule, taken));
            }
        }
        let Some((rule, taken)) = refused else {
            changes.apply(req);
            told.changes = changes;
            return Ok(());
        };
        ctx.denied_by = Some(rule.name.clone());
        let wait = taken.map(|taken| taken.wait).filter(|wait| !wait.is_zero()).unwrap_or(UNSAID);
        let mut reply = refuse(&rule.name, rule.names.is_some(), wait, ctx.denials);
        if !response.raw_body.is_empty() {
            reply.body.clone_from(&response.raw_body);
            reply.headers.retain(|(name, _)| name != header::CONTENT_TYPE);
        }
        let fields = changes.response.into_iter();
        reply.headers.extend(fields.map(|Change { name, value, .. }| (name, value)));
        Err(reply)
    }

    /// What becomes of a request that nobody has decided.
    fn without(&self, failed: Failed, ctx: &mut Context) -> Result<(), Reply> {
        let unavailable = StatusCode::SERVICE_UNAVAILABLE;
        let reply = match failed {
            Failed::Late => Reply::new(unavailable, "rate_limit_timeout"),
            Failed::Service | Failed::Unusable => Reply::new(unavailable, "rate_limit_error"),
        };
        if !self.fail_closed {
            ctx.would_deny.push(reply.reason);
            return Ok(());
        }
        Err(reply.with(header::RETRY_AFTER, HeaderValue::from(seconds(UNSAID))))
    }

    /// What clients are told of limits, with those that are told of others.
    pub(in crate::rate_limit) fn told<'t>(
        &'t self,
        told: &'t Told,
    ) -> impl Iterator<Item = (&'t Rule, &'t Taken)> {
        told.taken.iter().filter_map(|(rule, taken)| Some((self.rules.get(*rule)?, taken)))
    }
}

impl Told {
    /// What the service wants added.
    pub(in crate::rate_limit) fn apply(&self, rsp: &mut Response) {
        self.changes.apply_to_response(rsp);
    }
}

impl Rule {
    /// `None`: it is not about the request.
    fn descriptor(&self, req: &Request, ctx: &Context) -> Option<Descriptor> {
        let mut entries = Entries::default();
        entries.push("rule", &*self.name);
        if !self.is_shared
            && let Some((kind, route)) = &ctx.route
        {
            entries.push("route", format!("{kind}/{route}"));
        }
        if !self.select.holds(req, ctx, &mut entries) {
            return None;
        }
        // 1 is what is meant without.
        let cost = Some(self.price.of(&req.headers, 1)).filter(|cost| *cost != 1);
        Some(Descriptor { entries: entries.0, limit: Some(self.limit), hits_addend: cost })
    }
}

/// As Envoy does it: both are added to what is there.
fn change(field: rls::HeaderValue) -> Result<Change, Unusable> {
    let value: Bytes = if field.raw_value.is_empty() { field.value } else { field.raw_value };
    Change::new(&field.key, value, How::Append)
}

/// `None`: nothing is said of a limit.
fn taken(status: &DescriptorStatus, is_admitted: bool) -> Option<Taken> {
    status.current_limit.as_ref()?;
    let wait = status.duration_until_reset.map_or(0, |span| span.in_nanos());
    Some(Taken { is_admitted, remaining: status.limit_remaining.into(), wait: Duration::from_nanos(wait) })
}
