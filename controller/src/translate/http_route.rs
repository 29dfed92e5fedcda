//! HTTPRoute: where its fields are. What they mean is in `route` and `rule`.

use config::{HttpMatch, HttpRule, Parent, PathMatch};
use gateway_api::experimental::httproutes::{
    HttpRouteRules, HttpRouteRulesMatches, HttpRouteRulesMatchesHeadersType as HeaderType,
    HttpRouteRulesMatchesMethod as Method, HttpRouteRulesMatchesPathType as PathType,
    HttpRouteRulesMatchesQueryParamsType as QueryType,
    HttpRouteRulesSessionPersistenceCookieConfigLifetimeType as LifetimeType,
    HttpRouteRulesSessionPersistenceType as SessionType, HttpRouteUseDefaultGateways,
};

use super::backend_ref::Reference;
use super::filter::reference;
use super::matching;
use super::route::{Route, Verdict, parent_ref};
use super::rule::{self, Backend, Context, RetrySource, Source};
use super::session::session;
use crate::api::HttpRoute;
use crate::resources::ObjectKind;
use crate::status::ParentRef;

impl Route for HttpRoute {
    const KIND: ObjectKind = ObjectKind::HttpRoute;
    const RESOURCE_KIND: config::Kind = config::Kind::HttpRoute;
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
        self.spec.use_default_gateways == Some(HttpRouteUseDefaultGateways::All)
    }

    fn rules(&self, cx: &mut Context<'_, '_>) -> (Vec<HttpRule>, Verdict) {
        let sources = match self.spec.rules.as_deref() {
            // The API server's default: one rule that matches everything and has no backend.
            None | Some([]) => vec![Source {
                name: None,
                matches: Vec::new(),
                filters: Vec::new(),
                backends: Vec::new(),
                timeouts: None,
                retry: None,
                session: None,
            }],
            Some(rules) => rules.iter().map(source).collect(),
        };
        rule::all(sources, cx)
    }

    fn resource(
        created: i64,
        parents: Vec<Parent>,
        attached: Vec<config::Key>,
        rules: Vec<HttpRule>,
    ) -> config::Resource {
        config::Resource::HttpRoute(config::HttpRoute { created, parents, attached, rules })
    }
}

fn source(rule: &HttpRouteRules) -> Source<'_> {
    let backends = rule.backend_refs.iter().flatten().map(|backend| Backend {
        reference: reference!(backend),
        weight: backend.weight,
        filters: backend.filters.iter().flatten().map(Into::into).collect(),
    });
    Source {
        name: rule.name.as_deref(),
        matches: rule.matches.iter().flatten().map(http_match).collect(),
        filters: rule.filters.iter().flatten().map(Into::into).collect(),
        backends: backends.collect(),
        timeouts: rule.timeouts.as_ref().map(|t| (t.request.as_deref(), t.backend_request.as_deref())),
        retry: rule.retry.as_ref().map(|retry| RetrySource {
            codes: retry.codes.as_deref().unwrap_or_default(),
            attempts: retry.attempts,
            backoff: retry.backoff.as_deref(),
        }),
        session: session!(rule, SessionType, LifetimeType),
    }
}

fn http_match(source: &HttpRouteRulesMatches) -> Result<HttpMatch, String> {
    let path = match &source.path {
        None => PathMatch::default(),
        Some(path) => {
            let value = path.value.as_deref().unwrap_or("/");
            let problem = match path.r#type {
                Some(PathType::RegularExpression) => matching::regex_problem(value),
                Some(PathType::Exact | PathType::PathPrefix) | None => matching::path_problem(value),
            };
            if let Some(problem) = problem {
                return Err(format!("path.value: {problem}"));
            }
            match path.r#type {
                Some(PathType::Exact) => PathMatch::Exact(value.to_owned()),
                Some(PathType::RegularExpression) => PathMatch::Regex(value.to_owned()),
                Some(PathType::PathPrefix) | None => PathMatch::Prefix(value.to_owned()),
            }
        }
    };
    let headers =
        source.headers.iter().flatten().map(|header| {
            (&*header.name, header.r#type == Some(HeaderType::RegularExpression), &*header.value)
        });
    let query = source.query_params.iter().flatten().map(|parameter| {
        (&*parameter.name, parameter.r#type == Some(QueryType::RegularExpression), &*parameter.value)
    });
    Ok(HttpMatch {
        path,
        method: source.method.as_ref().map(|method| method_name(method).to_owned()),
        headers: matching::values("headers", true, headers)?,
        query: matching::values("queryParams", false, query)?,
    })
}

const fn method_name(method: &Method) -> &'static str {
    match method {
        Method::Get => "GET",
        Method::Head => "HEAD",
        Method::Post => "POST",
        Method::Put => "PUT",
        Method::Delete => "DELETE",
        Method::Connect => "CONNECT",
        Method::Options => "OPTIONS",
        Method::Trace => "TRACE",
        Method::Patch => "PATCH",
    }
}
