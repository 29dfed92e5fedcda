//! How Envoy's protocols about limits write units of time.

use policies::rate_limit::Unit;

/// Each unit, its number in messages (`type.v3.RateLimitUnit`, where 0 is none) and its name in files.
const WRITTEN: [(Unit, i32, &str); 7] = [
    (Unit::Second, 1, "second"),
    (Unit::Minute, 2, "minute"),
    (Unit::Hour, 3, "hour"),
    (Unit::Day, 4, "day"),
    (Unit::Month, 5, "month"),
    (Unit::Year, 6, "year"),
    (Unit::Week, 7, "week"),
];

/// By name, in any case.
pub(crate) fn named(name: &str) -> Option<Unit> {
    WRITTEN.iter().find(|(.., known)| known.eq_ignore_ascii_case(name)).map(|(unit, ..)| *unit)
}

/// By its number in messages.
pub(crate) fn numbered(number: i32) -> Option<Unit> {
    WRITTEN.iter().find(|(_, known, _)| *known == number).map(|(unit, ..)| *unit)
}

/// Its number in messages.
pub(crate) fn number(unit: Unit) -> i32 {
    WRITTEN.iter().find(|(known, ..)| *known == unit).map_or(0, |(_, number, _)| *number)
}
