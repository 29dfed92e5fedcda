//! Narrow ways to what is private, for the fuzz targets (`fuzz/`) and differential tests. Not an interface: it changes
//! with what is behind it.

use std::io::Cursor;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use bytes::BufMut as _;
use futures::FutureExt as _;
use http::header::HOST;
use http::request::Parts;
use http::{HeaderValue, Request, Version};
use pingora_core::protocols::http::v1::client;
use pingora_core::protocols::http::v1::server::HttpSession;
use pingora_http::RequestHeader;
use policies::client_traffic::{ClientIpDetection, ClientTraffic, EscapedSlashes};
use policies::{Reply as Answer, Scheme};

use crate::egress::reply::Reply;
use crate::engine::head::{self, Setting};
use crate::ingress::proxy_protocol::{self, Malformed, Parsed};
use crate::ingress::wire::Wire;
use crate::ingress::wire::chunked::Chunked;
use crate::ingress::wire::frames::Frames;
use crate::stream::hello::Hello;
use crate::telemetry::access_log::escape;
use crate::traffic::Traffic;
use crate::traffic::request::RequestRules;
use crate::traffic::request::client::FORWARDED_FOR;
use crate::traffic::request::path::{PathRules, normal};

const NOBODY: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 1);

/// An HTTP/1 request as far as it gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    /// By whom or with which reason.
    Refused(&'static str),
    /// The head does not end.
    Unfinished,
    /// It would be routed.
    Taken(Taken),
}

/// A request as routes, policies and backends see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// Method.
    pub method: String,
    /// Path and query.
    pub target: String,
    /// 0 or 1.
    pub minor: u8,
    /// Name it is routed by.
    pub host: String,
    /// Fields with lower-case names.
    pub fields: Vec<(String, Vec<u8>)>,
    /// Body as it is read; `None` when it does not end.
    pub body: Option<Vec<u8>>,
}

/// From bytes, in the pieces in which they come, over the wire's checks, Pingora's parser and the engine's checks.
#[must_use]
pub fn request(pieces: &[&[u8]]) -> Asked {
    let mut wire = Wire::default();
    for piece in pieces {
        if let Err(fault) = wire.pass(piece) {
            return Asked::Refused(fault.reason());
        }
    }
    if matches!(wire, Wire::Head(_)) {
        return Asked::Unfinished;
    }
    let mut session = HttpSession::new(Box::new(Cursor::new(pieces.concat())));
    // Everything is there, so nothing waits.
    let Some(Ok(Some(_))) = session.read_request().now_or_never() else { return Asked::Refused("pingora") };
    if let Err(reply) = head::check_form(session.req_header(), Scheme::Http) {
        return Asked::Refused(reply.reason);
    }
    let mut parts: Parts = session.req_header().clone().into();
    let is_upgrade = session.is_upgrade_req();
    let host = match checked(&mut parts, is_upgrade) {
        Ok(host) => host,
        Err(reply) => return Asked::Refused(reply.reason),
    };
    let fields = parts.headers.iter().map(|(name, value)| (name.to_string(), value.as_bytes().to_vec()));
    Asked::Taken(Taken {
        method: parts.method.to_string(),
        target: parts.uri.to_string(),
        minor: u8::from(parts.version == Version::HTTP_11),
        host: host.as_str().to_owned(),
        fields: fields.collect(),
        body: body(&mut session),
    })
}

/// As the engine does it, for a listener that says nothing.
fn checked(parts: &mut Parts, is_upgrade: bool) -> Result<head::Host, Answer> {
    let mut host = head::host(parts)?;
    let setting =
        Setting { rules: RequestRules::of_nobody(), peer: NOBODY, trusts_clients: false, is_upgrade };
    head::check(parts, &mut host, &setting).map(|_| host)
}

fn body(session: &mut HttpSession) -> Option<Vec<u8>> {
    let mut all = Vec::new();
    while let Some(bytes) = session.read_body_bytes().now_or_never()?.ok()? {
        all.extend_from_slice(&bytes);
    }
    Some(all)
}

/// A chunked body in pieces: `Some(true)` when it has ended, `None` when it is refused.
#[must_use]
pub fn chunked(pieces: &[&[u8]]) -> Option<bool> {
    let mut chunked = Chunked::default();
    for piece in pieces {
        chunked.feed(piece).ok()?;
    }
    Some(chunked.is_done())
}

/// What a backend answers, in pieces, to a HEAD or a GET: `Some(true)` when the answer has ended, `None` when it is
/// refused.
#[must_use]
pub fn reply(to_head: bool, pieces: &[&[u8]]) -> Option<bool> {
    let mut reply = Reply::default();
    reply.ask(if to_head { b"HEAD / HTTP/1.1\r\n\r\n" } else { b"GET / HTTP/1.1\r\n\r\n" });
    for piece in pieces {
        reply.pass(piece).ok()?;
    }
    Some(matches!(reply, Reply::Idle))
}

