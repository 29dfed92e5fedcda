//! The checks a request head must pass before anything routes on it, and the one form it has afterwards.
//!
//! Afterwards: origin-form target, exactly one Host field that names a valid authority (also for HTTP/2), at most one
//! plain Content-Length, no transfer coding but `chunked`. What policies see is what the backend gets.

use std::ops::Range;

use http::header::{CONTENT_LENGTH, COOKIE, EXPECT, HOST, TRANSFER_ENCODING};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, Version};
use pingora_http::RequestHeader;
use policies::Reply;

/// Largest HTTP/1 head in bytes (Envoy's default, 60 KiB); HTTP/2 has Pingora's own limit of 64 KiB.
const LARGEST: usize = 60 * 1024;

/// A checked host: lower-case, without port and trailing dot. IPv6 literals keep their brackets.
#[derive(Debug, Clone)]
pub(crate) struct Host {
    value: HeaderValue,
    name: Range<usize>,
}

impl Host {
    /// The name alone.
    pub(crate) fn as_str(&self) -> &str {
        let bytes = self.value.as_bytes().get(self.name.clone()).unwrap_or_default();
        std::str::from_utf8(bytes).unwrap_or_default()
    }

    /// With the port the client sent, if it sent one.
    pub(crate) fn sent(&self) -> &HeaderValue {
        &self.value
    }
}

/// Checks the form of the target (RFC 9112 section 3.2): origin-form, absolute-form, `*` for OPTIONS. Pingora keeps any
/// other one aside and lets `uri` say `/`.
///
/// # Errors
/// The answer to send instead.
pub(crate) fn check_form(req: &RequestHeader) -> Result<(), Reply> {
    let target = req.raw_path();
    let is_absolute = || {
        let scheme = target.split(|&byte| byte == b':').next().unwrap_or_default();
        let rest = target.get(scheme.len()..).unwrap_or_default();
        rest.starts_with(b"://")
            && [b"http".as_slice(), b"https"].iter().any(|s| scheme.eq_ignore_ascii_case(s))
    };
    let fits =
        target.first() == Some(&b'/') || (target == b"*" && req.method == Method::OPTIONS) || is_absolute();
    if fits && req.raw_path_is_utf8() { Ok(()) } else { Err(refuse(StatusCode::BAD_REQUEST, "bad_target")) }
}

/// Checks a head and brings it into the one form. `raw`: the bytes of an HTTP/1 head.
///
/// # Errors
/// The answer to send instead.
pub(crate) fn check(head: &mut Parts, raw: Option<&[u8]>) -> Result<Host, Reply> {
    if let Some(raw) = raw {
        check_raw(raw)?;
    }
    // Most requests have no body: one pass over the names instead of a look-up for each field that is about one.
    if head.headers.keys().any(|name| [CONTENT_LENGTH, TRANSFER_ENCODING, EXPECT].contains(name)) {
        check_framing(&head.headers, raw)?;
        check_expect(&head.headers)?;
    }
    check_target(head)?;
    let host = host(head)?;
    if head.version == Version::HTTP_2 {
        join_cookies(&mut head.headers);
    }
    Ok(host)
}

/// What Pingora's parser has already mended must be looked for in the bytes.
fn check_raw(raw: &[u8]) -> Result<(), Reply> {
    if raw.len() > LARGEST {
        return Err(refuse(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "head_too_large"));
    }
    let line = raw.split(|&byte| byte == b'\r' || byte == b'\n').next().unwrap_or_default();
    let spaces = line.iter().filter(|&&byte| byte == b' ').count();
    // RFC 9112 section 3: exactly two spaces, no control or non-ASCII byte; section 3.2: no fragment. Pingora has escaped
    // some of these by now; what is left of them does not begin with a slash, or is the same for policy and backend.
    if spaces != 2 || line.iter().any(|&byte| !(0x20..0x7f).contains(&byte) || byte == b'#') {
        return Err(refuse(StatusCode::BAD_REQUEST, "bad_target"));
    }
    Ok(())
}

fn has_field(raw: &[u8], name: &[u8]) -> bool {
    raw.split(|&byte| byte == b'\n').any(|line| {
        line.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name))
            && line.get(name.len()).is_some_and(|&byte| byte == b':')
    })
}

