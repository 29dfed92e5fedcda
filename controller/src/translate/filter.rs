//! Filters of rules and backends become one `PolicySet`.

mod source;

use std::sync::Arc;

use config::{BackendRef, PolicySet};
use policies::mirror::{Fraction, Mirror, Mirrors};
use policies::redirect::{PathModifier, Redirect};
use policies::request_headers::RequestHeaders;
use policies::response_headers::ResponseHeaders;
use policies::url_rewrite::UrlRewrite;
use policies::{Lookup, Upstream};

use self::source::{Member, MirrorSource, PathSource, RedirectSource};
pub(crate) use self::source::{Source, reference};
use super::hostname;
use super::rule::Context;
use crate::status::{Problem, reason};

/// Filters become policies. Problems say in their condition whether a reference is at fault or the filter
/// itself; `is_broken` says that what they belong to must answer 500.
#[derive(Debug, Default)]
pub(crate) struct Translated {
    pub(crate) policies: PolicySet,
    pub(crate) problems: Vec<Problem>,
    pub(crate) is_broken: bool,
}

impl Translated {
    /// Notes a problem that what the filters belong to cannot survive.
    pub(crate) fn broken(&mut self, problem: Problem) {
        self.problems.push(problem);
        self.is_broken = true;
    }
}

/// Translates filters. `has_one_prefix` says that the rule has exactly one match and it is a path prefix.
pub(crate) fn translate(
    filters: Vec<Source<'_>>,
    has_one_prefix: bool,
    cx: &mut Context<'_, '_>,
) -> Translated {
    let mut out = Translated::default();
    for (index, filter) in filters.into_iter().enumerate() {
        if let Err(problem) = one(filter, index, has_one_prefix, &mut out, cx) {
            out.broken(problem.at(&format!("filters[{index}]")));
        }
    }
    if out.policies.redirect.is_some() && out.policies.url_rewrite.is_some() {
        let message = "filters: RequestRedirect and URLRewrite cannot be combined: keep one";
        out.broken(Problem::accepted(reason::INCOMPATIBLE_FILTERS, message));
    }
    out
}

/// What the policies themselves say of their data: the proxy would say the same, but later.
pub(crate) fn check(policies: &PolicySet) -> Result<(), Problem> {
    if policies.is_empty() {
        return Ok(());
    }
    match policies.compile(&Granted) {
        Ok(_) => Ok(()),
        Err((policy, invalid)) => Err(Problem::unsupported(format!("{}: {invalid}", as_written(policy)))),
    }
}

