//! Filters as the user wrote them: one type for the four that Kubernetes has.
//!
//! Rule or backend, HTTP or gRPC: the fields are the same, the Rust types are not. A macro reads each into [`Source`];
//! everything after that exists once.

use gateway_api::experimental::{grpcroutes as grpc, httproutes as http};
use policies::cors::Cors;
use policies::request_headers::{HeaderEdits, HeaderField};

use crate::translate::backend_ref::Reference;

/// A filter as the user wrote it: what it says it is, and every member that is set.
#[derive(Debug)]
pub(crate) struct Source<'a> {
    pub(crate) r#type: &'static str,
    pub(crate) members: Vec<Member<'a>>,
}

#[derive(Debug)]
pub(crate) enum Member<'a> {
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
pub(crate) struct MirrorSource<'a> {
    pub(crate) backend: Reference<'a>,
    pub(crate) percent: Option<i32>,
    pub(crate) fraction: Option<(i32, i32)>,
}

#[derive(Debug)]
pub(crate) struct RedirectSource<'a> {
    pub(crate) scheme: Option<&'static str>,
    pub(crate) hostname: Option<&'a str>,
    pub(crate) path: Option<PathSource<'a>>,
    pub(crate) port: Option<i32>,
    pub(crate) status: Option<i64>,
}

#[derive(Debug)]
pub(crate) struct PathSource<'a> {
    pub(crate) is_full: bool,
    pub(crate) full: Option<&'a str>,
    pub(crate) prefix: Option<&'a str>,
}

impl Member<'_> {
    /// The `type` it belongs to, and its field.
    pub(crate) fn names(&self) -> (&'static str, &'static str) {
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
