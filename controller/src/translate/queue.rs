//! Routes of one kind that want the same connections. Gateway API: of several "only the oldest route is attached to the
//! listener", then the first by `namespace/name`; all stay `Accepted` and are counted.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};

use super::attach::At;
use super::route::{Entry, Route};

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    lines: FxHashMap<Place, BTreeSet<Arc<Turn>>>,
    /// By route: its turn, and where it stands in line.
    routes: FxHashMap<usize, (Arc<Turn>, Vec<Place>)>,
    /// Routes that are new, or before which somebody else came to be the first.
    moved: FxHashSet<usize>,
}

/// Connections of a listener that name a host.
type Place = (At, String);

/// Whose turn it is: the order of the fields; the last is the number of the route.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Turn {
    created: i64,
    namespace: Box<str>,
    name: Box<str>,
    slot: usize,
}

impl Queue {
    pub(crate) fn add<T: Route>(&mut self, slot: usize, entry: &Entry<T>) {
        let object = &entry.object;
        let (namespace, name) = (object.namespace().into(), object.name().into());
        let turn = Arc::new(Turn { created: object.created(), namespace, name, slot });
        let names = entry.survivors().flat_map(|(_, candidate)| {
            candidate.hostnames.iter().map(|hostname| (candidate.at, hostname.clone()))
        });
        let places: Vec<Place> = names.collect();
        for place in &places {
            let line = self.lines.entry(place.clone()).or_default();
            // Every name is taken by whoever comes first, also where another of its names has gone to somebody else.
            if line.first().is_some_and(|first| turn < *first) {
                self.moved.extend(line.iter().map(|turn| turn.slot));
            }
            line.insert(Arc::clone(&turn));
        }
        self.moved.insert(slot);
        self.routes.insert(slot, (turn, places));
    }

    pub(crate) fn remove(&mut self, slot: usize) {
        let Some((turn, places)) = self.routes.remove(&slot) else { return };
        for place in places {
            let Some(line) = self.lines.get_mut(&place) else { continue };
            let was_first = line.first() == Some(&turn);
            line.remove(&turn);
            if line.is_empty() {
                self.lines.remove(&place);
            } else if was_first {
                self.moved.extend(line.iter().map(|turn| turn.slot));
            }
        }
    }

    /// Routes that are to be looked at again.
    pub(crate) fn take_moved(&mut self) -> FxHashSet<usize> {
        std::mem::take(&mut self.moved)
    }

    /// Candidates of a route where another comes first: index, and which.
    pub(crate) fn outranked<T: Route>(&self, slot: usize, entry: &Entry<T>) -> BTreeMap<usize, String> {
        let first = |place: Place| self.lines.get(&place)?.first().filter(|first| first.slot != slot);
        let outranked = entry.survivors().filter_map(|(index, candidate)| {
            let mut places = candidate.hostnames.iter().map(|hostname| (candidate.at, hostname.clone()));
            let turn = places.find_map(first)?;
            Some((index, format!("{} {}/{}", T::KIND.as_str(), turn.namespace, turn.name)))
        });
        outranked.collect()
    }
}
