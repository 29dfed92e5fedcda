//! What becomes of a request.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use smallvec::SmallVec;

use super::DEAREST;
use super::counters::Counters;
use super::exact::{Exact, Told};
use super::headers::{Names, older, seconds};
use super::key::{Bytes as Id, Key};
use super::leased::Leased;
use super::rate::{Rate, Taken};
use super::select::Selector;
use crate::denials::Body;
use crate::mode::Mode;
use crate::{Context, Filter, Reply, Request, Response, Verdict};

/// A compiled [`RateLimit`](super::RateLimit).
#[derive(Debug)]
pub struct RateLimitFilter {
    pub(super) rules: Box<[Rule]>,
    pub(super) exact: Option<Exact>,
    pub(super) clock: fn() -> Duration,
    pub(super) mode: Mode,
}

/// A limit.
#[derive(Debug)]
pub(super) struct Rule {
    pub(super) name: Arc<str>,
    pub(super) select: Selector,
    pub(super) rate: Rate,
    pub(super) meter: Meter,
    /// Of its keys.
    pub(super) parts: usize,
    pub(super) request: Price,
    pub(super) response: Option<Price>,
    pub(super) is_shared: bool,
    pub(super) is_shadow: bool,
    pub(super) names: Option<Names>,
    pub(super) tells_older: bool,
}

/// Where it counts.
#[derive(Debug)]
pub(super) enum Meter {
    /// Here.
    Local(Arc<Counters>),
    /// At all proxies.
    Leased(Arc<Leased>),
}

impl Meter {
    fn take(&self, key: &[u8], rate: Rate, now: Duration, cost: u64) -> Taken {
        match self {
            Self::Local(counters) => counters.take(counters.hashed(key), rate, now, cost),
            Self::Leased(leased) => leased.take(key, rate, now, cost),
        }
    }

    fn charge(&self, key: &[u8], rate: Rate, now: Duration, cost: u64) {
        match self {
            Self::Local(counters) => counters.charge(counters.hashed(key), rate, now, cost),
            Self::Leased(leased) => leased.charge(key, now, cost),
        }
    }

    fn give_back(&self, key: &[u8], rate: Rate, now: Duration, cost: u64) {
        match self {
            Self::Local(counters) => counters.give_back(counters.hashed(key), rate, now, cost),
            Self::Leased(leased) => leased.give_back(key, now, cost),
        }
    }

    fn count(&self, is_admitted: bool) {
        match self {
            Self::Local(_) => {}
            Self::Leased(leased) => leased.count(is_admitted),
        }
    }
}

/// What something costs.
#[derive(Debug)]
pub(super) enum Price {
    Number(u64),
    Header(HeaderName),
}

impl Price {
    pub(super) fn of(&self, headers: &HeaderMap, otherwise: u64) -> u64 {
        match self {
            Self::Number(number) => *number,
            Self::Header(name) => {
                let mut lines = headers.get_all(name).iter();
                let said =
                    lines.next().filter(|_| lines.next().is_none()).and_then(|line| line.to_str().ok());
                let digits = said.filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
                digits.and_then(|text| text.parse().ok()).map_or(otherwise, |cost: u64| cost.min(DEAREST))
            }
        }
    }
}

/// What a request took, or did not get, of one limit.
#[derive(Debug)]
pub(super) struct Share {
    rule: usize,
    key: Id,
    cost: u64,
    taken: Taken,
}

/// What a request took.
#[derive(Debug, Default)]
pub struct Shares {
    own: SmallVec<[Share; 2]>,
    /// Where a service was asked.
    told: Option<Box<Told>>,
}

impl Filter for RateLimitFilter {
    type State = Shares;

    const BY_ROUTE: bool = true;

    fn calls(&self) -> bool {
        self.exact.is_some()
    }

    fn is_shadow(&self) -> bool {
        self.mode == Mode::Shadow
    }

