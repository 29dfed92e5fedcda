//! What policies read of a body before it is forwarded.
//!
//! It is read into the buffer that Pingora keeps for retries, and so forwarded and copied to mirrors like the body of a
//! second attempt. What does not fit there would be lost: no more is read than fits.

use std::pin::{Pin, pin};
use std::sync::Arc;

use http::StatusCode;
use pingora_core::protocols::http::ServerSession;
use pingora_error::ErrorType::Custom;
use pingora_error::{BError, Error, Result};
use pingora_proxy::Session;
use policies::{Beginning, Chain, ChainState, Context, Incoming, MOST_INCOMING, Reply, Request};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout_at};

use super::body;
use super::fail::REFUSED;
use crate::ingress::exchange::{Exchange, PIECE};
use crate::reply::text;
use crate::traffic::connection::ConnectionRules;

/// What Pingora keeps (`BODY_BUF_LIMIT`).
const KEPT: usize = 64 * 1024;
const _: () = assert!(MOST_INCOMING - 1 + PIECE <= KEPT);

/// Why a request goes no further.
pub(super) enum Stop {
    /// It has an answer.
    Reply(Reply),
    /// Its body cannot be read.
    Broken(BError),
}

impl From<Reply> for Stop {
    fn from(reply: Reply) -> Self {
        Self::Reply(reply)
    }
}

impl From<BError> for Stop {
    fn from(error: BError) -> Self {
        Self::Broken(error)
    }
}

/// What a head says of the body.
#[derive(Debug, Clone, Copy)]
pub(super) struct Announced {
    pub(super) has_body: bool,
    /// The client sends it when it is told to.
    pub(super) waits: bool,
}

/// Runs chains, and reads for them.
pub(super) struct Ahead<'a> {
    pub(super) session: &'a mut Session,
    pub(super) exchange: &'a Exchange,
    pub(super) rules: &'a ConnectionRules,
    pub(super) is_http2: bool,
    pub(super) announced: Announced,
    pub(super) deadline: Option<Instant>,
    /// Where the answer to a body goes that cannot be read.
    pub(super) answer: &'a mut Option<Reply>,
}

impl Ahead<'_> {
    /// Runs a chain.
    ///
    /// # Errors
    /// What it answers; or what ends the request, because its body does not come as it must.
    pub(super) async fn run(
        &mut self,
        chain: &Chain,
        req: &mut Request,
        policy: &mut Context,
        state: &mut ChainState,
    ) -> Result<(), Stop> {
        let decided = if self.announced.has_body && chain.reads_body() {
            // In a place of its own: few chains need it.
            Box::pin(self.reading(chain, req, policy, state)).await?
        } else {
            chain.request(req, policy, state).await
        };
        decided.map_err(|reply| policy.denials.dress(reply).into())
    }

    async fn reading(
        &mut self,
        chain: &Chain,
        req: &mut Request,
        policy: &mut Context,
        state: &mut ChainState,
    ) -> Result<Result<(), Reply>> {
        self.exchange.set_deadline(self.deadline);
        let (asks, mut asked) = mpsc::channel(1);
        policy.incoming = Some(Arc::new(Asks(asks)));
        let mut decision = pin!(chain.request(req, policy, state));
        loop {
            tokio::select! {
                biased;
                decided = &mut decision => return Ok(decided),
                Some(Ask { most, answer }) = asked.recv() => {
                    self.exchange.read_in_pieces(true);
                    let read = self.read(most.min(MOST_INCOMING)).await;
                    self.exchange.read_in_pieces(false);
                    // Whoever has asked may have been content with less time.
                    let _ = answer.send(read?);
                }
            }
        }
    }

    async fn read(&mut self, most: usize) -> Result<Beginning> {
        let session = self.session.as_downstream_mut();
        if self.announced.waits
            && let ServerSession::H1(http1) = session
        {
            http1.write_continue_response().await?;
        }
        session.enable_retry_buffering();
        let mut has_ended = session.is_body_done();
        while !has_ended && session.body_bytes_read() < most {
            if self.is_http2 {
                self.exchange.pace.waits();
            }
            let piece = session.read_request_body();
            let piece = match self.deadline {
                None => piece.await,
                Some(at) => match timeout_at(at, piece).await {
                    Ok(piece) => piece,
                    Err(_) => return self.refuse(text(StatusCode::GATEWAY_TIMEOUT, "request_timeout")),
                },
            };
            has_ended = piece.map_err(|error| error.into_down())?.is_none() || session.is_body_done();
            let received = session.body_bytes_read() as u64;
            if !body::note(self.exchange, self.rules, self.is_http2, received, has_ended) {
                return self.refuse(body::too_large());
            }
        }
        // Nobody waits for the client now. Over HTTP/1 the stream sees that by itself.
        if self.is_http2 {
            self.exchange.pace.fed();
        }
        self.exchange.set_read(has_ended);
        if session.retry_buffer_truncated() {
            // A head of more than 128 KiB may bring more than that along in one piece.
            return self.refuse(body::too_large());
        }
        let bytes = session.get_retry_buffer().unwrap_or_default();
        let is_whole = has_ended && bytes.len() <= most;
        Ok(Beginning { bytes: bytes.slice(..bytes.len().min(most)), is_whole })
    }

    fn refuse(&mut self, reply: Reply) -> Result<Beginning> {
        *self.answer = Some(reply);
        Err(Error::new(Custom(REFUSED)))
    }

    /// Whether there is anything of a body, now that some of it may have been read.
    pub(super) fn has_body(&mut self) -> bool {
        self.announced.has_body && !self.session.as_mut().is_body_empty()
    }
}

/// What a policy wants to read.
#[derive(Debug)]
struct Ask {
    most: usize,
    answer: oneshot::Sender<Beginning>,
}

/// What policies read with: the body is read by who runs their chain.
#[derive(Debug)]
struct Asks(mpsc::Sender<Ask>);

impl Incoming for Asks {
    fn read<'a>(&'a self, most: usize) -> Pin<Box<dyn Future<Output = Beginning> + Send + 'a>> {
        Box::pin(async move {
            let (answer, read) = oneshot::channel();
            if self.0.send(Ask { most, answer }).await.is_ok()
                && let Ok(read) = read.await
            {
                return read;
            }
            // The request has ended, and so will this.
            std::future::pending().await
        })
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[tokio::test]
    async fn what_asks_waits_until_it_is_answered_and_for_ever_without_a_reader() {
        let (asks, mut asked) = mpsc::channel(1);
        let asks = Asks(asks);
        let answers = async {
            let Ask { most, answer } = asked.recv().await.unwrap();
            answer.send(Beginning { bytes: Bytes::from(vec![b'x'; most]), is_whole: true }).unwrap();
        };
        let (read, ()) = tokio::join!(asks.read(3), answers);
        assert_eq!(read, Beginning { bytes: Bytes::from_static(b"xxx"), is_whole: true });
        drop(asked);
        assert!(futures::poll!(asks.read(3)).is_pending());
    }
}
