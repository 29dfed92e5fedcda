//! What a server knows, kept in Redis for whoever leads next.
//!
//! A share is in Redis before a proxy is told of it, or the next leader could give it away once more. What is there holds
//! until a deadline by the clock of Redis, which each write puts off. While nothing can be written nothing is told until the
//! last deadline has passed: from then on the next leader finds nothing, and learns as if there were no Redis. Proxies go on with
//! what they have all the while.
//!
//! A write may arrive late, from a connection that is long given up. So each says who leads and has a number, and one that
//! is not the newest of whoever leads does nothing.

use std::time::Duration;

use redis::Pipeline;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::memory::{Memory, Name};
use super::record::Record;
use super::server::{Left, Server};
use crate::redis::{Away, Redis};

/// How long it holds. Longer than it takes to find that a leader is gone; shorter than a lease that is soon renewed, or
/// leases would end when Redis does.
pub(super) const HOLDS: Duration = Duration::from_secs(22);
/// For an answer to a write.
const WRITE: Duration = Duration::from_secs(1);
/// For an answer with everything.
const READ: Duration = Duration::from_secs(5);
/// Buckets in a write.
pub(super) const BATCH: usize = 1024;

/// KEYS: the hash. ARGV: who leads, and how long it holds if nothing says so, in milliseconds. Answers with the time in milliseconds, and what was there.
const CLAIM: &str = "
local all = redis.call('HGETALL', KEYS[1])
redis.call('HSET', KEYS[1], 'leader', ARGV[1], 'number', 0)
if redis.call('PTTL', KEYS[1]) < 0 then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
local t = redis.call('TIME')
return {t[1] * 1000 + math.floor(t[2] / 1000), all}";

/// KEYS: the hash. ARGV: who leads, the number, the deadline (empty: of what is not whole), `clear`, `claim` or nothing, how long it
/// holds without a deadline, in milliseconds, and fields and values; a field without a value is taken away. Answers with the time in milliseconds; 0: nothing is there; -1: somebody
/// else's is, or what is newer.
const WRITTEN: &str = "
local was = redis.call('HMGET', KEYS[1], 'leader', 'number')
if ARGV[4] == '' and not was[1] then return 0 end
if was[1] and ARGV[4] ~= 'claim' and (was[1] ~= ARGV[1] or tonumber(was[2]) >= tonumber(ARGV[2])) then return -1 end
if ARGV[4] ~= '' then redis.call('DEL', KEYS[1]) end
redis.call('HSET', KEYS[1], 'leader', ARGV[1], 'number', ARGV[2])
for i = 6, #ARGV, 2 do
  if ARGV[i + 1] == '' then redis.call('HDEL', KEYS[1], ARGV[i])
  else redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1]) end
end
if ARGV[3] == '' then redis.call('PEXPIRE', KEYS[1], ARGV[5]) else redis.call('PEXPIREAT', KEYS[1], ARGV[3]) end
local t = redis.call('TIME')
return t[1] * 1000 + math.floor(t[2] / 1000)";

/// The field of [`Clock`]: where it is, all the rest is.
const CLOCK: &str = "clock";

/// Times of a server, by its own clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Clock {
    /// When it wrote.
    pub(super) now: u64,
    /// Since when it knows what was given away.
    pub(super) started: u64,
}

/// A field, and its value; empty: none.
pub(super) type Field = (String, String);

/// What may become of what is to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kept {
    /// It may be told.
    Yes,
    /// Not yet.
    NotYet,
}

/// The writer of one leader.
#[derive(Debug)]
pub(super) struct Keeper<'v> {
    redis: &'v Redis,
    key: String,
    leader: String,
    number: u64,
    /// What is there is all that was told.
    is_whole: bool,
    has_claimed: bool,
    /// Somebody else writes there.
    is_foreign: bool,
    /// The time of Redis, and when it was told.
    time: Option<(u64, Instant)>,
    /// Of writes that nobody answered: the deadline they set, in milliseconds of Redis.
    unanswered: Option<u64>,
    /// What was not written may be told from then on.
    until: Instant,
}

impl<'v> Keeper<'v> {
    /// `leader`: no other has this name.
    pub(super) fn new(redis: &'v Redis, leader: String) -> Self {
        Self {
            redis,
            key: redis.key("quota"),
            leader,
            number: 0,
            is_whole: false,
            has_claimed: false,
            is_foreign: false,
            time: None,
            unanswered: None,
            until: Instant::now() + HOLDS,
        }
    }

    /// From here on no leader before us can write. Returns what the last one left, if that is whole.
    pub(super) async fn claim(&mut self) -> Option<Left> {
        let mut commands = Pipeline::new();
        let command = commands.cmd("EVAL").arg(CLAIM).arg(1).arg(&self.key);
        command.arg(&self.leader).arg(millis(HOLDS));
        let answer: Result<((u64, Vec<Field>),), Away> = self.redis.ask(&commands, READ).await;
        match answer {
            Ok(((time, fields),)) => {
                self.has_claimed = true;
                self.time = Some((time, Instant::now()));
                let left = read(fields);
                self.is_whole = left.is_some();
                left
            }
            Err(away) => {
                tracing::warn!(%away, "what was leased cannot be read: learning");
                None
            }
        }
    }

    /// Writes what changed, if everything else is there.
    pub(super) async fn write(&mut self, fields: &[Field]) -> Kept {
        if self.is_whole {
            match self.put_off(fields).await {
                Ok(1..) => return Kept::Yes,
                // It was forgotten there, so nobody can read it.
                Ok(0) => (self.is_whole, self.until) = (false, Instant::now()),
                Ok(_) => self.is_whole = false,
                Err(_) => {}
            }
        }
        if Instant::now() < self.until {
            return Kept::NotYet;
        }
        self.is_whole = false;
        Kept::Yes
    }

