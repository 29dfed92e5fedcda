//! Why a client's bytes are no request.

/// See `docs/reasons.md`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Fault {
    /// Not HTTP: there is nobody to answer.
    Foreign = 1,
    /// No request line.
    Request,
    Target,
    TargetTooLong,
    Version,
    /// A field, or how a line ends.
    Field,
    TooLarge,
    /// Content-Length, or it and Transfer-Encoding.
    Framing,
    Coding,
    Chunk,
}

impl Fault {
    const ALL: [Self; 10] = [
        Self::Foreign,
        Self::Request,
        Self::Target,
        Self::TargetTooLong,
        Self::Version,
        Self::Field,
        Self::TooLarge,
        Self::Framing,
        Self::Coding,
        Self::Chunk,
    ];

    /// From `self as u8`; 0 is none.
    pub(crate) fn of(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number).checked_sub(1)?).copied()
    }

    /// Status of the answer; 0: none.
    pub(crate) const fn status(self) -> u16 {
        match self {
            Self::Foreign => 0,
            Self::Request | Self::Target | Self::Field | Self::Framing | Self::Chunk => 400,
            Self::TargetTooLong => 414,
            Self::TooLarge => 431,
            Self::Coding => 501,
            Self::Version => 505,
        }
    }

    /// Stable token.
    pub(crate) const fn reason(self) -> &'static str {
        match self {
            Self::Foreign => "not_http",
            Self::Request => "bad_request",
            Self::Target => "bad_target",
            Self::TargetTooLong => "target_too_long",
            Self::Version => "bad_version",
            Self::Field => "bad_header",
            Self::TooLarge => "head_too_large",
            Self::Framing => "bad_framing",
            Self::Coding => "bad_transfer_encoding",
            Self::Chunk => "bad_chunk",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back() {
        assert_eq!(Fault::of(0), None);
        for (at, fault) in Fault::ALL.into_iter().enumerate() {
            assert_eq!(fault as usize, at + 1);
            assert_eq!(Fault::of(fault as u8), Some(fault));
        }
    }
}
