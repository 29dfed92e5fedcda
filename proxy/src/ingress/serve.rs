//! From an accepted socket to the loop that serves it.

use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::task::Poll;

use config::Protocol;
use pingora_core::protocols::http::v2::server::{H2Options, default_h2_options};
use pingora_core::server::ShutdownWatch;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use tokio_rustls::server::TlsStream;

use super::connection::Connection;
use super::exchange::Exchange;
use super::gate::Entered;
use super::preface::Preface;
use super::stream::ClientStream;
use super::timer::Timer;
use super::{HANDSHAKE, IDLE, http1, http2, tls};
use crate::egress::Frame;
use crate::snapshot::{Port, Reader};
use crate::stream::{self, Accepted, Opaque};
use crate::telemetry::{Spoken, Telemetry};

/// What every connection of a proxy shares.
pub(crate) struct Server {
    pub(crate) proxy: Arc<Frame>,
    pub(crate) reader: Reader,
    pub(crate) telemetry: Arc<Telemetry>,
    pub(crate) http2: H2Options,
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
    pub(crate) fn new(proxy: Arc<Frame>, reader: Reader, telemetry: Arc<Telemetry>) -> Self {
        let (sender, never) = watch::channel(false);
        let mut http2 = default_h2_options();
        // A stream's window bounds what a slow backend makes us hold of an upload; the connection's, all of them.
        http2.initial_window_size(256 * 1024).initial_connection_window_size(1024 * 1024);
        Self { proxy, reader, telemetry, http2, never, _never: sender }
    }

    /// The port a connection belongs to, as configured now.
    fn port(&self, connection: &Connection) -> Option<Arc<Port>> {
        self.reader.load().ports.get(&connection.gate.bind).cloned().or_else(|| connection.gate.kept())
    }
}

/// Serves one connection to its end.
pub(crate) async fn serve(
    tcp: TcpStream,
    connection: Arc<Connection>,
    server: Arc<Server>,
    mut entered: Entered,
) {
    let _ = tcp.set_nodelay(true);
    // Boxed apart, so that the handshake's state is gone while the connection is served.
    let opened = Box::pin(open(tcp, &connection, &server)).await;
    // A head is read before it is known whose rules it is held to, so its size is the port's to say.
    let head_bytes = server.port(&connection).and_then(|port| port.traffic.request.head_bytes);
    match opened {
        Ok(Opened::Http(mut stream, Preface::Http1)) => {
            entered.speaks(Spoken::Http1);
            let exchange = Arc::new(Exchange::new(connection));
            stream.serve(exchange.clone(), head_bytes);
            http1::serve(Box::new(stream), exchange, &server).await;
        }
        Ok(Opened::Http(stream, Preface::Http2)) => {
            entered.speaks(Spoken::Http2);
            Box::pin(http2::serve(stream, connection, &server, head_bytes)).await;
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

async fn open(tcp: TcpStream, connection: &Connection, server: &Server) -> io::Result<Opened> {
    let port = server.port(connection).ok_or(io::ErrorKind::NotConnected)?;
    match port.protocol {
        Protocol::Https => {
            let handshake = timeout(HANDSHAKE, tls::accept(tcp, connection, &port)).await;
            let stream = handshake.unwrap_or_else(|late| Err(late.into())).inspect_err(|error| {
                connection.gate.handshake_failed(tls::reason(error));
            })?;
            Ok(Opened::https(stream))
        }
        Protocol::Tls => {
            let handshake = timeout(HANDSHAKE, stream::accept_tls(tcp, connection, &port, server)).await;
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
            Ok(stream::accept_tcp(tcp, connection, &port, server).map_or(Opened::Refused, Opened::Opaque))
        }
        // No connection comes by a port for datagrams.
        Protocol::Udp => Err(io::ErrorKind::Unsupported.into()),
        Protocol::Http => {
            drop(port);
            let mut stream = ClientStream::plain(tcp);
            let mut timer = Timer::default();
            let since = Instant::now();
            let preface = poll_fn(|cx| {
                if let Poll::Ready(preface) = stream.poll_preface(cx) {
                    return Poll::Ready(preface);
                }
                if http1::is_quiet(connection, since, &mut timer, cx)
                    || timer.poll(since + IDLE, cx).is_ready()
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
