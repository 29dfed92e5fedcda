//! Ports to listen on and the certificates they show.

use std::net::IpAddr;
use std::sync::Arc;

use policies::client_traffic::ClientTraffic;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Key, Redacted};

/// A port to listen on. Several listeners may share a port; then they differ by host name (Gateway API listeners) and
/// a request belongs to the one with the most specific name only (GEP-3567, HTTP listener isolation).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Listener {
    /// Address to bind. Default: all addresses of both families.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<IpAddr>,
    /// Port to bind.
    pub port: u16,
    /// What is spoken.
    pub protocol: Protocol,
    /// Host names served: `example.com`, `*.example.com`; absent: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// TLS settings; present when `protocol` is `HTTPS`, absent when it is `HTTP`, `TCP` or `UDP`. A `TLS` listener with
    /// them terminates; without them it passes the connection on as it is, by the name in the ClientHello.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<ListenerTls>,
    /// `namespace/name` of the Secret (see [`Certificate`]) shown to backends that requests of this listener reach over
    /// TLS (`tls.backend` of the Gateway). Default: none is shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backend_certificate: Option<String>,
    /// How it treats its clients: what ClientTrafficPolicies come to for it. Default: every default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traffic: Option<Arc<ClientTraffic>>,
    /// Each policy that is about all its requests, the more general first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attached: Vec<Key>,
    /// Which routes requests of this listener see.
    pub scope: Scope,
}

/// What a listener speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum Protocol {
    /// HTTP/1.1 and HTTP/2 with prior knowledge.
    Http,
    /// The same inside TLS, HTTP/2 by ALPN.
    Https,
    /// Any bytes inside TLS: TLSRoute, and TCPRoute where TLS is terminated.
    Tls,
    /// Any bytes: TCPRoute.
    Tcp,
    /// Datagrams: UDPRoute.
    Udp,
}

/// Which routes requests of a listener see.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Scope {
    /// Routes attached to this listener of a Gateway, by host name.
    Gateway,
    /// Routes attached to this captured Service port, whatever the Host (GAMMA, GEP-1294). Without any, requests go
    /// to the Service itself.
    Service(Captured),
}

/// A Service port that clients reach through a waypoint.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Captured {
    /// Which.
    pub backend: policies::BackendRef,
    /// The waypoint's Gateway: `namespace/name`.
    pub waypoint: String,
}

/// Terminating TLS.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ListenerTls {
    /// `namespace/name` of each Secret (see [`Certificate`]), most wanted first; SNI picks among them.
    pub certificates: Vec<String>,
    /// What is asked of clients. Default: nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_validation: Option<ClientValidation>,
}

/// Client certificates (`tls.frontend` of the Gateway).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ClientValidation {
    /// Who may have signed them: certificates of authorities, PEM.
    pub ca: String,
    /// What becomes of a client without a valid one.
    #[serde(default)]
    pub mode: ClientValidationMode,
}

/// What becomes of a client without a valid certificate.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum ClientValidationMode {
    /// Its handshake fails.
    #[default]
    AllowValidOnly,
    /// It is served all the same: nobody is kept out.
    AllowInsecureFallback,
}

/// A certificate and its key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Certificate {
    /// Certificate chain, PEM, leaf first.
    pub chain: String,
    /// Private key, PEM (PKCS#8, PKCS#1 or SEC1).
    pub key: Redacted,
}
