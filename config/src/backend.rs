//! Backends: Service ports and their addresses.

use std::net::SocketAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A Service port. One per (Service, port), shared by every route.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Backend {
    /// What it speaks (Service `appProtocol`).
    #[serde(default)]
    pub protocol: AppProtocol,
    /// TLS to it (BackendTLSPolicy).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<BackendTls>,
    /// Connections in use at one time, by this proxy; over it requests get 503. Default: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_connections: Option<u32>,
}

/// What a backend speaks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum AppProtocol {
    /// HTTP/1.1; gRPC requests still go as HTTP/2, since HTTP/1.1 cannot carry their trailers.
    #[default]
    Http,
    /// HTTP/2, over plain text with prior knowledge (`kubernetes.io/h2c`, and GRPCRoute backends).
    H2c,
    /// HTTP/1.1 with WebSocket (`kubernetes.io/ws`, `kubernetes.io/wss`).
    Ws,
}

/// How a backend's certificate is verified.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BackendTls {
    /// SNI, and the name the certificate must hold unless `subjectAltNames` are given.
    pub hostname: String,
    /// Names of which the certificate must hold one, instead of `hostname`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub subject_alt_names: Vec<SubjectAltName>,
    /// Who may have signed it.
    pub ca: TrustedCa,
}

/// A name in a certificate.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum SubjectAltName {
    /// A DNS name; `*.example.com` is any name below it.
    Hostname(String),
    /// A URI, such as a SPIFFE id; compared byte for byte.
    Uri(String),
}

/// Certificate authorities.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum TrustedCa {
    /// Those of the operating system.
    System,
    /// These, PEM.
    Pem(String),
}

/// The addresses of a backend that may get new requests.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Endpoints {
    /// Sorted by address.
    pub endpoints: Vec<Endpoint>,
}

/// One address.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Endpoint {
    /// IP and port.
    #[schemars(with = "String")]
    pub address: SocketAddr,
    /// Topology zone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
}
