//! Access log lines on their way out of the process, without ever waiting on the request path.
//!
//! A line is formatted in a buffer of its thread and copied to one of a few shared buffers, which one thread writes out
//! every 100 ms or at 64 KiB. When that thread falls behind (a full disk, a reader of our pipe that stalls), lines are
//! dropped and counted; requests never wait.

mod clock;
pub(crate) mod escape;
mod line;
mod sink;

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread::{self, Thread};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use self::sink::Sink;
use super::settings::{AccessLog, Error};
use super::{Course, Record, StreamRecord, TraceContext};

/// Longest time a line waits for others.
const GATHER: Duration = Duration::from_millis(100);
/// Bytes in one buffer that are worth writing at once.
const ENOUGH: usize = 64 * 1024;
/// Bytes one buffer may hold; lines over it are dropped.
const LIMIT: usize = 1024 * 1024;
/// Buffers at most: threads that share one wait for each other's copy of a line.
const SHARDS: usize = 16;
/// Longest wait for what is buffered to be written.
const FLUSH: Duration = Duration::from_secs(2);

thread_local! {
    static LINE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    static THREAD: usize = THREADS.fetch_add(1, Ordering::Relaxed);
}
static THREADS: AtomicUsize = AtomicUsize::new(0);

/// An access log that is open.
#[derive(Debug)]
pub(super) struct Log {
    shared: Arc<Shared>,
    writer: Thread,
}

#[derive(Debug)]
struct Shared {
    shards: Box<[Mutex<Vec<u8>>]>,
    /// False while the writer sleeps until it is woken, true while it looks again by itself.
    is_awake: AtomicBool,
    is_stopping: AtomicBool,
    dropped: AtomicU64,
    rounds: Mutex<Rounds>,
    round_ended: Condvar,
}

/// A round takes everything that was buffered when it began. Whoever waits wants a round that began after the wish.
#[derive(Debug, Default)]
struct Rounds {
    wanted: u64,
    done: u64,
}

impl Log {
    /// Opens the log and starts its thread; `None` when it is off.
    pub(super) fn open(settings: &AccessLog) -> Result<Option<Self>, Error> {
        let Some(sink) = Sink::open(settings)? else { return Ok(None) };
        let shards = thread::available_parallelism().map_or(2, usize::from).min(SHARDS);
        let shared = Arc::new(Shared {
            shards: (0..shards).map(|_| Mutex::default()).collect(),
            is_awake: AtomicBool::new(true),
            is_stopping: AtomicBool::new(false),
            dropped: AtomicU64::new(0),
            rounds: Mutex::default(),
            round_ended: Condvar::new(),
        });
        let writing = shared.clone();
        let thread = thread::Builder::new()
            .name("access-log".to_owned())
            .spawn(move || writing.write(sink))
            .map_err(Error::Thread)?;
        Ok(Some(Self { shared, writer: thread.thread().clone() }))
    }

    /// Logs one request.
    pub(super) fn log(&self, role: &'static str, record: &Record<'_>) {
        LINE.with_borrow_mut(|line| {
            line.clear();
            line::format(line, role, record);
            self.push(line);
        });
    }

    /// Logs one connection or flow.
    pub(super) fn log_stream(&self, role: &'static str, record: &StreamRecord<'_>) {
        LINE.with_borrow_mut(|line| {
            line.clear();
            line::stream::format(line, role, record);
            self.push(line);
        });
    }

    fn push(&self, line: &[u8]) {
        let at = THREAD.with(|thread| *thread) % self.shared.shards.len().max(1);
        let Some(shard) = self.shared.shards.get(at) else { return };
        let mut buffer = shard.lock();
        if buffer.len() + line.len() > LIMIT {
            drop(buffer);
            self.shared.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let had_enough = buffer.len() >= ENOUGH;
        buffer.extend_from_slice(line);
        let has_enough = buffer.len() >= ENOUGH;
        drop(buffer);
        // The writer clears the flag before it looks at the buffers a last time: either it sees this line there, or
        // this thread sees the flag cleared (both go through the buffer's lock).
        let is_asleep = !self.shared.is_awake.load(Ordering::Relaxed)
            && !self.shared.is_awake.swap(true, Ordering::Relaxed);
        if is_asleep || (has_enough && !had_enough) {
            self.writer.unpark();
        }
    }

    /// Lines lost so far.
    pub(super) fn dropped(&self) -> u64 {
        self.shared.dropped.load(Ordering::Relaxed)
    }

    /// Waits until everything logged before is written, two seconds at most.
    pub(super) fn flush(&self) {
        let mut rounds = self.shared.rounds.lock();
        rounds.wanted += 1;
        let wanted = rounds.wanted;
        self.writer.unpark();
        let is_behind = |rounds: &mut Rounds| rounds.done < wanted;
        self.shared.round_ended.wait_while_for(&mut rounds, is_behind, FLUSH);
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.flush();
        // Not joined: the thread may be stuck in a write to a pipe nobody reads.
        self.shared.is_stopping.store(true, Ordering::Release);
        self.writer.unpark();
    }
}

impl Shared {
    /// The writer's life.
    fn write(&self, mut sink: Sink) {
        let mut spare = Vec::new();
        while !self.is_stopping.load(Ordering::Acquire) {
            let wanted = self.rounds.lock().wanted;
            let is_idle = !self.round(&mut sink, &mut spare);
            self.end_round(wanted);
            if is_idle {
                spare = Vec::new();
                self.sleep();
            }
            thread::park_timeout(GATHER);
        }
        self.round(&mut sink, &mut spare);
    }

    /// Writes out every buffer; false when all were empty.
    fn round(&self, sink: &mut Sink, spare: &mut Vec<u8>) -> bool {
        let mut has_written = false;
        for shard in &self.shards {
            std::mem::swap(&mut *shard.lock(), spare);
            if !spare.is_empty() {
                has_written = true;
                self.dropped.fetch_add(sink.write(spare), Ordering::Relaxed);
                spare.clear();
            }
        }
        has_written
    }

    fn end_round(&self, wanted: u64) {
        let mut rounds = self.rounds.lock();
        if rounds.done < wanted {
            rounds.done = wanted;
            self.round_ended.notify_all();
        }
    }

    /// Sleeps until there is a line, a flush or the end.
    fn sleep(&self) {
        self.is_awake.store(false, Ordering::Relaxed);
        let is_wanted = {
            let rounds = self.rounds.lock();
            rounds.done < rounds.wanted
        };
        let has_lines = self.shards.iter().any(|shard| !shard.lock().is_empty());
        if !is_wanted && !has_lines && !self.is_stopping.load(Ordering::Acquire) {
            thread::park();
        }
        self.is_awake.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
