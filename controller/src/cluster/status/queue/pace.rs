//! How often the counts of one object are written.

use std::time::Duration;

use tokio::time::Instant;

/// Changes have paused after this long: what is left is written. A reader who waits for a count sees it within a second
/// of the last route.
const PAUSE: Duration = Duration::from_millis(600);
/// A row ends when nothing changed for this long: the next change is written at once.
const ROW_ENDS: Duration = Duration::from_secs(2);
/// The first writes of a row are this far apart, then each is twice as far from the last.
const SHORTEST: Duration = Duration::from_millis(200);
/// … up to this. With a write every ten seconds, half an hour of changes is some 180 writes.
const LONGEST: Duration = Duration::from_secs(10);

/// Changes and writes of an object.
#[derive(Debug)]
pub(super) struct Pace {
    changed: Instant,
    /// Writes since the row began.
    row: u32,
}

impl Pace {
    pub(super) const fn new(now: Instant) -> Self {
        Self { changed: now, row: 0 }
    }

    pub(super) fn change(&mut self, now: Instant) {
        if now > self.changed + ROW_ENDS {
            self.row = 0;
        }
        self.changed = now;
    }

    pub(super) const fn wrote(&mut self) {
        self.row = self.row.saturating_add(1);
    }

    /// Until when the next write waits, if it does. `written` is the last one.
    pub(super) fn hold(&self, written: Instant, now: Instant) -> Option<Instant> {
        if self.row == 0 {
            return None;
        }
        let apart = SHORTEST.saturating_mul(1 << self.row.saturating_sub(3).min(10)).min(LONGEST);
        let until = (self.changed + PAUSE).min(written + apart);
        (now < until).then_some(until)
    }
}
