//! The PROXY protocol, as HAProxy's proxy-protocol.txt writes it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::LazyLock;

use proxy::fuzzing::{Preamble, proxy_protocol};
use regex::bytes::Regex;

use crate::memory::bounded;

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// Section 2.1; "heading zeroes are not permitted in front of numbers".
static LINE: LazyLock<Regex> = LazyLock::new(|| {
    let port = "(0|[1-9][0-9]{0,4})";
    let line = format!(r"^(?-u)PROXY (?:UNKNOWN(?: (?s:.)*?)?|(TCP[46]) ([^ ]+) ([^ ]+) {port} {port})\r\n");
    Regex::new(&line).expect("a constant")
});

/// What a connection begins with.
pub fn run(data: &[u8]) {
    let found = bounded(data.len(), 256, || proxy_protocol(data));
    let read = if data.starts_with(b"PROXY ") { line(data) } else { binary(data) };
    match (found, read) {
        (Preamble::Header(length, peer), Some(read)) => {
            assert_eq!((length, peer), read);
            // However it is cut, it is waited for; and what follows changes nothing.
            for end in 0..length {
                assert_eq!(proxy_protocol(&data[..end]), Preamble::More, "of {end}");
            }
            assert_eq!(proxy_protocol(&data[..length]), found);
        }
        (Preamble::More | Preamble::Other | Preamble::Malformed, None) => {}
        (found, read) => panic!("{found:?}, {read:?}: {}", data.escape_ascii()),
    }
    let is_begun = |with: &[u8]| with.starts_with(data) || data.starts_with(with);
    assert_eq!(found == Preamble::Other, !is_begun(b"PROXY ") && !is_begun(SIGNATURE));
}

type Header = (usize, Option<SocketAddr>);

fn line(data: &[u8]) -> Option<Header> {
    let found = LINE.captures(&data[..data.len().min(107)])?;
    let length = found[0].len();
    let text = |at: usize| std::str::from_utf8(&found[at]).ok();
    if found.get(1).is_none() {
        return std::str::from_utf8(&found[0]).ok().map(|_| (length, None));
    }
    let addresses = [text(2)?, text(3)?].map(|text| text.parse::<IpAddr>().ok());
    let ports = [text(4)?, text(5)?].map(|text| text.parse::<u16>().ok());
    let is_v4 = &found[1] == b"TCP4";
    addresses.iter().all(|address| address.is_some_and(|address| address.is_ipv4() == is_v4)).then_some(())?;
    ports[1]?;
    Some((length, Some(SocketAddr::new(addresses[0]?, ports[0]?))))
}

/// Section 2.2.
fn binary(data: &[u8]) -> Option<Header> {
    let rest = data.strip_prefix(SIGNATURE)?;
    let (&[command, family, high, low], rest) = rest.split_first_chunk::<4>()?;
    let length = usize::from(high) * 256 + usize::from(low);
    // Ours: 4 KiB are more than anybody says.
    let said = rest.get(..length).filter(|_| length <= 4096 && command >> 4 == 2)?;
    let port = |at: usize| said.get(at..at + 2).map(|port| u16::from(port[0]) * 256 + u16::from(port[1]));
    let peer = match (command & 15, family) {
        (0, _) | (1, 0) => None,
        (1, 0x11) => {
            let address: [u8; 4] = said.get(..4)?.try_into().ok()?;
            port(10)?;
            Some(SocketAddr::new(Ipv4Addr::from(address).into(), port(8)?))
        }
        (1, 0x21) => {
            let address: [u8; 16] = said.get(..16)?.try_into().ok()?;
            port(34)?;
            Some(SocketAddr::new(Ipv6Addr::from(address).into(), port(32)?))
        }
        _ => return None,
    };
    Some((16 + length, peer))
}
