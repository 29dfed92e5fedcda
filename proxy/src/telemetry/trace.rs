//! W3C trace context: who calls whom, across processes.
//!
//! <https://www.w3.org/TR/trace-context/>. A `traceparent` that breaks the specification starts a new trace, and then
//! `tracestate` must not travel on: it belongs to the trace that was lost.

use http::header::HeaderName;
use http::{HeaderMap, HeaderValue};
use policies::Request;

/// The header that carries trace, span and flags.
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// The header that carries what vendors add; passed through as it is.
pub const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// Length of version 00, and the least length of later versions.
const LENGTH: usize = 55;
/// The flag that says the caller may have recorded its span.
const SAMPLED: u8 = 0x01;
/// Flags that travel on: sampled, and "the trace id is random" of level 2.
const KNOWN: u8 = 0x03;

/// W3C trace context of one request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TraceContext {
    /// Trace.
    pub trace_id: u128,
    /// The client's span; 0 when the trace starts here.
    pub parent_id: u64,
    /// Our span.
    pub span_id: u64,
    /// `01`: sampled.
    pub flags: u8,
}

impl TraceContext {
    /// Continues the client's trace, or starts one when there is none or it breaks the specification. `sampled` is
    /// asked for new traces only: for the others the caller has decided.
    #[must_use]
    pub fn from_request(
        req: &Request,
        mut entropy: impl FnMut() -> u64,
        sampled: impl FnOnce(u64) -> bool,
    ) -> Self {
        // Zero means "invalid" in both identifiers.
        let mut nonzero = || entropy().max(1);
        let span_id = nonzero();
        if let Some((trace_id, parent_id, flags)) = parent(&req.headers) {
            return Self { trace_id, parent_id, span_id, flags };
        }
        let (high, low) = (nonzero(), nonzero());
        let flags = if sampled(nonzero()) { SAMPLED } else { 0 };
        Self { trace_id: u128::from(high) << 64 | u128::from(low), parent_id: 0, span_id, flags }
    }

    /// True when spans of this trace are recorded.
    #[must_use]
    pub const fn is_sampled(&self) -> bool {
        self.flags & SAMPLED != 0
    }

    /// True when the trace starts here: then a client's `tracestate` must not travel on.
    #[must_use]
    pub const fn is_root(&self) -> bool {
        self.parent_id == 0
    }

    /// `traceparent` for the upstream: our span is its parent.
    #[must_use]
    pub fn header_value(&self) -> HeaderValue {
        let mut text = *b"00-00000000000000000000000000000000-0000000000000000-00";
        hex(text.get_mut(3..35), &self.trace_id.to_be_bytes());
        hex(text.get_mut(36..52), &self.span_id.to_be_bytes());
        hex(text.get_mut(53..55), &[self.flags]);
        HeaderValue::from_bytes(&text).unwrap_or(HeaderValue::from_static(""))
    }

    /// Makes `req` part of this trace.
    ///
    /// # Errors
    /// When Pingora refuses the header; it refuses no header of this form.
    pub fn inject(&self, req: &mut Request) -> Result<(), Box<pingora_error::Error>> {
        if self.is_root() {
            req.remove_header(&TRACESTATE);
        }
        req.insert_header(TRACEPARENT, self.header_value())
    }
}

/// Both digits of every byte.
const DIGITS: [[u8; 2]; 256] = {
    let mut digits = [[0; 2]; 256];
    let hexadecimal = b"0123456789abcdef";
    let mut byte = 0;
    #[allow(clippy::indexing_slicing, reason = "evaluated by the compiler")]
    while byte < 256 {
        digits[byte] = [hexadecimal[byte >> 4], hexadecimal[byte & 0xf]];
        byte += 1;
    }
    digits
};

/// Writes bytes as lower-case hexadecimal digits; `out` has two places for each.
pub(crate) fn hex(out: Option<&mut [u8]>, bytes: &[u8]) {
    let places = out.unwrap_or_default().chunks_exact_mut(2);
    for (place, byte) in places.zip(bytes) {
        place.copy_from_slice(DIGITS.get(usize::from(*byte)).unwrap_or(b"00"));
    }
}

/// The caller's trace, span and flags, when it sent exactly one `traceparent` and that is valid.
fn parent(headers: &HeaderMap) -> Option<(u128, u64, u8)> {
    let mut values = headers.get_all(TRACEPARENT).iter();
    let value = values.next()?;
    if values.next().is_some() {
        return None;
    }
    // HTTP/2 does not strip white space around a value as HTTP/1.1 does.
    parse(value.as_bytes().trim_ascii())
}

/// Reads a `traceparent`: trace, parent and flags.
pub(crate) fn parse(text: &[u8]) -> Option<(u128, u64, u8)> {
    let (head, rest) = text.split_at_checked(LENGTH)?;
    let version = unhex(head.get(0..2)?)?;
    // "Version ff is invalid." Of later versions only the fields known today are read: "If the size of the header is
    // longer than 55, the next character must be a dash."
    let is_complete = match version {
        0 => rest.is_empty(),
        0xff => false,
        _ => rest.is_empty() || rest.starts_with(b"-"),
    };
    let is_dashed = [2, 35, 52].iter().all(|at| head.get(*at) == Some(&b'-'));
    if !is_complete || !is_dashed {
        return None;
    }
    let (high, low) = (unhex(head.get(3..19)?)?, unhex(head.get(19..35)?)?);
    let trace_id = u128::from(high) << 64 | u128::from(low);
    let parent_id = unhex(head.get(36..52)?)?;
    let flags = u8::try_from(unhex(head.get(53..55)?)?).ok()?;
    (trace_id != 0 && parent_id != 0).then_some((trace_id, parent_id, flags & KNOWN))
}

/// A number from lower-case hexadecimal digits; the specification allows no others.
fn unhex(digits: &[u8]) -> Option<u64> {
    // Without a branch in the loop: what is no digit sets the high bits of `broken`.
    let (number, broken) = digits.iter().fold((0u64, 0u8), |(number, broken), digit| {
        let nibble = NIBBLES.get(usize::from(*digit)).copied().unwrap_or(0xff);
        (number << 4 | u64::from(nibble & 0xf), broken | nibble)
    });
    (broken & 0xf0 == 0).then_some(number)
}

/// The value of every byte as a digit; 0xff: it is none.
const NIBBLES: [u8; 256] = {
    let mut nibbles = [0xff; 256];
    let mut nibble: u8 = 0;
    #[allow(clippy::indexing_slicing, reason = "evaluated by the compiler")]
    while nibble < 16 {
        nibbles[if nibble < 10 { b'0' + nibble } else { b'a' - 10 + nibble } as usize] = nibble;
        nibble += 1;
    }
    nibbles
};

#[cfg(test)]
mod tests;
