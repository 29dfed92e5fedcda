//! Refuses state-changing requests that another site made a browser send (cross-site request forgery).
//!
//! Fetch metadata decides where there is any: only a browser writes `Sec-Fetch-Site`, and no script can. Else `Origin` is
//! compared with where the request is sent. A request with neither passes: browsers have sent `Origin` with every
//! POST since 2020, so it is from no browser, and nothing made it carry somebody's cookies.

use http::{HeaderName, Method, StatusCode, header};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::mode::Mode;
use crate::origin::{Origins, is_own};
use crate::schema::{ORIGIN, each, form};
use crate::{Context, Filter, Invalid, Lookup, Policy, Reply, Request, Verdict, head};

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
/// As many as Envoy Gateway takes.
const MOST: usize = 16;

/// Which other sites may send state-changing requests. Requests of the own origin always may, and so may those that
/// change nothing: GET, HEAD, OPTIONS and TRACE, save that a GET for a WebSocket is held to be a change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Csrf {
    /// Origins beside the own one, up to 16: `*`, or `http(s)://host[:port]` where the host may be `*` or start with
    /// `*.`, which stands for any number of labels. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = MOST), transform = each(form(ORIGIN)))]
    pub additional_origins: Vec<String>,
    /// Whether requests are refused or only noted. Default Enforce.
    #[serde(default)]
    pub mode: Mode,
}

impl Policy for Csrf {
    type Filter = CsrfFilter;

    fn compile(&self, _: &dyn Lookup) -> Result<CsrfFilter, Invalid> {
        if self.additional_origins.len() > MOST {
            return Err(Invalid::field(
                "additionalOrigins",
                format!("holds {} origins; write at most {MOST}", self.additional_origins.len()),
            ));
        }
        Ok(CsrfFilter {
            trusted: Origins::compile("additionalOrigins", &self.additional_origins)?,
            mode: self.mode,
        })
    }
}

/// A compiled [`Csrf`].
#[derive(Debug)]
pub struct CsrfFilter {
    trusted: Origins,
    mode: Mode,
}

impl Filter for CsrfFilter {
    type State = ();

    fn is_shadow(&self) -> bool {
        self.mode == Mode::Shadow
    }

    fn request<'a>(&'a self, req: &'a mut Request, ctx: &'a mut Context, (): &'a mut ()) -> Verdict<'a> {
        if changes_nothing(req) || self.is_own_or_trusted(req, ctx) {
            Verdict::Continue
        } else {
            Verdict::Reply(Reply::new(StatusCode::FORBIDDEN, "csrf_origin_denied"))
        }
    }
}

impl CsrfFilter {
    fn is_own_or_trusted(&self, req: &Request, ctx: &Context) -> bool {
        let origin = only(req, &header::ORIGIN);
        match only(req, &SEC_FETCH_SITE) {
            Said::Once("same-origin" | "none") => return true,
            Said::Nothing => match origin {
                Said::Nothing => return true,
                Said::Once(origin)
                    if head::authority(req).is_some_and(|own| is_own(origin, ctx.scheme, own)) =>
                {
                    return true;
                }
                Said::Once(_) | Said::Unclear => {}
            },
            // `same-site`, `cross-site`, what a later standard says, and nonsense.
            Said::Once(_) | Said::Unclear => {}
        }
        matches!(origin, Said::Once(origin) if self.trusted.allow(origin))
    }
}

/// RFC 9110 section 9.2.1: safe methods. Scripts of any site may open a WebSocket with the user's cookies, though, and
/// what goes over it may change anything.
fn changes_nothing(req: &Request) -> bool {
    matches!(req.method, Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE)
        && !req.headers.contains_key(header::UPGRADE)
}

/// What a field that may occur once says.
#[derive(Clone, Copy)]
enum Said<'a> {
    Nothing,
    Once(&'a str),
    /// Several times, or not in ASCII.
    Unclear,
}

fn only<'r>(req: &'r Request, name: &HeaderName) -> Said<'r> {
    let mut values = req.headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Said::Nothing,
        (Some(value), None) => value.to_str().map_or(Said::Unclear, Said::Once),
        (Some(_), Some(_)) => Said::Unclear,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// HTTP/1.0 has requests without Host; the table's all have one.
    #[test]
    fn a_request_that_names_no_host_has_no_origin_of_its_own() {
        let filter = CsrfFilter { trusted: Origins::compile("a", &[]).unwrap(), mode: Mode::Enforce };
        let mut req = Request::build("POST", b"/", None).unwrap();
        assert!(filter.is_own_or_trusted(&req, &Context::default()), "it is from no browser");
        req.insert_header("Origin", "http://a.test").unwrap();
        assert!(!filter.is_own_or_trusted(&req, &Context::default()));
        req.insert_header("Host", "a.test").unwrap();
        assert!(filter.is_own_or_trusted(&req, &Context::default()));
    }
}
