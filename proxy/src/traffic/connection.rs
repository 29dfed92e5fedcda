//! What connections are held to, before it is known which listener of their port a request is for.
//!
//! Each listener has its own of TLS, and of what is asked of a request's body and of time once its listener is known; of
//! the rest those of a port's first listener hold.

mod http2;
mod limits;
mod times;
mod tls;

use std::time::Duration;

use policies::client_traffic::ClientTraffic;
use socket2::TcpKeepalive;

pub(crate) use self::http2::{Http2Rules, Keepalive};
pub(crate) use self::limits::{BodyRules, Limits};
pub(crate) use self::times::Times;
pub(crate) use self::tls::TlsRules;

/// What connections are held to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ConnectionRules {
    pub(crate) proxy_protocol: Option<ProxyProtocol>,
    pub(crate) limits: Limits,
    pub(crate) times: Times,
    pub(crate) body: BodyRules,
    pub(crate) http2: Http2Rules,
    pub(crate) tls: TlsRules,
    socket: Socket,
}

/// A PROXY protocol header is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ProxyProtocol {
    /// Connections without it are closed.
    Required,
    /// They are served.
    Optional,
}

/// Options of an accepted socket; `None`: the kernel's.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Socket {
    keepalive: Option<Probes>,
    buffer: Option<usize>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Probes {
    probes: Option<u32>,
    idle: Option<Duration>,
    interval: Option<Duration>,
}

impl ConnectionRules {
    /// `spec` has no [problems](ClientTraffic::problems).
    pub(super) fn compile(spec: &ClientTraffic) -> Self {
        let proxy_protocol = spec.proxy_protocol.as_ref().map(|header| match header.optional {
            Some(true) => ProxyProtocol::Optional,
            Some(false) | None => ProxyProtocol::Required,
        });
        Self {
            proxy_protocol,
            limits: Limits::compile(spec),
            times: Times::compile(spec.timeout.as_ref()),
            body: BodyRules::compile(spec.limits.as_ref()),
            http2: Http2Rules::compile(spec.http2.as_ref()),
            tls: spec.tls.as_ref().map(TlsRules::compile).unwrap_or_default(),
            socket: Socket::compile(spec),
        }
    }

    /// True when listeners with these two can share a port without one of them giving in.
    pub(crate) fn agrees_with(&self, other: &Self) -> bool {
        let of_port = |rules: &Self| Self {
            tls: TlsRules::default(),
            body: BodyRules::default(),
            times: Times { request: None, stream_idle: None, ..rules.times.clone() },
            ..rules.clone()
        };
        of_port(self) == of_port(other)
    }

    /// Sets up an accepted socket. What the system refuses is left as it is: the connection works without.
    pub(crate) fn set_up(&self, tcp: &tokio::net::TcpStream) {
        let _ = tcp.set_nodelay(true);
        if self.socket == Socket::default() {
            return;
        }
        let socket = socket2::SockRef::from(tcp);
        if let Some(bytes) = self.socket.buffer {
            let _ = socket.set_recv_buffer_size(bytes);
            let _ = socket.set_send_buffer_size(bytes);
        }
        if let Some(Probes { probes, idle, interval }) = &self.socket.keepalive {
            let mut keepalive = TcpKeepalive::new();
            if let Some(probes) = probes {
                keepalive = keepalive.with_retries(*probes);
            }
            if let Some(idle) = idle {
                keepalive = keepalive.with_time(*idle);
            }
            if let Some(interval) = interval {
                keepalive = keepalive.with_interval(*interval);
            }
            // Without any of them too: that switches the kernel's on.
            let _ = socket.set_keepalive(true);
            let _ = socket.set_tcp_keepalive(&keepalive);
        }
    }
}

impl Socket {
    fn compile(spec: &ClientTraffic) -> Self {
        let buffer = spec.connection.as_ref().and_then(|connection| connection.socket_buffer_limit);
        let keepalive = spec.tcp_keepalive.as_ref().map(|keepalive| Probes {
            probes: keepalive.probes,
            idle: keepalive.idle_time.map(|time| time.0),
            interval: keepalive.interval.map(|time| time.0),
        });
        Self { keepalive, buffer: buffer.and_then(|size| usize::try_from(size.0).ok()) }
    }
}

/// A duration of which zero means for ever.
fn for_ever(given: Option<policies::Duration>, default: Option<Duration>) -> Option<Duration> {
    given.map_or(default, |given| Some(given.0).filter(|given| !given.is_zero()))
}

#[cfg(test)]
mod tests;
