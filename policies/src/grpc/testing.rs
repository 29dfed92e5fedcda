//! A service as tests of those who ask one have it.

use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderValue};
use prost::Message;

use crate::{Answer, Response, Upstream};

/// A backend of this name.
#[derive(Debug)]
pub(crate) struct Backend(pub(crate) &'static str);

impl Upstream for Backend {
    fn name(&self) -> &str {
        self.0
    }
}

/// A message as gRPC sends it.
pub(crate) fn framed(message: &impl Message) -> Bytes {
    let mut frame = BytesMut::new();
    frame.put_u8(0);
    frame.put_u32(u32::try_from(message.encoded_len()).unwrap());
    message.encode(&mut frame).unwrap();
    frame.freeze()
}

/// An answer with this body and `grpc-status`.
pub(crate) fn answer(body: Bytes, status: &'static str) -> Answer {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static(status));
    Answer { head: Response::build(200, None).unwrap(), body, trailers: Some(trailers) }
}