    fn request<'a>(
        &'a self,
        req: &'a mut Request,
        ctx: &'a mut Context,
        shares: &'a mut Shares,
    ) -> Verdict<'a> {
        if let Err(reply) = self.take(req, ctx, shares) {
            return Verdict::Reply(reply);
        }
        if let Some(exact) = &self.exact
            && let Some(asked) = exact.ask(req, ctx)
        {
            return Verdict::Wait(Box::pin(async move {
                let told = shares.told.insert(Box::default());
                let decided = exact.decide(asked, req, ctx, told).await;
                match &decided {
                    Ok(()) => self.count(shares),
                    Err(_) => self.give_back(shares, (self.clock)()),
                }
                decided
            }));
        }
        self.count(shares);
        Verdict::Continue
    }

    fn response(&self, rsp: &mut Response, _: &Context, shares: &Shares) {
        let own = || {
            shares.own.iter().filter_map(|share| {
                let rule = self.rules.get(share.rule)?;
                Some((rule.names.as_ref(), rule.tells_older, rule.rate, &share.taken))
            })
        };
        let exact = || {
            let asked = self.exact.as_ref().zip(shares.told.as_deref());
            asked
                .into_iter()
                .flat_map(|(exact, told)| exact.told(told))
                .map(|(rule, taken)| (rule.names.as_ref(), rule.tells_older, rule.rate, taken))
        };
        let all = || own().chain(exact());
        Names::write(rsp, all().filter_map(|(names, .., taken)| Some((names?, taken))));
        older(rsp, all().filter(|(_, tells_older, ..)| *tells_older).map(|(.., rate, taken)| (rate, taken)));
        let now = (self.clock)();
        for share in shares.own.iter().filter(|share| share.taken.is_admitted) {
            if let Some(rule) = self.rules.get(share.rule)
                && let Some(price) = &rule.response
            {
                rule.meter.charge(&share.key, rule.rate, now, price.of(&rsp.headers, 0));
            }
        }
        if let Some(told) = &shares.told {
            told.apply(rsp);
        }
    }
}

impl RateLimitFilter {
    /// Takes of every limit that costs no call.
    ///
    /// # Errors
    /// The refusal.
    fn take(&self, req: &Request, ctx: &mut Context, shares: &mut Shares) -> Result<(), Reply> {
        let now = (self.clock)();
        for (at, rule) in self.rules.iter().enumerate() {
            let Some(key) = rule.key(req, ctx) else { continue };
            let cost = rule.request.of(&req.headers, 1);
            let taken = rule.meter.take(&key, rule.rate, now, cost);
            shares.own.push(Share { rule: at, key, cost, taken });
            if taken.is_admitted {
                continue;
            }
            rule.meter.count(false);
            ctx.denied_by = Some(rule.name.clone());
            if rule.is_shadow {
                ctx.would_deny.push("rate_limited");
                continue;
            }
            self.give_back(shares, now);
            return Err(refuse(&rule.name, rule.names.is_some(), taken.wait, ctx.denials));
        }
        Ok(())
    }

    /// Counts those who were admitted by all.
    fn count(&self, shares: &Shares) {
        for share in shares.own.iter().filter(|share| share.taken.is_admitted) {
            if let Some(rule) = self.rules.get(share.rule) {
                rule.meter.count(true);
            }
        }
    }

    /// Whoever is refused takes nothing of other limits.
    fn give_back(&self, shares: &mut Shares, now: Duration) {
        for share in shares.own.iter_mut().filter(|share| share.taken.is_admitted) {
            if let Some(rule) = self.rules.get(share.rule) {
                rule.meter.give_back(&share.key, rule.rate, now, share.cost);
                // What a response costs is charged to those who were admitted.
                share.taken.is_admitted = false;
                share.taken.remaining =
                    share.taken.remaining.saturating_add(share.cost).min(rule.rate.burst());
            }
        }
    }
}

impl Rule {
    /// The bucket of a request; `None`: the limit is not about it.
    fn key(&self, req: &Request, ctx: &Context) -> Option<Id> {
        let mut key = Key::of(self.parts, matches!(self.meter, Meter::Leased(_)));
        if !self.is_shared
            && let Some((kind, route)) = &ctx.route
        {
            key.part(kind.as_bytes());
            key.part(route.as_bytes());
        }
        self.select.holds(req, ctx, &mut key).then(|| key.finish())
    }
}

/// RFC 6585 section 4. `is_told`: clients are told the names of limits.
pub(super) fn refuse(name: &str, is_told: bool, wait: Duration, body: Body) -> Reply {
    let mut reply = Reply::new(StatusCode::TOO_MANY_REQUESTS, "rate_limited")
        .with(header::RETRY_AFTER, HeaderValue::from(seconds(wait)));
    if body == Body::Problem && is_told {
        // A name needs no escape.
        reply.body = Bytes::from(format!(
            r#"{{"type":"https://iana.org/assignments/http-problem-types#quota-exceeded","title":"Too Many Requests","status":429,"reason":"rate_limited","violated-policies":["{name}"]}}"#
        ));
        reply = reply.with(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    }
    reply
}
