use proptest::prelude::*;

use super::*;

fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
    [&SIGNATURE[..], &[command, family], &length, rest].concat()
}

const FOUR: [u8; 12] = [192, 0, 2, 1, 198, 51, 100, 1, 0x12, 0x34, 0x01, 0xbb];

#[test]
fn a_line_says_who_the_client_is() {
    for (line, peer) in [
        ("PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\r\n", "192.0.2.1:56324"),
        ("PROXY TCP6 2001:db8::1 2001:db8::2 1 65535\r\n", "[2001:db8::1]:1"),
        ("PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n", "255.255.255.255:65535"),
    ] {
        let expected = Parsed::Header(line.len(), Some(peer.parse().unwrap()));
        assert_eq!(parse(line.as_bytes()), Ok(expected), "{line}");
        assert_eq!(parse(format!("{line}GET / HTTP/1.1\r\n").as_bytes()), Ok(expected), "{line}");
    }
    for line in ["PROXY UNKNOWN\r\n", "PROXY UNKNOWN ffff::1 whatever\r\n"] {
        assert_eq!(parse(line.as_bytes()), Ok(Parsed::Header(line.len(), None)), "{line}");
    }
}

#[test]
fn a_line_that_is_not_as_written_is_malformed() {
    for line in [
        "PROXY \r\n",
        "PROXY TCP4\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.1 56324\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.1 56324 443 \r\n",
        "PROXY TCP4  192.0.2.1 198.51.100.1 56324 443\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.1 65536 443\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.1 +1 443\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.1 1 -1\r\n",
        "PROXY TCP4 2001:db8::1 198.51.100.1 1 2\r\n",
        "PROXY TCP6 192.0.2.1 198.51.100.1 1 2\r\n",
        "PROXY TCP4 192.0.2.01 198.51.100.1 1 2\r\n",
        "PROXY UDP4 192.0.2.1 198.51.100.1 1 2\r\n",
        "PROXY UNKNOWNS\r\n",
        "PROXY tcp4 192.0.2.1 198.51.100.1 1 2\r\n",
    ] {
        assert_eq!(parse(line.as_bytes()), Err(Malformed), "{line}");
    }
    assert_eq!(parse(b"PROXY \xff\r\n"), Err(Malformed));
    let endless = ["PROXY UNKNOWN ", &"x".repeat(200)].concat();
    assert_eq!(parse(&endless.as_bytes()[..LONGEST_LINE]), Err(Malformed));
    assert_eq!(parse(&endless.as_bytes()[..LONGEST_LINE - 1]), Ok(Parsed::More(LONGEST_LINE)));
}

#[test]
fn version_two_says_it_in_binary() {
    let peer = Some("192.0.2.1:4660".parse().unwrap());
    assert_eq!(parse(&v2(0x21, 0x11, &FOUR)), Ok(Parsed::Header(28, peer)));
    let more = [&FOUR[..], &[4, 0, 3, 1, 2, 3]].concat();
    assert_eq!(parse(&v2(0x21, 0x11, &more)), Ok(Parsed::Header(34, peer)), "what follows is skipped");
    let mut six = [0; 36];
    six[..4].copy_from_slice(&[0x20, 0x01, 0x0d, 0xb8]);
    six[15] = 1;
    six[32..34].copy_from_slice(&[0, 80]);
    assert_eq!(
        parse(&v2(0x21, 0x21, &six)),
        Ok(Parsed::Header(52, Some("[2001:db8::1]:80".parse().unwrap())))
    );
    for (command, family, rest) in
        [(0x20, 0x00, &[][..]), (0x20, 0x11, &FOUR), (0x21, 0x00, &FOUR), (0x20, 0x99, &[1])]
    {
        assert_eq!(
            parse(&v2(command, family, rest)),
            Ok(Parsed::Header(16 + rest.len(), None)),
            "{command} {family}"
        );
    }
}

#[test]
fn version_two_that_is_not_as_written_is_malformed() {
    for (command, family, rest) in [
        (0x11, 0x11, &FOUR[..]),
        (0x22, 0x11, &FOUR),
        (0x21, 0x12, &FOUR),
        (0x21, 0x31, &[0; 216]),
        (0x21, 0x11, &FOUR[..11]),
        (0x21, 0x21, &FOUR),
        (0x21, 0x11, &[0; LONGEST_REST + 1]),
    ] {
        assert_eq!(parse(&v2(command, family, rest)), Err(Malformed), "{command} {family}");
    }
}

#[test]
fn what_is_something_else_is_known_at_the_first_byte_that_differs() {
    for bytes in ["G", "PO", "PROXZ", "PRI * HTTP/2.0", "\r\nGET", "\x16\x03\x01", "\r\n\r\n\0\r\nQUIX"] {
        assert_eq!(parse(bytes.as_bytes()), Ok(Parsed::Other), "{bytes:?}");
    }
    for bytes in ["", "P", "PROXY", "PROXY ", "\r", "\r\n\r\n\0\r\nQUIT\n"] {
        assert!(matches!(parse(bytes.as_bytes()), Ok(Parsed::More(_))), "{bytes:?}");
    }
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_a_panic_and_within_bounds(tail in proptest::collection::vec(any::<u8>(), 0..300), start in 0usize..3) {
        let head: &[u8] = [&b""[..], b"PROXY ", &SIGNATURE][start];
        let bytes = [head, &tail].concat();
        match parse(&bytes) {
            Ok(Parsed::Header(length, _)) => prop_assert!(length <= bytes.len()),
            Ok(Parsed::More(most)) => prop_assert!(most > bytes.len() && most <= HEAD + LONGEST_REST),
            Ok(Parsed::Other) | Err(Malformed) => {}
        }
    }

    #[test]
    fn a_header_is_the_same_however_much_of_it_has_come(cut in 0usize..28) {
        let whole = v2(0x21, 0x11, &FOUR);
        prop_assert!(matches!(parse(&whole[..cut]), Ok(Parsed::More(most)) if most > cut));
    }
}

/// Found by fuzzing.
#[test]
fn a_port_has_no_leading_zeros() {
    for ports in ["0443 80", "443 080", "00 80"] {
        let line = format!("PROXY TCP4 192.0.2.1 198.51.100.1 {ports}\r\n");
        assert_eq!(parse(line.as_bytes()), Err(Malformed), "{ports}");
    }
    assert!(parse(b"PROXY TCP4 192.0.2.1 198.51.100.1 0 80\r\n").is_ok());
}
