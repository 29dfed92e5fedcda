//! Fields the proxy adds to what it forwards, as Envoy does for an edge proxy.

use http::header::Entry;
use http::{HeaderMap, HeaderName, HeaderValue};
use policies::Scheme;
use policies::client_traffic::{RequestId, XfccMode};

use super::head::Host;
use crate::ingress::connection::Connection;
use crate::telemetry::{TRACEPARENT, TRACESTATE, TraceContext};
use crate::tls::Shown;
use crate::traffic::request::RequestRules;
use crate::traffic::request::certificate::CertificateRules;
use crate::traffic::request::client::FORWARDED_FOR;

const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const CLIENT_CERT: HeaderName = HeaderName::from_static("x-forwarded-client-cert");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// How many there are, with `traceparent`.
const FIELDS: usize = 5;

/// The way a request has come.
pub(super) struct Hop<'a> {
    pub(super) connection: &'a Connection,
    /// The client's certificate, where the listener verifies them.
    pub(super) shown: Option<&'a Shown>,
    pub(super) host: &'a Host,
    pub(super) trace: TraceContext,
    /// Those of its listener.
    pub(super) rules: &'a RequestRules,
    /// The client is another proxy, whose word on scheme and host holds; else they are overwritten, because anybody can
    /// send them.
    pub(super) is_forwarded: bool,
    /// All clients are proxies.
    pub(super) trusts_clients: bool,
}

/// Adds them.
pub(super) fn add(headers: &mut HeaderMap, hop: &Hop<'_>) {
    let &Hop { connection, host, trace, rules, is_forwarded, .. } = hop;
    // Room for all at once: a map that grows hashes every name again, and would twice.
    headers.reserve(FIELDS);
    if rules.appends_peer {
        append(headers, FORWARDED_FOR, &connection.forwarded_for);
    }
    if !(is_forwarded && headers.contains_key(FORWARDED_PROTO)) {
        let scheme = match connection.scheme() {
            Scheme::Http => HeaderValue::from_static("http"),
            Scheme::Https => HeaderValue::from_static("https"),
        };
        headers.insert(FORWARDED_PROTO, scheme);
    }
    if !(is_forwarded && headers.contains_key(FORWARDED_HOST)) {
        headers.insert(FORWARDED_HOST, host.sent().clone());
    }
    certify(headers, hop);
    match rules.request_id {
        RequestId::PreserveOrGenerate => {
            headers.entry(REQUEST_ID).or_insert_with(|| ascii(&request_id(trace.trace_id)));
        }
        RequestId::Generate => _ = headers.insert(REQUEST_ID, ascii(&request_id(trace.trace_id))),
        // Nothing here decides by it.
        RequestId::Preserve | RequestId::Disable => {}
    }
    headers.insert(TRACEPARENT, trace.header_value());
    if trace.is_root() {
        headers.remove(TRACESTATE);
    }
}

/// What backends are told of the client's certificate. Only one that was verified says anything.
fn certify(headers: &mut HeaderMap, hop: &Hop<'_>) {
    let Some(CertificateRules { mode, details }) = hop.rules.certificate else {
        if !hop.trusts_clients {
            headers.remove(CLIENT_CERT);
        }
        return;
    };
    match (mode, hop.shown) {
        (XfccMode::AlwaysForwardOnly, _) | (XfccMode::ForwardOnly, Some(_)) => {}
        (XfccMode::AppendForward, Some(shown)) => append(headers, CLIENT_CERT, &shown.element(details)),
        (XfccMode::SanitizeSet, Some(shown)) => _ = headers.insert(CLIENT_CERT, shown.element(details)),
        (XfccMode::Sanitize | XfccMode::ForwardOnly | XfccMode::AppendForward | XfccMode::SanitizeSet, _) => {
            _ = headers.remove(CLIENT_CERT)
        }
    }
}

/// Appends to a list. One field, oldest hop first, whatever number of fields the client sent.
fn append(headers: &mut HeaderMap, name: HeaderName, value: &HeaderValue) {
    let mut sent = match headers.entry(name) {
        Entry::Occupied(sent) => sent,
        Entry::Vacant(none) => {
            none.insert(value.clone());
            return;
        }
    };
    let joined = sent.iter().chain([value]).map(HeaderValue::as_bytes).collect::<Vec<_>>().join(&b", "[..]);
    if let Ok(joined) = HeaderValue::try_from(joined) {
        sent.insert(joined);
    }
}

/// A UUID, version 4 in form: 122 bits of the trace id, so that log and trace find each other.
fn request_id(trace_id: u128) -> [u8; 36] {
    let mut text = *b"00000000-0000-0000-0000-000000000000";
    let at = (0..36).rev().filter(|at| !matches!(at, 8 | 13 | 18 | 23));
    let id = (trace_id & !(0xf000 << 64) & !(0xc000 << 48)) | (0x4000 << 64) | (0x8000 << 48);
    write_hex(&mut text, at, id);
    text
}

