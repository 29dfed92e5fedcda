//! Cross-origin resource sharing, as the Gateway API HTTPCORSFilter and the Fetch standard word it.
//!
//! The proxy answers every preflight itself, also those it refuses, and owns the fields that open a response to other
//! origins: what the backend says of them does not count.

mod grant;

use http::{HeaderName, HeaderValue, Method, StatusCode, header};
use schemars::JsonSchema;
use schemars::transform::Transform;
use serde::{Deserialize, Serialize};

use self::grant::{Grant, exposable, vary_by};
use crate::origin::Origins;
use crate::schema::{ORIGIN, TOKEN, each, form, rule};
use crate::{Context, Filter, Invalid, Lookup, Policy, Reply, Request, Response, Verdict};

/// Which other origins may read responses (GEP-1767).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Cors {
    /// Origins: `*`, or `http(s)://host[:port]` where the host may be `*` or start with `*.`, which stands for any
    /// number of labels. None: no origin.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), transform = each(form(ORIGIN)), transform = alone())]
    pub allow_origins: Vec<String>,
    /// Whether credentials may be sent. Default false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub allow_credentials: bool,
    /// Methods, or `*`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), transform = each(form(TOKEN)), transform = alone())]
    pub allow_methods: Vec<String>,
    /// Request header names, or `*`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), transform = each(form(TOKEN)), transform = alone())]
    pub allow_headers: Vec<String>,
    /// Response header names scripts may read, or `*`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), transform = each(form(TOKEN)))]
    pub expose_headers: Vec<String>,
    /// How long a browser may keep a preflight's answer, in seconds, 1 or more. Default 5 (Gateway API).
    #[serde(default = "default_max_age")]
    #[schemars(range(min = 1, max = u32::MAX))]
    pub max_age: u32,
}

const fn default_max_age() -> u32 {
    5
}

/// Of a list in which `*` stands for everything.
fn alone() -> impl Transform {
    rule("size(self) < 2 || !('*' in self)", "holds * beside other values: keep * alone or leave it out")
}

impl Policy for Cors {
    type Filter = CorsFilter;

    fn compile(&self, _: &dyn Lookup) -> Result<CorsFilter, Invalid> {
        if self.max_age == 0 {
            return Err(Invalid::field("maxAge", "is 0; use 1 or more seconds"));
        }
        // Gateway API demands it of these lists, and not of `exposeHeaders`.
        for (field, list) in [
            ("allowOrigins", &self.allow_origins),
            ("allowMethods", &self.allow_methods),
            ("allowHeaders", &self.allow_headers),
        ] {
            if list.len() > 1 && list.iter().any(|entry| entry == "*") {
                return Err(Invalid::field(
                    field,
                    "holds * beside other values; keep * alone or leave it out",
                ));
            }
        }
        let method = |text: &str| Method::from_bytes(text.as_bytes()).is_ok();
        let header = |text: &str| HeaderName::from_bytes(text.as_bytes()).is_ok();
        Ok(CorsFilter {
            origins: Origins::compile("allowOrigins", &self.allow_origins)?,
            credentials: self.allow_credentials,
            methods: Grant::compile("allowMethods", &self.allow_methods, method)?,
            headers: Grant::compile("allowHeaders", &self.allow_headers, header)?,
            expose: Grant::compile("exposeHeaders", &self.expose_headers, header)?,
            max_age: self.max_age.into(),
        })
    }
}

/// A compiled [`Cors`].
#[derive(Debug)]
pub struct CorsFilter {
    origins: Origins,
    credentials: bool,
    methods: Grant,
    headers: Grant,
    expose: Grant,
    max_age: HeaderValue,
}

/// What the request said of its origin.
#[derive(Debug, Default)]
pub enum CorsState {
    /// Same-origin, or an origin that is not allowed.
    #[default]
    Closed,
    /// Allowed: the value of Access-Control-Allow-Origin.
    Open(HeaderValue),
    /// It was a preflight, and its reply is complete.
    Answered,
}

const ANY: HeaderValue = HeaderValue::from_static("*");
const TRUE: HeaderValue = HeaderValue::from_static("true");

impl Filter for CorsFilter {
    type State = CorsState;

