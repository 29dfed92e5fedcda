//! How late a worker is.
//!
//! A task that sleeps ten milliseconds wakes as late as everything else that is ready has to wait. A burst passes, and so
//! does the time in which another process has the processor; a queue that stands for several looks means that more comes
//! than can be done (the idea of CoDel, RFC 8289). Then a share of new requests is turned away: more while the worker is
//! late, less when it is in time.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::{ALL, Load, Pressure};

const EVERY: Duration = Duration::from_millis(10);
/// A worker that is later is late.
const TARGET: Duration = Duration::from_millis(50);
/// For so long, and so many looks, it has to be.
const STANDS: Duration = Duration::from_millis(100);
const LOOKS: u32 = 3;
/// Fewer requests than these between two looks are not why: then the whole machine is busy, and turning them away helps
/// nobody.
const FEW: u32 = 32;

/// Looks for ever, on the worker itself.
pub(super) async fn watch(load: Arc<Load>, pressure: Arc<Pressure>) {
    let mut control = Control::default();
    loop {
        let due = Instant::now() + EVERY;
        sleep_until(due).await;
        let now = Instant::now();
        let late = now - due;
        let shed = control.next(late, EVERY + late, load.requests.load(Ordering::Relaxed));
        let micros = |delay: Duration| u32::try_from(delay.as_micros()).unwrap_or(u32::MAX);
        load.delay.store(micros(control.smoothed), Ordering::Relaxed);
        // Written only when it changes: requests read it.
        if shed != load.late.load(Ordering::Relaxed) {
            load.set_late(shed, &pressure);
        }
    }
}

/// What share of new requests is turned away.
#[derive(Debug, Default)]
struct Control {
    /// How long, and for how many looks, the worker has been late without a break.
    stands: Duration,
    looks: u32,
    /// Requests at the last look.
    before: u32,
    smoothed: Duration,
    shed: u32,
}

impl Control {
    /// The share in parts of [`ALL`], after a look that was `late`, `passed` after the one before.
    fn next(&mut self, late: Duration, passed: Duration, requests: u32) -> u32 {
        self.smoothed = (self.smoothed * 7 + late) / 8;
        let came = requests.wrapping_sub(self.before);
        self.before = requests;
        if late <= TARGET || came < FEW {
            (self.stands, self.looks) = (Duration::ZERO, 0);
            // Slower down than up, so that it settles; the last part goes at once.
            self.shed = self.shed.saturating_sub((self.shed / 16).max(ALL / 256));
        } else {
            self.stands += passed;
            self.looks += 1;
            if self.stands >= STANDS && self.looks >= LOOKS {
                self.shed += (ALL - self.shed) / 4;
            }
        }
        self.shed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LATE: Duration = Duration::from_millis(60);
    const LOOK: Duration = Duration::from_millis(70);

    #[test]
    fn a_burst_is_nothing_and_a_queue_that_stands_is_shed() {
        let mut control = Control::default();
        assert_eq!(control.next(Duration::ZERO, EVERY, 0), 0);
        for turn in 1..10 {
            assert_eq!(control.next(LATE * 5, LOOK * 5, turn * 1000), 0, "one look, however late");
            assert_eq!(control.next(LATE, LOOK, turn * 1000 + 100), 0, "nor two");
            assert_eq!(control.next(Duration::ZERO, EVERY, turn * 1000 + 200), 0);
        }
        for turn in 1..LOOKS {
            assert_eq!(control.next(LATE, LOOK, 20_000 + turn * 100), 0, "not yet");
        }
        let mut before = 0;
        for turn in LOOKS..20 {
            let shed = control.next(LATE, LOOK, 20_000 + turn * 100);
            assert!(shed > before && shed < ALL, "{shed}");
            before = shed;
        }
        assert!(before > ALL / 10 * 9);
        let turns = (0..).take_while(|_| control.next(Duration::ZERO, EVERY, 90_000) > 0).count();
        assert!((20..200).contains(&turns), "{turns}");
    }

    #[test]
    fn a_busy_machine_with_few_requests_sheds_nothing() {
        let mut control = Control::default();
        assert!((1..100).all(|turn| control.next(LATE * 10, LOOK * 10, turn * (FEW - 1)) == 0));
    }
}
