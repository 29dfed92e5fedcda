//! SHA-256 as people write it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Bytes of a SHA-256.
pub(super) type Digest = [u8; 32];

/// 64 hexadecimal digits; all pairs may have colons between them.
pub(super) fn hex(text: &str) -> Option<Digest> {
    let bytes = text.as_bytes();
    let step = match bytes.len() {
        64 => 2,
        95 if bytes.iter().skip(2).step_by(3).all(|byte| *byte == b':') => 3,
        _ => return None,
    };
    let digit = |at: usize| char::from(*bytes.get(at)?).to_digit(16);
    let mut digest = Digest::default();
    for (at, byte) in digest.iter_mut().enumerate() {
        *byte = u8::try_from(digit(at * step)? << 4 | digit(at * step + 1)?).ok()?;
    }
    Some(digest)
}

/// 44 characters of base64 (RFC 4648 section 4), the last of which is padding. Section 3.5: bits that say nothing are zero.
pub(super) fn base64(text: &str) -> Option<Digest> {
    STANDARD.decode(text).ok()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SHA-256 of nothing.
    const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    const BASE64: &str = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";

    #[test]
    fn a_digest_is_read_in_all_its_forms() {
        let digest = hex(HEX).unwrap();
        assert_eq!((digest[0], digest[1], digest[31]), (0xe3, 0xb0, 0x55));
        assert_eq!(hex(&HEX.to_ascii_uppercase()), Some(digest));
        let pairs: Vec<&str> =
            HEX.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap()).collect();
        assert_eq!(hex(&pairs.join(":")), Some(digest));
        assert_eq!(base64(BASE64), Some(digest));
    }

    #[test]
    fn what_is_no_digest_is_refused() {
        for text in [
            "",
            "e3",
            &HEX[1..],
            &format!("{HEX}0"),
            &HEX.replace('e', "g"),
            &HEX.replace("b855", "b85g"),
            &format!("+{}", &HEX[1..]),
        ] {
            assert_eq!(hex(text), None, "{text}");
        }
        let colons = |between: &str| {
            let pairs: Vec<&str> =
                HEX.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap()).collect();
            pairs.join(between)
        };
        assert_eq!(hex(&colons("-")), None);
        assert_eq!(hex(&colons("::")), None);
        for text in [
            "",
            &BASE64[..43],
            &BASE64.replace('=', "A"),
            &BASE64.replace('+', "-"),
            // The last letter holds two bits that say nothing.
            &BASE64.replace("FU=", "FV="),
            &format!("A{}", &BASE64[..43]),
            &format!("{}==", &BASE64[..42]),
        ] {
            assert_eq!(base64(text), None, "{text}");
        }
    }
}
