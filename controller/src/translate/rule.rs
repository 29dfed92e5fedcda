//! One rule of a route, HTTP or gRPC: the same steps, whatever the kind.

use std::collections::BTreeMap;

use config::{Action, BackendRef, HttpMatch, HttpRule, PathMatch, Target, WeightedBackend};
use policies::Duration;
use policies::retry::Retry;
use policies::timeouts::Timeouts;

use super::backend_ref::{Backends, Cluster, Reference};
use super::facts::Fact;
use super::filter;
use super::guarded::Guarded;
use super::route::Verdict;
use super::session::SessionSource;
use crate::ObjectKey;
use crate::resources::ObjectKind;
use crate::status::{Problem, condition_type, reason};

/// A rule as the user wrote it.
#[derive(Debug)]
pub(crate) struct Source<'a> {
    pub(crate) name: Option<&'a str>,
    /// Each match, or what is wrong with it. Empty: every request.
    pub(crate) matches: Vec<Result<HttpMatch, String>>,
    pub(crate) filters: Vec<filter::Source<'a>>,
    pub(crate) backends: Vec<Backend<'a>>,
    /// `request`, `backendRequest`.
    pub(crate) timeouts: Option<(Option<&'a str>, Option<&'a str>)>,
    pub(crate) retry: Option<RetrySource<'a>>,
    pub(crate) session: Option<SessionSource<'a>>,
}

/// A backend as the user wrote it.
#[derive(Debug)]
pub(crate) struct Backend<'a> {
    pub(crate) reference: Reference<'a>,
    pub(crate) weight: Option<i32>,
    pub(crate) filters: Vec<filter::Source<'a>>,
}

/// A retry as the user wrote it.
#[derive(Debug)]
pub(crate) struct RetrySource<'a> {
    pub(crate) codes: &'a [i64],
    pub(crate) attempts: Option<i64>,
    pub(crate) backoff: Option<&'a str>,
}

/// What a rule is translated with.
#[derive(Debug)]
pub(crate) struct Context<'a, 'c> {
    pub(crate) kind: ObjectKind,
    pub(crate) namespace: &'a str,
    pub(crate) name: &'a str,
    /// Services it stands in front of and nowhere else: their clients may go there anyway, and so need no grant.
    pub(crate) dialled: Vec<(String, String)>,
    pub(crate) cluster: &'a Cluster<'c>,
    pub(crate) backends: &'a mut Backends,
    /// Ids of the backends the route uses.
    pub(crate) uses: &'a mut Vec<usize>,
    /// SecurityPolicies of the route.
    pub(crate) guarded: Guarded,
}

impl Context<'_, '_> {
    /// Follows a reference and notes that the route uses what it led to, usable or not: a BackendTLSPolicy
    /// that makes it unusable still acts through this route.
    pub(crate) fn backend(&mut self, reference: Reference<'_>) -> Result<BackendRef, Problem> {
        let from = (self.kind, self.namespace, self.dialled.as_slice());
        let (id, result) = match self.backends.resolve(self.cluster, from, reference) {
            Ok((id, backend)) => (Some(id), Ok(backend)),
            Err((problem, id)) => (id, Err(problem)),
        };
        if let Some(id) = id.filter(|id| !self.uses.contains(id)) {
            self.uses.push(id);
        }
        result
    }

    /// Weights of rules that Rollouts move, by index.
    fn moved(&self) -> BTreeMap<usize, Vec<u32>> {
        let route = ObjectKey::new(self.kind, self.namespace, self.name);
        let weights = self.cluster.rollouts.weights(&route);
        self.cluster.note(Fact::Rollouts(route));
        weights
    }
}

/// A rule, translated.
#[derive(Debug)]
struct Translated {
    /// `None`: nothing is left that a request could match.
    rule: Option<HttpRule>,
    /// Each with its place inside the rule. Their condition says whether a reference is at fault or the rule.
    problems: Vec<Problem>,
    /// The rule is invalid as a whole.
    is_invalid: bool,
}

