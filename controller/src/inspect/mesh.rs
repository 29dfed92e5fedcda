//! Captured Services as a cluster shows them: where each is, and whether clients really reach its waypoint.

use serde::Serialize;
use serde_json::Value;

use super::cluster::Cluster;
use super::seen::Seen;
use crate::status::condition_type::WAYPOINT_BOUND;
use crate::translate::{
    CAPTURED, DIRECT, FAILURE_MODE, MANAGED_BY, OWN_MANAGER, SERVICE_NAME, SHADOW_OF, WAYPOINT,
};

/// A Service that a waypoint has to do with.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MeshRow {
    /// Of the Service.
    pub namespace: String,
    /// Of the Service.
    pub name: String,
    /// The Gateway clients are led to, as `namespace/name`; empty: to none.
    pub waypoint: String,
    /// It is marked as captured: Kubernetes' own EndpointSlices step aside.
    pub is_captured: bool,
    /// `True`, `False` or `Unknown` of `fairway.dev/WaypointBound`; empty: nothing is said.
    pub bound: String,
    /// Its reason.
    pub reason: String,
    /// Its message.
    pub message: String,
    /// `open` or `closed`; empty while it is not captured.
    pub failure_mode: String,
    /// Endpoints of the waypoint that clients are led to.
    pub waypoint_endpoints: usize,
    /// Ready pods behind it.
    pub pods: usize,
    /// What is not as it shall be.
    pub problems: Vec<String>,
}

/// Every Service that is captured, was, or is said something of, in order of namespace and name.
#[must_use]
pub fn mesh(cluster: &Cluster, namespace: Option<&str>) -> Vec<MeshRow> {
    let slices = cluster.of("EndpointSlice");
    let services = cluster.of("Service");
    let of = |service: &Seen<'_>| -> Option<MeshRow> {
        if !service.label(SHADOW_OF).is_empty()
            || namespace.is_some_and(|wanted| wanted != service.namespace())
        {
            return None;
        }
        let is_of = |slice: &&Seen<'_>, name: &str| {
            slice.namespace() == service.namespace() && slice.label(SERVICE_NAME) == name
        };
        let all: Vec<&Seen<'_>> = slices.iter().filter(|slice| is_of(slice, service.name())).collect();
        let (own, theirs): (Vec<&Seen<'_>>, Vec<&Seen<'_>>) =
            all.into_iter().partition(|slice| slice.label(MANAGED_BY) == OWN_MANAGER);
        let bound = service.status().condition(WAYPOINT_BOUND);
        if bound.is_none() && own.is_empty() && service.label(CAPTURED).is_empty() {
            return None;
        }
        let shadow = services.iter().find(|shadow| {
            shadow.namespace() == service.namespace() && shadow.label(SHADOW_OF) == service.name()
        });
        let behind: Vec<&Seen<'_>> = match shadow {
            Some(shadow) => slices.iter().filter(|slice| is_of(slice, shadow.name())).collect(),
            None => theirs.clone(),
        };
        let led: Vec<&Seen<'_>> = own.into_iter().filter(|slice| slice.label(DIRECT).is_empty()).collect();
        let row = MeshRow {
            namespace: service.namespace().to_owned(),
            name: service.name().to_owned(),
            waypoint: led.first().map_or("", |slice| slice.annotation(WAYPOINT)).to_owned(),
            is_captured: !service.label(CAPTURED).is_empty(),
            bound: bound.map_or("", |bound| bound.status).to_owned(),
            reason: bound.map_or("", |bound| bound.reason).to_owned(),
            message: bound.map_or("", |bound| bound.message).to_owned(),
            failure_mode: service.label(FAILURE_MODE).to_owned(),
            waypoint_endpoints: ready(&led),
            pods: ready(&behind),
            problems: problems(*service, &theirs, &led, shadow.is_some()),
        };
        Some(row)
    };
    services.iter().filter_map(of).collect()
}

/// Endpoints that clients are led to, each address once.
fn ready(slices: &[&Seen<'_>]) -> usize {
    let endpoints = slices.iter().flat_map(|slice| slice.list("/endpoints"));
    let is_ready = |endpoint: &Seen<'_>| {
        endpoint.0.pointer("/conditions/ready").and_then(Value::as_bool).unwrap_or(true)
    };
    let ready = endpoints.filter(is_ready);
    ready.map(|endpoint| endpoint.text("/addresses/0")).collect::<std::collections::BTreeSet<_>>().len()
}

/// What keeps clients of a captured Service from its waypoint, or leads those of another there.
fn problems(service: Seen<'_>, theirs: &[&Seen<'_>], led: &[&Seen<'_>], has_shadow: bool) -> Vec<String> {
    let mut problems = Vec::new();
    if service.label(CAPTURED).is_empty() {
        return problems;
    }
    let around = ready(theirs);
    if around > 0 {
        problems.push(format!(
            "{around} pods are reached around the waypoint: is MutatingAdmissionPolicy fairway-capture there?"
        ));
    }
    if !has_shadow {
        problems.push("its headless Service is gone: the waypoint knows no endpoints".to_owned());
    }
    if ready(led) == 0 {
        let what = if service.label(FAILURE_MODE) == "open" {
            "clients reach the pods, and nothing is enforced"
        } else {
            "clients reach nothing"
        };
        problems.push(format!("no pod of the waypoint is ready: {what}"));
    }
    let has =
        |name: &str| led.iter().flat_map(|slice| slice.list("/ports")).any(|port| port.text("/name") == name);
    for port in service.list("/spec/ports") {
        let is_tcp = matches!(port.text("/protocol"), "" | "TCP");
        if is_tcp && !has(port.text("/name")) {
            let number = port.number("/port").unwrap_or_default();
            problems.push(format!("port {number} leads nowhere"));
        }
    }
    problems
}
