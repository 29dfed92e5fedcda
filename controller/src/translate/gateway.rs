//! Gateways: their listeners together, addresses, and what the whole Gateway asks for.

use std::collections::BTreeSet;
use std::net::IpAddr;

use config::identity::Role;
use config::{Key, Kind, ListenerTls, Resource, Scope};
use gateway_api::experimental::gateways::GatewayListenersTlsCertificateRefs as CertificateRef;
use rustc_hash::{FxHashMap, FxHashSet};

use super::attached::AttachedPolicies;
use super::client_traffic::Traffic;
use super::client_validation::Validations;
use super::listener::{Draft as ListenerDraft, Namespaces};
use super::listener_kinds::Kinds;
use super::reference_grant::Grants;
use super::service_port::Transport;
use super::tls::Certificates;
use super::{Options, Output, PENDING, conflict, gateway_class, listener_set, parameters};
use crate::api;
use crate::provisioned;
use crate::resources::{Named, ObjectKind, Resources};
use crate::status::{GatewayAddress, Problem, condition_type, reason};

/// A Gateway of ours, as routes see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Gateway {
    pub(crate) namespace: Box<str>,
    pub(crate) name: Box<str>,
    /// Its own, then those of its ListenerSets.
    pub(crate) listeners: Vec<Listener>,
    /// The ListenerSets that name it.
    pub(crate) sets: Vec<Set>,
    /// It stands in front of Services; no route is attached to it.
    pub(crate) is_waypoint: bool,
}

/// A ListenerSet, as routes see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Set {
    pub(crate) namespace: Box<str>,
    pub(crate) name: Box<str>,
    /// Its listeners are among those of the Gateway.
    pub(crate) is_allowed: bool,
}

/// A listener, as routes see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Listener {
    pub(crate) name: String,
    /// Its ListenerSet, by place in [`Gateway::sets`]; `None`: the Gateway itself.
    pub(crate) set: Option<usize>,
    /// What proxies know it by; see [`ListenerDraft::section`].
    pub(crate) section: String,
    pub(crate) port: i32,
    pub(crate) hostname: Option<String>,
    pub(crate) is_passthrough: bool,
    pub(crate) kinds: Kinds,
    pub(crate) namespaces: Namespaces,
    /// Proxies are told to open it.
    pub(crate) is_live: bool,
    /// The SecurityPolicies about it.
    pub(crate) attached: Vec<Key>,
}

/// A Gateway being judged.
#[derive(Debug)]
pub(crate) struct Draft<'a> {
    pub(crate) object: &'a api::Gateway,
    /// Its own, then those of its ListenerSets.
    pub(crate) listeners: Vec<ListenerDraft<'a>>,
    /// The ListenerSets that name it, in order of precedence.
    pub(crate) sets: Vec<listener_set::Draft<'a>>,
    pub(crate) problems: Vec<Problem>,
    /// `namespace/name` of the Secret shown to backends.
    pub(crate) backend_certificate: Option<String>,
    /// What to add to the message of `Accepted`.
    pub(crate) notes: Vec<String>,
    /// The address its listeners bind; `None`: all.
    pub(crate) address: Option<IpAddr>,
    /// Where it can be reached.
    pub(crate) addresses: Vec<GatewayAddress>,
    /// It names an address of this host that cannot be bound: binding all instead would open what nobody
    /// asked for.
    pub(crate) is_unbindable: bool,
}

impl<'a> Draft<'a> {
    /// Listeners of the Gateway itself.
    pub(crate) fn own(&self) -> impl Iterator<Item = &ListenerDraft<'a>> {
        self.listeners.iter().filter(|listener| listener.set.is_none())
    }

    /// Whether proxies can be told anything of this Gateway.
    pub(crate) fn is_accepted(&self) -> bool {
        self.problems.iter().all(|p| p.condition != condition_type::ACCEPTED && p.condition != PENDING)
    }

    /// Whether proxies are told to open a listener.
    pub(crate) fn is_live(&self, listener: &ListenerDraft<'_>) -> bool {
        // One that is being deleted lets its Services go.
        let is_going = listener.is_capture() && self.object.metadata.deletion_timestamp.is_some();
        self.is_accepted() && !self.is_unbindable && listener.is_usable() && !is_going
    }
}

