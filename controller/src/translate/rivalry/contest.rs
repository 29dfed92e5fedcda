//! One place that both kinds want: who stands there is decided in order of rank.
//!
//! A candidate stands if no candidate of the other kind that stands has a host in common with it and comes before it. So
//! what changes for one concerns only those after it, and is followed as far as it changes something.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};

use super::Id;
use super::hosts::Hosts;
use crate::resources::ObjectKind;

/// Whose turn it is: the order of the fields.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank {
    /// A route that is invalid anyway takes no place; where the other kind stands, it does not answer 500 either.
    pub(super) is_invalid: bool,
    /// Its kind comes second whatever its age.
    pub(super) is_second: bool,
    pub(super) created: i64,
    pub(super) namespace: Box<str>,
    pub(super) name: Box<str>,
    pub(super) kind: ObjectKind,
    pub(super) candidate: usize,
}

#[cfg(test)]
impl Default for Rank {
    fn default() -> Self {
        let (namespace, name) = (Box::default(), Box::default());
        let kind = ObjectKind::HttpRoute;
        Self { is_invalid: false, is_second: false, created: 0, namespace, name, kind, candidate: 0 }
    }
}

/// Who wants the place, and for which hosts.
#[derive(Debug)]
pub(super) struct Contestant {
    pub(super) rank: Rank,
    pub(super) hostnames: Vec<String>,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Contest {
    ranks: FxHashMap<Id, Arc<Rank>>,
    states: BTreeMap<Arc<Rank>, State>,
    http: Side,
    grpc: Side,
    undecided: BTreeSet<Arc<Rank>>,
    /// Whose owner is another than was told.
    changed: FxHashSet<Id>,
}

#[derive(Debug)]
struct State {
    id: Id,
    hostnames: Vec<String>,
    owner: Option<Arc<Rank>>,
    stands: bool,
}

/// Candidates of one kind.
#[derive(Debug, Default)]
struct Side {
    all: Hosts,
    standing: Hosts,
}

impl Contest {
    pub(super) fn add(&mut self, id: Id, Contestant { rank, hostnames }: Contestant) {
        let rank = Arc::new(rank);
        self.side(rank.kind).all.insert(&hostnames, &rank);
        self.ranks.insert(id, Arc::clone(&rank));
        self.states.insert(Arc::clone(&rank), State { id, hostnames, owner: None, stands: false });
        self.undecided.insert(rank);
    }

    pub(super) fn remove(&mut self, id: Id) {
        let Some(rank) = self.ranks.remove(&id) else { return };
        let Some(state) = self.states.remove(&rank) else { return };
        self.side(rank.kind).all.remove(&state.hostnames, &rank);
        self.undecided.remove(&rank);
        self.changed.remove(&id);
        if state.stands {
            self.side(rank.kind).standing.remove(&state.hostnames, &rank);
            self.ask_again(&rank, &state.hostnames);
        }
    }

    /// Decides; returns for whom it came out differently, and who has their place.
    pub(super) fn settle(&mut self) -> Vec<(Id, Option<String>)> {
        while let Some(rank) = self.undecided.pop_first() {
            let Some(state) = self.states.get(&rank) else { continue };
            let rivals = &self.rivals(rank.kind).standing;
            let owners = state.hostnames.iter().flat_map(|hostname| rivals.overlapping(hostname));
            let owner =
                owners.filter_map(|ranks| ranks.first()).filter(|first| **first < rank).min().cloned();
            let stands = owner.is_none() && !rank.is_invalid;
            let Some(state) = self.states.get_mut(&rank) else { continue };
            if state.owner != owner {
                self.changed.insert(state.id);
                state.owner = owner;
            }
            if state.stands != stands {
                state.stands = stands;
                let hostnames = state.hostnames.clone();
                let standing = &mut self.side(rank.kind).standing;
                if stands {
                    standing.insert(&hostnames, &rank)
                } else {
                    standing.remove(&hostnames, &rank)
                }
                self.ask_again(&rank, &hostnames);
            }
        }
        let changed = std::mem::take(&mut self.changed).into_iter().filter_map(|id| {
            let state = self.states.get(self.ranks.get(&id)?)?;
            Some((id, state.owner.as_deref().map(name)))
        });
        changed.collect()
    }

    /// Rivals after one that came or went have to be decided again.
    fn ask_again(&mut self, rank: &Arc<Rank>, hostnames: &[String]) {
        let rivals = &self.rivals(rank.kind).all;
        let after = (Bound::Excluded(rank), Bound::Unbounded);
        let concerned = hostnames.iter().flat_map(|hostname| rivals.overlapping(hostname));
        let concerned: Vec<_> =
            concerned.flat_map(|ranks| ranks.range::<Arc<Rank>, _>(after)).cloned().collect();
        self.undecided.extend(concerned);
    }

    fn side(&mut self, kind: ObjectKind) -> &mut Side {
        if kind == ObjectKind::GrpcRoute { &mut self.grpc } else { &mut self.http }
    }

    fn rivals(&self, kind: ObjectKind) -> &Side {
        if kind == ObjectKind::GrpcRoute { &self.http } else { &self.grpc }
    }
}

fn name(rank: &Rank) -> String {
    format!("{} {}/{}", rank.kind.as_str(), rank.namespace, rank.name)
}
