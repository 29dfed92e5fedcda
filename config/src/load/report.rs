//! What a proxy tells, without sockets and clocks.

use std::collections::BTreeMap;

use super::proto::{ClusterStats, Report, Request};
use super::{Counters, Counts, MAX_BACKENDS};
use crate::BackendRef;

/// Remembers what was told, and tells what is new.
#[derive(Debug, Default)]
pub struct Reporter {
    /// What is asked for: each backend, and its counters when it was told of last.
    asked: BTreeMap<String, (BackendRef, Counts)>,
    /// When that was, in nanoseconds.
    told: u64,
}

impl Reporter {
    /// From now on this is asked for. What came to a backend before it was asked for is not told; one that was asked for already
    /// is told of as if nothing had happened. Names that are none of ours are left out.
    pub fn asked(&mut self, now: u64, request: &Request, counters: &dyn Counters) {
        if self.asked.is_empty() {
            self.told = now;
        }
        let names = request.clusters.iter().take(MAX_BACKENDS);
        let asked = names.filter_map(|name| {
            let known = self.asked.remove(name);
            let begin = || {
                let backend = name.parse().ok()?;
                let counts = counters.read(&backend);
                Some((backend, counts))
            };
            Some((name.clone(), known.or_else(begin)?))
        });
        self.asked = asked.collect();
    }

    /// Whether there is anything to tell of.
    #[must_use]
    pub fn is_asked(&self) -> bool {
        !self.asked.is_empty()
    }

    /// What came since the last report; `None` when that is nothing.
    pub fn report(&mut self, now: u64, counters: &dyn Counters) -> Option<Report> {
        let nanos = now.saturating_sub(std::mem::replace(&mut self.told, now));
        let mut clusters = Vec::new();
        for (name, (backend, told)) in &mut self.asked {
            let counts = counters.read(backend);
            let new = counts.since(told);
            *told = counts;
            if !new.is_empty() {
                clusters.push(ClusterStats::encode(name.clone(), &new, nanos));
            }
        }
        (!clusters.is_empty()).then_some(Report { node: None, clusters })
    }
}
