//! Ports: which listeners share one, and the tables they fill.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use config::{Key, Kind, Protocol, Resource, Scope, Severity};
use rustc_hash::FxHashMap;

use super::attached::Moved;
use super::backend::Backends;
use super::certificate::Certificates;
use super::listener::Served;
use super::problems::{Problems, Stage};
use super::route::{Attachable, Routes};
use super::rule::Scene;
use super::stream::Streams;
use crate::route::RouteTable;
use crate::snapshot::{Bind, Port};
use crate::store::{Dirty, Store};
use crate::tls::{Handshake, TlsTable};

/// Listeners in use and the ports they make.
#[derive(Debug, Default)]
pub(super) struct Ports {
    listeners: BTreeMap<Key, Served>,
    by_parent: FxHashMap<Attachable, BTreeSet<Key>>,
    by_bind: FxHashMap<Bind, BTreeSet<Key>>,
    certificates: Certificates,
    ports: FxHashMap<Bind, Arc<Port>>,
}

/// What changed before listeners are looked at.
pub(super) struct Changed<'a> {
    pub(super) dirty: &'a Dirty,
    pub(super) backends: &'a Backends,
    pub(super) moved: &'a Moved,
    /// Parents to or from which routes were attached.
    pub(super) parents: &'a BTreeSet<Attachable>,
}

/// What is attached to listeners.
#[derive(Clone, Copy)]
pub(super) struct Attachments<'a> {
    pub(super) routes: &'a Routes,
    pub(super) streams: &'a Streams,
}

impl Ports {
    /// All ports, to be shared with a snapshot.
    pub(super) fn ports(&self) -> &FxHashMap<Bind, Arc<Port>> {
        &self.ports
    }

    /// Brings the ports up to date.
    pub(super) fn compile(
        &mut self,
        changed: &Changed<'_>,
        store: &Store,
        attached: Attachments<'_>,
        scene: Scene<'_>,
        problems: &mut Problems,
    ) {
        let certificates = self.certificates.compile(changed.dirty, store, problems);
        // Ports whose set of listeners changed are made anew; in others single listeners are replaced.
        let mut binds = BTreeSet::new();
        for key in changed.dirty.keys().filter(|key| key.kind == Kind::Listener) {
            let Some(Resource::Listener(spec)) = store.get(key) else {
                self.take(key, &mut binds);
                for stage in
                    [Stage::Resource, Stage::Certificates, Stage::Identity, Stage::Conflict, Stage::Traffic]
                {
                    problems.clear(key, stage);
                }
                continue;
            };
            match Served::read(key, spec) {
                Ok(mut served) => {
                    problems.clear(key, Stage::Resource);
                    served.compile_default(scene);
                    certify(&self.certificates, key, &mut served, problems);
                    identify(key, &mut served, self.listeners.get(key), store, problems);
                    self.take(key, &mut binds);
                    self.put(key, served, &mut binds);
                }
                Err(problem) => problems.set(key, Stage::Resource, vec![(Severity::Refused, problem)]),
            }
        }
        let mut rerouted = self.refresh_defaults(changed.backends, changed.moved, scene);
        rerouted.extend(
            changed
                .parents
                .iter()
                .filter_map(|parent| self.by_parent.get(&*parent.served()))
                .flatten()
                .cloned(),
        );
        rerouted.extend(self.refresh_identities(&certificates, store, problems));
        let recertified = self.refresh_tls(&certificates, problems);
        for bind in &binds {
            self.rebuild(*bind, attached, problems);
        }
        self.replace(rerouted, &binds, |port, served| place_routes(port, served, attached));
        self.replace(recertified, &binds, |port, served| place_tls(port, served, attached));
    }

    /// Replaces the entries of listeners in ports that were not made anew.
    fn replace(&mut self, keys: BTreeSet<Key>, rebuilt: &BTreeSet<Bind>, place: impl Fn(&mut Port, &Served)) {
        for key in keys {
            if let Some(served) = self.listeners.get(&key)
                && served.is_placed
                && !rebuilt.contains(&served.bind)
                && let Some(port) = self.ports.get_mut(&served.bind)
            {
                place(Arc::make_mut(port), served);
            }
        }
    }

    fn take(&mut self, key: &Key, binds: &mut BTreeSet<Bind>) {
        let Some(old) = self.listeners.remove(key) else { return };
        remove(&mut self.by_parent, &old.parent, key);
        remove(&mut self.by_bind, &old.bind, key);
        binds.insert(old.bind);
    }

