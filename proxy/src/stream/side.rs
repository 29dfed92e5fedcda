//! One side of a connection: plain or inside TLS that ends here.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsStream;

/// One side of a connection.
#[derive(Debug)]
pub(crate) enum Side {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Side {
    fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(tcp) => tcp,
            Self::Tls(tls) => tls.get_ref().0,
        }
    }

    /// Closing it will reset the connection, so that the other end cannot take what it has for all there is.
    pub(super) fn will_reset(&self) {
        let _ = self.tcp().set_zero_linger();
    }

    /// Ready with 0: nothing more will come. A client that ends TLS by closing its socket has ended too: what was sent
    /// inside says by itself whether it is complete, and many clients never say close_notify.
    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut into = ReadBuf::new(into);
        let read = match self {
            Self::Plain(tcp) => Pin::new(tcp).poll_read(cx, &mut into),
            Self::Tls(tls) => Pin::new(tls.as_mut()).poll_read(cx, &mut into),
        };
        read.map(|read| match read {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(0),
            read => read.map(|()| into.filled().len()),
        })
    }

    pub(super) fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self {
            Self::Plain(tcp) => Pin::new(tcp).poll_write(cx, bytes),
            Self::Tls(tls) => Pin::new(tls.as_mut()).poll_write(cx, bytes),
        }
    }

    /// Sends what TLS holds back.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(_) => Poll::Ready(Ok(())),
            Self::Tls(tls) => Pin::new(tls.as_mut()).poll_flush(cx),
        }
    }

    /// Says that nothing more will be sent.
    pub(super) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Self::Tls(tls) => Pin::new(tls.as_mut()).poll_shutdown(cx),
        }
    }
}