    /// Whether everything is to be written, and can be.
    pub(super) fn is_missing(&self) -> bool {
        !self.is_whole && !self.is_foreign && self.redis.is_connected()
    }

    /// Begins to write everything: nothing is there then.
    pub(super) async fn clear(&mut self) -> bool {
        let how = if self.has_claimed { "clear" } else { "claim" };
        let is_cleared = matches!(self.put(how, "", &[]).await, Ok(1..));
        if is_cleared {
            (self.has_claimed, self.unanswered, self.until) = (true, None, Instant::now());
        }
        is_cleared
    }

    /// Writes some of everything.
    pub(super) async fn fill(&mut self, fields: &[Field]) -> bool {
        matches!(self.put("", "", fields).await, Ok(1..))
    }

    /// Writes the last of everything.
    pub(super) async fn complete(&mut self, clock: &[Field]) {
        self.is_whole = matches!(self.put_off(clock).await, Ok(1..));
    }

    /// Puts the deadline off with a write; but not further while writes are not answered, for they may be carried out.
    async fn put_off(&mut self, fields: &[Field]) -> Result<i64, Away> {
        let now = Instant::now();
        // Its clock is later than we know, so this is no later than HOLDS from now.
        let time = self.time.map_or(0, |(time, at)| time.saturating_add(millis(now - at)));
        let deadline = *self.unanswered.get_or_insert(time.saturating_add(millis(HOLDS)));
        self.until = self.until.max(now + Duration::from_millis(deadline.saturating_sub(time)));
        let answer = self.put("", &deadline.to_string(), fields).await?;
        self.unanswered = None;
        Ok(answer)
    }

    async fn put(&mut self, how: &str, deadline: &str, fields: &[Field]) -> Result<i64, Away> {
        self.number += 1;
        let mut commands = Pipeline::new();
        let command = commands.cmd("EVAL").arg(WRITTEN).arg(1).arg(&self.key);
        command.arg(&self.leader).arg(self.number).arg(deadline).arg(how).arg(millis(HOLDS));
        for (field, value) in fields {
            command.arg(field).arg(value);
        }
        let (answer,): (i64,) = self.redis.ask(&commands, WRITE).await?;
        match u64::try_from(answer) {
            Ok(time) if time > 0 => self.time = Some((time, Instant::now())),
            Ok(_) => {}
            Err(_) => {
                self.is_foreign = true;
                let key = &self.key;
                tracing::error!(
                    key,
                    "another controller keeps what it leases there: give each its own prefix"
                );
            }
        }
        Ok(answer)
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// What a server knows of these buckets.
pub(super) fn fields<'n>(server: &Server<Memory>, names: impl IntoIterator<Item = &'n Name>) -> Vec<Field> {
    let text = |record| serde_json::to_string(record).unwrap_or_default();
    let field = |name: &'n Name| {
        let value = server.records().get(name).map(text).unwrap_or_default();
        Some((serde_json::to_string(name).ok()?, value))
    };
    names.into_iter().filter_map(field).collect()
}

/// The field that makes it whole.
pub(super) fn clock(clock: Clock) -> Option<Field> {
    Some((CLOCK.to_owned(), serde_json::to_string(&clock).ok()?))
}

/// What there is, if all of it can be understood.
fn read(fields: Vec<Field>) -> Option<Left> {
    let (mut clock, mut records) = (None, Vec::new());
    for (field, value) in fields {
        let read = match &*field {
            "leader" | "number" => Ok(()),
            CLOCK => serde_json::from_str(&value).map(|read| clock = Some(read)),
            name => serde_json::from_str(name)
                .and_then(|name| Ok((name, serde_json::from_str(&value)?)))
                .map(|record: (Name, Record)| records.push(record)),
        };
        if let Err(error) = read {
            tracing::warn!(%error, "what was leased cannot be understood: learning");
            return None;
        }
    }
    let is_sound = records.iter().all(|(_, record)| record.limit().per() > 0);
    let Clock { now, started } = clock.filter(|_| is_sound)?;
    Some(Left { now, started, records })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use policies::lease::Limit;
    use proptest::prelude::*;

    use super::*;
    use crate::quota::Id;

    #[test]
    fn what_is_written_is_read_again_and_nothing_else_is() {
        let limit = Limit::token_bucket(10, Duration::from_secs(1), 5);
        let name: Name = ("fairway".into(), Id::new("l", None));
        let record = Record::new(7, limit, 3);
        let written = (serde_json::to_string(&name).unwrap(), serde_json::to_string(&record).unwrap());
        let times = Clock { now: 9, started: 3 };
        let all = [clock(times).unwrap(), written.clone(), ("leader".into(), "x".into())];
        assert_eq!(read(all.to_vec()), Some(Left { now: 9, started: 3, records: vec![(name, record)] }));
        assert_eq!(read(vec![written.clone()]), None, "it is not whole");
        let endless = written.1.replace("1000000000", "0");
        assert_eq!(read(vec![clock(times).unwrap(), (written.0, endless)]), None);
    }

    proptest! {
        #[test]
        fn no_field_makes_it_panic(field in "\\PC{0,40}", value in "\\PC{0,80}") {
            let _ = read(vec![clock(Clock { now: 1, started: 0 }).unwrap(), (field, value)]);
        }
    }
}
