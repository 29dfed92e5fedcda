//! A request's turn to run.
//!
//! Pingora's halves of a request wake each other through channels, so its future is woken while it is being polled,
//! several times a request. The runtime would put the task behind all others, and what the request touches would have
//! left the caches by then; here it goes on at once.

use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll};

use futures::task::AtomicWaker;

/// Polls in one turn, so that a request that always wakes itself cannot keep others from theirs.
const POLLS: usize = 8;

const RUNNING: u8 = 1;
const WOKEN: u8 = 2;

/// Whether a request is being polled, and whether it was woken meanwhile.
#[derive(Debug, Default)]
pub(super) struct Turn {
    state: AtomicU8,
    /// The task; woken when the request was not running.
    task: AtomicWaker,
}

impl Turn {
    /// The request can go on.
    pub(super) fn wake(&self) {
        if self.state.fetch_or(WOKEN, Ordering::AcqRel) & RUNNING == 0 {
            self.task.wake();
        }
    }

    /// Polls until the request has ended or waits for something. `poll` must arrange for [`Turn::wake`].
    pub(super) fn take<T>(&self, cx: &mut Context<'_>, mut poll: impl FnMut() -> Poll<T>) -> Poll<T> {
        // Before the first poll: a wake after it must find the task.
        self.task.register(cx.waker());
        for _ in 0..POLLS {
            self.state.store(RUNNING, Ordering::Release);
            let polled = poll();
            let woken = self.state.swap(0, Ordering::AcqRel) & WOKEN != 0;
            if polled.is_ready() || !woken {
                return polled;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use futures::task::{ArcWake, noop_waker, waker};
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl ArcWake for Count {
        fn wake_by_ref(count: &Arc<Self>) {
            count.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn what_was_woken_in_its_turn_goes_on_at_once() {
        let (turn, count, mut polls) = (Turn::default(), Arc::new(Count::default()), 0);
        let task = waker(count.clone());
        let polled = turn.take(&mut Context::from_waker(&task), || {
            polls += 1;
            if polls < 3 {
                turn.wake();
                return Poll::Pending;
            }
            Poll::Ready(polls)
        });
        assert_eq!((polled, count.0.load(Ordering::Relaxed)), (Poll::Ready(3), 0));
    }

    #[test]
    fn who_always_wakes_itself_lets_others_go_first() {
        let (turn, count, mut polls) = (Turn::default(), Arc::new(Count::default()), 0);
        let task = waker(count.clone());
        let polled = turn.take(&mut Context::from_waker(&task), || {
            polls += 1;
            turn.wake();
            Poll::<()>::Pending
        });
        assert_eq!((polled, polls, count.0.load(Ordering::Relaxed)), (Poll::Pending, POLLS, 1));
    }

    #[test]
    fn a_wake_between_turns_reaches_the_task_that_polled_last() {
        let (turn, count) = (Turn::default(), Arc::new(Count::default()));
        let first = noop_waker();
        let last = waker(count.clone());
        for task in [&first, &last] {
            assert!(turn.take(&mut Context::from_waker(task), || Poll::<()>::Pending).is_pending());
        }
        turn.wake();
        assert_eq!(count.0.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn a_panic_in_a_turn_does_not_lose_the_next_wake() {
        let (turn, count) = (Turn::default(), Arc::new(Count::default()));
        let task = waker(count.clone());
        let mut cx = Context::from_waker(&task);
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            turn.take(&mut cx, || -> Poll<()> { panic!("a bug") })
        }));
        assert!(panicked.is_err());
        // An HTTP/1 connection's next request has the same turn.
        assert!(turn.take(&mut Context::from_waker(&task), || Poll::<()>::Pending).is_pending());
        turn.wake();
        assert_eq!(count.0.load(Ordering::Relaxed), 1);
    }
}
