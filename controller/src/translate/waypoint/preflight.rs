//! Why a Service cannot be captured, seen from what it is.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use super::wish::{LOCK_OF, captures_external, captures_isolated};
use crate::api::{NetworkPolicy, Service};
use crate::resources::{Named as _, Resources};
use crate::status::reason;

/// Reason and message; `None`: nothing speaks against it. `has_foreign`: of its EndpointSlices some are written by somebody
/// we do not know. `is_steered`: it is captured by its EndpointSlices.
pub(crate) fn refusal(
    service: &Service,
    has_foreign: bool,
    is_steered: bool,
) -> Option<(&'static str, String)> {
    let spec = service.spec.as_ref();
    let r#type = spec.and_then(|spec| spec.type_.as_deref()).unwrap_or("ClusterIP");
    // GEP-1294: headless and ExternalName Services have no address of their own that could be captured.
    if r#type == "ExternalName" {
        let message = "A Service of type ExternalName has no address that a waypoint could take over.";
        return Some((reason::EXTERNAL_NAME, message.to_owned()));
    }
    if spec.and_then(|spec| spec.cluster_ip.as_deref()) == Some("None") {
        let message = "A headless Service has no address that a waypoint could take over.";
        return Some((reason::HEADLESS, message.to_owned()));
    }
    if !is_steered {
        return None;
    }
    if r#type != "ClusterIP" && !captures_external(service) {
        let message = format!(
            "A Service of type {type} is reachable from outside, and a waypoint would see the addresses of nodes or of a \
             load balancer instead of those of its callers: label it fairway.dev/capture-external: \"true\" to capture it \
             all the same."
        );
        return Some((reason::NODE_PORT_OR_LOAD_BALANCER, message));
    }
    if spec.and_then(|spec| spec.internal_traffic_policy.as_deref()) == Some("Local") {
        let message =
            "internalTrafficPolicy Local keeps clients on their node, where there may be no waypoint.";
        return Some((reason::INTERNAL_TRAFFIC_POLICY, message.to_owned()));
    }
    let has_selector =
        spec.and_then(|spec| spec.selector.as_ref()).is_some_and(|selector| !selector.is_empty());
    if !has_selector || has_foreign {
        let what = if has_selector {
            "Somebody else than Kubernetes writes EndpointSlices of the Service too"
        } else {
            "The Service has no selector, so somebody else than Kubernetes writes its EndpointSlices"
        };
        let message = format!("{what}: clients would go on using them beside the waypoint.");
        return Some((reason::FOREIGN_SLICES, message));
    }
    None
}

/// Whether a NetworkPolicy says who may reach the pods of a Service. Behind a waypoint their client is the waypoint: what
/// was to be let in is not, or whoever reaches the waypoint is. Nobody can tell what was meant, so somebody has to say.
pub(crate) fn isolation(service: &Service, resources: &Resources) -> Option<(&'static str, String)> {
    let namespace = resources.namespaces.get("", service.namespace());
    if captures_isolated(service, namespace.map(AsRef::as_ref)) {
        return None;
    }
    let policy = policies(service, resources).find(|policy| isolates(policy))?;
    let message = format!(
        "NetworkPolicy {}/{} says who may reach its pods, and behind a waypoint that is the waypoint: let the waypoint's pods \
         in, say who may call by a SecurityPolicy, and label the Service or its namespace \
         fairway.dev/capture-isolated: \"true\".",
        policy.namespace(),
        policy.name()
    );
    Some((reason::NETWORK_POLICY_CONFLICT, message))
}

/// The NetworkPolicies of others that may be about its pods.
pub(super) fn policies<'a>(
    service: &'a Service,
    resources: &'a Resources,
) -> impl Iterator<Item = &'a NetworkPolicy> {
    let policies = resources.network_policies.in_namespace(service.namespace());
    let policies = policies.filter(|policy| policy.label(LOCK_OF).is_none() && may_select(policy, service));
    policies.map(AsRef::as_ref)
}

/// Whether it keeps anybody out. Kubernetes: "If no policyTypes are specified on a NetworkPolicy then by default Ingress will
/// always be set"; a rule without `from` admits everybody.
fn isolates(policy: &NetworkPolicy) -> bool {
    let Some(spec) = &policy.spec else { return false };
    let is_ingress = spec.policy_types.as_ref().is_none_or(|types| types.iter().any(|one| one == "Ingress"));
    let admits_all = spec.ingress.iter().flatten().any(|rule| {
        rule.from.as_ref().is_none_or(Vec::is_empty) && rule.ports.as_ref().is_none_or(Vec::is_empty)
    });
    is_ingress && !admits_all
}

/// Whether its pods may be some of the Service's: of these only the labels are known that the Service selects by.
fn may_select(policy: &NetworkPolicy, service: &Service) -> bool {
    let none = std::collections::BTreeMap::new();
    let labels = service.spec.as_ref().and_then(|spec| spec.selector.as_ref()).unwrap_or(&none);
    let Some(LabelSelector { match_labels, match_expressions }) =
        policy.spec.as_ref().and_then(|spec| spec.pod_selector.as_ref())
    else {
        return true;
    };
    let alike =
        match_labels.iter().flatten().all(|(key, value)| labels.get(key).is_none_or(|own| own == value));
    alike
        && match_expressions.iter().flatten().all(|wanted| {
            let Some(own) = labels.get(&wanted.key) else { return true };
            let is_listed = wanted.values.iter().flatten().any(|value| value == own);
            match wanted.operator.as_str() {
                "In" => is_listed,
                "NotIn" => !is_listed,
                "DoesNotExist" => false,
                _ => true,
            }
        })
}
