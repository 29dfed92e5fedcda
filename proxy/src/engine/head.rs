//! The checks a request head must pass before anything routes on it, and the one form it has afterwards.
//!
//! First the host: it names the listener whose rules the rest is held to. Afterwards: origin-form target with a path in
//! its normal form, exactly one Host field that names a valid authority (also for HTTP/2), at most one plain
//! Content-Length, no transfer coding but `chunked`. What policies see is what the backend gets.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::ops::Range;

use http::header::{CONTENT_LENGTH, HOST, LOCATION, TRANSFER_ENCODING};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, Version};
use pingora_http::RequestHeader;
use policies::client_traffic::EscapedSlashes;
use policies::{Reply, Scheme};

use super::fields;
use crate::traffic::request::RequestRules;
use crate::traffic::request::client::{Client, Unknown};
use crate::traffic::request::path::{BadPath, Normal, PathRules, normal};

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

    /// Takes the dot at the end of the name off, here and in Host.
    fn strip_dot(&mut self, headers: &mut HeaderMap) {
        let dot = self.name.end;
        if self.value.as_bytes().get(dot) != Some(&b'.') {
            return;
        }
        let without = |value: &HeaderValue| {
            let bytes = value.as_bytes();
            let (name, rest) = bytes.split_at_checked(dot)?;
            HeaderValue::try_from([name, rest.strip_prefix(b".")?].concat()).ok()
        };
        if let Some(value) = headers.get(HOST).and_then(without) {
            headers.insert(HOST, value);
        }
        if let Some(value) = without(&self.value) {
            self.value = value;
        }
    }
}

/// Checks the form of the target (RFC 9112 section 3.2): origin-form, absolute-form, `*` for OPTIONS. Pingora keeps any
/// other one aside and lets `uri` say `/`. RFC 9110 section 7.4: a target for another scheme is not for this connection.
///
/// # Errors
/// The answer to send instead.
pub(crate) fn check_form(req: &RequestHeader, scheme: Scheme) -> Result<(), Reply> {
    let target = req.raw_path();
    let is_absolute = || {
        let sent = target.split(|&byte| byte == b':').next().unwrap_or_default();
        let rest = target.get(sent.len()..).unwrap_or_default();
        let own: &[u8] = if scheme == Scheme::Https { b"https" } else { b"http" };
        rest.starts_with(b"://") && sent.eq_ignore_ascii_case(own)
    };
    let fits =
        target.first() == Some(&b'/') || (target == b"*" && req.method == Method::OPTIONS) || is_absolute();
    if fits && req.raw_path_is_utf8() { Ok(()) } else { Err(refuse(StatusCode::BAD_REQUEST, "bad_target")) }
}

/// What a head is checked against.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Setting<'a> {
    /// Those of the listener the host names.
    pub(crate) rules: &'a RequestRules,
    /// Who is connected.
    pub(crate) peer: SocketAddr,
    /// All clients are proxies whose word holds.
    pub(crate) trusts_clients: bool,
    /// It asks for another protocol.
    pub(crate) is_upgrade: bool,
}

/// A head that passed.
#[derive(Debug)]
pub(crate) struct Checked {
    /// The client sends its body when it is told to.
    pub(crate) waits: bool,
    /// Who sent it.
    pub(crate) client: Client,
    /// An answer to it that needs no route.
    pub(crate) answer: Option<Reply>,
}

/// Checks a head whose host was checked, and brings it into the one form. The bytes of an HTTP/1 head were looked at before
/// ([`crate::ingress::wire`]): what Pingora's parser mends never comes here.
///
/// # Errors
/// The answer to send instead.
pub(crate) fn check(head: &mut Parts, host: &mut Host, setting: &Setting<'_>) -> Result<Checked, Reply> {
    let rules = setting.rules;
    let is_http2 = head.version == Version::HTTP_2;
    fields::check(&mut head.headers, is_http2, rules)?;
    check_framing(&head.headers)?;
    let waits = fields::take_expectation(&mut head.headers)? && head.version == Version::HTTP_11;
    let mut answer = check_target(head, &rules.paths)?;
    // Before `Connection` can take anything away.
    let mut client = rules.client.find(&head.headers, setting.peer).unwrap_or_else(|Unknown| {
        answer = Some(refuse(StatusCode::FORBIDDEN, "client_unknown"));
        Client { address: setting.peer, is_forwarded: false }
    });
    client.is_forwarded |= setting.trusts_clients;
    fields::sanitize(&mut head.headers, client.is_forwarded, setting.trusts_clients);
    fields::strip(&mut head.headers, setting.is_upgrade)?;
    if is_http2 {
        fields::join_cookies(&mut head.headers);
    }
    if rules.strips_dot {
        host.strip_dot(&mut head.headers);
    }
    Ok(Checked { waits, client, answer })
}

