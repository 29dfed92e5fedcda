//! Filters of rules and backends, from the four types Kubernetes has for them to one `PolicySet`.
//!
//! Rule or backend, HTTP or gRPC: the fields are the same, the Rust types are not. A macro reads each into [`Source`];
//! everything after that exists once.

use std::sync::Arc;

use config::{BackendRef, PolicySet};
use gateway_api::experimental::{grpcroutes as grpc, httproutes as http};
use policies::cors::Cors;
use policies::mirror::{Fraction, Mirror, Mirrors};
use policies::redirect::{PathModifier, Redirect};
use policies::request_headers::{HeaderEdits, HeaderField, RequestHeaders};
use policies::response_headers::ResponseHeaders;
use policies::url_rewrite::UrlRewrite;
use policies::{Lookup, Upstream};

use super::backend_ref::Reference;
use super::hostname;
use super::rule::Context;
use crate::status::{Problem, reason};

/// A filter as the user wrote it: what it says it is, and every member that is set.
#[derive(Debug)]
pub(crate) struct Source<'a> {
    r#type: &'static str,
    members: Vec<Member<'a>>,
}

#[derive(Debug)]
enum Member<'a> {
    RequestHeaders(HeaderEdits),
    ResponseHeaders(HeaderEdits),
    Mirror(MirrorSource<'a>),
    Redirect(RedirectSource<'a>),
    Rewrite(Option<&'a str>, Option<PathSource<'a>>),
    Cors(Cors),
    ExternalAuth,
    Extension { group: &'a str, kind: &'a str, name: &'a str },
}

#[derive(Debug)]
struct MirrorSource<'a> {
    backend: Reference<'a>,
    percent: Option<i32>,
    fraction: Option<(i32, i32)>,
}

#[derive(Debug)]
struct RedirectSource<'a> {
    scheme: Option<&'static str>,
    hostname: Option<&'a str>,
    path: Option<PathSource<'a>>,
    port: Option<i32>,
    status: Option<i64>,
}

#[derive(Debug)]
struct PathSource<'a> {
    is_full: bool,
    full: Option<&'a str>,
    prefix: Option<&'a str>,
}

impl Member<'_> {
    /// The `type` it belongs to, and its field.
    fn names(&self) -> (&'static str, &'static str) {
        match self {
            Self::RequestHeaders(_) => ("RequestHeaderModifier", "requestHeaderModifier"),
            Self::ResponseHeaders(_) => ("ResponseHeaderModifier", "responseHeaderModifier"),
            Self::Mirror(_) => ("RequestMirror", "requestMirror"),
            Self::Redirect(_) => ("RequestRedirect", "requestRedirect"),
            Self::Rewrite(..) => ("URLRewrite", "urlRewrite"),
            Self::Cors(_) => ("CORS", "cors"),
            Self::ExternalAuth => ("ExternalAuth", "externalAuth"),
            Self::Extension { .. } => ("ExtensionRef", "extensionRef"),
        }
    }
}

macro_rules! edits {
    ($edits:expr) => {{
        let edits = $edits;
        let field = |name: &String, value: &String| HeaderField { name: name.clone(), value: value.clone() };
        HeaderEdits {
            set: edits.set.iter().flatten().map(|h| field(&h.name, &h.value)).collect(),
            add: edits.add.iter().flatten().map(|h| field(&h.name, &h.value)).collect(),
            remove: edits.remove.clone().unwrap_or_default(),
        }
    }};
}

macro_rules! reference {
    ($backend:expr) => {{
        let backend = $backend;
        Reference {
            group: backend.group.as_deref(),
            kind: backend.kind.as_deref(),
            namespace: backend.namespace.as_deref(),
            name: &backend.name,
            port: backend.port,
        }
    }};
}
pub(crate) use reference;

macro_rules! mirror {
    ($mirror:expr) => {{
        let mirror = $mirror;
        Member::Mirror(MirrorSource {
            backend: reference!(&mirror.backend_ref),
            percent: mirror.percent,
            fraction: mirror.fraction.as_ref().map(|f| (f.numerator, f.denominator.unwrap_or(100))),
        })
    }};
}

