//! Where counters are: in this process, or in Redis or Valkey, where several processes count together.

use std::borrow::Cow;
use std::time::Duration;

use redis::Pipeline;
use ring::digest::{SHA256, digest};

use super::counters::Counters;
use super::decide::Hit;
use crate::redis::{Away, Redis};

/// Bytes of a counter's name; a longer one is told by its digest.
const LONGEST: usize = 200;
/// A counter is there so long after its window, in seconds, for servers whose clocks are late.
const LATE: u64 = 10;

/// Counters.
#[derive(Debug)]
pub enum Store {
    /// Of this process.
    Memory(Counters),
    /// Of all that count in the same Redis.
    Redis(Shared),
}

/// Counters in Redis or Valkey.
#[derive(Debug)]
pub struct Shared {
    /// Where they are.
    pub redis: Redis,
    /// How long an answer may take.
    pub timeout: Duration,
}

impl Store {
    /// Counts; returns what came in each window, with this.
    ///
    /// # Errors
    /// No answer of Redis. Some may be counted all the same.
    pub async fn count(&self, hits: &[Hit], now: u64) -> Result<Vec<u64>, Away> {
        match self {
            Self::Memory(counters) => Ok(counters.count(hits, now)),
            Self::Redis(shared) => shared.count(hits, now).await,
        }
    }
}

impl Shared {
    async fn count(&self, hits: &[Hit], now: u64) -> Result<Vec<u64>, Away> {
        if hits.is_empty() {
            return Ok(Vec::new());
        }
        let mut commands = Pipeline::with_capacity(2 * hits.len());
        for hit in hits {
            let key = self.redis.key(&format!("rls:{}", name(&hit.key)));
            // INCRBY would fail at the end of the numbers.
            let bits = commands.cmd("BITFIELD").arg(&key).arg(&["OVERFLOW", "SAT", "INCRBY", "u63", "0"]);
            bits.arg(i64::try_from(hit.cost).unwrap_or(i64::MAX));
            let seconds = hit.ends.saturating_sub(now).saturating_add(LATE);
            commands.cmd("EXPIRE").arg(&key).arg(seconds).ignore();
        }
        let counts: Vec<(u64,)> = self.redis.ask(&commands, self.timeout).await?;
        Ok(counts.into_iter().map(|(count,)| count).collect())
    }
}

/// Names begin with a number, so none looks like a digest.
fn name(key: &str) -> Cow<'_, str> {
    if key.len() <= LONGEST {
        return key.into();
    }
    let digest = digest(&SHA256, key.as_bytes());
    digest.as_ref().iter().fold("sha256:".to_owned(), |text, byte| text + &format!("{byte:02x}")).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_bounded_and_tell_long_keys_apart() {
        assert_eq!(name("4:edge 1:a=1:b 60"), "4:edge 1:a=1:b 60");
        let long = |last| name(&format!("4:edge 1:a=999:{}{last}", "x".repeat(999))).into_owned();
        assert_eq!(long('a').len(), "sha256:".len() + 64);
        assert_ne!(long('a'), long('b'));
    }
}
