//! Who is behind which address, from Pods: what proxies know callers by that show nothing better.
//!
//! Only a running Pod has its addresses, and only if they are its own: on the network of its node they are everybody's there. One
//! that terminates may still call, and has them until it is gone or has ended. While a node or a network plugin is late to tell of
//! a Pod's end, two claim one address: the newer has it, since the older can no longer.

use std::net::IpAddr;
use std::sync::Arc;

use config::{Key, Kind, Resource, Workload};
use rustc_hash::{FxHashMap, FxHashSet};

use super::output::Said;
use crate::api::Pod;
use crate::resources::{Named, Objects};

/// Who claims each address. Empty while no Service is captured, when nobody asks.
#[derive(Debug, Default)]
pub(crate) struct Workloads {
    claims: FxHashMap<IpAddr, Vec<Arc<Pod>>>,
    is_wanted: bool,
}

impl Workloads {
    /// Takes over what changed and says it. `is_wanted`: there are proxies that tell callers apart by address.
    pub(crate) fn follow(
        &mut self,
        then: &Objects<Pod>,
        now: &Objects<Pod>,
        is_wanted: bool,
        said: &mut Said,
    ) {
        let was_wanted = std::mem::replace(&mut self.is_wanted, is_wanted);
        let nobody = Objects::default();
        let (then, now) = match (was_wanted, is_wanted) {
            (false, false) => return,
            (true, true) => (then, now),
            (false, true) => (&nobody, now),
            (true, false) => (then, &nobody),
        };
        // A Pod is said again if it changed, or if one that claims an address of its did.
        let (mut moved, mut touched) = (FxHashSet::default(), FxHashSet::default());
        for (old, new) in then.changes(now) {
            if let Some(old) = old {
                touched.insert(named(old));
                for address in addresses(old) {
                    self.leave(address, old);
                    moved.insert(address);
                }
            }
            if let Some(new) = new {
                touched.insert(named(new));
                for address in addresses(new) {
                    self.claims.entry(address).or_default().push(Arc::clone(new));
                    moved.insert(address);
                }
            }
        }
        let rivals = moved.iter().filter_map(|address| self.claims.get(address)).flatten();
        touched.extend(rivals.map(named));
        for (namespace, name) in touched {
            let workload = now.get(&namespace, &name).and_then(|pod| self.workload(pod));
            let key = Key::new(Kind::Workload, namespace, name);
            said.resource(key, workload.map(|workload| Arc::new(Resource::Workload(workload))));
        }
    }

    fn leave(&mut self, address: IpAddr, pod: &Arc<Pod>) {
        if let Some(claims) = self.claims.get_mut(&address) {
            claims.retain(|other| !Arc::ptr_eq(other, pod));
            if claims.is_empty() {
                self.claims.remove(&address);
            }
        }
    }

    /// What is said of a Pod; `None`: it has no address.
    fn workload(&self, pod: &Pod) -> Option<Workload> {
        let is_its_own = |address: &IpAddr| {
            let newest = self.claims.get(address)?.iter().max_by_key(|claim| age(claim))?;
            Some(age(newest) == age(pod))
        };
        let mut addresses = addresses(pod);
        addresses.retain(|address| is_its_own(address).unwrap_or_default());
        (!addresses.is_empty()).then(|| Workload {
            addresses,
            service_account: account(pod).to_owned(),
            uid: pod.metadata.uid.clone().unwrap_or_default(),
        })
    }
}

fn named(pod: &Arc<Pod>) -> (String, String) {
    (pod.namespace().to_owned(), pod.name().to_owned())
}

/// The greater, the newer. No two Pods are of one age: names settle what files leave open.
fn age(pod: &Pod) -> (i64, Option<&str>, &str, &str) {
    (pod.created(), pod.metadata.uid.as_deref(), pod.namespace(), pod.name())
}

fn account(pod: &Pod) -> &str {
    // Kubernetes: a Pod that names none gets `default`, which stands in its spec then.
    pod.spec.service_account_name.as_deref().filter(|name| !name.is_empty()).unwrap_or("default")
}

/// The addresses that a Pod calls from, sorted.
fn addresses(pod: &Pod) -> Vec<IpAddr> {
    if &*pod.status.phase != "Running" || pod.spec.host_network {
        return Vec::new();
    }
    let addresses = pod.status.pod_ips.iter().filter_map(|ip| ip.ip.parse::<IpAddr>().ok());
    let mut addresses: Vec<IpAddr> = addresses.map(|address| address.to_canonical()).collect();
    addresses.sort_unstable();
    addresses.dedup();
    addresses
}