/// Judges every Gateway whose class is ours, oldest first.
pub(crate) fn draft<'a>(
    resources: &'a Resources,
    options: &Options,
    grants: &Grants<'_>,
    certificates: &mut Certificates,
) -> Vec<Draft<'a>> {
    let classes: FxHashMap<&str, Option<Problem>> = resources
        .gateway_classes
        .iter()
        .filter(|class| gateway_class::is_ours(class))
        .map(|class| (class.name(), gateway_class::problem(class, resources, options)))
        .collect();
    let sets = listener_set::by_parent(resources);
    let mut drafts = Vec::new();
    for object in &resources.gateways {
        let Some(class_problem) = classes.get(object.spec.gateway_class_name.as_str()) else { continue };
        let is_waypoint = parameters::role(object) == Role::Waypoint;
        let mut draft = Draft {
            object,
            listeners: object
                .spec
                .listeners
                .iter()
                .map(|spec| ListenerDraft::new(spec, is_waypoint))
                .collect(),
            sets: Vec::new(),
            problems: class_problem.iter().cloned().collect(),
            backend_certificate: None,
            notes: Vec::new(),
            address: None,
            addresses: Vec::new(),
            is_unbindable: false,
        };
        listener_set::attach(&mut draft, &sets, resources);
        certify(&mut draft, resources, grants, certificates);
        validate_clients(&mut draft, resources, grants);
        refuse_unsupported(&mut draft, resources, options);
        let provided = match options.shared_host {
            false if options.addresses.is_empty() => provisioned::addresses(object, &resources.services),
            _ => options.addresses.clone(),
        };
        if is_waypoint {
            refuse_addresses(&mut draft);
        } else {
            assign_addresses(&mut draft, options, &provided);
        }
        conflict::within_gateway(&mut draft.listeners);
        drafts.push(draft);
    }
    if options.shared_host {
        conflict::between_gateways(&mut drafts);
    }
    drafts
}

/// Finds the certificates of listeners that terminate TLS.
fn certify(
    draft: &mut Draft<'_>,
    resources: &Resources,
    grants: &Grants<'_>,
    certificates: &mut Certificates,
) {
    let gateway = (ObjectKind::Gateway, draft.object.namespace());
    for listener in draft.listeners.iter_mut().filter(|listener| listener.terminates_tls()) {
        let refs = listener.spec.tls.as_ref().and_then(|tls| tls.certificate_refs.as_deref());
        // Gateway API: "ReferenceGrants applied to a Gateway are not inherited by child ListenerSets".
        let from = listener.set.map_or(gateway, |set| (ObjectKind::ListenerSet, set.namespace()));
        let (names, problems) =
            certificates.resolve(from, refs.unwrap_or_default(), &resources.secrets, grants);
        listener.certificates = names;
        listener.problems.extend(problems);
    }
    let tls = draft.object.spec.tls.as_ref().and_then(|tls| tls.backend.as_ref());
    let Some(reference) = tls.and_then(|backend| backend.client_certificate_ref.as_ref()) else { return };
    let reference = CertificateRef {
        group: reference.group.clone(),
        kind: reference.kind.clone(),
        name: reference.name.clone(),
        namespace: reference.namespace.clone(),
    };
    match certificates.one(gateway, &reference, &resources.secrets, grants) {
        Ok(name) => draft.backend_certificate = Some(name),
        // Gateway API: "the `ResolvedRefs` condition on the Gateway MUST be set to False with the Reason
        // `InvalidClientCertificateRef`". Nothing is shown then: a backend that needs a certificate refuses.
        Err(problem) => {
            let reason = match problem.reason {
                reason::INVALID_CERTIFICATE_REF => reason::INVALID_CLIENT_CERTIFICATE_REF,
                other => other,
            };
            let problem = Problem { reason, ..problem.at("tls.backend.clientCertificateRef: ") };
            draft.problems.push(problem);
        }
    }
}

