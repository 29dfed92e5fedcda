//! What a service is told of a request, as entries of a descriptor.

use std::net::IpAddr;

use crate::lease::{HASHED, hashed};
use crate::rate_limit::key::{Parts, network};
use crate::rate_limit::select::Attribute;
use crate::rls::Entry;

/// Bytes of a value; a longer one, or one that is no text or looks like a digest, is told by its digest.
const LONGEST: usize = 256;

/// Entries in the order of the conditions of a rule.
#[derive(Debug, Default)]
pub(super) struct Entries(pub(super) Vec<Entry>);

impl Entries {
    pub(super) fn push(&mut self, key: impl Into<String>, value: impl Into<String>) {
        self.0.push(Entry { key: key.into(), value: value.into() });
    }
}

impl Parts for Entries {
    fn value(&mut self, of: &Attribute, value: &[u8]) {
        self.push(of.label(), text(value));
    }

    fn network(&mut self, client: IpAddr) {
        self.push("remote_address", String::from_utf8_lossy(&network(client)));
    }
}

fn text(value: &[u8]) -> String {
    match std::str::from_utf8(value) {
        // Nobody can write the digest of another's value.
        Ok(text) if text.len() <= LONGEST && !text.starts_with(HASHED) => text.to_owned(),
        _ => hashed(value),
    }
}
