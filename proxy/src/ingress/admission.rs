//! Who may connect: all connections of a process, and those of one address.
//!
//! Locks are taken when connections come and go, one of several by address, and never for a request.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

const SHARDS: usize = 16;

/// Counts connections.
#[derive(Debug)]
pub(crate) struct Admission {
    open: AtomicUsize,
    /// Most of them.
    most: usize,
    /// Most of one address where nothing is said; `None`: any number.
    per_address: Option<usize>,
    hasher: RandomState,
    /// Keyed per process: clients choose their addresses, and must not choose where they meet.
    addresses: [Mutex<HashMap<Network, usize>>; SHARDS],
}

/// Whose connections are counted together: an IPv4 address, or an IPv6 /64, which is what one client has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Network {
    V4(u32),
    V6(u64),
}

impl From<IpAddr> for Network {
    fn from(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self::V4(address.to_bits()),
            IpAddr::V6(address) => Self::V6(u64::try_from(address.to_bits() >> 64).unwrap_or_default()),
        }
    }
}

impl Admission {
    pub(crate) fn new(most: usize, per_address: Option<usize>) -> Arc<Self> {
        Arc::new(Self {
            open: AtomicUsize::new(0),
            most,
            per_address,
            hasher: RandomState::new(),
            addresses: Default::default(),
        })
    }

    /// Takes a connection in until the guard is dropped; `None`: there are too many.
    pub(crate) fn connection(self: &Arc<Self>) -> Option<Held> {
        if self.open.fetch_add(1, Ordering::Relaxed) < self.most {
            return Some(Held { admission: self.clone(), network: None });
        }
        self.open.fetch_sub(1, Ordering::Relaxed);
        None
    }

    fn shard(&self, network: Network) -> &Mutex<HashMap<Network, usize>> {
        let [first, ..] = &self.addresses;
        let at = usize::try_from(self.hasher.hash_one(network) % SHARDS as u64).unwrap_or_default();
        self.addresses.get(at).unwrap_or(first)
    }

    #[cfg(test)]
    fn is_empty(&self) -> bool {
        let addresses = self.addresses.iter().all(|shard| shard.lock().is_empty());
        self.open.load(Ordering::Relaxed) == 0 && addresses
    }
}

/// A connection that is counted.
#[derive(Debug)]
pub(crate) struct Held {
    admission: Arc<Admission>,
    network: Option<Network>,
}

impl Held {
    /// Counts it under its client's address too, once; false when that has too many. `most`: 0 for any number, `None` for
    /// the default.
    #[must_use]
    pub(crate) fn by(&mut self, address: IpAddr, most: Option<usize>) -> bool {
        let Some(most) = most.or(self.admission.per_address).filter(|most| *most > 0) else { return true };
        let network = Network::from(address);
        let mut counts = self.admission.shard(network).lock();
        let count = counts.entry(network).or_default();
        // An address that is full is not new, so nothing is left behind.
        if *count >= most {
            return false;
        }
        *count += 1;
        self.network = Some(network);
        true
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.admission.open.fetch_sub(1, Ordering::Relaxed);
        let Some(network) = self.network else { return };
        let mut counts = self.admission.shard(network).lock();
        if let Entry::Occupied(mut count) = counts.entry(network) {
            *count.get_mut() = count.get().saturating_sub(1);
            if *count.get() == 0 {
                count.remove();
                // After a crowd the memory is given back.
                if counts.capacity() > 1024 && counts.len() < counts.capacity() / 8 {
                    counts.shrink_to_fit();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_process_takes_so_many_and_again_when_some_have_gone() {
        let admission = Admission::new(2, None);
        let (one, two) = (admission.connection(), admission.connection());
        assert!(one.is_some() && two.is_some() && admission.connection().is_none());
        drop(one);
        assert!(admission.connection().is_some());
        drop(two);
        assert!(admission.is_empty());
    }

    #[test]
    fn an_address_takes_so_many_and_a_64_is_one_address() {
        let admission = Admission::new(100, Some(2));
        let mut open = Vec::new();
        let mut take = |address: &str, most| {
            let mut held = admission.connection().unwrap();
            let taken = held.by(ip(address), most);
            open.push(held);
            taken
        };
        assert!(take("192.0.2.1", None) && take("::ffff:192.0.2.1", None) && !take("192.0.2.1", None));
        assert!(take("192.0.2.2", None), "another one");
        assert!(take("2001:db8::1", None) && take("2001:db8::ffff:2", None) && !take("2001:db8::3", None));
        assert!(take("2001:db8:0:1::1", None), "another /64");
        assert!(take("192.0.2.1", Some(3)) && !take("192.0.2.1", Some(3)) && take("192.0.2.1", Some(0)));
        drop(open);
        assert!(admission.is_empty());
    }
}
