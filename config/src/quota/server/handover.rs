//! From one server to the next, where what it knows is kept somewhere.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::Server;
use crate::quota::memory::{Name, Records};
use crate::quota::proto::Response;
use crate::quota::record::Record;

/// What a server left, at its own time.
#[derive(Debug, Clone, PartialEq)]
pub struct Left {
    /// When that was.
    pub now: u64,
    /// [`Server::started`].
    pub started: u64,
    /// All that clients were told of.
    pub records: Vec<(Name, Record)>,
}

/// Which records are others than before.
#[derive(Debug, Default)]
pub struct News {
    /// Clients are to be told of it.
    pub told: BTreeSet<Name>,
    /// Nobody is.
    pub untold: BTreeSet<Name>,
}

impl<R: Records> Server<R> {
    /// Goes on from what a server before this left, which is new now. From here on it notes [`News`].
    pub fn resume(&mut self, now: u64, left: Option<Left>) {
        self.news = Some(News::default());
        let Some(Left { now: then, started, records }) = left else { return };
        // Nothing has passed since: leases end no sooner than they do.
        let by = i64::try_from(i128::from(now) - i128::from(then)).unwrap_or(i64::MAX);
        self.started = started.saturating_add_signed(by);
        for (name, mut record) in records {
            record.resume(by);
            self.records.change(&name, Some(record), &mut |_| {});
        }
    }

    /// Since when it knows what was given away.
    pub fn started(&self) -> u64 {
        if self.options.learns { self.started } else { 0 }
    }

    /// Which records are others, if that is noted.
    pub fn news(&mut self) -> Option<&mut News> {
        self.news.as_mut()
    }

    /// Only how many use limits goes out, to those for whom nothing else waits, here or elsewhere: a client counts messages.
    pub(in crate::quota) fn poll_crowds(
        &mut self,
        now: u64,
        waits: &dyn Fn(&str) -> bool,
    ) -> Vec<(Arc<str>, Response)> {
        let mut out = Vec::new();
        for (client, stream) in &mut self.streams {
            let has_only = stream.outbox.is_empty() && !stream.crowds.is_empty() && !waits(client);
            if !has_only || !stream.pace.is_ready(now) {
                continue;
            }
            stream.pace.sent(now);
            stream.sent += 1;
            let crowds = std::mem::take(&mut stream.crowds);
            out.push((
                Arc::clone(client),
                Response { actions: Vec::new(), sequence: stream.answers, crowds },
            ));
        }
        self.counts.sent += out.len() as u64;
        out
    }
}
