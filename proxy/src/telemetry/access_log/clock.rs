//! The time of a line: formatted once per second and thread.

use std::cell::Cell;
use std::time::Duration;

/// `2026-01-02T03:04:05.` of the second it was made in.
type Second = (u64, [u8; 20]);

thread_local! {
    static SECOND: Cell<Second> = const { Cell::new((0, *b"1970-01-01T00:00:00.")) };
}

/// Appends a time since 1970 in RFC 3339: UTC, milliseconds.
pub(super) fn time(out: &mut Vec<u8>, now: Duration) {
    let mut second = SECOND.get();
    if second.0 != now.as_secs() {
        second = (now.as_secs(), date(now.as_secs()));
        SECOND.set(second);
    }
    out.extend_from_slice(&second.1);
    let millis = u64::from(now.subsec_millis());
    out.extend_from_slice(&[digit(millis / 100), digit(millis / 10), digit(millis), b'Z']);
}

/// The civil date of a second since 1970: days counted in 400-year eras that begin on 1 March.
fn date(seconds: u64) -> [u8; 20] {
    let (days, second) = (seconds / 86_400 + 719_468, seconds % 86_400);
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    let mut text = *b"0000-00-00T00:00:00.";
    let tens = |number| [digit(number / 10), digit(number)];
    let fields = [(0, year / 100), (2, year), (5, month), (8, day), (11, hour), (14, minute), (17, second)];
    for (at, number) in fields {
        if let Some(place) = text.get_mut(at..at + 2) {
            place.copy_from_slice(&tens(number));
        }
    }
    text
}

/// The last decimal digit of a number.
pub(super) fn digit(number: u64) -> u8 {
    b'0' + (number % 10) as u8
}

#[cfg(test)]
mod tests;
