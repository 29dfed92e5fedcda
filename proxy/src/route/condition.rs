//! Conditions of a match beside its path: method, header fields, query parameters.
//!
//! **Header fields.** Names are case-insensitive. A repeated field satisfies a condition by any of its lines, or by all
//! of them joined with `, ` (RFC 9110 §5.3); Gateway API leaves this open. **Query parameters.** Names are
//! case-sensitive, the first of a repeated one counts (Gateway API recommends it), and names and values are compared
//! decoded, as applications see them: `%20` and `+` are spaces, `%zz` stands for itself (WHATWG URL §5.1).
//!
//! Nothing is allocated, save for a regular expression on a value of more than 256 bytes that has to be joined or
//! decoded.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use policies::Request;
use smallvec::SmallVec;

use super::pattern::Pattern;

/// What of a request decides.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Probe<'r> {
    pub(crate) req: &'r Request,
    /// As it will be forwarded, without the query.
    pub(crate) path: &'r str,
    pub(crate) query: Option<&'r str>,
}

/// All must hold.
#[derive(Debug, Default)]
pub(crate) struct Conditions {
    pub(crate) method: Option<Method>,
    pub(crate) headers: Box<[(HeaderName, ValueCondition)]>,
    pub(crate) query: Box<[(Box<str>, ValueCondition)]>,
}

/// A condition on one value.
#[derive(Debug)]
pub(crate) enum ValueCondition {
    Exact(Box<str>),
    Regex(Arc<Pattern>),
}

type Buffer = SmallVec<[u8; 256]>;

impl Conditions {
    pub(crate) fn is_empty(&self) -> bool {
        self.method.is_none() && self.headers.is_empty() && self.query.is_empty()
    }

    pub(crate) fn hold(&self, probe: &Probe<'_>) -> bool {
        self.method.as_ref().is_none_or(|method| *method == probe.req.method)
            && self
                .headers
                .iter()
                .all(|(name, condition)| condition.holds_for_header(&probe.req.headers, name))
            && self.query.iter().all(|(name, condition)| condition.holds_for_query(probe.query, name))
    }
}

impl ValueCondition {
    fn holds_for_header(&self, headers: &HeaderMap, name: &HeaderName) -> bool {
        let lines = headers.get_all(name);
        if lines.iter().any(|line| self.holds(line.as_bytes())) {
            return true;
        }
        if lines.iter().nth(1).is_none() {
            return false;
        }
        match self {
            Self::Exact(wanted) => is_joined(wanted.as_bytes(), lines.iter()),
            Self::Regex(pattern) => {
                let mut joined = Buffer::new();
                for (place, line) in lines.iter().enumerate() {
                    if place > 0 {
                        joined.extend_from_slice(b", ");
                    }
                    joined.extend_from_slice(line.as_bytes());
                }
                pattern.is_match(&joined)
            }
        }
    }

    fn holds_for_query(&self, query: Option<&str>, name: &str) -> bool {
        let Some(value) = query.and_then(|query| first_value(query, name)) else { return false };
        match self {
            Self::Exact(wanted) => is_decoded(value, wanted),
            Self::Regex(pattern) if is_plain(value) => pattern.is_match(value.as_bytes()),
            Self::Regex(pattern) => pattern.is_match(&decode(value).collect::<Buffer>()),
        }
    }

    fn holds(&self, value: &[u8]) -> bool {
        match self {
            Self::Exact(wanted) => wanted.as_bytes() == value,
            Self::Regex(pattern) => pattern.is_match(value),
        }
    }
}

/// True when `wanted` is the lines joined with `, `.
fn is_joined<'h>(wanted: &[u8], lines: impl Iterator<Item = &'h HeaderValue>) -> bool {
    let mut rest = Some(wanted);
    for (place, line) in lines.enumerate() {
        if place > 0 {
            rest = rest.and_then(|rest| rest.strip_prefix(b", "));
        }
        rest = rest.and_then(|rest| rest.strip_prefix(line.as_bytes()));
    }
    rest.is_some_and(<[u8]>::is_empty)
}

/// The first value of a parameter, not decoded.
fn first_value<'q>(query: &'q str, name: &str) -> Option<&'q str> {
    query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .find_map(|(key, value)| is_decoded(key, name).then_some(value))
}

fn is_plain(text: &str) -> bool {
    !text.bytes().any(|byte| matches!(byte, b'%' | b'+'))
}

fn is_decoded(text: &str, wanted: &str) -> bool {
    // Decoding never makes a text longer, and what is equal as it stands mostly holds nothing to decode.
    text.len() >= wanted.len()
        && if is_plain(text) { text == wanted } else { decode(text).eq(wanted.bytes()) }
}

fn decode(text: &str) -> impl Iterator<Item = u8> {
    let mut rest = text.as_bytes();
    std::iter::from_fn(move || {
        let (&byte, tail) = rest.split_first()?;
        rest = tail;
        Some(match byte {
            b'+' => b' ',
            b'%' => match tail.split_first_chunk::<2>() {
                Some(([high, low], after)) => match (digit(*high), digit(*low)) {
                    (Some(high), Some(low)) => {
                        rest = after;
                        high << 4 | low
                    }
                    _ => b'%',
                },
                None => b'%',
            },
            byte => byte,
        })
    })
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
#[path = "condition_tests.rs"]
mod tests;
