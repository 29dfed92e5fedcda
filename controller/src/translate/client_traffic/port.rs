//! What a port has only once, whichever of its listeners a connection turns out to be for.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::Place;
use super::leaves::is_under;
use super::merge::Field;
use super::reach::Need;
use crate::translate::gateway::Draft as GatewayDraft;
use crate::translate::listener::Draft as ListenerDraft;
use crate::translate::service_port::Transport;

/// Fields that act before it is known which listener a connection is for.
const SHARED: [&str; 10] = [
    "connection",
    "http2",
    "limits.connectionsPerAddress",
    "limits.http2ControlFrames",
    "limits.requestHeadersBytes",
    "proxyProtocol",
    "tcpKeepalive",
    "timeout.http.idleTimeout",
    "timeout.http.requestHeadersReceivedTimeout",
    "timeout.tcp",
];

pub(super) fn is_shared(path: &str) -> bool {
    SHARED.iter().any(|field| is_under(path, field))
}

/// A socket: the Gateway unless they share a host, its address, its port.
type Socket = (Option<usize>, Option<IpAddr>, i32);

/// Gives all listeners of a port the same of what it has once, and takes from each what it has no use for.
pub(super) fn settle(drafts: &[GatewayDraft<'_>], places: &mut [Vec<Place>], shared_host: bool) {
    let mut sockets: BTreeMap<Socket, Vec<(&ListenerDraft<'_>, &mut Place)>> = BTreeMap::new();
    for (gateway, (draft, places)) in drafts.iter().zip(places).enumerate() {
        for (listener, place) in draft.listeners.iter().zip(places) {
            if draft.is_live(listener) && listener.transport() == Transport::Tcp {
                let owner = (!shared_host).then_some(gateway);
                let socket = (owner, draft.address, listener.spec.port);
                sockets.entry(socket).or_default().push((listener, place));
            } else {
                place.fields.retain(|path, _| Need::of(path).is_met(listener));
            }
        }
    }
    sockets.into_values().for_each(|mut listeners| settle_one(&mut listeners));
}

fn settle_one(listeners: &mut [(&ListenerDraft<'_>, &mut Place)]) {
    let first_set = listeners.first().and_then(|(listener, _)| listener.set);
    let is_one_sets = first_set.is_some_and(|first| {
        listeners.iter().all(|(listener, _)| listener.set.is_some_and(|set| std::ptr::eq(set, first)))
    });
    let fields = listeners.iter().flat_map(|(_, place)| place.fields.keys());
    let shared: BTreeSet<String> = fields.filter(|path| is_shared(path)).cloned().collect();
    for path in &shared {
        let said = listeners.iter().filter_map(|(_, place)| place.fields.get(path));
        // Whoever may add a ListenerSet must not decide for listeners that are not its own.
        let may_decide = said.filter(|field| is_one_sets || !field.from.is_of_set);
        // The oldest policy, of the first listener that has it.
        let winner: Option<Field> = may_decide.min_by_key(|field| field.from.policy).cloned();
        let is_met = listeners.iter().any(|(listener, _)| Need::of(path).is_met(listener));
        for (_, place) in listeners.iter_mut() {
            match winner.clone().filter(|_| is_met) {
                Some(field) => drop(place.fields.insert(path.clone(), field)),
                None => drop(place.fields.remove(path)),
            }
        }
    }
    for (listener, place) in listeners {
        place.fields.retain(|path, _| shared.contains(path) || Need::of(path).is_met(listener));
    }
}
