//! How a request comes along: what moves, and how long we have waited for its body.
//!
//! A client is to blame for a slow body only while we wait for it. Over HTTP/1 that is seen at the socket. Over HTTP/2 the
//! codec reads for us, and is stopped by windows when a backend does not read; but the first 64 KiB fit any window, so
//! until then whatever does not come is the client's.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use super::exchange::{micros, moment};
use super::over::Over;
use crate::traffic::connection::ConnectionRules;

/// For so long a body may come at any rate.
const GRACE: Duration = Duration::from_secs(10);
/// RFC 9113 section 6.9.2: what a window begins with.
const WINDOW: u64 = 65_535;

/// How a request comes along.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    moved: AtomicBool,
    /// Since when we wait for more of the body; 0: we do not.
    waiting: AtomicU64,
    /// Microseconds we have waited before.
    waited: AtomicU64,
    /// Bytes of the body.
    received: AtomicU64,
    /// The body is of no length that can be waited for: gRPC, WebSockets.
    is_open: AtomicBool,
    /// Most microseconds for head and body; 0: for ever.
    whole: AtomicU64,
    /// Most microseconds in which nothing moves; 0: for ever.
    idle: AtomicU64,
    /// Least bytes of the body per second; 0: any number.
    rate: AtomicU64,
}

impl Pace {
    /// None of it has come.
    pub(super) fn of(rules: &ConnectionRules) -> Self {
        let pace = Self::default();
        pace.hold_to(rules);
        pace
    }

    /// From now on these hold: those of the listener, once it is known.
    pub(crate) fn hold_to(&self, rules: &ConnectionRules) {
        let micros = |time: Option<Duration>| {
            time.map_or(0, |time| u64::try_from(time.as_micros()).unwrap_or(u64::MAX))
        };
        self.whole.store(micros(rules.times.request), Ordering::Relaxed);
        self.idle.store(micros(rules.times.stream_idle), Ordering::Relaxed);
        self.rate.store(rules.body.rate.unwrap_or(0), Ordering::Relaxed);
    }

    pub(super) fn reset(&self, rules: &ConnectionRules) {
        self.hold_to(rules);
        self.moved.store(false, Ordering::Relaxed);
        self.waiting.store(0, Ordering::Relaxed);
        self.waited.store(0, Ordering::Relaxed);
        self.received.store(0, Ordering::Relaxed);
        self.is_open.store(false, Ordering::Relaxed);
    }

    /// Something was read or written.
    pub(crate) fn moves(&self) {
        self.moved.store(true, Ordering::Relaxed);
    }

    pub(super) fn take_moved(&self) -> bool {
        // Most polls are for nothing else: no write then.
        self.moved.load(Ordering::Relaxed) && self.moved.swap(false, Ordering::Relaxed)
    }

    /// The body may take as long as it likes.
    pub(crate) fn open(&self) {
        self.is_open.store(true, Ordering::Relaxed);
    }

    /// We wait for more of the body.
    pub(crate) fn waits(&self) {
        if self.waiting.load(Ordering::Relaxed) == 0 {
            self.waiting.store(micros(Instant::now()).max(1), Ordering::Relaxed);
        }
    }

