//! GatewayClasses, Gateways and ListenerSets: are they accepted, and do proxies serve them?

use super::certificates::is_set_of;
use super::count;
use crate::inspect::cluster::Cluster;
use crate::inspect::report::Section;
use crate::inspect::seen::{Said, Seen};

pub(super) fn classes(cluster: &Cluster) -> Section {
    let mut section = Section::new("gateway-classes");
    let classes = cluster.classes();
    if classes.is_empty() {
        section.warning(
            "gateway-classes",
            format!("there is no GatewayClass of controller {}", crate::CONTROLLER_NAME),
            "fairway install prints one; Gateways name it in spec.gatewayClassName",
        );
        return section;
    }
    for class in &classes {
        judge(&mut section, "gateway-classes", *class, |said| !said.is_true());
    }
    if section.is_fine() {
        section.ok("gateway-classes", format!("{} accepted", count(classes.len(), "GatewayClass")));
    }
    section
}

pub(super) fn gateways(cluster: &Cluster) -> Section {
    let mut section = Section::new("gateways");
    let gateways = cluster.gateways();
    for gateway in &gateways {
        judge(&mut section, "gateways", *gateway, |said| !said.is_true());
    }
    if section.is_fine() {
        let message = match gateways.len() {
            0 => "there are no Gateways of our classes".to_owned(),
            n => format!("{} accepted, and served by proxies", count(n, "Gateway")),
        };
        section.ok("gateways", message);
    }
    let is_ours = |set: &Seen<'_>| gateways.iter().any(|gateway| is_set_of(*set, *gateway));
    let mut sets = Section::new("");
    let all: Vec<_> = cluster.of("ListenerSet").into_iter().filter(is_ours).collect();
    for set in &all {
        judge(&mut sets, "listener-sets", *set, |said| !said.is_true());
    }
    if sets.is_fine() && !all.is_empty() {
        sets.ok("listener-sets", format!("{} accepted, and served", count(all.len(), "ListenerSet")));
    }
    section.lines.extend(sets.lines);
    section
}

/// One line for each condition of an object that says something is wrong. `is_error` tells whether it fails the check.
pub(super) fn judge(
    section: &mut Section,
    check: &'static str,
    object: Seen<'_>,
    is_error: impl Fn(&Said<'_>) -> bool,
) {
    let parts = object.parts();
    if parts.is_empty() {
        section.warning(
            check,
            format!("{} has no status yet", object.called()),
            "wait a moment; if it stays so, see the section controller",
        );
        return;
    }
    for (part, status) in parts {
        let place = if part.is_empty() { object.called() } else { format!("{}, {part}", object.called()) };
        if object.is_behind(status) {
            section.warning(
                check,
                format!("{place}: its status is of an older generation"),
                "wait a moment; if it stays so, see the section controller",
            );
        }
        for said in status.conditions().filter(|said| said.is_wrong()) {
            let Said { r#type: condition, status, reason, message } = said;
            let text = format!("{place}: {condition} is {status} ({reason}): {message}");
            section.said(check, is_error(&said), text, reason);
        }
    }
}
