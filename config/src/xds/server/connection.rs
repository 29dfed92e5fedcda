//! One connection of a proxy: TLS, HTTP/2, calls. Bounded in time until somebody proved who they are.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use super::Server;
use super::call::{Caller, answer};

/// Longest time for a TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// After this a connection on which nobody proved who they are ends.
const ANONYMOUS: Duration = Duration::from_secs(30);
/// A peer that is gone is found after at most twice this.
pub(super) const KEEP_ALIVE: Duration = Duration::from_secs(10);
/// Calls at one time on one connection: a stream, and a certificate now and then.
const CALLS: u32 = 8;

pub(super) async fn serve(server: Server, socket: TcpStream, peer: SocketAddr) {
    // Small changes shall not wait for more.
    _ = socket.set_nodelay(true);
    let config = server.tls.borrow().config.clone();
    let stream = match tokio::time::timeout(HANDSHAKE, TlsAcceptor::from(config).accept(socket)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            tracing::info!(%peer, %error, "TLS handshake of a proxy failed");
            return;
        }
        Err(_) => {
            tracing::info!(%peer, "TLS handshake of a proxy took too long");
            return;
        }
    };
    let leaf = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
    let caller = Arc::new(Caller {
        server,
        peer,
        certificate: leaf.map(|leaf| leaf.clone().into_owned()),
        is_known: AtomicBool::new(false),
    });
    let calls = caller.clone();
    let service = service_fn(move |request| {
        let caller = calls.clone();
        async move { Ok::<_, Infallible>(answer(&caller, request).await) }
    });
    let connection = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE)
        .max_concurrent_streams(CALLS)
        .max_header_list_size(32 << 10)
        .max_send_buf_size(256 << 10)
        .serve_connection(TokioIo::new(stream), service);
    let stranger = async {
        tokio::time::sleep(ANONYMOUS).await;
        if caller.is_known.load(Ordering::Relaxed) {
            std::future::pending().await
        }
    };
    tokio::select! {
        ended = connection => {
            if let Err(error) = ended {
                tracing::debug!(%peer, %error, "connection of a proxy broke");
            }
        }
        () = stranger => tracing::info!(%peer, "connection ended: nobody said in time who they are"),
    }
}
