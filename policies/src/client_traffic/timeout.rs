//! How long things may take. Zero turns a limit off where that is said.

use super::{Problems, group};
use crate::Duration;

group! {
    /// How long things may take.
    Timeout {
        /// Of connections.
        tcp: TcpTimeout,
        /// Of requests.
        http: HttpTimeout,
    }
}

group! {
    /// How long things of a connection may take.
    TcpTimeout {
        /// A connection of a TCPRoute or TLSRoute on which nothing moves. Default: 1h. Zero: for ever.
        idle_timeout: Duration,
        /// The TLS handshake in all. Default: 10s.
        tls_handshake_timeout: Duration,
        /// What has to be seen before it is known what is spoken: PROXY protocol, ClientHello. Default: 10s.
        connection_inspection_timeout: Duration,
    }
}

group! {
    /// How long things of a request may take.
    HttpTimeout {
        /// The whole request, head and body, from its first byte; not of gRPC and WebSockets. 408 or a reset (HTTP/2) when
        /// over. Default: 300s. Zero: for ever.
        request_received_timeout: Duration,
        /// The head in all, from its first byte. 408 when over. Default: 10s.
        request_headers_received_timeout: Duration,
        /// A connection without a request. Default: 60s. Zero: for ever.
        idle_timeout: Duration,
        /// A request on which neither side moves a byte. 408 or 504 when nothing was answered yet, else a reset. Default: 300s.
        /// Zero: for ever.
        stream_idle_timeout: Duration,
    }
}

impl Timeout {
    pub(super) fn check(&self, problems: &mut Problems) {
        const REMEDY: &str = "nothing could be read in time";
        if let Some(tcp) = &self.tcp {
            problems.positive("timeout.tcp.tlsHandshakeTimeout", tcp.tls_handshake_timeout, REMEDY);
            let inspection = tcp.connection_inspection_timeout;
            problems.positive("timeout.tcp.connectionInspectionTimeout", inspection, REMEDY);
        }
        let head = self.http.as_ref().and_then(|http| http.request_headers_received_timeout);
        problems.positive("timeout.http.requestHeadersReceivedTimeout", head, REMEDY);
    }
}
