//! How a listener treats its clients (`ClientTrafficPolicy`): who they are, what they may take, how they are read.
//!
//! One struct is the policy's spec, the effective settings of a listener in the IR, and the schema. Every field is
//! optional: what nobody says has the default written beside it. Names are Envoy Gateway's where it has the field; `limits`
//! is ours. Nothing here acts but [`HeaderChanges`]; listeners do.

mod bytes;
mod changes;
mod client_ip;
mod connection;
mod headers;
mod http;
mod problems;
mod timeout;
mod tls;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::bytes::ByteSize;
pub use self::changes::HeaderChanges;
pub use self::client_ip::{ClientIpDetection, CustomHeader, DirectSourceIp, XForwardedFor};
pub use self::connection::{Connection, ConnectionLimit, Limits, ProxyProtocol, TcpKeepalive};
pub use self::headers::{
    CertificateDetail, FieldChanges, HeaderValue, Headers, HostHeader, RequestId, Underscores,
    XForwardedClientCert, XfccMode,
};
pub use self::http::{EscapedSlashes, HealthCheck, Http2, InvalidMessage, Keepalive, Path};
pub use self::timeout::{HttpTimeout, TcpTimeout, Timeout};
pub use self::tls::{
    AlpnProtocol, ClientTls, ResumptionKind, Session, SessionResumption, TlsVersion, cipher,
};

/// Declares a group of optional fields: all absent by default, unknown ones refused.
macro_rules! group {
    ($(#[$meta:meta])* $name:ident { $($(#[$field_meta:meta])* $field:ident: $type:ty,)* }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Default, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
        #[serde(rename_all = "camelCase", default, deny_unknown_fields)]
        pub struct $name {
            $(
                $(#[$field_meta])*
                #[serde(skip_serializing_if = "Option::is_none")]
                pub $field: Option<$type>,
            )*
        }
    };
}
use group;
use problems::Problems;

group! {
    /// How a listener treats its clients.
    ClientTraffic {
        /// Who the client is when others forward for it. Default: the address of the connection.
        #[serde(rename = "clientIPDetection")]
        client_ip_detection: ClientIpDetection,
        /// A PROXY protocol header (version 1 or 2) before anything else of a connection. Default: none is expected, and
        /// one that is sent is no request (400).
        proxy_protocol: ProxyProtocol,
        /// How long things may take.
        timeout: Timeout,
        /// How many connections, and how long they last.
        connection: Connection,
        /// What one client may take.
        limits: Limits,
        /// Probes of connections that are silent. Default: the kernel's, off.
        tcp_keepalive: TcpKeepalive,
        /// TLS towards clients; for HTTPS listeners and TLS listeners that terminate.
        tls: ClientTls,
        /// What is done to fields.
        headers: Headers,
        /// How paths are read.
        path: Path,
        /// HTTP/2.
        http2: Http2,
        /// A path the proxy answers itself.
        health_check: HealthCheck,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_envoy_gateway() {
        let text = r#"{
            "clientIPDetection": {"xForwardedFor": {"numTrustedHops": 2}},
            "timeout": {"http": {"requestHeadersReceivedTimeout": "5s"}},
            "connection": {"connectionLimit": {"value": 100, "closeDelay": "1s"}},
            "tls": {"minVersion": "1.3", "alpnProtocols": ["h2", "http/1.1"], "session": {"resumption": {"stateless": {}}}},
            "headers": {"withUnderscoresAction": "DropHeader", "requestID": "Generate",
                "xForwardedClientCert": {"mode": "SanitizeSet", "certDetailsToAdd": ["Subject", "URI"]}},
            "path": {"escapedSlashesAction": "KeepUnchanged", "disableMergeSlashes": true},
            "http2": {"initialStreamWindowSize": "64Ki", "maxConcurrentStreams": 50},
            "healthCheck": {"path": "/healthz"}
        }"#;
        let read: ClientTraffic = serde_saphyr::from_str(text).unwrap();
        let again: ClientTraffic = serde_saphyr::from_str(&serde_saphyr::to_string(&read).unwrap()).unwrap();
        assert_eq!(read, again);
        assert!(serde_saphyr::from_str::<ClientTraffic>(r#"{"timeouts": {}}"#).is_err());
    }
}
