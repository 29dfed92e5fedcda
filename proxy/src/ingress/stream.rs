//! The client's byte stream as Pingora reads and writes it.
//!
//! It keeps no read buffer, and a write buffer only while something is in it. Head and body of a small response leave
//! in one system call; a body that does not fit is sent together with what is buffered, by one vectored write.

use std::fmt;
use std::io::{self, IoSlice};
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use async_trait::async_trait;
use pingora_core::protocols::{Shutdown, UniqueID, UniqueIDType};
use tokio::io::{AsyncBufRead, AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use super::connection::Connection;
use super::exchange::Exchange;
use super::farewell::{self, LINGER};
use super::preface::Preface;
use super::watch::Watch;
use crate::untold::untold;

/// What is written in smaller pieces is sent once this much is there, at a flush, or when the response stalls.
const BUFFER: usize = 16 * 1024;
/// A request head and a small response fit without growing.
const FIRST: usize = 2048;

/// A client's connection, plain or TLS.
pub(crate) struct ClientStream {
    io: Io,
    /// Bytes read before it was known what is spoken.
    read: Vec<u8>,
    read_at: usize,
    /// The last read may have left bytes behind: the runtime's word that there are some is then not to be trusted.
    unsure: bool,
    written: Vec<u8>,
    written_at: usize,
    /// HTTP/1: a request is under way.
    busy: bool,
    /// HTTP/1: its one request at a time. `None` for HTTP/2, which buffers and limits by itself.
    exchange: Option<Arc<Exchange>>,
    watch: Watch,
}

pub(super) enum Io {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Io {
    pub(super) fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(tcp) => tcp,
            Self::Tls(tls) => tls.get_ref().0,
        }
    }
}

impl ClientStream {
    /// `seen`: what was read of it already.
    pub(crate) fn plain(stream: TcpStream, seen: Vec<u8>) -> Self {
        let mut plain = Self::new(Io::Plain(stream));
        plain.read = seen;
        plain
    }

    pub(crate) fn tls(stream: TlsStream<TcpStream>) -> Self {
        Self::new(Io::Tls(Box::new(stream)))
    }

    fn new(io: Io) -> Self {
        Self {
            io,
            read: Vec::new(),
            read_at: 0,
            unsure: false,
            written: Vec::new(),
            written_at: 0,
            busy: false,
            exchange: None,
            watch: Watch::idle(None),
        }
    }

    /// From now on it serves HTTP/1 for this exchange.
    pub(crate) fn serve(&mut self, exchange: Arc<Exchange>) {
        self.watch = Watch::idle(exchange.connection.head_bytes());
        self.exchange = Some(exchange);
    }

    /// From now on it serves HTTP/2.
    pub(crate) fn count_frames(&mut self, connection: Arc<Connection>) {
        self.watch = Watch::frames(connection);
    }

    /// Ready when a byte of a request can be read (`true`) or never will be (`false`). Allocates nothing while waiting.
    pub(crate) fn poll_request(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        if self.read_at < self.read.len() {
            return Poll::Ready(true);
        }
        match &mut self.io {
            Io::Plain(tcp) if self.unsure => {
                tcp.poll_peek(cx, &mut ReadBuf::new(&mut [0])).map(|peeked| peeked.is_ok_and(|n| n > 0))
            }
            Io::Plain(tcp) => tcp.poll_read_ready(cx).map(|ready| ready.is_ok()),
            Io::Tls(tls) => {
                Pin::new(tls.as_mut()).poll_fill_buf(cx).map(|read| read.is_ok_and(|bytes| !bytes.is_empty()))
            }
        }
    }

