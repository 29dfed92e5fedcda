//! The controller: does it run, and does one of its replicas lead?

use super::count;
use crate::inspect::cluster::{Cluster, tag, trouble};
use crate::inspect::report::Section;
use crate::inspect::seen::Seen;
use crate::install::NAME;

/// Of this `fairway`.
const VERSION: &str = env!("CARGO_PKG_VERSION");

pub(super) fn controller(cluster: &Cluster) -> Section {
    let mut section = Section::new("controller");
    let own = cluster.namespace.as_str();
    let Some(deployment) = cluster.get("Deployment", own, NAME) else {
        section.error(
            "controller-deployment",
            format!("there is no Deployment {NAME} in namespace {own}"),
            "fairway install | kubectl apply --server-side -f -, or say where it is with --controller-namespace",
        );
        return section;
    };
    available(&mut section, cluster, deployment);
    version(&mut section, deployment);
    leader(&mut section, cluster);
    section
}

fn available(section: &mut Section, cluster: &Cluster, deployment: Seen<'_>) {
    let wanted = deployment.number("/spec/replicas").unwrap_or(1);
    let available = deployment.number("/status/availableReplicas").unwrap_or(0);
    let message = format!("{available} of {} available", count(count_of(wanted), "controller"));
    let own = &cluster.namespace;
    let remedy =
        format!("see kubectl -n {own} describe pods -l app.kubernetes.io/name={NAME}, and their logs");
    if available >= wanted && wanted > 0 {
        section.ok("controller-deployment", message);
    } else if available > 0 {
        section.warning("controller-deployment", message, remedy.clone());
    } else {
        section.error("controller-deployment", message, remedy.clone());
    }
    for pod in cluster.controllers() {
        if let Some(trouble) = trouble(pod) {
            let message = format!("Pod {} is not ready: {trouble}", pod.place());
            section.warning("controller-pods", message, remedy.clone());
        }
    }
}

pub(super) fn count_of(n: i64) -> usize {
    usize::try_from(n).unwrap_or_default()
}

fn version(section: &mut Section, deployment: Seen<'_>) {
    let image = deployment.list("/spec/template/spec/containers").next().map(|first| first.text("/image"));
    let image = image.unwrap_or_default();
    match tag(image) {
        Some(tag) if tag == VERSION || tag.strip_prefix('v') == Some(VERSION) => {
            section.ok("controller-version", format!("it is of the version of this command, {VERSION}"));
        }
        Some(tag) => section.warning(
            "controller-version",
            format!(
                "it is of version {tag}, this command of {VERSION}: what follows is judged by the latter"
            ),
            "use the fairway command of the version that is installed, or update the installation",
        ),
        None => section.ok("controller-version", format!("its image {image} says no version")),
    }
}

fn leader(section: &mut Section, cluster: &Cluster) {
    let own = cluster.namespace.as_str();
    let remedy = format!("see the controllers' logs: kubectl -n {own} logs -l app.kubernetes.io/name={NAME}");
    let lease = cluster.get("Lease", own, NAME);
    let holder = lease.map(|lease| lease.text("/spec/holderIdentity")).unwrap_or_default();
    let Some(lease) = lease.filter(|_| !holder.is_empty()) else {
        let message =
            "no controller leads: proxies serve on, but nothing is written, and new Gateways get none";
        section.error("leader", message, remedy);
        return;
    };
    let pod = pod_of(holder);
    let promise = lease.number("/spec/leaseDurationSeconds").unwrap_or(15);
    let renewed = lease.text("/spec/renewTime").parse::<k8s_openapi::jiff::Timestamp>();
    let age = renewed.map(|renewed| cluster.now - renewed.as_second()).unwrap_or(i64::MAX);
    // Twice, because clocks differ.
    if age > promise.saturating_mul(2) {
        let message =
            format!("{pod} led, but has not renewed its Lease for {age} s, {promise} s being its promise");
        section.error("leader", message, remedy);
    } else if cluster.controllers().iter().any(|controller| controller.name() == pod) {
        section.ok("leader", format!("{pod} leads"));
    } else {
        let message = format!("{pod} leads, and is none of the Deployment's pods");
        section.warning("leader", message, "end the controller that runs outside the Deployment");
    }
}

/// The pod in the name of a candidate: `POD_RANDOM`.
pub(in crate::inspect) fn pod_of(holder: &str) -> &str {
    holder.rsplit_once('_').map_or(holder, |(pod, _)| pod)
}
