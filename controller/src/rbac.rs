//! What the controller may do in a cluster: the list, with a reason for each line. `fairway install` and the Helm chart
//! print it, and a test holds it against an allow-list.

use serde_json::{Value, json};

use crate::cluster::{AUTHORITY_SECRET, REFERENCED_ROLE, WATCHED};
use crate::install::CAPTURE_RIGHT;

/// Rights on resources of one group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// API group; empty: core.
    pub group: String,
    /// Plurals, with `/subresource` where it is one.
    pub resources: Vec<String>,
    /// Only objects of these names; empty: all.
    pub names: &'static [&'static str],
    /// What may be done.
    pub verbs: &'static [&'static str],
}

fn rule(group: &str, resources: &[&str], verbs: &'static [&'static str]) -> Rule {
    let resources = resources.iter().map(|resource| (*resource).to_owned()).collect();
    Rule { group: group.to_owned(), resources, names: &[], verbs }
}

const READ: &[&str] = &["get", "list", "watch"];
/// Server-side apply is `patch`, and `create` where nothing is there yet.
const APPLY: &[&str] = &["create", "patch", "delete"];
const GATEWAY: &str = "gateway.networking.k8s.io";

/// In the whole cluster.
#[must_use]
pub fn cluster_rules() -> Vec<Rule> {
    // What is watched: neither Secrets nor ConfigMaps are. Pods, because a waypoint tells who calls by the address.
    let mut rules: Vec<Rule> = Vec::new();
    for kind in WATCHED {
        let (group, plural) = (kind.resource)();
        match rules.iter_mut().find(|rule| rule.group == group) {
            Some(rule) => rule.resources.push(plural),
            None => rules.push(Rule { group, resources: vec![plural], names: &[], verbs: READ }),
        }
    }
    rules.extend([
        // To notice CRDs that come later, and their versions.
        rule("apiextensions.k8s.io", &["customresourcedefinitions"], READ),
        // Status of what is ours.
        rule(
            GATEWAY,
            &[
                "backendtlspolicies/status",
                "gatewayclasses/status",
                "gateways/status",
                "grpcroutes/status",
                "httproutes/status",
                "listenersets/status",
                "tcproutes/status",
                "tlsroutes/status",
                "udproutes/status",
            ],
            &["patch"],
        ),
        rule(
            "fairway.dev",
            &[
                "backendtrafficpolicies/status",
                "clienttrafficpolicies/status",
                "rollouts/status",
                "securitypolicies/status",
            ],
            &["patch"],
        ),
        // Clients of captured Services are led to waypoints.
        rule("discovery.k8s.io", &["endpointslices"], APPLY),
        rule("", &["services/status"], &["patch"]),
        // And from pods they are kept where somebody asks for that.
        rule("networking.k8s.io", &["networkpolicies"], APPLY),
        rule(CAPTURE_RIGHT.0, &[CAPTURE_RIGHT.1], &[CAPTURE_RIGHT.2]),
        // The waypoint of a namespace is made from a label alone.
        rule(GATEWAY, &["gateways"], APPLY),
        // What a mesh can do, for whoever asks.
        rule("gateway.networking.x-k8s.io", &["xmeshes"], &["create", "patch"]),
        rule("gateway.networking.x-k8s.io", &["xmeshes/status"], &["patch"]),
        // What runs for Gateways, in their namespaces.
        rule("", &["configmaps", "serviceaccounts", "services"], APPLY),
        rule("apps", &["deployments"], APPLY),
        rule("autoscaling", &["horizontalpodautoscalers"], APPLY),
        rule("policy", &["poddisruptionbudgets"], APPLY),
        // Whose token a proxy shows.
        rule("authentication.k8s.io", &["tokenreviews"], &["create"]),
        rule("events.k8s.io", &["events"], &["create", "patch"]),
        // The right to read Secrets and ConfigMaps where something refers to one: a binding in that namespace, to one
        // ClusterRole and no other.
        rule("rbac.authorization.k8s.io", &["rolebindings"], &["create", "patch", "list"]),
        Rule {
            names: &[REFERENCED_ROLE],
            ..rule("rbac.authorization.k8s.io", &["rolebindings"], &["delete"])
        },
        Rule { names: &[REFERENCED_ROLE], ..rule("rbac.authorization.k8s.io", &["clusterroles"], &["bind"]) },
    ]);
    rules
}

/// In the namespaces it binds itself to, see [`cluster_rules`].
#[must_use]
pub fn referenced_rules() -> Vec<Rule> {
    vec![rule("", &["configmaps", "secrets"], READ)]
}

/// In its own namespace.
#[must_use]
pub fn own_rules() -> Vec<Rule> {
    vec![
        // Leader election.
        rule("coordination.k8s.io", &["leases"], &["create"]),
        Rule {
            names: &["fairway-controller"],
            ..rule("coordination.k8s.io", &["leases"], &["get", "update"])
        },
        // The certificate authority. `create` cannot be limited by name.
        rule("", &["secrets"], &["create"]),
        Rule { names: &[AUTHORITY_SECRET], ..rule("", &["secrets"], &["get", "update"]) },
    ]
}

