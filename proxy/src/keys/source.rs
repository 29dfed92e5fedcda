//! One key set that is fetched again and again.

use std::future::{Future, ready};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use parking_lot::Mutex;
use policies::jwt::{KeySet, Keys, RemoteJwks};
use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, timeout};

use super::Counts;
use super::fetch::{FetchError, Fetcher};
use crate::telemetry::entropy;
use crate::upstream::Cluster;

/// Between two fetches that requests ask for: whoever sends tokens with names made up asks for as many as there are.
const BETWEEN: Duration = Duration::from_secs(30);
/// The longest a request waits for keys.
const PATIENCE: Duration = Duration::from_secs(2);
/// Most requests that wait for one source.
const MOST_WAITING: usize = 1024;
/// The longest pause after a fetch that failed, unless the first is longer.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Keys of one issuer.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) remote: RemoteJwks,
    /// Who is asked, in this order, where backends are named.
    pub(super) clusters: ArcSwap<Vec<Arc<Cluster>>>,
    keys: ArcSwapOption<KeySet>,
    state: Mutex<State>,
    wake: Arc<Notify>,
    /// How many fetches have ended.
    ended: watch::Sender<u64>,
    waiting: Arc<AtomicUsize>,
    fetched: AtomicU64,
    failed: AtomicU64,
    task: OnceLock<AbortHandle>,
}

#[derive(Debug, Default)]
struct State {
    /// When the keys in use were there.
    good: Option<Instant>,
    /// When a request last asked for one.
    asked: Option<Instant>,
    /// One is under way, or about to be.
    is_pending: bool,
    /// In a row.
    failures: u32,
}

impl Source {
    /// Nothing is fetched before [`run`].
    pub(super) fn new(remote: RemoteJwks, clusters: Vec<Arc<Cluster>>, sibling: Option<&Self>) -> Self {
        let state = State {
            good: sibling.and_then(|sibling| sibling.state.lock().good),
            asked: sibling.and_then(|sibling| sibling.state.lock().asked),
            ..State::default()
        };
        Self {
            remote,
            clusters: ArcSwap::from_pointee(clusters),
            keys: ArcSwapOption::new(sibling.and_then(|sibling| sibling.keys.load_full())),
            state: Mutex::new(state),
            wake: Arc::default(),
            ended: watch::Sender::new(0),
            waiting: Arc::default(),
            fetched: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            task: OnceLock::new(),
        }
    }

    /// From now on these are asked.
    pub(super) fn ask(&self, clusters: Vec<Arc<Cluster>>) {
        self.clusters.store(Arc::new(clusters));
    }

    pub(super) fn uri(&self) -> &str {
        &self.remote.uri
    }

    pub(super) fn counts(&self) -> Counts {
        let good = self.state.lock().good.filter(|_| self.keys.load().is_some());
        Counts {
            age: good.map(|good| good.elapsed().as_secs_f64()),
            fetched: self.fetched.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
        }
    }

    /// Takes in how a fetch went; how long to wait until the next.
    pub(super) fn took(&self, outcome: Result<KeySet, FetchError>) -> Duration {
        let now = Instant::now();
        let mut state = self.state.lock();
        state.is_pending = false;
        let pause = match outcome {
            Ok(set) => {
                self.fetched.fetch_add(1, Ordering::Relaxed);
                // The same keys keep what they have verified.
                if self.keys.load().as_ref().is_none_or(|keys| **keys != set) {
                    tracing::info!(uri = self.uri(), keys = set.len(), "jwks: new keys");
                    self.keys.store(Some(Arc::new(set)));
                }
                (state.good, state.failures) = (Some(now), 0);
                self.remote.cached()
            }
            Err(error) => {
                self.failed.fetch_add(1, Ordering::Relaxed);
                let is_stale = state.good.is_none_or(|good| now.duration_since(good) > self.remote.stale());
                if is_stale {
                    self.keys.store(None);
                }
                tracing::warn!(uri = self.uri(), %error, nobody_is_let_in = is_stale, "jwks: not fetched");
                let first = self.remote.failed();
                let pause = first.saturating_mul(1 << state.failures.min(10)).min(LONGEST_PAUSE.max(first));
                state.failures = state.failures.saturating_add(1);
                pause
            }
        };
        // Before anybody can ask for the next one: who waits for that must not be woken by this.
        self.ended.send_modify(|ended| *ended += 1);
        drop(state);
        // A fifth earlier at most, so that proxies do not come together.
        let earlier = pause / 5 * u32::try_from(entropy() & 1023).unwrap_or_default() / 1023;
        pause.saturating_sub(earlier)
    }
}

impl Keys for Source {
    fn current(&self) -> Option<Arc<KeySet>> {
        self.keys.load_full()
    }

    fn wanted(
        self: Arc<Self>,
        seen: Option<&Arc<KeySet>>,
    ) -> Option<Pin<Box<dyn Future<Output = ()> + Send>>> {
        let mut ended;
        {
            let now = Instant::now();
            let mut state = self.state.lock();
            ended = self.ended.subscribe();
            let here = self.keys.load();
            if here.as_ref().is_some_and(|here| seen.is_none_or(|seen| !Arc::ptr_eq(here, seen))) {
                return Some(Box::pin(ready(())));
            }
            if !state.is_pending {
                let is_early = state.asked.is_some_and(|asked| now.duration_since(asked) < BETWEEN);
                // Without any keys the task asks as often as it may.
                if here.is_none() || is_early {
                    return None;
                }
                state.asked = Some(now);
                state.is_pending = true;
                self.wake.notify_one();
            }
        }
        let place = Waiting::take(&self.waiting)?;
        Some(Box::pin(async move {
            // Late or not: the keys there are then decide.
            let _ = timeout(PATIENCE, ended.changed()).await;
            drop(place);
        }))
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        if let Some(task) = self.task.get() {
            task.abort();
        }
    }
}

/// One of the requests that wait.
struct Waiting(Arc<AtomicUsize>);

impl Waiting {
    fn take(count: &Arc<AtomicUsize>) -> Option<Self> {
        let before = count.fetch_add(1, Ordering::Relaxed);
        // Made before the check: dropping it takes the count back.
        let place = Self(count.clone());
        (before < MOST_WAITING).then_some(place)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Fetches from now on, until the source is dropped.
pub(super) fn run(source: &Arc<Source>, handle: &Handle, fetcher: Fetcher) {
    source.state.lock().is_pending = true;
    let (weak, wake) = (Arc::downgrade(source), source.wake.clone());
    let task = handle.spawn(fetch_again(weak, wake, fetcher));
    let _ = source.task.set(task.abort_handle());
}

async fn fetch_again(source: Weak<Source>, wake: Arc<Notify>, fetcher: Fetcher) {
    loop {
        let Some(now) = source.upgrade() else { return };
        now.state.lock().is_pending = true;
        let outcome = fetcher.fetch(&now).await;
        let pause = now.took(outcome);
        drop(now);
        tokio::select! {
            () = sleep(pause) => {}
            () = wake.notified() => {}
        }
    }
}
