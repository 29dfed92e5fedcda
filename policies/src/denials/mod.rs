//! How a refusal looks: a JSON problem (RFC 9457) unless told otherwise. It says status and reason, never why in detail:
//! who is refused may be who tries to get in.
//!
//! gRPC has a form of its own for refusals, which the engine gives them; this says nothing of those.

use bytes::Bytes;
use http::{HeaderValue, header};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Context, Filter, Invalid, Lookup, Policy, Reply, Request, Verdict};

/// What clients see of the refusals of all policies on the same target.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Denials {
    /// Form of the body. Default Problem.
    #[serde(default)]
    pub body: Body,
}

/// Form of a refusal's body.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Body {
    /// `application/problem+json` (RFC 9457) with `type`, `title`, `status` and the token as `reason`.
    #[default]
    Problem,
    /// `text/plain`: the token.
    Text,
    /// No body.
    None,
}

impl Body {
    /// Gives a refusal its body. What has one, or says what its body is, keeps it, and so does what is no refusal.
    #[must_use]
    pub fn dress(self, mut reply: Reply) -> Reply {
        let is_refusal = reply.status.is_client_error() || reply.status.is_server_error();
        let is_said = reply.headers.iter().any(|(name, _)| name == header::CONTENT_TYPE);
        if !is_refusal || is_said || !reply.body.is_empty() {
            return reply;
        }
        let form = match self {
            Self::Problem => {
                reply.body = problem(&reply).into();
                "application/problem+json"
            }
            Self::Text => {
                reply.body = Bytes::from_static(reply.reason.as_bytes());
                "text/plain"
            }
            Self::None => return reply,
        };
        reply.with(header::CONTENT_TYPE, HeaderValue::from_static(form))
    }
}

/// RFC 9457 section 4.2.1: with `about:blank` the problem "has no additional semantics beyond that of the HTTP status
/// code", and the title is the status' phrase. Neither that nor a token needs escapes.
fn problem(reply: &Reply) -> String {
    let title = reply.status.canonical_reason().unwrap_or("Error");
    let (status, reason) = (reply.status.as_u16(), reply.reason);
    format!(r#"{{"type":"about:blank","title":"{title}","status":{status},"reason":"{reason}"}}"#)
}

impl Policy for Denials {
    type Filter = DenialFilter;

    fn compile(&self, _: &dyn Lookup) -> Result<DenialFilter, Invalid> {
        Ok(DenialFilter(self.body))
    }
}

/// A compiled [`Denials`].
#[derive(Debug)]
pub struct DenialFilter(Body);

impl Filter for DenialFilter {
    type State = ();

    fn request<'a>(&'a self, _: &'a mut Request, ctx: &'a mut Context, (): &'a mut ()) -> Verdict<'a> {
        ctx.denials = self.0;
        Verdict::Continue
    }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;

    #[test]
    fn a_problem_is_json_for_every_status_there_is() {
        for code in 400..=599 {
            let status = StatusCode::from_u16(code).unwrap();
            let reply = Body::Problem.dress(Reply::new(status, "ip_denied"));
            let said: serde_json::Value = serde_json::from_slice(&reply.body).unwrap();
            assert_eq!(said["type"], "about:blank");
            assert_eq!(said["status"], code);
            assert_eq!(said["reason"], "ip_denied");
            assert!(said["title"].is_string());
            assert_eq!(said.as_object().unwrap().len(), 4, "nothing else is told: {said}");
        }
    }

    #[test]
    fn what_is_no_refusal_or_has_a_body_stays_as_it_is() {
        let redirect = Reply::new(StatusCode::FOUND, "redirect");
        assert_eq!(Body::Problem.dress(redirect.clone()), redirect);
        let mut own = Reply::new(StatusCode::FORBIDDEN, "ip_denied");
        own.body = Bytes::from_static(b"go away");
        assert_eq!(Body::Problem.dress(own.clone()), own);
        let plain = HeaderValue::from_static("text/plain");
        let typed = Reply::new(StatusCode::FORBIDDEN, "ip_denied").with(header::CONTENT_TYPE, plain);
        assert_eq!(Body::Problem.dress(typed.clone()), typed);
    }
}