/// Writes `value` from its lowest digit on, to the places `at`.
fn write_hex(text: &mut [u8], at: impl Iterator<Item = usize>, mut value: u128) {
    for at in at {
        if let (Some(place), Some(&digit)) =
            (text.get_mut(at), b"0123456789abcdef".get((value & 15) as usize))
        {
            *place = digit;
        }
        value >>= 4;
    }
}

fn ascii(text: &[u8]) -> HeaderValue {
    HeaderValue::from_bytes(text).unwrap_or(HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::headers;
    use crate::traffic::Traffic;

    #[test]
    fn the_peer_is_appended_to_what_the_client_claims() {
        let mut headers = headers(&[("x-forwarded-for", "1.1.1.1"), ("x-forwarded-for", "2.2.2.2")]);
        append(&mut headers, FORWARDED_FOR, &HeaderValue::from_static("3.3.3.3"));
        assert_eq!(headers.get_all(FORWARDED_FOR).iter().count(), 1);
        assert_eq!(headers[FORWARDED_FOR], "1.1.1.1, 2.2.2.2, 3.3.3.3");
    }

    /// What is forwarded of a client at 192.0.2.1, by these settings.
    fn added(spec: &str, is_forwarded: bool, sent: &[(&'static str, &'static str)]) -> HeaderMap {
        let traffic = Traffic::compile(Some(&serde_saphyr::from_str(spec).unwrap())).unwrap();
        let gate = Connection::default().gate;
        let connection = Connection::new(
            gate,
            ([192, 0, 2, 1], 1).into(),
            ([192, 0, 2, 2], 2).into(),
            std::sync::Arc::default(),
        );
        let mut head = http::Request::builder().header("host", "a.test").body(()).unwrap().into_parts().0;
        let host = crate::engine::head::host(&mut head).unwrap();
        let mut headers = headers(sent);
        let (trace, rules) = (TraceContext::default(), &traffic.request);
        let hop = Hop {
            connection: &connection,
            shown: None,
            host: &host,
            trace,
            rules,
            is_forwarded,
            trusts_clients: false,
        };
        add(&mut headers, &hop);
        headers
    }

    #[test]
    fn the_list_stays_as_it_came_where_that_is_said() {
        let spec =
            "{clientIPDetection: {xForwardedFor: {numTrustedHops: 1, disableXForwardedForAppend: true}}}";
        let sent = [("x-forwarded-for", "1.1.1.1"), ("x-forwarded-for", "2.2.2.2")];
        assert_eq!(added(spec, true, &sent).get_all(FORWARDED_FOR).iter().count(), 2);
        assert!(!added(spec, true, &[]).contains_key(FORWARDED_FOR));
        assert_eq!(added("{}", true, &sent)[FORWARDED_FOR], "1.1.1.1, 2.2.2.2, 192.0.2.1");
    }

    #[test]
    fn scheme_and_host_are_those_of_a_trusted_proxy_or_ours() {
        let sent = [("x-forwarded-proto", "https"), ("x-forwarded-host", "b.test")];
        for (is_forwarded, proto, host) in [(true, "https", "b.test"), (false, "http", "a.test")] {
            let headers = added("{}", is_forwarded, &sent);
            assert_eq!(
                (&headers[FORWARDED_PROTO], &headers[FORWARDED_HOST]),
                (&proto.parse().unwrap(), &host.parse().unwrap())
            );
        }
        assert_eq!(added("{}", true, &[])[FORWARDED_PROTO], "http");
    }

    #[test]
    fn a_request_id_is_kept_made_or_left_out() {
        let ours = "00000000-0000-4000-8000-000000000000";
        for (mode, with, without) in [
            ("PreserveOrGenerate", "theirs", Some(ours)),
            ("Preserve", "theirs", None),
            ("Generate", ours, Some(ours)),
            ("Disable", "theirs", None),
        ] {
            let spec = format!("{{headers: {{requestID: {mode}}}}}");
            assert_eq!(added(&spec, false, &[("x-request-id", "theirs")])[REQUEST_ID], with, "{mode}");
            let none = added(&spec, false, &[]);
            assert_eq!(none.get(REQUEST_ID).map(|id| id.to_str().unwrap()), without, "{mode}");
        }
    }

    #[test]
    fn what_is_said_of_certificates_goes_on_only_where_one_was_verified() {
        for (mode, kept) in [
            ("Sanitize", false),
            ("ForwardOnly", false),
            ("AppendForward", false),
            ("SanitizeSet", false),
            ("AlwaysForwardOnly", true),
        ] {
            let spec = format!("{{headers: {{xForwardedClientCert: {{mode: {mode}}}}}}}");
            let sent = [("x-forwarded-client-cert", "Hash=00")];
            assert_eq!(added(&spec, true, &sent).contains_key(CLIENT_CERT), kept, "{mode}");
        }
        assert!(!added("{}", true, &[("x-forwarded-client-cert", "Hash=00")]).contains_key(CLIENT_CERT));
    }

    #[test]
    fn a_request_id_is_a_uuid() {
        assert_eq!(&request_id(u128::MAX), b"ffffffff-ffff-4fff-bfff-ffffffffffff");
        assert_eq!(&request_id(0), b"00000000-0000-4000-8000-000000000000");
    }
}
