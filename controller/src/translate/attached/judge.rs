//! One policy alone: what it is about, what it says, and whether that can be followed.

use std::sync::Arc;

use config::{Attached, Key, Material, Resource, SecuritySet, TrafficSet};
use policies::{BackendRef, Layer, Lookup, ObjectKind as Object, ObjectRef, Parts, Upstream};
use serde_json::{Map, Value};

use super::{Policy, Target};
use crate::ObjectKey;
use crate::api::{ConfigMap, Secret, Service};
use crate::attached_policy::{Spec, TargetRef};
use crate::resources::{ObjectKind, Resources};
use crate::status::{Problem, reason};
use crate::translate::filter::Granted;
use crate::translate::reference_grant::{GATEWAY_GROUP, Grants};
use crate::translate::service_port::{Transport, find_port};

/// A policy, judged.
#[derive(Debug)]
pub(super) struct Judged {
    pub(super) policy: Policy,
    pub(super) key: Key,
    pub(super) targets: Vec<Target>,
    pub(super) problems: Vec<Problem>,
    /// As proxies get it: what it says, or why that cannot be followed.
    pub(super) resource: Arc<Resource>,
    /// Secrets and ConfigMaps it needs.
    pub(super) objects: Vec<ObjectRef>,
    /// Backends it sends requests to.
    pub(super) backends: Vec<BackendRef>,
    /// What whoever wrote it should know.
    pub(super) notes: Vec<String>,
    inputs: Vec<Input>,
}

/// An object that a policy was judged by.
#[derive(Debug, Clone)]
enum Input {
    Secret(ObjectRef, Option<Arc<Secret>>),
    ConfigMap(ObjectRef, Option<Arc<ConfigMap>>),
    Service(BackendRef, Option<Arc<Service>>),
}

impl Input {
    /// Whether it is the same object still.
    fn is_current(&self, now: &Resources) -> bool {
        fn same<T>(a: Option<&Arc<T>>, b: Option<&Arc<T>>) -> bool {
            a.map(Arc::as_ptr) == b.map(Arc::as_ptr)
        }
        match self {
            Self::Secret(at, then) => same(then.as_ref(), now.secrets.get(&at.namespace, &at.name)),
            Self::ConfigMap(at, then) => same(then.as_ref(), now.config_maps.get(&at.namespace, &at.name)),
            Self::Service(at, then) => same(then.as_ref(), now.services.get(&at.namespace, &at.name)),
        }
    }
}

impl Judged {
    /// Whether judging it again would come to the same.
    pub(super) fn is_current(&self, policy: &Policy, now: &Resources) -> bool {
        self.policy.is(policy) && self.inputs.iter().all(|input| input.is_current(now))
    }
}

/// What a reference is to; `None`: nothing that a policy can be about. A GatewayClass is everybody's, so that only
/// `installation`, the controller's own namespace, may say what its Gateways are held to.
pub(super) fn target(policy: &Policy, reference: &TargetRef, installation: &str) -> Option<Target> {
    let namespace = policy.namespace();
    let kind = match (reference.group.as_str(), reference.kind.as_str()) {
        (GATEWAY_GROUP, "GatewayClass") if namespace == installation => ObjectKind::GatewayClass,
        (GATEWAY_GROUP, "Gateway") => ObjectKind::Gateway,
        (GATEWAY_GROUP, "ListenerSet") => ObjectKind::ListenerSet,
        (GATEWAY_GROUP, "HTTPRoute") => ObjectKind::HttpRoute,
        (GATEWAY_GROUP, "GRPCRoute") => ObjectKind::GrpcRoute,
        ("", "Service") => ObjectKind::Service,
        ("", "Namespace") if reference.name == namespace => ObjectKind::Namespace,
        _ => return None,
    };
    let is_cluster_wide = matches!(kind, ObjectKind::GatewayClass | ObjectKind::Namespace);
    let namespace = if is_cluster_wide { "" } else { namespace };
    // It has none, and a policy that says so is about all of it: it refuses.
    let section =
        reference.section_name.as_deref().filter(|section| !section.is_empty() && has_sections(kind));
    Some(Target {
        object: ObjectKey::new(kind, namespace, &*reference.name),
        section: section.map(Into::into),
    })
}

const fn has_sections(kind: ObjectKind) -> bool {
    !matches!(kind, ObjectKind::GatewayClass | ObjectKind::Service | ObjectKind::Namespace)
}

pub(super) fn judge(policy: Policy, key: Key, now: &Resources, installation: &str) -> Judged {
    match policy {
        Policy::Security(_) => {
            judge_as::<SecuritySet>(policy, key, (now, installation), Resource::SecurityPolicy)
        }
        Policy::Traffic(_) => {
            judge_as::<TrafficSet>(policy, key, (now, installation), Resource::BackendTrafficPolicy)
        }
    }
}

