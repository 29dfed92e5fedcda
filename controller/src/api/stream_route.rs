//! TCPRoute and UDPRoute (Gateway API v1). The crate has them as `v1alpha2`, which a cluster with the standard channel does
//! not serve; what they say is the same, and both say the same thing.

use gateway_api::experimental::tcproutes::TcpRouteSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::{Metadata, NamespaceResourceScope, Resource};
use serde::{Deserialize, Serialize};

macro_rules! stream_routes {
    ($( $(#[$doc:meta])* $name:ident = $kind:literal, $plural:literal; )*) => { $(
        $(#[$doc])*
        #[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
        pub struct $name {
            /// Metadata.
            #[serde(default)]
            pub metadata: ObjectMeta,
            /// What is wanted.
            pub spec: TcpRouteSpec,
        }

        impl Resource for $name {
            const API_VERSION: &'static str = "gateway.networking.k8s.io/v1";
            const GROUP: &'static str = "gateway.networking.k8s.io";
            const KIND: &'static str = $kind;
            const VERSION: &'static str = "v1";
            const URL_PATH_SEGMENT: &'static str = $plural;
            type Scope = NamespaceResourceScope;
        }

        impl Metadata for $name {
            type Ty = ObjectMeta;

            fn metadata(&self) -> &ObjectMeta {
                &self.metadata
            }

            fn metadata_mut(&mut self) -> &mut ObjectMeta {
                &mut self.metadata
            }
        }
    )* };
}

stream_routes! {
    /// Where the connections of a listener go.
    TcpRoute = "TCPRoute", "tcproutes";
    /// Where the datagrams of a listener go.
    UdpRoute = "UDPRoute", "udproutes";
}
