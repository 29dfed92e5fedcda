//! Who the client is when others forward for it.
//!
//! What proxies say is a list that grows to the right; everything left of what a trusted one appended may be made up.
//! Where it does not say what it should, the client is whoever is connected.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use http::{HeaderMap, HeaderName, HeaderValue};
use policies::client_traffic::{ClientIpDetection, CustomHeader, XForwardedFor};
use policies::{Cidr, CidrSet};

pub(crate) const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Entries of a list that are looked at.
const ENTRIES: usize = 10_000;
/// Longest text of an address: IPv6 with an IPv4 tail, brackets and a port.
const LONGEST: usize = 54;

/// Where the client's address is found.
#[derive(Debug, Default)]
pub(crate) enum Detection {
    /// It is the connection's.
    #[default]
    Direct,
    /// In `X-Forwarded-For`, behind so many entries from the right.
    Behind(usize),
    /// In `X-Forwarded-For`, the rightmost that is none of these.
    Trusted(CidrSet),
    /// In a field of its own.
    Field { name: HeaderName, is_needed: bool },
}

/// A client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Client {
    /// Port 0: not known.
    pub(crate) address: SocketAddr,
    /// Whoever is connected is a proxy whose word on its clients holds.
    pub(crate) is_forwarded: bool,
}

/// The field that has to say who the client is does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unknown;

impl Detection {
    /// `spec` has no problems.
    ///
    /// # Errors
    /// When it has.
    pub(super) fn compile(spec: &ClientIpDetection) -> Result<Self, String> {
        match spec {
            ClientIpDetection::DirectSourceIp(_) => Ok(Self::Direct),
            ClientIpDetection::CustomHeader(CustomHeader { name, fail_closed }) => {
                let name = HeaderName::from_bytes(name.as_bytes()).map_err(|e| e.to_string())?;
                Ok(Self::Field { name, is_needed: *fail_closed })
            }
            ClientIpDetection::XForwardedFor(spec) => Self::x_forwarded_for(spec),
        }
    }

    fn x_forwarded_for(spec: &XForwardedFor) -> Result<Self, String> {
        let Some(hops) = spec.num_trusted_hops else {
            let ranges = spec.trusted_cidrs.iter().flatten();
            return ranges.map(|range| range.parse::<Cidr>()).collect::<Result<_, _>>().map(Self::Trusted);
        };
        Ok(Self::Behind(usize::try_from(hops.saturating_sub(1)).unwrap_or(usize::MAX)))
    }

    /// Who the client is. `peer`: who is connected.
    ///
    /// # Errors
    /// When it may be nobody else than the field says, and the field says nothing.
    pub(crate) fn find(&self, headers: &HeaderMap, peer: SocketAddr) -> Result<Client, Unknown> {
        let direct = Client { address: peer, is_forwarded: false };
        match self {
            Self::Direct => Ok(direct),
            // As Envoy with `use_remote_address` and `xff_num_trusted_hops`: what is skipped is not looked at.
            Self::Behind(skipped) => {
                let found = entries(headers).nth(*skipped).and_then(address);
                Ok(found.map_or(direct, |address| Client { address, is_forwarded: true }))
            }
            Self::Trusted(proxies) if !proxies.contains(peer.ip()) => Ok(direct),
            Self::Trusted(proxies) => {
                let address = outermost(headers, proxies).unwrap_or(peer);
                Ok(Client { address, is_forwarded: true })
            }
            Self::Field { name, is_needed } => {
                let mut values = headers.get_all(name).iter();
                let only = values.next().filter(|_| values.next().is_none());
                match only.and_then(|value| address(value.as_bytes())) {
                    Some(address) => Ok(Client { address, is_forwarded: false }),
                    None if *is_needed => Err(Unknown),
                    None => Ok(direct),
                }
            }
        }
    }
}

/// Whether the address of the connection is appended.
pub(super) fn appends_peer(spec: &ClientIpDetection) -> bool {
    match spec {
        ClientIpDetection::XForwardedFor(spec) => !spec.disable_x_forwarded_for_append.unwrap_or_default(),
        ClientIpDetection::CustomHeader(_) | ClientIpDetection::DirectSourceIp(_) => true,
    }
}

/// The entries of all fields as one list, from the right.
fn entries(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    let fields = headers.get_all(FORWARDED_FOR).iter().rev().map(HeaderValue::as_bytes);
    fields.flat_map(|field| field.rsplit(|&byte| byte == b','))
}

/// The rightmost address that is no proxy; of nothing but proxies, the leftmost. What is no address ends the search:
/// left of it nobody can be believed.
fn outermost(headers: &HeaderMap, proxies: &CidrSet) -> Option<SocketAddr> {
    let mut outermost = None;
    for (nth, entry) in entries(headers).enumerate() {
        if nth == ENTRIES {
            return None;
        }
        let address = address(entry)?;
        outermost = Some(address);
        if !proxies.contains(address.ip()) {
            break;
        }
    }
    outermost
}

/// An address, with or without port (0: none). One with a zone means nothing outside of its host and is none.
fn address(text: &[u8]) -> Option<SocketAddr> {
    let text = text.trim_ascii();
    if text.len() > LONGEST || text.contains(&b'%') {
        return None;
    }
    let text = std::str::from_utf8(text).ok()?;
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(SocketAddr::new(address.to_canonical(), 0));
    }
    if let Some(bare) = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')) {
        return Some(SocketAddr::new(IpAddr::from(bare.parse::<Ipv6Addr>().ok()?).to_canonical(), 0));
    }
    let address: SocketAddr = text.parse().ok()?;
    Some(SocketAddr::new(address.ip().to_canonical(), address.port()))
}

#[cfg(test)]
mod tests;
