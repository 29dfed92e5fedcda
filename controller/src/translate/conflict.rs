//! Who may not stand beside whom: listeners of one Gateway, Gateways on one host, HTTPRoutes and GRPCRoutes.

use std::net::IpAddr;

use config::Protocol;
use rustc_hash::FxHashMap;

use super::gateway::Draft as GatewayDraft;
use super::hostname;
use super::listener::Draft as ListenerDraft;
use super::service_port::Transport;
use crate::resources::Named;
use crate::status::{Problem, reason};

/// Marks indistinct listeners. Gateway API: "The implementation MUST NOT pick one conflicting Listener as the
/// winner. ALL indistinct Listeners must not be accepted for processing." That is for listeners of one object; of
/// those of a Gateway and its ListenerSets the earlier in order of precedence stands. Listeners of a protocol we do
/// not speak are refused anyway and conflict with nobody.
pub(crate) fn within_gateway(listeners: &mut [ListenerDraft<'_>]) {
    let mut names: FxHashMap<_, usize> = FxHashMap::default();
    let mut ports: FxHashMap<(i32, Transport), Vec<usize>> = FxHashMap::default();
    for (index, listener) in listeners.iter().enumerate() {
        *names.entry((owner(listener), &listener.spec.name)).or_default() += 1;
        if listener.protocol.is_some() {
            ports.entry((listener.spec.port, listener.transport())).or_default().push(index);
        }
    }
    for listener in listeners.iter_mut() {
        let name = &listener.spec.name;
        if names.get(&(owner(listener), name)).is_some_and(|count| *count > 1) {
            let whole = if listener.set.is_some() { "ListenerSet" } else { "Gateway" };
            let message =
                format!("name: {name:?} is used by several listeners: it must be unique within the {whole}");
            listener.problems.push(Problem::unsupported(message));
        }
    }
    for sharing in ports.values().filter(|sharing| sharing.len() > 1) {
        settle(listeners, sharing);
        for &index in sharing {
            let overlapping = overlapping(listeners, sharing, index);
            if let Some(listener) = listeners.get_mut(index) {
                listener.overlapping = overlapping;
            }
        }
    }
}

/// The ListenerSet a listener belongs to; `None`: the Gateway.
fn owner<'a>(listener: &ListenerDraft<'a>) -> Option<(&'a str, &'a str)> {
    listener.set.map(|set| (set.namespace(), set.name()))
}

/// Settles one port. `sharing`: its listeners, by place, in order of precedence. A listener that lost to another
/// object's stands in nobody's way; one that is refused with its like within one object does, so that a mistake
/// there gives its host name to nobody else.
fn settle(listeners: &mut [ListenerDraft<'_>], sharing: &[usize]) {
    let mut standing: Vec<usize> = Vec::new();
    let same_owner = |a: &usize, b: &usize| listeners.get(*a).map(owner).eq(&listeners.get(*b).map(owner));
    let groups: Vec<&[usize]> = sharing.chunk_by(same_owner).collect();
    for group in groups {
        // Each with reason and message.
        let mut found: Vec<(usize, Option<(&'static str, String)>)> = Vec::new();
        for &index in group {
            let Some(listener) = listeners.get(index) else { continue };
            let earlier = || standing.iter().filter_map(|&other| listeners.get(other));
            let conflict = conflict_of(listener, earlier);
            found.push((
                index,
                conflict.map(|(conflict, _)| (conflict.reason(), elsewhere(conflict, listener))),
            ));
        }
        let rest: Vec<usize> = found.iter().filter(|(_, lost)| lost.is_none()).map(|(i, _)| *i).collect();
        for (index, conflict) in found.iter_mut().filter(|(_, lost)| lost.is_none()) {
            let Some(listener) = listeners.get(*index) else { continue };
            let others = || rest.iter().filter(|&o| o != index).filter_map(|&other| listeners.get(other));
            *conflict = conflict_of(listener, others).map(|(conflict, message)| (conflict.reason(), message));
        }
        standing.extend(rest);
        for (index, conflict) in found {
            if let Some(listener) = listeners.get_mut(index) {
                listener.conflict = conflict;
            }
        }
    }
}

/// Why two listeners cannot share a port of one transport.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Conflict {
    Protocol,
    /// Nothing tells their connections or datagrams apart.
    Port,
    Hostname,
}

impl Conflict {
    const fn reason(self) -> &'static str {
        match self {
            Self::Protocol | Self::Port => reason::PROTOCOL_CONFLICT,
            Self::Hostname => reason::HOSTNAME_CONFLICT,
        }
    }
}

/// A protocol, and the host name if it is not all of them.
type Place<'a> = (Option<Protocol>, Option<&'a str>);

/// Whether two listeners can share a port. Gateway API: the listeners of a protocol must differ in "HTTP, HTTPS, TLS:
/// Port, Hostname; TCP, UDP: Port", and none may share a port with TCP. HTTPS and TLS are told apart by the name in the
/// ClientHello, whatever becomes of TLS then.
fn conflict_between((a, a_host): Place<'_>, (b, b_host): Place<'_>) -> Option<Conflict> {
    let by_client_hello = |protocol| matches!(protocol, Some(Protocol::Https | Protocol::Tls));
    match (a, b) {
        (Some(Protocol::Tcp), Some(Protocol::Tcp)) | (Some(Protocol::Udp), Some(Protocol::Udp)) => {
            Some(Conflict::Port)
        }
        _ if a == b => (a_host == b_host).then_some(Conflict::Hostname),
        _ if by_client_hello(a) && by_client_hello(b) => (a_host == b_host).then_some(Conflict::Protocol),
        _ => Some(Conflict::Protocol),
    }
}

