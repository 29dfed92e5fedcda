//! What connections are held to, before it is known which listener of their port a request is for.
//!
//! Of TLS alone each listener has its own; of the rest those of a port's first listener hold.

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
    pub(super) fn compile(spec: &ClientTraffic) -> Result<Self, String> {
        let connection = spec.connection.as_ref();
        if connection.is_some_and(|connection| connection.buffer_limit.is_some()) {
            // Pingora's buffers are of fixed sizes: 64 KiB for each direction of a request, and less between.
            return Err("connection.bufferLimit: cannot be chosen: leave it out".to_owned());
        }
        let proxy_protocol = spec.proxy_protocol.as_ref().map(|header| match header.optional {
            Some(true) => ProxyProtocol::Optional,
            Some(false) | None => ProxyProtocol::Required,
        });
        Ok(Self {
            proxy_protocol,
            limits: Limits::compile(spec)?,
            times: Times::compile(spec.timeout.as_ref())?,
            body: BodyRules::compile(spec.limits.as_ref()),
            http2: Http2Rules::compile(spec.http2.as_ref())?,
            tls: spec.tls.as_ref().map(TlsRules::compile).transpose()?.unwrap_or_default(),
            socket: Socket::compile(spec)?,
        })
    }

    /// True when listeners with these two can share a port without one of them giving in.
    pub(crate) fn agrees_with(&self, other: &Self) -> bool {
        *self == Self { tls: self.tls.clone(), ..other.clone() }
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
    fn compile(spec: &ClientTraffic) -> Result<Self, String> {
        let buffer = spec.connection.as_ref().and_then(|connection| connection.socket_buffer_limit);
        let buffer = buffer
            .map(|size| match usize::try_from(size.0) {
                Ok(bytes @ 4_096..=67_108_864) => Ok(bytes),
                Ok(_) | Err(_) => {
                    Err(format!("connection.socketBufferLimit: {size} is out of range: write 4Ki to 64Mi"))
                }
            })
            .transpose()?;
        let whole = |name: &str, duration: Option<policies::Duration>| match duration {
            Some(duration) if duration.0.subsec_nanos() != 0 || duration.0.is_zero() => {
                Err(format!("tcpKeepalive.{name}: {duration} is not whole seconds: write 1s or more"))
            }
            Some(duration) if duration.0 > Duration::from_secs(32_767) => {
                Err(format!("tcpKeepalive.{name}: {duration} is more than the kernel takes: write up to 9h"))
            }
            duration => Ok(duration.map(|duration| duration.0)),
        };
        let keepalive = match &spec.tcp_keepalive {
            None => None,
            Some(keepalive) => {
                if keepalive.probes.is_some_and(|probes| !(1..=127).contains(&probes)) {
                    return Err("tcpKeepalive.probes: write 1 to 127".to_owned());
                }
                Some(Probes {
                    probes: keepalive.probes,
                    idle: whole("idleTime", keepalive.idle_time)?,
                    interval: whole("interval", keepalive.interval)?,
                })
            }
        };
        Ok(Self { keepalive, buffer })
    }
}

/// A duration that has to be more than nothing.
fn positive(field: &str, given: Option<policies::Duration>, default: Duration) -> Result<Duration, String> {
    match given {
        Some(given) if given.0.is_zero() => {
            Err(format!("{field}: zero would end every connection: write a longer time, or leave it out"))
        }
        Some(given) => Ok(given.0),
        None => Ok(default),
    }
}

/// A duration of which zero means for ever.
fn for_ever(given: Option<policies::Duration>, default: Option<Duration>) -> Option<Duration> {
    given.map_or(default, |given| Some(given.0).filter(|given| !given.is_zero()))
}

#[cfg(test)]
mod tests;