    fn is_waiting(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) != 0
    }

    /// More of the body is there.
    pub(crate) fn fed(&self) {
        let since = self.waiting.load(Ordering::Relaxed);
        if since != 0 {
            let waited = micros(Instant::now()).saturating_sub(since);
            self.waited.fetch_add(waited, Ordering::Relaxed);
            self.waiting.store(0, Ordering::Relaxed);
        }
    }

    /// So much of the body was there, in all.
    pub(crate) fn received(&self, bytes: u64) {
        self.received.store(bytes, Ordering::Relaxed);
    }

    /// Whichever limit is over first. `begun`: with the request; `moved`: when something did; `lasting`: the longest it may
    /// last; `is_read`: the body was.
    pub(super) fn limit(
        &self,
        begun: Instant,
        moved: Instant,
        lasting: Option<Duration>,
        is_read: bool,
    ) -> Option<(Instant, Over)> {
        let after = |from: Instant, limit: &AtomicU64, over| {
            let limit = Some(limit.load(Ordering::Relaxed)).filter(|limit| *limit != 0)?;
            Some((from.checked_add(Duration::from_micros(limit))?, over))
        };
        let waits = !is_read && self.is_waiting();
        let idle = after(moved, &self.idle, if waits { Over::Silent } else { Over::Idle });
        let lasting = lasting.map(|most| (begun + most, Over::Lasting));
        let first = earlier(idle, lasting);
        if is_read || self.is_open.load(Ordering::Relaxed) {
            return first;
        }
        let body = after(begun, &self.whole, Over::Body);
        let rate = Some(self.rate.load(Ordering::Relaxed)).filter(|rate| waits && *rate != 0);
        let rate = rate.and_then(|rate| Some((self.too_slow_at(rate)?, Over::Rate)));
        earlier(first, earlier(body, rate))
    }

    /// When the body will have come too slowly, if no more comes.
    fn too_slow_at(&self, rate: u64) -> Option<Instant> {
        let since = moment(self.waiting.load(Ordering::Relaxed))?;
        let earned = self.received.load(Ordering::Relaxed).saturating_mul(1000) / rate.max(1);
        let allowed = GRACE.max(Duration::from_millis(earned));
        since.checked_add(allowed.saturating_sub(Duration::from_micros(self.waited.load(Ordering::Relaxed))))
    }

    /// HTTP/2: nothing but the client keeps more from coming.
    pub(crate) fn is_within_window(&self) -> bool {
        self.received.load(Ordering::Relaxed) < WINDOW
    }
}

fn earlier(one: Option<(Instant, Over)>, other: Option<(Instant, Over)>) -> Option<(Instant, Over)> {
    match (one, other) {
        (Some(one), Some(other)) => Some(if other.0 < one.0 { other } else { one }),
        (one, other) => one.or(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(pace: &Pace, begun: Instant, is_read: bool) -> (Duration, Over) {
        let (at, over) = pace.limit(begun, begun, None, is_read).unwrap();
        // Moments are kept in microseconds, and the first there is as 1.
        let millis = ((at - begun).as_micros() + 500) / 1000;
        (Duration::from_millis(u64::try_from(millis).unwrap()), over)
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_has_ten_seconds_and_then_a_hundredth_for_each_byte() {
        tokio::time::advance(Duration::from_secs(1)).await;
        let (pace, begun) = (Pace::of(&ConnectionRules::default()), Instant::now());
        pace.waits();
        assert_eq!(limit(&pace, begun, false), (Duration::from_secs(10), Over::Rate));
        pace.received(2000);
        assert_eq!(limit(&pace, begun, false), (Duration::from_secs(20), Over::Rate));
        pace.received(1_000_000);
        assert_eq!(limit(&pace, begun, false).0, Duration::from_secs(300));
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_backend_takes_is_not_the_clients() {
        tokio::time::advance(Duration::from_secs(1)).await;
        let (pace, begun) = (Pace::of(&ConnectionRules::default()), Instant::now());
        pace.waits();
        tokio::time::advance(Duration::from_secs(4)).await;
        pace.fed();
        assert_eq!(limit(&pace, begun, false), (Duration::from_secs(300), Over::Idle), "nobody waits for it");
        tokio::time::advance(Duration::from_secs(60)).await;
        pace.waits();
        assert_eq!(limit(&pace, begun, false), (Duration::from_secs(70), Over::Rate), "6 seconds are left");
        pace.open();
        assert_eq!(limit(&pace, begun, false), (Duration::from_secs(300), Over::Silent));
        assert_eq!(limit(&pace, begun, true), (Duration::from_secs(300), Over::Idle));
    }
}
