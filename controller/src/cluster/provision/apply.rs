//! Applies what Gateways need, leader only, and says what the API server refuses.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use config::{Kind, Resource};
use futures::{StreamExt as _, stream};
use kube::Client;
use serde_json::Value;
use tokio::sync::watch;
use tokio::time::Instant;

use super::{Environment, GATEWAY_NAME, Port, Provision, handover, parameters_of, provision};
use crate::api::{Gateway, Service};
use crate::cluster::control::View;
use crate::cluster::leader::Leads;
use crate::cluster::metrics::{Metrics, Outcome};
use crate::cluster::write;
use crate::fairway_proxy::FairwayProxySpec;
use crate::provisioned;
use crate::resources::Named;
use crate::{ObjectKey, ObjectKind};

/// What was changed behind our back is set right this often at the latest.
const AGAIN: Duration = Duration::from_secs(300);
/// How long after a refusal it is tried again.
const RETRY: Duration = Duration::from_secs(5);
/// Gateways worked on at one time.
const AT_ONCE: usize = 8;

/// What the API server refused, by Gateway.
pub(crate) type Refusals = BTreeMap<ObjectKey, String>;

/// See the module.
pub(crate) struct Provisioner {
    pub(crate) client: Client,
    pub(crate) views: watch::Receiver<Option<Arc<View>>>,
    pub(crate) leads: watch::Receiver<Leads>,
    pub(crate) environment: watch::Receiver<Environment>,
    pub(crate) refusals: watch::Sender<Refusals>,
    pub(crate) metrics: Arc<Metrics>,
}

/// What a provision is made of.
#[derive(Clone)]
struct Inputs {
    gateway: Arc<Gateway>,
    parameters: FairwayProxySpec,
    ports: BTreeSet<Port>,
    environment: Environment,
}

impl Inputs {
    fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.gateway, &other.gateway)
            && self.ports == other.ports
            && self.parameters == other.parameters
            && self.environment == other.environment
    }
}

/// What was applied last for a Gateway.
struct Applied {
    inputs: Inputs,
    provision: Provision,
    /// Kinds of those that hold.
    done: BTreeSet<String>,
    again: Instant,
}

impl Provisioner {
    /// Works until the future is dropped.
    pub(crate) async fn run(mut self) {
        let mut applied: BTreeMap<ObjectKey, Applied> = BTreeMap::new();
        let mut next = Instant::now();
        // What the last round was made for.
        let mut then: Option<Arc<View>> = None;
        loop {
            tokio::select! {
                Ok(()) = self.views.changed() => {}
                Ok(()) = self.leads.changed() => then = None,
                Ok(()) = self.environment.changed() => then = None,
                () = tokio::time::sleep_until(next) => then = None,
            }
            if !self.leads.borrow_and_update().now() {
                next = Instant::now() + AGAIN;
                applied.clear();
                continue;
            }
            let Some(view) = self.views.borrow_and_update().clone() else { continue };
            if then.as_ref().is_some_and(|then| !differs(then, &view)) {
                then = Some(view);
                continue;
            }
            next = Instant::now() + AGAIN;
            let environment = self.environment.borrow_and_update().clone();
            self.round(&view, &environment, &mut applied).await;
            then = Some(view);
            next = applied.values().map(|applied| applied.again).min().unwrap_or(next);
        }
    }

