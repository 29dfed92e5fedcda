//! The name in a ClientHello (RFC 8446 section 4.1.2, RFC 6066 section 3), read from a client that is not trusted.
//!
//! It is read here and not by rustls because a connection that is passed on is none of ours: whatever version and
//! extensions the client speaks, only records, handshake header and server name are looked at. What was read stays as it
//! was, for whoever gets the connection.

use std::io;

use bytes::BufMut;

/// Bytes read at most before the ClientHello must be complete, record headers included. With post-quantum key shares it
/// has about 2 KiB; Envoy takes 16 KiB too.
pub(crate) const MOST: usize = 16 * 1024;
/// Bytes that are made room for at a time.
const STEP: usize = 4096;
const HEADER: usize = 5;
/// Record type, and type of the message in it.
const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
/// A record of plain text at most (RFC 8446 section 5.1).
const RECORD: usize = 1 << 14;

/// A ClientHello that is coming in.
#[derive(Debug, Default)]
pub(crate) struct Hello {
    /// As it came.
    seen: Vec<u8>,
    /// Where the next record begins.
    at: usize,
    /// What the records before hold.
    message: Vec<u8>,
}

/// Why this is no ClientHello that can be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Malformed {
    /// The first byte says so.
    #[error("this is not TLS")]
    NotTls,
    /// See [`MOST`].
    #[error("the ClientHello has more than {MOST} bytes")]
    TooLarge,
    /// Lengths or names are wrong.
    #[error("the ClientHello is malformed")]
    Hello,
}

impl From<Malformed> for io::Error {
    fn from(malformed: Malformed) -> Self {
        Self::new(io::ErrorKind::InvalidData, malformed)
    }
}

impl Hello {
    /// Where further bytes are to be put: room for some, and never for more than [`MOST`] in all.
    pub(crate) fn room(&mut self) -> impl BufMut + '_ {
        let left = MOST.saturating_sub(self.seen.len());
        if self.seen.len() == self.seen.capacity() {
            self.seen.reserve_exact(STEP.min(left));
        }
        let room = left.min(self.seen.capacity() - self.seen.len());
        (&mut self.seen).limit(room)
    }

    /// Looks at what has come. `Ok(None)`: more is needed. `Ok(Some(name))`: it is complete; the name is lower-case and
    /// without a dot at its end, and none when the client names none, or an address.
    ///
    /// # Errors
    /// When it cannot become one.
    pub(crate) fn name(&mut self) -> Result<Option<Option<Box<str>>>, Malformed> {
        while let Some(header) = self.seen.get(self.at..).filter(|rest| !rest.is_empty()) {
            if header.first() != Some(&HANDSHAKE) || header.get(1).is_some_and(|major| *major != 3) {
                return Err(if self.at == 0 { Malformed::NotTls } else { Malformed::Hello });
            }
            let Some([_, _, _, high, low]) = header.first_chunk::<HEADER>() else { break };
            let length = usize::from(u16::from_be_bytes([*high, *low]));
            if length == 0 || length > RECORD {
                return Err(Malformed::Hello);
            }
            let Some(fragment) = header.get(HEADER..HEADER + length) else { break };
            self.message.extend_from_slice(fragment);
            self.at += HEADER + length;
            if let Some(name) = read(&self.message)? {
                return Ok(Some(name));
            }
        }
        if self.seen.len() >= MOST { Err(Malformed::TooLarge) } else { Ok(None) }
    }

    /// All that was read.
    #[must_use]
    pub(crate) fn into_seen(self) -> Vec<u8> {
        self.seen
    }
}

/// The name in a handshake message; `None`: it is not complete.
fn read(message: &[u8]) -> Result<Option<Option<Box<str>>>, Malformed> {
    if message.first().is_some_and(|kind| *kind != CLIENT_HELLO) {
        return Err(Malformed::Hello);
    }
    let Some([_, high, middle, low]) = message.first_chunk::<4>() else { return Ok(None) };
    let length = u32::from_be_bytes([0, *high, *middle, *low]) as usize;
    if length > MOST {
        return Err(Malformed::TooLarge);
    }
    let Some(body) = message.get(4..4 + length) else { return Ok(None) };
    server_name(Reader(body)).map(Some).ok_or(Malformed::Hello)
}

/// Outer `None`: malformed.
fn server_name(mut hello: Reader<'_>) -> Option<Option<Box<str>>> {
    // Version and random; session id, cipher suites, compression methods.
    hello.take(2 + 32)?;
    hello.vec8()?;
    hello.vec16()?;
    hello.vec8()?;
    if hello.is_empty() {
        return Some(None);
    }
    let mut extensions = hello.vec16()?;
    let mut name = None;
    while !extensions.is_empty() {
        let (kind, body) = (extensions.u16()?, extensions.vec16()?);
        if kind == 0 && name.replace(host_name(body)?).is_some() {
            // "There MUST NOT be more than one extension of the same type."
            return None;
        }
    }
    hello.is_empty().then_some(name.flatten())
}

fn host_name(mut extension: Reader<'_>) -> Option<Option<Box<str>>> {
    let mut list = extension.vec16()?;
    let mut host = None;
    while !list.is_empty() {
        let (kind, name) = (list.u8()?, list.vec16()?);
        if kind == 0 && host.replace(name.0).is_some() {
            // "The ServerNameList MUST NOT contain more than one name of the same name_type."
            return None;
        }
    }
    if !extension.is_empty() {
        return None;
    }
    let Some(host) = host else { return Some(None) };
    let host = std::str::from_utf8(host).ok()?;
    let host = host.strip_suffix('.').unwrap_or(host);
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    // "Literal IPv4 and IPv6 addresses are not permitted": as if there were none, which is what rustls does.
    if host.parse::<std::net::IpAddr>().is_ok() {
        return Some(None);
    }
    let is_fine = (1..=253).contains(&host.len()) && host.bytes().all(is_name);
    is_fine.then(|| Some(host.to_ascii_lowercase().into()))
}

/// Vectors of TLS, front to back.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn u8(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    fn u16(&mut self) -> Option<u16> {
        self.take(2)?.first_chunk().map(|bytes| u16::from_be_bytes(*bytes))
    }

    fn vec8(&mut self) -> Option<Self> {
        let length = self.u8()?;
        self.take(length.into()).map(Self)
    }

    fn vec16(&mut self) -> Option<Self> {
        let length = self.u16()?;
        self.take(length.into()).map(Self)
    }
}

#[cfg(test)]
mod tests;
