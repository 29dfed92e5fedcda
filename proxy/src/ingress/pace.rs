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
}

impl Pace {
    pub(super) fn reset(&self) {
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

    /// Whichever limit is over first. `begun`: with the request; `moved`: when something did; `is_read`: the body was.
    pub(super) fn limit(
        &self,
        rules: &ConnectionRules,
        begun: Instant,
        moved: Instant,
        is_read: bool,
    ) -> Option<(Instant, Over)> {
        let waits = !is_read && self.is_waiting();
        let idle =
            rules.times.stream_idle.map(|idle| (moved + idle, if waits { Over::Silent } else { Over::Idle }));
        let lasting = rules.limits.request.map(|most| (begun + most, Over::Lasting));
        let first = earlier(idle, lasting);
        if is_read || self.is_open.load(Ordering::Relaxed) {
            return first;
        }
        let body = rules.times.request.map(|most| (begun + most, Over::Body));
        let rate =
            rules.body.rate.filter(|_| waits).and_then(|rate| Some((self.too_slow_at(rate)?, Over::Rate)));
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
        let (at, over) = pace.limit(&ConnectionRules::default(), begun, begun, is_read).unwrap();
        // Moments are kept in microseconds, and the first there is as 1.
        let millis = ((at - begun).as_micros() + 500) / 1000;
        (Duration::from_millis(u64::try_from(millis).unwrap()), over)
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_has_ten_seconds_and_then_a_hundredth_for_each_byte() {
        tokio::time::advance(Duration::from_secs(1)).await;
        let (pace, begun) = (Pace::default(), Instant::now());
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
        let (pace, begun) = (Pace::default(), Instant::now());
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
