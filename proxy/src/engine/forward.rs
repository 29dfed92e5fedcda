//! Fields the proxy adds to what it forwards, as Envoy does for an edge proxy.

use http::header::Entry;
use http::{HeaderMap, HeaderName, HeaderValue};
use policies::Scheme;

use super::head::Host;
use crate::ingress::connection::Connection;
use crate::telemetry::{TRACEPARENT, TRACESTATE, TraceContext};

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// How many there are, with `traceparent`.
const FIELDS: usize = 5;

/// Adds them. `trusted`: the client is another proxy, whose word on scheme and host holds; an edge overwrites them,
/// because anybody can send them.
pub(crate) fn add(
    headers: &mut HeaderMap,
    connection: &Connection,
    host: &Host,
    trace: TraceContext,
    trusted: bool,
) {
    // Room for all at once: a map that grows hashes every name again, and would twice.
    headers.reserve(FIELDS);
    append_peer(headers, &connection.forwarded_for);
    if !(trusted && headers.contains_key(FORWARDED_PROTO)) {
        let scheme = match connection.scheme() {
            Scheme::Http => HeaderValue::from_static("http"),
            Scheme::Https => HeaderValue::from_static("https"),
        };
        headers.insert(FORWARDED_PROTO, scheme);
    }
    if !(trusted && headers.contains_key(FORWARDED_HOST)) {
        headers.insert(FORWARDED_HOST, host.sent().clone());
    }
    headers.entry(REQUEST_ID).or_insert_with(|| ascii(&request_id(trace.trace_id)));
    headers.insert(TRACEPARENT, trace.header_value());
    if trace.is_root() {
        headers.remove(TRACESTATE);
    }
}

fn append_peer(headers: &mut HeaderMap, peer: &HeaderValue) {
    let mut sent = match headers.entry(FORWARDED_FOR) {
        Entry::Occupied(sent) => sent,
        Entry::Vacant(none) => {
            none.insert(peer.clone());
            return;
        }
    };
    // One field, oldest hop first, whatever number of fields the client sent.
    let joined = sent.iter().chain([peer]).map(HeaderValue::as_bytes).collect::<Vec<_>>().join(&b", "[..]);
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

    fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        fields
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect()
    }

    #[test]
    fn the_peer_is_appended_to_what_the_client_claims() {
        let mut headers = headers(&[("x-forwarded-for", "1.1.1.1"), ("x-forwarded-for", "2.2.2.2")]);
        append_peer(&mut headers, &HeaderValue::from_static("3.3.3.3"));
        assert_eq!(headers.get_all(FORWARDED_FOR).iter().count(), 1);
        assert_eq!(headers[FORWARDED_FOR], "1.1.1.1, 2.2.2.2, 3.3.3.3");
    }

    #[test]
    fn a_request_id_is_a_uuid() {
        assert_eq!(&request_id(u128::MAX), b"ffffffff-ffff-4fff-bfff-ffffffffffff");
        assert_eq!(&request_id(0), b"00000000-0000-4000-8000-000000000000");
    }
}
