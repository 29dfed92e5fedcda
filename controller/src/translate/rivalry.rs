//! HTTPRoutes and GRPCRoutes that want the same host, or the same Service port.
//!
//! On a listener, Gateway API: "the implementation MUST accept exactly one of these two routes … The oldest Route based
//! on creation timestamp. The Route appearing first in alphabetical order by `{namespace}/{name}`." On a Service port,
//! GEP-1294: the more specific kind, GRPCRoute before HTTPRoute.
//!
//! Where only one kind stands there is nothing to settle, and nothing is kept but who is there.

mod contest;
mod hosts;

use rustc_hash::{FxHashMap, FxHashSet};

use self::contest::{Contest, Contestant, Rank};
use super::attach::{At, Candidate};
use super::facts::Reader;
use super::route::{Memory, Route};
use crate::api::{GrpcRoute, HttpRoute};
use crate::resources::ObjectKind;

/// Who stands where both kinds want to.
#[derive(Debug, Default)]
pub(crate) struct Rivalry {
    places: FxHashMap<At, Place>,
    unsettled: FxHashSet<At>,
}

/// A candidate of a route: its index.
type Id = (Reader, usize);

#[derive(Debug, Default)]
struct Place {
    http: FxHashSet<Id>,
    grpc: FxHashSet<Id>,
    /// Once both kinds are there.
    contest: Option<Contest>,
    /// Not in the contest yet.
    new: Vec<Id>,
}

impl Place {
    fn of_kind(&mut self, kind: ObjectKind) -> &mut FxHashSet<Id> {
        if kind == ObjectKind::GrpcRoute { &mut self.grpc } else { &mut self.http }
    }
}

impl Rivalry {
    pub(crate) fn add(&mut self, reader: Reader, candidates: &[Candidate]) {
        for (index, candidate) in candidates.iter().enumerate() {
            let place = self.places.entry(candidate.at).or_default();
            place.of_kind(reader.0).insert((reader, index));
            place.new.push((reader, index));
            self.unsettled.insert(candidate.at);
        }
    }

    pub(crate) fn remove(&mut self, reader: Reader, candidates: &[Candidate]) {
        for (index, candidate) in candidates.iter().enumerate() {
            let Some(place) = self.places.get_mut(&candidate.at) else { continue };
            let id = (reader, index);
            place.of_kind(reader.0).remove(&id);
            place.new.retain(|new| *new != id);
            if let Some(contest) = &mut place.contest {
                contest.remove(id);
            }
            self.unsettled.insert(candidate.at);
        }
    }

    /// Decides where something changed, and tells the routes that lost a place by it or won one back.
    pub(crate) fn settle(&mut self, http: &mut Memory<HttpRoute>, grpc: &mut Memory<GrpcRoute>) {
        for at in std::mem::take(&mut self.unsettled) {
            let Some(place) = self.places.get_mut(&at) else { continue };
            let is_rivalry = !place.http.is_empty() && !place.grpc.is_empty();
            let mut new = std::mem::take(&mut place.new);
            if place.contest.is_none() {
                if !is_rivalry {
                    if place.http.is_empty() && place.grpc.is_empty() {
                        self.places.remove(&at);
                    }
                    continue;
                }
                place.contest = Some(Contest::default());
                new = place.http.iter().chain(&place.grpc).copied().collect();
            }
            let Some(contest) = &mut place.contest else { continue };
            for id in new {
                let contestant =
                    if id.0.0 == ObjectKind::GrpcRoute { contestant(id, grpc) } else { contestant(id, http) };
                contestant.into_iter().for_each(|contestant| contest.add(id, contestant));
            }
            for (((kind, slot), candidate), owner) in contest.settle() {
                if kind == ObjectKind::GrpcRoute {
                    grpc.lose(slot, candidate, owner);
                } else {
                    http.lose(slot, candidate, owner);
                }
            }
            if !is_rivalry {
                place.contest = None;
            }
        }
    }
}

fn contestant<T: Route>(((_, slot), index): Id, routes: &Memory<T>) -> Option<Contestant> {
    let entry = routes.entries.get(slot)?;
    let candidate = entry.attached.candidates.get(index)?;
    let is_second =
        matches!(candidate.at, At::Port(..) | At::Consumer(..)) && T::KIND == ObjectKind::HttpRoute;
    let rank = Rank {
        is_invalid: entry.is_invalid,
        is_second,
        created: entry.object.created(),
        namespace: entry.object.namespace().into(),
        name: entry.object.name().into(),
        kind: T::KIND,
        candidate: index,
    };
    Some(Contestant { rank, hostnames: candidate.hostnames.clone() })
}