    fn request<'a>(
        &'a self,
        req: &'a mut Request,
        _: &'a mut Context,
        state: &'a mut CorsState,
    ) -> Verdict<'a> {
        let origin = self.allowed_origin(req);
        // Fetch: a preflight is an OPTIONS request with these two fields; other OPTIONS requests are the backend's.
        let is_preflight = req.method == Method::OPTIONS
            && req.headers.contains_key(header::ORIGIN)
            && req.headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
        if is_preflight {
            *state = CorsState::Answered;
            return Verdict::Reply(self.preflight(req, origin));
        }
        if let Some(origin) = origin {
            *state = CorsState::Open(origin);
        }
        Verdict::Continue
    }

    fn response(&self, rsp: &mut Response, _: &Context, state: &CorsState) {
        if matches!(state, CorsState::Answered) {
            return;
        }
        // Otherwise a backend that says `*` would open what this policy keeps closed.
        rsp.remove_header(&header::ACCESS_CONTROL_ALLOW_ORIGIN);
        rsp.remove_header(&header::ACCESS_CONTROL_ALLOW_CREDENTIALS);
        rsp.remove_header(&header::ACCESS_CONTROL_EXPOSE_HEADERS);
        // Static names: Pingora copies any other kind. Names and values are valid, so inserting cannot fail.
        if let CorsState::Open(origin) = state {
            let exposed = match &self.expose {
                // Gateway API: with credentials "the gateway cannot use the `*`"; the names say the same.
                Grant::Any if self.credentials => exposable(&rsp.headers),
                Grant::Any => Some(ANY),
                Grant::Listed(names) => Some(names.clone()),
                Grant::Unsaid => None,
            };
            let _ = rsp.insert_header("Access-Control-Allow-Origin", origin.clone());
            if self.credentials {
                let _ = rsp.insert_header("Access-Control-Allow-Credentials", TRUE);
            }
            if let Some(names) = exposed {
                let _ = rsp.insert_header("Access-Control-Expose-Headers", names);
            }
        }
        if !self.is_open_to_all() {
            // Also without an Origin: a cache must not serve that response to another origin (Fetch §3.2.5).
            vary_by(rsp, "Origin");
        }
    }
}

impl CorsFilter {
    /// Every origin gets the same fields.
    fn is_open_to_all(&self) -> bool {
        matches!(self.origins, Origins::Any) && !self.credentials
    }

    /// The value of Access-Control-Allow-Origin, when the request's one origin is allowed.
    fn allowed_origin(&self, req: &Request) -> Option<HeaderValue> {
        let mut origins = req.headers.get_all(header::ORIGIN).iter();
        let (Some(origin), None) = (origins.next(), origins.next()) else {
            return None;
        };
        if self.is_open_to_all() {
            return Some(ANY);
        }
        origin.to_str().is_ok_and(|text| self.origins.allow(text)).then(|| origin.clone())
    }

    fn preflight(&self, req: &Request, origin: Option<HeaderValue>) -> Reply {
        let Some(origin) = origin else {
            return Reply::new(StatusCode::FORBIDDEN, "cors_origin_denied")
                .with(header::VARY, HeaderValue::from_static("Origin"));
        };
        // 200, not 204: some old browsers take only that.
        let mut reply = Reply::new(StatusCode::OK, "cors_preflight")
            .with(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin)
            .with(header::ACCESS_CONTROL_MAX_AGE, self.max_age.clone());
        if self.credentials {
            reply = reply.with(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, TRUE);
        }
        // Gateway API: with credentials `*` is not said but what was asked for.
        match &self.methods {
            Grant::Any if self.credentials => {
                if let Some(method) = req.headers.get(header::ACCESS_CONTROL_REQUEST_METHOD)
                    && Method::from_bytes(method.as_bytes()).is_ok()
                {
                    reply = reply.with(header::ACCESS_CONTROL_ALLOW_METHODS, method.clone());
                }
            }
            Grant::Any => reply = reply.with(header::ACCESS_CONTROL_ALLOW_METHODS, ANY),
            Grant::Listed(names) => reply = reply.with(header::ACCESS_CONTROL_ALLOW_METHODS, names.clone()),
            Grant::Unsaid => {}
        }
        match &self.headers {
            // Also without credentials: to a browser `*` leaves Authorization out, and "all HTTP headers are allowed".
            Grant::Any => {
                for names in req.headers.get_all(header::ACCESS_CONTROL_REQUEST_HEADERS) {
                    reply = reply.with(header::ACCESS_CONTROL_ALLOW_HEADERS, names.clone());
                }
            }
            Grant::Listed(names) => reply = reply.with(header::ACCESS_CONTROL_ALLOW_HEADERS, names.clone()),
            Grant::Unsaid => {}
        }
        match &self.expose {
            Grant::Any if !self.credentials => {
                reply = reply.with(header::ACCESS_CONTROL_EXPOSE_HEADERS, ANY);
            }
            Grant::Listed(names) => reply = reply.with(header::ACCESS_CONTROL_EXPOSE_HEADERS, names.clone()),
            // There is no response yet whose fields could be named.
            Grant::Any | Grant::Unsaid => {}
        }
        reply.with(
            header::VARY,
            HeaderValue::from_static("Origin, Access-Control-Request-Method, Access-Control-Request-Headers"),
        )
    }
}
