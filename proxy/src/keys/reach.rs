//! Which addresses a URI may lead to that no backendRef has granted: whoever writes a policy must not use the proxy to talk
//! to its own machine or to a cloud's metadata service.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Metadata services outside of 169.254.0.0/16: Alibaba, Azure, Oracle.
const METADATA: [Ipv4Addr; 3] =
    [Ipv4Addr::new(100, 100, 100, 200), Ipv4Addr::new(168, 63, 129, 16), Ipv4Addr::new(192, 0, 0, 192)];
/// AWS over IPv6.
const METADATA_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);

/// True of addresses of other machines. Private networks are such: issuers live there.
pub(super) fn may_be_asked(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => of_others(v4),
        IpAddr::V6(v6) => match embedded(v6) {
            Some(v4) => of_others(v4),
            None => {
                !(v6.is_loopback()
                    || v6.is_unspecified()
                    || v6.is_multicast()
                    || v6.is_unicast_link_local()
                    || v6 == METADATA_V6)
            }
        },
    }
}

fn of_others(v4: Ipv4Addr) -> bool {
    let is_this_network = v4.octets().first() == Some(&0);
    !(v4.is_loopback()
        || is_this_network
        || v4.is_link_local()
        || v4.is_multicast()
        || v4.is_broadcast()
        || METADATA.contains(&v4))
}

/// The IPv4 address some IPv6 address stands for: mapped or compatible (RFC 4291), translated (RFC 6052), 6to4 (RFC 3056).
fn embedded(v6: Ipv6Addr) -> Option<Ipv4Addr> {
    let of = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        Some(Ipv4Addr::new(a, b, c, d))
    };
    match v6.segments() {
        // `::` and `::1` are no IPv4 addresses.
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => None,
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low]
        | [0, 0, 0, 0, 0xffff, 0, high, low]
        | [0x64, 0xff9b, 0, 0, 0, 0, high, low]
        | [0x2002, high, low, ..] => of(high, low),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_of_other_machines_are_asked() {
        for (address, want) in [
            ("192.0.2.1", true),
            ("10.0.0.1", true),
            ("192.168.1.1", true),
            ("2001:db8::1", true),
            ("fd12::1", true),
            ("127.0.0.1", false),
            ("127.8.9.10", false),
            ("0.0.0.0", false),
            ("0.1.2.3", false),
            ("169.254.169.254", false),
            ("169.254.1.1", false),
            ("100.100.100.200", false),
            ("168.63.129.16", false),
            ("192.0.0.192", false),
            ("224.0.0.1", false),
            ("255.255.255.255", false),
            ("::", false),
            ("::1", false),
            ("fe80::1", false),
            ("ff02::1", false),
            ("fd00:ec2::254", false),
            ("::ffff:127.0.0.1", false),
            ("::ffff:169.254.169.254", false),
            ("::ffff:192.0.2.1", true),
            ("::127.0.0.1", false),
            ("::ffff:0:127.0.0.1", false),
            ("64:ff9b::169.254.169.254", false),
            ("64:ff9b::192.0.2.1", true),
            ("2002:7f00:1::", false),
            ("2002:c000:201::", true),
        ] {
            assert_eq!(may_be_asked(address.parse().unwrap()), want, "{address}");
        }
    }
}
