//! A token as bytes: the compact serialization of RFC 7515, and no other.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use super::{Fault, json};

/// The longest token, in bytes.
pub(super) const LONGEST: usize = 8 << 10;

/// A token whose form is right; nothing of it is true yet.
#[derive(Debug)]
pub(super) struct Jws<'t> {
    /// What is signed.
    pub(super) message: &'t [u8],
    /// What it says verifies it.
    pub(super) alg: String,
    /// Which key, if it says so.
    pub(super) kid: Option<String>,
    pub(super) payload: Vec<u8>,
    pub(super) signature: Vec<u8>,
}

/// Bytes in base64url as RFC 7515 section 2 has it: no padding, white space or line breaks, and nothing in unused bits.
pub(super) fn decode(text: impl AsRef<[u8]>) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

/// The other way.
pub(super) fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

impl<'t> Jws<'t> {
    /// # Errors
    /// [`Fault::Invalid`] for everything that is no plain signed token: encrypted (five parts), unsigned, compressed,
    /// detached.
    pub(super) fn parse(token: &'t [u8]) -> Result<Self, Fault> {
        Self::read(token).ok_or(Fault::Invalid)
    }

    fn read(token: &'t [u8]) -> Option<Self> {
        if token.len() > LONGEST {
            return None;
        }
        let mut parts = token.split(|byte| *byte == b'.');
        let (head, payload, signature) = (parts.next()?, parts.next()?, parts.next()?);
        if parts.next().is_some() {
            return None;
        }
        let message = token.get(..head.len() + 1 + payload.len())?;
        let mut head = json::object(&decode(head)?)?;
        // RFC 7515 section 4.1.11: "If any of the listed extension Header Parameters are not understood and supported by the
        // recipient, then the JWS is invalid"; none is. `b64` needs `crit`, and `zip` and `enc` are JWE's. What names or holds a
        // key (`jku`, `jwk`, `x5u`, `x5c`) says nothing here: keys are the provider's.
        if ["crit", "b64", "zip", "enc"].iter().any(|name| head.contains_key(*name)) {
            return None;
        }
        let alg = text(head.remove("alg")?)?;
        let kid = match head.remove("kid") {
            Some(kid) => Some(text(kid)?),
            None => None,
        };
        Some(Self { message, alg, kid, payload: decode(payload)?, signature: decode(signature)? })
    }
}

/// A string.
pub(super) fn text(value: Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

/// Text as the value of a header field: what is not printable ASCII, white space at its ends, the escape itself and the comma
/// that would make two values of one are percent-encoded.
pub(super) fn printable(text: &str) -> Cow<'_, str> {
    let inner = text.trim_matches(' ');
    let plain = |byte: u8| matches!(byte, b' '..=b'~') && byte != b'%' && byte != b',';
    if inner.len() == text.len() && text.bytes().all(plain) {
        return Cow::Borrowed(text);
    }
    let start = text.len() - text.trim_start_matches(' ').len();
    let within = start..start + inner.len();
    let mut out = String::with_capacity(text.len() + 8);
    for (at, byte) in text.bytes().enumerate() {
        if plain(byte) && within.contains(&at) {
            out.push(char::from(byte));
        } else {
            let digit = |nibble: u8| char::from_digit(nibble.into(), 16).unwrap_or('0').to_ascii_uppercase();
            out.extend(['%', digit(byte >> 4), digit(byte & 15)]);
        }
    }
    Cow::Owned(out)
}
