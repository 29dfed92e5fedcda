//! The PROXY protocol, versions 1 and 2 (HAProxy's proxy-protocol.txt): who the client of a proxy before us is.
//!
//! [`parse`] is a function of bytes. Reading looks before it takes, so that nothing after the header is taken.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::traffic::connection::ProxyProtocol;

const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
const HEAD: usize = 16;
/// Section 2.1: "So a 108-byte buffer is always enough to store all the line and a trailing zero".
const LONGEST_LINE: usize = 107;
/// Most that follows the head of version 2: addresses and, skipped, what else is said of the connection.
const LONGEST_REST: usize = 4096;

/// What bytes are the beginning of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Parsed {
    /// A whole header of so many bytes; `None`: it says nothing of a client, and the connection's own addresses hold.
    Header(usize, Option<SocketAddr>),
    /// It may be one; the whole may have so many bytes.
    More(usize),
    /// Something else.
    Other,
}

/// It begins as a header and is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed;

/// Reads a header off the beginning of `bytes`.
///
/// # Errors
/// When they begin as one and cannot become one.
pub(crate) fn parse(bytes: &[u8]) -> Result<Parsed, Malformed> {
    let begins = |with: &[u8]| {
        let seen = bytes.len().min(with.len());
        bytes.get(..seen) == with.get(..seen)
    };
    if begins(b"PROXY ") {
        line(bytes)
    } else if begins(&SIGNATURE) {
        binary(bytes)
    } else {
        Ok(Parsed::Other)
    }
}

/// Version 1: `PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\r\n`.
fn line(bytes: &[u8]) -> Result<Parsed, Malformed> {
    let looked = bytes.get(..LONGEST_LINE).unwrap_or(bytes);
    let Some(end) = looked.windows(2).position(|two| two == b"\r\n") else {
        return if bytes.len() < LONGEST_LINE { Ok(Parsed::More(LONGEST_LINE)) } else { Err(Malformed) };
    };
    let line = looked.get(..end).and_then(|line| std::str::from_utf8(line).ok()).ok_or(Malformed)?;
    let said = line.strip_prefix("PROXY ").ok_or(Malformed)?;
    // "the receiver must ignore anything presented before the CRLF is found".
    if said == "UNKNOWN" || said.starts_with("UNKNOWN ") {
        return Ok(Parsed::Header(end + 2, None));
    }
    let mut words = said.split(' ');
    let mut word = || words.next().ok_or(Malformed);
    let (family, from, to) = (word()?, word()?, word()?);
    let (from_port, to_port) = (word()?, word()?);
    let (from, _) = match family {
        "TCP4" => (IpAddr::V4(read::<Ipv4Addr>(from)?), read::<Ipv4Addr>(to)?.into()),
        "TCP6" => (IpAddr::V6(read::<Ipv6Addr>(from)?), IpAddr::V6(read::<Ipv6Addr>(to)?)),
        _ => return Err(Malformed),
    };
    port(to_port)?;
    let peer = SocketAddr::new(from, port(from_port)?);
    if words.next().is_some() { Err(Malformed) } else { Ok(Parsed::Header(end + 2, Some(peer))) }
}

fn read<T: FromStr>(text: &str) -> Result<T, Malformed> {
    text.parse().map_err(|_| Malformed)
}

/// Digits and nothing else: Rust's own reading takes a sign. Section 2.1: "Heading zeroes are not permitted in front of
/// numbers in order to avoid any possible confusion with octal numbers."
fn port(text: &str) -> Result<u16, Malformed> {
    let is_octal = text.len() > 1 && text.starts_with('0');
    if !is_octal && text.bytes().all(|byte| byte.is_ascii_digit()) { read(text) } else { Err(Malformed) }
}

