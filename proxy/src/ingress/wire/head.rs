//! Request line and fields, byte by byte where bytes have a meaning.

use memchr::memchr2;

use super::{Fault, is_token};

/// Largest head where nobody says another, in bytes (Envoy's default, 60 KiB).
const LARGEST: usize = 60 * 1024;
/// Most fields that a listener may take; which listener it is, and how many it takes, is found out later.
const FIELDS: usize = 250;

/// Where in a head the next byte is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum At {
    /// Before the request line. RFC 9112 section 2.2: an empty line there SHOULD be ignored; one is.
    #[default]
    Start,
    StartLf,
    Second,
    Method,
    Target,
    /// How much of `HTTP/1.x` was there.
    Version(u8),
    LineLf,
    Field,
    Name,
    Value,
    /// Digits of Content-Length so far.
    Length(u8),
    LengthEnd,
    /// How much of `chunked` was there.
    Coding(u8),
    CodingEnd,
    EndLf,
}

/// Fields that say where the request ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Known {
    Length,
    Coding,
}

impl Known {
    const fn name(self) -> &'static [u8] {
        match self {
            Self::Length => b"content-length",
            Self::Coding => b"transfer-encoding",
        }
    }
}

/// A request head as far as it has come.
#[derive(Debug, Default)]
pub(crate) struct Head {
    at: At,
    /// Most bytes, where not as many as anywhere.
    limit: Option<usize>,
    bytes: usize,
    fields: usize,
    /// Length of the target, or of the field name so far.
    length: usize,
    /// What the name may still become.
    candidate: Option<Known>,
    /// The target begins with a slash.
    is_origin_form: bool,
    has_length: bool,
    has_coding: bool,
}

impl Head {
    /// One of so many bytes at most; `None`: of 60 KiB.
    pub(crate) fn within(limit: Option<usize>) -> Self {
        Self { limit, ..Self::default() }
    }

    /// The body is chunked.
    pub(crate) const fn is_chunked(&self) -> bool {
        self.has_coding
    }

    /// Looks at the next bytes; `Some`: the head ended after so many of them.
    ///
    /// # Errors
    /// When they are no part of a head.
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> Result<Option<usize>, Fault> {
        let mut from = 0;
        while let Some(rest) = bytes.get(from..).filter(|rest| !rest.is_empty()) {
            let (used, ended) = self.step(rest)?;
            from += used;
            if self.bytes + from > self.limit.unwrap_or(LARGEST) {
                return Err(self.too_large());
            }
            if ended {
                return Ok(Some(from));
            }
        }
        self.bytes += from;
        Ok(None)
    }

    fn too_large(&self) -> Fault {
        if self.fields == 0 { Fault::TargetTooLong } else { Fault::TooLarge }
    }