/// Translates the rules of a route.
pub(crate) fn all(sources: Vec<Source<'_>>, cx: &mut Context<'_, '_>) -> (Vec<HttpRule>, Verdict) {
    let mut verdict = Verdict::default();
    let count = sources.len();
    let moved = cx.moved();
    let (mut rules, mut names, mut invalid) = (Vec::with_capacity(count), Vec::new(), 0);
    for (index, source) in sources.into_iter().enumerate() {
        let name = source.name;
        let mut translated = translate(index, source, &names, cx);
        if let (Some(weights), Some(rule)) = (moved.get(&index), &mut translated.rule)
            && let Action::Forward(shares) = &mut rule.action
        {
            shares.iter_mut().zip(weights).for_each(|(share, weight)| share.weight = *weight);
        }
        names.extend(name);
        invalid += usize::from(translated.is_invalid);
        rules.extend(translated.rule);
        let place = format_args!("rules[{index}].").to_string();
        verdict.problems.extend(translated.problems.into_iter().map(|problem| problem.at(&place)));
    }
    verdict.is_invalid = invalid > 0 && invalid == count;
    (rules, verdict)
}

/// Translates a rule. `names` are those of the rules before it.
fn translate(index: usize, source: Source<'_>, names: &[&str], cx: &mut Context<'_, '_>) -> Translated {
    let mut problems = Vec::new();
    if let Some(name) = source.name.filter(|name| names.contains(name)) {
        problems.push(Problem::unsupported(format!("name: {name:?} is used twice in this route")));
    }
    let mut matches = Vec::with_capacity(source.matches.len());
    let written = source.matches.len();
    for (index, r#match) in source.matches.into_iter().enumerate() {
        match r#match {
            Ok(r#match) => matches.push(r#match),
            Err(problem) => problems.push(Problem::unsupported(format!("matches[{index}].{problem}"))),
        }
    }
    let has_one_prefix = match (written, matches.as_slice()) {
        (0, _) => true,
        (1, [only]) => matches!(only.path, PathMatch::Prefix(_)),
        _ => false,
    };
    let mut filters = filter::translate(source.filters, has_one_prefix, cx);
    if filters.policies.redirect.is_some() && !source.backends.is_empty() {
        let message = "filters: RequestRedirect cannot be combined with backendRefs: keep one";
        filters.broken(Problem::accepted(reason::INCOMPATIBLE_FILTERS, message));
    }
    let mut set = |problem: Problem| filters.problems.push(problem);
    match source.timeouts.map(|(request, backend)| timeouts(request, backend)) {
        Some(Ok(timeouts)) => filters.policies.timeouts = Some(timeouts),
        Some(Err(problem)) => set(problem),
        None => {}
    }
    match source.retry.as_ref().map(retry) {
        Some(Ok(retry)) => filters.policies.retry = Some(retry),
        Some(Err(problem)) => set(problem),
        None => {}
    }
    let place = source.name.map_or_else(|| index.to_string(), str::to_owned);
    match source
        .session
        .map(|session| session.read(&format!("{}/{}/{}#{place}", cx.kind.as_str(), cx.namespace, cx.name)))
    {
        Some(Ok(session)) => filters.policies.session_persistence = Some(session),
        Some(Err(problem)) => filters.problems.push(problem),
        None => {}
    }
    if let Err(problem) = filter::check(&filters.policies) {
        filters.problems.push(problem);
    }
    problems.append(&mut filters.problems);
    let is_broken = problems.iter().any(|problem| problem.condition == condition_type::ACCEPTED);
    let shares = source.backends.len();
    let (backends, broken_shares) = backends(source.backends, has_one_prefix, &mut problems, cx);
    // A share that is broken answers 500 alone, unless all are.
    let all_shares = broken_shares > 0 && broken_shares == shares;
    let is_invalid = is_broken || all_shares;
    let action = if is_invalid || filters.is_broken {
        let message = problems.iter().map(|p| p.message.as_str()).collect::<Vec<_>>().join("; ");
        Action::Fail { message }
    } else {
        Action::Forward(backends)
    };
    let policies = match action {
        Action::Fail { .. } => config::PolicySet::default(),
        Action::Forward(_) => filters.policies,
    };
    let route = (cx.kind, cx.namespace, cx.name);
    let attached = cx.guarded.rule(cx.cluster, route, source.name);
    // A rule whose matches are all unreadable must not become a rule that matches everything.
    let is_matchable = written == 0 || !matches.is_empty();
    let name = source.name.map(str::to_owned);
    let rule = is_matchable.then_some(HttpRule { name, matches, policies, attached, action });
    Translated { rule, problems, is_invalid }
}

