//! How late a worker is.
//!
//! A task that sleeps ten milliseconds wakes as late as everything else that is ready has to wait. A burst passes; a queue
//! that stands for several looks means that more comes than can be done (the idea of CoDel, RFC 8289, with its 5 ms in 100).
//! Then a share of new requests is turned away: more while the worker is late, less when it is in time.
//!
//! Time in which something else has the processor is not the queue's: the kernel counts it for each thread, and it is taken
//! off. Where the kernel does not tell, only a delay that is ten times as long is believed.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::{ALL, Load, Pressure};

const EVERY: Duration = Duration::from_millis(10);
/// A worker that is later, by itself, is late.
const TARGET: Duration = Duration::from_millis(5);
/// The same where nobody tells what others did meanwhile.
const TARGET_OF_ALL: Duration = Duration::from_millis(50);
/// For so long, and so many looks, it has to be.
const STANDS: Duration = Duration::from_millis(100);
const LOOKS: u32 = 3;
/// Fewer requests than these between two looks are not why: then the whole machine is busy, and turning them away helps
/// nobody.
const FEW: u32 = 32;

/// Looks for ever, on the worker itself.
pub(super) async fn watch(load: Arc<Load>, pressure: Arc<Pressure>) {
    let mut control = Control::default();
    let mut elsewhere = Elsewhere::of_thread();
    let target = if elsewhere.is_some() { TARGET } else { TARGET_OF_ALL };
    loop {
        let due = Instant::now() + EVERY;
        sleep_until(due).await;
        let late = Instant::now() - due;
        let passed = EVERY + late;
        let late = late.saturating_sub(elsewhere.as_mut().map_or(Duration::ZERO, Elsewhere::since));
        let look = Look { is_late: late > target, late, passed };
        let shed = control.next(look, load.requests.load(Ordering::Relaxed));
        let micros = |delay: Duration| u32::try_from(delay.as_micros()).unwrap_or(u32::MAX);
        load.delay.store(micros(control.smoothed), Ordering::Relaxed);
        // Written only when it changes: requests read it.
        if shed != load.late.load(Ordering::Relaxed) {
            load.set_late(shed, &pressure);
        }
    }
}

/// How long this thread has been ready and something else had the processor (`run_delay`, the second figure of `schedstat`,
/// proc(5)).
struct Elsewhere {
    file: File,
    before: u64,
}

impl Elsewhere {
    /// `None`: this kernel does not tell.
    fn of_thread() -> Option<Self> {
        let file = File::open("/proc/thread-self/schedstat").ok()?;
        let before = Self::read(&file)?;
        // A kernel that does not count says 0 for ever; a thread that got here has run.
        let has_run = Self::figures(&file)?.0 > 0;
        has_run.then_some(Self { file, before })
    }

    /// Nanoseconds on a processor, and ready without one.
    fn figures(file: &File) -> Option<(u64, u64)> {
        let mut text = [0; 64];
        // From memory of the kernel: under 2 µs, a hundred times a second.
        let read = file.read_at(&mut text, 0).ok()?;
        let text = std::str::from_utf8(text.get(..read)?).ok()?;
        let mut figures = text.split_ascii_whitespace().map_while(|figure| figure.parse().ok());
        Some((figures.next()?, figures.next()?))
    }

    fn read(file: &File) -> Option<u64> {
        Self::figures(file).map(|(_, ready)| ready)
    }

    /// Since the last look.
    fn since(&mut self) -> Duration {
        let now = Self::read(&self.file).unwrap_or(self.before);
        let since = now.saturating_sub(std::mem::replace(&mut self.before, now));
        Duration::from_nanos(since)
    }
}

/// What a look found.
#[derive(Debug, Clone, Copy)]
struct Look {
    is_late: bool,
    late: Duration,
    /// Since the one before.
    passed: Duration,
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
    /// The share in parts of [`ALL`].
    fn next(&mut self, look: Look, requests: u32) -> u32 {
        self.smoothed = (self.smoothed * 7 + look.late) / 8;
        let came = requests.wrapping_sub(self.before);
        self.before = requests;
        if !look.is_late || came < FEW {
            (self.stands, self.looks) = (Duration::ZERO, 0);
            // Slower down than up, so that it settles; the last part goes at once.
            self.shed = self.shed.saturating_sub((self.shed / 16).max(ALL / 256));
        } else {
            self.stands += look.passed;
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

    const LATE: Look =
        Look { is_late: true, late: Duration::from_millis(60), passed: Duration::from_millis(70) };
    const IN_TIME: Look = Look { is_late: false, late: Duration::ZERO, passed: EVERY };

    #[test]
    fn a_burst_is_nothing_and_a_queue_that_stands_is_shed() {
        let mut control = Control::default();
        assert_eq!(control.next(IN_TIME, 0), 0);
        for turn in 1..10 {
            let long = Look { late: LATE.late * 5, passed: LATE.passed * 5, ..LATE };
            assert_eq!(control.next(long, turn * 1000), 0, "one look, however late");
            assert_eq!(control.next(LATE, turn * 1000 + 100), 0, "nor two");
            assert_eq!(control.next(IN_TIME, turn * 1000 + 200), 0);
        }
        for turn in 1..LOOKS {
            assert_eq!(control.next(LATE, 20_000 + turn * 100), 0, "not yet");
        }
        let mut before = 0;
        for turn in LOOKS..20 {
            let shed = control.next(LATE, 20_000 + turn * 100);
            assert!(shed > before && shed < ALL, "{shed}");
            before = shed;
        }
        assert!(before > ALL / 10 * 9);
        let turns = (0..).take_while(|_| control.next(IN_TIME, 90_000) > 0).count();
        assert!((20..200).contains(&turns), "{turns}");
    }

    #[test]
    fn a_busy_machine_with_few_requests_sheds_nothing() {
        let mut control = Control::default();
        assert!((1..100).all(|turn| control.next(LATE, turn * (FEW - 1)) == 0));
    }

    /// Two threads on one processor: half of the time of each is the other's.
    #[test]
    fn time_of_others_is_told_apart() {
        let Some(mut elsewhere) = Elsewhere::of_thread() else { return };
        let begun = std::time::Instant::now();
        std::thread::scope(|scope| {
            let cores = std::thread::available_parallelism().map_or(1, usize::from);
            let spin = || while begun.elapsed() < Duration::from_millis(400) {};
            (0..cores * 2).for_each(|_| drop(scope.spawn(spin)));
            spin();
        });
        let since = elsewhere.since();
        assert!(since > Duration::from_millis(50) && since < begun.elapsed(), "{since:?}");
        std::thread::sleep(Duration::from_millis(20));
        assert!(elsewhere.since() < Duration::from_millis(400), "each time is told once");
    }
}
