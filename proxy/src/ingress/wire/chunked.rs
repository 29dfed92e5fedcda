//! Chunked bodies (RFC 9112 section 7.1): every line must be exactly as written there.

use super::{Fault, is_token};

/// Most digits of a size: less than any counter holds, and no room for endless zeros.
const DIGITS: u8 = 15;
/// Most bytes of extensions that are not paid for by data (CVE-2023-39326 is what comes without a limit).
const EXTENSIONS: usize = 16 * 1024;
/// Most bytes of trailers.
const TRAILERS: usize = 8 * 1024;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum At {
    #[default]
    Size,
    Extension,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    Trailer,
    TrailerName,
    TrailerValue,
    TrailerLf,
    EndLf,
    Done,
}

/// A chunked body as far as it has come.
#[derive(Debug, Default)]
pub(crate) struct Chunked {
    at: At,
    digits: u8,
    /// Of the chunk: its size while that is read, then what is left of it.
    left: u64,
    /// Bytes of extensions, less those of data.
    extensions: usize,
    trailers: usize,
}

impl Chunked {
    /// Nothing of it has come.
    pub(crate) const fn new() -> Self {
        Self { at: At::Size, digits: 0, left: 0, extensions: 0, trailers: 0 }
    }

    /// All of it has.
    pub(crate) const fn is_done(&self) -> bool {
        matches!(self.at, At::Done)
    }

    /// Looks at the next bytes. What follows the body is not looked at.
    ///
    /// # Errors
    /// When they are no part of a chunked body.
    #[allow(clippy::wildcard_enum_match_arm, reason = "all other places take one byte")]
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        let mut from = 0;
        while let Some(&byte) = bytes.get(from) {
            match self.at {
                At::Done => return Ok(()),
                At::Data => {
                    let here = bytes.len() - from;
                    let taken = usize::try_from(self.left).map_or(here, |left| left.min(here));
                    self.left -= taken as u64;
                    from += taken;
                    if self.left == 0 {
                        self.at = At::DataCr;
                    }
                }
                _ => {
                    self.at = self.step(byte)?;
                    from += 1;
                }
            }
        }
        Ok(())
    }

    fn step(&mut self, byte: u8) -> Result<At, Fault> {
        let next = match (self.at, byte) {
            (At::Size, _) => return self.size(byte),
            (At::Extension, b'\r') => At::SizeLf,
            (At::TrailerValue, b'\r') => At::TrailerLf,
            (At::Extension, b'\t' | 0x20..=0x7e | 0x80..) => {
                self.extensions += 1;
                if self.extensions > EXTENSIONS {
                    return Err(Fault::Chunk);
                }
                At::Extension
            }
            (At::SizeLf, b'\n') => self.sized(),
            (At::DataCr, b'\r') => At::DataLf,
            (At::DataLf, b'\n') => At::Size,
            (At::Trailer, b'\r') => At::EndLf,
            (At::EndLf, b'\n') => At::Done,
            (At::TrailerLf, b'\n') => At::Trailer,
            (At::TrailerName, b':') | (At::TrailerValue, b'\t' | 0x20..=0x7e | 0x80..) => At::TrailerValue,
            (At::Trailer | At::TrailerName, _) if is_token(byte) => At::TrailerName,
            _ => return Err(Fault::Chunk),
        };
        if matches!(next, At::TrailerName | At::TrailerValue) {
            self.trailers += 1;
            if self.trailers > TRAILERS {
                return Err(Fault::TooLarge);
            }
        }
        Ok(next)
    }

    fn size(&mut self, byte: u8) -> Result<At, Fault> {
        if let Some(digit) = char::from(byte).to_digit(16) {
            self.digits += 1;
            self.left = self.left << 4 | u64::from(digit);
            return if self.digits > DIGITS { Err(Fault::Chunk) } else { Ok(At::Size) };
        }
        match byte {
            b'\r' if self.digits > 0 => Ok(At::SizeLf),
            b';' if self.digits > 0 => Ok(At::Extension),
            _ => Err(Fault::Chunk),
        }
    }

    fn sized(&mut self) -> At {
        self.digits = 0;
        if self.left == 0 {
            return At::Trailer;
        }
        self.extensions = self.extensions.saturating_sub(usize::try_from(self.left).unwrap_or(usize::MAX));
        At::Data
    }
}
