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

use super::reply::Reply;
use crate::stream::Side;
use crate::untold::untold;

/// How long saying goodbye may take.
const GOODBYE: Duration = Duration::from_secs(1);

/// A connection to a backend.
#[derive(Debug)]
pub(super) struct BackendStream {
    side: Side,
    reply: Reply,
}

impl BackendStream {
    pub(super) fn new(side: Side) -> Self {
        Self { side, reply: Reply::default() }
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
        ready!(this.side.poll_fill(cx, buf))?;
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
        self.side.poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.reply.ask(bufs.first().map_or(&[], |first| &**first));
        self.side.poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.side.poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.side.poll_shutdown(cx)
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
        self.side.tcp().as_raw_fd()
    }
}

untold!(BackendStream);
