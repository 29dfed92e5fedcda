//! TLS: the ClientHello is read first, so that its SNI chooses the settings from the newest snapshot. A changed
//! certificate holds for the next handshake; nothing is bound or closed for it.

use std::io;

use rustls::server::Acceptor;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

use super::connection::Connection;
use crate::snapshot::Port;

/// A fatal `unrecognized_name` alert (RFC 8446 section 6.2) in a record of its own.
pub(crate) const UNRECOGNIZED_NAME: [u8; 7] = [21, 3, 3, 0, 2, 2, 112];

/// Takes a client's handshake. Bounded by the caller. `seen`: what was read already.
///
/// # Errors
/// When the client breaks off, asks for a name that is not served, or nothing fits.
pub(crate) async fn accept(
    tcp: TcpStream,
    seen: Vec<u8>,
    connection: &Connection,
    port: &Port,
) -> io::Result<TlsStream<TcpStream>> {
    if !seen.is_empty() {
        // What may begin a PROXY protocol header begins no handshake.
        return Err(io::ErrorKind::InvalidData.into());
    }
    let within = connection.rules().times.inspection;
    let mut start = timeout(within, LazyConfigAcceptor::new(Acceptor::default(), tcp)).await??;
    let hello = start.client_hello();
    // Hosts compare without case, and a trailing dot names the same host (RFC 6066 section 3 forbids sending it).
    let sni = hello.server_name().map(|name| name.trim_end_matches('.').to_ascii_lowercase());
    let settings = port.tls.as_ref().and_then(|table| table.settings(sni.as_deref())).cloned();
    let Some(settings) = settings else {
        let _ = start.io.write_all(&UNRECOGNIZED_NAME).await;
        return Err(io::Error::new(io::ErrorKind::NotFound, "no certificate for this name"));
    };
    let stream = start.into_stream(settings.config.clone()).await?;
    connection.secured(sni.as_deref(), &settings, stream.get_ref().1.peer_certificates());
    Ok(stream)
}

/// Why a handshake failed, as a stable token for metrics.
#[allow(
    clippy::wildcard_enum_match_arm,
    reason = "sockets know many more kinds, and all mean that the client is gone"
)]
pub(crate) fn reason(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound => "no_certificate",
        io::ErrorKind::TimedOut => "timeout",
        io::ErrorKind::InvalidData => "protocol",
        _ => "closed",
    }
}

/// True when the handshake settled on HTTP/2.
pub(crate) fn is_http2(stream: &TlsStream<TcpStream>) -> bool {
    stream.get_ref().1.alpn_protocol() == Some(b"h2")
}
