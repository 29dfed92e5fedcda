//! Paths as the documentation says they are read, segment by segment and without the engine's code, and a backend that
//! reads as leniently as any.

use super::EscapedSlashes;

/// A piece of a path as the client wrote it.
#[derive(Clone, Copy, PartialEq)]
enum Piece<'a> {
    Slash,
    Char(char),
    /// An escape that stays as it is written.
    Escape(&'a str),
}

/// The one form of a path; `None`: it is refused.
pub(super) fn normal(path: &str, (slashes, merge): (EscapedSlashes, bool)) -> Option<String> {
    let pieces = pieces(path, slashes)?;
    let mut stack: Vec<&[Piece<'_>]> = Vec::new();
    let mut segments = pieces.split(|piece| *piece == Piece::Slash).skip(1).peekable();
    while let Some(segment) = segments.next() {
        let is_last = segments.peek().is_none();
        match segment {
            [Piece::Char('.')] => {}
            [Piece::Char('.'), Piece::Char('.')] => drop(stack.pop()?),
            _ => {
                stack.push(segment);
                continue;
            }
        }
        if is_last {
            stack.push(&[]);
        }
    }
    let last = stack.pop()?;
    if merge {
        stack.retain(|segment| !segment.is_empty());
    }
    let text = |segment: &[Piece<'_>]| {
        segment.iter().fold(String::from("/"), |mut text, piece| {
            match piece {
                Piece::Slash => text.push('/'),
                Piece::Char(c) => text.push(*c),
                Piece::Escape(escape) => text.push_str(escape),
            }
            text
        })
    };
    Some(stack.into_iter().chain([last]).map(text).collect())
}

fn pieces(path: &str, slashes: EscapedSlashes) -> Option<Vec<Piece<'_>>> {
    let mut pieces = Vec::new();
    // Bytes of the escapes that stand right before.
    let mut run: Vec<u8> = Vec::new();
    let mut rest = path;
    while let Some(first) = rest.chars().next() {
        if first != '%' {
            run.clear();
            pieces.push(if first == '/' || first == '\\' { Piece::Slash } else { Piece::Char(first) });
            rest = &rest[first.len_utf8()..];
            continue;
        }
        let escape = rest.get(..3)?;
        if !escape[1..].bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        run.push(u8::from_str_radix(&escape[1..], 16).ok()?);
        rest = &rest[3..];
        pieces.push(match run.as_slice() {
            [.., 0] => return None,
            [.., lead, next] if is_longer_than_needed(*lead, *next) => return None,
            [.., b'/' | b'\\'] => match slashes {
                EscapedSlashes::RejectRequest => return None,
                EscapedSlashes::KeepUnchanged => Piece::Escape(escape),
                EscapedSlashes::UnescapeAndForward | EscapedSlashes::UnescapeAndRedirect => Piece::Slash,
            },
            // RFC 3986 section 2.3.
            [.., byte] if byte.is_ascii_alphanumeric() || b"-._~".contains(byte) => {
                Piece::Char((*byte).into())
            }
            _ => Piece::Escape(escape),
        });
    }
    Some(pieces)
}

/// RFC 3629 section 3: the first bytes of two, three or four for a character whose bits would fit fewer.
fn is_longer_than_needed(lead: u8, next: u8) -> bool {
    let bits = |mask: u8| next & mask == 0;
    next >> 6 == 0b10
        && match lead {
            _ if lead >> 5 == 0b110 => (lead & 0b1_1111) >> 1 == 0,
            _ if lead >> 4 == 0b1110 => lead & 0b1111 == 0 && bits(0b10_0000),
            _ if lead >> 3 == 0b1_1110 => lead & 0b111 == 0 && bits(0b11_0000),
            _ => false,
        }
}

/// What a backend that decodes everything, knows both slashes and resolves dots takes a path for: the names on the way to
/// it. `None`: nothing it can have.
pub(super) fn lenient(path: &str) -> Option<Vec<Vec<u8>>> {
    let mut decoded = Vec::new();
    let mut bytes = path.bytes();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => {
                let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
                u8::try_from(digit(bytes.next())? << 4 | digit(bytes.next())?).ok()?
            }
            byte => byte,
        });
    }
    let mut names: Vec<Vec<u8>> = Vec::new();
    for name in decoded.split(|byte| matches!(byte, b'/' | b'\\')) {
        match name {
            b"" | b"." => {}
            b".." => drop(names.pop()?),
            name => names.push(name.to_vec()),
        }
    }
    Some(names)
}
