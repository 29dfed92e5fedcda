//! Ranges of addresses as they are written: `10.0.0.0/8`, `2001:db8::/32`.
//!
//! A mapped IPv6 address (`::ffff:10.0.0.1`) is the IPv4 address it stands for, in ranges as in what is looked up: a
//! client does not leave a range by the family of a socket.

use std::net::IpAddr;
use std::str::FromStr;

/// An address on a line on which the families are apart.
type Point = (bool, u128);

/// A range of addresses, of one family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Cidr {
    first: Point,
    last: Point,
}

impl FromStr for Cidr {
    type Err = String;

    /// An address, `/`, and how many of its leading bits count; the others are ignored.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "{text:?} is no range of addresses: write a CIDR such as 10.0.0.0/8, 192.0.2.1/32 or 2001:db8::/32"
            )
        };
        let (address, bits) = text.split_once('/').ok_or_else(wrong)?;
        // `parse` takes a sign, and zeros in front, which others read as octal.
        let is_plain =
            bits == "0" || !bits.starts_with('0') && bits.bytes().all(|byte| byte.is_ascii_digit());
        if bits.is_empty() || !is_plain {
            return Err(wrong());
        }
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let bits: u32 = bits.parse().map_err(|_| wrong())?;
        let all: u32 = if address.is_ipv4() { 32 } else { 128 };
        let free = all.checked_sub(bits).ok_or_else(wrong)?;
        let (is_v6, number) = match address {
            // All of what is mapped, and no more: IPv4.
            IpAddr::V6(v6) if free <= 32 => point(v6.into()),
            IpAddr::V6(v6) => (true, v6.to_bits()),
            IpAddr::V4(_) => point(address),
        };
        let host = u128::MAX.checked_shl(free).map_or(u128::MAX, |mask| !mask);
        Ok(Self { first: (is_v6, number & !host), last: (is_v6, number | host) })
    }
}

/// What holds for the addresses of ranges that may overlap, worked out once: a look costs a binary search.
#[derive(Debug, Clone, Default)]
pub(crate) struct CidrMap<T>(Box<[(Point, T)]>);

impl<T: Copy + Default> CidrMap<T> {
    /// What `join` makes of all ranges that hold an address holds for it; of none, the default.
    pub(crate) fn new(ranges: &[(Cidr, T)], join: impl Fn(T, T) -> T) -> Self {
        let after = |(v6, number): Point| Some((v6, number.checked_add(1)?));
        let mut starts: Vec<Point> =
            ranges.iter().flat_map(|(range, _)| [Some(range.first), after(range.last)]).flatten().collect();
        starts.sort_unstable();
        starts.dedup();
        let held = |at: Point| {
            let holding = ranges.iter().filter(|(range, _)| range.first <= at && at <= range.last);
            holding.fold(T::default(), |all, (_, one)| join(all, *one))
        };
        Self(starts.into_iter().map(|start| (start, held(start))).collect())
    }

    pub(crate) fn get(&self, address: IpAddr) -> T {
        let asked = point(address);
        let after = self.0.partition_point(|(start, _)| *start <= asked);
        after.checked_sub(1).and_then(|at| self.0.get(at)).map_or_else(T::default, |(_, held)| *held)
    }
}

/// Ranges of addresses, sorted once: a look costs a binary search, whatever their number.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CidrSet(Box<[(Point, Point)]>);

impl CidrSet {
    /// True when one of the ranges holds `address`.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let asked = point(address);
        let after = self.0.partition_point(|(first, _)| *first <= asked);
        after.checked_sub(1).and_then(|at| self.0.get(at)).is_some_and(|(_, last)| asked <= *last)
    }

    /// True when there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<Cidr> for CidrSet {
    fn from_iter<I: IntoIterator<Item = Cidr>>(ranges: I) -> Self {
        let mut ranges: Vec<_> = ranges.into_iter().map(|Cidr { first, last }| (first, last)).collect();
        ranges.sort_unstable();
        // What another range holds is left out: a search looks at one only.
        let mut apart: Vec<(Point, Point)> = Vec::with_capacity(ranges.len());
        for (first, last) in ranges {
            match apart.last_mut() {
                Some(before) if first <= before.1 => before.1 = before.1.max(last),
                Some(_) | None => apart.push((first, last)),
            }
        }
        Self(apart.into())
    }
}