/// Finds what is asked of clients of HTTPS listeners, those of ListenerSets too: the Gateway decides for its ports.
fn validate_clients(draft: &mut Draft<'_>, resources: &Resources, grants: &Grants<'_>) {
    let validations = Validations::new(draft.object, resources, grants);
    let https = |listener: &&mut ListenerDraft<'_>| listener.protocol == Some(config::Protocol::Https);
    for listener in draft.listeners.iter_mut().filter(https) {
        let judged = validations.of_port(listener.spec.port);
        listener.client_validation.clone_from(&judged.validation);
        listener.problems.extend(judged.problems.iter().cloned());
    }
}

/// Fields of the Gateway that we cannot follow.
fn refuse_unsupported(draft: &mut Draft<'_>, resources: &Resources, options: &Options) {
    let spec = &draft.object.spec;
    if spec.listeners.is_empty() {
        draft
            .problems
            .push(Problem::accepted(reason::LISTENERS_NOT_VALID, "listeners: at least one is needed"));
    }
    let is_needed = !options.shared_host;
    if let Some(Err(problem)) = parameters::of_gateway(draft.object, &resources.fairway_proxies, is_needed) {
        draft.problems.push(problem);
    }
    if spec.default_scope == Some(gateway_api::experimental::gateways::GatewayDefaultScope::All) {
        draft.problems.push(Problem::accepted(
            reason::INVALID,
            "defaultScope: default Gateways are not supported: name the Gateway in each route's parentRefs",
        ));
    }
}

/// A waypoint has no address of its own: clients dial the Services behind it.
fn refuse_addresses(draft: &mut Draft<'_>) {
    if draft.object.spec.addresses.as_ref().is_some_and(|addresses| !addresses.is_empty()) {
        let message = "addresses: a waypoint is reached by the addresses of the Services it stands in front of: remove them";
        draft.problems.push(Problem::accepted(reason::UNSUPPORTED_ADDRESS, message));
    }
}

