//! What tells requests of one limit apart.

use std::fmt::{self, Write as _};
use std::net::IpAddr;

use smallvec::SmallVec;

/// As it is looked up.
pub(super) type Bytes = SmallVec<[u8; 48]>;

/// A key that is being put together: parts with their lengths before them, so that no two lists of parts are one text. A
/// part that is always alone is as it came, for people to read it.
#[derive(Debug)]
pub(super) struct Key {
    bytes: Bytes,
    is_alone: bool,
}

impl Key {
    /// One of so many parts.
    pub(super) fn of(parts: usize) -> Self {
        Self { bytes: Bytes::new(), is_alone: parts == 1 }
    }

    pub(super) fn part(&mut self, part: &[u8]) {
        if !self.is_alone {
            decimal(&mut self.bytes, part.len());
            self.bytes.push(b':');
        }
        self.bytes.extend_from_slice(part);
    }

    /// A client's network: an IPv6 client has at least a /64 of addresses to come from.
    pub(super) fn network(&mut self, client: IpAddr) {
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
        self.part(&text);
    }

    pub(super) fn finish(self) -> Bytes {
        self.bytes
    }
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
        let mut key = Key::of(parts.len().max(2));
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
            let mut key = Key::of(1);
            key.network(address.parse().unwrap());
            String::from_utf8(key.finish().to_vec()).unwrap()
        };
        assert_eq!(of("192.0.2.107"), "192.0.2.107");
        assert_eq!(of("::ffff:10.0.0.1"), "10.0.0.1");
        assert_eq!(of("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::/64");
        let mut key = Key::of(1);
        key.part(b"alice");
        assert_eq!(&key.finish()[..], b"alice");
    }
}
