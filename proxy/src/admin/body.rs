//! Bodies of the admin port's answers.

use std::fmt::{self, Write};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame};
use tokio::sync::mpsc;

/// A body: known, or still being written.
#[derive(Debug)]
pub(super) enum Page {
    Whole(Option<Bytes>),
    Pieces(mpsc::Receiver<Bytes>),
}

impl Page {
    pub(super) fn whole(body: impl Into<Bytes>) -> Self {
        Self::Whole(Some(body.into()))
    }
}

impl Body for Page {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let data = match &mut *self {
            Self::Whole(body) => Poll::Ready(body.take()),
            Self::Pieces(pieces) => pieces.poll_recv(cx),
        };
        data.map(|data| data.map(|data| Ok(Frame::data(data))))
    }

    fn size_hint(&self) -> hyper::body::SizeHint {
        match self {
            Self::Whole(body) => {
                let length = body.as_ref().map_or(0, Bytes::len);
                hyper::body::SizeHint::with_exact(u64::try_from(length).unwrap_or(u64::MAX))
            }
            Self::Pieces(_) => hyper::body::SizeHint::default(),
        }
    }
}

/// Hands text on in pieces of some size. Only for threads that may block.
pub(super) struct Pieces {
    chunks: mpsc::Sender<Bytes>,
    piece: String,
}

const PIECE: usize = 64 * 1024;

impl Pieces {
    pub(super) fn new(chunks: mpsc::Sender<Bytes>) -> Self {
        Self { chunks, piece: String::new() }
    }

    /// Hands on what there is.
    pub(super) fn send(&mut self) -> fmt::Result {
        let piece = std::mem::take(&mut self.piece);
        self.chunks.blocking_send(piece.into()).map_err(|_| fmt::Error)
    }
}

impl Write for Pieces {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.piece.push_str(text);
        if self.piece.len() >= PIECE { self.send() } else { Ok(()) }
    }
}
