//! What runs and what is attached to what, in rows.

use serde::Serialize;

use super::check::{certificates, controller, proxies, routes};
use super::cluster::{Cluster, trouble};
use super::seen::{Said, Seen};
use crate::install::NAME;

/// See the module.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Overview {
    /// Pods of the controller.
    pub controllers: Vec<ControllerRow>,
    /// Gateways of our classes.
    pub gateways: Vec<GatewayRow>,
    /// One per route and parent.
    pub routes: Vec<RouteRow>,
}

/// A pod of the controller.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ControllerRow {
    /// Of the pod.
    pub namespace: String,
    /// Of the pod.
    pub name: String,
    /// Whether it serves proxies.
    pub ready: bool,
    /// Whether it is the one that writes.
    pub leader: bool,
    /// Of its image.
    pub version: String,
    /// Why it is not ready.
    pub problem: String,
}

/// A Gateway.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GatewayRow {
    /// Of the object.
    pub namespace: String,
    /// Of the object.
    pub name: String,
    /// Its GatewayClass.
    pub class: String,
    /// Where it is reached.
    pub addresses: Vec<String>,
    /// Listeners with those of ListenerSets.
    pub listeners: usize,
    /// Of these, such that proxies serve.
    pub listeners_ready: usize,
    /// Attached to its listeners and those of its ListenerSets.
    pub attached_routes: i64,
    /// `Programmed`: `True`, `False` or `Unknown`.
    pub programmed: String,
    /// Proxies it shall have.
    pub proxies: i64,
    /// Of these, such that serve.
    pub proxies_ready: i64,
    /// Of the proxies' images, each once.
    pub versions: Vec<String>,
    /// What is wrong.
    pub problem: String,
}

/// A route at one of its parents.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RouteRow {
    /// Of the object.
    pub namespace: String,
    /// Of the object.
    pub kind: String,
    /// Of the object.
    pub name: String,
    /// Host names, as they are written.
    pub hostnames: Vec<String>,
    /// The parent; a Gateway has no kind written before.
    pub parent: String,
    /// `True`, `False`, or `Unknown` when nothing is said.
    pub accepted: String,
    /// `ResolvedRefs`, likewise.
    pub resolved: String,
    /// What is wrong.
    pub problem: String,
}

/// Rows of a namespace, or of all. Controllers are always there.
#[must_use]
pub fn overview(cluster: &Cluster, namespace: Option<&str>) -> Overview {
    let is_asked = |object: &Seen<'_>| namespace.is_none_or(|namespace| object.namespace() == namespace);
    let gateways = cluster.gateways().into_iter().filter(is_asked);
    let routes = routes::ours(cluster, "/parents").into_iter().filter(is_asked);
    Overview {
        controllers: cluster.controllers().into_iter().map(|pod| controller_row(cluster, pod)).collect(),
        gateways: gateways.map(|gateway| gateway_row(cluster, gateway)).collect(),
        routes: routes.flat_map(rows_of_route).collect(),
    }
}

fn controller_row(cluster: &Cluster, pod: Seen<'_>) -> ControllerRow {
    let lease = cluster.get("Lease", &cluster.namespace, NAME);
    let leader = lease.map(|lease| controller::pod_of(lease.text("/spec/holderIdentity")));
    let problem = trouble(pod);
    ControllerRow {
        namespace: pod.namespace().to_owned(),
        name: pod.name().to_owned(),
        ready: problem.is_none(),
        leader: leader == Some(pod.name()),
        version: proxies::version_of(pod).unwrap_or_default().to_owned(),
        problem: problem.unwrap_or_default(),
    }
}

fn gateway_row(cluster: &Cluster, gateway: Seen<'_>) -> GatewayRow {
    let status = gateway.status();
    let deployment = cluster.deployment_of(gateway);
    let number = |pointer: &str| deployment.and_then(|it| it.number(pointer)).unwrap_or_default();
    let mut versions: Vec<String> =
        cluster.pods_of(gateway).into_iter().filter_map(proxies::version_of).map(str::to_owned).collect();
    versions.sort_unstable();
    versions.dedup();
    let sets = sets_of(cluster, gateway);
    let owners = || std::iter::once(gateway).chain(sets.iter().copied());
    let listeners: Vec<Seen<'_>> = owners().flat_map(|owner| owner.status().list("/listeners")).collect();
    let is_ready = |listener: &&Seen<'_>| listener.condition("Programmed").is_some_and(Said::is_true);
    let addresses = status.list("/addresses").map(|address| address.text("/value").to_owned());
    GatewayRow {
        namespace: gateway.namespace().to_owned(),
        name: gateway.name().to_owned(),
        class: gateway.text("/spec/gatewayClassName").to_owned(),
        addresses: addresses.collect(),
        listeners: owners().map(|owner| owner.list("/spec/listeners").count()).sum(),
        listeners_ready: listeners.iter().filter(is_ready).count(),
        attached_routes: listeners.iter().filter_map(|listener| listener.number("/attachedRoutes")).sum(),
        programmed: status_of(status, "Programmed"),
        proxies: number("/spec/replicas"),
        proxies_ready: number("/status/readyReplicas"),
        versions,
        problem: problems(gateway.parts().into_iter()),
    }
}

fn sets_of<'a>(cluster: &'a Cluster, gateway: Seen<'_>) -> Vec<Seen<'a>> {
    let mut sets = cluster.of("ListenerSet");
    sets.retain(|set| certificates::is_set_of(*set, gateway));
    sets
}

fn rows_of_route(route: Seen<'_>) -> Vec<RouteRow> {
    let hostnames = route.0.pointer("/spec/hostnames").and_then(serde_json::Value::as_array);
    let hostnames: Vec<String> =
        hostnames.into_iter().flatten().filter_map(serde_json::Value::as_str).map(str::to_owned).collect();
    let parents = route.status().list("/parents");
    parents
        .filter(|entry| entry.text("/controllerName") == crate::CONTROLLER_NAME)
        .map(|entry| RouteRow {
            namespace: route.namespace().to_owned(),
            kind: route.kind().to_owned(),
            name: route.name().to_owned(),
            hostnames: hostnames.clone(),
            parent: entry.reference("/parentRef"),
            accepted: status_of(entry, "Accepted"),
            resolved: status_of(entry, "ResolvedRefs"),
            problem: problems(std::iter::once((String::new(), entry))),
        })
        .collect()
}

fn status_of(part: Seen<'_>, r#type: &str) -> String {
    part.condition(r#type).map_or("Unknown", |said| said.status).to_owned()
}

/// What is wrong, each message once: an object often repeats what its parts say.
fn problems<'a>(parts: impl Iterator<Item = (String, Seen<'a>)>) -> String {
    let mut told: Vec<String> = Vec::new();
    for (part, status) in parts {
        for said in status.conditions().filter(|said| said.is_wrong()) {
            let place = if part.is_empty() { String::new() } else { format!("{part}: ") };
            if !told.iter().any(|old| old.ends_with(said.message)) {
                told.push(format!("{place}{}: {}", said.reason, said.message));
            }
        }
    }
    told.join("; ")
}
