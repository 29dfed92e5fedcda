//! Which listener a request belongs to: its host says so, before anything is held to the listener's rules.

use http::{HeaderMap, StatusCode};
use policies::Reply;

use super::{fields, head};
use crate::context::RequestContext;
use crate::ingress::connection::Connection;
use crate::reply::text;
use crate::route::ListenerTable;
use crate::snapshot::Port;

/// Finds the listener of a checked host; in the context afterwards, and none if none serves it.
///
/// # Errors
/// The connection must not carry its requests. Nothing of the listener was applied by then, so its rules cannot be had
/// over another's connection.
pub(super) fn find(ctx: &mut RequestContext, headers: &HeaderMap) -> Result<(), Reply> {
    let connection = &ctx.exchange.connection;
    let kept;
    let port = match ctx.snapshot.ports.get(&connection.gate.bind) {
        Some(port) => port,
        // The port is closing: what still comes over its connections is served as it was.
        None => match connection.gate.kept() {
            Some(port) => {
                kept = port;
                &kept
            }
            None => return Ok(()),
        },
    };
    let host = ctx.sent.host.as_ref().map_or("", head::Host::as_str);
    let Some(asked) = port.routes.listener(host) else { return Ok(()) };
    let is_misdirected =
        connection.sni().is_some_and(|sni| is_misdirected(port, connection, sni, host, asked));
    ctx.listener = Some(asked.clone());
    if is_misdirected {
        ctx.is_grpc = fields::is_grpc(headers);
        return Err(text(StatusCode::MISDIRECTED_REQUEST, "misdirected_request"));
    }
    Ok(())
}

/// A TLS connection made for one listener must not carry requests for another, whose certificate and client checks it
/// never saw (GEP-3567, RFC 9110 section 15.5.20); nor one for a listener that has come to verify clients by other
/// authorities. Gateway API: "If another Listener has an exact match or more specific wildcard entry, the Gateway SHOULD
/// return a 421." A host that no listener serves is none of this: 404.
fn is_misdirected(
    port: &Port,
    connection: &Connection,
    sni: &str,
    host: &str,
    asked: &ListenerTable,
) -> bool {
    if asked.trust.is_some() && asked.trust != connection.trust() {
        return true;
    }
    // Without SNI the handshake was that of the listener without a host name.
    sni != host && port.routes.listener(sni).is_none_or(|shaken| !std::ptr::eq(&**shaken, asked))
}