/// What is said of a conflict to the loser to another object. Gateway API: "Implementations SHOULD be cautious about
/// what information from the parent or siblings are reported".
fn elsewhere(conflict: Conflict, listener: &ListenerDraft<'_>) -> String {
    let who = "a listener of the Gateway or of an older ListenerSet";
    let port = listener.spec.port;
    match conflict {
        Conflict::Protocol => {
            format!("port {port} is used with another protocol by {who}: use another port")
        }
        Conflict::Port => format!("port {port} is used by {who}: use another port"),
        Conflict::Hostname => {
            format!("{who} has the same port, protocol and hostname: change one of these")
        }
    }
}

fn conflict_of<'a, 'b: 'a, I: Iterator<Item = &'a ListenerDraft<'b>>>(
    listener: &ListenerDraft<'b>,
    others: impl Fn() -> I,
) -> Option<(Conflict, String)> {
    let with = |wanted: Conflict| {
        let place = |listener: &ListenerDraft<'b>| (listener.protocol, listener.hostname);
        let rivals = others().filter(|other| conflict_between(place(listener), place(other)) == Some(wanted));
        rivals.map(|other| other.spec.name.as_str()).collect::<Vec<_>>().join(", ")
    };
    let conflicts = [Conflict::Protocol, Conflict::Port, Conflict::Hostname];
    let (conflict, names) = conflicts
        .into_iter()
        .map(|conflict| (conflict, with(conflict)))
        .find(|(_, names)| !names.is_empty())?;
    let port = listener.spec.port;
    let message = match conflict {
        Conflict::Protocol if matches!(listener.protocol, Some(Protocol::Https | Protocol::Tls)) => format!(
            "port {port} is also used with another protocol, by listener {names}: use different ports, or different \
             hostnames if the other is HTTPS or TLS"
        ),
        Conflict::Protocol => {
            format!(
                "port {port} is also used with another protocol, by listener {names}: use different ports"
            )
        }
        Conflict::Port => format!(
            "listener {names} has the same port and protocol, which knows no host names: use different ports"
        ),
        Conflict::Hostname => format!(
            "listener {names} has the same port, protocol and hostname: all are refused until one of these differs"
        ),
    };
    Some((conflict, message))
}

/// The other listeners with TLS of a port whose host names overlap with those of one that terminates it.
fn overlapping<'a>(listeners: &[ListenerDraft<'a>], sharing: &[usize], index: usize) -> Vec<&'a str> {
    let Some(listener) = listeners.get(index) else { return Vec::new() };
    if !listener.terminates_tls() || listener.conflict.is_some() {
        return Vec::new();
    }
    let mut names: Vec<&str> = sharing
        .iter()
        .filter(|&&other| other != index)
        .filter_map(|&other| listeners.get(other))
        .filter(|other| {
            other.conflict.is_none() && matches!(other.protocol, Some(Protocol::Https | Protocol::Tls))
        })
        .filter(|other| hostname::overlap(listener.hostname, other.hostname))
        .map(|other| if owner(other) == owner(listener) { other.spec.name.as_str() } else { ELSEWHERE })
        .collect();
    names.dedup();
    names
}

/// A listener that this object's owner may not know of.
const ELSEWHERE: &str = "(of the Gateway or another ListenerSet)";

/// A listener that holds its port on this host.
struct Holder {
    address: Option<IpAddr>,
    protocol: Option<Protocol>,
    hostname: Option<String>,
    name: String,
}

/// Refuses listeners of younger Gateways whose port an older Gateway on the same host uses in a way that
/// cannot be shared.
pub(crate) fn between_gateways(drafts: &mut [GatewayDraft<'_>]) {
    let mut held: FxHashMap<(i32, Transport), Vec<Holder>> = FxHashMap::default();
    for draft in drafts {
        let (is_accepted, address) = (draft.is_accepted(), draft.address);
        let mut holders = Vec::new();
        for listener in draft.listeners.iter_mut().filter(|l| is_accepted && l.is_usable()) {
            let port = listener.spec.port;
            let place = (port, listener.transport());
            let rival = held.get(&place).into_iter().flatten().find(|holder| {
                // A socket bound to all addresses and one bound to a single address exclude each other.
                (holder.address != address && (holder.address.is_none() || address.is_none()))
                    || (holder.address == address
                        && conflict_between(
                            (holder.protocol, holder.hostname.as_deref()),
                            (listener.protocol, listener.hostname),
                        )
                        .is_some())
            });
            if let Some(rival) = rival {
                let message =
                    format!("port: {port} is used by {}: choose another port or hostname", rival.name);
                listener.problems.push(Problem::accepted(reason::PORT_UNAVAILABLE, message));
                continue;
            }
            let (namespace, gateway) = (draft.object.namespace(), draft.object.name());
            let holder = Holder {
                address,
                protocol: listener.protocol,
                hostname: listener.hostname.map(str::to_owned),
                name: match listener.set {
                    Some(set) => format!(
                        "listener {} of ListenerSet {}/{}",
                        listener.spec.name,
                        set.namespace(),
                        set.name()
                    ),
                    None => format!("listener {} of Gateway {namespace}/{gateway}", listener.spec.name),
                },
            };
            holders.push((place, holder));
        }
        for (place, holder) in holders {
            held.entry(place).or_default().push(holder);
        }
    }
}
