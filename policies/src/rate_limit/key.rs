//! What tells requests of one limit apart.

use std::fmt::{self, Write as _};
use std::net::IpAddr;

use ring::digest;
use smallvec::SmallVec;

use super::select::Attribute;

/// Bytes of a digest: nobody finds two values with the same.
const DIGEST: usize = 16;

/// As it is looked up.
pub(super) type Bytes = SmallVec<[u8; 48]>;

/// Takes in what tells a request apart, in the order of the conditions of a rule.
pub(super) trait Parts {
    /// A value of the request.
    fn value(&mut self, of: &Attribute, value: &[u8]);
    /// The client's network.
    fn network(&mut self, client: IpAddr);
}

/// A key that is being put together: parts with their lengths before them, so that no two lists of parts are one text. A
/// part that is always alone stands without, for people to read it.
#[derive(Debug)]
pub(super) struct Key {
    bytes: Bytes,
    is_alone: bool,
    is_told: bool,
}

impl Key {
    /// One of so many parts; `is_told`: others get to know it.
    pub(super) fn of(parts: usize, is_told: bool) -> Self {
        Self { bytes: Bytes::new(), is_alone: parts == 1, is_told }
    }

    pub(super) fn part(&mut self, part: &[u8]) {
        if !self.is_alone {
            decimal(&mut self.bytes, part.len());
            self.bytes.push(b':');
        }
        self.bytes.extend_from_slice(part);
    }

    /// What may be a secret, such as an API key in a header field: whoever is told the key is told its digest.
    fn secret(&mut self, part: &[u8]) {
        if !self.is_told {
            return self.part(part);
        }
        let digest = digest::digest(&digest::SHA256, part);
        let mut text = Bytes::new();
        for byte in digest.as_ref().iter().take(DIGEST) {
            // Writing to memory cannot fail.
            let _ = write!(Text(&mut text), "{byte:02x}");
        }
        self.part(&text);
    }

    pub(super) fn finish(self) -> Bytes {
        self.bytes
    }
}

impl Parts for Key {
    fn value(&mut self, of: &Attribute, value: &[u8]) {
        if of.may_be_secret() {
            self.secret(value);
        } else {
            self.part(value);
        }
    }

    fn network(&mut self, client: IpAddr) {
        self.part(&network(client));
    }
}

/// A client's network: an IPv6 client has at least a /64 of addresses to come from.
pub(super) fn network(client: IpAddr) -> Bytes {
    let mut text = Bytes::new();
    match client.to_canonical() {
        IpAddr::V4(v4) => {
            let [a, b, c, d] = v4.octets();
            decimal(&mut text, a.into());
            for octet in [b, c, d] {
                text.push(b'.');
                decimal(&mut text, octet.into());
            }
        }
        IpAddr::V6(v6) => {
            let network = std::net::Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64);
            // Writing to memory cannot fail.
            let _ = write!(Text(&mut text), "{network}/64");
        }
    }
    text
}

fn decimal(bytes: &mut Bytes, number: usize) {
    if number >= 10 {
        decimal(bytes, number / 10);
    }
    bytes.push(b'0' + u8::try_from(number % 10).unwrap_or(0));
}

struct Text<'b>(&'b mut Bytes);

impl fmt::Write for Text<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(parts: &[&[u8]]) -> Bytes {
        let mut key = Key::of(parts.len().max(2), true);
        parts.iter().for_each(|part| key.part(part));
        key.finish()
    }

    #[test]
    fn parts_do_not_run_into_each_other() {
        assert_eq!(&key(&[b"ab", b"c"])[..], b"2:ab1:c");
        for other in
            [&[&b"a"[..], b"bc"][..], &[b"abc"], &[b"ab", b"c", b""], &[b"", b"ab", b"c"], &[b"2:ab1:c"]]
        {
            assert_ne!(key(&[b"ab", b"c"]), key(other));
        }
    }

    #[test]
    fn what_is_alone_is_as_it_came_and_addresses_can_be_read() {
        let of = |address: &str| {
            let mut key = Key::of(1, true);
            key.network(address.parse().unwrap());
            String::from_utf8(key.finish().to_vec()).unwrap()
        };
        assert_eq!(of("192.0.2.107"), "192.0.2.107");
        assert_eq!(of("::ffff:10.0.0.1"), "10.0.0.1");
        assert_eq!(of("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::/64");
        let mut key = Key::of(1, true);
        key.part(b"alice");
        assert_eq!(&key.finish()[..], b"alice");
        let secret = |is_told| {
            let mut key = Key::of(1, is_told);
            key.secret(b"alice");
            key.finish().to_vec()
        };
        // As sha256sum tells it.
        assert_eq!(secret(true), b"2bd806c97f0e00af1a1fc3328fa763a9");
        assert_eq!(secret(false), b"alice", "nobody else gets to know it");
    }
}
