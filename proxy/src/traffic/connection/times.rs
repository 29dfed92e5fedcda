//! How long things may take.

use std::time::Duration;

use policies::client_traffic::Timeout;

use super::{for_ever, positive};

/// How long things may take; `None`: for ever.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Times {
    /// A request head, from its first byte.
    pub(crate) head: Duration,
    /// A connection without a request.
    pub(crate) idle: Option<Duration>,
    /// A TLS handshake.
    pub(crate) handshake: Duration,
    /// PROXY protocol, ClientHello.
    pub(crate) inspection: Duration,
    /// A request, head and body.
    pub(crate) request: Option<Duration>,
    /// A request on which nothing moves.
    pub(crate) stream_idle: Option<Duration>,
    /// A connection of a TCPRoute or TLSRoute on which nothing moves.
    pub(crate) tcp_idle: Option<Duration>,
}

impl Default for Times {
    fn default() -> Self {
        Self {
            head: Duration::from_secs(10),
            idle: Some(Duration::from_secs(60)),
            handshake: Duration::from_secs(10),
            inspection: Duration::from_secs(10),
            request: Some(Duration::from_secs(300)),
            stream_idle: Some(Duration::from_secs(300)),
            // As Envoy's `tcp_proxy`.
            tcp_idle: Some(Duration::from_secs(3600)),
        }
    }
}

impl Times {
    /// # Errors
    /// Field, reason and remedy.
    pub(super) fn compile(spec: Option<&Timeout>) -> Result<Self, String> {
        let default = Self::default();
        let tcp = spec.and_then(|spec| spec.tcp.clone()).unwrap_or_default();
        let http = spec.and_then(|spec| spec.http.clone()).unwrap_or_default();
        Ok(Self {
            head: positive(
                "timeout.http.requestHeadersReceivedTimeout",
                http.request_headers_received_timeout,
                default.head,
            )?,
            idle: for_ever(http.idle_timeout, default.idle),
            handshake: positive(
                "timeout.tcp.tlsHandshakeTimeout",
                tcp.tls_handshake_timeout,
                default.handshake,
            )?,
            inspection: positive(
                "timeout.tcp.connectionInspectionTimeout",
                tcp.connection_inspection_timeout,
                default.inspection,
            )?,
            request: for_ever(http.request_received_timeout, default.request),
            stream_idle: for_ever(http.stream_idle_timeout, default.stream_idle),
            tcp_idle: for_ever(tcp.idle_timeout, default.tcp_idle),
        })
    }
}
