//! Answers with a redirect (HTTPRequestRedirectFilter).

use std::fmt::Write;

use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::head;
use crate::path::PathEdit;
use crate::{Context, Filter, Invalid, Lookup, Policy, Reply, Request, Scheme, Verdict};

pub use crate::path::PathModifier;

/// Where to send the client; what is not set stays as the request has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Redirect {
    /// `http` or `https`. Default: the scheme of the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheme: Option<String>,
    /// Host name. Default: the Host of the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// Path. Default: the path of the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<PathModifier>,
    /// Port. Default: the well-known port of `scheme` if that is set, else the listener's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// 301, 302, 303, 307 or 308. Default 302.
    #[serde(default = "default_status")]
    pub status_code: u16,
}

const fn default_status() -> u16 {
    302
}

impl Policy for Redirect {
    type Filter = RedirectFilter;

    fn compile(&self, _: &dyn Lookup) -> Result<RedirectFilter, Invalid> {
        let scheme = match self.scheme.as_deref() {
            None => None,
            Some("http") => Some(Scheme::Http),
            Some("https") => Some(Scheme::Https),
            Some(other) => {
                return Err(Invalid::field(
                    "scheme",
                    format!("{other:?} is not supported: use http or https"),
                ));
            }
        };
        if let Some(hostname) = &self.hostname {
            head::check_precise("hostname", hostname)?;
        }
        if self.port == Some(0) {
            return Err(Invalid::field("port", "0 is not a port: use 1 to 65535"));
        }
        let status = match self.status_code {
            301 => StatusCode::MOVED_PERMANENTLY,
            302 => StatusCode::FOUND,
            303 => StatusCode::SEE_OTHER,
            307 => StatusCode::TEMPORARY_REDIRECT,
            308 => StatusCode::PERMANENT_REDIRECT,
            other => {
                return Err(Invalid::field(
                    "statusCode",
                    format!("{other} is not supported: use 301, 302, 303, 307 or 308"),
                ));
            }
        };
        Ok(RedirectFilter {
            scheme,
            hostname: self.hostname.as_deref().map(Into::into),
            path: self.path.as_ref().map(|path| PathEdit::compile(path, "path")).transpose()?,
            port: self.port,
            status,
        })
    }
}

/// A compiled [`Redirect`].
#[derive(Debug)]
pub struct RedirectFilter {
    scheme: Option<Scheme>,
    hostname: Option<Box<str>>,
    path: Option<PathEdit>,
    port: Option<u16>,
    status: StatusCode,
}

impl Filter for RedirectFilter {
    type State = ();

    fn request<'a>(&'a self, req: &'a mut Request, ctx: &'a mut Context, (): &'a mut ()) -> Verdict<'a> {
        let location = self
            .hostname
            .as_deref()
            .or_else(|| head::host(req))
            .map(|host| Bytes::from(self.location(req, ctx, host)))
            .and_then(|location| HeaderValue::from_maybe_shared(location).ok());
        Verdict::Reply(match location {
            Some(location) => Reply::new(self.status, "redirect").with(header::LOCATION, location),
            // A host that cannot stand in a URI must not get into one.
            None => Reply::new(StatusCode::BAD_REQUEST, "redirect_impossible"),
        })
    }
}

impl RedirectFilter {
    fn location(&self, req: &Request, ctx: &Context, host: &str) -> String {
        let scheme = self.scheme.unwrap_or(ctx.scheme);
        // Gateway API: "If redirect scheme is not-empty, the redirect port MUST be the well-known port associated with
        // the redirect scheme", else "the Gateway Listener port".
        let port = self.port.unwrap_or_else(|| self.scheme.map_or(ctx.port, Scheme::default_port));
        let (path, query) = (req.uri.path(), req.uri.query());
        let path_len = self.path.as_ref().map_or(path.len(), |edit| edit.max_len(path));
        let mut location = String::with_capacity(
            "https://:65535?".len() + host.len() + path_len + query.map_or(0, str::len),
        );

        location.push_str(scheme.as_str());
        location.push_str("://");
        location.push_str(host);
        if port != scheme.default_port() {
            // Writing to a String cannot fail.
            let _ = write!(location, ":{port}");
        }
        match &self.path {
            Some(edit) => {
                edit.write(path, ctx.matched_prefix, &mut location);
            }
            None => location.push_str(path),
        }
        if let Some(query) = query {
            location.push('?');
            location.push_str(query);
        }
        location
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    struct NoBackends;

    impl Lookup for NoBackends {
        fn backend(&self, _: &crate::BackendRef) -> Option<std::sync::Arc<dyn crate::Upstream>> {
            None
        }
    }

    proptest! {
        /// Whatever stands in Host and target, the client is never sent to another host than it asked for.
        #[test]
        fn a_location_has_the_host_of_the_request(
            host in r"[a-z0-9.:@/\\?#\[\]%-]{0,16}", target in r"/[a-z0-9.:@/\\?#%-]{0,16}", prefix in 0usize..20, keep: bool,
        ) {
            let path = if keep { None } else { Some(PathModifier::ReplacePrefixMatch("//evil.test".into())) };
            let policy = Redirect { scheme: None, hostname: None, path, port: None, status_code: 302 };
            let filter = policy.compile(&NoBackends).unwrap();
            let Ok(mut req) = Request::build("GET", target.as_bytes(), None) else { return Ok(()) };
            req.insert_header("Host", host.as_str()).unwrap();
            let mut ctx = Context { port: 80, matched_prefix: prefix, ..Context::default() };

            let Verdict::Reply(reply) = filter.request(&mut req, &mut ctx, &mut ()) else { panic!("not answered") };
            if reply.status == StatusCode::FOUND {
                let (_, location) = &reply.headers[0];
                let location: http::Uri = location.to_str().unwrap().parse().unwrap();
                let asked = host.parse::<http::uri::Authority>().unwrap();
                prop_assert_eq!(location.host(), Some(asked.host()));
                prop_assert!(!location.authority().unwrap().as_str().contains('@'));
            } else {
                prop_assert_eq!(reply.reason, "redirect_impossible");
            }
        }
    }
}
