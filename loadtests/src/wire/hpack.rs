//! As much of HPACK (RFC 7541) as raw vectors need: literal fields out, a status back.

/// Literal fields without indexing (section 6.2.2), plain strings.
pub(crate) fn block(fields: &[(Vec<u8>, Vec<u8>)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, value) in fields {
        out.push(0);
        string(&mut out, name);
        string(&mut out, value);
    }
    out
}

fn string(out: &mut Vec<u8>, text: &[u8]) {
    let length = text.len();
    // Section 5.1, a prefix of 7 bits.
    if let (Ok(short), true) = (u8::try_from(length), length < 127) {
        out.push(short);
    } else {
        out.push(127);
        let mut rest = length - 127;
        while rest >= 128 {
            out.push(0x80 | u8::try_from(rest % 128).unwrap_or(0));
            rest /= 128;
        }
        out.push(u8::try_from(rest).unwrap_or(0));
    }
    out.extend_from_slice(text);
}

/// The status in the first field of an answer, where RFC 9113 section 8.3 puts it. `table`: statuses this connection's
/// answers have added to the dynamic table.
pub(crate) fn status(block: &[u8], table: &mut Vec<u16>) -> Option<u16> {
    // A change of the table's size may come before (section 6.3).
    let block = if block.first().is_some_and(|b| b & 0xe0 == 0x20) { block.get(1..)? } else { block };
    let (&first, rest) = block.split_first()?;
    match first {
        0x88..=0x8e => [200, 204, 206, 304, 400, 404, 500].get(usize::from(first - 0x88)).copied(),
        // Anything later in the table: the newest status is good enough for one answer a vector.
        0xbe..=0xff => table.last().copied(),
        0x48..=0x4e | 0x08..=0x0e | 0x18..=0x1e => {
            let status = digits(rest)?;
            if first & 0xc0 == 0x40 {
                table.push(status);
            }
            Some(status)
        }
        _ => None,
    }
}

fn digits(string: &[u8]) -> Option<u16> {
    let (&length, rest) = string.split_first()?;
    let text = rest.get(..usize::from(length & 0x7f))?;
    if length & 0x80 == 0 {
        return std::str::from_utf8(text).ok()?.parse().ok();
    }
    let bits = text.iter().flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1));
    let (mut code, mut length, mut value) = (0u8, 0, 0u16);
    for bit in bits {
        code = code << 1 | bit;
        length += 1;
        // Appendix B: 0 to 2 have five bits, 3 to 9 have six.
        let digit = match (length, code) {
            (5, 0..=2) => code,
            (6, 0x19..=0x1f) => code - 0x19 + 3,
            (6, _) => return Some(value),
            _ => continue,
        };
        value = value * 10 + u16::from(digit);
        (code, length) = (0, 0);
    }
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_read_in_each_form() {
        let mut table = Vec::new();
        assert_eq!(status(&[0x8c], &mut table), Some(400));
        assert_eq!(status(b"\x48\x03501", &mut table), Some(501));
        // RFC 7541 C.6.1: 302 in Huffman code.
        assert_eq!(status(&[0x48, 0x82, 0x64, 0x02], &mut table), Some(302));
        assert_eq!(status(&[0xbe], &mut table), Some(302));
    }

    #[test]
    fn long_strings_have_long_lengths() {
        let field = block(&[(b"a".to_vec(), vec![b'x'; 1337 + 127])]);
        assert_eq!(field[..6], [0, 1, b'a', 127, 0x80 | 57, 10]);
    }
}
