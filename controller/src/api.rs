//! The Kubernetes types we read, each under the name of its kind. Gateway API's come from its experimental channel
//! where that has more fields: a field we do not know cannot be refused.

mod listener_set;
mod pod;
mod stream_route;

pub use crate::backend_traffic_policy::BackendTrafficPolicy;
pub use crate::client_traffic_policy::ClientTrafficPolicy;
pub use crate::fairway_proxy::FairwayProxy;
pub use crate::rollout::Rollout;
pub use crate::security_policy::SecurityPolicy;
pub use gateway_api::backendtlspolicies::BackendTlsPolicy;
pub use gateway_api::experimental::gatewayclasses::GatewayClass;
pub use gateway_api::experimental::gateways::Gateway;
pub use gateway_api::experimental::grpcroutes::GrpcRoute;
pub use gateway_api::experimental::httproutes::HttpRoute;
pub use gateway_api::experimental::tlsroutes::TlsRoute;
pub use gateway_api::referencegrants::ReferenceGrant;
pub use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Secret, Service};
pub use k8s_openapi::api::discovery::v1::EndpointSlice;
pub use k8s_openapi::api::networking::v1::NetworkPolicy;
pub use listener_set::{ListenerSet, ListenerSetSpec};
pub use pod::{Pod, PodIp, PodSpec, PodStatus};
pub use stream_route::{TcpRoute, UdpRoute};
