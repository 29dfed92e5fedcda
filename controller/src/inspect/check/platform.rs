//! What Fairway stands on: Kubernetes, Gateway API, and our own CRDs.

use std::collections::BTreeSet;

use serde_json::Value;

use super::count;
use crate::cluster::{BUNDLE_VERSION, WATCHED};
use crate::features;
use crate::inspect::cluster::Cluster;
use crate::inspect::report::Section;
use crate::inspect::seen::Seen;
use crate::install;

const GATEWAY_API: &str = "gateway.networking.k8s.io";
const CHANNEL: &str = "gateway.networking.k8s.io/channel";
/// The oldest Kubernetes whose features we use; the charts' `kubeVersion` says the same.
pub(super) const OLDEST: (u32, u32) = (1, 31);
/// Without these there is nothing to serve. Kinds beyond them may be missing.
const NEEDED: &[&str] = &["gatewayclasses", "gateways", "httproutes"];

pub(super) fn kubernetes(cluster: &Cluster) -> Section {
    let mut section = Section::new("kubernetes");
    section.ok("api", format!("the API server answers: Kubernetes {}", cluster.version));
    let (major, minor) = OLDEST;
    match version(&cluster.version) {
        Some(version) if version >= OLDEST => {
            section.ok("kubernetes-version", format!("Kubernetes is {major}.{minor} or newer"));
        }
        Some(_) => section.error(
            "kubernetes-version",
            format!("Kubernetes {} is older than {major}.{minor}", cluster.version),
            format!("update the cluster to {major}.{minor} or newer"),
        ),
        None => section.warning(
            "kubernetes-version",
            format!("version {:?} cannot be read", cluster.version),
            format!("see to it that the cluster is {major}.{minor} or newer"),
        ),
    }
    for (kind, why) in &cluster.unreadable {
        section.warning(
            "readable",
            format!("{kind} cannot be read, so nothing is said about them: {why}"),
            "check as a user who may read them",
        );
    }
    section
}

/// `v1.36.0-rc.1+x` → 1, 36.
fn version(text: &str) -> Option<(u32, u32)> {
    let mut parts = text.strip_prefix('v')?.split('.');
    let number = |part: &str| part.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok();
    Some((number(parts.next()?)?, number(parts.next()?)?))
}

pub(super) fn gateway_api(cluster: &Cluster) -> Section {
    const INSTALL: &str = "install the CRDs of Gateway API v1.6: kubectl apply --server-side -f \
        https://github.com/kubernetes-sigs/gateway-api/releases/download/v1.6.1/standard-install.yaml";
    let mut section = Section::new("gateway-api");
    let crds = of_group(cluster, GATEWAY_API);
    let has = |plural: &str| crds.iter().any(|crd| crd.text("/spec/names/plural") == plural);
    let watched = WATCHED.iter().map(|kind| (kind.resource)()).filter(|(group, _)| group == GATEWAY_API);
    let (needed, more): (Vec<String>, Vec<String>) = watched
        .map(|(_, plural)| plural)
        .filter(|plural| !has(plural))
        .partition(|plural| NEEDED.contains(&plural.as_str()));
    if !needed.is_empty() {
        section.error("gateway-api-crds", format!("CRDs are missing: {}", needed.join(", ")), INSTALL);
        return section;
    }
    if more.is_empty() {
        section.ok("gateway-api-crds", "the CRDs of every kind that Fairway reads are there");
    } else {
        section.warning(
            "gateway-api-crds",
            format!("CRDs are missing, and what they describe cannot be used: {}", more.join(", ")),
            INSTALL,
        );
    }
    let marks = |key: &str| -> BTreeSet<&str> {
        crds.iter().map(|crd| crd.annotation(key)).filter(|mark| !mark.is_empty()).collect()
    };
    let list = |set: &BTreeSet<&str>| set.iter().copied().collect::<Vec<_>>().join(", ");
    let versions = marks(BUNDLE_VERSION);
    if versions.is_empty() {
        section.warning("gateway-api-version", "the CRDs do not say their version", INSTALL);
    } else if versions.len() > 1 {
        let message = format!("the CRDs are of several versions: {}", list(&versions));
        section.error("gateway-api-version", message, INSTALL);
    } else if versions.iter().all(|version| features::knows(version)) {
        section.ok("gateway-api-version", format!("they are of Gateway API {}", list(&versions)));
    } else {
        let message =
            format!("they are of Gateway API {}; this release of Fairway knows v1.6", list(&versions));
        section.warning("gateway-api-version", message, INSTALL);
    }
    let channels = marks(CHANNEL);
    if channels.len() == 1 {
        section.ok("gateway-api-channel", format!("they are of the {} channel", list(&channels)));
    } else if channels.len() > 1 {
        section.warning(
            "gateway-api-channel",
            format!("they are of several channels: {}", list(&channels)),
            "install all CRDs from one channel of one release",
        );
    }
    section
}

fn of_group<'a>(cluster: &'a Cluster, group: &str) -> Vec<Seen<'a>> {
    let mut crds = cluster.of("CustomResourceDefinition");
    crds.retain(|crd| crd.text("/spec/group") == group);
    crds
}