fn check_framing(headers: &HeaderMap, raw: Option<&[u8]>) -> Result<(), Reply> {
    // Pingora drops the length when both are there; a neighbour that prefers the length would disagree with us on
    // where the request ends (RFC 9112 section 6.1).
    if headers.contains_key(TRANSFER_ENCODING) && raw.is_some_and(|raw| has_field(raw, b"content-length")) {
        return Err(refuse(StatusCode::BAD_REQUEST, "bad_framing"));
    }
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    if let Some(length) = lengths.next() {
        let length = length.as_bytes();
        // A list of equal numbers is allowed by RFC 9110 section 8.6, and so is refusing it: backends disagree on it.
        let octal = length.len() > 1 && length.first() == Some(&b'0');
        if lengths.next().is_some() || octal || !length.iter().all(u8::is_ascii_digit) {
            return Err(refuse(StatusCode::BAD_REQUEST, "bad_framing"));
        }
    }
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    if let Some(coding) = codings.next()
        && (codings.next().is_some() || !coding.as_bytes().eq_ignore_ascii_case(b"chunked"))
    {
        return Err(refuse(StatusCode::NOT_IMPLEMENTED, "bad_transfer_encoding"));
    }
    Ok(())
}

fn check_expect(headers: &HeaderMap) -> Result<(), Reply> {
    match headers.get(EXPECT) {
        Some(expect) if !expect.as_bytes().eq_ignore_ascii_case(b"100-continue") => {
            Err(refuse(StatusCode::EXPECTATION_FAILED, "expectation_failed"))
        }
        _ => Ok(()),
    }
}

fn check_target(head: &mut Parts) -> Result<(), Reply> {
    let bad = || refuse(StatusCode::BAD_REQUEST, "bad_target");
    let target = head.uri.path_and_query().ok_or_else(bad)?;
    let path = target.path();
    let asterisk = path == "*" && head.method == Method::OPTIONS;
    if !(path.starts_with('/') || asterisk) || has_encoded_nul(path) {
        return Err(bad());
    }
    if head.uri.authority().is_none() {
        return Ok(());
    }
    // HTTP/2 carries scheme and authority beside the path. The authority becomes Host, so that policies change one place.
    let target = target.clone();
    let authority = head.uri.authority().map(|authority| HeaderValue::try_from(authority.as_str()));
    if let Some(authority) = authority {
        head.headers.insert(HOST, authority.map_err(|_| bad())?);
    }
    head.uri = Uri::from(target);
    Ok(())
}

fn has_encoded_nul(path: &str) -> bool {
    path.contains('%') && path.as_bytes().windows(3).any(|three| three == b"%00")
}

fn host(head: &Parts) -> Result<Host, Reply> {
    let bad = || refuse(StatusCode::BAD_REQUEST, "bad_host");
    let mut fields = head.headers.get_all(HOST).iter();
    let value = match (fields.next(), fields.next()) {
        (Some(value), None) => value,
        (None, None) if head.version < Version::HTTP_11 => {
            return Ok(Host { value: HeaderValue::from_static(""), name: 0..0 });
        }
        (None, _) | (Some(_), Some(_)) => return Err(bad()),
    };
    let end = name_end(value.as_bytes()).ok_or_else(bad)?;
    if value.as_bytes().get(..end).is_some_and(|name| name.iter().any(u8::is_ascii_uppercase)) {
        let lower = value.as_bytes().to_ascii_lowercase();
        return Ok(Host { value: HeaderValue::try_from(lower).map_err(|_| bad())?, name: 0..end });
    }
    Ok(Host { value: value.clone(), name: 0..end })
}

/// Where the name ends in `uri-host [":" port]` (RFC 9110 section 7.2), without a trailing dot.
fn name_end(value: &[u8]) -> Option<usize> {
    let (end, literal) = if value.first() == Some(&b'[') {
        (value.iter().position(|&byte| byte == b']')? + 1, true)
    } else {
        (value.iter().position(|&byte| byte == b':').unwrap_or(value.len()), false)
    };
    let name = value.get(..end)?;
    let port = value.get(end..)?;
    if !port.is_empty() {
        let digits = port.strip_prefix(b":")?;
        if digits.len() > 5 || !digits.iter().all(u8::is_ascii_digit) {
            return None;
        }
    }
    if literal {
        let inner = name.get(1..name.len() - 1)?;
        std::str::from_utf8(inner).ok()?.parse::<std::net::Ipv6Addr>().ok()?;
        return Some(end);
    }
    let bare = name.strip_suffix(b".").unwrap_or(name);
    let valid = |&byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    (!bare.is_empty() && bare.iter().all(valid)).then_some(bare.len())
}

/// RFC 9113 section 8.2.3: crumbs are joined before they go anywhere that is not HTTP/2.
fn join_cookies(headers: &mut HeaderMap) {
    let mut crumbs = headers.get_all(COOKIE).iter();
    if crumbs.next().is_none() || crumbs.next().is_none() {
        return;
    }
    let joined =
        headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect::<Vec<_>>().join(&b"; "[..]);
    if let Ok(joined) = HeaderValue::try_from(joined) {
        headers.insert(COOKIE, joined);
    }
}

fn refuse(status: StatusCode, reason: &'static str) -> Reply {
    crate::reply::text(status, reason)
}

#[cfg(test)]
#[path = "head_tests.rs"]
mod tests;
