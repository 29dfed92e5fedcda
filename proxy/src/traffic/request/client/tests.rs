use std::fmt::Write as _;

use proptest::prelude::*;

use super::*;
use crate::traffic::Traffic;

const PEER: &str = "10.0.0.9:4711";

fn detection(yaml: &str) -> Detection {
    Detection::compile(&serde_saphyr::from_str(yaml).unwrap()).unwrap()
}

/// The client's address, and whether the word of whoever is connected holds; `403` where it must be known.
fn found(by: &str, fields: &[(&'static str, &str)]) -> (String, bool) {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        headers.append(*name, HeaderValue::from_str(value).unwrap());
    }
    match detection(by).find(&headers, PEER.parse().unwrap()) {
        Ok(client) if client.address.port() == 0 => (client.address.ip().to_string(), client.is_forwarded),
        Ok(client) => (client.address.to_string(), client.is_forwarded),
        Err(Unknown) => ("403".to_owned(), false),
    }
}

fn xff<'a>(values: &[&'a str]) -> Vec<(&'static str, &'a str)> {
    values.iter().map(|value| ("x-forwarded-for", *value)).collect()
}

#[test]
fn hops_are_counted_from_the_right() {
    for (hops, fields, client, is_forwarded) in [
        (1, &["1.1.1.1, 2.2.2.2, 3.3.3.3"][..], "3.3.3.3", true),
        (2, &["1.1.1.1, 2.2.2.2, 3.3.3.3"], "2.2.2.2", true),
        (3, &["1.1.1.1", "2.2.2.2,3.3.3.3"], "1.1.1.1", true),
        (4, &["1.1.1.1, 2.2.2.2, 3.3.3.3"], PEER, false),
        (1, &[], PEER, false),
        (1, &[""], PEER, false),
        (1, &["1.1.1.1,"], PEER, false),
        (2, &["1.1.1.1,"], "1.1.1.1", true),
        (2, &["1.1.1.1, unknown"], "1.1.1.1", true),
        (1, &["1.1.1.1, unknown"], PEER, false),
        (1, &["1.1.1.1:80"], "1.1.1.1:80", true),
        (1, &["[2001:db8::1]:80"], "[2001:db8::1]:80", true),
        (1, &["[2001:db8::1]"], "2001:db8::1", true),
        (1, &["\t2001:db8::1 "], "2001:db8::1", true),
        (1, &["::ffff:1.2.3.4"], "1.2.3.4", true),
    ] {
        let by = format!("{{xForwardedFor: {{numTrustedHops: {hops}}}}}");
        assert_eq!(found(&by, &xff(fields)), (client.to_owned(), is_forwarded), "{hops} of {fields:?}");
    }
}

#[test]
fn trusted_proxies_are_passed_by_from_the_right() {
    let by = "{xForwardedFor: {trustedCIDRs: ['10.0.0.0/8', '2001:db8::/32']}}";
    for (fields, client) in [
        (&["1.1.1.1"][..], "1.1.1.1"),
        (&["6.6.6.6, 1.1.1.1, 10.1.1.1"], "1.1.1.1"),
        (&["6.6.6.6", "1.1.1.1:5, 10.1.1.1:6", "2001:db8::7"], "1.1.1.1:5"),
        (&["10.0.0.1, 10.0.0.2"], "10.0.0.1"),
        (&["1.1.1.1, garbage, 10.1.1.1"], PEER),
        (&["1.1.1.1, , 10.1.1.1"], PEER),
        (&["1.1.1.1, fe80::1%eth0"], PEER),
        (&["1.1.1.1, [fe80::1%1]:80"], PEER),
        (&[], PEER),
    ] {
        assert_eq!(found(by, &xff(fields)), (client.to_owned(), true), "{fields:?}");
    }
    let others = "{xForwardedFor: {trustedCIDRs: ['10.1.0.0/16']}}";
    let sent = xff(&["1.1.1.1"]);
    assert_eq!(found(others, &sent), (PEER.to_owned(), false), "who is connected is no proxy of ours");
    assert_eq!(found("{directSourceIP: {}}", &sent), (PEER.to_owned(), false));
}

#[test]
fn a_field_of_its_own_has_one_address_or_none() {
    for (fields, client) in [
        (&[("cf", "1.1.1.1")][..], "1.1.1.1"),
        (&[("cf", "1.1.1.1:443")], "1.1.1.1:443"),
        (&[("cf", "1.1.1.1, 2.2.2.2")], "403"),
        (&[("cf", "1.1.1.1"), ("cf", "1.1.1.1")], "403"),
        (&[("cf", "")], "403"),
        (&[("cf", "::1%lo")], "403"),
        (&[], "403"),
    ] {
        let by = |fail: bool| format!("{{customHeader: {{name: CF, failClosed: {fail}}}}}");
        assert_eq!(found(&by(true), fields), (client.to_owned(), false), "{fields:?}");
        let open = if client == "403" { PEER } else { client };
        assert_eq!(found(&by(false), fields), (open.to_owned(), false), "{fields:?}");
    }
}

#[test]
fn what_is_no_address_is_none() {
    for text in [
        "1.2.3",
        "01.2.3.4",
        "1.2.3.4:",
        "1.2.3.4:x",
        "1.2.3.4:65536",
        "[1.2.3.4]",
        "[::1",
        "::1]",
        "[::1]:",
        "[]",
        "[::1]x",
        "fe80::1%eth0",
        "[fe80::1%eth0]:1",
        "fe80::1%",
        "%",
        "a.test",
        "for=1.1.1.1",
        "\"1.1.1.1\"",
        "1.1.1.1 2.2.2.2",
        "::1::",
        "0x1.2.3.4",
        "-1.2.3.4",
        "1.2.3.4\u{b5}",
    ] {
        assert_eq!(address(text.as_bytes()), None, "{text:?}");
    }
    let longest = "[ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255]:65535";
    assert!(longest.len() <= LONGEST && address(longest.as_bytes()).is_some());
}

