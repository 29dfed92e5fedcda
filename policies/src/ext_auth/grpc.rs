//! Envoy's gRPC contract: `envoy.service.auth.v3.Authorization/Check`.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Version};

use super::body::{PARTIAL, Shown, length};
use super::decision::{Decision, refusal};
use super::proto;
use super::proto::{
    Address, Allowed, Attributes, CheckRequest, CheckResponse, Denied, HeaderOption, HttpRequest, Peer, Said,
    SocketAddress, Timestamp,
};
use crate::caller::PeerName;
use crate::changes::{Change, Changes, How, Unusable};
use crate::grpc::{self, Failed};
use crate::{Answer, Call, Context, Request, head};

const CHECK: &str = "/envoy.service.auth.v3.Authorization/Check";
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// A service of the gRPC contract.
#[derive(Debug)]
pub(super) struct Service {
    pub(super) authority: HeaderValue,
    /// Fields it is told; `None`: all.
    pub(super) told: Option<Box<[HeaderName]>>,
    /// Bodies go as bytes, whatever they are.
    pub(super) packs: bool,
    pub(super) extensions: BTreeMap<String, String>,
}

impl Service {
    pub(super) fn ask(
        &self,
        req: &Request,
        body: Option<&Shown>,
        ctx: &Context,
        timeout: Duration,
    ) -> Option<Call> {
        let message = CheckRequest { attributes: Some(self.attributes(req, body, ctx)) };
        grpc::call(CHECK, &self.authority, &message, timeout)
    }

    fn attributes(&self, req: &Request, body: Option<&Shown>, ctx: &Context) -> Attributes {
        let host = head::authority(req).unwrap_or_default();
        let target = req.uri.path_and_query().map_or("/", PathAndQuery::as_str);
        let mut headers = BTreeMap::new();
        match &self.told {
            Some(told) => told.iter().for_each(|name| tell(&mut headers, name, &req.headers)),
            None => {
                req.headers.keys().for_each(|name| tell(&mut headers, name, &req.headers));
                for (name, value) in [
                    (":authority", host),
                    (":method", req.method.as_str()),
                    (":path", target),
                    (":scheme", ctx.scheme.as_str()),
                ] {
                    headers.insert(name.to_owned(), value.to_owned());
                }
            }
        }
        headers.remove(PARTIAL.as_str());
        headers.extend(body.map(|body| (PARTIAL.as_str().to_owned(), body.is_partial().to_owned())));
        let whole = body.filter(|body| body.is_whole).map(|body| body.bytes.len() as u64);
        let size = length(req).or(whole).and_then(|length| i64::try_from(length).ok());
        let (body, raw_body) = body.map(|body| self.pack(&body.bytes)).unwrap_or_default();
        let text = |name: &HeaderName| req.headers.get(name).and_then(|value| value.to_str().ok());
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let http = HttpRequest {
            id: text(&X_REQUEST_ID).unwrap_or_default().to_owned(),
            method: req.method.as_str().to_owned(),
            headers,
            path: target.to_owned(),
            host: host.to_owned(),
            scheme: ctx.scheme.as_str().to_owned(),
            size: size.unwrap_or(-1),
            protocol: if req.version == Version::HTTP_2 { "HTTP/2" } else { "HTTP/1.1" }.to_owned(),
            body,
            raw_body,
        };
        let time = Timestamp {
            seconds: i64::try_from(now.as_secs()).unwrap_or(i64::MAX),
            nanos: i32::try_from(now.subsec_nanos()).unwrap_or(0),
        };
        let client = ctx.client.map(|client| client.to_canonical().to_string()).unwrap_or_default();
        Attributes {
            source: Some(Peer { address: address(client, 0), principal: principal(ctx) }),
            destination: Some(Peer { address: address(String::new(), ctx.port), principal: String::new() }),
            request: Some(proto::Request { time: Some(time), http: Some(http) }),
            context_extensions: self.extensions.clone(),
        }
    }

    /// `body` and `raw_body`, of which one is empty: protobuf's strings hold UTF-8 only, and nothing shall be lost.
    fn pack(&self, bytes: &Bytes) -> (String, Bytes) {
        match std::str::from_utf8(bytes) {
            Ok(text) if !self.packs => (text.to_owned(), Bytes::new()),
            _ => (String::new(), bytes.clone()),
        }
    }
}

