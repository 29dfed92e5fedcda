//! From an accepted socket to a client whose rule is known: TLS is peeked at, and ended where the listener ends it.

use std::io;
use std::sync::Arc;

use rustls::server::Acceptor;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::StartHandshake;
use tokio_rustls::server::TlsStream;

use super::StreamTable;
use super::account::Account;
use super::hello::Hello;
use super::side::Side;
use super::way::{NoWay, Way};
use crate::ingress::connection::Connection;
use crate::ingress::serve::Server;
use crate::ingress::tls::UNRECOGNIZED_NAME;
use crate::snapshot::Port;
use crate::telemetry::{Course, StreamRecord};
use crate::tls::{Handshake, Settings};
use crate::upstream::Cluster;

/// A connection whose bytes are not looked at.
#[derive(Debug)]
pub(crate) struct Opaque {
    pub(super) client: Side,
    /// What was read of it.
    pub(super) seen: Vec<u8>,
    pub(super) table: Arc<StreamTable>,
    pub(super) cluster: Arc<Cluster>,
    /// The client's TLS is the backend's: ours must not be put around it.
    pub(super) is_passed: bool,
    pub(super) account: Account,
    /// How long nothing may move; `None`: for ever.
    pub(super) idle: Option<std::time::Duration>,
}

impl Opaque {
    /// Whose it is.
    pub(crate) fn listener(&self) -> &Arc<str> {
        &self.table.name
    }

    /// True when the client speaks TLS, with whomever.
    pub(crate) const fn is_tls(&self) -> bool {
        self.is_passed || matches!(self.client, Side::Tls(_))
    }
}

/// What came of a handshake.
#[derive(Debug)]
pub(crate) enum Accepted {
    /// Requests follow.
    Http(Box<TlsStream<TcpStream>>),
    Opaque(Box<Opaque>),
    /// It is closed and accounted for.
    Refused,
}

/// A connection of a TCP listener, of which `seen` was read; `None`: it has no way, and is reset.
pub(crate) fn accept_tcp(
    tcp: TcpStream,
    seen: Vec<u8>,
    connection: &Connection,
    port: &Port,
    server: &Server,
) -> Option<Box<Opaque>> {
    let refuse = |listener: &str, no_way| {
        refused(server, connection, "TCP", None, listener, no_way);
        let _ = tcp.set_zero_linger();
    };
    let Some(table) = &port.streams else {
        refuse(&connection.gate.name, NoWay { rule: None, reason: "route_not_found" });
        return None;
    };
    let way = Way::find(table, None).map_err(|no_way| refuse(&table.name, no_way)).ok()?;
    let Way { rule, cluster } = way;
    let mut account =
        Account::new(server.telemetry.clone(), "TCP", table.name.clone(), rule, None, connection.peer);
    account.comes_from(connection.source_peer(), table.is_captured);
    let (client, table) = (Side::Plain(tcp), table.clone());
    let idle = connection.rules().times.tcp_idle;
    Some(Box::new(Opaque { client, seen, table, cluster, is_passed: false, account, idle }))
}

