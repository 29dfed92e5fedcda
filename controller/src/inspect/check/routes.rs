//! Routes, policies and Rollouts: are they accepted, and do their references hold?

use super::count;
use super::gateways::judge;
use crate::CONTROLLER_NAME;
use crate::inspect::cluster::Cluster;
use crate::inspect::report::Section;
use crate::inspect::seen::Seen;

pub(super) fn routes(cluster: &Cluster) -> Section {
    let mut section = Section::new("routes");
    let routes = ours(cluster, "/parents");
    for route in &routes {
        judge(&mut section, "routes", *route, |said| said.r#type == "Accepted");
    }
    for route in cluster.of_group("gateway.networking.k8s.io") {
        if let Some(gateway) = unanswered(cluster, route) {
            section.warning(
                "routes",
                format!("{}: nothing is said about its parent Gateway {gateway}", route.called()),
                "wait a moment; if it stays so, its kind is not served, or see the section controller",
            );
        }
    }
    if section.is_fine() {
        section.ok("routes", format!("{} accepted, with all references", count(routes.len(), "route")));
    }
    section
}

pub(super) fn policies(cluster: &Cluster) -> Section {
    let mut section = Section::new("policies");
    let policies = ours(cluster, "/ancestors");
    for policy in &policies {
        judge(&mut section, "policies", *policy, |said| said.r#type == "Accepted");
    }
    let rollouts = cluster.of_group("fairway.dev").into_iter().filter(|object| object.kind() == "Rollout");
    for rollout in rollouts {
        judge(&mut section, "policies", rollout, |said| said.r#type == "Accepted");
        if rollout.status().text("/phase") == "RolledBack" {
            let why = rollout.status().condition("Progressing").map_or("", |said| said.message);
            let remedy = "mend the new version, then write another spec.revision";
            section.warning("policies", format!("{} was rolled back: {why}", rollout.called()), remedy);
        }
    }
    if section.is_fine() {
        section.ok("policies", format!("{} accepted", count(policies.len(), "policy")));
    }
    section
}

/// Objects whose status has an entry of ours in this list.
pub(in crate::inspect) fn ours<'a>(cluster: &'a Cluster, list: &str) -> Vec<Seen<'a>> {
    let groups = ["fairway.dev", "gateway.networking.k8s.io"];
    let mut all: Vec<Seen<'a>> = groups.iter().flat_map(|group| cluster.of_group(group)).collect();
    all.retain(|object| {
        object.status().list(list).any(|entry| entry.text("/controllerName") == CONTROLLER_NAME)
    });
    all
}

/// A Gateway of ours among the parents of a route, about which no entry of ours is in its status.
fn unanswered(cluster: &Cluster, route: Seen<'_>) -> Option<String> {
    let gateways = cluster.gateways();
    let place = |of: Seen<'_>, at: &str| {
        let text = |field: &str| of.text(&format!("{at}/{field}"));
        let is_gateway = matches!(text("kind"), "" | "Gateway");
        let namespace = if text("namespace").is_empty() { route.namespace() } else { text("namespace") };
        is_gateway.then(|| (namespace.to_owned(), text("name").to_owned()))
    };
    let answered: Vec<_> = route
        .status()
        .list("/parents")
        .filter(|entry| entry.text("/controllerName") == CONTROLLER_NAME)
        .filter_map(|entry| place(entry, "/parentRef"))
        .collect();
    route.list("/spec/parentRefs").filter_map(|parent| place(parent, "")).find_map(|(namespace, name)| {
        let is_ours =
            gateways.iter().any(|gateway| gateway.namespace() == namespace && gateway.name() == name);
        let is_answered = answered.contains(&(namespace.clone(), name.clone()));
        (is_ours && !is_answered).then(|| format!("{namespace}/{name}"))
    })
}
