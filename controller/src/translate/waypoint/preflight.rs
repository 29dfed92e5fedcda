//! Why a Service cannot be captured, seen from what it is.

use super::wish::captures_external;
use crate::api::Service;
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