fn judge_as<S: Parts>(
    policy: Policy,
    key: Key,
    (now, installation): (&Resources, &str),
    resource: impl Fn(Box<Attached<S>>) -> Resource,
) -> Judged {
    let namespace = policy.namespace();
    let mut problems = Vec::new();
    let targets = targets(&policy, installation, &mut problems);
    let layer: Layer<S> = layer(&policy.spec(), &mut problems);
    problems.extend(policy.spec().does_not_load.map(|why| Problem::accepted(reason::INVALID, why)));
    let (mut objects, mut backends, mut inputs) = (Vec::new(), Vec::new(), Vec::new());
    for set in [&layer.defaults, &layer.overrides] {
        objects.extend(set.objects().into_iter().map(|object| object.within(namespace)));
        backends.extend(set.backends().into_iter().map(|backend| backend.within(namespace)));
    }
    let grants = Grants::new(&now.reference_grants);
    for object in &objects {
        let (input, problem) = look_up((policy.kind(), namespace), object, now, &grants);
        inputs.push(input);
        problems.extend(problem);
    }
    for backend in &backends {
        let service = now.services.get(&backend.namespace, &backend.name);
        inputs.push(Input::Service(backend.clone(), service.cloned()));
        problems.extend(reach((policy.kind(), namespace), backend, service, &grants));
    }
    if problems.is_empty() {
        let known = Known { namespace, now };
        for (place, set) in [("", &layer.defaults), ("overrides.", &layer.overrides)] {
            if let Err((part, invalid)) = set.compile(&known) {
                problems.push(Problem::accepted(reason::INVALID, format!("{place}{}", invalid.of(part))));
            }
        }
    }
    let notes = [&layer.defaults, &layer.overrides].into_iter().flat_map(S::notes).collect();
    let published = match problems.first() {
        None => {
            let Layer { defaults, overrides } = layer;
            Attached { defaults, overrides, invalid: None }
        }
        Some(_) => {
            (objects, backends) = Default::default();
            let messages: Vec<&str> = problems.iter().map(|problem| problem.message.as_str()).collect();
            Attached::invalid(messages.join("; "))
        }
    };
    let resource = Arc::new(resource(Box::new(published)));
    Judged { policy, key, targets, problems, resource, objects, backends, notes, inputs }
}

fn targets(policy: &Policy, installation: &str, problems: &mut Vec<Problem>) -> Vec<Target> {
    let spec = policy.spec();
    if spec.target_ref.is_some() && !spec.target_refs.is_empty() {
        let message = "targetRef: goes without targetRefs: write one of them";
        problems.push(Problem::accepted(reason::INVALID, message));
    }
    let mut targets = Vec::new();
    for reference in spec.targets() {
        if let Some(target) = target(policy, reference, installation) {
            if !has_sections(target.object.kind) && reference.section_name.is_some() {
                let (kind, name) = (&reference.kind, &reference.name);
                let message = format!("targetRefs: {kind} {name}: has no sections: remove sectionName");
                problems.push(Problem::accepted(reason::INVALID, message));
            }
            if !targets.contains(&target) {
                targets.push(target);
            }
            continue;
        }
        let message = match (reference.group.as_str(), reference.kind.as_str()) {
            ("", "Namespace") if reference.name != policy.namespace() => {
                format!(
                    "targetRefs: Namespace {}: a policy can be about its own namespace only",
                    reference.name
                )
            }
            (GATEWAY_GROUP, "GatewayClass") => format!(
                "targetRefs: GatewayClass {}: it is everybody's, and only policies of the controller's namespace, \
                 {installation}, can be about one: name Gateways of namespace {}",
                reference.name,
                policy.namespace()
            ),
            (group, kind) => format!(
                "targetRefs: kind {kind} of group {group:?} is not supported: name a GatewayClass, Gateway, ListenerSet, \
                 HTTPRoute or GRPCRoute of group {GATEWAY_GROUP}, or a Service or Namespace of group \"\""
            ),
        };
        problems.push(Problem::accepted(reason::INVALID, message));
    }
    targets
}

/// What it says.
fn layer<S: Parts>(spec: &Spec<'_>, problems: &mut Vec<Problem>) -> Layer<S> {
    let defaults = match spec.defaults {
        Some(_) if !spec.parts.is_empty() => {
            let part = spec.parts.keys().next().map_or("", String::as_str);
            let message = format!("{part}: parts beside targetRefs are defaults: move it into defaults");
            problems.push(Problem::accepted(reason::INVALID, message));
            S::default()
        }
        Some(defaults) => read(spec, defaults, "defaults.", problems),
        None => read(spec, spec.parts, "", problems),
    };
    let overrides = spec.overrides.map(|overrides| read(spec, overrides, "overrides.", problems));
    Layer { defaults, overrides: overrides.unwrap_or_default() }
}

