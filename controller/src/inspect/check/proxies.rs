//! What runs for each Gateway.

use std::collections::BTreeSet;

use super::controller::count_of;
use super::count;
use crate::inspect::cluster::{Cluster, tag, trouble};
use crate::inspect::report::Section;
use crate::inspect::seen::Seen;
use crate::install::NAME;

pub(super) fn proxies(cluster: &Cluster) -> Section {
    let mut section = Section::new("proxies");
    let mut ready = 0;
    let gateways = cluster.gateways();
    for gateway in &gateways {
        ready += of(&mut section, cluster, *gateway);
    }
    if section.is_fine() {
        let message = match gateways.len() {
            0 => "none is needed".to_owned(),
            n => format!("{} ready for {}", count(ready, "proxy"), count(n, "Gateway")),
        };
        section.ok("proxies", message);
    }
    section
}

/// How many are ready.
fn of(section: &mut Section, cluster: &Cluster, gateway: Seen<'_>) -> usize {
    let namespace = gateway.namespace();
    let Some(deployment) = cluster.deployment_of(gateway) else {
        section.error(
            "proxies",
            format!("{} has no proxies: there is no Deployment", gateway.called()),
            "the Gateway's condition Programmed, its Events and the controller's log say why",
        );
        return 0;
    };
    let wanted = deployment.number("/spec/replicas").unwrap_or(1);
    let ready = deployment.number("/status/readyReplicas").unwrap_or(0);
    let remedy = format!(
        "see kubectl -n {namespace} describe pods -l {}={}, and their logs",
        crate::provisioned::GATEWAY_NAME,
        crate::provisioned::shortened(gateway.name(), 63)
    );
    if ready < wanted {
        let message = format!("{}: {ready} of {wanted} proxies are ready", gateway.called());
        if ready == 0 {
            section.error("proxies", message, remedy.clone());
        } else {
            section.warning("proxies", message, remedy.clone());
        }
    } else if wanted == 0 {
        let message = format!("{}: its FairwayProxy asks for no proxies", gateway.called());
        section.warning("proxies", message, "set spec.replicas of the FairwayProxy to 2 or more");
    }
    for pod in cluster.pods_of(gateway) {
        if let Some(trouble) = trouble(pod) {
            let message = format!("Pod {} is not ready: {trouble}", pod.place());
            section.warning("proxy-pods", message, remedy.clone());
        }
    }
    versions(section, cluster, gateway);
    count_of(ready)
}

/// One version at a time, and that of the controller.
fn versions(section: &mut Section, cluster: &Cluster, gateway: Seen<'_>) {
    let running: BTreeSet<&str> = cluster.pods_of(gateway).into_iter().filter_map(version_of).collect();
    if running.len() > 1 {
        let list: Vec<&str> = running.iter().copied().collect();
        section.warning(
            "proxy-versions",
            format!("{}: its proxies are of several versions: {}", gateway.called(), list.join(", ")),
            "an update is under way; if it stays so, see the Deployment of the proxies",
        );
        return;
    }
    let controller = cluster.get("Deployment", &cluster.namespace, NAME);
    let container = controller.and_then(|it| it.list("/spec/template/spec/containers").next());
    let wanted = container.and_then(|container| tag(container.text("/image")));
    if let (Some(wanted), Some(running)) = (wanted, running.first())
        && wanted != *running
    {
        section.warning(
            "proxy-versions",
            format!("{}: its proxies are of version {running}, the controller of {wanted}", gateway.called()),
            "remove spec.image of the FairwayProxy, or name an image of the controller's version",
        );
    }
}

/// The version a proxy runs.
pub(in crate::inspect) fn version_of(pod: Seen<'_>) -> Option<&str> {
    tag(pod.list("/spec/containers").next()?.text("/image"))
}
