//! Who a client is when others forward for it: ranges of addresses compared bit by bit, the list walked word by word.

use std::net::{IpAddr, SocketAddr};

use policies::client_traffic::{ClientIpDetection, XForwardedFor};
use proxy::fuzzing::client;

use crate::memory::bounded;

const PEERS: [&str; 4] = ["10.0.0.1:1", "[::1]:1", "[::ffff:10.0.0.1]:1", "[2001:db8::1]:1"];

/// A line with how many proxies there are, or with their ranges; then lines of `X-Forwarded-For`. Before them a byte for
/// who is connected.
pub fn run(data: &[u8]) {
    let Some((peer, rest)) = data.split_first() else { return };
    let peer: SocketAddr = PEERS[usize::from(*peer) % PEERS.len()].parse().expect("a constant");
    let mut lines = rest.split(|byte| *byte == b'\n');
    let Ok(first) = std::str::from_utf8(lines.next().unwrap_or_default()) else { return };
    let fields: Vec<&[u8]> =
        lines.filter(|line| line.iter().all(|byte| (0x20..0x7f).contains(byte))).collect();
    let list =
        fields.iter().flat_map(|field| field.split(|byte| *byte == b',')).map(address).collect::<Vec<_>>();
    let hops: Option<u32> = first.parse().ok();
    let cidrs: Vec<String> = first.split(' ').map(str::to_owned).collect();
    let spec = XForwardedFor {
        num_trusted_hops: hops,
        trusted_cidrs: hops.is_none().then(|| cidrs.clone()),
        disable_x_forwarded_for_append: None,
    };
    let spec = ClientIpDetection::XForwardedFor(spec);
    let found = bounded(data.len(), 64 << 10, || client(&spec, &fields, peer).ok());
    let wanted = match hops {
        Some(hops) => (1..=64).contains(&hops).then(|| behind(hops as usize, &list, peer)),
        // A list of more is refused: every request would go through it.
        None if cidrs.len() > 256 => None,
        None => {
            cidrs.iter().map(|cidr| range(cidr)).collect::<Option<Vec<_>>>().map(|r| trusted(&r, &list, peer))
        }
    };
    assert_eq!(found, wanted, "{first:?} {list:?}");
}

/// The entry that the proxy farthest away has appended.
fn behind(hops: usize, list: &[Option<SocketAddr>], peer: SocketAddr) -> (SocketAddr, bool) {
    let entry = list.len().checked_sub(hops).and_then(|at| list[at]);
    entry.map_or((peer, false), |address| (address, true))
}

/// The rightmost that is no proxy, the leftmost of proxies only, and nobody left of what is no address.
fn trusted(ranges: &[Bits], list: &[Option<SocketAddr>], peer: SocketAddr) -> (SocketAddr, bool) {
    let is_proxy = |address: SocketAddr| ranges.iter().any(|range| bits(address.ip()).starts_with(range));
    if !is_proxy(peer) {
        return (peer, false);
    }
    let mut client = peer;
    for entry in list.iter().rev() {
        let Some(address) = entry else { return (peer, true) };
        client = *address;
        if !is_proxy(client) {
            break;
        }
    }
    (client, true)
}

/// The family, then the bits, as digits.
type Bits = String;

fn bits(address: IpAddr) -> Bits {
    match address.to_canonical() {
        IpAddr::V4(v4) => format!("4{:032b}", v4.to_bits()),
        IpAddr::V6(v6) => format!("6{:0128b}", v6.to_bits()),
    }
}

fn range(text: &str) -> Option<Bits> {
    let (address, length) = text.split_once('/')?;
    let address: IpAddr = address.parse().ok()?;
    let has_zeros = length.len() > 1 && length.starts_with('0');
    if length.is_empty() || has_zeros || !length.chars().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let length: usize = length.parse().ok()?;
    let (all, family) = if address.is_ipv4() { (32, "4") } else { (128, "6") };
    if length > all {
        return None;
    }
    // Of mapped addresses the range is one of IPv4, unless it holds more than those.
    let is_mapped = address.is_ipv6() && address.to_canonical().is_ipv4();
    if is_mapped && length >= 96 {
        return Some(bits(address)[..=length - 96].to_owned());
    }
    let digits = match address {
        IpAddr::V4(v4) => format!("{:032b}", v4.to_bits()),
        IpAddr::V6(v6) => format!("{:0128b}", v6.to_bits()),
    };
    Some(format!("{family}{}", &digits[..length]))
}

/// An address, in brackets or not, with a port or not.
fn address(entry: &[u8]) -> Option<SocketAddr> {
    let text = std::str::from_utf8(entry).ok()?.trim_matches([' ', '\t']);
    if text.contains('%') || text.len() > 54 {
        return None;
    }
    let bare = text.parse::<IpAddr>().ok();
    let bracketed = || {
        let inner = text.strip_prefix('[')?.strip_suffix(']')?;
        inner.parse::<IpAddr>().ok().filter(IpAddr::is_ipv6)
    };
    let with_port = || text.parse::<SocketAddr>().ok();
    let plain = |ip: IpAddr| SocketAddr::new(ip.to_canonical(), 0);
    bare.or_else(bracketed).map(plain).or_else(|| {
        let address = with_port()?;
        Some(SocketAddr::new(address.ip().to_canonical(), address.port()))
    })
}
