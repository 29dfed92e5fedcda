//! The messages, as much of them as is used. Numbers and names are those of `envoy/service/discovery/v3/discovery.proto`,
//! `envoy/config/core/v3/base.proto`, `google/rpc/status.proto` and `google/protobuf/any.proto`; fields that are not here
//! are skipped by both sides, as protobuf asks for. Written by hand because the whole of Envoy's API is hundreds of modules.

use std::collections::HashMap;

use bytes::Bytes;
use prost::Message;

/// Method of delta xDS.
pub(crate) const DELTA: &str =
    "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources";
/// Method of certificates: `fairway.identity.v1alpha1.Certificates`.
pub(crate) const ISSUE: &str = "/fairway.identity.v1alpha1.Certificates/Issue";

/// `envoy.service.discovery.v3.DeltaDiscoveryRequest`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct DeltaRequest {
    #[prost(message, optional, tag = "1")]
    pub(crate) node: Option<Node>,
    #[prost(string, tag = "2")]
    pub(crate) type_url: String,
    #[prost(string, repeated, tag = "3")]
    pub(crate) subscribe: Vec<String>,
    /// Version by name of what the proxy has; in the first request only.
    #[prost(map = "string, string", tag = "5")]
    pub(crate) initial_versions: HashMap<String, String>,
    #[prost(string, tag = "6")]
    pub(crate) response_nonce: String,
    #[prost(message, optional, tag = "7")]
    pub(crate) error_detail: Option<Status>,
}

/// `envoy.config.core.v3.Node`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Node {
    /// Name of the pod.
    #[prost(string, tag = "1")]
    pub(crate) id: String,
    /// `role/namespace/name` of the Gateway.
    #[prost(string, tag = "2")]
    pub(crate) cluster: String,
    #[prost(string, tag = "6")]
    pub(crate) user_agent_name: String,
    #[prost(string, tag = "7")]
    pub(crate) user_agent_version: String,
}

/// `envoy.service.discovery.v3.DeltaDiscoveryResponse`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct DeltaResponse {
    /// The generation; empty when more responses of the same update follow.
    #[prost(string, tag = "1")]
    pub(crate) system_version_info: String,
    #[prost(message, repeated, tag = "2")]
    pub(crate) resources: Vec<Wrapped>,
    #[prost(string, tag = "4")]
    pub(crate) type_url: String,
    #[prost(string, tag = "5")]
    pub(crate) nonce: String,
    #[prost(string, repeated, tag = "6")]
    pub(crate) removed: Vec<String>,
}

/// `envoy.service.discovery.v3.Resource`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Wrapped {
    #[prost(string, tag = "1")]
    pub(crate) version: String,
    #[prost(message, optional, tag = "2")]
    pub(crate) resource: Option<Any>,
    #[prost(string, tag = "3")]
    pub(crate) name: String,
}

/// `google.protobuf.Any`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Any {
    #[prost(string, tag = "1")]
    pub(crate) type_url: String,
    #[prost(bytes = "bytes", tag = "2")]
    pub(crate) value: Bytes,
}

/// `fairway.dev.config.v1alpha1.Resource` and `.Rejection`: the serde form.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Json {
    #[prost(bytes = "bytes", tag = "1")]
    pub(crate) json: Bytes,
}

/// `google.rpc.Status`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Status {
    #[prost(int32, tag = "1")]
    pub(crate) code: i32,
    #[prost(string, tag = "2")]
    pub(crate) message: String,
    #[prost(message, repeated, tag = "3")]
    pub(crate) details: Vec<Any>,
}

/// `fairway.identity.v1alpha1.IssueRequest`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct IssueRequest {
    /// PKCS#10, DER.
    #[prost(bytes = "bytes", tag = "1")]
    pub(crate) request: Bytes,
    /// Who the caller says it is, as in delta xDS.
    #[prost(message, optional, tag = "2")]
    pub(crate) node: Option<Node>,
}

/// `fairway.identity.v1alpha1.IssueResponse`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct IssueResponse {
    /// DER, leaf first.
    #[prost(bytes = "bytes", repeated, tag = "1")]
    pub(crate) chain: Vec<Bytes>,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes as the protocol compiler's own output makes them of
    /// `{system_version_info: "0.7", resources: [{version: "v", name: "n", resource: {type_url: "t", value: "x"}}],
    /// type_url: "u", nonce: "1", removed_resources: ["r"]}`.
    #[test]
    fn a_response_has_the_bytes_of_the_official_messages() {
        let response = DeltaResponse {
            system_version_info: "0.7".into(),
            resources: vec![Wrapped {
                version: "v".into(),
                resource: Some(Any { type_url: "t".into(), value: Bytes::from_static(b"x") }),
                name: "n".into(),
            }],
            type_url: "u".into(),
            nonce: "1".into(),
            removed: vec!["r".into()],
        };
        let official =
            b"\x0a\x030.7\x12\x0e\x0a\x01v\x12\x06\x0a\x01t\x12\x01x\x1a\x01n\x22\x01u\x2a\x011\x32\x01r";
        assert_eq!(response.encode_to_vec(), official);
        assert_eq!(DeltaResponse::decode(official.as_slice()).unwrap(), response);
    }

    #[test]
    fn fields_nobody_reads_are_skipped() {
        // control_plane (7) of a response.
        let response = DeltaResponse::decode(b"\x2a\x011\x3a\x04\x0a\x02id".as_slice()).unwrap();
        assert_eq!(response.nonce, "1");
    }
}
