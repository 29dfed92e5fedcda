//! Keys of buckets, which come from whoever sends requests.

use std::borrow::{Borrow, Cow};
use std::fmt::Write;
use std::sync::Arc;

use ring::digest;

/// The longest key that is used as it came, in bytes.
pub const MAX_KEY: usize = 64;
/// What begins a digest that stands for a value.
pub(crate) const HASHED: &str = "sha256:";

/// What a limit tells callers apart by: at most 71 bytes of UTF-8, never empty. Proxies make the same key of the same bytes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(Arc<str>);

impl Key {
    /// The form that is looked up. What is long, empty, not UTF-8, or looks like a hash, is hashed: nobody can write another
    /// caller's key.
    pub fn form(bytes: &[u8]) -> Cow<'_, str> {
        match std::str::from_utf8(bytes) {
            Ok(text) if !text.is_empty() && text.len() <= MAX_KEY && !text.starts_with(HASHED) => text.into(),
            _ => hashed(bytes).into(),
        }
    }

    /// The key of some bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Self::form(bytes).into())
    }

    /// A key that has its form already, as it comes back from a server.
    pub(super) fn formed(form: &str) -> Self {
        Self(form.into())
    }

    /// Its form.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for Key {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// The digest that stands for a value.
pub(crate) fn hashed(bytes: &[u8]) -> String {
    let digest = digest::digest(&digest::SHA256, bytes);
    digest.as_ref().iter().fold(String::from(HASHED), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
