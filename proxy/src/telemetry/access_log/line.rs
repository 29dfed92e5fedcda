//! One line of the access log: a JSON object with the same fields in the same order, `null` where there is no value.
//!
//! Written by hand: this runs once per request. What came from a client is escaped and cut here, nowhere else.

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use config::BackendRef;
use policies::caller::Workload;

use super::clock::{self, digit};
use super::escape::escape;
use super::{Course, Record, TraceContext};
use crate::rule::RuleName;
use crate::telemetry::trace::hex;

pub(super) mod stream;

/// Longest values in bytes before escaping; what is longer is cut and ends with `…`.
const METHOD: usize = 32;
const HOST: usize = 256;
const PATH: usize = 2048;
const USER_AGENT: usize = 512;
/// Names of configuration: two Kubernetes names and what joins them.
const NAME: usize = 640;

/// Appends the line of one request that ends now.
pub(super) fn format(out: &mut Vec<u8>, role: &'static str, record: &Record<'_>) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    format_at(out, now, role, record);
}

/// Appends the line of one request that ends at `now`, since 1970.
pub(super) fn format_at(out: &mut Vec<u8>, now: Duration, role: &'static str, record: &Record<'_>) {
    out.reserve(1024);
    push(out, b"{\"time\":\"");
    clock::time(out, now);
    push(out, b"\",\"role\":");
    token(out, role);
    push(out, b",\"method\":");
    text(out, record.method, METHOD);
    push(out, b",\"host\":");
    text(out, record.host, HOST);
    push(out, b",\"path\":");
    text(out, record.path, PATH);
    push(out, b",\"protocol\":");
    token(out, record.course.protocol);
    push(out, b",\"status\":");
    number(out, record.status);
    course(out, &record.course);
    push(out, b",\"user_agent\":");
    match record.user_agent {
        Some(agent) => text(out, agent, USER_AGENT),
        None => push(out, b"null"),
    }
    trace(out, &record.trace);
    denied(out, record);
    source(out, record.source);
    push(out, b"}\n");
}

/// The fields `reason` to `client`.
fn course(out: &mut Vec<u8>, course: &Course<'_>) {
    push(out, b",\"reason\":");
    token(out, course.reason);
    push(out, b",\"listener\":");
    text(out, course.listener, NAME);
    rule(out, course.rule);
    upstream(out, course.upstream);
    push(out, b",\"attempts\":");
    number(out, course.attempts);
    push(out, b",\"duration_ms\":");
    millis(out, course.duration);
    push(out, b",\"upstream_ms\":");
    match course.upstream_duration {
        Some(duration) => millis(out, duration),
        None => push(out, b"null"),
    }
    push(out, b",\"bytes_in\":");
    number(out, course.bytes_in);
    push(out, b",\"bytes_out\":");
    number(out, course.bytes_out);
    push(out, b",\"client\":");
    if course.client.port() == 0 { ip(out, course.client.ip()) } else { address(out, course.client) }
}

/// The fields `denied_by` and `would_deny`.
fn denied(out: &mut Vec<u8>, record: &Record<'_>) {
    push(out, b",\"denied_by\":");
    match record.denied_by {
        Some(rule) => text(out, rule, NAME),
        None => push(out, b"null"),
    }
    push(out, b",\"would_deny\":");
    let Some((first, rest)) = record.would_deny.split_first() else { return push(out, b"null") };
    push(out, b"\"");
    push(out, first.as_bytes());
    for reason in rest {
        push(out, b",");
        push(out, reason.as_bytes());
    }
    push(out, b"\"");
}

/// The fields `source_workload` and `source_assurance`.
fn source(out: &mut Vec<u8>, source: Option<&Workload>) {
    match source {
        Some(source) => {
            push(out, b",\"source_workload\":\"");
            escape(out, source.namespace.as_bytes(), NAME);
            push(out, b"/");
            escape(out, source.service_account.as_bytes(), NAME);
            push(out, b"\",\"source_assurance\":");
            token(out, source.assurance.as_str());
        }
        None => push(out, b",\"source_workload\":null,\"source_assurance\":null"),
    }
}

fn rule(out: &mut Vec<u8>, rule: Option<&RuleName>) {
    match rule {
        Some(name) => {
            push(out, b",\"kind\":");
            token(out, name.kind);
            push(out, b",\"route\":");
            text(out, &name.route, NAME);
            push(out, b",\"rule\":");
            text(out, &name.rule, NAME);
        }
        None => push(out, b",\"kind\":null,\"route\":null,\"rule\":null"),
    }
}

fn upstream(out: &mut Vec<u8>, upstream: Option<(&BackendRef, SocketAddr)>) {
    match upstream {
        Some((backend, endpoint)) => {
            push(out, b",\"backend\":\"");
            escape(out, backend.namespace.as_bytes(), NAME);
            push(out, b"/");
            escape(out, backend.name.as_bytes(), NAME);
            push(out, b":");
            number(out, backend.port);
            push(out, b"\",\"upstream\":");
            address(out, endpoint);
        }
        None => push(out, b",\"backend\":null,\"upstream\":null"),
    }
}

fn trace(out: &mut Vec<u8>, trace: &TraceContext) {
    let mut ids = *b",\"trace_id\":\"00000000000000000000000000000000\",\"span_id\":\"0000000000000000\"";
    hex(ids.get_mut(13..45), &trace.trace_id.to_be_bytes());
    hex(ids.get_mut(58..74), &trace.span_id.to_be_bytes());
    push(out, &ids);
}

fn push(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(bytes);
}

fn number(out: &mut Vec<u8>, number: impl itoa::Integer) {
    push(out, itoa::Buffer::new().format(number).as_bytes());
}

/// Milliseconds with three decimals.
fn millis(out: &mut Vec<u8>, duration: Duration) {
    let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
    number(out, micros / 1000);
    let rest = micros % 1000;
    push(out, &[b'.', digit(rest / 100), digit(rest / 10), digit(rest)]);
}

fn address(out: &mut Vec<u8>, address: SocketAddr) {
    // A socket for both families shows IPv4 clients as ::ffff:192.0.2.1; nobody searches for that.
    match address.ip().to_canonical() {
        IpAddr::V4(v4) => {
            push(out, b"\"");
            octets(out, v4);
            push(out, b":");
            number(out, address.port());
            push(out, b"\"");
        }
        // Writing to a Vec cannot fail.
        IpAddr::V6(v6) => _ = write!(out, "\"[{v6}]:{}\"", address.port()),
    }
}

/// An address without a port.
fn ip(out: &mut Vec<u8>, ip: IpAddr) {
    push(out, b"\"");
    match ip.to_canonical() {
        IpAddr::V4(v4) => octets(out, v4),
        // Writing to a Vec cannot fail.
        IpAddr::V6(v6) => _ = write!(out, "{v6}"),
    }
    push(out, b"\"");
}

fn octets(out: &mut Vec<u8>, v4: Ipv4Addr) {
    let [a, b, c, d] = v4.octets();
    number(out, a);
    for octet in [b, c, d] {
        out.push(b'.');
        number(out, octet);
    }
}

/// A JSON string of this program's own text, which needs no escape.
fn token(out: &mut Vec<u8>, token: &'static str) {
    out.push(b'"');
    push(out, token.as_bytes());
    out.push(b'"');
}

/// A JSON string.
fn text(out: &mut Vec<u8>, text: &str, limit: usize) {
    out.push(b'"');
    escape(out, text.as_bytes(), limit);
    out.push(b'"');
}

#[cfg(test)]
mod tests;
