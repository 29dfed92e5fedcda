//! Bytes both ways, until both sides have ended or one broke.
//!
//! An idle connection holds no buffer: bytes are read into one of the thread, and only what the other side does not take
//! at once is kept, [`PIECE`] bytes per direction at most. Nothing more is read from a side before the other has taken
//! what was read.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::Instant;

use super::account::Account;
use super::side::Side;
use crate::ingress::timer::Timer;

/// Bytes read at once.
const PIECE: usize = 32 * 1024;

thread_local! {
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; PIECE].into());
}

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// Both sides have said that they are done.
    Whole,
    /// The client's connection broke.
    Client,
    /// The backend's did.
    Upstream,
    /// Nothing moved for too long.
    Idle,
}

/// Two sides. Dropped before they have ended, it resets both: neither may take half for the whole.
#[derive(Debug)]
pub(super) struct Relay {
    client: Side,
    upstream: Side,
    up: Direction,
    down: Direction,
    is_over: bool,
}

impl Relay {
    /// `first`: what was read of the client already.
    pub(super) fn new(client: Side, upstream: Side, first: Vec<u8>) -> Self {
        let up = Direction { kept: first, ..Direction::default() };
        Self { client, upstream, up, down: Direction::default(), is_over: false }
    }

    /// Runs to the end. `idle`: how long nothing may move; `None`: for ever.
    pub(super) async fn run(mut self, idle: Option<Duration>, account: &Account) -> Ended {
        let mut timer = Timer::default();
        let mut last = Instant::now();
        poll_fn(|cx| {
            let Self { client, upstream, up, down, .. } = &mut self;
            let up_done = up.poll(cx, client, upstream, |n| account.received(n));
            let down_done = down.poll(cx, upstream, client, |n| account.sent(n));
            let ended = match (up_done, down_done) {
                (Poll::Ready(Err(Broken::Read)), _) | (_, Poll::Ready(Err(Broken::Write))) => Ended::Client,
                (Poll::Ready(Err(Broken::Write)), _) | (_, Poll::Ready(Err(Broken::Read))) => Ended::Upstream,
                (Poll::Ready(Ok(())), Poll::Ready(Ok(()))) => {
                    self.is_over = true;
                    Ended::Whole
                }
                (Poll::Pending, _) | (_, Poll::Pending) => {
                    if std::mem::take(&mut up.has_moved) | std::mem::take(&mut down.has_moved) {
                        last = Instant::now();
                    }
                    let Some(idle) = idle else { return Poll::Pending };
                    ready!(timer.poll(last + idle, cx));
                    Ended::Idle
                }
            };
            Poll::Ready(ended)
        })
        .await
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        if !self.is_over {
            self.client.will_reset();
            self.upstream.will_reset();
        }
    }
}

/// Whose fault it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Broken {
    Read,
    Write,
}

/// One direction.
#[derive(Debug, Default)]
struct Direction {
    /// What was read and not taken yet, from `kept_at`.
    kept: Vec<u8>,
    kept_at: usize,
    /// Something may be held back by TLS.
    is_unsent: bool,
    /// The side that is read has ended.
    has_ended: bool,
    /// The other one was told.
    is_done: bool,
    has_moved: bool,
}

impl Direction {
    /// Ready once the end of `from` was passed on.
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut Side,
        to: &mut Side,
        count: impl Fn(usize),
    ) -> Poll<Result<(), Broken>> {
        if self.is_done {
            return Poll::Ready(Ok(()));
        }
        loop {
            ready!(self.poll_kept(cx, to, &count)).map_err(|_| Broken::Write)?;
            if self.has_ended {
                ready!(to.poll_shutdown(cx)).map_err(|_| Broken::Write)?;
                self.is_done = true;
                self.has_moved = true;
                return Poll::Ready(Ok(()));
            }
            match self.poll_piece(cx, from, to, &count) {
                Poll::Ready(result) => result?,
                Poll::Pending => {
                    if self.is_unsent {
                        ready!(to.poll_flush(cx)).map_err(|_| Broken::Write)?;
                        self.is_unsent = false;
                    }
                    return Poll::Pending;
                }
            }
        }
    }

    /// Writes what is kept.
    fn poll_kept(
        &mut self,
        cx: &mut Context<'_>,
        to: &mut Side,
        count: &impl Fn(usize),
    ) -> Poll<io::Result<()>> {
        while let Some(rest) = self.kept.get(self.kept_at..).filter(|rest| !rest.is_empty()) {
            let taken = ready!(to.poll_write(cx, rest))?;
            if taken == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.took(taken, count);
            self.kept_at += taken;
        }
        if self.kept_at > 0 {
            self.kept = Vec::new();
            self.kept_at = 0;
        }
        Poll::Ready(Ok(()))
    }

    /// Reads once and writes what was read, as far as it is taken.
    fn poll_piece(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut Side,
        to: &mut Side,
        count: &impl Fn(usize),
    ) -> Poll<Result<(), Broken>> {
        SCRATCH.with_borrow_mut(|scratch| {
            let read = ready!(from.poll_read(cx, scratch)).map_err(|_| Broken::Read)?;
            self.has_moved = true;
            if read == 0 {
                self.has_ended = true;
                return Poll::Ready(Ok(()));
            }
            let bytes = scratch.get(..read).unwrap_or_default();
            let taken = match to.poll_write(cx, bytes) {
                Poll::Ready(taken) => taken.map_err(|_| Broken::Write)?,
                Poll::Pending => 0,
            };
            self.took(taken, count);
            self.kept.extend_from_slice(bytes.get(taken..).unwrap_or_default());
            Poll::Ready(Ok(()))
        })
    }

    fn took(&mut self, bytes: usize, count: &impl Fn(usize)) {
        count(bytes);
        self.has_moved = true;
        self.is_unsent = true;
    }
}
