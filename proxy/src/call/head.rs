//! Request heads of our own calls: what `HttpProxy` does for forwarded requests.

use http::header::{CONNECTION, CONTENT_LENGTH, EXPECT, HOST, TE, TRAILER, TRANSFER_ENCODING, UPGRADE};
use http::uri::{Authority, Parts, PathAndQuery, Scheme};
use http::{HeaderName, HeaderValue, Uri, Version};
use pingora_error::{ErrorType, OkOrErr, OrErr, Result};
use pingora_http::RequestHeader;

/// Fields of one connection (RFC 9110 section 7.6.1), and `Expect`, because our body does not wait for a 100.
const OF_THE_CONNECTION: [HeaderName; 8] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    HeaderName::from_static("http2-settings"),
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
    EXPECT,
];

/// A copy of `head` without what belongs to the client's connection.
pub(super) fn strip(head: &RequestHeader, has_body: bool) -> Result<RequestHeader> {
    let mut stripped = head.clone();
    for nominated in head.headers.get_all(CONNECTION).iter().filter_map(|value| value.to_str().ok()) {
        for name in nominated.split(',').map(str::trim).filter(|name| !name.eq_ignore_ascii_case("host")) {
            stripped.remove_header(name);
        }
    }
    for name in &OF_THE_CONNECTION {
        stripped.remove_header(name);
    }
    // `TE: trailers` is what gRPC asks for; everything else there is of the connection.
    if head.headers.get(TE).is_some_and(|te| !te.as_bytes().eq_ignore_ascii_case(b"trailers")) {
        stripped.remove_header(&TE);
    }
    if !has_body && head.headers.get(CONTENT_LENGTH).is_some_and(|length| length != "0") {
        stripped.remove_header(&CONTENT_LENGTH);
    }
    if !stripped.headers.contains_key(HOST) {
        let authority = head.uri.authority().or_err(ErrorType::InvalidHTTPHeader, "no Host")?;
        let host =
            HeaderValue::from_str(authority.as_str()).or_err(ErrorType::InvalidHTTPHeader, "bad Host")?;
        stripped.insert_header(HOST, host)?;
    }
    Ok(stripped)
}

/// True for gRPC, which needs HTTP/2.
pub(super) fn is_grpc(head: &RequestHeader) -> bool {
    head.headers
        .get(http::header::CONTENT_TYPE)
        .is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"))
}

/// The form for HTTP/1.1: origin-form target, and a body whose end can be found.
pub(super) fn for_h1(head: &RequestHeader, has_body: bool) -> Result<RequestHeader> {
    let mut head = head.clone();
    head.set_version(Version::HTTP_11);
    head.remove_header(&TE);
    if head.uri.authority().is_some() {
        head.set_uri(Uri::from(path(&head)));
    }
    if has_body && !head.headers.contains_key(CONTENT_LENGTH) {
        head.insert_header(TRANSFER_ENCODING, HeaderValue::from_static("chunked"))?;
    }
    Ok(head)
}

/// The form for HTTP/2. The scheme is ours to say: without one Pingora says `https`, also in plain text.
pub(super) fn for_h2(head: &RequestHeader, tls: bool) -> Result<RequestHeader> {
    let mut h2 = head.clone();
    let host = head.headers.get(HOST).map(HeaderValue::as_bytes).unwrap_or_default();
    let mut parts = Parts::default();
    parts.scheme = Some(if tls { Scheme::HTTPS } else { Scheme::HTTP });
    parts.authority = Some(Authority::try_from(host).or_err(ErrorType::InvalidHTTPHeader, "bad Host")?);
    parts.path_and_query = Some(path(head));
    h2.set_uri(Uri::from_parts(parts).or_err(ErrorType::InvalidHTTPHeader, "bad target")?);
    h2.remove_header(&HOST);
    h2.set_version(Version::HTTP_2);
    Ok(h2)
}

fn path(head: &RequestHeader) -> PathAndQuery {
    head.uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"))
}
