//! Request bodies on their way to a call: a bounded channel whose end is said, not guessed.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use tokio::sync::mpsc;

/// A piece of a request body.
#[derive(Debug)]
enum Part {
    Data(Bytes, Option<Charge>),
    /// The body is complete. A channel that closes without it was broken off.
    End,
}

/// Counts bytes that wait; dropping it frees them.
#[derive(Debug)]
pub(super) struct Charge {
    counters: [Arc<AtomicUsize>; 2],
    bytes: usize,
}

impl Charge {
    /// Charges `bytes` to both counters, unless one would pass its limit.
    pub(super) fn take(counters: [(&Arc<AtomicUsize>, usize); 2], bytes: usize) -> Option<Self> {
        let fits = counters.map(|(counter, limit)| {
            counter.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes) <= limit
        });
        // Made before the check: dropping it takes the bytes back.
        let charge = Self { counters: counters.map(|(counter, _)| counter.clone()), bytes };
        fits.iter().all(|fits| *fits).then_some(charge)
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        for counter in &self.counters {
            counter.fetch_sub(self.bytes, Ordering::Relaxed);
        }
    }
}

/// The reading end of a request body.
#[derive(Debug)]
pub struct Body {
    parts: mpsc::Receiver<Part>,
    touched: bool,
}

/// The writing end of a request body. Dropping it without [`BodySender::finish`] breaks the body off.
#[derive(Debug)]
pub struct BodySender {
    parts: mpsc::Sender<Part>,
}

impl Body {
    /// A body that takes `pieces` before its sender waits.
    #[must_use]
    pub fn channel(pieces: usize) -> (BodySender, Self) {
        // One place more, so that the end always fits.
        let (sender, parts) = mpsc::channel(pieces.max(1) + 1);
        (BodySender { parts: sender }, Self { parts, touched: false })
    }

    /// A body that is there already.
    #[must_use]
    pub fn full(bytes: Bytes) -> Self {
        let (sender, body) = Self::channel(1);
        // Both fit: the channel is empty and holds two.
        let _ = sender.parts.try_send(Part::Data(bytes, None));
        let _ = sender.parts.try_send(Part::End);
        body
    }

    /// The next piece; `Ok(None)` at the end, `Err` when it was broken off. Dropping the future loses nothing.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, ()> {
        let part = self.parts.recv().await;
        self.touched = true;
        match part {
            Some(Part::Data(bytes, _charge)) => Ok(Some(bytes)),
            Some(Part::End) => Ok(None),
            None => Err(()),
        }
    }

    /// True as long as every byte can still be sent.
    pub(super) const fn is_untouched(&self) -> bool {
        !self.touched
    }
}

impl BodySender {
    /// Sends a piece, and waits for room. False when nobody reads any more.
    pub async fn send(&self, bytes: Bytes) -> bool {
        self.parts.send(Part::Data(bytes, None)).await.is_ok()
    }

    /// Sends a piece if there is room for it and the end.
    pub(super) fn try_send(&self, bytes: Bytes, charge: Charge) -> bool {
        self.parts.capacity() > 1 && self.parts.try_send(Part::Data(bytes, Some(charge))).is_ok()
    }

    /// The body is complete.
    pub async fn finish(self) {
        // Nobody reads: nobody needs the end.
        let _ = self.parts.send(Part::End).await;
    }

    /// As [`BodySender::finish`], where only [`BodySender::try_send`] was used.
    pub(super) fn try_finish(self) {
        let _ = self.parts.try_send(Part::End);
    }
}
