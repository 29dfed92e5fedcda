//! What a service is told of a request, as entries of a descriptor.

use std::fmt::Write as _;
use std::net::IpAddr;

use ring::digest;

use crate::rate_limit::key::{Parts, network};
use crate::rate_limit::select::Attribute;
use crate::rls::Entry;

/// Bytes of a value; a longer one, or one that is no text, is told by its digest.
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
        Ok(text) if text.len() <= LONGEST => text.to_owned(),
        _ => {
            let mut text = "sha256:".to_owned();
            for byte in digest::digest(&digest::SHA256, value).as_ref() {
                // Writing to a String cannot fail.
                let _ = write!(text, "{byte:02x}");
            }
            text
        }
    }
}
