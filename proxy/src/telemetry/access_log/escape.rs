//! Untrusted bytes inside a JSON string.

use std::io::Write;

/// The inside of a JSON string: untrusted bytes, cut to `limit`.
pub(crate) fn escape(out: &mut Vec<u8>, bytes: &[u8], limit: usize) {
    if bytes.len() <= limit && is_plain(bytes) {
        return out.extend_from_slice(bytes);
    }
    escape_hostile(out, bytes, limit);
}

/// True when every byte is printable ASCII, neither quote nor backslash. Looks at eight bytes at a time.
fn is_plain(bytes: &[u8]) -> bool {
    let (words, rest) = bytes.as_chunks::<8>();
    let is_odd = match (rest, bytes.last_chunk::<8>()) {
        ([], _) => 0,
        // Looks at some bytes twice rather than at the rest one by one.
        (_, Some(last)) => odd(u64::from_le_bytes(*last)),
        (rest, None) => {
            let mut padded = [b'0'; 8];
            for (place, byte) in padded.iter_mut().zip(rest) {
                *place = *byte;
            }
            odd(u64::from_le_bytes(padded))
        }
    };
    words.iter().fold(is_odd, |odd_so_far, word| odd_so_far | odd(u64::from_le_bytes(*word))) == 0
}

/// Has the high bit set of some byte when any byte of the word is not plain.
const fn odd(word: u64) -> u64 {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    const HIGH: u64 = ONES << 7;
    // A byte less its bound borrows from its high bit. Borrows reach further bytes only from bytes that are odd
    // themselves, and one is enough; bytes above ASCII have the bit anyway.
    let below_space = word.wrapping_sub(ONES * b' ' as u64);
    let quote = (word ^ (ONES * b'"' as u64)).wrapping_sub(ONES);
    let backslash = (word ^ (ONES * b'\\' as u64)).wrapping_sub(ONES);
    let delete = (word ^ (ONES * 0x7f)).wrapping_sub(ONES);
    (below_space | quote | backslash | delete | word) & HIGH
}

/// As [`escape`], when there is something to escape or to cut.
#[cold]
fn escape_hostile(out: &mut Vec<u8>, bytes: &[u8], limit: usize) {
    let mut room = limit;
    for chunk in bytes.utf8_chunks() {
        let replaced = if chunk.invalid().is_empty() { None } else { Some('\u{fffd}') };
        for character in chunk.valid().chars().chain(replaced) {
            let Some(left) = room.checked_sub(character.len_utf8()) else {
                return out.extend_from_slice("…".as_bytes());
            };
            room = left;
            match character {
                '"' => out.extend_from_slice(b"\\\""),
                '\\' => out.extend_from_slice(b"\\\\"),
                // Control characters of both blocks would move a terminal's cursor, the separators end a line for
                // some readers.
                '\u{2028}' | '\u{2029}' => escaped(out, character),
                character if character.is_control() => escaped(out, character),
                character => out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
    }
}

fn escaped(out: &mut Vec<u8>, character: char) {
    // Writing to a Vec cannot fail.
    _ = write!(out, "\\u{:04x}", u32::from(character));
}

#[cfg(test)]
mod tests;
