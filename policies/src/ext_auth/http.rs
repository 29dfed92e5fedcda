//! Envoy's HTTP contract: the service gets a request of the same method, host and path, with what it is shown of the body;
//! 200 admits it, and any other answer is the client's.

use std::time::Duration;

use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{HeaderName, HeaderValue, StatusCode, Uri, Version, header};

use super::body::{PARTIAL, Shown};
use super::decision::{Decision, refusal};
use crate::changes::{Change, Changes, How};
use crate::grpc::Failed;
use crate::{Answer, Call, Request, head};

/// A service of the HTTP contract.
#[derive(Debug)]
pub(super) struct Service {
    pub(super) target: Target,
    pub(super) told: Box<[HeaderName]>,
    pub(super) to_backend: Box<[HeaderName]>,
}

/// What the service is asked for.
#[derive(Debug)]
pub(super) enum Target {
    /// Path and query of the request, after this.
    Under(Box<str>),
    /// Always this.
    Instead(Uri),
}

impl Target {
    fn of(&self, req: &Request) -> Option<Uri> {
        match self {
            Self::Under(prefix) => {
                let target = req.uri.path_and_query().map_or("/", PathAndQuery::as_str);
                format!("{prefix}{target}").parse().ok()
            }
            Self::Instead(target) => Some(target.clone()),
        }
    }
}

impl Service {
    pub(super) fn ask(&self, req: &Request, body: Option<&Shown>, timeout: Duration) -> Option<Call> {
        let target = self.target.of(req)?;
        let mut parts =
            http::Request::builder().method(req.method.clone()).uri(target).body(()).ok()?.into_parts().0;
        parts.version = Version::HTTP_11;
        let fields = &mut parts.headers;
        fields.insert(header::HOST, HeaderValue::from_str(head::authority(req)?).ok()?);
        let length = body.map_or(0, |body| body.bytes.len());
        fields.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
        if let Some(body) = body {
            fields.insert(PARTIAL, HeaderValue::from_static(body.is_partial()));
        }
        for name in self.told.iter().chain([&header::AUTHORIZATION]) {
            // Authorization may also be listed.
            if !fields.contains_key(name) {
                for value in req.headers.get_all(name) {
                    fields.append(name, value.clone());
                }
            }
        }
        let body = body.map(|body| body.bytes.clone());
        Some(Call { head: Request::from(parts), is_grpc: false, body, timeout })
    }

    pub(super) fn read(&self, answer: Answer) -> Result<Decision, Failed> {
        let fields = &answer.head.headers;
        if answer.head.status.is_server_error() {
            return Err(Failed::Service);
        }
        if answer.head.status != StatusCode::OK {
            let reply = refusal(answer.head.status.as_u16(), fields, answer.body);
            return Ok(Decision::Deny(reply));
        }
        let mut changes = Changes::default();
        for name in &self.to_backend {
            for value in fields.get_all(name) {
                let value = Bytes::copy_from_slice(value.as_bytes());
                changes.request.push(Change::new(name.as_str(), value, How::Append)?);
            }
        }
        Ok(Decision::Allow(changes.checked()?))
    }
}