    async fn round(
        &self,
        view: &View,
        environment: &Environment,
        applied: &mut BTreeMap<ObjectKey, Applied>,
    ) {
        let ports = ports(view);
        let now = Instant::now();
        let mut work = Vec::new();
        let mut here = BTreeSet::new();
        for gateway in &view.resources.gateways {
            let key = ObjectKey::new(ObjectKind::Gateway, gateway.namespace(), gateway.name());
            let of_gateway = ports.get(&(gateway.namespace(), gateway.name()));
            let Some(parameters) = parameters_of(gateway, &view.resources) else { continue };
            let inputs = Inputs {
                gateway: Arc::clone(gateway),
                parameters,
                ports: spec_ports(gateway).chain(of_gateway.into_iter().flatten().copied()).collect(),
                environment: environment.clone(),
            };
            here.insert(key.clone());
            let is_same_gateway =
                |old: &&mut Applied| old.inputs.gateway.metadata.uid == gateway.metadata.uid;
            let entry = applied.get_mut(&key).filter(|old| old.again > now).filter(is_same_gateway);
            if entry.as_ref().is_some_and(|old| old.inputs.is_same(&inputs)) {
                continue;
            }
            let wanted = provision(gateway, &inputs.parameters, &inputs.ports, environment);
            let todo = match entry {
                Some(old) if old.provision == wanted => {
                    old.inputs = inputs;
                    continue;
                }
                Some(old) => wanted.without(&old.provision, &old.done),
                None => wanted.clone(),
            };
            work.push((key, inputs, wanted, todo));
        }
        applied.retain(|key, _| here.contains(key));
        self.refusals.send_if_modified(|refusals| {
            let before = refusals.len();
            refusals.retain(|key, _| here.contains(key));
            refusals.len() != before
        });
        let mut running = stream::iter(work.into_iter().map(|(key, inputs, wanted, todo)| async move {
            let problem = self.apply(&key, &todo).await;
            (key, inputs, wanted, problem)
        }))
        .buffer_unordered(AT_ONCE);
        while let Some((key, inputs, provision, problem)) = running.next().await {
            let wait = if problem.is_some() {
                RETRY
            } else {
                AGAIN.mul_f64(0.8 + 0.4 * crate::cluster::random_unit())
            };
            self.tell(&key, problem.as_ref());
            let failed = problem.map(|(kind, _)| kind);
            let kinds = provision.objects.iter().map(kind_of).map(str::to_owned);
            // What comes after a refused object is not tried before it holds.
            let done = kinds.take_while(|kind| Some(kind) != failed.as_ref()).collect();
            applied.insert(key, Applied { inputs, provision, done, again: Instant::now() + wait });
        }
        self.abandoned(view).await;
    }

    /// Applies in order; returns the kind that was refused, and why.
    async fn apply(&self, key: &ObjectKey, todo: &Provision) -> Option<(String, String)> {
        for object in &todo.objects {
            let kind = kind_of(object);
            let done = match todo.fewest.filter(|_| kind == "Deployment") {
                Some(fewest) => handover::apply(&self.client, object, fewest).await,
                None => write::apply(&self.client, object).await,
            };
            self.count(kind, done.is_ok());
            match done {
                Ok(_) => tracing::debug!(gateway = %key, kind, "applied"),
                Err(error) => return Some((kind.to_owned(), write::message(&error))),
            }
        }
        for (kind, name) in &todo.absent {
            if let Err(error) =
                write::delete(&self.client, ("autoscaling/v2", kind), &key.namespace, name).await
            {
                return Some(((*kind).to_owned(), write::message(&error)));
            }
        }
        None
    }

    fn count(&self, kind: &str, is_done: bool) {
        const KINDS: [&str; 7] = [
            "ServiceAccount",
            "ConfigMap",
            "Service",
            "Deployment",
            "PodDisruptionBudget",
            "HorizontalPodAutoscaler",
            "RoleBinding",
        ];
        let kind = KINDS.into_iter().find(|known| *known == kind).unwrap_or("other");
        let outcome = if is_done { "done" } else { "refused" };
        self.metrics.applies.get_or_create(&Outcome { kind, outcome }).inc();
    }

    fn tell(&self, key: &ObjectKey, problem: Option<&(String, String)>) {
        let message = problem.map(|(kind, why)| format!("{kind} cannot be made: {why}"));
        self.refusals.send_if_modified(|refusals| {
            if refusals.get(key) == message.as_ref() {
                return false;
            }
            match &message {
                Some(message) => {
                    tracing::warn!(gateway = %key, problem = %message, "the API server refuses what a Gateway needs");
                    refusals.insert(key.clone(), message.clone());
                }
                None => drop(refusals.remove(key)),
            }
            true
        });
    }