/// A field's values as one, as Envoy joins them. What is not UTF-8 cannot be told as it is.
fn tell(headers: &mut BTreeMap<String, String>, name: &HeaderName, fields: &HeaderMap) {
    let mut values = fields.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes()));
    if let Some(first) = values.next() {
        let joined = values.fold(first.into_owned(), |all, value| all + "," + &value);
        headers.insert(name.as_str().to_owned(), joined);
    }
}

fn address(address: String, port: u16) -> Option<Address> {
    let socket_address = Some(SocketAddress { address, port: port.into() });
    Some(Address { socket_address })
}

/// As in Envoy: the first URI of the certificate, else its first name.
fn principal(ctx: &Context) -> String {
    let names = ctx.caller.peer.as_ref().map_or(&[][..], |peer| &peer.names);
    let uri = names.iter().find_map(|name| match name {
        PeerName::Uri(uri) => Some(uri),
        PeerName::Dns(_) | PeerName::Email(_) | PeerName::Ip(_) => None,
    });
    let dns = || {
        names.iter().find_map(|name| match name {
            PeerName::Dns(dns) => Some(dns),
            PeerName::Uri(_) | PeerName::Email(_) | PeerName::Ip(_) => None,
        })
    };
    uri.or_else(dns).cloned().unwrap_or_default()
}

pub(super) fn read(answer: &Answer) -> Result<Decision, Failed> {
    Ok(decide(grpc::read(answer)?)?)
}

/// A missing code is OK in protobuf, but an answer that says nothing at all admits nobody; nor does one that says both.
fn decide(answer: CheckResponse) -> Result<Decision, Unusable> {
    let code = answer.status.map(|status| status.code);
    match (code, answer.said) {
        (None, None) | (Some(0), Some(Said::Denied(_))) => Err(Unusable),
        (Some(0), None) => Ok(Decision::Allow(Changes::default())),
        (None | Some(0), Some(Said::Ok(allowed))) => allow(allowed).map(Decision::Allow),
        (_, Some(Said::Denied(denied))) => deny(denied).map(Decision::Deny),
        (Some(_), None | Some(Said::Ok(_))) => {
            Ok(Decision::Deny(refusal(StatusCode::FORBIDDEN.as_u16(), &HeaderMap::new(), Bytes::new())))
        }
    }
}

fn allow(allowed: Allowed) -> Result<Changes, Unusable> {
    // Not doing them would forward what the service wanted gone.
    if !allowed.query_parameters_to_set.is_empty() || !allowed.query_parameters_to_remove.is_empty() {
        return Err(Unusable);
    }
    // Envoy: "Note that by leaving `append` as false, the filter will either add a new header, or override an existing
    // one"; of responses, what is not said appends.
    let changes = |options: Vec<HeaderOption>, unsaid| {
        options.into_iter().map(move |option| change(option, unsaid)).collect::<Result<_, _>>()
    };
    let mut remove = Vec::new();
    for name in &allowed.headers_to_remove {
        // Envoy: a pseudo-header field and Host cannot be removed, and asking for it is ignored.
        let name = HeaderName::from_bytes(name.as_bytes()).ok();
        remove.extend(name.filter(|name| !crate::edits::RESERVED.contains(&name.as_str())));
    }
    Changes {
        remove,
        request: changes(allowed.headers, How::Set)?,
        response: changes(allowed.response_headers_to_add, How::Append)?,
    }
    .checked()
}

fn change(option: HeaderOption, unsaid: How) -> Result<Change, Unusable> {
    let how = match (option.append.map(|append| append.value), option.append_action) {
        (Some(true), _) => How::Append,
        (Some(false), 0) | (_, 2) => How::Set,
        (_, 1) => How::IfAbsent,
        (_, 3) => How::IfPresent,
        (None, 0) => unsaid,
        _ => return Err(Unusable),
    };
    let header = option.header.ok_or(Unusable)?;
    let value = if header.raw_value.is_empty() { header.value } else { header.raw_value };
    Change::new(&header.key, value, how)
}

fn deny(denied: Denied) -> Result<crate::Reply, Unusable> {
    let mut fields = HeaderMap::new();
    for header in denied.headers.into_iter().filter_map(|option| option.header) {
        let value = if header.raw_value.is_empty() { header.value } else { header.raw_value };
        let name = HeaderName::from_bytes(header.key.as_bytes()).map_err(|_| Unusable)?;
        let value = HeaderValue::from_maybe_shared(value).map_err(|_| Unusable)?;
        fields.try_append(name, value).map_err(|_| Unusable)?;
    }
    let status = denied.status.map_or(0, |status| status.code);
    Ok(refusal(u16::try_from(status).unwrap_or(0), &fields, denied.body))
}
