use super::{escape, is_plain};

fn escaped(bytes: &[u8], limit: usize) -> String {
    let mut out = Vec::new();
    escape(&mut out, bytes, limit);
    String::from_utf8(out).unwrap()
}

#[test]
fn hostile_bytes_are_escaped() {
    let cases: &[(&[u8], &str)] = &[
        (b"plain /path?x=1&y=~", "plain /path?x=1&y=~"),
        (br#"a"b\c"#, r#"a\"b\\c"#),
        (b"a\nb\r\tc\0", r"a\u000ab\u000d\u0009c\u0000"),
        (b"\x1b[31mred\x7f", r"\u001b[31mred\u007f"),
        // Next line and the separators end a line for some readers; CSI of the second block drives terminals.
        ("\u{85}\u{9b}\u{2028}\u{2029}".as_bytes(), r"\u0085\u009b\u2028\u2029"),
        ("größe ☃ 𝄞".as_bytes(), "größe ☃ 𝄞"),
        // Not UTF-8: one replacement for each broken sequence, and what follows is kept.
        (b"a\xffb\xc3(\xe2\x82", "a\u{fffd}b\u{fffd}(\u{fffd}"),
        (b"\xc0\xaf\xed\xa0\x80", "\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}"),
        (b"", ""),
    ];
    for (bytes, want) in cases {
        assert_eq!(escaped(bytes, 100), *want, "{bytes:?}");
        let read: String = serde_json::from_str(&format!("\"{want}\"")).unwrap();
        assert_eq!(read, String::from_utf8_lossy(bytes), "{bytes:?}");
    }
}

#[test]
fn every_byte_at_every_place_is_plain_or_not() {
    for length in 1..=17 {
        for at in 0..length {
            for byte in 0..=u8::MAX {
                let mut bytes = vec![b'a'; length];
                bytes[at] = byte;
                let want = (b' '..0x7f).contains(&byte) && byte != b'"' && byte != b'\\';
                assert_eq!(is_plain(&bytes), want, "{byte} at {at} of {length}");
            }
        }
    }
    assert!(is_plain(b""));
}

#[test]
fn long_values_are_cut_at_a_character() {
    assert_eq!(escaped(b"abcdef", 6), "abcdef");
    assert_eq!(escaped(b"abcdefg", 6), "abcdef…");
    assert_eq!(escaped("abcdé".as_bytes(), 5), "abcd…");
    assert_eq!(escaped(b"\"\"\"\"", 3), "\\\"\\\"\\\"…");
    assert_eq!(escaped(b"\xff\xff", 3), "\u{fffd}…");
}
