//! The engine as Pingora calls it. Every hook delegates; what happens to a request is in the modules.
//!
//! A hook that has nothing to wait for does its work when it is called and returns [`Done`], which has no size and so
//! is boxed without an allocation. Pingora's own defaults box their arguments; overriding a hook with nothing to do is
//! cheaper than leaving it.

mod admit;
mod ahead;
mod attempts;
mod body;
mod fail;
mod fields;
mod forward;
pub(crate) mod head;
mod listener;
mod respond;
mod source;

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::HeaderMap;
use pingora_core::modules::http::HttpModules;
use pingora_core::protocols::Digest;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_error::{Error, Result};
use pingora_http::{RequestHeader, ResponseHeader};
use pingora_proxy::{FailToProxy, ProxyHttp, ProxyWarnLogContext, Session};

use crate::call::Net;
use crate::context::RequestContext;
use crate::ingress::exchange::Exchange;
use crate::overload::Load;
use crate::snapshot::Reader;
use crate::telemetry::Telemetry;

/// Answers requests.
pub(crate) struct Engine {
    pub(crate) reader: Reader,
    pub(crate) telemetry: Arc<Telemetry>,
    pub(crate) net: Arc<Net>,
    /// The clients are proxies: their `x-forwarded-proto` and `x-forwarded-host` hold.
    pub(crate) trusts_clients: bool,
    /// How much its worker can take.
    pub(crate) load: Arc<Load>,
}

type Boxed<'a, T> = Pin<Box<dyn Future<Output = Result<T>> + Send + 'a>>;

/// Succeeds at once, as `T::default()`.
struct Done;

impl Future for Done {
    type Output = Result<()>;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<()>> {
        Poll::Ready(Ok(()))
    }
}

struct Yes;

impl Future for Yes {
    type Output = Result<bool>;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<bool>> {
        Poll::Ready(Ok(true))
    }
}

struct NoTrailers;

impl Future for NoTrailers {
    type Output = Result<Option<Bytes>>;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<Option<Bytes>>> {
        Poll::Ready(Ok(None))
    }
}

struct Nothing;

impl Future for Nothing {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        Poll::Ready(())
    }
}

fn done<'a>(result: Result<()>) -> Boxed<'a, ()> {
    match result {
        Ok(()) => Box::pin(Done),
        Err(error) => Box::pin(std::future::ready(Err(error))),
    }
}

#[async_trait]
impl ProxyHttp for Engine {
    type CTX = Box<RequestContext>;

    fn new_ctx(&self) -> Self::CTX {
        let exchange = Exchange::current().unwrap_or_default();
        RequestContext::new(exchange, self.telemetry.clone(), self.reader.load())
    }

    fn init_downstream_modules(&self, _: &mut HttpModules) {}

    async fn request_filter(&self, session: &mut Session, ctx: &mut Self::CTX) -> Result<bool> {
        admit::admit(self, session, ctx).await
    }

    async fn upstream_peer(&self, session: &mut Session, ctx: &mut Self::CTX) -> Result<Box<HttpPeer>> {
        attempts::peer(session, ctx).await
    }

    fn connected_to_upstream<'a, 'b, 'c, 'd, 'e, 'f>(
        &'a self,
        session: &'b mut Session,
        reused: bool,
        _: &'c HttpPeer,
        _: std::os::fd::RawFd,
        digest: Option<&'d Digest>,
        ctx: &'e mut Self::CTX,
    ) -> Boxed<'f, ()>
    where
        'a: 'f,
        'b: 'f,
        'c: 'f,
        'd: 'f,
        'e: 'f,
        Self: 'f,
    {
        body::is_waited_for(session, ctx);
        done(attempts::connected(ctx, reused, digest))
    }