    /// Reads until it is known whether HTTP/1 or HTTP/2 is spoken on a plain connection; what was read stays to be read.
    pub(crate) fn poll_preface(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Preface>> {
        let Io::Plain(tcp) = &mut self.io else { return Poll::Ready(Ok(Preface::Http1)) };
        loop {
            if !self.read.is_empty()
                && let Some(preface) = Preface::of(&self.read)
            {
                return Poll::Ready(Ok(preface));
            }
            ready!(tcp.poll_read_ready(cx))?;
            // Room for an ordinary head: HTTP/1 then reads it from here, without another system call.
            self.read.reserve(2 * FIRST);
            match tcp.try_read_buf(&mut self.read) {
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    /// A request begins.
    pub(crate) fn begin(&mut self) {
        self.busy = true;
        self.watch.request();
    }

    /// The request has ended: gives memory back that only an active one needs.
    pub(crate) fn rest(&mut self) {
        self.busy = false;
        if self.written_at == self.written.len() {
            self.written = Vec::new();
            self.written_at = 0;
        }
    }

    fn poll_io_read(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
        at_once: usize,
    ) -> Poll<io::Result<()>> {
        if at_once < buf.remaining() {
            let mut piece = ReadBuf::new(buf.initialize_unfilled_to(at_once));
            let read = self.poll_io_read(cx, &mut piece, at_once);
            let filled = piece.filled().len();
            buf.advance(filled);
            return read;
        }
        match &mut self.io {
            Io::Plain(tcp) => {
                let read = Pin::new(tcp).poll_read(cx, buf);
                self.unsure = buf.remaining() == 0;
                read
            }
            Io::Tls(tls) => Pin::new(tls.as_mut()).poll_read(cx, buf),
        }
    }

    fn poll_io_write(&mut self, cx: &mut Context<'_>, more: &[u8]) -> Poll<io::Result<usize>> {
        let buffered = self.written.get(self.written_at..).unwrap_or_default();
        let both = [IoSlice::new(buffered), IoSlice::new(more)];
        // One piece by an ordinary write: the kernel has less to do.
        let one = if buffered.is_empty() { more } else { buffered };
        let single = buffered.is_empty() || more.is_empty();
        match &mut self.io {
            Io::Plain(tcp) if single => Pin::new(tcp).poll_write(cx, one),
            Io::Plain(tcp) => Pin::new(tcp).poll_write_vectored(cx, &both),
            Io::Tls(tls) if single => Pin::new(tls.as_mut()).poll_write(cx, one),
            Io::Tls(tls) => Pin::new(tls.as_mut()).poll_write_vectored(cx, &both),
        }
    }

    /// Writes what is buffered and then `more`; `Ok` is how much of `more` was taken.
    fn poll_send(&mut self, cx: &mut Context<'_>, more: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            let buffered = self.written.len() - self.written_at;
            if buffered == 0 && more.is_empty() {
                return Poll::Ready(Ok(0));
            }
            let sent = ready!(self.poll_io_write(cx, more))?;
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            if sent < buffered {
                self.written_at += sent;
                continue;
            }
            self.written.clear();
            self.written_at = 0;
            if more.is_empty() || sent > buffered {
                return Poll::Ready(Ok(sent - buffered));
            }
        }
    }

    fn note_answer(&self) {
        if let Some(exchange) = &self.exchange {
            exchange.answered();
            exchange.pace.moves();
        }
    }

    /// Takes note of whether more of a body was there.
    fn note_read(&self, is_there: bool) {
        let reading = |exchange: &&Arc<Exchange>| exchange.is_taken() && !exchange.is_read();
        if let Some(exchange) = self.exchange.as_ref().filter(reading) {
            if is_there {
                exchange.pace.fed();
                exchange.pace.moves();
            } else {
                exchange.pace.waits();
            }
        }
    }

    /// The request cannot go on.
    fn is_faulty(&self) -> bool {
        self.exchange.as_ref().is_some_and(|exchange| exchange.fault().is_some())
    }

    fn is_expired(&self) -> bool {
        self.exchange.as_ref().is_some_and(|exchange| exchange.is_expired())
    }

    /// Once a request is read, Pingora reads on while its response is on the way, to learn that the client left. A
    /// request that was sent too early must not be eaten by that: only the end of the stream is reported.
    fn poll_left(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.read_at < self.read.len() {
            return Poll::Pending;
        }
        let ended = match &mut self.io {
            Io::Plain(tcp) => {
                let mut byte = [0];
                match ready!(tcp.poll_peek(cx, &mut ReadBuf::new(&mut byte))) {
                    Ok(peeked) => peeked == 0,
                    Err(error) => return Poll::Ready(Err(error)),
                }
            }
            Io::Tls(tls) => ready!(Pin::new(tls.as_mut()).poll_fill_buf(cx))?.is_empty(),
        };
        if ended { Poll::Ready(Ok(())) } else { Poll::Pending }
    }
}

impl AsyncRead for ClientStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.is_expired() || this.is_faulty() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        if let Some(exchange) = this.exchange.as_ref().filter(|exchange| exchange.is_taken()) {
            let is_read = exchange.is_read();
            // Pingora flushes a response with a length only at its end. When it turns to reading instead, the rest is
            // not there yet, and the client should have what is.
            if !this.written.is_empty() && matches!(this.poll_send(cx, &[]), Poll::Ready(Err(_))) {
                return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
            }
            if is_read {
                return this.poll_left(cx);
            }
        }
        let before = buf.filled().len();
        if let Some(rest) = this.read.get(this.read_at..).filter(|rest| !rest.is_empty()) {
            let taken = rest.len().min(buf.remaining());
            buf.put_slice(rest.get(..taken).unwrap_or_default());
            this.read_at += taken;
            if this.read_at == this.read.len() {
                this.read = Vec::new();
                this.read_at = 0;
            }
            return this.watch.look(this.exchange.as_deref(), buf, before);
        }
        let at_once = this.exchange.as_ref().map_or(usize::MAX, |exchange| exchange.at_once());
        let read = this.poll_io_read(cx, buf, at_once);
        this.note_read(read.is_ready());
        ready!(read)?;
        this.watch.look(this.exchange.as_deref(), buf, before)
    }
}

impl AsyncWrite for ClientStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        if let Some(exchange) = &this.exchange
            && !exchange.is_taken()
        {
            // Pingora refuses the head by itself, and would say its own name.
            if exchange.refused().is_none() {
                exchange.refuse(farewell::status(buf));
                exchange.answered();
                this.written.extend_from_slice(&farewell::refusal(buf));
            }
            return Poll::Ready(Ok(buf.len()));
        }
        if this.exchange.is_some() && this.written.len() + buf.len() <= BUFFER {
            if this.written.capacity() == 0 {
                this.written.reserve(FIRST);
            }
            this.written.extend_from_slice(buf);
            this.note_answer();
            return Poll::Ready(Ok(buf.len()));
        }
        if this.is_expired() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        this.note_answer();
        let sent = ready!(this.poll_send(cx, buf))?;
        this.watch.sent(sent);
        Poll::Ready(Ok(sent))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(match &mut self.io {
            Io::Plain(tcp) => Pin::new(tcp).poll_write_vectored(cx, bufs),
            Io::Tls(tls) => Pin::new(tls.as_mut()).poll_write_vectored(cx, bufs),
        })?;
        self.watch.sent(written);
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        // HTTP/1 goes through `poll_write`, whose buffer joins head and body.
        self.exchange.is_none()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        ready!(this.poll_send(cx, &[]))?;
        match &mut this.io {
            Io::Plain(_) => Poll::Ready(Ok(())),
            Io::Tls(tls) => Pin::new(tls.as_mut()).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.exchange.as_ref().is_some_and(|e| e.fault().is_some() && !e.is_answered()) {
            // What is to be said is said when it is dropped.
            return Poll::Ready(Ok(()));
        }
        ready!(self.as_mut().poll_flush(cx))?;
        match &mut self.io {
            Io::Plain(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Io::Tls(tls) => Pin::new(tls.as_mut()).poll_shutdown(cx),
        }
    }
}

#[async_trait]
impl Shutdown for ClientStream {
    async fn shutdown(&mut self) {
        let lingers = self.exchange.as_ref().is_some_and(|exchange| exchange.connection.lingers());
        // Closing a plain socket says FIN by itself.
        if matches!(self.io, Io::Plain(_)) && !lingers {
            let _ = self.flush().await;
            return;
        }
        let _ = tokio::time::timeout(LINGER, AsyncWriteExt::shutdown(self)).await;
        if lingers {
            farewell::swallow(self.io.tcp()).await;
        }
    }
}

impl Drop for ClientStream {
    /// A request that was dropped without an answer still gets one, if one is possible.
    fn drop(&mut self) {
        if let Some(exchange) = self.exchange.take().filter(|_| self.busy) {
            farewell::answer(&mut self.io, &exchange);
        }
        if self.watch.may_be_cut_off() {
            farewell::close(self.io.tcp());
        }
    }
}

impl fmt::Debug for ClientStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientStream").field("tls", &matches!(self.io, Io::Tls(_))).finish_non_exhaustive()
    }
}

impl UniqueID for ClientStream {
    fn id(&self) -> UniqueIDType {
        self.io.tcp().as_raw_fd()
    }
}

untold!(ClientStream);
