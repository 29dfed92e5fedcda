//! Who a client is when others forward for it.

use std::net::IpAddr;
use std::str::FromStr;

use super::{Deserialize, JsonSchema, Problems, Serialize, group};

/// Where the client's address is found. Exactly one way.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum ClientIpDetection {
    /// In `X-Forwarded-For`, as far as proxies are trusted.
    XForwardedFor(XForwardedFor),
    /// In a field that a trusted proxy sets.
    CustomHeader(CustomHeader),
    /// The address of the connection (or what PROXY protocol said), whatever fields say. The default.
    #[serde(rename = "directSourceIP")]
    DirectSourceIp(DirectSourceIp),
}

/// The address of the connection.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DirectSourceIp {}

group! {
    /// The client's address out of `X-Forwarded-For`. Exactly one of `numTrustedHops` and `trustedCIDRs`.
    XForwardedFor {
        /// How many proxies in front of this one append to the field; the client is the address that the outermost of them
        /// appended: this one, counted from the right. Fewer addresses than that: the address of the connection.
        #[schemars(range(min = 1, max = 64))]
        num_trusted_hops: u32,
        /// Addresses of proxies in front of this one, as CIDRs. The client is the rightmost address that is none of them;
        /// the field counts only if the connection comes from one of them.
        #[serde(rename = "trustedCIDRs")]
        #[schemars(length(min = 1, max = 256))]
        trusted_cidrs: Vec<String>,
        /// Leaves the field as it came instead of appending the address of the connection. Default: false.
        disable_x_forwarded_for_append: bool,
    }
}

/// The client's address out of a field.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CustomHeader {
    /// Name of the field; one value, an address with or without port.
    #[schemars(length(min = 1, max = 255))]
    pub name: String,
    /// Without a valid address in it: 403 instead of the address of the connection. Default: false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub fail_closed: bool,
}

impl ClientIpDetection {
    pub(super) fn check(&self, problems: &mut Problems) {
        match self {
            Self::DirectSourceIp(_) => {}
            Self::CustomHeader(header) => problems.name("clientIPDetection.customHeader.name", &header.name),
            Self::XForwardedFor(forwarded) => forwarded.check("clientIPDetection.xForwardedFor", problems),
        }
    }
}

impl XForwardedFor {
    fn check(&self, at: &str, problems: &mut Problems) {
        if self.num_trusted_hops.is_some() == self.trusted_cidrs.is_some() {
            problems.add(at, "needs one of numTrustedHops and trustedCIDRs: write exactly one");
        }
        problems.number(&format!("{at}.numTrustedHops"), self.num_trusted_hops, 1..=64);
        let field = format!("{at}.trustedCIDRs");
        let Some(cidrs) = &self.trusted_cidrs else { return };
        if !(1..=256).contains(&cidrs.len()) {
            problems.add(&field, format!("has {} entries: write 1 to 256", cidrs.len()));
        }
        for (index, text) in cidrs.iter().enumerate() {
            if let Err(problem) = text.parse::<Cidr>() {
                problems.add(format!("{field}[{index}]"), problem);
            }
        }
    }
}

/// A range of addresses: `10.0.0.0/8`, `fd00::/8`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Cidr {
    network: IpAddr,
    bits: u8,
}

impl Cidr {
    /// Whether an address is in it. One of IPv4 written as one of IPv6 (`::ffff:10.0.0.1`) is one of IPv4.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        masked(address.to_canonical(), self.bits) == Some(self.network)
    }
}

impl FromStr for Cidr {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no range of addresses: write one such as 10.0.0.0/8 or fd00::/8");
        let (address, bits) = text.split_once('/').ok_or_else(wrong)?;
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        // `+8` would parse as well.
        if !bits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(wrong());
        }
        let bits: u8 = bits.parse().map_err(|_| wrong())?;
        let network = masked(address, bits).ok_or_else(wrong)?;
        if network != address {
            return Err(format!("{text:?} says more than its first {bits} bits: write {network}/{bits}"));
        }
        if network.to_canonical() != network {
            return Err(format!(
                "{text:?} is one of IPv4 in the form of IPv6: write it as 10.0.0.0/8 is written"
            ));
        }
        Ok(Self { network, bits })
    }
}

/// The first bits of an address; `None`: it has fewer.
fn masked(address: IpAddr, bits: u8) -> Option<IpAddr> {
    match address {
        IpAddr::V4(v4) => {
            let rest = 32_u32.checked_sub(bits.into())?;
            Some(IpAddr::V4((v4.to_bits() & u32::MAX.checked_shl(rest).unwrap_or(0)).into()))
        }
        IpAddr::V6(v6) => {
            let rest = 128_u32.checked_sub(bits.into())?;
            Some(IpAddr::V6((v6.to_bits() & u128::MAX.checked_shl(rest).unwrap_or(0)).into()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_holds_its_addresses_and_no_others() {
        for (range, inside, outside) in [
            ("10.0.0.0/8", "10.255.0.1", "11.0.0.0"),
            ("10.1.2.3/32", "::ffff:10.1.2.3", "10.1.2.4"),
            ("0.0.0.0/0", "255.0.0.1", "::1"),
            ("::/0", "fd00::1", "10.0.0.1"),
            ("fd00::/8", "fdff::1", "fe00::"),
        ] {
            let cidr: Cidr = range.parse().unwrap();
            assert!(cidr.contains(inside.parse().unwrap()), "{range} {inside}");
            assert!(!cidr.contains(outside.parse().unwrap()), "{range} {outside}");
        }
        for text in [
            "",
            "10.0.0.1",
            "10.0.0.0/33",
            "10.0.0.0/+8",
            "10.0.0.0/",
            "10.0.0.1/8",
            "::/129",
            "::ffff:0.0.0.0/96",
        ] {
            assert!(text.parse::<Cidr>().is_err(), "{text:?}");
        }
    }
}