    /// Takes at least one byte; `true` with the last one of the head.
    #[allow(
        clippy::wildcard_enum_match_arm,
        reason = "three places take more than a byte, and what is left over is a field's"
    )]
    fn step(&mut self, rest: &[u8]) -> Result<(usize, bool), Fault> {
        match self.at {
            At::Target => return self.target(rest).map(|used| (used, false)),
            At::Name => return self.name(rest).map(|used| (used, false)),
            At::Value => return self.value(rest).map(|used| (used, false)),
            _ => {}
        }
        let byte = rest.first().copied().unwrap_or_default();
        self.at = match self.at {
            At::Start if byte == b'\r' => At::StartLf,
            At::StartLf if byte == b'\n' => At::Second,
            At::Start | At::Second | At::Method if is_token(byte) => At::Method,
            At::Method if byte == b' ' => At::Target,
            // Neither a target nor a version: not HTTP, and nobody to answer. RFC 9113 section 3.4 has a client's connection
            // end that way when it says something else than the preface.
            At::Version(0) if !self.is_origin_form && byte.is_ascii_alphabetic() && byte != b'H' => {
                return Err(Fault::Foreign);
            }
            At::Version(seen) => version(seen, byte)?,
            At::LineLf if byte == b'\n' => At::Field,
            At::Field if byte == b'\r' => At::EndLf,
            At::Field if is_token(byte) => return self.begin(byte).map(|()| (1, false)),
            At::Length(digits) => length(digits, byte)?,
            At::LengthEnd | At::CodingEnd if matches!(byte, b' ' | b'\t') => self.at,
            At::LengthEnd | At::CodingEnd if byte == b'\r' => At::LineLf,
            At::Coding(seen) => coding(seen, byte)?,
            At::EndLf if byte == b'\n' => return Ok((1, true)),
            At::Start | At::StartLf | At::Second | At::Method => return Err(Fault::Request),
            At::LengthEnd => return Err(Fault::Framing),
            At::CodingEnd => return Err(Fault::Coding),
            _ => return Err(Fault::Field),
        };
        Ok((1, false))
    }

    /// RFC 9112 section 3: no space, control or non-ASCII byte; section 3.2: no fragment.
    fn target(&mut self, rest: &[u8]) -> Result<usize, Fault> {
        if self.length == 0 {
            self.is_origin_form = rest.first() == Some(&b'/');
        }
        let ends = |byte: &u8| !(0x21..0x7f).contains(byte) || *byte == b'#';
        let Some(end) = rest.iter().position(ends) else {
            self.length += rest.len();
            return Ok(rest.len());
        };
        if rest.get(end) != Some(&b' ') || self.length + end == 0 {
            return Err(Fault::Target);
        }
        self.at = At::Version(0);
        Ok(end + 1)
    }

    fn begin(&mut self, byte: u8) -> Result<(), Fault> {
        self.fields += 1;
        if self.fields > FIELDS {
            return Err(Fault::TooLarge);
        }
        self.at = At::Name;
        self.length = 1;
        self.candidate = match byte | 0x20 {
            b'c' => Some(Known::Length),
            b't' => Some(Known::Coding),
            _ => None,
        };
        Ok(())
    }

    fn name(&mut self, rest: &[u8]) -> Result<usize, Fault> {
        for (at, &byte) in rest.iter().enumerate() {
            if byte == b':' {
                self.named()?;
                return Ok(at + 1);
            }
            if !is_token(byte) {
                return Err(Fault::Field);
            }
            if let Some(known) = self.candidate {
                self.candidate =
                    (known.name().get(self.length) == Some(&byte.to_ascii_lowercase())).then_some(known);
            }
            self.length += 1;
        }
        Ok(rest.len())
    }

    /// RFC 9112 section 6.1: both together, and RFC 9110 section 8.6: more than one length, "ought to be handled as an
    /// error". Two codings are a list, and `chunked` alone is taken.
    fn named(&mut self) -> Result<(), Fault> {
        let known = self.candidate.filter(|known| known.name().len() == self.length);
        self.at = match known {
            None => At::Value,
            Some(_) if self.has_length => return Err(Fault::Framing),
            Some(Known::Length) if self.has_coding => return Err(Fault::Framing),
            Some(Known::Coding) if self.has_coding => return Err(Fault::Coding),
            Some(Known::Length) => {
                self.has_length = true;
                At::Length(0)
            }
            Some(Known::Coding) => {
                self.has_coding = true;
                At::Coding(0)
            }
        };
        Ok(())
    }

    /// Controls in it are left to Pingora's parser, which refuses them.
    fn value(&mut self, rest: &[u8]) -> Result<usize, Fault> {
        let Some(end) = memchr2(b'\r', b'\n', rest) else { return Ok(rest.len()) };
        if rest.get(end) == Some(&b'\n') {
            return Err(Fault::Field);
        }
        self.at = At::LineLf;
        Ok(end + 1)
    }
}

/// `HTTP/1.0` and `HTTP/1.1`, nothing else. Another version in the right form is 505; anything
/// else is no request line.
fn version(seen: u8, byte: u8) -> Result<At, Fault> {
    const EXPECTED: &[u8] = b"HTTP/1.";
    let expected = EXPECTED.get(usize::from(seen));
    match (expected, seen) {
        (Some(&wanted), _) if byte == wanted => Ok(At::Version(seen + 1)),
        (None, 7) if matches!(byte, b'0' | b'1') => Ok(At::Version(8)),
        (Some(_), 5) | (None, 7) if byte.is_ascii_digit() => Err(Fault::Version),
        (None, 8) if byte == b'\r' => Ok(At::LineLf),
        _ => Err(Fault::Request),
    }
}

/// RFC 9110 section 8.6: `1*DIGIT`. Leading zeros are read as octal by some.
fn length(digits: u8, byte: u8) -> Result<At, Fault> {
    /// `digits` after a single 0.
    const ZERO: u8 = u8::MAX;
    match (digits, byte) {
        (0, b' ' | b'\t') => Ok(At::Length(0)),
        (0, b'0') => Ok(At::Length(ZERO)),
        // 18 digits fit any counter.
        (0..18, b'0'..=b'9') => Ok(At::Length(digits + 1)),
        (1.., b' ' | b'\t') => Ok(At::LengthEnd),
        (1.., b'\r') => Ok(At::LineLf),
        _ => Err(Fault::Framing),
    }
}

fn coding(seen: u8, byte: u8) -> Result<At, Fault> {
    const CHUNKED: &[u8] = b"chunked";
    match (CHUNKED.get(usize::from(seen)), byte) {
        (_, b' ' | b'\t') if seen == 0 => Ok(At::Coding(0)),
        // Empty, or folded: RFC 9112 section 5.2 asks for 400.
        (_, b'\r') if seen == 0 => Err(Fault::Field),
        (Some(wanted), _) if byte.eq_ignore_ascii_case(wanted) => Ok(At::Coding(seen + 1)),
        (None, b' ' | b'\t') => Ok(At::CodingEnd),
        (None, b'\r') => Ok(At::LineLf),
        _ => Err(Fault::Coding),
    }
}
