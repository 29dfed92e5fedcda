//! Names and labels of what the controller makes for a Gateway: the translator finds a Gateway's Service by them.

use crate::api::{Gateway, Service};
use crate::resources::{Named, Objects};
use crate::status::GatewayAddress;

/// On everything made for a Gateway: its name (GEP-1762).
pub(crate) const GATEWAY_NAME: &str = "gateway.networking.k8s.io/gateway-name";

/// The name of everything made for a Gateway (GEP-1762: `<NAME>-<GATEWAY CLASS>`), shortened to what a Service takes.
pub(crate) fn name(gateway: &Gateway) -> String {
    name_of(gateway.name(), &gateway.spec.gateway_class_name)
}

/// The same, from the names of a Gateway and its class.
pub(crate) fn name_of(gateway: &str, class: &str) -> String {
    shortened(&format!("{gateway}-{class}"), 63)
}

/// A Gateway's name as the value of a label.
pub(crate) fn label_value(gateway: &Gateway) -> String {
    shortened(gateway.name(), 63)
}

/// A DNS label: dots become dashes, and what is too long, or changed, ends in a digest of the whole so that two never
/// meet.
pub(crate) fn shortened(name: &str, max: usize) -> String {
    let clean: String = name.chars().map(|c| if c == '.' { '-' } else { c }).collect();
    // Services must begin with a letter; Gateways may begin with a digit.
    let clean = if clean.starts_with(|c: char| c.is_ascii_digit()) { format!("g{clean}") } else { clean };
    if clean.len() <= max && clean == name {
        return clean;
    }
    let digest = ring::digest::digest(&ring::digest::SHA256, name.as_bytes());
    let digest: String = digest.as_ref().iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    let kept: String = clean.chars().take(max.saturating_sub(9)).collect();
    format!("{}-{digest}", kept.trim_end_matches('-'))
}

/// Where the Service of a Gateway can be reached, as far as the environment has said.
pub(crate) fn addresses(gateway: &Gateway, services: &Objects<Service>) -> Vec<GatewayAddress> {
    let Some(service) = services.get(gateway.namespace(), &name(gateway)) else { return Vec::new() };
    // Somebody else's Service of the same name says nothing of this Gateway.
    if service.label(GATEWAY_NAME) != Some(&label_value(gateway)) {
        return Vec::new();
    }
    let address =
        |kind: &str, value: &str| GatewayAddress { r#type: kind.to_owned(), value: value.to_owned() };
    let spec = service.spec.as_ref();
    if spec.and_then(|spec| spec.type_.as_deref()) != Some("LoadBalancer") {
        let ips = spec.and_then(|spec| spec.cluster_ips.as_deref()).unwrap_or_default();
        return ips.iter().filter(|ip| *ip != "None").map(|ip| address("IPAddress", ip)).collect();
    }
    let balancer = service.status.as_ref().and_then(|status| status.load_balancer.as_ref());
    let ingress = balancer.and_then(|balancer| balancer.ingress.as_deref()).unwrap_or_default();
    ingress
        .iter()
        .filter_map(|ingress| match (ingress.ip.as_deref(), ingress.hostname.as_deref()) {
            (Some(ip), _) if !ip.is_empty() => Some(address("IPAddress", ip)),
            (_, Some(hostname)) if !hostname.is_empty() => Some(address("Hostname", hostname)),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::shortened;

    #[test]
    fn names_stay_when_they_fit_and_never_meet() {
        assert_eq!(shortened("edge-fairway", 63), "edge-fairway");
        let long = "x".repeat(80);
        assert_eq!(shortened(&long, 63).len(), 63);
        assert_ne!(shortened(&long, 63), shortened(&format!("{long}y"), 63));
        assert_ne!(shortened("a.b-c", 63), shortened("a-b-c", 63));
        assert!(shortened("1st-fairway", 63).starts_with("g1st-fairway-"));
    }
}
