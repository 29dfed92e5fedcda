//! Slow work away from the workers: hashes of passwords, today.
//!
//! Half the processors at most work on it, so that a flood of it leaves the other half to requests, and so much of it may
//! wait that the last one still has its answer within seconds.

use std::num::NonZeroUsize;
use std::pin::Pin;
use std::sync::{Arc, LazyLock};
use std::thread::available_parallelism;

use policies::{Offload, Work};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

/// Pieces of work that wait for each that is done at a time: with bcrypt's usual 60 ms, 2 s.
const WAITING: usize = 32;

/// A bounded number of places to work, and of places to wait.
#[derive(Debug)]
pub(crate) struct Queue {
    admitted: Arc<Semaphore>,
    working: Arc<Semaphore>,
}

/// The one of this process.
pub(crate) fn shared() -> Arc<dyn Offload> {
    static SHARED: LazyLock<Arc<Queue>> = LazyLock::new(|| {
        let processors = available_parallelism().map_or(1, NonZeroUsize::get);
        Arc::new(Queue::new((processors / 2).max(1)))
    });
    SHARED.clone()
}

impl Queue {
    fn new(places: usize) -> Self {
        Self {
            admitted: Arc::new(Semaphore::new(places * (1 + WAITING))),
            working: Arc::new(Semaphore::new(places)),
        }
    }
}

impl Offload for Queue {
    fn run(&self, work: Work) -> Pin<Box<dyn Future<Output = Option<bool>> + Send>> {
        let (admitted, working) = (self.admitted.clone(), self.working.clone());
        Box::pin(async move {
            // A tool that takes one request through a snapshot holds nobody up.
            let Ok(runtime) = Handle::try_current() else { return Some(work()) };
            let admitted = admitted.try_acquire_owned().ok()?;
            let place = working.acquire_owned().await.ok()?;
            // The places are free when the work is done, even if nobody waits for it any more.
            let done = runtime.spawn_blocking(move || {
                let _places = (admitted, place);
                work()
            });
            done.await.ok()
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use tokio::sync::Barrier;

    use super::*;

    #[tokio::test]
    async fn so_much_is_done_at_a_time_so_much_waits_and_the_rest_is_turned_away() {
        let queue = Arc::new(Queue::new(2));
        let (busy, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let tasks: Vec<_> = (0..100)
            .map(|_| {
                let (busy, most) = (busy.clone(), most.clone());
                tokio::spawn(queue.run(Box::new(move || {
                    most.fetch_max(busy.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    std::thread::sleep(Duration::from_millis(2));
                    busy.fetch_sub(1, Ordering::SeqCst);
                    true
                })))
            })
            .collect();
        let mut done = 0;
        for task in tasks {
            done += usize::from(task.await.unwrap() == Some(true));
        }
        assert_eq!(done, 2 * (1 + WAITING));
        assert_eq!(most.load(Ordering::SeqCst), 2);
        assert_eq!(queue.run(Box::new(|| false)).await, Some(false), "the places are free again");
    }

    #[tokio::test]
    async fn what_nobody_waits_for_any_more_is_not_begun_and_frees_its_place() {
        let queue = Queue::new(1);
        let gate = Arc::new(Barrier::new(2));
        let (held, runtime) = (gate.clone(), tokio::runtime::Handle::current());
        let first = tokio::spawn(queue.run(Box::new(move || {
            runtime.block_on(held.wait());
            true
        })));
        while queue.working.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        let begun = Arc::new(AtomicUsize::new(0));
        for _ in 0..10 * WAITING {
            let begun = begun.clone();
            let work = Box::new(move || begun.fetch_add(1, Ordering::SeqCst) == 0);
            assert!(tokio::time::timeout(Duration::ZERO, queue.run(work)).await.is_err(), "it waits");
        }
        gate.wait().await;
        assert_eq!(first.await.unwrap(), Some(true));
        assert_eq!(begun.load(Ordering::SeqCst), 0);
    }

    #[test]
    fn without_a_runtime_it_is_done_at_once() {
        let done = std::pin::pin!(Queue::new(1).run(Box::new(|| true)));
        let waker = std::task::Waker::noop();
        let polled = done.poll(&mut std::task::Context::from_waker(waker));
        assert_eq!(polled, std::task::Poll::Ready(Some(true)));
    }

    #[tokio::test]
    async fn work_that_panics_is_no_answer_and_frees_its_place() {
        let queue = Queue::new(1);
        for _ in 0..2 {
            assert_eq!(queue.run(Box::new(|| panic!("a fault"))).await, None);
        }
        assert_eq!(queue.run(Box::new(|| true)).await, Some(true));
    }
}
