//! The place of one stream at the hub.

use std::sync::Arc;

use tokio::sync::watch;
use tokio::time::Instant;

use super::{Entry, Hub, Known, Log};
use crate::identity::{GatewayRef, ProxyId};
use crate::{Generation, Rejection};

/// What to tell a proxy.
pub(in crate::xds) struct Batch {
    pub(in crate::xds) generation: Generation,
    /// The position that a proxy with this batch has.
    position: u64,
    pub(in crate::xds) upserts: Vec<Arc<Entry>>,
    /// By name.
    pub(in crate::xds) removes: Vec<String>,
}

/// Why a stream has to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(in crate::xds) enum Ended {
    /// The hub is closed.
    #[error("this controller does not serve proxies now; another one does")]
    Closed,
    /// The proxy has a newer stream.
    #[error("the proxy has opened another stream")]
    Replaced,
    /// The log does not go back so far.
    #[error("the proxy is too far behind and has to say anew what it has")]
    Behind,
}

/// One stream's place at the hub; dropping it gives it up.
pub(in crate::xds) struct Seat {
    hub: Hub,
    proxy: ProxyId,
    place: GatewayRef,
    stream: u64,
    wake: Option<watch::Receiver<()>>,
}

impl Hub {
    /// A place for a stream of a proxy; its older stream, if there is one, ends.
    pub(in crate::xds) fn connect(&self, proxy: &ProxyId) -> Result<Seat, Ended> {
        let place = proxy.gateway.clone();
        let mut state = self.0.state.lock();
        if state.is_closed {
            return Err(Ended::Closed);
        }
        state.streams += 1;
        let stream = state.streams;
        let log = state.logs.entry(place.clone()).or_insert_with(Log::new);
        let wake = log.subscribe();
        log.wake();
        let known = state.proxies.entry(proxy.clone()).or_insert_with(|| Known {
            stream,
            position: None,
            first: None,
            generation: None,
            rejections: Arc::new([]),
            lost: None,
        });
        // What it said before holds until it says something else.
        (known.stream, known.position, known.first, known.lost) = (stream, None, None, None);
        drop(state);
        self.0.changed();
        Ok(Seat { hub: self.clone(), proxy: proxy.clone(), place, stream, wake: Some(wake) })
    }
}

impl Seat {
    /// All that the proxy may see, once something is published that is not older than `least`.
    pub(in crate::xds) fn whole(&self, least: Option<Generation>) -> Result<Option<Batch>, Ended> {
        let mut state = self.hub.0.state.lock();
        self.check(&state)?;
        let Some(generation) = state.generation.filter(|generation| Some(*generation) >= least) else {
            return Ok(None);
        };
        let upserts = state.scopes.seen(&self.place).filter_map(|(key, _)| state.entries.get(key).cloned());
        let position = state.logs.get(&self.place).map_or(0, Log::end);
        let mut upserts: Vec<_> = upserts.collect();
        if let Some(known) = state.proxies.get_mut(&self.proxy) {
            known.first = Some(position);
        }
        drop(state);
        // Certificates and backends before what needs them.
        upserts.sort_unstable_by(|a, b| a.key.cmp(&b.key));
        Ok(Some(Batch { generation, position, upserts, removes: Vec::new() }))
    }

    /// What the proxy has not got yet; `None` when it has everything.
    pub(in crate::xds) fn news(&self) -> Result<Option<Batch>, Ended> {
        let state = self.hub.0.state.lock();
        self.check(&state)?;
        let known = state.proxies.get(&self.proxy).and_then(|known| known.position);
        let (Some(position), Some(log), Some(generation)) =
            (known, state.logs.get(&self.place), state.generation)
        else {
            return Ok(None);
        };
        let Some(changed) = log.since(position) else { return Err(Ended::Behind) };
        let (mut upserts, mut removes) = (Vec::new(), Vec::new());
        for key in changed {
            match state.scopes.sees(&self.place, key).then(|| state.entries.get(key)).flatten() {
                Some(entry) => upserts.push(entry.clone()),
                None => removes.push(key.to_string()),
            }
        }
        let batch = Batch { generation, position: log.end(), upserts, removes };
        Ok((!batch.upserts.is_empty() || !batch.removes.is_empty()).then_some(batch))
    }

    /// The proxy uses a batch, save the rejections. What it says of resources that it cannot see is nobody's business.
    pub(in crate::xds) fn answered(
        &self,
        batch: &Batch,
        mut rejections: Vec<Rejection>,
    ) -> Result<(), Ended> {
        let mut state = self.hub.0.state.lock();
        self.check(&state)?;
        rejections.retain(|rejection| state.scopes.sees(&self.place, &rejection.key));
        let end = state.logs.get(&self.place).map(Log::end);
        let newest = state.generation;
        if let Some(known) = state.proxies.get_mut(&self.proxy) {
            known.position = Some(batch.position);
            known.generation = if end == Some(batch.position) { newest } else { Some(batch.generation) };
            known.rejections = rejections.into();
        }
        drop(state);
        self.hub.0.changed();
        Ok(())
    }

    /// Whether the stream may go on.
    pub(in crate::xds) fn stands(&self) -> Result<(), Ended> {
        self.check(&self.hub.0.state.lock())
    }

    /// Waits until there may be something to do.
    pub(in crate::xds) async fn changed(&mut self) {
        match &mut self.wake {
            // The log lives as long as somebody watches it.
            Some(wake) => drop(wake.changed().await),
            None => std::future::pending().await,
        }
    }

    fn check(&self, state: &super::State) -> Result<(), Ended> {
        if state.is_closed {
            return Err(Ended::Closed);
        }
        match state.proxies.get(&self.proxy) {
            Some(known) if known.stream == self.stream => Ok(()),
            _ => Err(Ended::Replaced),
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut state = self.hub.0.state.lock();
        if let Some(known) = state.proxies.get_mut(&self.proxy)
            && known.stream == self.stream
        {
            known.lost = Some(Instant::now());
        }
        // Under the lock, so that whoever connects sees whether the log goes or stays.
        self.wake = None;
        if state.logs.get(&self.place).is_some_and(|log| !log.is_watched()) {
            state.logs.remove(&self.place);
        }
        drop(state);
        self.hub.0.changed();
    }
}
