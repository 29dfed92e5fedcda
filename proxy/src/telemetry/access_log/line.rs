//! One line of the access log: a JSON object with the same fields in the same order, `null` where there is no value.
//!
//! Written by hand: this runs once per request. What came from a client is escaped and cut here, nowhere else.

use std::cell::Cell;
use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::{Record, TraceContext};
use crate::telemetry::trace::hex;

/// Longest values in bytes before escaping; what is longer is cut and ends with `…`.
const METHOD: usize = 32;
const HOST: usize = 256;
const PATH: usize = 2048;
const USER_AGENT: usize = 512;
/// Names of configuration: two Kubernetes names and what joins them.
const NAME: usize = 640;

/// Appends the line of one request that ends now.
pub(super) fn format(out: &mut Vec<u8>, role: &str, record: &Record<'_>) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    format_at(out, now, role, record);
}

/// Appends the line of one request that ends at `now`, since 1970.
pub(super) fn format_at(out: &mut Vec<u8>, now: Duration, role: &str, record: &Record<'_>) {
    out.reserve(1024);
    push(out, b"{\"time\":\"");
    time(out, now);
    push(out, b"\",\"role\":");
    text(out, role, NAME);
    push(out, b",\"method\":");
    text(out, record.method, METHOD);
    push(out, b",\"host\":");
    text(out, record.host, HOST);
    push(out, b",\"path\":");
    text(out, record.path, PATH);
    push(out, b",\"protocol\":");
    text(out, record.version, NAME);
    push(out, b",\"status\":");
    number(out, record.status);
    push(out, b",\"reason\":");
    text(out, record.reason, NAME);
    push(out, b",\"listener\":");
    text(out, record.listener, NAME);
    rule(out, record);
    upstream(out, record);
    push(out, b",\"attempts\":");
    number(out, record.attempts);
    push(out, b",\"duration_ms\":");
    millis(out, record.duration);
    push(out, b",\"upstream_ms\":");
    match record.upstream_duration {
        Some(duration) => millis(out, duration),
        None => push(out, b"null"),
    }
    push(out, b",\"bytes_in\":");
    number(out, record.bytes_in);
    push(out, b",\"bytes_out\":");
    number(out, record.bytes_out);
    push(out, b",\"client\":");
    address(out, record.peer);
    push(out, b",\"user_agent\":");
    match record.user_agent {
        Some(agent) => text(out, agent, USER_AGENT),
        None => push(out, b"null"),
    }
    trace(out, &record.trace);
    push(out, b"}\n");
}

fn rule(out: &mut Vec<u8>, record: &Record<'_>) {
    match record.rule {
        Some((name, _)) => {
            push(out, b",\"kind\":");
            text(out, name.kind, NAME);
            push(out, b",\"route\":");
            text(out, &name.route, NAME);
            push(out, b",\"rule\":");
            text(out, &name.rule, NAME);
        }
        None => push(out, b",\"kind\":null,\"route\":null,\"rule\":null"),
    }
}

fn upstream(out: &mut Vec<u8>, record: &Record<'_>) {
    match record.upstream {
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

/// The last decimal digit of a number.
fn digit(number: u64) -> u8 {
    b'0' + (number % 10) as u8
}

fn address(out: &mut Vec<u8>, address: SocketAddr) {
    // A socket for both families shows IPv4 clients as ::ffff:192.0.2.1; nobody searches for that.
    match address.ip().to_canonical() {
        IpAddr::V4(v4) => {
            let [a, b, c, d] = v4.octets();
            push(out, b"\"");
            for (octet, end) in [(a, b'.'), (b, b'.'), (c, b'.'), (d, b':')] {
                number(out, octet);
                out.push(end);
            }
            number(out, address.port());
            push(out, b"\"");
        }
        // Writing to a Vec cannot fail.
        IpAddr::V6(v6) => _ = write!(out, "\"[{v6}]:{}\"", address.port()),
    }
}

/// A JSON string.
fn text(out: &mut Vec<u8>, text: &str, limit: usize) {
    out.push(b'"');
    escape(out, text.as_bytes(), limit);
    out.push(b'"');
}

/// The inside of a JSON string: untrusted bytes, cut to `limit`.
pub(super) fn escape(out: &mut Vec<u8>, bytes: &[u8], limit: usize) {
    // Without a branch in the loop, so that it becomes vector instructions.
    let is_plain = bytes.iter().fold(true, |plain, byte| {
        plain & (*byte >= b' ') & (*byte < 0x7f) & (*byte != b'"') & (*byte != b'\\')
    });
    if is_plain && bytes.len() <= limit {
        return push(out, bytes);
    }
    escape_hostile(out, bytes, limit);
}

/// As [`escape`], when there is something to escape or to cut.
#[cold]
fn escape_hostile(out: &mut Vec<u8>, bytes: &[u8], limit: usize) {
    let mut room = limit;
    for chunk in bytes.utf8_chunks() {
        let replaced = if chunk.invalid().is_empty() { None } else { Some('\u{fffd}') };
        for character in chunk.valid().chars().chain(replaced) {
            let Some(left) = room.checked_sub(character.len_utf8()) else {
                return push(out, "…".as_bytes());
            };
            room = left;
            match character {
                '"' => push(out, b"\\\""),
                '\\' => push(out, b"\\\\"),
                // Control characters of both blocks would move a terminal's cursor, the separators end a line for
                // some readers.
                '\u{2028}' | '\u{2029}' => escaped(out, character),
                character if character.is_control() => escaped(out, character),
                character => push(out, character.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
    }
}

fn escaped(out: &mut Vec<u8>, character: char) {
    // Writing to a Vec cannot fail.
    _ = write!(out, "\\u{:04x}", u32::from(character));
}

/// `2026-01-02T03:04:05.` of the second it was made in.
type Second = (u64, [u8; 20]);

thread_local! {
    static SECOND: Cell<Second> = const { Cell::new((0, *b"1970-01-01T00:00:00.")) };
}

/// RFC 3339, UTC, milliseconds.
fn time(out: &mut Vec<u8>, now: Duration) {
    let mut second = SECOND.get();
    if second.0 != now.as_secs() {
        second = (now.as_secs(), date(now.as_secs()));
        SECOND.set(second);
    }
    push(out, &second.1);
    let millis = u64::from(now.subsec_millis());
    push(out, &[digit(millis / 100), digit(millis / 10), digit(millis), b'Z']);
}

/// The civil date of a second since 1970: days counted in 400-year eras that begin on 1 March.
fn date(seconds: u64) -> [u8; 20] {
    let (days, second) = (seconds / 86_400 + 719_468, seconds % 86_400);
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    let mut text = *b"0000-00-00T00:00:00.";
    let tens = |number| [digit(number / 10), digit(number)];
    let fields = [(0, year / 100), (2, year), (5, month), (8, day), (11, hour), (14, minute), (17, second)];
    for (at, number) in fields {
        if let Some(place) = text.get_mut(at..at + 2) {
            place.copy_from_slice(&tens(number));
        }
    }
    text
}

#[cfg(test)]
mod tests;
