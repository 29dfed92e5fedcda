//! HTTP/2 and unary gRPC over the `h2` crate, many streams on one connection.

use std::future::poll_fn;
use std::sync::Arc;

use bytes::Bytes;
use h2::client::SendRequest;
use http::{HeaderMap, Request, Response};

use super::io::Io;

/// A stream's worth of a connection: cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Http2 {
    send: SendRequest<Bytes>,
    /// Tells connections apart.
    identity: Arc<()>,
}

/// An answer whose body was read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) head: Response<()>,
    pub(crate) body: usize,
    pub(crate) trailers: Option<HeaderMap>,
}

impl Http2 {
    pub(crate) async fn new(io: Io) -> Result<Self, h2::Error> {
        let (send, connection) = h2::client::Builder::new()
            .enable_push(false)
            .initial_window_size(1 << 20)
            .initial_connection_window_size(16 << 20)
            .handshake(io)
            .await?;
        tokio::spawn(connection); // ends when the last stream and handle are gone, or the other side closes
        Ok(Self { send, identity: Arc::new(()) })
    }

    /// Waits until a stream may be opened. An error says that the connection is over and nothing was sent.
    pub(crate) async fn ready(&mut self) -> Result<(), h2::Error> {
        poll_fn(|cx| self.send.poll_ready(cx)).await
    }

    /// True for clones of one connection.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.identity, &other.identity)
    }

    /// Sends a request with `body`, none when empty, and reads the whole answer.
    pub(crate) async fn exchange(&mut self, request: Request<()>, body: Bytes) -> Result<Answer, h2::Error> {
        self.ready().await?;
        let (response, mut stream) = self.send.send_request(request, body.is_empty())?;
        if !body.is_empty() {
            stream.send_data(body, true)?;
        }
        let (head, mut recv) = response.await?.into_parts();
        let mut length = 0;
        while let Some(chunk) = recv.data().await {
            let n = chunk?.len();
            length += n;
            recv.flow_control().release_capacity(n)?;
        }
        let trailers = recv.trailers().await?;
        Ok(Answer { head: Response::from_parts(head, ()), body: length, trailers })
    }
}

/// True when the other side promised that it did not touch the request, so that it may be sent again (RFC 9113 §8.7).
pub(crate) fn is_untouched(error: &h2::Error) -> bool {
    error.reason() == Some(h2::Reason::REFUSED_STREAM)
        || error.is_go_away() && error.reason() == Some(h2::Reason::NO_ERROR)
}