    fn put(&mut self, key: &Key, served: Served, binds: &mut BTreeSet<Bind>) {
        self.by_parent.entry(served.parent.clone()).or_default().insert(key.clone());
        self.by_bind.entry(served.bind).or_default().insert(key.clone());
        binds.insert(served.bind);
        self.listeners.insert(key.clone(), served);
    }

    /// Compiles the forwarding of captured Services again whose backend or policies changed; says of which listeners.
    fn refresh_defaults(&mut self, backends: &Backends, moved: &Moved, scene: Scene<'_>) -> BTreeSet<Key> {
        let mut keys = BTreeSet::new();
        let services =
            backends.tcp.iter().chain(&backends.udp).map(|backend| Attachable::Service(backend.clone()));
        let guarded = moved.parents.iter().filter(|parent| matches!(parent, Attachable::Service(_)));
        let parents: BTreeSet<Attachable> = services.chain(guarded.cloned()).collect();
        for parent in &parents {
            for key in self.by_parent.get(parent).into_iter().flatten() {
                if let Some(served) = self.listeners.get_mut(key) {
                    served.compile_default(scene);
                    keys.insert(key.clone());
                }
            }
        }
        keys
    }

    /// Makes the TLS settings again that show a changed certificate; says of which listeners. O(listeners): once per
    /// renewed certificate.
    fn refresh_tls(&mut self, certificates: &BTreeSet<String>, problems: &mut Problems) -> BTreeSet<Key> {
        if certificates.is_empty() {
            return BTreeSet::new();
        }
        let mut keys = BTreeSet::new();
        for (key, served) in &mut self.listeners {
            if served.certificates.iter().any(|name| certificates.contains(name)) {
                certify(&self.certificates, key, served, problems);
                keys.insert(key.clone());
            }
        }
        keys
    }

    /// Reads again what is shown to backends where it changed; says of which listeners.
    fn refresh_identities(
        &mut self,
        certificates: &BTreeSet<String>,
        store: &Store,
        problems: &mut Problems,
    ) -> BTreeSet<Key> {
        let mut keys = BTreeSet::new();
        for (key, served) in &mut self.listeners {
            if served.backend_certificate.as_ref().is_some_and(|name| certificates.contains(name)) {
                identify(key, served, None, store, problems);
                keys.insert(key.clone());
            }
        }
        keys
    }

    /// Makes a port from its listeners. Of two that cannot share it the first by key is served: the translator has
    /// decided conflicts by age already, and this order depends on nothing that happened before.
    fn rebuild(&mut self, bind: Bind, attached: Attachments<'_>, problems: &mut Problems) {
        let keys = self.by_bind.get(&bind).into_iter().flatten();
        let mut port: Option<Port> = None;
        let mut members = Vec::new();
        for key in keys {
            let Some(served) = self.listeners.get_mut(key) else { continue };
            let conflict = port.as_ref().and_then(|port| conflict(port, &members, served));
            served.is_placed = conflict.is_none();
            if let Some(conflict) = conflict {
                problems.set(key, Stage::Conflict, vec![(Severity::Refused, conflict)]);
                problems.clear(key, Stage::Traffic);
                continue;
            }
            problems.clear(key, Stage::Conflict);
            let gives_in = port.as_ref().and_then(|port| gives_in(port, &members, served));
            problems.set(
                key,
                Stage::Traffic,
                gives_in.map(|e| (Severity::Degraded, e)).into_iter().collect(),
            );
            let port = port.get_or_insert_with(|| Port {
                protocol: served.protocol,
                listeners: Arc::default(),
                routes: Arc::default(),
                tls: matches!(served.protocol, Protocol::Https | Protocol::Tls).then(Arc::default),
                streams: None,
                traffic: served.traffic.clone(),
            });
            if served.protocol == Protocol::Tls {
                port.protocol = Protocol::Tls;
            }
            place_routes(port, served, attached);
            place_tls(port, served, attached);
            members.push((key.clone(), served.scope.clone()));
        }
        match port {
            Some(port) => {
                self.ports.insert(bind, Arc::new(Port { listeners: members.into(), ..port }));
            }
            None => drop(self.ports.remove(&bind)),
        }
    }
}

fn remove<K: std::hash::Hash + Eq>(index: &mut FxHashMap<K, BTreeSet<Key>>, at: &K, key: &Key) {
    if let Some(keys) = index.get_mut(at) {
        keys.remove(key);
        if keys.is_empty() {
            index.remove(at);
        }
    }
}

