//! Messages of one stream of a proxy, as fast as it may send them.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};
use tonic::{Status, Streaming};

/// Takes messages, on average so far apart and so many at once; more are left where they are.
pub(super) struct Intake<T> {
    messages: Streaming<T>,
    apart: Duration,
    at_once: u32,
    /// When the bucket of messages is full again.
    full_at: Instant,
}

impl<T> Intake<T> {
    pub(super) fn new(messages: Streaming<T>, apart: Duration, at_once: u32) -> Self {
        Self { messages, apart, at_once, full_at: Instant::now() }
    }

    /// The next one; `None`: the proxy has ended the stream. Nothing is lost by giving it up.
    pub(super) async fn next(&mut self) -> Result<Option<T>, Status> {
        let ready_at = self.full_at.checked_sub(self.apart * self.at_once);
        sleep_until(ready_at.unwrap_or(self.full_at)).await;
        let message = self.messages.message().await?;
        self.full_at = self.full_at.max(Instant::now()) + self.apart;
        Ok(message)
    }
}
