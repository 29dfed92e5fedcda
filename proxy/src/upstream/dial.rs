//! A connection of our own to an endpoint, for bytes that are no requests.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use rustls::CertificateError;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::Picked;
use super::client::ClientIdentity;
use super::peer::{
    CONNECT_TIMEOUT, KEEPALIVE_IDLE, KEEPALIVE_INTERVAL, KEEPALIVES, TOTAL_CONNECT_TIMEOUT, UNACKNOWLEDGED,
};
use crate::egress::Secure;
use crate::stream::Side;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DialError {
    /// The endpoint does not answer.
    #[error("{0}")]
    Connect(io::Error),
    /// It does, and is not who it must be, or speaks no TLS.
    #[error("TLS: {0}")]
    Tls(io::Error),
}

impl Picked {
    /// Connects to the endpoint. `may_secure`: over TLS if its backend has it; the certificate is verified in this very
    /// handshake, names and authorities. `identity`: what is shown to the backend then. Takes 2 s at most, 5 s with TLS.
    ///
    /// # Errors
    /// See [`DialError`].
    pub(crate) async fn dial(
        &self,
        may_secure: bool,
        identity: Option<&ClientIdentity>,
    ) -> Result<Side, DialError> {
        let secure = self.cluster.dialer.secure(identity).filter(|_| may_secure);
        // No ALPN: what is spoken inside is not known.
        open(self.endpoint.address, secure.as_ref(), &[]).await
    }
}

/// Connects, and shakes hands if it is to be `secure`. Takes 2 s at most, 5 s with TLS.
///
/// # Errors
/// See [`DialError`].
pub(crate) async fn open(
    address: SocketAddr,
    secure: Option<&Secure>,
    alpn: &[&[u8]],
) -> Result<Side, DialError> {
    let late = |_| io::Error::from(io::ErrorKind::TimedOut);
    let tcp = timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await;
    let tcp = tcp.map_err(late).flatten().map_err(DialError::Connect)?;
    let _ = tcp.set_nodelay(true);
    let socket = SockRef::from(&tcp);
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE_IDLE)
        .with_interval(KEEPALIVE_INTERVAL)
        .with_retries(KEEPALIVES);
    let _ = socket.set_tcp_keepalive(&keepalive);
    let _ = socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED));
    let Some(secure) = secure else { return Ok(Side::Plain(tcp)) };
    let secured =
        timeout(TOTAL_CONNECT_TIMEOUT.saturating_sub(CONNECT_TIMEOUT), shake(tcp, secure, alpn)).await;
    Ok(Side::Tls(Box::new(secured.map_err(late).flatten().map_err(DialError::Tls)?.into())))
}

/// Shakes hands, for as long as it takes.
///
/// # Errors
/// When the endpoint is not who it must be, or speaks no TLS.
pub(super) async fn shake(
    tcp: TcpStream,
    Secure { strict, identity }: &Secure,
    alpn: &[&[u8]],
) -> io::Result<TlsStream<TcpStream>> {
    let settings = strict.verifier.settings(identity.clone(), alpn).map_err(io::Error::other)?;
    TlsConnector::from(Arc::new(settings)).connect(strict.name.clone(), tcp).await
}

/// What is wrong with the certificate the endpoint has shown, where a handshake failed for that.
pub(crate) fn bad_certificate(error: &io::Error) -> Option<&CertificateError> {
    let Some(rustls::Error::InvalidCertificate(why)) = error.get_ref()?.downcast_ref() else { return None };
    Some(why)
}