/// What a policy is called in a manifest.
fn as_written(policy: &'static str) -> &'static str {
    match policy {
        "cors" => "filter CORS",
        "redirect" => "filter RequestRedirect",
        "request_headers" => "filter RequestHeaderModifier",
        "url_rewrite" => "filter URLRewrite",
        "response_headers" => "filter ResponseHeaderModifier",
        "mirror" => "filter RequestMirror",
        "session_persistence" => "sessionPersistence",
        other => other,
    }
}

/// The member of a filter's type, if it is the only one.
fn only(mut filter: Source<'_>) -> Result<Member<'_>, Problem> {
    let fields: Vec<_> = filter.members.iter().map(|member| member.names().1).collect();
    match (filter.members.pop(), filter.members.is_empty()) {
        (Some(member), true) if member.names().0 == filter.r#type => Ok(member),
        (None, _) => {
            Err(Problem::unsupported(format!(".type: {} needs the field of its name", filter.r#type)))
        }
        _ => Err(Problem::unsupported(format!(
            ".type: {} allows only the field of its name, not {}",
            filter.r#type,
            fields.join(", ")
        ))),
    }
}

fn one(
    filter: Source<'_>,
    index: usize,
    has_one_prefix: bool,
    out: &mut Translated,
    cx: &mut Context<'_, '_>,
) -> Result<(), Problem> {
    let r#type = filter.r#type;
    let member = only(filter)?;
    let field = member.names().1;
    let policies = &mut out.policies;
    match member {
        Member::RequestHeaders(edits) => once(&mut policies.request_headers, RequestHeaders(edits), r#type),
        Member::ResponseHeaders(edits) => {
            once(&mut policies.response_headers, ResponseHeaders(edits), r#type)
        }
        Member::Cors(cors) => once(&mut policies.cors, cors, r#type),
        Member::Redirect(source) => {
            let redirect = redirect(&source, has_one_prefix).map_err(|p| p.at(&format!(".{field}.")))?;
            once(&mut policies.redirect, redirect, r#type)
        }
        Member::Rewrite(hostname, path) => {
            let at = |problem: Problem| problem.at(&format!(".{field}."));
            let rewrite = UrlRewrite {
                hostname: hostname.map(precise).transpose().map_err(at)?,
                path: path.as_ref().map(|path| modifier(path, has_one_prefix)).transpose().map_err(at)?,
            };
            once(&mut policies.url_rewrite, rewrite, r#type)
        }
        Member::Mirror(mirror) => {
            let fraction = fraction(&mirror).map_err(|problem| problem.at(&format!(".{field}")))?;
            match cx.backend(mirror.backend) {
                // Copies are sent on without an answer, so nobody would be refused.
                Ok(backend) if let Err(problem) = cx.guarded.mirror(cx.cluster, &backend) => {
                    out.problems.push(problem.at(&format!("filters[{index}].{field}.backendRef: ")));
                }
                Ok(backend) => {
                    let mirrors = policies.mirror.get_or_insert_with(|| Mirrors(Vec::new()));
                    mirrors.0.push(Mirror { backend, fraction });
                }
                // Gateway API: "this BackendRef is invalid and must be dropped from the Gateway": the request
                // itself is still served.
                Err(problem) => {
                    out.problems.push(problem.at(&format!("filters[{index}].{field}.backendRef: ")));
                }
            }
            Ok(())
        }
        Member::ExternalAuth => Err(Problem::unsupported(
            ".type: ExternalAuth is not supported yet: without it nobody would be checked",
        )),
        // Gateway API: "If a reference to a custom filter type cannot be resolved, the filter MUST NOT be
        // skipped. Instead, requests that would have been processed by that filter MUST receive a HTTP error
        // response."
        Member::Extension { group, kind, name } => Err(Problem::unresolved(
            reason::INVALID_KIND,
            format!(".extensionRef: {name}: kind {kind} of group {group:?} is not supported"),
        )),
    }
}

/// Gateway API: "Specifying the same filter multiple times is not supported unless explicitly indicated in
/// the filter."
fn once<T>(slot: &mut Option<T>, policy: T, name: &str) -> Result<(), Problem> {
    if slot.is_some() {
        return Err(Problem::unsupported(format!(".type: {name} cannot be repeated")));
    }
    *slot = Some(policy);
    Ok(())
}

fn precise(hostname: &str) -> Result<String, Problem> {
    match hostname::precise_problem(hostname) {
        Some(problem) => Err(Problem::unsupported(format!("hostname: {problem}"))),
        None => Ok(hostname.to_owned()),
    }
}

fn redirect(source: &RedirectSource<'_>, has_one_prefix: bool) -> Result<Redirect, Problem> {
    let status_code = match source.status {
        None => 302,
        Some(status @ (301 | 302 | 303 | 307 | 308)) => u16::try_from(status).unwrap_or(302),
        Some(other) => {
            return Err(Problem::unsupported(format!(
                "statusCode: {other} is not one of 301, 302, 303, 307 and 308"
            )));
        }
    };
    let port = match source.port.map(u16::try_from) {
        None => None,
        Some(Ok(port)) if port > 0 => Some(port),
        Some(_) => return Err(Problem::unsupported("port: must be between 1 and 65535")),
    };
    Ok(Redirect {
        scheme: source.scheme.map(str::to_owned),
        hostname: source.hostname.map(precise).transpose()?,
        path: source.path.as_ref().map(|path| modifier(path, has_one_prefix)).transpose()?,
        port,
        status_code,
    })
}

fn modifier(path: &PathSource<'_>, has_one_prefix: bool) -> Result<PathModifier, Problem> {
    match (path.is_full, path.full, path.prefix) {
        (true, Some(full), None) => Ok(PathModifier::ReplaceFullPath(full.to_owned())),
        (false, None, Some(prefix)) if has_one_prefix => {
            Ok(PathModifier::ReplacePrefixMatch(prefix.to_owned()))
        }
        (false, None, Some(_)) => Err(Problem::unsupported(
            "path.replacePrefixMatch: the rule must have exactly one match, of type PathPrefix",
        )),
        (true, ..) => {
            Err(Problem::unsupported("path: type ReplaceFullPath needs replaceFullPath and nothing else"))
        }
        (false, ..) => Err(Problem::unsupported(
            "path: type ReplacePrefixMatch needs replacePrefixMatch and nothing else",
        )),
    }
}

fn fraction(mirror: &MirrorSource<'_>) -> Result<Fraction, Problem> {
    let (numerator, denominator) = match (mirror.percent, mirror.fraction) {
        (None, None) => return Ok(Fraction::default()),
        (Some(percent), None) => (percent, 100),
        (None, Some(fraction)) => fraction,
        (Some(_), Some(_)) => {
            return Err(Problem::unsupported(": percent and fraction exclude each other: keep one"));
        }
    };
    match (u32::try_from(numerator), u32::try_from(denominator)) {
        (Ok(numerator), Ok(denominator)) if denominator > 0 && numerator <= denominator => {
            Ok(Fraction { numerator, denominator })
        }
        _ if mirror.percent.is_some() => {
            Err(Problem::unsupported(format!(".percent: {numerator} is not between 0 and 100")))
        }
        _ => Err(Problem::unsupported(format!(
            ".fraction: {numerator}/{denominator} is not between 0 and 1, with a denominator above 0"
        ))),
    }
}

/// Every backend a policy names has been resolved before it is checked.
#[derive(Debug)]
pub(crate) struct Granted;

impl Lookup for Granted {
    fn backend(&self, backend: &BackendRef) -> Option<Arc<dyn Upstream>> {
        Some(Arc::new(Resolved(backend.to_string())))
    }
}

#[derive(Debug)]
struct Resolved(String);

impl Upstream for Resolved {
    fn name(&self) -> &str {
        &self.0
    }
}