    fn request_body_filter<'a, 'b, 'c, 'd, 'f>(
        &'a self,
        session: &'b mut Session,
        body: &'c mut Option<Bytes>,
        end: bool,
        ctx: &'d mut Self::CTX,
    ) -> Boxed<'f, ()>
    where
        'a: 'f,
        'b: 'f,
        'c: 'f,
        'd: 'f,
        Self: 'f,
    {
        let piece = body::piece(session, ctx, end);
        if piece.is_ok() {
            admit::tee(ctx, body.as_ref(), end);
        }
        done(piece)
    }

    fn upstream_response_filter<'a, 'b, 'c, 'd, 'f>(
        &'a self,
        session: &'b mut Session,
        head: &'c mut ResponseHeader,
        ctx: &'d mut Self::CTX,
    ) -> Boxed<'f, ()>
    where
        'a: 'f,
        'b: 'f,
        'c: 'f,
        'd: 'f,
        Self: 'f,
    {
        done(attempts::answered(session, ctx, head))
    }

    fn response_filter<'a, 'b, 'c, 'd, 'f>(
        &'a self,
        session: &'b mut Session,
        head: &'c mut ResponseHeader,
        ctx: &'d mut Self::CTX,
    ) -> Boxed<'f, ()>
    where
        'a: 'f,
        'b: 'f,
        'c: 'f,
        'd: 'f,
        Self: 'f,
    {
        respond::head(session, ctx, head);
        done(Ok(()))
    }

    fn response_body_filter(
        &self,
        _: &mut Session,
        _: &mut Option<Bytes>,
        _: bool,
        ctx: &mut Self::CTX,
    ) -> Result<Option<Duration>> {
        respond::in_time(ctx)?;
        Ok(None)
    }

    fn error_while_proxy(
        &self,
        _: &HttpPeer,
        session: &mut Session,
        error: Box<Error>,
        ctx: &mut Self::CTX,
        reused: bool,
    ) -> Box<Error> {
        attempts::broken(session, ctx, error, reused)
    }

    fn fail_to_connect(
        &self,
        session: &mut Session,
        _: &HttpPeer,
        ctx: &mut Self::CTX,
        error: Box<Error>,
    ) -> Box<Error> {
        attempts::unreachable(session, ctx, error)
    }

    async fn fail_to_proxy(&self, session: &mut Session, error: &Error, ctx: &mut Self::CTX) -> FailToProxy {
        fail::answer(session, ctx, error).await
    }

    fn logging<'a, 'b, 'c, 'd, 'f>(
        &'a self,
        session: &'b mut Session,
        _: Option<&'c Error>,
        ctx: &'d mut Self::CTX,
    ) -> Pin<Box<dyn Future<Output = ()> + Send + 'f>>
    where
        'a: 'f,
        'b: 'f,
        'c: 'f,
        'd: 'f,
        Self: 'f,
    {
        respond::account(session, ctx);
        Box::pin(Nothing)
    }

    // From here on: hooks with nothing to do.

    fn early_request_filter<'a, 'b, 'c, 'f>(
        &'a self,
        _: &'b mut Session,
        _: &'c mut Self::CTX,
    ) -> Boxed<'f, ()>
    where
        'a: 'f,
        'b: 'f,
        'c: 'f,
        Self: 'f,
    {
        done(Ok(()))
    }

    fn proxy_upstream_filter<'a, 'b, 'c, 'f>(
        &'a self,
        _: &'b mut Session,
        _: &'c mut Self::CTX,
    ) -> Boxed<'f, bool>
    where
        'a: 'f,
        'b: 'f,
        'c: 'f,
        Self: 'f,
    {
        Box::pin(Yes)
    }

    fn upstream_request_filter<'a, 'b, 'c, 'd, 'f>(
        &'a self,
        _: &'b mut Session,
        head: &'c mut RequestHeader,
        ctx: &'d mut Self::CTX,
    ) -> Boxed<'f, ()>
    where
        'a: 'f,
        'b: 'f,
        'c: 'f,
        'd: 'f,
        Self: 'f,
    {
        done(attempts::sending(ctx, head))
    }

    fn response_trailer_filter<'a, 'b, 'c, 'd, 'f>(
        &'a self,
        _: &'b mut Session,
        _: &'c mut HeaderMap,
        _: &'d mut Self::CTX,
    ) -> Boxed<'f, Option<Bytes>>
    where
        'a: 'f,
        'b: 'f,
        'c: 'f,
        'd: 'f,
        Self: 'f,
    {
        Box::pin(NoTrailers)
    }

    fn suppress_error_log(&self, _: &Session, _: &Self::CTX, _: &Error) -> bool {
        true
    }

    fn suppress_proxy_warn_log(&self, _: &Session, _: &Self::CTX, _: &Error, _: ProxyWarnLogContext) -> bool {
        true
    }
}

/// A head's fields, for tests.
#[cfg(test)]
fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
    fields
        .iter()
        .map(|(name, value)| (http::HeaderName::from_static(name), http::HeaderValue::from_static(value)))
        .collect()
}