/// Decides where the Gateway can be reached. Gateway API: "the implementation MUST bind all Listeners to
/// every GatewayAddress that it assigns to the Gateway".
fn assign_addresses(draft: &mut Draft<'_>, options: &Options, provided: &[GatewayAddress]) {
    let mut unusable = |reason, message: String| {
        draft.problems.push(Problem::new(condition_type::PROGRAMMED, reason, message));
    };
    let requested = draft.object.spec.addresses.as_deref().unwrap_or_default();
    let mut refused = None;
    for (index, address) in requested.iter().enumerate() {
        let kind = address.r#type.as_deref().unwrap_or("IPAddress");
        let value = address.value.as_deref().unwrap_or_default();
        let place = format!("addresses[{index}]");
        if kind != "IPAddress" {
            refused = Some(format!("{place}.type: {kind:?} is not supported: use IPAddress"));
        } else if value.is_empty() {
            let assigned: Vec<_> = provided.iter().filter(|a| a.r#type == kind).cloned().collect();
            draft.addresses.extend(assigned);
        } else {
            let known = provided.iter().any(|a| a.r#type == kind && a.value == value);
            match value.parse::<IpAddr>() {
                Ok(ip) if options.shared_host && requested.len() == 1 => {
                    draft.address = Some(ip);
                    draft.addresses.push(GatewayAddress { r#type: kind.to_owned(), value: value.to_owned() });
                }
                Ok(_) if options.shared_host => unusable(
                    reason::ADDRESS_NOT_USABLE,
                    format!(
                        "{place}.value: one address can be bound, or all if none is named: name at most one"
                    ),
                ),
                Ok(_) if known => {
                    draft.addresses.push(GatewayAddress { r#type: kind.to_owned(), value: value.to_owned() });
                }
                Ok(_) => unusable(
                    reason::ADDRESS_NOT_USABLE,
                    format!("{place}.value: {value} is not an address of this environment: name one that is"),
                ),
                Err(_) => {
                    unusable(
                        reason::ADDRESS_NOT_USABLE,
                        format!("{place}.value: {value:?} is not an IP address"),
                    );
                }
            }
        }
    }
    if requested.is_empty() {
        draft.addresses = provided.to_vec();
    }
    if draft.addresses.is_empty() && draft.problems.iter().all(|p| p.condition != condition_type::PROGRAMMED)
    {
        draft.problems.push(Problem::new(
            condition_type::PROGRAMMED,
            reason::ADDRESS_NOT_ASSIGNED,
            "No address is assigned to the Gateway yet.",
        ));
    }
    draft.is_unbindable = options.shared_host && !requested.is_empty() && draft.addresses.is_empty();
    if let Some(message) = refused {
        draft.problems.push(Problem::accepted(reason::UNSUPPORTED_ADDRESS, message));
    }
}

/// What routes need to know of a Gateway.
pub(crate) fn context(draft: &Draft<'_>, attached: &AttachedPolicies) -> Gateway {
    let place = |set: &api::ListenerSet| draft.sets.iter().position(|s| std::ptr::eq(s.object, set));
    Gateway {
        namespace: draft.object.namespace().into(),
        name: draft.object.name().into(),
        is_waypoint: parameters::role(draft.object) == Role::Waypoint,
        listeners: draft
            .listeners
            .iter()
            .map(|listener| Listener {
                name: listener.spec.name.clone(),
                set: listener.set.and_then(place),
                section: listener.section(),
                port: listener.spec.port,
                hostname: listener.hostname.map(str::to_owned),
                is_passthrough: listener.is_passthrough,
                kinds: listener.kinds,
                namespaces: listener.namespaces.clone(),
                is_live: draft.is_live(listener),
                attached: policies(attached, draft, listener),
            })
            .collect(),
        sets: draft
            .sets
            .iter()
            .map(|set| Set {
                namespace: set.object.namespace().into(),
                name: set.object.name().into(),
                is_allowed: set.is_allowed,
            })
            .collect(),
    }
}

/// The policies about a listener.
fn policies(attached: &AttachedPolicies, draft: &Draft<'_>, listener: &ListenerDraft<'_>) -> Vec<Key> {
    let set = listener.set.map(|set| (set.namespace(), set.name()));
    let class = &draft.object.spec.gateway_class_name;
    attached.of_listener(class, (draft.object.namespace(), draft.object.name()), &listener.spec.name, set)
}

/// Ports that Gateways hold on the host they share with waypoints.
pub(crate) fn ports(drafts: &[Draft<'_>], options: &Options) -> FxHashSet<u16> {
    let listeners = drafts.iter().filter(|_| options.shared_host).flat_map(|draft| &draft.listeners);
    let listeners = listeners.filter(|listener| listener.transport() == Transport::Tcp);
    listeners.filter_map(|listener| u16::try_from(listener.spec.port).ok()).collect()
}

/// Writes the listeners proxies can open and the certificates they show.
pub(crate) fn resources(
    drafts: &[Draft<'_>],
    certificates: &Certificates,
    traffic: &Traffic<'_>,
    attached: &AttachedPolicies,
    out: &mut Output,
) {
    let mut shown = BTreeSet::new();
    for (gateway, draft) in drafts.iter().enumerate() {
        let listeners = draft.listeners.iter().enumerate();
        for (index, listener) in listeners.filter(|(_, listener)| draft.is_live(listener)) {
            let (Some(protocol), Ok(port)) = (listener.protocol, u16::try_from(listener.spec.port)) else {
                continue;
            };
            let name = format!("{}/{}", draft.object.name(), listener.section());
            shown.extend(&listener.certificates);
            shown.extend(&draft.backend_certificate);
            out.resource(
                Key::new(Kind::Listener, draft.object.namespace(), name),
                Resource::Listener(config::Listener {
                    address: draft.address,
                    port,
                    protocol,
                    hostname: listener.hostname.map(str::to_owned),
                    tls: listener.terminates_tls().then(|| ListenerTls {
                        certificates: listener.certificates.clone(),
                        client_validation: listener.client_validation.clone(),
                    }),
                    backend_certificate: draft.backend_certificate.clone(),
                    traffic: traffic.of(gateway, index),
                    attached: policies(attached, draft, listener),
                    scope: Scope::Gateway,
                }),
            );
        }
    }
    out.resources.extend(shown.into_iter().filter_map(|name| certificates.resource(name)));
}
