//! What we implement of Gateway API, by the names its conformance suite uses. A name enters this list together with the
//! code that makes it true.

use crate::status::Feature;

const fn feature(name: &'static str) -> Feature {
    Feature { name }
}

/// Sorted (Gateway API: "It MUST be sorted in ascending alphabetical order by the Name key").
pub const SUPPORTED_FEATURES: &[Feature] = &[
    feature("BackendTLSPolicy"),
    feature("BackendTLSPolicySANValidation"),
    feature("GRPCRoute"),
    feature("GRPCRouteNamedRouteRule"),
    feature("Gateway"),
    feature("GatewayAddressEmpty"),
    feature("GatewayBackendClientCertificate"),
    feature("GatewayFrontendClientCertificateValidation"),
    feature("GatewayFrontendClientCertificateValidationInsecureFallback"),
    feature("GatewayHTTPListenerIsolation"),
    feature("GatewayHTTPSListenerDetectMisdirectedRequests"),
    feature("GatewayInfrastructurePropagation"),
    feature("GatewayPort8080"),
    feature("GatewayStaticAddresses"),
    feature("HTTPRoute"),
    feature("HTTPRoute303RedirectStatusCode"),
    feature("HTTPRoute307RedirectStatusCode"),
    feature("HTTPRoute308RedirectStatusCode"),
    feature("HTTPRouteBackendProtocolH2C"),
    feature("HTTPRouteBackendProtocolWebSocket"),
    feature("HTTPRouteBackendRequestHeaderModification"),
    feature("HTTPRouteBackendTimeout"),
    feature("HTTPRouteCORS"),
    feature("HTTPRouteDestinationPortMatching"),
    feature("HTTPRouteHostRewrite"),
    feature("HTTPRouteMethodMatching"),
    feature("HTTPRouteNamedRouteRule"),
    feature("HTTPRouteParentRefPort"),
    feature("HTTPRoutePathRedirect"),
    feature("HTTPRoutePathRewrite"),
    feature("HTTPRoutePortRedirect"),
    feature("HTTPRouteQueryParamMatching"),
    feature("HTTPRouteRequestMirror"),
    feature("HTTPRouteRequestMultipleMirrors"),
    feature("HTTPRouteRequestPercentageMirror"),
    feature("HTTPRouteRequestTimeout"),
    feature("HTTPRouteResponseHeaderModification"),
    feature("HTTPRouteRetry"),
    feature("HTTPRouteRetryBackendTimeout"),
    feature("HTTPRouteRetryConnectionError"),
    feature("HTTPRouteSchemeRedirect"),
    feature("ListenerSet"),
    feature("ReferenceGrant"),
    feature("TCPRoute"),
    feature("TLSRoute"),
    feature("TLSRouteModeMixed"),
    feature("TLSRouteModeTerminate"),
    feature("UDPRoute"),
];

/// What waypoints implement, likewise; an XMesh names it (GEP-3949).
pub(crate) const MESH_FEATURES: &[Feature] = &[
    feature("Mesh"),
    feature("MeshClusterIPMatching"),
    feature("MeshConsumerRoute"),
    feature("MeshHTTPRouteBackendRequestHeaderModification"),
    feature("MeshHTTPRouteNamedRouteRule"),
    feature("MeshHTTPRouteQueryParamMatching"),
    feature("MeshHTTPRouteRedirectPath"),
    feature("MeshHTTPRouteRedirectPort"),
    feature("MeshHTTPRouteRewritePath"),
    feature("MeshHTTPRouteSchemeRedirect"),
];

/// Whether a release of Gateway API, as `gateway.networking.k8s.io/bundle-version` says it, is one we know.
pub(crate) fn knows(version: &str) -> bool {
    version.starts_with("v1.6.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn features_are_sorted_and_unique() {
        assert!(SUPPORTED_FEATURES.is_sorted_by(|a, b| a.name < b.name));
        assert!(MESH_FEATURES.is_sorted_by(|a, b| a.name < b.name));
    }
}
