//! Fields that must not be believed, must not get lost, and must not be confused.

use http::header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, EXPECT, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use policies::Reply;
use policies::client_traffic::Underscores;
use smallvec::SmallVec;

use super::head::refuse;
use crate::ingress::wire::is_token;
use crate::traffic::request::RequestRules;

/// Most options in `Connection`.
const OPTIONS: usize = 16;
/// Fields of ours: what a client says in them is not ours.
const OWN: &str = "x-fairway-";

// In these proxies tell backends who the client is. Nothing here sets them, so at an edge they come from the client
// itself.
const FORWARDED: HeaderName = HeaderName::from_static("forwarded");
const REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");

/// What `Connection` cannot take away (RFC 9110 section 7.6.1 lets a client name any field): framing, identity, and
/// what policies and backends decide by.
const PROTECTED: [&str; 16] = [
    "host",
    "content-length",
    "content-type",
    "authorization",
    "cookie",
    "origin",
    "forwarded",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-forwarded-client-cert",
    "x-real-ip",
    "x-request-id",
    "traceparent",
    "tracestate",
    "transfer-encoding",
];

/// Checks what HTTP/2 and Pingora let through, and removes what nobody may say.
///
/// # Errors
/// The answer to send instead.
pub(super) fn check(headers: &mut HeaderMap, is_http2: bool, rules: &RequestRules) -> Result<(), Reply> {
    // What HTTP/2 says of the host is no field, and has become one.
    if headers.len() > rules.most_fields + usize::from(is_http2) {
        return Err(refuse(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "head_too_large"));
    }
    let bad = || refuse(StatusCode::BAD_REQUEST, "bad_header");
    let mut has_own = false;
    let mut has_underscores = false;
    for (name, value) in headers.iter() {
        let name = name.as_str();
        has_own |= name.starts_with(OWN);
        has_underscores |= name.contains('_');
        // Of HTTP/1 the bytes were looked at. RFC 9113 section 8.2.1: a value "MUST NOT start or end with" white space.
        if is_http2 && is_padded(value.as_bytes()) {
            return Err(bad());
        }
    }
    if has_underscores {
        match rules.underscores {
            Underscores::Allow => {}
            Underscores::RejectRequest => return Err(bad()),
            Underscores::DropHeader => remove(headers, |name| name.contains('_')),
        }
    }
    if has_own {
        remove(headers, |name| name.starts_with(OWN));
    }
    Ok(())
}

fn remove(headers: &mut HeaderMap, is_gone: impl Fn(&str) -> bool) {
    let gone: Vec<HeaderName> = headers.keys().filter(|name| is_gone(name.as_str())).cloned().collect();
    gone.iter().for_each(|name| drop(headers.remove(name)));
}

/// Removes what only proxies may say. `is_forwarded`: the client is one whose word on its own clients holds;
/// `trusts_clients`: all are.
pub(super) fn sanitize(headers: &mut HeaderMap, is_forwarded: bool, trusts_clients: bool) {
    if !is_forwarded {
        headers.remove(FORWARDED);
    }
    if !trusts_clients {
        headers.remove(REAL_IP);
    }
}

/// The request is gRPC's.
pub(super) fn is_grpc(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|kind| {
        kind.as_bytes()
            .strip_prefix(b"application/grpc")
            .is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')))
    })
}

fn is_padded(value: &[u8]) -> bool {
    matches!(value.first(), Some(b' ' | b'\t')) || matches!(value.last(), Some(b' ' | b'\t'))
}

/// Takes `Connection` and what it names away, save what it cannot name. An upgrade keeps its own option.
///
/// # Errors
/// The answer to send instead.
pub(super) fn strip(headers: &mut HeaderMap, is_upgrade: bool) -> Result<(), Reply> {
    if !headers.contains_key(CONNECTION) {
        return Ok(());
    }
    let bad = || refuse(StatusCode::BAD_REQUEST, "bad_header");
    let mut named = 0;
    for value in take(headers, &CONNECTION) {
        for option in options(&value) {
            named += 1;
            if named > OPTIONS || !option.iter().copied().all(is_token) {
                return Err(bad());
            }
            if is_protected(option) || (is_upgrade && option.eq_ignore_ascii_case(b"upgrade")) {
                continue;
            }
            headers.remove(HeaderName::from_bytes(option).map_err(|_| bad())?);
        }
    }
    if is_upgrade {
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    }
    Ok(())
}

/// The same for a response, whose `Connection` is about the backend's connection.
pub(super) fn strip_response(headers: &HeaderMap) -> SmallVec<[HeaderName; 2]> {
    let values = headers.get_all(CONNECTION).iter();
    values
        .flat_map(options)
        .take(OPTIONS)
        .filter_map(|option| HeaderName::from_bytes(option).ok())
        .filter(|name| ![CONTENT_LENGTH, TRANSFER_ENCODING, UPGRADE].contains(name))
        .collect()
}

fn options(value: &HeaderValue) -> impl Iterator<Item = &[u8]> {
    value.as_bytes().split(|&byte| byte == b',').map(<[u8]>::trim_ascii).filter(|option| !option.is_empty())
}

fn is_protected(option: &[u8]) -> bool {
    PROTECTED.iter().any(|name| option.eq_ignore_ascii_case(name.as_bytes()))
        || option.get(..OWN.len()).is_some_and(|start| start.eq_ignore_ascii_case(OWN.as_bytes()))
}

/// Removes all values of a field, in order.
fn take(headers: &mut HeaderMap, name: &HeaderName) -> SmallVec<[HeaderValue; 1]> {
    match headers.entry(name) {
        http::header::Entry::Occupied(entry) => entry.remove_entry_mult().1.collect(),
        http::header::Entry::Vacant(_) => SmallVec::new(),
    }
}

