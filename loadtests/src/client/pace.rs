//! When requests are due.
//!
//! Latency at a fixed rate counts from the moment a request was due, whether or not a connection was free then
//! (otherwise a stalled proxy slows its own clients and looks fast: coordinated omission).

use std::time::{Duration, Instant};

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::AbortHandle;

/// How a worker learns of its next request.
#[derive(Debug)]
pub(crate) enum Pace {
    /// At once, until then.
    Closed(Instant),
    /// When told; the instant is when it was due.
    Open(UnboundedReceiver<Instant>),
    /// By a clock of its own, at the millisecond: nobody has to be told of what will not be sent.
    Alone { next: Instant, every: Duration, end: Instant },
}

impl Pace {
    /// When the next request is due; none: the end.
    pub(crate) async fn next(&mut self) -> Option<Instant> {
        match self {
            Self::Closed(end) => {
                let now = Instant::now();
                (now < *end).then_some(now)
            }
            Self::Open(due) => due.recv().await,
            Self::Alone { next, every, end } => {
                let due = *next;
                if due >= *end {
                    return None;
                }
                *next += *every;
                tokio::time::sleep_until(due.into()).await;
                // The timer's own lateness is not the proxy's.
                Some(Instant::now())
            }
        }
    }

    /// Forgets what is due by now; gives how many that is.
    pub(crate) fn skip(&mut self) -> u64 {
        match self {
            Self::Closed(_) => 0,
            Self::Open(due) => std::iter::from_fn(|| due.try_recv().ok()).count() as u64,
            Self::Alone { next, every, .. } => {
                let late = Instant::now().saturating_duration_since(*next);
                let skipped = late.div_duration_f64(*every).ceil().min(f64::from(u32::MAX)) as u32;
                *next += *every * skipped;
                skipped.into()
            }
        }
    }
}

/// Paces for `workers` that share `rate` requests per second until `end`, each in its turn.
pub(crate) fn alone(workers: usize, rate: f64, end: Instant) -> Vec<Pace> {
    let (start, every) = (Instant::now(), Duration::from_secs_f64(workers as f64 / rate));
    let turn = |i: usize| start + Duration::from_secs_f64(i as f64 / rate);
    (0..workers).map(|i| Pace::Alone { next: turn(i), every, end }).collect()
}

/// Paces for `workers` that share `rate` requests per second until `end`, or until the sum is `limit`. Runs on the
/// current runtime, in a task that may be aborted.
pub(crate) fn open(workers: usize, rate: f64, end: Instant, limit: u64) -> (Vec<Pace>, AbortHandle) {
    let (senders, paces) = (0..workers).map(|_| unbounded_channel()).map(|(s, r)| (s, Pace::Open(r))).unzip();
    let pacer = tokio::spawn(async move {
        if let Err(error) = drive(senders, rate, end, limit).await {
            crate::report::complain(format_args!("timer: {error}"));
        }
    });
    (paces, pacer.abort_handle())
}

async fn drive(
    senders: Vec<UnboundedSender<Instant>>,
    rate: f64,
    end: Instant,
    limit: u64,
) -> std::io::Result<()> {
    // Tokio's timers have steps of a millisecond, which is the size of what is measured.
    let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
    #[allow(
        deprecated,
        reason = "its unsafe successor asks that the descriptor stays open: it is owned here"
    )]
    let timer = AsyncFd::new(timer)?;
    let start = Instant::now();
    let mut sent = 0_u64;
    loop {
        let due = start + Duration::from_secs_f64(sent as f64 / rate);
        if due >= end || sent >= limit {
            return Ok(());
        }
        let wait = due.saturating_duration_since(Instant::now());
        if wait.is_zero() {
            let worker = usize::try_from(sent).unwrap_or(0) % senders.len().max(1);
            // A worker that gave up has said so in its own tally.
            let _ = senders.get(worker).map(|s| s.send(due));
            sent += 1;
            continue;
        }
        let value = Timespec { tv_sec: 0, tv_nsec: wait.subsec_nanos().max(1).into() };
        let value = if wait.as_secs() > 0 { Timespec { tv_sec: 1, tv_nsec: 0 } } else { value };
        let interval = Timespec { tv_sec: 0, tv_nsec: 0 };
        timerfd_settime(
            &timer,
            TimerfdTimerFlags::empty(),
            &Itimerspec { it_interval: interval, it_value: value },
        )?;
        // Setting the timer again takes back that it has fired, so nothing need be read from it.
        timer.readable().await?.clear_ready();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn requests_are_due_at_their_rate_however_late_they_are_taken() {
        let (paces, _) = open(2, 1000.0, Instant::now() + Duration::from_secs(3600), 40);
        let mut due = Vec::new();
        for mut pace in paces {
            tokio::time::sleep(Duration::from_millis(60)).await; // a worker that is held up
            while let Some(at) = pace.next().await {
                due.push(at);
            }
        }
        due.sort();
        assert_eq!(due.len(), 40);
        assert!(due.windows(2).all(|w| (w[1] - w[0]).as_micros() == 1000), "{due:?}");
    }
}
