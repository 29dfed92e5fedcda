//! Connects peers marked by [`super::http1`].

use std::cell::RefCell;
use std::fmt;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use pingora_core::connectors::http::custom::{self, Connection};
use pingora_core::upstreams::peer::{Peer, PeerOptions};
use pingora_error::ErrorType::{
    ConnectError, ConnectRefused, ConnectTimedout, InternalError, InvalidCert, TLSHandshakeFailure,
};
use pingora_error::{BError, Error, ErrorType, Result};
use tokio::net::TcpSocket;
use tokio::time::timeout;

use super::stream::BackendStream;
use crate::upstream::{DialError, Strict, bad_certificate, open};

/// Whom a connection must lead to, and what is shown to it.
#[derive(Clone)]
pub(crate) struct Secure {
    pub(crate) strict: Arc<Strict>,
    pub(crate) identity: Option<Arc<rustls::sign::CertifiedKey>>,
}

impl fmt::Debug for Secure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secure")
    }
}

thread_local! {
    /// What the hook of the peer that is being connected on this thread has told.
    static TOLD: RefCell<Option<Secure>> = const { RefCell::new(None) };
}

/// Has a peer carry what it is to be connected with. A peer of Pingora's has one place for something of ours: the hook
/// for its socket. It is called here, with a socket, and tells within the call.
pub(crate) fn told(options: &mut PeerOptions, secure: Secure) {
    options.upstream_tcp_sock_tweak_hook = Some(Arc::new(move |_: &TcpSocket| {
        TOLD.with_borrow_mut(|told| *told = Some(secure.clone()));
        Ok(())
    }));
}

fn hear(options: &PeerOptions, address: SocketAddr) -> Result<Option<Secure>> {
    let Some(hook) = &options.upstream_tcp_sock_tweak_hook else { return Ok(None) };
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() };
    let socket = socket.map_err(|error| Error::because(ErrorType::SocketError, "connecting", error))?;
    TOLD.with_borrow_mut(|told| *told = None);
    hook(&socket)?;
    Ok(TOLD.with_borrow_mut(Option::take))
}

/// Connects to backends that speak HTTP/1.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Connector;

#[async_trait]
impl custom::Connector for Connector {
    /// There are none: every connection carries Pingora's own HTTP/1 session.
    type Session = ();

    async fn get_http_session<P: Peer + Send + Sync + 'static>(
        &self,
        peer: &P,
    ) -> Result<(Connection<()>, bool)> {
        let (Some(options), Some(address)) = (peer.get_peer_options(), peer.address().as_inet().copied())
        else {
            return Err(Error::explain(InternalError, "a peer without address or options").into_up());
        };
        let secure = hear(options, address)?;
        // Fails closed: a backend that is to be verified is not reached in plain text.
        if peer.tls() != secure.is_some() {
            return Err(Error::explain(InternalError, "a peer without its authorities").into_up());
        }
        let within = options.total_connection_timeout.unwrap_or(Duration::MAX);
        let opened = timeout(within, open(address, secure.as_ref(), &[b"http/1.1"])).await;
        let opened = opened.map_err(|_| Error::explain(ConnectTimedout, format!("{address}: too late")));
        let side = opened.map_err(|late| late.into_up())?.map_err(|error| failure(error, address))?;
        Ok((Connection::Stream(Box::new(BackendStream::new(side))), false))
    }

    async fn reused_http_session<P: Peer + Send + Sync + 'static>(&self, _: &P) -> Option<()> {
        None
    }

    async fn release_http_session<P: Peer + Send + Sync + 'static>(
        &self,
        (): (),
        _: &P,
        _: Option<Duration>,
    ) {
    }
}

fn failure(error: DialError, address: SocketAddr) -> BError {
    let etype = match &error {
        DialError::Connect(error) if error.kind() == ErrorKind::TimedOut => ConnectTimedout,
        DialError::Connect(error) if error.kind() == ErrorKind::ConnectionRefused => ConnectRefused,
        DialError::Connect(_) => ConnectError,
        DialError::Tls(error) if bad_certificate(error).is_some() => InvalidCert,
        DialError::Tls(_) => TLSHandshakeFailure,
    };
    Error::because(etype, address.to_string(), error).into_up()
}
