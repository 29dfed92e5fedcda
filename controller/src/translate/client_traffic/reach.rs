//! What a setting needs of a listener to mean anything.

use config::Protocol;

use super::leaves::is_under;
use crate::translate::listener::Draft;

/// What a setting needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Need {
    /// Anything but datagrams.
    Connections,
    /// Requests.
    Http,
    /// Requests inside TLS.
    Https,
    /// Connections that are passed on.
    Streams,
    /// A certificate of ours.
    Certificate,
}

/// By field, the more specific first.
const NEEDS: [(&str, Need); 15] = [
    ("clientIPDetection", Need::Http),
    ("connection.connectionLimit.maxConnectionDuration", Need::Http),
    ("connection.connectionLimit.maxRequestsPerConnection", Need::Http),
    ("connection.connectionLimit.maxStreamDuration", Need::Http),
    ("headers", Need::Http),
    ("healthCheck", Need::Http),
    ("http2", Need::Http),
    ("limits.connectionsPerAddress", Need::Connections),
    ("limits", Need::Http),
    ("path", Need::Http),
    ("timeout.http", Need::Http),
    ("timeout.tcp.idleTimeout", Need::Streams),
    ("timeout.tcp.tlsHandshakeTimeout", Need::Certificate),
    ("tls.alpnProtocols", Need::Https),
    ("tls", Need::Certificate),
];

impl Need {
    pub(super) fn of(path: &str) -> Self {
        NEEDS.iter().find(|(field, _)| is_under(path, field)).map_or(Self::Connections, |(_, need)| *need)
    }

    pub(super) fn is_met(self, listener: &Draft<'_>) -> bool {
        let Some(protocol) = listener.protocol else { return false };
        match self {
            Self::Connections => protocol != Protocol::Udp,
            Self::Http => matches!(protocol, Protocol::Http | Protocol::Https),
            Self::Https => protocol == Protocol::Https,
            Self::Streams => matches!(protocol, Protocol::Tls | Protocol::Tcp),
            Self::Certificate => listener.terminates_tls(),
        }
    }

    /// After "no listener".
    pub(super) const fn words(self) -> &'static str {
        match self {
            Self::Connections => "takes connections",
            Self::Http => "speaks HTTP",
            Self::Https => "speaks HTTPS",
            Self::Streams => "passes connections on",
            Self::Certificate => "terminates TLS",
        }
    }
}
