//! What backends answer: where an answer ends is where RFC 9112 section 6.3 ends it, and its body what Pingora reads.

use proxy::fuzzing::{answered, reply};

use crate::chunked::{Stop, decode};
use crate::memory::bounded;
use crate::pieces::cut;

/// Whether HEAD was asked (odd), the size of the pieces, and an answer.
pub fn run(data: &[u8]) {
    let Some((asked, rest)) = data.split_first() else { return };
    let Some((bytes, pieces)) = cut(rest) else { return };
    let to_head = asked % 2 == 1;
    let whole = bounded(bytes.len(), 1024, || reply(to_head, &[bytes]));
    let in_pieces = reply(to_head, &pieces);
    // What follows an answer is looked at only when it comes with it.
    assert!(in_pieces == whole || whole.is_none(), "in pieces: {in_pieces:?}, not {whole:?}");
    match (read(to_head, bytes), whole) {
        (_, None) | (Err(Stop::Open), Some(false)) => {}
        (Ok(read), Some(true)) => {
            assert_eq!(answered(to_head, bytes), Some(read), "{}", bytes.escape_ascii())
        }
        // Pingora has a parser of its own, and the engine looks at the fields.
        (Err(Stop::Bad), Some(_)) if answered(to_head, bytes).is_none() || is_coded(bytes) => {}
        (read, whole) => panic!("{read:?}, {whole:?}: {}", bytes.escape_ascii()),
    }
}

/// With a coding that is not `chunked`: the engine answers 502.
fn is_coded(bytes: &[u8]) -> bool {
    bytes.to_ascii_lowercase().windows(17).any(|name| name == b"transfer-encoding")
}

/// Status and body.
fn read(to_head: bool, mut rest: &[u8]) -> Result<(u16, Vec<u8>), Stop> {
    loop {
        let mut fields = [httparse::EMPTY_HEADER; 256];
        let mut head = httparse::Response::new(&mut fields);
        // As lenient as Pingora, to see what it sees.
        let mut parser = httparse::ParserConfig::default();
        parser.allow_spaces_after_header_name_in_responses(true);
        parser.allow_obsolete_multiline_headers_in_responses(true);
        rest = match parser.parse_response(&mut head, rest) {
            Ok(httparse::Status::Complete(length)) => &rest[length..],
            Ok(httparse::Status::Partial) => return Err(Stop::Open),
            Err(_) => return Err(Stop::Bad),
        };
        let values = |name: &str| -> Vec<&[u8]> {
            let fields = head.headers.iter().filter(|field| field.name.eq_ignore_ascii_case(name));
            fields.map(|field| field.value.trim_ascii()).collect()
        };
        let status = head.code.ok_or(Stop::Bad)?;
        match (status, values("transfer-encoding").as_slice(), values("content-length").as_slice()) {
            (101, ..) => return Err(Stop::Open),
            (100..200, ..) => {}
            _ if to_head || matches!(status, 204 | 304) => return Ok((status, Vec::new())),
            (_, [coding], []) if coding.eq_ignore_ascii_case(b"chunked") => {
                return Ok((status, decode(rest)?));
            }
            (_, [], [length]) => {
                let length = std::str::from_utf8(length).ok().and_then(|length| length.parse().ok());
                let body = rest.get(..length.ok_or(Stop::Bad)?).ok_or(Stop::Open)?;
                return Ok((status, body.to_vec()));
            }
            (_, [], []) => return Err(Stop::Open),
            _ => return Err(Stop::Bad),
        }
    }
}