fn point(address: IpAddr) -> Point {
    match address.to_canonical() {
        IpAddr::V4(v4) => (false, v4.to_bits().into()),
        IpAddr::V6(v6) => (true, v6.to_bits()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn set(ranges: &[&str]) -> CidrSet {
        ranges.iter().map(|range| range.parse::<Cidr>().unwrap()).collect()
    }

    #[test]
    fn a_range_holds_what_its_leading_bits_say() {
        for (range, inside, outside) in [
            (
                "10.0.0.0/8",
                &["10.0.0.0", "10.255.255.255", "::ffff:10.1.2.3"][..],
                &["11.0.0.0", "9.255.255.255"][..],
            ),
            ("10.1.2.3/8", &["10.9.9.9"], &["::10.1.2.3", "::"]),
            ("192.0.2.1/32", &["192.0.2.1"], &["192.0.2.0", "192.0.2.2"]),
            ("0.0.0.0/0", &["0.0.0.0", "255.255.255.255"], &["::1", "2001:db8::1"]),
            ("::/0", &["::", "ffff:ffff::"], &["1.2.3.4", "::ffff:1.2.3.4"]),
            ("::1/128", &["::1"], &["::", "::2", "0.0.0.1"]),
            ("2001:db8::/32", &["2001:db8::", "2001:db8:ffff::1"], &["2001:db9::"]),
            ("::ffff:10.0.0.0/104", &["10.1.2.3"], &["11.0.0.0"]),
            ("::ffff:10.0.0.0/96", &["0.0.0.0", "255.255.255.255"], &["::1", "::fffe:a00:1"]),
            // More than what is mapped: IPv6.
            ("::ffff:10.0.0.0/95", &["::fffe:a00:1"], &["10.0.0.0", "::ffff:10.0.0.1", "::fffd:a00:1"]),
        ] {
            let set = set(&[range]);
            inside.iter().for_each(|ip| assert!(set.contains(ip.parse().unwrap()), "{ip} in {range}"));
            outside.iter().for_each(|ip| assert!(!set.contains(ip.parse().unwrap()), "{ip} in {range}"));
        }
        assert!(!CidrSet::default().contains("10.0.0.1".parse().unwrap()));
        assert!(CidrSet::default().is_empty() && !set(&["::1/128"]).is_empty());
    }

    #[test]
    fn what_is_no_range_is_refused() {
        for text in [
            "",
            "/",
            "10.0.0.0",
            "10.0.0.0/",
            "10.0.0.0/33",
            "::/129",
            "10.0.0/8",
            "10.0.0.0/+8",
            "10.0.0.0/-1",
            "010.0.0.0/8",
            "fe80::1%eth0/64",
            "10.0.0.0/8 ",
            "10.0.0.0/4294967295",
            "x/8",
        ] {
            assert!(text.parse::<Cidr>().is_err(), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn a_set_holds_what_one_of_its_ranges_holds(
            ranges in prop::collection::vec((0u32..16, 24u32..=32), 0..6), asked in 0u32..20,
        ) {
            let ip = |last: u32| IpAddr::from(std::net::Ipv4Addr::from_bits(0x0a00_0000 | last));
            let set: CidrSet = ranges
                .iter()
                .map(|(host, bits)| format!("{}/{bits}", ip(*host)).parse::<Cidr>().unwrap())
                .collect();
            let want = ranges.iter().any(|(host, bits)| {
                let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
                host & mask == asked & mask
            });
            prop_assert_eq!(set.contains(ip(asked)), want);
        }

        #[test]
        fn a_map_knows_all_ranges_of_an_address(
            ranges in prop::collection::vec((prop::sample::select(vec!["0.0.0.0", "10.0.0.0", "10.0.0.9", "255.255.255.255",
                "::", "::1", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"]), 0u32..=128), 0..8),
            asked in prop::sample::select(vec!["0.0.0.0", "10.0.0.1", "10.0.0.9", "11.0.0.0", "255.255.255.255", "::", "::2",
                "::ffff:10.0.0.1", "8000::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"]),
        ) {
            let asked: IpAddr = asked.parse().unwrap();
            let ranges: Vec<(Cidr, u8)> = ranges
                .iter()
                .enumerate()
                .map(|(at, (ip, bits))| (format!("{ip}/{}", if ip.contains(':') { *bits } else { bits % 33 }), 1u8 << at))
                .map(|(range, bit)| (range.parse().unwrap(), bit))
                .collect();
            let want = ranges
                .iter()
                .filter(|(range, _)| CidrSet::from_iter([*range]).contains(asked))
                .fold(0, |all, (_, bit)| all | bit);
            prop_assert_eq!(CidrMap::new(&ranges, |a, b| a | b).get(asked), want);
        }
    }
}