    /// Removes what runs for Gateways that are another controller's now. Those that are gone are the garbage
    /// collector's.
    async fn abandoned(&self, view: &View) {
        for service in &view.resources.services {
            let is_made = service.label("app.kubernetes.io/managed-by") == Some("fairway.dev-controller")
                && service.label(GATEWAY_NAME).is_some();
            if !is_made {
                continue;
            }
            let of = view.resources.gateways.iter().find(|gateway| {
                gateway.namespace() == service.namespace()
                    && Some(provisioned::label_value(gateway).as_str()) == service.label(GATEWAY_NAME)
            });
            let Some(gateway) = of else { continue };
            let class = view.resources.gateway_classes.get("", &gateway.spec.gateway_class_name);
            let is_foreign = class.is_some_and(|class| class.spec.controller_name != crate::CONTROLLER_NAME);
            // Of another class of ours it has another name, and this one is left over too.
            if !is_foreign && provisioned::name(gateway) == service.name() {
                continue;
            }
            for (api_version, kind) in [
                ("autoscaling/v2", "HorizontalPodAutoscaler"),
                ("policy/v1", "PodDisruptionBudget"),
                ("apps/v1", "Deployment"),
                ("v1", "ConfigMap"),
                ("v1", "ServiceAccount"),
                ("v1", "Service"),
            ] {
                let done =
                    write::delete(&self.client, (api_version, kind), service.namespace(), service.name())
                        .await;
                if let Err(error) = done {
                    tracing::warn!(kind, name = service.name(), %error, "what runs for a Gateway that is no longer ours stays");
                }
            }
        }
    }
}

/// Whether anything changed that a round looks at. Most changes are of routes and endpoints.
fn differs(then: &View, now: &View) -> bool {
    let (old, new) = (&then.resources, &now.resources);
    let is_made =
        |service: Option<&Arc<Service>>| service.is_some_and(|service| service.label(GATEWAY_NAME).is_some());
    let listeners = |(key, ..): (&config::Key, _, _)| key.kind == Kind::Listener;
    old.gateways.changes(&new.gateways).next().is_some()
        || old.gateway_classes.changes(&new.gateway_classes).next().is_some()
        || old.fairway_proxies.changes(&new.fairway_proxies).next().is_some()
        || old.services.changes(&new.services).any(|(old, new)| is_made(old) || is_made(new))
        || then.translation.resources.changes(&now.translation.resources).any(listeners)
}

impl Provision {
    /// Without what is known to hold.
    fn without(&self, old: &Self, done: &BTreeSet<String>) -> Self {
        let holds = |object: &&Value| !(done.contains(kind_of(object)) && old.objects.contains(object));
        let objects = self.objects.iter().filter(holds).cloned().collect();
        Self { objects, absent: self.absent.clone(), fewest: self.fewest }
    }
}

fn kind_of(object: &Value) -> &str {
    object.get("kind").and_then(Value::as_str).unwrap_or_default()
}

/// Ports of the listeners that proxies are told to open, by Gateway.
fn ports(view: &View) -> BTreeMap<(&str, &str), BTreeSet<Port>> {
    let mut ports: BTreeMap<_, BTreeSet<Port>> = BTreeMap::new();
    let from = config::Key::new(Kind::Listener, "", "");
    let listeners =
        view.translation.resources.range(from..).take_while(|(key, _)| key.kind == Kind::Listener);
    for (key, resource) in listeners {
        let (Resource::Listener(listener), Some((gateway, _))) = (&**resource, key.name.split_once('/'))
        else {
            continue;
        };
        let protocol = match listener.protocol {
            config::Protocol::Http
            | config::Protocol::Https
            | config::Protocol::Tls
            | config::Protocol::Tcp => "TCP",
            config::Protocol::Udp => "UDP",
        };
        ports.entry((key.namespace.as_str(), gateway)).or_default().insert((listener.port, protocol));
    }
    ports
}

/// Ports that a Gateway asks for, served yet or not: the Service shall not wait for a certificate.
pub(super) fn spec_ports(gateway: &Gateway) -> impl Iterator<Item = Port> {
    gateway.spec.listeners.iter().filter_map(|listener| {
        let protocol = match listener.protocol.as_str() {
            "HTTP" | "HTTPS" | "TLS" | "TCP" => "TCP",
            "UDP" => "UDP",
            _ => return None,
        };
        Some((u16::try_from(listener.port).ok()?, protocol))
    })
}
