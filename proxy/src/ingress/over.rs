//! Which limit of time a request was over.

/// See `docs/reasons.md`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Over {
    /// The head was not there.
    Head = 1,
    /// The route's time, or an attempt's.
    Deadline,
    /// The body was not there.
    Body,
    /// The body came too slowly.
    Rate,
    /// The client sent nothing of its body, and nothing else moved.
    Silent,
    /// Nothing moved.
    Idle,
    /// The longest a request may last.
    Lasting,
}

impl Over {
    const ALL: [Self; 7] =
        [Self::Head, Self::Deadline, Self::Body, Self::Rate, Self::Silent, Self::Idle, Self::Lasting];

    /// From `self as u8`; 0 is none.
    pub(crate) fn of(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number).checked_sub(1)?).copied()
    }

    /// Status of the answer, where one is possible.
    pub(crate) const fn status(self) -> u16 {
        match self {
            Self::Head | Self::Body | Self::Rate | Self::Silent => 408,
            Self::Deadline | Self::Idle | Self::Lasting => 504,
        }
    }

    /// Stable token.
    pub(crate) const fn reason(self) -> &'static str {
        match self {
            Self::Head => "head_timeout",
            Self::Deadline => "request_timeout",
            Self::Body => "request_body_timeout",
            Self::Rate => "request_body_too_slow",
            Self::Silent | Self::Idle => "stream_idle_timeout",
            Self::Lasting => "max_stream_duration",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back() {
        assert_eq!(Over::of(0), None);
        for (at, over) in Over::ALL.into_iter().enumerate() {
            assert_eq!(over as usize, at + 1);
            assert_eq!(Over::of(over as u8), Some(over));
        }
    }
}
