//! Chunked bodies: RFC 9112 section 7.1 read line by line, against the state machine and against what Pingora reads.

use std::sync::LazyLock;

use proxy::fuzzing::{Asked, request};
use regex::bytes::Regex;

use crate::memory::bounded;
use crate::pieces::cut;

const HEAD: &[u8] = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";

fn line(pattern: &str) -> Regex {
    let token = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+";
    let text = r"[\t\x20-\x7e\x80-\xff]*";
    Regex::new(&format!("^(?-u:{})$", pattern.replace("TOKEN", token).replace("TEXT", text)))
        .expect("a constant")
}

/// The grammar, without white space before the first `;`, and with 15 digits at most.
static STRICT: LazyLock<Regex> = LazyLock::new(|| {
    line(
        r#"[0-9A-Fa-f]{1,15}(?:;[ \t]*TOKEN(?:[ \t]*=[ \t]*(?:TOKEN|"(?:[\t \x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\TEXT)*"))?[ \t]*)*"#,
    )
});
/// What is taken for a chunk-size line; to no reader does more of it matter.
static SIZE: LazyLock<Regex> = LazyLock::new(|| line(r"([0-9A-Fa-f]{1,15})(?:;(TEXT))?"));
static SIZE_START: LazyLock<Regex> = LazyLock::new(|| line(r"(?:[0-9A-Fa-f]{1,15}(?:;(TEXT))?)?"));
static FIELD: LazyLock<Regex> = LazyLock::new(|| line(r"TOKEN:TEXT"));
static FIELD_START: LazyLock<Regex> = LazyLock::new(|| line(r"(?:TOKEN(?::TEXT)?)?"));

/// The size of the pieces, and a body.
pub fn run(data: &[u8]) {
    let Some((bytes, pieces)) = cut(data) else { return };
    let ours = bounded(bytes.len(), 256, || proxy::fuzzing::chunked(&pieces));
    let wanted = decode(bytes);
    let verdict = match &wanted {
        Ok(_) => Some(true),
        Err(Stop::Open) => Some(false),
        Err(Stop::Bad) => None,
    };
    assert_eq!(ours, verdict, "{}", bytes.escape_ascii());
    let asked = request(&[HEAD, bytes]);
    match (wanted, asked) {
        (Ok(body), Asked::Taken(taken)) => assert_eq!(taken.body, Some(body), "{}", bytes.escape_ascii()),
        (Err(Stop::Open), Asked::Taken(taken)) => assert_eq!(taken.body, None, "{}", bytes.escape_ascii()),
        (Err(Stop::Bad), Asked::Refused("bad_chunk" | "head_too_large")) => {}
        (_, asked) => panic!("{asked:?}: {}", bytes.escape_ascii()),
    }
}

#[derive(Debug)]
pub(crate) enum Stop {
    Bad,
    Open,
}

/// A line and what follows it.
type Split<'a> = (&'a [u8], &'a [u8]);

/// The line at the beginning and what follows it. CR and LF are in no line.
fn split_line<'a>(rest: &'a [u8], whole: &Regex, start: &Regex) -> Result<Split<'a>, (Stop, &'a [u8])> {
    let end = rest.iter().position(|byte| *byte == b'\r').unwrap_or(rest.len());
    let (line, after) = rest.split_at(end);
    match after {
        [] if start.is_match(line) => Err((Stop::Open, line)),
        [b'\r'] if whole.is_match(line) => Err((Stop::Open, line)),
        [b'\r', b'\n', after @ ..] if whole.is_match(line) => Ok((line, after)),
        _ => Err((Stop::Bad, line)),
    }
}

pub(crate) fn decode(mut rest: &[u8]) -> Result<Vec<u8>, Stop> {
    let (mut body, mut unpaid) = (Vec::new(), 0);
    loop {
        let (line, open, after) = match split_line(rest, &SIZE, &SIZE_START) {
            Ok((line, after)) => (line, false, after),
            Err((Stop::Open, line)) => (line, true, &[][..]),
            Err((Stop::Bad, line)) => {
                assert!(!STRICT.is_match(line) || !rest[line.len()..].starts_with(b"\r\n"));
                return Err(Stop::Bad);
            }
        };
        unpaid += line.iter().position(|byte| *byte == b';').map_or(0, |at| line.len() - at - 1);
        if unpaid > 16 * 1024 {
            return Err(Stop::Bad);
        }
        if open {
            return Err(Stop::Open);
        }
        let digits = line.split(|byte| *byte == b';').next().expect("a line");
        let digits = std::str::from_utf8(digits).expect("digits");
        let size = usize::from_str_radix(digits, 16).expect("at most 15");
        rest = after;
        if size == 0 {
            break;
        }
        unpaid = unpaid.saturating_sub(size);
        let Some((data, after)) = rest.split_at_checked(size) else { return Err(Stop::Open) };
        body.extend_from_slice(data);
        rest = match after {
            [b'\r', b'\n', rest @ ..] => rest,
            [] | [b'\r'] => return Err(Stop::Open),
            _ => return Err(Stop::Bad),
        };
    }
    trailers(rest).map(|()| body)
}

fn trailers(mut rest: &[u8]) -> Result<(), Stop> {
    let mut bytes = 0;
    loop {
        match rest {
            [b'\r', b'\n', ..] => return Ok(()),
            [] | [b'\r'] => return Err(Stop::Open),
            _ => {}
        }
        let (line, stop) = match split_line(rest, &FIELD, &FIELD_START) {
            Ok((line, after)) => {
                rest = after;
                (line, None)
            }
            Err((stop, line)) => (line, Some(stop)),
        };
        bytes += line.len();
        match stop {
            _ if bytes > 8 * 1024 => return Err(Stop::Bad),
            Some(stop) => return Err(stop),
            None => {}
        }
    }
}
