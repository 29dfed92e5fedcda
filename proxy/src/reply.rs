//! Answers made by the proxy itself: tiny, without a trace of what it is built from, and in gRPC's form for gRPC.

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderName, HeaderValue, Method, StatusCode};
use pingora_core::protocols::http::HttpTask;
use pingora_error::Result;
use pingora_http::ResponseHeader;
use pingora_proxy::Session;
use policies::Reply;

use crate::context::RequestContext;

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

/// A reply whose body is its reason.
pub(crate) fn text(status: StatusCode, reason: &'static str) -> Reply {
    let mut reply = Reply::new(status, reason);
    reply.body = Bytes::from_static(reason.as_bytes());
    reply
}

/// Sends a reply. Filters that saw the request see it too.
pub(crate) async fn send(session: &mut Session, ctx: &mut RequestContext, reply: Reply) -> Result<()> {
    ctx.reason = reply.reason;
    // Else closing the connection could reset it before the client has read this.
    if !session.as_mut().is_body_done() {
        ctx.exchange.connection.linger();
    }
    let is_head = session.req_header().method == Method::HEAD;
    let (mut head, body) = render(reply, ctx.is_grpc)?;
    ctx.apply_response(&mut head);
    if ctx.exchange.connection.is_draining() {
        session.set_keepalive(None);
    }
    let mut tasks = Vec::with_capacity(2);
    if body.is_empty() || is_head {
        tasks.push(HttpTask::Header(Box::new(head), true));
    } else {
        tasks.push(HttpTask::Header(Box::new(head), false));
        tasks.push(HttpTask::Body(Some(body), true));
    }
    session.as_downstream_mut().response_duplex_vec(tasks).await?;
    Ok(())
}

fn render(reply: Reply, grpc: bool) -> Result<(ResponseHeader, Bytes)> {
    // Anything a gRPC client does not read as success must come as a status it understands.
    let grpc = grpc && (reply.status.is_client_error() || reply.status.is_server_error());
    let status = if grpc { StatusCode::OK } else { reply.status };
    let mut head = ResponseHeader::build_no_case(status, Some(reply.headers.len() + 5))?;
    for (name, value) in &reply.headers {
        head.append_header(name, value.clone())?;
    }
    if grpc {
        head.insert_header(CONTENT_TYPE, HeaderValue::from_static("application/grpc"))?;
        head.insert_header(GRPC_STATUS, HeaderValue::from(grpc_status(reply.status, reply.reason)))?;
        head.insert_header(GRPC_MESSAGE, HeaderValue::from_static(reply.reason))?;
        return Ok((head, Bytes::new()));
    }
    if !status.is_informational() && !matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) {
        head.insert_header(CONTENT_LENGTH, HeaderValue::from(reply.body.len()))?;
    }
    if !reply.body.is_empty() && !head.headers.contains_key(CONTENT_TYPE) {
        head.insert_header(CONTENT_TYPE, HeaderValue::from_static("text/plain"))?;
    }
    Ok((head, reply.body))
}

/// As gRPC maps HTTP status codes (grpc/doc/http-grpc-status-mapping.md), save where we know better.
fn grpc_status(status: StatusCode, reason: &str) -> u16 {
    match (status, reason) {
        (StatusCode::UNAUTHORIZED, _) => 16,
        (StatusCode::FORBIDDEN, _) => 7,
        (StatusCode::NOT_FOUND, _) => 12,
        // The time the route allows is a deadline; so is the one for an attempt.
        (StatusCode::GATEWAY_TIMEOUT, _) => 4,
        // RESOURCE_EXHAUSTED: the client's quota, not the service's health, and so nothing to repeat at once.
        (_, "rate_limited") => 8,
        // Gateway API: "requests ... MUST receive an UNAVAILABLE status" for a GRPCRoute's invalid backends and filters.
        (_, "rule_invalid" | "invalid_backend" | "no_backend")
        | (StatusCode::TOO_MANY_REQUESTS | StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE, _) => {
            14
        }
        (StatusCode::BAD_REQUEST | StatusCode::INTERNAL_SERVER_ERROR, _) => 13,
        _ => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_for_grpc_is_trailers_only() {
        let (head, body) = render(text(StatusCode::NOT_FOUND, "route_not_found"), true).unwrap();
        assert_eq!(head.status, StatusCode::OK);
        assert_eq!(head.headers[GRPC_STATUS], "12");
        assert_eq!(head.headers[GRPC_MESSAGE], "route_not_found");
        assert!(body.is_empty());
    }

    #[test]
    fn a_preflight_answer_stays_http_on_a_grpc_route() {
        let (head, _) = render(Reply::new(StatusCode::NO_CONTENT, "cors_preflight"), true).unwrap();
        assert_eq!(head.status, StatusCode::NO_CONTENT);
        assert!(!head.headers.contains_key(CONTENT_LENGTH));
    }

    #[test]
    fn invalid_configuration_is_unavailable_to_grpc() {
        for reason in ["rule_invalid", "invalid_backend", "no_backend"] {
            assert_eq!(grpc_status(StatusCode::INTERNAL_SERVER_ERROR, reason), 14);
        }
        assert_eq!(grpc_status(StatusCode::GATEWAY_TIMEOUT, "request_timeout"), 4);
        assert_eq!(grpc_status(StatusCode::TOO_MANY_REQUESTS, "rate_limited"), 8);
        assert_eq!(grpc_status(StatusCode::TOO_MANY_REQUESTS, "ext_auth_denied"), 14);
    }
}