/// 10,000 entries are looked at, and no more: what an attacker makes us do ends there.
#[test]
fn a_list_is_looked_at_so_far_and_no_further() {
    let by = "{xForwardedFor: {trustedCIDRs: ['10.0.0.0/8']}}";
    let list = |proxies: usize| format!("1.1.1.1{}", ",10.0.0.1".repeat(proxies));
    assert_eq!(found(by, &xff(&[&list(ENTRIES - 1)])).0, "1.1.1.1");
    assert_eq!(found(by, &xff(&[&list(ENTRIES)])).0, PEER);
    assert_eq!(found(by, &xff(&[&",".repeat(100_000)])).0, PEER);
    assert_eq!(found("{xForwardedFor: {numTrustedHops: 64}}", &xff(&[&",".repeat(100_000)])).0, PEER);
}

#[test]
fn what_cannot_be_is_refused_with_its_field() {
    for (yaml, want) in [
        ("{xForwardedFor: {}}", "clientIPDetection.xForwardedFor: needs exactly one"),
        (
            "{xForwardedFor: {numTrustedHops: 1, trustedCIDRs: ['::/0']}}",
            "clientIPDetection.xForwardedFor: needs exactly one",
        ),
        ("{xForwardedFor: {numTrustedHops: 0}}", "clientIPDetection.xForwardedFor.numTrustedHops: 0"),
        ("{xForwardedFor: {numTrustedHops: 65}}", "clientIPDetection.xForwardedFor.numTrustedHops: 65"),
        ("{xForwardedFor: {trustedCIDRs: []}}", "clientIPDetection.xForwardedFor: needs exactly one"),
        (
            "{xForwardedFor: {trustedCIDRs: ['::/0', x]}}",
            "clientIPDetection.xForwardedFor.trustedCIDRs[1]: \"x\"",
        ),
        ("{customHeader: {name: 'a b'}}", "clientIPDetection.customHeader.name: \"a b\""),
    ] {
        let spec = serde_saphyr::from_str(&format!("clientIPDetection: {yaml}")).unwrap();
        let refused = Traffic::compile(Some(&spec)).unwrap_err();
        assert!(refused.starts_with(want), "{refused}");
    }
}

/// The list as one would write it down: split, trimmed, from the right.
fn naive(fields: &[String], hops: Option<usize>) -> Option<IpAddr> {
    let list = fields.join(",");
    let list: Vec<_> = list.split(',').map(|entry| entry.trim().parse::<IpAddr>().ok()).rev().collect();
    if let Some(hops) = hops {
        return *list.get(hops - 1)?;
    }
    let is_proxy = |ip: &IpAddr| matches!(ip, IpAddr::V4(v4) if v4.octets()[0] == 10);
    let believed: Vec<_> = list.iter().take_while(|entry| entry.as_ref().is_some_and(is_proxy)).collect();
    match list.get(believed.len()) {
        Some(next) => *next,
        None => **believed.last()?,
    }
}

fn lists() -> impl Strategy<Value = Vec<String>> {
    let entry = prop_oneof![
        4 => (0u8..4).prop_map(|last| format!("10.0.0.{last}")),
        3 => (0u8..4).prop_map(|last| format!("1.1.1.{last}")),
        1 => Just("2001:db8::1".to_owned()),
        1 => Just(String::new()),
        1 => Just("fe80::1%eth0".to_owned()),
        1 => "[ -~]{0,6}",
    ];
    let field = (prop::collection::vec(entry, 1..6), prop_oneof![Just(","), Just(", "), Just(" ,\t")])
        .prop_map(|(entries, between)| entries.join(between));
    prop::collection::vec(field, 0..4)
}

proptest! {
    #[test]
    fn a_client_is_who_a_plain_reading_finds(fields in lists(), hops in 1usize..6) {
        let sent: Vec<&str> = fields.iter().map(String::as_str).collect();
        let ip = |told: (String, bool)| {
            told.0.parse::<IpAddr>().or_else(|_| told.0.parse::<SocketAddr>().map(|address| address.ip())).unwrap()
        };
        let peer: SocketAddr = PEER.parse().unwrap();
        // A plain reading knows no ports; what has one is left to the tables above.
        prop_assume!(!fields.iter().any(|field| field.contains([':', '[']) && !field.contains("2001:db8::1") && !field.contains("fe80::")));
        let by = format!("{{xForwardedFor: {{numTrustedHops: {hops}}}}}");
        let want = naive(&fields, Some(hops)).filter(|_| !fields.is_empty()).unwrap_or(peer.ip());
        prop_assert_eq!(ip(found(&by, &xff(&sent))), want);
        let want = naive(&fields, None).filter(|_| !fields.is_empty()).unwrap_or(peer.ip());
        prop_assert_eq!(ip(found("{xForwardedFor: {trustedCIDRs: ['10.0.0.0/8']}}", &xff(&sent))), want);
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..80), text in "[0-9a-f:.%\\[\\]]{0,60}") {
        let _ = address(&bytes);
        if let Some(found) = address(text.as_bytes()) {
            let mut again = String::new();
            write!(again, "{found}").unwrap();
            prop_assert_eq!(address(again.as_bytes()), Some(found));
        }
    }
}
