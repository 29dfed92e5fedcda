//! What policies that ask a service have in common: why it may have decided nothing, and one call over gRPC.

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderName, HeaderValue, StatusCode, Version, header};
use prost::Message;

use crate::changes::Unusable;
use crate::{Answer, BackendRef, Call, Request, Unanswered};

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");

/// Why a service has decided nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failed {
    /// It failed, or cannot be reached.
    Service,
    Late,
    /// It answers what cannot be done, or cannot be asked.
    Unusable,
}

impl From<Unusable> for Failed {
    fn from(Unusable: Unusable) -> Self {
        Self::Unusable
    }
}

impl From<Unanswered> for Failed {
    fn from(unanswered: Unanswered) -> Self {
        match unanswered {
            Unanswered::Timeout => Self::Late,
            Unanswered::Failed => Self::Service,
            Unanswered::TooLarge => Self::Unusable,
        }
    }
}

/// The host of a Service (`namespace/name:port`) as it is named in the cluster.
pub(crate) fn authority(backend: &str) -> Option<HeaderValue> {
    let BackendRef { namespace, name, port } = backend.parse().ok()?;
    HeaderValue::from_str(&format!("{name}.{namespace}:{port}")).ok()
}

/// Asks `method`, a path.
pub(crate) fn call(
    method: &'static str,
    authority: &HeaderValue,
    message: &impl Message,
    timeout: Duration,
) -> Option<Call> {
    let mut parts = http::Request::post(method).body(()).ok()?.into_parts().0;
    parts.version = Version::HTTP_2;
    let fields = &mut parts.headers;
    fields.insert(header::HOST, authority.clone());
    fields.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    fields.insert(header::TE, HeaderValue::from_static("trailers"));
    let left = HeaderValue::from_str(&format!("{}m", timeout.as_millis())).ok()?;
    fields.insert(HeaderName::from_static("grpc-timeout"), left);
    let body = Some(frame(message));
    Some(Call { head: Request::from(parts), is_grpc: true, body, timeout })
}

/// The message of an answer.
///
/// # Errors
/// When there is none.
pub(crate) fn read<M: Message + Default>(answer: &Answer) -> Result<M, Failed> {
    let fields = &answer.head.headers;
    // An answer that is all head has its status there.
    let status = answer.trailers.as_ref().unwrap_or(fields).get(GRPC_STATUS);
    if answer.head.status != StatusCode::OK || status.is_none_or(|status| status != "0") {
        return Err(Failed::Service);
    }
    let message = unframe(&answer.body).ok_or(Failed::Unusable)?;
    M::decode(message).map_err(|_| Failed::Unusable)
}

/// gRPC over HTTP/2: Length-Prefixed-Message, a byte that says whether it is compressed and four with its length.
fn frame(message: &impl Message) -> Bytes {
    let length = message.encoded_len();
    let mut frame = BytesMut::with_capacity(5 + length);
    frame.put_u8(0);
    // What a policy says of a request is far below 4 GiB.
    frame.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
    // The buffer grows.
    let _ = message.encode(&mut frame);
    frame.freeze()
}

/// The one message of an answer.
fn unframe(body: &Bytes) -> Option<Bytes> {
    let (prefix, _) = body.split_first_chunk::<5>()?;
    let [0, length @ ..] = *prefix else { return None };
    let message = body.slice(5..);
    (u32::try_from(message.len()) == Ok(u32::from_be_bytes(length))).then_some(message)
}

#[cfg(test)]
pub(crate) mod testing;
