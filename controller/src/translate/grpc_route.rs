//! GRPCRoute: where its fields are, and what a gRPC method match is as a path. The rest is in `route` and
//! `rule`.

use config::{HttpMatch, HttpRule, Parent, PathMatch};
use gateway_api::experimental::grpcroutes::{
    GrpcRouteRules, GrpcRouteRulesMatches, GrpcRouteRulesMatchesHeadersType as HeaderType,
    GrpcRouteRulesMatchesMethod, GrpcRouteRulesMatchesMethodType as MethodType,
    GrpcRouteRulesSessionPersistenceCookieConfigLifetimeType as LifetimeType,
    GrpcRouteRulesSessionPersistenceType as SessionType, GrpcRouteUseDefaultGateways,
};

use super::backend_ref::Reference;
use super::filter::reference;
use super::matching;
use super::route::{Route, Verdict, parent_ref};
use super::rule::{self, Backend, Context, Source};
use super::session::session;
use crate::api::GrpcRoute;
use crate::resources::ObjectKind;
use crate::status::ParentRef;

impl Route for GrpcRoute {
    const KIND: ObjectKind = ObjectKind::GrpcRoute;
    const RESOURCE_KIND: config::Kind = config::Kind::GrpcRoute;
    const IN_MESH: bool = true;
    type Rules = Vec<HttpRule>;

    fn has_same_spec(&self, other: &Self) -> bool {
        self.spec == other.spec
    }

    fn hostnames(&self) -> &[String] {
        self.spec.hostnames.as_deref().unwrap_or_default()
    }

    fn parents(&self) -> Vec<ParentRef> {
        self.spec.parent_refs.iter().flatten().map(|parent| parent_ref!(parent)).collect()
    }

    fn wants_default_gateways(&self) -> bool {
        self.spec.use_default_gateways == Some(GrpcRouteUseDefaultGateways::All)
    }

    fn rules(&self, cx: &mut Context<'_, '_>) -> (Vec<HttpRule>, Verdict) {
        rule::all(self.spec.rules.iter().flatten().map(source).collect(), cx)
    }

    fn resource(
        created: i64,
        parents: Vec<Parent>,
        attached: Vec<config::Key>,
        rules: Vec<HttpRule>,
    ) -> config::Resource {
        config::Resource::GrpcRoute(config::HttpRoute { created, parents, attached, rules })
    }
}

fn source(rule: &GrpcRouteRules) -> Source<'_> {
    let backends = rule.backend_refs.iter().flatten().map(|backend| Backend {
        reference: reference!(backend),
        weight: backend.weight,
        filters: backend.filters.iter().flatten().map(Into::into).collect(),
    });
    Source {
        name: rule.name.as_deref(),
        matches: rule.matches.iter().flatten().map(grpc_match).collect(),
        filters: rule.filters.iter().flatten().map(Into::into).collect(),
        backends: backends.collect(),
        timeouts: None,
        retry: None,
        session: session!(rule, SessionType, LifetimeType),
    }
}

fn grpc_match(source: &GrpcRouteRulesMatches) -> Result<HttpMatch, String> {
    let headers =
        source.headers.iter().flatten().map(|header| {
            (&*header.name, header.r#type == Some(HeaderType::RegularExpression), &*header.value)
        });
    Ok(HttpMatch {
        path: source.method.as_ref().map_or_else(|| Ok(PathMatch::default()), path)?,
        method: None,
        headers: matching::values("headers", true, headers)?,
        query: Vec::new(),
    })
}

/// gRPC over HTTP/2: the path of a call is `/{service}/{method}`.
fn path(source: &GrpcRouteRulesMatchesMethod) -> Result<PathMatch, String> {
    let service = source.service.as_deref().filter(|service| !service.is_empty());
    let method = source.method.as_deref().filter(|method| !method.is_empty());
    if source.r#type == Some(MethodType::RegularExpression) {
        for (field, pattern) in [("service", service), ("method", method)] {
            if let Some(problem) = pattern.and_then(matching::regex_problem) {
                return Err(format!("method.{field}: {problem}"));
            }
        }
    } else if let Some(service) = service.filter(|service| !is_service(service)) {
        return Err(format!("method.service: {service:?} is not a gRPC service: write package.Service"));
    } else if let Some(method) = method.filter(|method| !is_identifier(method)) {
        return Err(format!("method.method: {method:?} is not a gRPC method: use letters, digits and `_`"));
    }
    match (source.r#type == Some(MethodType::RegularExpression), service, method) {
        // Gateway API: "At least one of Service and Method MUST be a non-empty string."
        (_, None, None) => Err("method: needs service, method or both".to_owned()),
        (false, Some(service), Some(method)) => Ok(PathMatch::Exact(format!("/{service}/{method}"))),
        (false, Some(service), None) => Ok(PathMatch::Prefix(format!("/{service}"))),
        (false, None, Some(method)) => Ok(PathMatch::GrpcMethod(method.to_owned())),
        (true, service, method) => {
            let part =
                |part: Option<&str>| part.map_or_else(|| "[^/]+".to_owned(), |part| format!("(?:{part})"));
            Ok(PathMatch::Regex(format!("/{}/{}", part(service), part(method))))
        }
    }
}

fn is_identifier(text: &str) -> bool {
    !text.starts_with(|c: char| c.is_ascii_digit())
        && !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// GRPCMethodMatch: `^(?i)\.?[a-z_][a-z_0-9]*(\.[a-z_][a-z_0-9]*)*$`.
fn is_service(text: &str) -> bool {
    text.strip_prefix('.').unwrap_or(text).split('.').all(is_identifier)
}
