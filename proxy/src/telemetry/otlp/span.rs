//! A finished request as a span, by the semantic conventions for HTTP server spans of OpenTelemetry (1.27 and later).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;

use super::proto::{AnyValue, KeyValue, Resource, Span, Status, Value};
use crate::telemetry::Record;

/// Longest string attribute in bytes.
const LONGEST: usize = 2048;
/// Methods that may be span names; the conventions want any other as `_OTHER`, since clients make them up.
const METHODS: [&str; 9] = ["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "CONNECT", "TRACE"];
/// Query parameters that hold credentials by convention (signatures of object stores).
const SECRETS: [&str; 4] = ["AWSAccessKeyId", "Signature", "sig", "X-Goog-Signature"];

/// `Span.flags`: "the parent is of another process" is known, and true.
const REMOTE_KNOWN: u32 = 0x100;
const REMOTE: u32 = 0x200;
const SERVER: i32 = 2;
const ERROR: i32 = 2;

/// The span of a request that ends now.
pub(super) fn from_record(record: &Record<'_>) -> Span {
    let end = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let is_known = METHODS.contains(&record.method);
    let course = &record.course;
    let name = match course.rule {
        Some(rule) => format!("{} {rule}", if is_known { record.method } else { "HTTP" }),
        None => (if is_known { record.method } else { "HTTP" }).to_owned(),
    };
    let trace = &record.trace;
    let is_error = record.status >= 500;
    Span {
        trace_id: Bytes::copy_from_slice(&trace.trace_id.to_be_bytes()),
        span_id: Bytes::copy_from_slice(&trace.span_id.to_be_bytes()),
        parent_span_id: if trace.is_root() {
            Bytes::new()
        } else {
            Bytes::copy_from_slice(&trace.parent_id.to_be_bytes())
        },
        name,
        kind: SERVER,
        start_time_unix_nano: nanos(end.saturating_sub(course.duration)),
        end_time_unix_nano: nanos(end),
        attributes: attributes(record, is_known),
        // The conventions leave the status of 1xx to 4xx of a server unset.
        status: is_error.then(|| Status { message: course.reason.to_owned(), code: ERROR }),
        flags: u32::from(trace.flags) | REMOTE_KNOWN | if trace.is_root() { 0 } else { REMOTE },
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

fn attributes(record: &Record<'_>, is_known: bool) -> Vec<KeyValue> {
    let course = &record.course;
    let mut all = Vec::with_capacity(24);
    if is_known {
        all.push(string("http.request.method", record.method));
    } else {
        all.push(string("http.request.method", "_OTHER"));
        all.push(string("http.request.method_original", record.method));
    }
    let (path, query) = record.path.split_once('?').map_or((record.path, None), |(p, q)| (p, Some(q)));
    all.push(string("url.path", path));
    if let Some(query) = query {
        all.push(string("url.query", &redacted(query)));
    }
    all.push(string("server.address", record.host));
    all.push(string("network.protocol.version", course.protocol.trim_start_matches("HTTP/")));
    all.push(string("client.address", &course.client.ip().to_canonical().to_string()));
    if course.client.port() != 0 {
        all.push(integer("client.port", u64::from(course.client.port())));
    }
    if let Some(agent) = record.user_agent {
        all.push(string("user_agent.original", agent));
    }
    if record.status != 0 {
        all.push(integer("http.response.status_code", u64::from(record.status)));
    }
    if record.status >= 500 || record.status == 0 {
        all.push(string("error.type", course.reason));
    }
    all.push(integer("http.request.body.size", course.bytes_in));
    all.push(integer("http.response.body.size", course.bytes_out));
    all.push(string("fairway.reason", course.reason));
    all.push(string("fairway.listener", course.listener));
    if let Some(rule) = course.rule {
        all.push(string("fairway.kind", rule.kind));
        all.push(string("fairway.route", &rule.route));
        all.push(string("fairway.rule", &rule.rule));
    }
    if let Some(rule) = record.denied_by {
        all.push(string("fairway.denied_by", rule));
    }
    if !record.would_deny.is_empty() {
        all.push(string("fairway.would_deny", &record.would_deny.join(",")));
    }
    if let Some((backend, endpoint)) = course.upstream {
        all.push(string("fairway.backend", &backend.to_string()));
        all.push(string("fairway.upstream", &endpoint.to_string()));
        all.push(integer("fairway.attempts", u64::from(course.attempts)));
    }
    all
}

/// What the process is.
pub(super) fn resource(role: &str) -> Resource {
    // The pod's name in a cluster.
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let mut attributes = vec![
        string("service.name", &format!("fairway-{role}")),
        string("service.version", env!("CARGO_PKG_VERSION")),
    ];
    if !host.trim().is_empty() {
        attributes.push(string("host.name", host.trim()));
        attributes.push(string("service.instance.id", &format!("{}/{}", host.trim(), std::process::id())));
    }
    Resource { attributes }
}

/// The query with credentials replaced, as the conventions want it.
fn redacted(query: &str) -> String {
    let parameters = query.split('&').map(|parameter| match parameter.split_once('=') {
        Some((name, _)) if SECRETS.contains(&name) => format!("{name}=REDACTED"),
        _ => parameter.to_owned(),
    });
    parameters.collect::<Vec<_>>().join("&")
}

fn string(key: &str, value: &str) -> KeyValue {
    let end = value.floor_char_boundary(LONGEST);
    attribute(key, Value::String(value.get(..end).unwrap_or_default().to_owned()))
}

fn integer(key: &str, value: u64) -> KeyValue {
    attribute(key, Value::Int(i64::try_from(value).unwrap_or(i64::MAX)))
}

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }) }
}

#[cfg(test)]
mod tests {
    use super::redacted;

    #[test]
    fn credentials_in_queries_are_redacted() {
        let query = "a=1&sig=s3cr3t&X-Goog-Signature=x&Signature&signature=kept";
        assert_eq!(redacted(query), "a=1&sig=REDACTED&X-Goog-Signature=REDACTED&Signature&signature=kept");
    }
}
