//! One attempt of a call: connect, send and read at the same time, account for it.

use bytes::{Bytes, BytesMut};
use pingora_core::protocols::http::client::HttpSession;
use pingora_core::upstreams::peer::ALPN;
use pingora_error::{BError, Error, ErrorType};
use pingora_http::{RequestHeader, ResponseHeader};
use tokio::time::Instant;

use super::lease::Lease;
use super::{Body, CallError, Limits, Net, Reply, head};
use crate::attempt::{Failure, Stage};
use crate::upstream::{ClientIdentity, Outcome, Picked};

/// Why an attempt has no answer.
pub(super) enum Failed {
    /// Another attempt may help.
    Upstream(BError, Stage),
    /// No other attempt can help.
    Call(CallError),
}

/// One attempt on one endpoint; however it ends, the endpoint's health and the backend's counters learn of it once.
pub(super) struct Attempt<'n> {
    net: &'n Net,
    h2: bool,
    identity: Option<&'n ClientIdentity>,
    limits: Limits,
    account: Account,
}

struct Account {
    picked: Picked,
    since: Instant,
    deadline: Instant,
    open: bool,
}

impl Account {
    fn close(&mut self, outcome: Outcome, status: u16) {
        if std::mem::take(&mut self.open) {
            let latency = self.since.elapsed();
            self.picked.record(outcome, latency);
            self.picked.cluster().stats.attempt(outcome, status, latency);
        }
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        // Broken off from outside: by the deadline, which is the endpoint's fault, or by who wanted the answer.
        let outcome = if Instant::now() >= self.deadline { Outcome::Broken } else { Outcome::Cancelled };
        self.close(outcome, 0);
    }
}

impl<'n> Attempt<'n> {
    pub(super) fn new(
        net: &'n Net,
        picked: Picked,
        h2: bool,
        identity: Option<&'n ClientIdentity>,
        limits: Limits,
    ) -> Self {
        let account = Account { picked, since: Instant::now(), deadline: limits.deadline, open: true };
        Self { net, h2, identity, limits, account }
    }

    pub(super) async fn run(
        &mut self,
        head: &RequestHeader,
        body: &mut Option<Body>,
    ) -> Result<Reply, Failed> {
        let (h2, identity) = (self.h2, self.identity);
        if let Err(error) = self.account.picked.assure(h2, identity, None).await {
            return Err(self.failed(error, Stage::Connecting));
        }
        let peer = self.account.picked.peer(h2, identity);
        let (session, reused) = match self.net.connector.get_http_session(&*peer).await {
            Ok(connected) => connected,
            Err(error) => return Err(self.failed(error, Stage::Connecting)),
        };
        self.account.picked.cluster().stats.connected(reused);
        let stage = Stage::Connected { reused };
        let h2_only = matches!(peer.options.alpn, ALPN::H2);
        if h2_only && matches!(session, HttpSession::H1(_)) {
            // TLS without ALPN: Pingora falls to HTTP/1.1, which would lose gRPC's trailers.
            let error = Error::explain(ErrorType::HandshakeError, "the backend does not speak HTTP/2");
            return Err(self.failed(error, Stage::Connecting));
        }
        let admitted = self.account.picked.admit(h2, session.digest());
        let lease = Lease::new(&self.net.connector, &peer, session);
        if let Err(error) = admitted {
            drop(lease);
            return Err(self.failed(error, Stage::Connecting));
        }
        let mut exchange = Exchange {
            lease,
            limits: self.limits,
            account: &mut self.account,
            answer: None,
            kept: BytesMut::new(),
            read: 0,
        };
        match exchange.run(head, body, peer.is_tls()).await {
            Ok(sent) => exchange.end(sent).await,
            Err(End::Call(error)) => Err(Failed::Call(error)),
            Err(End::Upstream(error)) if exchange.answer.is_some() => {
                Err(Failed::Call(CallError::Upstream(error)))
            }
            Err(End::Upstream(error)) => {
                drop(exchange);
                Err(self.failed(error, stage))
            }
        }
    }

    fn failed(&mut self, error: BError, stage: Stage) -> Failed {
        let outcome = match Failure::of(&error, stage).0 {
            Failure::Connect => Outcome::ConnectFailure,
            Failure::Closed { .. } | Failure::Timeout | Failure::Response(_) | Failure::Malformed => {
                Outcome::Broken
            }
        };
        self.account.close(outcome, 0);
        Failed::Upstream(error, stage)
    }
}

/// A request and its response on one session.
struct Exchange<'a> {
    lease: Lease<'a>,
    limits: Limits,
    account: &'a mut Account,
    answer: Option<ResponseHeader>,
    kept: BytesMut,
    read: usize,
}

