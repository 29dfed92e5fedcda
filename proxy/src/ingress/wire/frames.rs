//! Counting the frames of an HTTP/2 client that cost work and carry nothing.
//!
//! The `h2` crate bounds resets, CONTINUATION and empty DATA, but answers PING and SETTINGS and obeys PRIORITY and
//! WINDOW_UPDATE without end (CVE-2019-9512, 9513, 9515). Frame heads are read as the bytes pass; payloads are skipped.

use std::time::Duration;

use tokio::time::Instant;

/// Time for which there is a limit of frames that have no other.
const PERIOD: Duration = Duration::from_secs(10);
/// One more for each so many bytes that we send: clients answer data with WINDOW_UPDATE, and gRPC's measure the path with
/// a PING for each round of it. The smallest DATA frame with a gRPC message has 14 bytes.
const BYTES_EACH: u64 = 14;
/// What we send for a PING, the longest of our answers.
const ANSWER: u64 = 17;
/// Length of the preface, after which frames begin.
const PREFACE: usize = 24;

/// What has come in over one connection.
#[derive(Debug)]
pub(crate) struct Frames {
    head: [u8; 9],
    have: usize,
    /// Bytes until the next frame head.
    skip: usize,
    /// Control frames in this period.
    control: u64,
    /// Bytes sent in this period.
    sent: u64,
    since: Option<Instant>,
    /// Most control frames in a period.
    limit: u64,
}

impl Frames {
    /// None yet. `limit`: most in ten seconds.
    pub(crate) const fn new(limit: u64) -> Self {
        Self { head: [0; 9], have: 0, skip: PREFACE, control: 0, sent: 0, since: None, limit }
    }

    /// Takes note of what we send.
    pub(crate) fn sent(&mut self, bytes: usize) {
        self.sent += bytes as u64;
    }

    /// Looks at the next bytes; false when they are too much.
    #[must_use]
    pub(crate) fn pass(&mut self, mut bytes: &[u8]) -> bool {
        loop {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            bytes = bytes.get(skipped..).unwrap_or_default();
            let taken = bytes.len().min(self.head.len() - self.have);
            if taken == 0 {
                return true;
            }
            if let (Some(to), Some(from)) =
                (self.head.get_mut(self.have..self.have + taken), bytes.get(..taken))
            {
                to.copy_from_slice(from);
            }
            self.have += taken;
            bytes = bytes.get(taken..).unwrap_or_default();
            if self.have < self.head.len() {
                return true;
            }
            self.have = 0;
            let [high, middle, low, kind, ..] = self.head;
            self.skip = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
            if is_control(kind) && !self.count() {
                return false;
            }
        }
    }

    fn count(&mut self) -> bool {
        self.control += 1;
        if self.since.is_none() {
            self.since = Some(Instant::now());
        }
        let useful = self.sent.saturating_sub(self.control * ANSWER);
        if self.control <= self.limit + useful / BYTES_EACH {
            return true;
        }
        let over = self.since.is_some_and(|since| since.elapsed() >= PERIOD);
        if over {
            (self.control, self.sent, self.since) = (1, 0, None);
        }
        over
    }
}

/// All but DATA, HEADERS, RST_STREAM and CONTINUATION, which `h2` counts.
const fn is_control(kind: u8) -> bool {
    !matches!(kind, 0 | 1 | 3 | 9)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: u64 = 1000;
    const PING: &[u8] = b"\0\0\x08\x06\0\0\0\0\0abcdefgh";
    const DATA: &[u8] = b"\0\0\x03\0\0\0\0\0\x01abc";

    fn begun() -> Frames {
        let mut frames = Frames::new(LIMIT);
        assert!(frames.pass(&[b'x'; PREFACE]));
        frames
    }

    #[tokio::test]
    async fn a_thousand_pings_are_enough_and_data_is_not_counted() {
        let mut frames = begun();
        for _ in 0..LIMIT {
            assert!(frames.pass(PING) && frames.pass(DATA));
        }
        assert!(!frames.pass(PING));
    }

    #[tokio::test]
    async fn frames_are_found_however_they_are_cut() {
        let mut frames = begun();
        let flood = PING.repeat(1001);
        let cut = flood.chunks(5).position(|piece| !frames.pass(piece));
        assert_eq!(cut, Some(1000 * 17 / 5 + 1), "with the head of the last one");
    }

    #[tokio::test]
    async fn who_is_sent_data_may_answer_it() {
        let mut frames = begun();
        for _ in 0..10 * LIMIT {
            frames.sent(14 + 17);
            assert!(frames.pass(PING));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_new_period_begins_anew() {
        let mut frames = begun();
        for _ in 0..3 {
            for _ in 0..LIMIT {
                assert!(frames.pass(PING));
            }
            tokio::time::advance(PERIOD).await;
        }
    }
}
