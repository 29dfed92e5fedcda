//! The flows of one port and worker, bounded in number.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use foldhash::fast::RandomState;
use tokio::time::Instant;

use super::session::{Flow, Session};

/// Flows looked at to find one that was quiet for long.
const LOOKS: usize = 16;

/// The flows, and the order in which they were last known to be active.
#[derive(Debug)]
pub(super) struct Sessions {
    most: usize,
    /// Clients choose their addresses: hashed with a seed.
    by_flow: HashMap<Flow, Arc<Session>, RandomState>,
    /// The front was quiet for longest; what was active since is put back to the end when it is met.
    order: VecDeque<(Flow, Instant)>,
}

impl Sessions {
    pub(super) fn new(most: usize) -> Self {
        Self { most: most.max(1), by_flow: HashMap::default(), order: VecDeque::new() }
    }

    pub(super) fn get(&self, flow: &Flow) -> Option<&Arc<Session>> {
        self.by_flow.get(flow)
    }

    pub(super) fn insert(&mut self, flow: Flow, session: Arc<Session>) {
        self.order.push_back((flow, session.last()));
        self.by_flow.insert(flow, session);
        // Flows that have ended leave their places behind.
        if self.order.len() > 2 * self.by_flow.len() + LOOKS {
            let by_flow = &self.by_flow;
            let mut seen = std::collections::HashSet::with_hasher(RandomState::default());
            self.order.retain(|(flow, _)| by_flow.contains_key(flow) && seen.insert(*flow));
        }
    }

    /// Takes a flow out, if it still is this one.
    pub(super) fn remove(&mut self, flow: &Flow, session: &Arc<Session>) {
        if self.by_flow.get(flow).is_some_and(|known| Arc::ptr_eq(known, session)) {
            self.by_flow.remove(flow);
        }
    }

    /// Takes one out when there are too many for another: about the one that was quiet for longest.
    pub(super) fn make_room(&mut self) -> Option<Arc<Session>> {
        if self.by_flow.len() < self.most {
            return None;
        }
        let mut looks = 0;
        while let Some((flow, then)) = self.order.pop_front() {
            let Some(session) = self.by_flow.get(&flow) else { continue };
            let last = session.last();
            looks += 1;
            if last > then && looks < LOOKS {
                self.order.push_back((flow, last));
                continue;
            }
            return self.by_flow.remove(&flow);
        }
        None
    }
}