fn check_framing(headers: &HeaderMap) -> Result<(), Reply> {
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

/// `Some`: the answer that sends the client to another path.
fn check_target(head: &mut Parts, paths: &PathRules) -> Result<Option<Reply>, Reply> {
    let bad = || refuse(StatusCode::BAD_REQUEST, "bad_target");
    let target = head.uri.path_and_query().ok_or_else(bad)?;
    let asterisk = target.path() == "*" && head.method == Method::OPTIONS;
    if !(target.path().starts_with('/') || asterisk) || !has_known_scheme(head) {
        return Err(bad());
    }
    let path = if asterisk { "*" } else { target.path() };
    let normal = if asterisk {
        Normal { path: Cow::Borrowed(path), was_unescaped: false }
    } else {
        normal(path, paths).map_err(|BadPath| bad_path())?
    };
    let target = match (normal.path, target.query()) {
        (Cow::Borrowed(_), _) if head.uri.authority().is_none() => return Ok(None),
        (Cow::Borrowed(_), _) => target.clone(),
        (Cow::Owned(path), None) => PathAndQuery::try_from(path).map_err(|_| bad())?,
        (Cow::Owned(path), Some(query)) => {
            PathAndQuery::try_from(format!("{path}?{query}")).map_err(|_| bad())?
        }
    };
    let redirects = normal.was_unescaped && paths.escaped_slashes == EscapedSlashes::UnescapeAndRedirect;
    let answer = match redirects {
        false => None,
        // As Envoy: gRPC clients follow no redirects.
        true if fields::is_grpc(&head.headers) => return Err(bad_path()),
        true => Some(redirect(target.as_str())?),
    };
    head.uri = Uri::from(target);
    Ok(answer)
}

fn bad_path() -> Reply {
    refuse(StatusCode::BAD_REQUEST, "bad_path")
}

/// The client shall come again with the path as it would be read.
fn redirect(target: &str) -> Result<Reply, Reply> {
    // Two slashes at the start would be a host (RFC 3986 section 4.2), and one of the client's choice.
    let location = if target.starts_with("//") { format!("/.{target}") } else { target.to_owned() };
    let location = HeaderValue::try_from(location).map_err(|_| bad_path())?;
    Ok(Reply::new(StatusCode::TEMPORARY_REDIRECT, "escaped_slashes").with(LOCATION, location))
}

/// In HTTP/2 the scheme is only a claim, which proxies in front of us often get wrong: any of the two will do, and backends
/// are told the connection's.
fn has_known_scheme(head: &Parts) -> bool {
    matches!(head.uri.scheme_str(), None | Some("http" | "https"))
}

/// Checks the host, before anything else: it says whose rules the rest is held to. HTTP/2 and the absolute form carry it
/// in the target; it becomes Host, so that policies change one place.
///
/// # Errors
/// The answer to send instead.
pub(crate) fn host(head: &mut Parts) -> Result<Host, Reply> {
    let bad = || refuse(StatusCode::BAD_REQUEST, "bad_host");
    if let Some(authority) = head.uri.authority() {
        let authority = HeaderValue::try_from(authority.as_str()).map_err(|_| bad())?;
        head.headers.insert(HOST, authority);
    }
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
        // An empty port is allowed (RFC 3986 section 3.2.3).
        let number = std::str::from_utf8(digits).ok()?;
        if !digits.iter().all(u8::is_ascii_digit) || !(number.is_empty() || number.parse::<u16>().is_ok()) {
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
    let labels = !bare.starts_with(b".") && !bare.ends_with(b".") && !bare.windows(2).any(|two| two == b"..");
    (!bare.is_empty() && labels && bare.iter().all(valid)).then_some(bare.len())
}

pub(super) fn refuse(status: StatusCode, reason: &'static str) -> Reply {
    crate::reply::text(status, reason)
}

#[cfg(test)]
#[path = "head_tests.rs"]
mod tests;