/// RFC 9110 section 10.1.1: we answer for the backend, which is not asked. True when the client waits.
///
/// # Errors
/// 417 for any other expectation.
pub(super) fn take_expectation(headers: &mut HeaderMap) -> Result<bool, Reply> {
    if !headers.contains_key(EXPECT) {
        return Ok(false);
    }
    let only = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"100-continue");
    if take(headers, &EXPECT).iter().all(only) {
        return Ok(true);
    }
    Err(refuse(StatusCode::EXPECTATION_FAILED, "expectation_failed"))
}

/// RFC 9113 section 8.2.3: crumbs are joined before they go anywhere that is not HTTP/2.
pub(super) fn join_cookies(headers: &mut HeaderMap) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::headers;

    #[test]
    fn connection_takes_away_what_it_names_and_not_what_others_rely_on() {
        let mut head = headers(&[
            ("connection", "X-Hop, Authorization,, cookie"),
            ("connection", "keep-alive, X-FAIRWAY-user"),
            ("x-hop", "1"),
            ("keep-alive", "5"),
            ("authorization", "a"),
            ("cookie", "b"),
            ("x-fairway-user", "c"),
        ]);
        strip(&mut head, false).unwrap();
        let left: Vec<_> = head.keys().map(HeaderName::as_str).collect();
        assert_eq!(left.len(), 3, "{left:?}");
        assert!(head.contains_key("authorization") && head.contains_key("cookie"));
        let mut head = headers(&[("connection", "upgrade, x-hop"), ("upgrade", "websocket"), ("x-hop", "1")]);
        strip(&mut head, true).unwrap();
        assert_eq!(
            (head.len(), &head[CONNECTION], &head[UPGRADE]),
            (2, &"upgrade".parse().unwrap(), &"websocket".parse().unwrap())
        );
    }

    #[test]
    fn connection_is_a_short_list_of_tokens() {
        assert!(strip(&mut headers(&[("connection", "\"x-forwarded-for\"")]), false).is_err());
        assert!(strip(&mut headers(&[("connection", ":path")]), false).is_err());
        let many: &'static str = Box::leak("a,".repeat(17).into_boxed_str());
        assert!(strip(&mut headers(&[("connection", many)]), false).is_err());
    }

    #[test]
    fn only_proxies_may_say_who_a_client_is() {
        let sent = [
            ("forwarded", "for=9.9.9.9"),
            ("x-real-ip", "9.9.9.9"),
            ("x-fairway-user", "root"),
            ("x-a", "b"),
        ];
        let mut head = headers(&sent);
        check(&mut head, false, &RequestRules::default()).unwrap();
        sanitize(&mut head, false, false);
        assert_eq!(head.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["x-a"]);
        let mut head = headers(&sent);
        check(&mut head, false, &RequestRules::default()).unwrap();
        let mut behind = head.clone();
        sanitize(&mut head, true, true);
        assert_eq!(head.len(), 3, "the word of a proxy holds, save for what is ours");
        sanitize(&mut behind, true, false);
        let left: Vec<_> = behind.keys().map(HeaderName::as_str).collect();
        assert_eq!(left, ["forwarded", "x-a"], "a client's own proxy at an edge");
    }

    #[test]
    fn fields_of_http2_are_not_padded() {
        for value in [" a", "a\t"] {
            assert!(
                check(&mut headers(&[("x", value)]), true, &RequestRules::default()).is_err(),
                "{value:?}"
            );
        }
        check(&mut headers(&[("x", "")]), true, &RequestRules::default()).unwrap();
    }

    #[test]
    fn a_name_with_an_underscore_is_refused_dropped_or_let_through() {
        let sent = [("x_fairway-a", "1"), ("x-a", "2"), ("x_a", "3"), ("x_a", "4")];
        let by = |underscores, is_http2| {
            let mut head = headers(&sent);
            let rules = RequestRules { underscores, ..RequestRules::default() };
            check(&mut head, is_http2, &rules).map(|()| head.len()).map_err(|reply| reply.reason)
        };
        for is_http2 in [false, true] {
            assert_eq!(by(Underscores::RejectRequest, is_http2), Err("bad_header"));
            assert_eq!(by(Underscores::DropHeader, is_http2), Ok(1));
            assert_eq!(by(Underscores::Allow, is_http2), Ok(4));
        }
    }

    #[test]
    fn a_head_has_as_many_fields_as_its_listener_says() {
        for (count, most_fields, fits) in
            [(100, 100, true), (101, 100, false), (2, 1, false), (250, 250, true)]
        {
            let mut head = HeaderMap::new();
            (0..count).for_each(|_| _ = head.append("x", HeaderValue::from_static("y")));
            let rules = RequestRules { most_fields, ..RequestRules::default() };
            assert_eq!(check(&mut head, false, &rules).is_ok(), fits, "{count} of {most_fields}");
            head.insert("host", HeaderValue::from_static("a"));
            assert_eq!(
                check(&mut head, true, &rules).is_ok(),
                fits,
                "{count} of {most_fields} beside the host"
            );
        }
    }

    #[test]
    fn only_one_expectation_is_known() {
        assert!(!take_expectation(&mut headers(&[])).unwrap());
        let mut head = headers(&[("expect", "100-Continue")]);
        assert!(take_expectation(&mut head).unwrap() && head.is_empty());
        assert!(take_expectation(&mut headers(&[("expect", "100-continue"), ("expect", "y")])).is_err());
    }
}