macro_rules! path {
    ($path:expr, $type:ty) => {
        $path.as_ref().map(|path| PathSource {
            is_full: path.r#type == <$type>::ReplaceFullPath,
            full: path.replace_full_path.as_deref(),
            prefix: path.replace_prefix_match.as_deref(),
        })
    };
}

/// The members every filter type has.
macro_rules! common {
    ($filter:expr) => {{
        let mut members = Vec::new();
        members.extend($filter.request_header_modifier.as_ref().map(|m| Member::RequestHeaders(edits!(m))));
        members.extend($filter.response_header_modifier.as_ref().map(|m| Member::ResponseHeaders(edits!(m))));
        members.extend($filter.request_mirror.as_ref().map(|m| mirror!(m)));
        members.extend($filter.extension_ref.as_ref().map(|m| Member::Extension {
            group: &m.group,
            kind: &m.kind,
            name: &m.name,
        }));
        members
    }};
}

macro_rules! http_filter {
    ($filter:ident, $type:ident, $redirect_path:ident, $rewrite_path:ident, $scheme:ident) => {
        impl<'a> From<&'a http::$filter> for Source<'a> {
            fn from(filter: &'a http::$filter) -> Self {
                let mut members = common!(filter);
                members.extend(filter.request_redirect.as_ref().map(|m| {
                    Member::Redirect(RedirectSource {
                        scheme: m.scheme.as_ref().map(|scheme| match scheme {
                            http::$scheme::Http => "http",
                            http::$scheme::Https => "https",
                        }),
                        hostname: m.hostname.as_deref(),
                        path: path!(m.path, http::$redirect_path),
                        port: m.port,
                        status: m.status_code,
                    })
                }));
                members.extend(
                    filter
                        .url_rewrite
                        .as_ref()
                        .map(|m| Member::Rewrite(m.hostname.as_deref(), path!(m.path, http::$rewrite_path))),
                );
                members.extend(filter.cors.as_ref().map(|m| {
                    Member::Cors(Cors {
                        allow_origins: m.allow_origins.clone().unwrap_or_default(),
                        allow_credentials: m.allow_credentials.unwrap_or_default(),
                        allow_methods: m.allow_methods.clone().unwrap_or_default(),
                        allow_headers: m.allow_headers.clone().unwrap_or_default(),
                        expose_headers: m.expose_headers.clone().unwrap_or_default(),
                        max_age: m.max_age.map_or(5, |age| u32::try_from(age).unwrap_or_default()),
                    })
                }));
                members.extend(filter.external_auth.as_ref().map(|_| Member::ExternalAuth));
                let r#type = match filter.r#type {
                    http::$type::RequestHeaderModifier => "RequestHeaderModifier",
                    http::$type::ResponseHeaderModifier => "ResponseHeaderModifier",
                    http::$type::RequestMirror => "RequestMirror",
                    http::$type::RequestRedirect => "RequestRedirect",
                    http::$type::UrlRewrite => "URLRewrite",
                    http::$type::ExtensionRef => "ExtensionRef",
                    http::$type::Cors => "CORS",
                    http::$type::ExternalAuth => "ExternalAuth",
                };
                Self { r#type, members }
            }
        }
    };
}

macro_rules! grpc_filter {
    ($filter:ident, $type:ident) => {
        impl<'a> From<&'a grpc::$filter> for Source<'a> {
            fn from(filter: &'a grpc::$filter) -> Self {
                let r#type = match filter.r#type {
                    grpc::$type::RequestHeaderModifier => "RequestHeaderModifier",
                    grpc::$type::ResponseHeaderModifier => "ResponseHeaderModifier",
                    grpc::$type::RequestMirror => "RequestMirror",
                    grpc::$type::ExtensionRef => "ExtensionRef",
                };
                Self { r#type, members: common!(filter) }
            }
        }
    };
}

