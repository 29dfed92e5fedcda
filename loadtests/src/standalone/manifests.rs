//! Kubernetes manifests, as a user writes them.

use std::fmt::Write;
use std::net::SocketAddr;

/// GatewayClass and Gateway `gw`, plain HTTP.
pub(crate) fn gateway(port: u16) -> String {
    format!(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: GatewayClass\nmetadata: {{name: fairway}}\n\
         spec: {{controllerName: fairway.dev/controller}}\n---\napiVersion: gateway.networking.k8s.io/v1\n\
         kind: Gateway\nmetadata: {{name: gw, namespace: default}}\nspec:\n  gatewayClassName: fairway\n  \
         listeners:\n  - {{name: http, port: {port}, protocol: HTTP}}\n"
    )
}

/// A Service with port 80.
pub(crate) fn service(name: &str) -> String {
    format!(
        "---\napiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: default}}\nspec:\n  ports:\n  \
         - {{name: http, port: 80, protocol: TCP}}\n"
    )
}

/// Its EndpointSlice: one port on several addresses.
pub(crate) fn endpoints(service: &str, addresses: &[SocketAddr]) -> String {
    let port = addresses.first().map_or(0, SocketAddr::port);
    let mut out = format!(
        "---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata:\n  name: {service}-1\n  \
         namespace: default\n  labels: {{kubernetes.io/service-name: {service}}}\naddressType: IPv4\nports:\n\
         - {{name: http, port: {port}, protocol: TCP}}\nendpoints:\n"
    );
    for address in addresses {
        let _ = writeln!(out, "- {{addresses: ['{}'], conditions: {{ready: true}}}}", address.ip());
    }
    out
}

/// An HTTPRoute that says in every answer which state of it was applied: in a response field of the proxy, and in a
/// request field that the backend sends back.
#[derive(Debug)]
pub(crate) struct Route<'a> {
    pub(crate) name: &'a str,
    pub(crate) hosts: &'a [&'a str],
    pub(crate) prefix: &'a str,
    pub(crate) state: u64,
    /// Replaces the prefix.
    pub(crate) rewrite: Option<&'a str>,
    /// More response fields.
    pub(crate) fields: &'a [(&'a str, &'a str)],
    /// Services and weights.
    pub(crate) backends: &'a [(&'a str, u32)],
}

impl Route<'_> {
    pub(crate) fn manifest(&self) -> String {
        let Self { name, prefix, state, .. } = self;
        let mut out = format!(
            "---\napiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {{name: {name}, namespace: \
             default}}\nspec:\n  parentRefs:\n  - {{name: gw}}\n  hostnames: [{}]\n  rules:\n  - matches:\n    \
             - path: {{type: PathPrefix, value: {prefix}}}\n    filters:\n    - type: RequestHeaderModifier\n      \
             requestHeaderModifier: {{set: [{{name: x-req-state, value: '{state}'}}]}}\n    \
             - type: ResponseHeaderModifier\n      responseHeaderModifier:\n        set:\n        \
             - {{name: x-state, value: '{state}'}}\n",
            self.hosts.join(", ")
        );
        for (name, value) in self.fields {
            let _ = writeln!(out, "        - {{name: {name}, value: '{value}'}}");
        }
        if let Some(rewrite) = self.rewrite {
            let _ = write!(
                out,
                "    - type: URLRewrite\n      urlRewrite: {{path: {{type: ReplacePrefixMatch, \
                 replacePrefixMatch: {rewrite}}}}}\n"
            );
        }
        out.push_str("    backendRefs:\n");
        for (service, weight) in self.backends {
            let _ = writeln!(out, "    - {{name: {service}, port: 80, weight: {weight}}}");
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_names_its_state_twice_and_its_backends_with_weights() {
        let route = Route {
            name: "r1",
            hosts: &["a.example.com", "b.example.com"],
            prefix: "/p",
            state: 7,
            rewrite: Some("/q"),
            fields: &[("x-extra", "1")],
            backends: &[("a", 1), ("b", 0)],
        };
        let text = route.manifest();
        assert_eq!(text.matches("value: '7'").count(), 2, "{text}");
        assert!(text.contains("hostnames: [a.example.com, b.example.com]"), "{text}");
        assert!(
            text.ends_with("- {name: a, port: 80, weight: 1}\n    - {name: b, port: 80, weight: 0}\n"),
            "{text}"
        );
    }
}
