//! One request, decided.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::sync::Arc;

use smallvec::{SmallVec, smallvec};

use super::Unit;
use super::counters::Counters;
use super::limits::{Limits, Rule};
use super::proto::{Code, Descriptor, DescriptorStatus, RateLimit, Request, Response, Span};

/// Bytes of keys and values of one descriptor.
const LONGEST: usize = 16 << 10;
/// Descriptors of one request.
const MOST: usize = 256;

/// Why a request cannot be decided: it is wrong itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Asked {
    /// It has none.
    #[error("rate limit domain must not be empty")]
    NoDomain,
    /// It has none.
    #[error("rate limit descriptor list must not be empty")]
    NoDescriptor,
    /// It has more than we look at.
    #[error("more than {MOST} descriptors, or one of more than {LONGEST} bytes")]
    TooMuch,
    /// A limit it brings has none.
    #[error("limit.unit of a descriptor is none")]
    NoUnit,
}

/// A descriptor's limit, and what stands for its values.
type Held<'l> = (Arc<Rule>, SmallVec<[Option<&'l str>; 4]>);

/// What is to be counted for a descriptor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hit {
    /// Which counter.
    pub key: String,
    /// When its window ends, in seconds since 1970.
    pub ends: u64,
    /// How much. 0 asks without counting.
    pub cost: u64,
}

/// A request whose limits are found: what it counts, and then what it is told.
#[derive(Debug)]
pub struct Case {
    hits: Vec<Hit>,
    /// Of each descriptor: what it is told without counting, or the limit of the next hit.
    descriptors: Vec<Result<Counted, DescriptorStatus>>,
    now: u64,
}

/// The limit of a hit.
#[derive(Debug)]
struct Counted {
    rule: Arc<Rule>,
    most: u32,
    unit: Unit,
    ends: u64,
}

/// Counts a request in each limit that it has, in this process, and says whether it may go on.
///
/// # Errors
/// A request that is wrong itself.
pub fn decide(limits: &Limits, counters: &Counters, request: &Request, now: u64) -> Result<Response, Asked> {
    let case = Case::of(limits, request, now)?;
    let counts = counters.count(case.hits(), now);
    Ok(case.response(&counts))
}

impl Case {
    /// Finds the limits of a request.
    ///
    /// # Errors
    /// A request that is wrong itself.
    pub fn of(limits: &Limits, request: &Request, now: u64) -> Result<Self, Asked> {
        let Request { domain, descriptors, hits_addend } = request;
        if domain.is_empty() {
            return Err(Asked::NoDomain);
        }
        if descriptors.is_empty() {
            return Err(Asked::NoDescriptor);
        }
        if descriptors.len() > MOST || descriptors.iter().any(|descriptor| length(descriptor) > LONGEST) {
            return Err(Asked::TooMuch);
        }
        let mut held = Vec::with_capacity(descriptors.len());
        for descriptor in descriptors {
            held.push(limit(limits, domain, descriptor)?);
        }
        let replaced: HashSet<&str> =
            held.iter().flatten().flat_map(|(rule, _)| rule.replaces.iter().map(String::as_str)).collect();
        let mut case = Self { hits: Vec::new(), descriptors: Vec::with_capacity(descriptors.len()), now };
        for (descriptor, held) in descriptors.iter().zip(&held) {
            let held =
                held.as_ref().filter(|(rule, _)| rule.name.is_empty() || !replaced.contains(&*rule.name));
            // A cost of 0 asks without counting, where the descriptor says it; else it is not said, and means 1.
            let cost = descriptor.hits_addend.unwrap_or_else(|| u64::from(*hits_addend).max(1));
            case.add(domain, descriptor, held, cost);
        }
        Ok(case)
    }

    fn add(&mut self, domain: &str, descriptor: &Descriptor, held: Option<&Held<'_>>, cost: u64) {
        let free = |limit_remaining| DescriptorStatus {
            code: Code::Ok.into(),
            current_limit: None,
            limit_remaining,
            duration_until_reset: None,
        };
        let Some((rule, shared)) = held else { return self.descriptors.push(Err(free(0))) };
        let Some((most, unit)) = rule.limit else { return self.descriptors.push(Err(free(u32::MAX))) };
        let span = unit.duration().as_secs();
        let begun = self.now / span * span;
        let ends = begun + span;
        self.hits.push(Hit { key: key(domain, descriptor, shared, begun), ends, cost });
        self.descriptors.push(Ok(Counted { rule: Arc::clone(rule), most, unit, ends }));
    }

    /// What is to be counted, in order.
    #[must_use]
    pub fn hits(&self) -> &[Hit] {
        &self.hits
    }

    /// What to answer when so much came in the windows of the hits, with them.
    #[must_use]
    pub fn response(self, counts: &[u64]) -> Response {
        let mut counts = counts.iter();
        let status = |descriptor| match descriptor {
            // There is one for each; without it nobody is let through.
            Ok(counted) => Counted::status(&counted, counts.next().copied().unwrap_or(u64::MAX), self.now),
            Err(free) => free,
        };
        let statuses: Vec<_> = self.descriptors.into_iter().map(status).collect();
        let is_over = statuses.iter().any(|status| status.code() == Code::OverLimit);
        let overall = if is_over { Code::OverLimit } else { Code::Ok };
        Response { overall_code: overall.into(), statuses, ..Response::default() }
    }
}

impl Counted {
    fn status(&self, count: u64, now: u64) -> DescriptorStatus {
        let Self { rule, most, unit, ends } = self;
        let most = u64::from(*most);
        let is_over = count > most && !rule.shadow_mode && !rule.quota_mode;
        DescriptorStatus {
            code: if is_over { Code::OverLimit } else { Code::Ok }.into(),
            current_limit: Some(RateLimit {
                requests_per_unit: self.most,
                unit: unit.number(),
                name: rule.name.clone(),
            }),
            limit_remaining: most.saturating_sub(count) as u32,
            duration_until_reset: Some(Span { seconds: (ends - now) as i64, nanos: 0 }),
        }
    }
}

fn length(descriptor: &Descriptor) -> usize {
    descriptor.entries.iter().map(|entry| entry.key.len() + entry.value.len() + 2).sum()
}

fn limit<'l>(limits: &'l Limits, domain: &str, descriptor: &Descriptor) -> Result<Option<Held<'l>>, Asked> {
    // Of a domain that nobody knows not even a limit that the request brings counts.
    if !limits.domains.contains_key(domain) {
        return Ok(None);
    }
    if let Some(own) = descriptor.limit {
        let unit = Unit::numbered(own.unit).ok_or(Asked::NoUnit)?;
        let rule = Rule {
            limit: Some((own.requests_per_unit, unit)),
            name: String::new(),
            replaces: Vec::new(),
            shadow_mode: false,
            quota_mode: false,
        };
        return Ok(Some((Arc::new(rule), smallvec![None; descriptor.entries.len()])));
    }
    Ok(limits.find(domain, &descriptor.entries).map(|(rule, shared)| (rule.clone(), shared)))
}

/// What its counter is called. Lengths tell apart what would else be one text.
fn key(domain: &str, descriptor: &Descriptor, shared: &[Option<&str>], begun: u64) -> String {
    let mut key = format!("{}:{domain}", domain.len());
    for (entry, shared) in descriptor.entries.iter().zip(shared) {
        let value = shared.unwrap_or(&entry.value);
        // Writing to a String cannot fail.
        let _ = write!(key, " {}:{}={}:{value}", entry.key.len(), entry.key, value.len());
    }
    let _ = write!(key, " {begun}");
    key
}