/// The shares of a rule, and how many of them their own filters or weight break.
pub(crate) fn backends(
    sources: Vec<Backend<'_>>,
    has_one_prefix: bool,
    problems: &mut Vec<Problem>,
    cx: &mut Context<'_, '_>,
) -> (Vec<WeightedBackend>, usize) {
    let (mut shares, mut broken) = (Vec::with_capacity(sources.len()), 0);
    for (index, backend) in sources.into_iter().enumerate() {
        let place = || format!("backendRefs[{index}]");
        let (weight, weight_problem) = match backend.weight.unwrap_or(1) {
            weight @ 0..=1_000_000 => (weight.unsigned_abs(), None),
            other => (1, Some(format!("{}.weight: {other} is not between 0 and 1000000", place()))),
        };
        let mut filters = filter::Translated::default();
        if !backend.filters.is_empty() {
            filters = filter::translate(backend.filters, has_one_prefix, cx);
            if let Err(problem) = filter::check(&filters.policies) {
                filters.broken(problem);
            }
        }
        let target = cx.backend(backend.reference);
        let (target, attached) =
            match target.map(|backend| (cx.guarded.share(cx.cluster, cx.kind, &backend), backend)) {
                Ok((Ok(attached), backend)) => (Ok(backend), attached),
                Ok((Err(problem), _)) | Err(problem) => (Err(problem), Vec::new()),
            };
        let message = match (&weight_problem, filters.problems.first(), &target) {
            (Some(message), ..) => Some(message.clone()),
            (None, Some(problem), _) if filters.is_broken => Some(format!("{}.{}", place(), problem.message)),
            (_, _, Err(problem)) => Some(format!("{}: {}", place(), problem.message)),
            (_, _, Ok(_)) => None,
        };
        let is_invalid = |problem: &Problem| problem.condition == condition_type::ACCEPTED;
        if weight_problem.is_some() || filters.problems.iter().any(is_invalid) {
            broken += 1;
        }
        problems.extend(weight_problem.map(Problem::unsupported));
        problems.extend(filters.problems.into_iter().map(|problem| problem.at(&format!("{}.", place()))));
        let target = match (target, message) {
            (Ok(backend), None) => Target::Backend(backend),
            (target, message) => {
                problems.extend(target.err().map(|problem| problem.at(&format!("{}: ", place()))));
                Target::Invalid { message: message.unwrap_or_default() }
            }
        };
        let policies = match target {
            Target::Backend(_) => filters.policies,
            Target::Invalid { .. } => config::PolicySet::default(),
        };
        shares.push(WeightedBackend { target, weight, policies, attached });
    }
    (shares, broken)
}

fn duration(field: &str, text: &str) -> Result<Duration, Problem> {
    text.parse().map_err(|problem| Problem::unsupported(format!("{field}: {problem}")))
}

fn timeouts(request: Option<&str>, backend: Option<&str>) -> Result<Timeouts, Problem> {
    let request = request.map(|text| duration("timeouts.request", text)).transpose()?;
    let backend_request = backend.map(|text| duration("timeouts.backendRequest", text)).transpose()?;
    if let (Some(request), Some(backend)) = (request, backend_request)
        // Gateway API: "Setting a timeout to the zero duration (e.g. "0s") SHOULD disable the timeout
        // completely."
        && !request.0.is_zero()
        && backend > request
    {
        return Err(Problem::unsupported(format!(
            "timeouts.backendRequest: {backend} is longer than timeouts.request, {request}"
        )));
    }
    Ok(Timeouts { request, backend_request })
}

fn retry(source: &RetrySource<'_>) -> Result<Retry, Problem> {
    let mut codes = Vec::with_capacity(source.codes.len());
    for (index, code) in source.codes.iter().enumerate() {
        match u16::try_from(*code) {
            Ok(code @ 400..=599) => codes.push(code),
            _ => {
                return Err(Problem::unsupported(format!(
                    "retry.codes[{index}]: {code} is not between 400 and 599"
                )));
            }
        }
    }
    let attempts = match source.attempts.map(u32::try_from) {
        None => None,
        Some(Ok(attempts)) if attempts > 0 => Some(attempts),
        Some(_) => return Err(Problem::unsupported("retry.attempts: must be at least 1")),
    };
    let backoff = source.backoff.map(|text| duration("retry.backoff", text)).transpose()?;
    Ok(Retry { codes, attempts, backoff })
}