/// Why a listener cannot share a port with those that have a place there.
fn conflict(port: &Port, members: &[(Key, Scope)], served: &Served) -> Option<String> {
    let (first, scope) = members.first()?;
    let number = served.bind.port;
    let is_tls = |protocol| matches!(protocol, Protocol::Https | Protocol::Tls);
    if port.protocol != served.protocol && !(is_tls(port.protocol) && is_tls(served.protocol)) {
        return Some(format!(
            "protocol: {first} has port {number} for another protocol: choose another port"
        ));
    }
    if *scope != Scope::Gateway || served.scope != Scope::Gateway {
        return Some(format!("port: {first} has port {number}, and a Service cannot share one"));
    }
    if matches!(served.protocol, Protocol::Tcp | Protocol::Udp) {
        // Nothing in the bytes tells whose they are.
        return Some(format!("port: {first} has port {number}: choose another port"));
    }
    let other = port.routes.listeners.get(served.pattern())?;
    Some(format!("hostname: Listener/{} has it on port {number}: choose another", other.name()))
}

/// What of a listener does not hold because another one came before it.
fn gives_in(port: &Port, members: &[(Key, Scope)], served: &Served) -> Option<String> {
    let (first, _) = members.first()?;
    let (theirs, ours) = (&port.traffic.connection, &served.traffic.connection);
    // A head is read before its listener is known.
    let heads_agree = port.traffic.request.head_bytes == served.traffic.request.head_bytes;
    (!theirs.agrees_with(ours) || !heads_agree).then(|| {
        format!(
            "traffic: what it says of connections differs from {first}, which shares port {} and comes first: that \
             holds for both; say the same, or choose another port",
            served.bind.port
        )
    })
}

fn certify(certificates: &Certificates, key: &Key, served: &mut Served, problems: &mut Problems) {
    if served.is_terminating {
        let rules = &served.traffic.connection.tls;
        // What is spoken inside of others is not known.
        let alpn = if served.protocol == Protocol::Https { &*rules.alpn } else { &[] };
        let (tls, found) = certificates.settings(&served.certificates, served.clients.as_ref(), rules, alpn);
        served.tls = tls;
        problems.set(key, Stage::Certificates, found);
    } else {
        problems.clear(key, Stage::Certificates);
    }
}

/// Finds what is shown to backends. When it cannot be used, what the listener showed before under the same name stays;
/// else nothing is shown, and the backend decides.
fn identify(key: &Key, served: &mut Served, before: Option<&Served>, store: &Store, problems: &mut Problems) {
    let Some(name) = &served.backend_certificate else { return problems.clear(key, Stage::Identity) };
    let problem = match Certificates::client(name, store) {
        Ok(Some(identity)) => {
            served.identity = Some(Arc::new(identity));
            return problems.clear(key, Stage::Identity);
        }
        Ok(None) => {
            served.identity = None;
            format!("backendCertificate: there is no certificate {name}: backends are shown none")
        }
        Err(problem) => {
            let before = before.filter(|before| before.backend_certificate == served.backend_certificate);
            served.identity = served.identity.take().or_else(|| before?.identity.clone());
            format!("backendCertificate: {name}: {problem}; the last good one is shown, if there was one")
        }
    };
    problems.set(key, Stage::Identity, vec![(Severity::Degraded, problem)]);
}

fn place_routes(port: &mut Port, served: &Served, attached: Attachments<'_>) {
    // Of a TLS listener too: a request for its host that came in by an HTTPS one is misdirected.
    let table: &mut RouteTable = Arc::make_mut(&mut port.routes);
    table.listeners.insert(served.pattern(), served.table(attached.routes));
    match served.protocol {
        Protocol::Http | Protocol::Https => {}
        Protocol::Tls => place_tls(port, served, attached),
        Protocol::Tcp | Protocol::Udp => port.streams = Some(served.streams(attached.streams)),
    }
}

fn place_tls(port: &mut Port, served: &Served, attached: Attachments<'_>) {
    let Some(tls) = &mut port.tls else { return };
    let handshake = match served.protocol {
        Protocol::Http | Protocol::Tcp | Protocol::Udp => return,
        Protocol::Https => Handshake::Http(served.tls.clone()),
        Protocol::Tls if served.is_terminating => {
            Handshake::Terminate(served.tls.clone(), served.streams(attached.streams))
        }
        Protocol::Tls => Handshake::Pass(served.streams(attached.streams)),
    };
    let tls: &mut TlsTable = Arc::make_mut(tls);
    tls.insert(served.pattern(), handshake);
}