pub(super) fn own_kinds(cluster: &Cluster) -> Section {
    let mut section = Section::new("fairway-crds");
    let remedy =
        "apply those of this release: fairway install --crds-only | kubectl apply --server-side -f -";
    let ours = install::crds();
    for crd in &ours {
        let crd = Seen(crd);
        match cluster.get("CustomResourceDefinition", "", crd.name()) {
            None => section.error("crds", format!("CRD {} is missing", crd.name()), remedy),
            Some(there) => {
                if let Some(place) = versions_differ(crd.0, there.0) {
                    let message = format!("CRD {} is of another release: it differs at {place}", crd.name());
                    section.error("crds", message, remedy);
                } else if there.status().condition("Established").is_some_and(|is| !is.is_true()) {
                    let message = format!("CRD {} is not established", crd.name());
                    section.error("crds", message, format!("see kubectl describe crd {}", crd.name()));
                }
            }
        }
    }
    if section.is_fine() {
        section.ok("crds", format!("{} of this release, and established", count(ours.len(), "CRD")));
    }
    section
}

/// Where the versions of a CRD do not say what ours say. What the API server adds is no difference.
fn versions_differ(ours: &Value, there: &Value) -> Option<String> {
    let at = |value: &Value| value.pointer("/spec/versions").cloned().unwrap_or_default();
    differs(&at(ours), &at(there), "spec.versions")
}

/// The first place where `there` lacks what `ours` says.
fn differs(ours: &Value, there: &Value, place: &str) -> Option<String> {
    match (ours, there) {
        (Value::Object(ours), Value::Object(there)) => ours.iter().find_map(|(key, value)| {
            let place = format!("{place}.{key}");
            match there.get(key) {
                Some(other) => differs(value, other, &place),
                // What is false or empty need not be written.
                None if matches!(value, Value::Null | Value::Bool(false)) => None,
                None if value.as_object().is_some_and(serde_json::Map::is_empty) => None,
                None if value.as_array().is_some_and(Vec::is_empty) => None,
                None => Some(place),
            }
        }),
        (Value::Array(ours), Value::Array(there)) => {
            if ours.len() != there.len() {
                return Some(place.to_owned());
            }
            let pairs = ours.iter().zip(there).enumerate();
            pairs.into_iter().find_map(|(index, (a, b))| differs(a, b, &format!("{place}[{index}]")))
        }
        // `1000.0` comes back as `1000`.
        (Value::Number(ours), Value::Number(there)) if ours.as_f64() == there.as_f64() => None,
        (ours, there) if ours == there => None,
        _ => Some(place.to_owned()),
    }
}

/// Whether `fairway install` can be applied.
pub(super) fn before(cluster: &Cluster) -> Section {
    let mut section = Section::new("installation");
    if cluster.forbidden.is_empty() {
        section.ok("may-install", "you may create everything that fairway install prints");
    } else {
        section.error(
            "may-install",
            format!("you may not {}", cluster.forbidden.join(", ")),
            "install as a cluster administrator",
        );
    }
    let elsewhere = cluster
        .of("ClusterRoleBinding")
        .into_iter()
        .filter(|binding| binding.name() == install::NAME)
        .flat_map(|binding| binding.list("/subjects"))
        .map(|subject| subject.text("/namespace"))
        .find(|namespace| *namespace != cluster.namespace);
    if let Some(namespace) = elsewhere {
        section.error(
            "only-one",
            format!("Fairway is installed in namespace {namespace}, and one cluster takes one"),
            format!("update that one (fairway install --namespace {namespace}), or remove it first"),
        );
    } else if cluster.get("Deployment", &cluster.namespace, install::NAME).is_some() {
        section.warning(
            "only-one",
            format!("Fairway is installed in namespace {} already", cluster.namespace),
            "applying fairway install again updates it; fairway check tells how it is",
        );
    } else {
        section.ok("only-one", "no other Fairway is installed");
    }
    section
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn versions_are_read_with_whatever_follows_them() {
        assert_eq!(version("v1.36.0-alpha.1+abc"), Some((1, 36)));
        assert_eq!(version("v1.31+"), Some((1, 31)));
        assert_eq!(version("1.31"), None);
        assert_eq!(version("v1"), None);
    }

    #[test]
    fn the_chart_wants_the_same_kubernetes() {
        let chart = include_str!("../../../../deploy/charts/fairway/Chart.yaml");
        assert!(chart.contains(&format!("kubeVersion: \">={}.{}.0-0\"", OLDEST.0, OLDEST.1)));
    }

    #[test]
    fn what_the_api_server_adds_to_a_crd_is_no_difference() {
        let ours =
            json!({ "maximum": 1000.0, "nullable": false, "properties": { "a": { "type": "string" } } });
        let mut there = json!({ "maximum": 1000, "properties": { "a": { "type": "string" } }, "more": [1] });
        assert_eq!(differs(&ours, &there, "spec"), None);
        there["properties"]["a"]["type"] = "integer".into();
        assert_eq!(differs(&ours, &there, "spec").as_deref(), Some("spec.properties.a.type"));
        there["properties"] = json!({});
        assert_eq!(differs(&ours, &there, "spec").as_deref(), Some("spec.properties.a"));
    }
}