/// Secrets and ConfigMaps that a policy names, whether or not it can be followed.
pub(crate) fn objects(policy: &Policy) -> Vec<ObjectRef> {
    fn of<S: Parts>(policy: &Policy) -> Vec<ObjectRef> {
        let Layer { defaults, overrides }: Layer<S> = layer(&policy.spec(), &mut Vec::new());
        let named = [&defaults, &overrides].into_iter().flat_map(S::objects);
        named.map(|object| object.within(policy.namespace())).collect()
    }
    match policy {
        Policy::Security(_) => of::<SecuritySet>(policy),
        Policy::Traffic(_) => of::<TrafficSet>(policy),
    }
}

/// Reads each part for itself, so that what is wrong is said with its name.
fn read<S: Parts>(
    spec: &Spec<'_>,
    parts: &Map<String, Value>,
    place: &str,
    problems: &mut Vec<Problem>,
) -> S {
    let mut good = Map::new();
    for (name, value) in parts.iter().filter(|(_, value)| !value.is_null()) {
        let one = Map::from_iter([(name.clone(), value.clone())]);
        let remedy = spec.refused.iter().find(|(refused, _)| refused == name).map(|(_, remedy)| *remedy);
        match (remedy, serde_json::from_value::<S>(Value::Object(one))) {
            (Some(remedy), _) => problems.push(Problem::unsupported(format!("{place}{name}: {remedy}"))),
            (None, Ok(_)) => drop(good.insert(name.clone(), value.clone())),
            (None, Err(error)) => {
                problems.push(Problem::accepted(reason::INVALID, format!("{place}{name}: {error}")));
            }
        }
    }
    // It cannot fail: each part was read.
    serde_json::from_value(Value::Object(good)).unwrap_or_default()
}

fn look_up(
    from: (ObjectKind, &str),
    object: &ObjectRef,
    now: &Resources,
    grants: &Grants<'_>,
) -> (Input, Option<Problem>) {
    let (at, name) = (object.namespace.as_str(), object.name.as_str());
    let (kind, input, is_there) = match object.kind {
        Object::Secret => {
            let secret = now.secrets.get(at, name).cloned();
            let is_there = secret.is_some();
            (ObjectKind::Secret, Input::Secret(object.clone(), secret), is_there)
        }
        Object::ConfigMap => {
            let config_map = now.config_maps.get(at, name).cloned();
            let is_there = config_map.is_some();
            (ObjectKind::ConfigMap, Input::ConfigMap(object.clone(), config_map), is_there)
        }
    };
    let to = (kind, at, name);
    let problem = if !grants.allow(from, to) {
        Some(Problem::accepted(reason::REF_NOT_PERMITTED, Grants::remedy(from, to)))
    } else if is_there {
        None
    } else {
        Some(Problem::accepted(reason::INVALID, format!("{} {at}/{name} does not exist", kind.as_str())))
    };
    (input, problem)
}

fn reach(
    from: (ObjectKind, &str),
    backend: &BackendRef,
    service: Option<&Arc<Service>>,
    grants: &Grants<'_>,
) -> Option<Problem> {
    let BackendRef { namespace: at, name, port } = backend;
    let to = (ObjectKind::Service, at.as_str(), name.as_str());
    if !grants.allow(from, to) {
        return Some(Problem::accepted(reason::REF_NOT_PERMITTED, Grants::remedy(from, to)));
    }
    let missing = match service.map(|service| find_port(service, *port, Transport::Tcp)) {
        None => format!("Service {at}/{name} does not exist"),
        Some(None) => format!("Service {at}/{name} has no port {port}"),
        Some(Some(_)) => return None,
    };
    Some(Problem::accepted(reason::BACKEND_NOT_FOUND, missing))
}

/// What is in an object, for proxies.
pub(super) fn material(object: &ObjectRef, now: &Resources) -> Option<Material> {
    let (at, name) = (object.namespace.as_str(), object.name.as_str());
    match object.kind {
        Object::Secret => {
            let secret = now.secrets.get(at, name)?;
            let data = secret.data.iter().flatten().map(|(key, value)| (key.as_str(), value.0.as_slice()));
            // As the API server reads it: of two with one key this one.
            let text = secret.string_data.iter().flatten().map(|(key, text)| (key.as_str(), text.as_bytes()));
            Some(Material::new(data.chain(text)))
        }
        Object::ConfigMap => {
            let config_map = now.config_maps.get(at, name)?;
            let data = config_map.data.iter().flatten().map(|(key, text)| (key.as_str(), text.as_bytes()));
            let binary = config_map.binary_data.iter().flatten();
            Some(Material::new(data.chain(binary.map(|(key, value)| (key.as_str(), value.0.as_slice())))))
        }
    }
}

/// What a policy finds while it is judged: objects as they are, and every backend, which were looked at before.
struct Known<'a> {
    namespace: &'a str,
    now: &'a Resources,
}

impl Lookup for Known<'_> {
    fn backend(&self, backend: &BackendRef) -> Option<Arc<dyn Upstream>> {
        Granted.backend(&backend.within(self.namespace))
    }

    fn material(&self, object: &ObjectRef) -> Option<Arc<policies::Material>> {
        material(&object.within(self.namespace), self.now)?.decode().ok().map(Arc::new)
    }
}

#[cfg(test)]
mod tests;
