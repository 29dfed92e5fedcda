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

/// Counts a request in each limit that it has, and says whether it may go on.
///
/// # Errors
/// A request that is wrong itself.
pub fn decide(limits: &Limits, counters: &Counters, request: &Request, now: u64) -> Result<Response, Asked> {
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
    let mut overall = Code::Ok;
    let statuses = descriptors.iter().zip(&held).map(|(descriptor, held)| {
        let held = held.as_ref().filter(|(rule, _)| rule.name.is_empty() || !replaced.contains(&*rule.name));
        // A cost of 0 asks without counting, where the descriptor says it; else it is not said, and means 1.
        let cost = descriptor.hits_addend.unwrap_or_else(|| u64::from(*hits_addend).max(1));
        let status = status(domain, descriptor, held, counters, now, cost);
        if status.code() == Code::OverLimit {
            overall = Code::OverLimit;
        }
        status
    });
    let statuses = statuses.collect();
    Ok(Response { overall_code: overall.into(), statuses, ..Response::default() })
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

fn status(
    domain: &str,
    descriptor: &Descriptor,
    held: Option<&Held<'_>>,
    counters: &Counters,
    now: u64,
    cost: u64,
) -> DescriptorStatus {
    let free = |limit_remaining| DescriptorStatus {
        code: Code::Ok.into(),
        current_limit: None,
        limit_remaining,
        duration_until_reset: None,
    };
    let Some((rule, shared)) = held else { return free(0) };
    let Some((most, unit)) = rule.limit else { return free(u32::MAX) };
    let span = unit.duration().as_secs();
    let begun = now / span * span;
    let key = key(domain, descriptor, shared, begun);
    let count = counters.add(&key, begun + span, now, cost).saturating_add(cost);
    let is_over = count > u64::from(most) && !rule.shadow_mode && !rule.quota_mode;
    DescriptorStatus {
        code: if is_over { Code::OverLimit } else { Code::Ok }.into(),
        current_limit: Some(RateLimit {
            requests_per_unit: most,
            unit: unit.number(),
            name: rule.name.clone(),
        }),
        limit_remaining: u64::from(most).saturating_sub(count) as u32,
        duration_until_reset: Some(Span { seconds: (begun + span - now) as i64, nanos: 0 }),
    }
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
