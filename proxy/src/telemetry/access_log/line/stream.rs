//! The line of a connection or flow: the fields of a request, `null` where there is no request.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::{HOST, clock, course, push, source, text, token};
use crate::telemetry::StreamRecord;

/// Appends the line of one connection that ends now.
pub(in super::super) fn format(out: &mut Vec<u8>, role: &'static str, record: &StreamRecord<'_>) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    format_at(out, now, role, record);
}

/// Appends the line of one connection that ends at `now`, since 1970.
pub(super) fn format_at(out: &mut Vec<u8>, now: Duration, role: &'static str, record: &StreamRecord<'_>) {
    out.reserve(1024);
    push(out, b"{\"time\":\"");
    clock::time(out, now);
    push(out, b"\",\"role\":");
    token(out, role);
    push(out, b",\"method\":null,\"host\":");
    match record.sni {
        Some(sni) => text(out, sni, HOST),
        None => push(out, b"null"),
    }
    push(out, b",\"path\":null,\"protocol\":");
    token(out, record.course.protocol);
    push(out, b",\"status\":null");
    course(out, &record.course);
    push(
        out,
        b",\"user_agent\":null,\"trace_id\":null,\"span_id\":null,\"denied_by\":null,\"would_deny\":null",
    );
    source(out, record.source);
    push(out, b"}\n");
}

#[cfg(test)]
mod tests;