enum End {
    Upstream(BError),
    Call(CallError),
}

impl From<BError> for End {
    fn from(error: BError) -> Self {
        Self::Upstream(error)
    }
}

impl Exchange<'_> {
    /// True when the whole request was sent by the time the response was complete.
    async fn run(&mut self, head: &RequestHeader, body: &mut Option<Body>, tls: bool) -> Result<bool, End> {
        let invalid = |error| End::Call(CallError::Head(error));
        let Some(session) = self.lease.session() else { return Ok(false) };
        match session {
            HttpSession::H1(h1) => {
                let head = head::for_h1(head, body.is_some()).map_err(invalid)?;
                h1.write_request_header(Box::new(head)).await?;
            }
            HttpSession::H2(h2) => {
                let head = head::for_h2(head, tls).map_err(invalid)?;
                h2.write_request_header(Box::new(head), body.is_none())?;
            }
            HttpSession::Custom(()) => return Err(Error::new(ErrorType::InternalError).into()),
        }
        let mut sent = body.is_none();
        // The answer may come before the body is sent. As in Pingora's own proxy, nothing is read during one write: a
        // backend that reads no more until its answer is read holds us, at most until the deadline.
        loop {
            let Some(session) = self.lease.session() else { return Ok(sent) };
            let has_head = self.answer.is_some();
            tokio::select! {
                piece = read(session, has_head) => {
                    if self.took(piece?)? {
                        return Ok(sent);
                    }
                }
                piece = next(body), if !sent => match piece {
                    Ok(Some(bytes)) if bytes.is_empty() => {}
                    Ok(Some(bytes)) => session.write_request_body(bytes, false).await?,
                    Ok(None) => {
                        session.finish_request_body().await?;
                        sent = true;
                    }
                    Err(()) => return Err(End::Call(CallError::BrokenOff)),
                },
            }
        }
    }

    /// Takes in what was read; true when the response is complete.
    fn took(&mut self, piece: Piece) -> Result<bool, End> {
        match piece {
            Piece::Informational => Ok(false),
            Piece::Head(head) => {
                let status = head.status.as_u16();
                let outcome = if status >= 500 { Outcome::ServerError } else { Outcome::Success };
                self.account.close(outcome, status);
                let length = head.headers.get(http::header::CONTENT_LENGTH);
                let length = length.and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
                self.answer = Some(*head);
                if length.is_some_and(|length| length > self.limits.body) {
                    return Err(End::Call(CallError::TooLarge(self.limits.body)));
                }
                Ok(false)
            }
            Piece::Data(bytes) => {
                self.read = self.read.saturating_add(bytes.len());
                if self.read > self.limits.body {
                    return Err(End::Call(CallError::TooLarge(self.limits.body)));
                }
                if self.limits.keep {
                    self.kept.extend_from_slice(&bytes);
                }
                Ok(false)
            }
            Piece::End => Ok(true),
        }
    }

    async fn end(mut self, sent: bool) -> Result<Reply, Failed> {
        let trailers = match self.lease.session() {
            Some(HttpSession::H2(h2)) => {
                h2.read_trailers().await.map_err(|error| Failed::Call(CallError::Upstream(error)))?
            }
            Some(HttpSession::H1(_) | HttpSession::Custom(())) | None => None,
        };
        // Only now, and only if both sides are complete; see `Lease`.
        if sent {
            self.lease.release().await;
        }
        match self.answer {
            Some(head) => Ok(Reply { head, body: self.kept.freeze(), trailers }),
            None => Err(Failed::Call(CallError::Timeout)),
        }
    }
}

/// What one read gave.
enum Piece {
    Informational,
    Head(Box<ResponseHeader>),
    Data(Bytes),
    End,
}

/// Reads on; dropping the future loses nothing.
async fn read(session: &mut HttpSession, has_head: bool) -> Result<Piece, BError> {
    if has_head {
        return Ok(session.read_response_body().await?.map_or(Piece::End, Piece::Data));
    }
    session.read_response_header().await?;
    let Some(head) = session.response_header() else {
        return Err(Error::explain(ErrorType::InvalidHTTPHeader, "no response head"));
    };
    // HTTP/1 hands out each 1xx; the answer comes after them.
    if head.status.is_informational() && matches!(session, HttpSession::H1(_)) {
        return Ok(Piece::Informational);
    }
    Ok(Piece::Head(Box::new(head.clone())))
}

async fn next(body: &mut Option<Body>) -> Result<Option<Bytes>, ()> {
    match body {
        Some(body) => body.next().await,
        None => Ok(None),
    }
}
