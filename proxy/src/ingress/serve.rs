//! From an accepted socket to the loop that serves it.

use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::task::Poll;

use config::Protocol;
use pingora_core::server::ShutdownWatch;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use tokio_rustls::server::TlsStream;

use super::connection::Connection;
use super::exchange::Exchange;
use super::gate::{Entered, Gate};
use super::preface::Preface;
use super::stream::ClientStream;
use super::timer::Timer;
use super::{http1, http2, proxy_protocol, tls};
use crate::egress::Frame;
use crate::overload::Load;
use crate::snapshot::{Port, Reader};
use crate::stream::{self, Accepted, Opaque};
use crate::telemetry::{Spoken, Telemetry};

/// What every connection of a proxy shares.
pub(crate) struct Server {
    pub(crate) proxy: Arc<Frame>,
    pub(crate) reader: Reader,
    pub(crate) telemetry: Arc<Telemetry>,
    /// How much its worker can take.
    pub(crate) load: Arc<Load>,
    /// Pingora wants to be told of a shutdown; gates do that here, so this one never changes.
    pub(crate) never: ShutdownWatch,
    _never: watch::Sender<bool>,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").finish_non_exhaustive()
    }
}

impl Server {
    pub(crate) fn new(proxy: Arc<Frame>, reader: Reader, telemetry: Arc<Telemetry>, load: Arc<Load>) -> Self {
        let (sender, never) = watch::channel(false);
        Self { proxy, reader, telemetry, load, never, _never: sender }
    }

    /// A port as configured now.
    pub(crate) fn port(&self, gate: &Gate) -> Option<Arc<Port>> {
        self.reader.load().ports.get(&gate.bind).cloned().or_else(|| gate.kept())
    }

    /// Makes a connection that of the pod which has its address now, as far as that is known.
    pub(crate) fn bind(&self, connection: &Connection) {
        connection.resident(&self.reader.load().workloads);
    }
}

/// Serves one connection to its end.
pub(crate) async fn serve(
    tcp: TcpStream,
    mut connection: Arc<Connection>,
    server: Arc<Server>,
    mut entered: Entered,
) {
    connection.rules().set_up(&tcp);
    // Boxed apart, so that the handshake's state is gone while the connection is served.
    let opened = Box::pin(open(tcp, &mut connection, &server, &mut entered)).await;
    match opened {
        Ok(Opened::Http(mut stream, Preface::Http1)) => {
            entered.speaks(Spoken::Http1);
            let exchange = Arc::new(Exchange::new(connection));
            stream.serve(exchange.clone());
            http1::serve(Box::new(stream), exchange, &server).await;
        }
        Ok(Opened::Http(stream, Preface::Http2)) => {
            entered.speaks(Spoken::Http2);
            Box::pin(http2::serve(stream, connection, &server)).await;
        }
        Ok(Opened::Opaque(opaque)) => {
            entered.speaks(if opaque.is_tls() { Spoken::Tls } else { Spoken::Tcp });
            connection.streams(opaque.listener());
            Box::pin(stream::serve(*opaque)).await;
        }
        Ok(Opened::Refused) => {}
        Err(error) => tracing::debug!(peer = %connection.peer, %error, "connection not served"),
    }
}

/// What a connection turned out to be.
enum Opened {
    Http(ClientStream, Preface),
    Opaque(Box<Opaque>),
    Refused,
}

impl Opened {
    fn https(stream: TlsStream<TcpStream>) -> Self {
        let preface = if tls::is_http2(&stream) { Preface::Http2 } else { Preface::Http1 };
        Self::Http(ClientStream::tls(stream), preface)
    }
}

/// Finds out who the client is, where a PROXY protocol header says so; then what was read beside it. `None`: it is
/// closed and counted.
async fn identify(
    tcp: &TcpStream,
    connection: &mut Arc<Connection>,
    entered: &mut Entered,
) -> Option<Vec<u8>> {
    let rules = connection.rules();
    let Some(wanted) = rules.proxy_protocol else { return Some(Vec::new()) };
    let said = match proxy_protocol::expect(tcp, wanted, rules.times.inspection).await {
        Ok(said) => said,
        Err(reason) => {
            if let Some(reason) = reason {
                connection.gate.turned_away(reason);
            }
            return None;
        }
    };
    if let Some(peer) = said.peer {
        *connection = Arc::new(connection.of_client(peer));
    }
    if !entered.belongs_to(connection) {
        connection.gate.turned_away("address_limit");
        return None;
    }
    Some(said.seen)
}

async fn open(
    tcp: TcpStream,
    connection: &mut Arc<Connection>,
    server: &Server,
    entered: &mut Entered,
) -> io::Result<Opened> {
    let Some(seen) = identify(&tcp, connection, entered).await else { return Ok(Opened::Refused) };
    let connection: &Connection = connection;
    let port = server.port(&connection.gate).ok_or(io::ErrorKind::NotConnected)?;
    let within = connection.rules().times.handshake;
    match port.protocol {
        Protocol::Https => {
            let handshake = timeout(within, tls::accept(tcp, seen, connection, &port)).await;
            let stream = handshake.unwrap_or_else(|late| Err(late.into())).inspect_err(|error| {
                connection.gate.handshake_failed(tls::reason(error));
            })?;
            Ok(Opened::https(stream))
        }
        Protocol::Tls => {
            let handshake = timeout(within, stream::accept_tls(tcp, seen, connection, &port, server)).await;
            let accepted = handshake.unwrap_or_else(|late| Err(late.into())).inspect_err(|error| {
                connection.gate.handshake_failed(tls::reason(error));
            })?;
            Ok(match accepted {
                Accepted::Http(stream) => Opened::https(*stream),
                Accepted::Opaque(opaque) => Opened::Opaque(opaque),
                Accepted::Refused => Opened::Refused,
            })
        }
        Protocol::Tcp => {
            Ok(stream::accept_tcp(tcp, seen, connection, &port, server)
                .map_or(Opened::Refused, Opened::Opaque))
        }
        // No connection comes by a port for datagrams.
        Protocol::Udp => Err(io::ErrorKind::Unsupported.into()),
        Protocol::Http => {
            drop(port);
            let mut stream = ClientStream::plain(tcp, seen);
            let mut timer = Timer::default();
            let since = Instant::now();
            let preface = poll_fn(|cx| {
                if let Poll::Ready(preface) = stream.poll_preface(cx) {
                    return Poll::Ready(preface);
                }
                if http1::is_quiet(connection, since, &mut timer, cx)
                    || http1::is_idle(connection, since, &mut timer, cx)
                {
                    return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
                }
                Poll::Pending
            })
            .await?;
            Ok(Opened::Http(stream, preface))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size<A, B, C, D, F: Future>(_: impl Fn(A, B, C, D) -> F) -> usize {
        size_of::<F>()
    }

    /// What every idle connection pays beside its socket. The bound is close, so that growth is noticed.
    #[test]
    fn a_connection_waits_in_a_small_task() {
        let sizes = [size(serve), size_of::<ClientStream>(), size_of::<Connection>(), size_of::<Exchange>()];
        assert!(sizes.iter().sum::<usize>() <= 1400, "{sizes:?}");
    }
}
