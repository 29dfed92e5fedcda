//! Narrow ways to what is private, for the fuzz targets (`fuzz/`) and differential tests. Not an interface: it changes
//! with what is behind it.

use std::io::Cursor;

use bytes::BufMut as _;
use futures::FutureExt as _;
use http::header::HOST;
use http::request::Parts;
use http::{HeaderValue, Request, Version};
use pingora_core::protocols::http::v1::client;
use pingora_core::protocols::http::v1::server::HttpSession;
use pingora_http::RequestHeader;
use policies::Scheme;

use crate::egress::reply::Reply;
use crate::engine::head::{self, Setting};
use crate::engine::path::{EscapedSlashes, PathRules, normal};
use crate::ingress::wire::Wire;
use crate::ingress::wire::chunked::Chunked;
use crate::ingress::wire::frames::Frames;
use crate::stream::hello::Hello;
use crate::telemetry::access_log::escape;

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
    let setting = Setting { trusted: false, is_upgrade, paths: &PathRules::DEFAULT };
    let checked = match head::check(&mut parts, &setting) {
        Ok(checked) => checked,
        Err(reply) => return Asked::Refused(reply.reason),
    };
    let fields = parts.headers.iter().map(|(name, value)| (name.to_string(), value.as_bytes().to_vec()));
    Asked::Taken(Taken {
        method: parts.method.to_string(),
        target: parts.uri.to_string(),
        minor: u8::from(parts.version == Version::HTTP_11),
        host: checked.host.as_str().to_owned(),
        fields: fields.collect(),
        body: body(&mut session),
    })
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

/// What becomes of `%2F` and `%5C`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Slashes {
    /// Refused.
    Reject,
    /// Left.
    Keep,
    /// They become `/`.
    Unescape,
}

/// Every way of reading paths: escaped slashes, and whether runs of slashes become one.
pub const PATHS: [(Slashes, bool); 6] = [
    (Slashes::Reject, true),
    (Slashes::Unescape, true),
    (Slashes::Keep, true),
    (Slashes::Reject, false),
    (Slashes::Unescape, false),
    (Slashes::Keep, false),
];

/// The form in which a path is routed and forwarded; `None`: 400.
#[must_use]
pub fn path(path: &str, (slashes, merge_slashes): (Slashes, bool)) -> Option<String> {
    let escaped_slashes = match slashes {
        Slashes::Reject => EscapedSlashes::Reject,
        Slashes::Keep => EscapedSlashes::Keep,
        Slashes::Unescape => EscapedSlashes::Unescape,
    };
    normal(path, &PathRules { escaped_slashes, merge_slashes }).ok().map(Into::into)
}

/// The name a Host field is routed by.
#[must_use]
pub fn host(value: &[u8]) -> Option<String> {
    let (mut parts, ()) = Request::new(()).into_parts();
    parts.headers.insert(HOST, HeaderValue::from_bytes(value).ok()?);
    let setting = Setting { trusted: false, is_upgrade: false, paths: &PathRules::DEFAULT };
    head::check(&mut parts, &setting).ok().map(|checked| checked.host.as_str().to_owned())
}

/// What HTTP/2 clients send, in pieces, after `sent` bytes of ours; false when it is too much.
#[must_use]
pub fn frames(pieces: &[&[u8]], sent: usize) -> bool {
    let mut frames = Frames::default();
    frames.sent(sent);
    pieces.iter().all(|piece| frames.pass(piece))
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
