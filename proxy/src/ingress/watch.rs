//! A connection's bytes on their way to Pingora, looked at by what the client speaks.

use std::io;
use std::sync::Arc;
use std::task::Poll;

use tokio::io::ReadBuf;

use super::connection::Connection;
use super::exchange::Exchange;
use super::wire::Wire;
use super::wire::frames::Frames;

/// What to look for.
#[derive(Debug)]
pub(super) enum Watch {
    /// HTTP/1: one request. In a place of its own, since streams lie in several states of their tasks.
    Request(Box<Requests>),
    Frames(Box<Counted>),
}

/// The requests of an HTTP/1 connection, one at a time.
#[derive(Debug)]
pub(super) struct Requests {
    wire: Wire,
    /// Most bytes of a head; `None`: the default.
    head_bytes: Option<usize>,
}

/// The frames of an HTTP/2 connection.
#[derive(Debug)]
pub(super) struct Counted {
    frames: Frames,
    connection: Arc<Connection>,
    /// The client closed.
    has_ended: bool,
}

impl Watch {
    /// HTTP/1, before the first request.
    pub(super) fn idle(head_bytes: Option<usize>) -> Self {
        Self::Request(Box::new(Requests { wire: Wire::Open, head_bytes }))
    }

    /// HTTP/1: a request follows.
    pub(super) fn request(&mut self) {
        match self {
            Self::Request(requests) => requests.wire = Wire::within(requests.head_bytes),
            Self::Frames(_) => *self = Self::idle(None),
        }
    }

    pub(super) fn frames(connection: Arc<Connection>) -> Self {
        let frames = Frames::new(connection.rules().limits.control_frames.into());
        Self::Frames(Box::new(Counted { frames, connection, has_ended: false }))
    }

    /// Looks at what was read, from `before` on. Bytes that are not to be used are taken out of `buf` again.
    pub(super) fn look(
        &mut self,
        exchange: Option<&Exchange>,
        buf: &mut ReadBuf<'_>,
        before: usize,
    ) -> Poll<io::Result<()>> {
        let bytes = buf.filled().get(before..).unwrap_or_default();
        match self {
            Self::Request(requests) => {
                let Some(exchange) = exchange else { return Poll::Ready(Ok(())) };
                let Err(fault) = requests.wire.pass(bytes) else { return Poll::Ready(Ok(())) };
                exchange.fail(fault);
                buf.set_filled(before);
                // Of a head Pingora has no use for an error: it takes the end of the stream, and we answer.
                Poll::Ready(if exchange.is_taken() { Err(io::ErrorKind::InvalidData.into()) } else { Ok(()) })
            }
            Self::Frames(counted) => {
                counted.has_ended |= bytes.is_empty();
                if !counted.connection.is_flooded() && counted.frames.pass(bytes) {
                    return Poll::Ready(Ok(()));
                }
                // The connection's loop sees it before it waits again.
                counted.connection.flood();
                buf.set_filled(before);
                Poll::Pending
            }
        }
    }

    /// Takes note of what was sent.
    pub(super) fn sent(&mut self, bytes: usize) {
        if let Self::Frames(counted) = self {
            counted.frames.sent(bytes);
        }
    }

    /// HTTP/2: the client may still be sending. Closing with frames unread would reset the connection, and it could lose
    /// our GOAWAY.
    pub(super) fn may_be_cut_off(&self) -> bool {
        matches!(self, Self::Frames(counted) if !counted.has_ended)
    }
}
