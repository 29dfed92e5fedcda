//! Units of time, as Envoy's protocols about limits number them.

/// A unit of time (`type.v3.RateLimitUnit`, without `UNKNOWN`). Months have 30 days, and years 365.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i32)]
pub enum Unit {
    /// A second.
    Second = 1,
    /// A minute.
    Minute = 2,
    /// An hour.
    Hour = 3,
    /// A day.
    Day = 4,
    /// 30 days.
    Month = 5,
    /// 365 days.
    Year = 6,
    /// Seven days.
    Week = 7,
}

impl Unit {
    /// All there are, with their names.
    const ALL: [(Self, &'static str, u64); 7] = [
        (Self::Second, "second", 1),
        (Self::Minute, "minute", 60),
        (Self::Hour, "hour", 3_600),
        (Self::Day, "day", 86_400),
        (Self::Month, "month", 30 * 86_400),
        (Self::Year, "year", 365 * 86_400),
        (Self::Week, "week", 7 * 86_400),
    ];

    /// By name, in any case.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, known, _)| known.eq_ignore_ascii_case(name)).map(|(unit, ..)| *unit)
    }

    /// By its number in messages.
    pub(crate) fn numbered(number: i32) -> Option<Self> {
        Self::ALL.iter().map(|(unit, ..)| *unit).find(|unit| *unit as i32 == number)
    }

    /// How long it is.
    #[must_use]
    pub fn seconds(self) -> u64 {
        Self::ALL.iter().find(|(unit, ..)| *unit == self).map_or(1, |(.., seconds)| *seconds)
    }
}
