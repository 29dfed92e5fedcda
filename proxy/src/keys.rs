//! Keys of token issuers: fetched before they are needed, kept while they may be used, never fetched by a request.
//!
//! ```text
//! compile ─► KeyStore ─► Source, one for each `remoteJWKS`, as long as a filter holds it
//!                          ├ keys: what requests read, one atomic load
//!                          └ task: fetch ─► wait: 80 to 100 % of cacheDuration, or after a failure longer each time
//!                                    ▲        └ until a request names a key that is not there: once in 30 s
//! ```
//!
//! What a reader would get wrong: a fetch that fails changes nothing until the last good keys are older than `maxStale`;
//! then there are none, and nobody is let in.

mod fetch;
mod reach;
mod source;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use policies::jwt::{Keys, RemoteJwks};
use rustc_hash::FxHashMap;
use tokio::runtime::Handle;

use self::fetch::Fetcher;
use self::source::Source;
use crate::call::Net;
use crate::upstream::Cluster;

/// Every source of keys that is in use. It outlives snapshots.
#[derive(Debug, Default)]
pub(crate) struct KeyStore {
    sources: Mutex<FxHashMap<RemoteJwks, Weak<Source>>>,
    /// Where fetches run; without, there never are keys.
    fetches: Option<Runtime>,
}

struct Runtime {
    handle: Handle,
    fetcher: Fetcher,
}

impl fmt::Debug for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Runtime")
    }
}

/// What is counted of one address.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Counts {
    /// Of the oldest keys in use, in seconds; `None`: there are none.
    pub(crate) age: Option<f64>,
    pub(crate) fetched: u64,
    pub(crate) failed: u64,
}

impl KeyStore {
    /// Fetches on this runtime.
    pub(crate) fn start(handle: Handle, net: Arc<Net>) -> Arc<Self> {
        let fetches = Some(Runtime { handle, fetcher: Fetcher::new(net) });
        Arc::new(Self { fetches, ..Self::default() })
    }

    /// The keys of a source, by these clusters if it names backends. Called by the compiler only.
    pub(crate) fn keys(&self, remote: RemoteJwks, clusters: Vec<Arc<Cluster>>) -> Arc<dyn Keys> {
        let mut sources = self.sources.lock();
        if let Some(source) = sources.get(&remote).and_then(Weak::upgrade) {
            source.ask(clusters);
            return source;
        }
        sources.retain(|_, source| source.strong_count() > 0);
        // Other times are no other keys.
        let is_sibling =
            |other: &RemoteJwks| other.uri == remote.uri && other.backends().eq(remote.backends());
        let sibling =
            sources.iter().find(|(other, _)| is_sibling(other)).and_then(|(_, source)| source.upgrade());
        let source = Arc::new(Source::new(remote.clone(), clusters, sibling.as_deref()));
        sources.insert(remote, Arc::downgrade(&source));
        if let Some(Runtime { handle, fetcher }) = &self.fetches {
            source::run(&source, handle, fetcher.clone());
        }
        source
    }

    /// What is counted, by address without its query.
    pub(crate) fn counts(&self) -> BTreeMap<String, Counts> {
        let sources: Vec<_> = self.sources.lock().values().filter_map(Weak::upgrade).collect();
        let mut all = BTreeMap::<String, Counts>::new();
        for source in sources {
            let (uri, one) = (source.uri(), source.counts());
            let sum = all.entry(uri.split('?').next().unwrap_or(uri).to_owned()).or_default();
            sum.age = match (sum.age, one.age) {
                (Some(sum), Some(one)) => Some(sum.max(one)),
                (sum, one) => sum.or(one),
            };
            sum.fetched += one.fetched;
            sum.failed += one.failed;
        }
        all
    }
}

#[cfg(test)]
impl KeyStore {
    /// As if keys had been fetched once, and not a second time.
    pub(crate) fn found(uri: &str, set: &[u8]) -> Arc<Self> {
        let store = Arc::new(Self::default());
        let remote: RemoteJwks = serde_json::from_value(serde_json::json!({ "uri": uri })).unwrap();
        let source = Arc::new(Source::new(remote.clone(), Vec::new(), None));
        let _ = source.took(Ok(policies::jwt::KeySet::parse(set).unwrap()));
        let _ = source.took(Err(fetch::FetchError::Late));
        store.sources.lock().insert(remote, Arc::downgrade(&source));
        std::mem::forget(source);
        store
    }
}

#[cfg(test)]
mod tests;