/// Version 2, section 2.2.
fn binary(bytes: &[u8]) -> Result<Parsed, Malformed> {
    let Some(&[command, family, high, low]) = bytes.get(SIGNATURE.len()..HEAD) else {
        return Ok(Parsed::More(HEAD));
    };
    let rest = usize::from(u16::from_be_bytes([high, low]));
    if rest > LONGEST_REST || !matches!(command, 0x20 | 0x21) {
        return Err(Malformed);
    }
    let whole = HEAD + rest;
    let Some(said) = bytes.get(HEAD..whole) else { return Ok(Parsed::More(whole)) };
    let peer = match (command, family) {
        // LOCAL: a check of the proxy itself. UNSPEC: "the receiver should ignore address information".
        (0x20, _) | (_, 0x00) => None,
        (_, 0x11) => {
            let [address @ .., _, _, _, _, high, low, _, _] = said.first_chunk::<12>().ok_or(Malformed)?;
            Some(SocketAddr::new(IpAddr::from(*address), u16::from_be_bytes([*high, *low])))
        }
        (_, 0x21) => {
            let said = said.first_chunk::<36>().ok_or(Malformed)?;
            let (address, rest) = said.split_first_chunk::<16>().ok_or(Malformed)?;
            let port = rest.get(16..18).and_then(|port| port.first_chunk::<2>()).ok_or(Malformed)?;
            Some(SocketAddr::new(IpAddr::from(*address), u16::from_be_bytes(*port)))
        }
        // Datagrams and local sockets do not come by TCP.
        _ => return Err(Malformed),
    };
    Ok(Parsed::Header(whole, peer))
}

/// What was found before the first byte of a connection.
#[derive(Debug, Default)]
pub(crate) struct Said {
    /// Who the client is; `None`: whoever connected.
    pub(crate) peer: Option<SocketAddr>,
    /// Bytes of the client that looked as if they began a header.
    pub(crate) seen: Vec<u8>,
}

/// Reads a header.
///
/// # Errors
/// A stable reason, or none when the client is gone.
pub(crate) async fn expect(
    tcp: &TcpStream,
    wanted: ProxyProtocol,
    within: Duration,
) -> Result<Said, Option<&'static str>> {
    match timeout(within, take(tcp)).await {
        Err(_) => Err(Some("proxy_protocol_timeout")),
        Ok(Err(error)) if error.kind() == io::ErrorKind::InvalidData => Err(Some("proxy_protocol_malformed")),
        Ok(Err(_)) => Err(None),
        Ok(Ok((None, seen))) if wanted == ProxyProtocol::Optional => Ok(Said { peer: None, seen }),
        Ok(Ok((None, _))) => Err(Some("proxy_protocol_missing")),
        Ok(Ok((Some(peer), _))) => Ok(Said { peer, seen: Vec::new() }),
    }
}

/// The outer `None`: there is no header.
async fn take(tcp: &TcpStream) -> io::Result<(Option<Option<SocketAddr>>, Vec<u8>)> {
    let (mut bytes, mut have, mut whole) = (Vec::new(), 0, LONGEST_LINE);
    loop {
        tcp.readable().await?;
        bytes.resize(whole.max(have + 1), 0);
        let looked = tcp.peek(bytes.get_mut(have..).unwrap_or_default()).await?;
        if looked == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let parsed = parse(bytes.get(..have + looked).unwrap_or_default())
            .map_err(|Malformed| io::ErrorKind::InvalidData)?;
        let until = match parsed {
            Parsed::Header(length, _) => length,
            Parsed::More(more) => {
                whole = more;
                have + looked
            }
            Parsed::Other => have,
        };
        while have < until {
            match tcp.try_read(bytes.get_mut(have..until).unwrap_or_default()) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(read) => have += read,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => tcp.readable().await?,
                Err(error) => return Err(error),
            }
        }
        bytes.truncate(have);
        match parsed {
            Parsed::Header(_, peer) => return Ok((Some(peer), bytes)),
            Parsed::Other => return Ok((None, bytes)),
            Parsed::More(_) => {}
        }
    }
}

#[cfg(test)]
mod tests;