/// The same answer as Pingora reads it: status and body, `None` when it reads none or it does not end.
#[must_use]
pub fn answered(to_head: bool, answer: &[u8]) -> Option<(u16, Vec<u8>)> {
    let request = RequestHeader::build(if to_head { "HEAD" } else { "GET" }, b"/", None).ok()?;
    // What is written goes over what stands before the answer.
    let mut stream =
        if to_head { b"HEAD / HTTP/1.1\r\n\r\n".to_vec() } else { b"GET / HTTP/1.1\r\n\r\n".to_vec() };
    stream.extend_from_slice(answer);
    let mut session = client::HttpSession::new(Box::new(Cursor::new(stream)));
    session.write_request_header(Box::new(request)).now_or_never()?.ok()?;
    let mut status = 100;
    while (100..200).contains(&status) && status != 101 {
        session.read_response().now_or_never()?.ok()?;
        status = session.get_status()?.as_u16();
    }
    let mut body = Vec::new();
    while let Some(bytes) = session.read_body_bytes().now_or_never()?.ok()? {
        body.extend_from_slice(&bytes);
    }
    Some((status, body))
}

/// Every way of reading paths: escaped slashes, and whether runs of slashes become one.
pub const PATHS: [(EscapedSlashes, bool); 6] = [
    (EscapedSlashes::RejectRequest, true),
    (EscapedSlashes::UnescapeAndForward, true),
    (EscapedSlashes::KeepUnchanged, true),
    (EscapedSlashes::RejectRequest, false),
    (EscapedSlashes::UnescapeAndRedirect, false),
    (EscapedSlashes::KeepUnchanged, false),
];

/// The form in which a path is routed and forwarded; `None`: 400.
#[must_use]
pub fn path(path: &str, (escaped_slashes, merge_slashes): (EscapedSlashes, bool)) -> Option<String> {
    normal(path, &PathRules { escaped_slashes, merge_slashes }).ok().map(|normal| normal.path.into_owned())
}

/// Who the client is of a request with these `X-Forwarded-For` fields; and whether a proxy says so whose word holds.
///
/// # Errors
/// What is wrong with `spec`.
pub fn client(
    spec: &ClientIpDetection,
    fields: &[&[u8]],
    peer: SocketAddr,
) -> Result<(SocketAddr, bool), String> {
    let spec = ClientTraffic { client_ip_detection: Some(spec.clone()), ..ClientTraffic::default() };
    let traffic = Traffic::compile(Some(&spec))?;
    let values = fields.iter().filter_map(|field| HeaderValue::from_bytes(field).ok());
    let headers = values.map(|value| (FORWARDED_FOR, value)).collect();
    let found = traffic.request.client.find(&headers, peer).map_err(|_| "nobody")?;
    Ok((found.address, found.is_forwarded))
}

/// The name a Host field is routed by.
#[must_use]
pub fn host(value: &[u8]) -> Option<String> {
    let (mut parts, ()) = Request::new(()).into_parts();
    parts.headers.insert(HOST, HeaderValue::from_bytes(value).ok()?);
    checked(&mut parts, false).ok().map(|host| host.as_str().to_owned())
}

/// What HTTP/2 clients send, in pieces, after `sent` bytes of ours; false when it is more than `limit` allows.
#[must_use]
pub fn frames(pieces: &[&[u8]], sent: usize, limit: u64) -> bool {
    let mut frames = Frames::new(limit);
    frames.sent(sent);
    pieces.iter().all(|piece| frames.pass(piece))
}

/// What a connection begins with, where a PROXY header is expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Preamble {
    /// A header of so many bytes, and the client it names.
    Header(usize, Option<SocketAddr>),
    /// It may become one.
    More,
    /// There is none.
    Other,
    /// Neither a header nor anything else.
    Malformed,
}

/// The PROXY header at the beginning.
#[must_use]
pub fn proxy_protocol(bytes: &[u8]) -> Preamble {
    match proxy_protocol::parse(bytes) {
        Ok(Parsed::Header(length, peer)) => Preamble::Header(length, peer),
        Ok(Parsed::More(_)) => Preamble::More,
        Ok(Parsed::Other) => Preamble::Other,
        Err(Malformed) => Preamble::Malformed,
    }
}

/// Untrusted bytes as they are in the access log.
#[must_use]
pub fn escaped(bytes: &[u8], limit: usize) -> Vec<u8> {
    let mut out = Vec::new();
    escape::escape(&mut out, bytes, limit);
    out
}

/// A ClientHello as far as it gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Greeting {
    /// Refused.
    Malformed,
    /// It does not end.
    Unfinished,
    /// With a name, if it has one.
    Read(Option<String>),
}

/// Reads a ClientHello that comes in pieces of a size.
#[must_use]
pub fn client_hello(bytes: &[u8], piece: usize) -> Greeting {
    let mut hello = Hello::default();
    let mut rest = bytes;
    while !rest.is_empty() {
        let mut room = hello.room();
        let (taken, after) = rest.split_at(piece.max(1).min(rest.len()).min(room.remaining_mut()));
        room.put_slice(taken);
        drop(room);
        match hello.name() {
            Ok(None) if !taken.is_empty() => rest = after,
            Ok(None) => return Greeting::Unfinished,
            Ok(Some(name)) => return Greeting::Read(name.map(Into::into)),
            Err(_) => return Greeting::Malformed,
        }
    }
    Greeting::Unfinished
}
