//! A connection to a backend as Pingora reads and writes it. It has no buffers of its own: Pingora reads heads and
//! bodies into its own, and writes a head whole and chunks as one vector.

use std::io::{self, IoSlice};
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use async_trait::async_trait;
use pingora_core::protocols::{Shutdown, UniqueID, UniqueIDType};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use super::reply::Reply;
use crate::untold::untold;

/// How long saying goodbye may take.
const GOODBYE: Duration = Duration::from_secs(1);

/// A connection to a backend.
#[derive(Debug)]
pub(super) struct BackendStream {
    io: Io,
    reply: Reply,
}

#[derive(Debug)]
pub(crate) enum Io {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

macro_rules! each {
    ($io:expr, $stream:ident => $work:expr) => {
        match $io {
            Io::Plain(tcp) => {
                let $stream = Pin::new(tcp);
                $work
            }
            Io::Tls(tls) => {
                let $stream = Pin::new(tls.as_mut());
                $work
            }
        }
    };
}

impl BackendStream {
    pub(super) fn new(io: Io) -> Self {
        Self { io, reply: Reply::default() }
    }
}

impl AsyncRead for BackendStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buf.filled().len();
        ready!(each!(&mut this.io, stream => stream.poll_read(cx, buf)))?;
        if let Err(bad) = this.reply.pass(buf.filled().get(before..).unwrap_or_default()) {
            buf.set_filled(before);
            return Poll::Ready(Err(bad.into()));
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for BackendStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.reply.ask(buf);
        each!(&mut self.io, stream => stream.poll_write(cx, buf))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.reply.ask(bufs.first().map_or(&[], |first| &**first));
        each!(&mut self.io, stream => stream.poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(&mut self.io, stream => stream.poll_flush(cx))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(&mut self.io, stream => stream.poll_shutdown(cx))
    }
}

#[async_trait]
impl Shutdown for BackendStream {
    async fn shutdown(&mut self) {
        // A backend that does not read is not waited for.
        let _ = tokio::time::timeout(GOODBYE, AsyncWriteExt::shutdown(self)).await;
    }
}

impl UniqueID for BackendStream {
    fn id(&self) -> UniqueIDType {
        match &self.io {
            Io::Plain(tcp) => tcp.as_raw_fd(),
            Io::Tls(tls) => tls.get_ref().0.as_raw_fd(),
        }
    }
}

untold!(BackendStream);
