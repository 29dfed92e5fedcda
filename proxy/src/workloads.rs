//! Who is behind an address: what a connection proves whose client shows nothing better.
//!
//! A connection is asked for once, when it comes, and is its pod's from then on. While its address is nobody's, each request asks
//! again: a pod may call before anybody has told of it. Once its pod is gone, or its address is another's, it is nobody's, takes
//! no more requests, and closes as it does when its port drains. Only requests look: a pod that is gone sends none, so what is
//! idle may stay until it is closed for that.

use std::net::IpAddr;
use std::sync::Arc;

use config::{Key, Kind, Resource};
use policies::caller::{Assurance, Peer, Workload};
use smallvec::SmallVec;

use crate::route::map::{CowMap, Keyed, Vacant};
use crate::store::{Dirty, Store};

/// One pod.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Resident {
    pod: Box<str>,
    /// What its connections prove, its UID with it.
    peer: Arc<Peer>,
}

impl Resident {
    fn new(key: &Key, of: &config::Workload) -> Self {
        let workload = Workload {
            namespace: key.namespace.clone(),
            service_account: of.service_account.clone(),
            assurance: Assurance::Network,
        };
        let peer = Peer { workload: Some(workload), pod: Some(of.uid.as_str().into()), ..Peer::default() };
        Self { pod: key.name.as_str().into(), peer: Arc::new(peer) }
    }

    /// What its connections prove.
    pub(crate) const fn peer(&self) -> &Arc<Peer> {
        &self.peer
    }

    fn namespace(&self) -> &str {
        self.peer.workload.as_ref().map_or("", |workload| &workload.namespace)
    }
}

/// Who says to have an address. One, unless the resources contradict each other; then it is nobody's, whoever came first.
#[derive(Debug, Clone)]
struct Claims {
    address: IpAddr,
    by: SmallVec<[Arc<Resident>; 1]>,
}

impl Keyed for Claims {
    type Key = IpAddr;

    fn key(&self) -> &IpAddr {
        &self.address
    }
}

impl Vacant for Claims {
    fn is_vacant(&self) -> bool {
        self.by.is_empty()
    }
}

/// Every address that is a pod's. Cheap to clone, and a change costs what changed.
#[derive(Debug, Default, Clone)]
pub(crate) struct Workloads {
    by_address: CowMap<Claims>,
    pods: usize,
}

impl Workloads {
    /// Brings it up to date.
    pub(crate) fn compile(&mut self, dirty: &Dirty, store: &Store) {
        let from = Key::new(Kind::Workload, "", "");
        for (key, before) in dirty.range(from..).take_while(|(key, _)| key.kind == Kind::Workload) {
            if let Some(Resource::Workload(before)) = before.as_deref() {
                self.pods -= 1;
                self.leave(key, before);
            }
            if let Some(Resource::Workload(now)) = store.get(key) {
                self.pods += 1;
                self.come(key, now);
            }
        }
    }

    fn leave(&mut self, key: &Key, workload: &config::Workload) {
        for address in addresses(workload) {
            let vacant = || Claims { address, by: SmallVec::new() };
            self.by_address.edit(&address, vacant, |claims| {
                claims.by.retain(|resident| {
                    *resident.pod != *key.name || resident.namespace() != key.namespace.as_str()
                });
            });
        }
    }

    fn come(&mut self, key: &Key, workload: &config::Workload) {
        let resident = Arc::new(Resident::new(key, workload));
        for address in addresses(workload) {
            let vacant = || Claims { address, by: SmallVec::new() };
            self.by_address.edit(&address, vacant, |claims| claims.by.push(resident.clone()));
        }
    }

    /// The pod that has an address.
    pub(crate) fn find(&self, address: IpAddr) -> Option<&Arc<Resident>> {
        match self.by_address.get(&address)?.by.as_slice() {
            [one] => Some(one),
            _ => None,
        }
    }

    /// Whether an address still is that pod's.
    pub(crate) fn is_still(&self, address: IpAddr, pod: &Arc<Resident>) -> bool {
        self.find(address).is_some_and(|now| Arc::ptr_eq(now, pod) || now == pod)
    }

    /// How many pods there are.
    pub(crate) const fn len(&self) -> usize {
        self.pods
    }
}

/// Each once: a resource that names one twice does not contradict itself.
fn addresses(workload: &config::Workload) -> SmallVec<[IpAddr; 2]> {
    let mut addresses: SmallVec<[IpAddr; 2]> = workload.addresses.iter().map(IpAddr::to_canonical).collect();
    addresses.sort_unstable();
    addresses.dedup();
    addresses
}

#[cfg(test)]
mod tests;