http_filter!(
    HttpRouteRulesFilters,
    HttpRouteRulesFiltersType,
    HttpRouteRulesFiltersRequestRedirectPathType,
    HttpRouteRulesFiltersUrlRewritePathType,
    HttpRouteRulesFiltersRequestRedirectScheme
);
http_filter!(
    HttpRouteRulesBackendRefsFilters,
    HttpRouteRulesBackendRefsFiltersType,
    HttpRouteRulesBackendRefsFiltersRequestRedirectPathType,
    HttpRouteRulesBackendRefsFiltersUrlRewritePathType,
    HttpRouteRulesBackendRefsFiltersRequestRedirectScheme
);
grpc_filter!(GrpcRouteRulesFilters, GrpcRouteRulesFiltersType);
grpc_filter!(GrpcRouteRulesBackendRefsFilters, GrpcRouteRulesBackendRefsFiltersType);

/// Filters become policies. Problems say in their condition whether a reference is at fault or the filter itself;
/// `is_broken` says that what they belong to must answer 500.
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
    filters: &[Source<'_>],
    has_one_prefix: bool,
    cx: &mut Context<'_, '_>,
) -> Translated {
    let mut out = Translated::default();
    for (index, filter) in filters.iter().enumerate() {
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
        Err((policy, invalid)) => Err(Problem::unsupported(format!("{policy}: {invalid}"))),
    }
}

fn one(
    filter: &Source<'_>,
    index: usize,
    has_one_prefix: bool,
    out: &mut Translated,
    cx: &mut Context<'_, '_>,
) -> Result<(), Problem> {
    let member = match filter.members.as_slice() {
        [member] if member.names().0 == filter.r#type => member,
        [] => {
            return Err(Problem::unsupported(format!(
                ".type: {} needs the field of its name",
                filter.r#type
            )));
        }
        members => {
            let fields: Vec<_> = members.iter().map(|member| member.names().1).collect();
            let fields = fields.join(", ");
            return Err(Problem::unsupported(format!(
                ".type: {} allows only the field of its name, not {fields}",
                filter.r#type
            )));
        }
    };
    let field = member.names().1;
    let policies = &mut out.policies;
    match member {
        Member::RequestHeaders(edits) => {
            once(&mut policies.request_headers, RequestHeaders(edits.clone()), filter.r#type)
        }
        Member::ResponseHeaders(edits) => {
            once(&mut policies.response_headers, ResponseHeaders(edits.clone()), filter.r#type)
        }
        Member::Cors(cors) => once(&mut policies.cors, cors.clone(), filter.r#type),
        Member::Redirect(source) => {
            let redirect = redirect(source, has_one_prefix).map_err(|p| p.at(&format!(".{field}.")))?;
            once(&mut policies.redirect, redirect, filter.r#type)
        }
        Member::Rewrite(hostname, path) => {
            let at = |problem: Problem| problem.at(&format!(".{field}."));
            let rewrite = UrlRewrite {
                hostname: hostname.map(precise).transpose().map_err(at)?,
                path: path.as_ref().map(|path| modifier(path, has_one_prefix)).transpose().map_err(at)?,
            };
            once(&mut policies.url_rewrite, rewrite, filter.r#type)
        }
        Member::Mirror(mirror) => {
            let fraction = fraction(mirror).map_err(|problem| problem.at(&format!(".{field}")))?;
            match cx.backend(mirror.backend) {
                Ok(backend) => {
                    let mirrors = policies.mirror.get_or_insert_with(|| Mirrors(Vec::new()));
                    mirrors.0.push(Mirror { backend, fraction });
                }
                // Gateway API: "this BackendRef is invalid and must be dropped from the Gateway": the request itself
                // is still served.
                Err(problem) => {
                    out.problems.push(problem.at(&format!("filters[{index}].{field}.backendRef: ")));
                }
            }
            Ok(())
        }
        Member::ExternalAuth => Err(Problem::unsupported(
            ".type: ExternalAuth is not supported yet: without it nobody would be checked",
        )),
        // Gateway API: "If a reference to a custom filter type cannot be resolved, the filter MUST NOT be skipped.
        // Instead, requests that would have been processed by that filter MUST receive a HTTP error response."
        Member::Extension { group, kind, name } => Err(Problem::unresolved(
            reason::INVALID_KIND,
            format!(".extensionRef: {name}: kind {kind} of group {group:?} is not supported"),
        )),
    }
}

/// Gateway API: "Specifying the same filter multiple times is not supported unless explicitly indicated in the filter."
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
struct Granted;

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