/// Takes a client's handshake, or only its ClientHello, on a port with TLS listeners. Bounded by the caller.
///
/// # Errors
/// When the client breaks off, speaks no TLS, or asks for a name that no listener has.
pub(crate) async fn accept_tls(
    mut tcp: TcpStream,
    seen: Vec<u8>,
    connection: &Connection,
    port: &Port,
    server: &Server,
) -> io::Result<Accepted> {
    if !seen.is_empty() {
        // What may begin a PROXY protocol header begins no handshake.
        return Err(io::ErrorKind::InvalidData.into());
    }
    let (seen, sni) = timeout(connection.rules().times.inspection, read_hello(&tcp)).await??;
    let handshake = port.tls.as_ref().and_then(|table| table.handshake(sni.as_deref()));
    let (settings, table) = match handshake {
        Some(Handshake::Http(Some(settings))) => {
            let stream = terminate(tcp, &seen, sni.as_deref(), settings, connection).await?;
            return Ok(Accepted::Http(Box::new(stream)));
        }
        Some(Handshake::Terminate(Some(settings), table)) => (Some(settings), table),
        Some(Handshake::Pass(table)) => (None, table),
        Some(Handshake::Http(None) | Handshake::Terminate(None, _)) | None => {
            // Where only TLSRoutes are served, no connection comes about, as for a name without a route: an alert would
            // say that TLS is spoken here. The conformance suite takes an alert for a connection.
            if port.tls.as_ref().is_some_and(|table| table.has_requests()) {
                let _ = tcp.write_all(&UNRECOGNIZED_NAME).await;
            } else {
                let _ = tcp.set_zero_linger();
            }
            return Err(io::Error::new(io::ErrorKind::NotFound, "no listener or certificate for this name"));
        }
    };
    // Before the handshake: who cannot be served should see that no connection comes about.
    let Way { rule, cluster } = match Way::find(table, sni.as_deref()) {
        Ok(way) => way,
        Err(no_way) => {
            refused(server, connection, "TLS", sni.as_deref(), &table.name, no_way);
            let _ = tcp.set_zero_linger();
            return Ok(Accepted::Refused);
        }
    };
    let is_passed = settings.is_none();
    let (client, seen) = match settings {
        None => (Side::Plain(tcp), seen),
        Some(settings) => {
            let stream = terminate(tcp, &seen, sni.as_deref(), settings, connection).await?;
            (Side::Tls(Box::new(stream.into())), Vec::new())
        }
    };
    let (telemetry, listener) = (server.telemetry.clone(), table.name.clone());
    let mut account = Account::new(telemetry, "TLS", listener, rule, sni, connection.peer);
    account.comes_from(connection.source_peer(), table.is_captured);
    let (table, idle) = (table.clone(), connection.rules().times.tcp_idle);
    Ok(Accepted::Opaque(Box::new(Opaque { client, seen, table, cluster, is_passed, account, idle })))
}

async fn read_hello(tcp: &TcpStream) -> io::Result<(Vec<u8>, Option<Box<str>>)> {
    let mut hello = Hello::default();
    loop {
        // Nothing is allocated for a client that sends nothing.
        tcp.readable().await?;
        match tcp.try_read_buf(&mut hello.room()) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            Err(error) => return Err(error),
        }
        if let Some(name) = hello.name()? {
            return Ok((hello.into_seen(), name));
        }
    }
}

/// Goes on with a handshake whose ClientHello was read already.
async fn terminate(
    mut tcp: TcpStream,
    seen: &[u8],
    sni: Option<&str>,
    settings: &Settings,
    connection: &Connection,
) -> io::Result<TlsStream<TcpStream>> {
    let mut acceptor = Acceptor::default();
    let mut unread = seen;
    let accepted = loop {
        match acceptor.accept() {
            Ok(Some(accepted)) => break accepted,
            Ok(None) if unread.is_empty() => return Err(io::ErrorKind::InvalidData.into()),
            Ok(None) => drop(acceptor.read_tls(&mut unread)?),
            Err((error, mut alert)) => {
                let mut bytes = Vec::new();
                alert.write(&mut bytes)?;
                let _ = tcp.write_all(&bytes).await;
                return Err(io::Error::new(io::ErrorKind::InvalidData, error));
            }
        }
    };
    let named =
        accepted.client_hello().server_name().map(|name| name.trim_end_matches('.').to_ascii_lowercase());
    // Both must have read the same, or a client could be let in by one listener for another.
    if named.as_deref() != sni || !unread.is_empty() {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let stream = StartHandshake::from_parts(accepted, tcp).into_stream(settings.config.clone()).await?;
    connection.secured(sni, settings, stream.get_ref().1.peer_certificates());
    Ok(stream)
}

/// Accounts for a connection that goes nowhere.
fn refused(
    server: &Server,
    connection: &Connection,
    protocol: &'static str,
    sni: Option<&str>,
    listener: &str,
    no_way: NoWay,
) {
    let NoWay { rule, reason } = no_way;
    match &rule {
        Some(rule) => rule.stats.refused(reason),
        None => server.telemetry.listener(listener).refused(reason),
    }
    server.telemetry.finish_stream(&StreamRecord {
        sni,
        source: connection.source_peer().and_then(|source| source.workload.as_ref()),
        course: Course {
            rule: rule.as_ref().map(|rule| &rule.name),
            ..Course::new(protocol, reason, listener, connection.peer)
        },
    });
}
