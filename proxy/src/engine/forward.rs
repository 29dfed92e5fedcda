//! Fields the proxy adds to what it forwards, as Envoy does for an edge proxy.

use http::{HeaderMap, HeaderName, HeaderValue};
use policies::Scheme;

use super::head::Host;
use crate::ingress::connection::Connection;
use crate::telemetry::TraceContext;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// Adds them. `trusted`: the client is another proxy, whose word on scheme and host holds; an edge overwrites them,
/// because anybody can send them.
pub(crate) fn add(
    headers: &mut HeaderMap,
    connection: &Connection,
    host: &Host,
    trace: TraceContext,
    trusted: bool,
) {
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
    if !headers.contains_key(REQUEST_ID) {
        headers.insert(REQUEST_ID, ascii(&request_id(trace.trace_id)));
    }
    headers.insert(TRACEPARENT, ascii(&traceparent(trace)));
}

fn append_peer(headers: &mut HeaderMap, peer: &HeaderValue) {
    let mut before = headers.get_all(FORWARDED_FOR).iter();
    let Some(first) = before.next() else {
        headers.insert(FORWARDED_FOR, peer.clone());
        return;
    };
    // One field, oldest hop first, whatever number of fields the client sent.
    let mut joined = first.as_bytes().to_vec();
    for more in before.chain([peer]) {
        joined.extend_from_slice(b", ");
        joined.extend_from_slice(more.as_bytes());
    }
    if let Ok(joined) = HeaderValue::try_from(joined) {
        headers.insert(FORWARDED_FOR, joined);
    }
}

/// The trace of a request: the client's, with a new span of ours, or a new one.
pub(crate) fn trace(headers: &HeaderMap, random: impl Fn() -> u64) -> TraceContext {
    let span_id = random().max(1);
    let mut fields = headers.get_all(TRACEPARENT).iter();
    // W3C Trace Context section 3.3: more than one field is as good as none.
    let sent = fields.next().filter(|_| fields.next().is_none());
    sent.and_then(|sent| parse(sent.as_bytes(), span_id)).unwrap_or_else(|| TraceContext {
        trace_id: (u128::from(random()) << 64) | u128::from(random().max(1)),
        parent_id: 0,
        span_id,
        flags: 0,
    })
}

/// `version "-" trace-id "-" parent-id "-" flags` (W3C Trace Context section 3.2); later versions may append fields.
fn parse(sent: &[u8], span_id: u64) -> Option<TraceContext> {
    let fixed = sent.get(..55)?;
    let dashes = [2, 35, 52].iter().all(|&at| fixed.get(at) == Some(&b'-'));
    let version = hex(fixed.get(..2)?)?;
    let complete = sent.len() == 55 || (version != 0 && sent.get(55) == Some(&b'-'));
    let trace_id = hex(fixed.get(3..35)?)?;
    let parent_id = u64::try_from(hex(fixed.get(36..52)?)?).ok()?;
    let flags = u8::try_from(hex(fixed.get(53..)?)?).ok()? & 1;
    (dashes && complete && version != 0xff && trace_id != 0 && parent_id != 0).then_some(TraceContext {
        trace_id,
        parent_id,
        span_id,
        flags,
    })
}

fn hex(digits: &[u8]) -> Option<u128> {
    digits.iter().try_fold(0, |value: u128, &digit| {
        let digit = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some((value << 4) | u128::from(digit))
    })
}

fn traceparent(trace: TraceContext) -> [u8; 55] {
    let mut text = *b"00-00000000000000000000000000000000-0000000000000000-00";
    write_hex(&mut text, (3..35).rev(), trace.trace_id);
    write_hex(&mut text, (36..52).rev(), u128::from(trace.span_id));
    write_hex(&mut text, (53..55).rev(), u128::from(trace.flags));
    text
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
        if let (Some(place), Some(&digit)) = (text.get_mut(at), b"0123456789abcdef".get((value & 15) as usize)) {
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
    fn a_trace_goes_on_with_a_span_of_ours() {
        let sent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let trace = trace(&headers(&[("traceparent", sent)]), || 0xabc);
        assert_eq!(trace.parent_id, 0xb7ad_6b71_6920_3331);
        assert_eq!(&traceparent(trace), b"00-0af7651916cd43dd8448eb211c80319c-0000000000000abc-01");
    }

    #[test]
    fn a_malformed_traceparent_starts_a_new_trace() {
        for sent in [
            "",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0AF7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x",
        ] {
            let trace = trace(&headers(&[("traceparent", sent)]), || 7);
            assert_eq!((trace.parent_id, trace.flags, trace.trace_id), (0, 0, (7 << 64) | 7), "{sent}");
        }
        let later = "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x";
        assert_ne!(trace(&headers(&[("traceparent", later)]), || 7).parent_id, 0);
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