/// As a (Cluster)Role writes them.
#[must_use]
pub fn to_json(rules: &[Rule]) -> Value {
    let rules = rules.iter().map(|rule| {
        let mut value =
            json!({ "apiGroups": [rule.group], "resources": rule.resources, "verbs": rule.verbs });
        if let Some(fields) = value.as_object_mut().filter(|_| !rule.names.is_empty()) {
            fields.insert("resourceNames".into(), json!(rule.names));
        }
        value
    });
    rules.collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// What may ever be granted in the whole cluster without being limited by name. A line here is a decision.
    const ALLOWED: &[&str] = &[
        "/configmaps create",
        "/configmaps delete",
        "/configmaps patch",
        "/namespaces get",
        "/namespaces list",
        "/namespaces watch",
        "networking.k8s.io/networkpolicies create",
        "networking.k8s.io/networkpolicies delete",
        "networking.k8s.io/networkpolicies patch",
        "networking.k8s.io/networkpolicies get",
        "networking.k8s.io/networkpolicies list",
        "networking.k8s.io/networkpolicies watch",
        "/pods get",
        "/pods list",
        "/pods watch",
        "/serviceaccounts create",
        "/serviceaccounts delete",
        "/serviceaccounts patch",
        "/services create",
        "/services delete",
        "/services get",
        "/services list",
        "/services patch",
        "/services watch",
        "apiextensions.k8s.io/customresourcedefinitions get",
        "apiextensions.k8s.io/customresourcedefinitions list",
        "apiextensions.k8s.io/customresourcedefinitions watch",
        "apps/deployments create",
        "apps/deployments delete",
        "apps/deployments patch",
        "authentication.k8s.io/tokenreviews create",
        "autoscaling/horizontalpodautoscalers create",
        "autoscaling/horizontalpodautoscalers delete",
        "autoscaling/horizontalpodautoscalers patch",
        "/services/status patch",
        "discovery.k8s.io/endpointslices create",
        "discovery.k8s.io/endpointslices delete",
        "discovery.k8s.io/endpointslices patch",
        "fairway.dev/captures manage",
        "gateway.networking.x-k8s.io/xmeshes create",
        "gateway.networking.x-k8s.io/xmeshes patch",
        "gateway.networking.x-k8s.io/xmeshes/status patch",
        "discovery.k8s.io/endpointslices get",
        "discovery.k8s.io/endpointslices list",
        "discovery.k8s.io/endpointslices watch",
        "events.k8s.io/events create",
        "events.k8s.io/events patch",
        "fairway.dev/backendtrafficpolicies get",
        "fairway.dev/backendtrafficpolicies list",
        "fairway.dev/backendtrafficpolicies watch",
        "fairway.dev/backendtrafficpolicies/status patch",
        "fairway.dev/clienttrafficpolicies get",
        "fairway.dev/clienttrafficpolicies list",
        "fairway.dev/clienttrafficpolicies watch",
        "fairway.dev/clienttrafficpolicies/status patch",
        "fairway.dev/securitypolicies get",
        "fairway.dev/securitypolicies list",
        "fairway.dev/securitypolicies watch",
        "fairway.dev/securitypolicies/status patch",
        "fairway.dev/fairwayproxies get",
        "fairway.dev/fairwayproxies list",
        "fairway.dev/fairwayproxies watch",
        "fairway.dev/rollouts get",
        "fairway.dev/rollouts list",
        "fairway.dev/rollouts watch",
        "fairway.dev/rollouts/status patch",
        "policy/poddisruptionbudgets create",
        "policy/poddisruptionbudgets delete",
        "policy/poddisruptionbudgets patch",
        "rbac.authorization.k8s.io/rolebindings create",
        "rbac.authorization.k8s.io/rolebindings list",
        "rbac.authorization.k8s.io/rolebindings patch",
    ];

    #[test]
    fn nothing_is_granted_that_is_not_on_the_list() {
        let mut granted = BTreeSet::new();
        for rule in cluster_rules().iter().filter(|rule| rule.names.is_empty() && rule.group != GATEWAY) {
            for resource in &rule.resources {
                granted.extend(rule.verbs.iter().map(|verb| format!("{}/{resource} {verb}", rule.group)));
            }
        }
        let allowed: BTreeSet<String> = ALLOWED.iter().map(|line| (*line).to_owned()).collect();
        assert_eq!(granted, allowed);
    }

    #[test]
    fn gateway_api_is_read_and_only_status_and_gateways_written() {
        for rule in cluster_rules().iter().filter(|rule| rule.group == GATEWAY) {
            let is_status = rule.resources.iter().all(|resource| resource.ends_with("/status"));
            let is_made = rule.resources == ["gateways"] && rule.verbs == APPLY;
            assert!(rule.verbs == READ || is_made || (is_status && rule.verbs == ["patch"]), "{rule:?}");
        }
    }

    #[test]
    fn no_secret_can_be_read_cluster_wide_and_nothing_escalates() {
        for rule in cluster_rules() {
            assert!(
                !rule.resources.iter().any(|resource| resource == "secrets" || resource == "*"),
                "{rule:?}"
            );
            assert!(
                !rule.verbs.iter().any(|verb| ["*", "escalate", "impersonate"].contains(verb)),
                "{rule:?}"
            );
            let binds = rule.verbs.contains(&"bind");
            assert!(!binds || rule.names == [REFERENCED_ROLE], "{rule:?}");
        }
    }
}
