//! Overload: what comes is turned away before it makes everything late, or the process end.
//!
//! | what is short | seen by | what is done |
//! |---|---|---|
//! | memory | `memory`, four times a second | 92 %: connections end with their next answer; 95 %: new requests get 503; 98 %: new connections are closed |
//! | time of a worker | `delay`, how late its timers are | so many of the new requests get 503 that the others are in time |
//!
//! A request pays for one relaxed load, and one more for its answer.

mod delay;
mod memory;

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};

use tokio::runtime::Handle;
use tokio::task::AbortHandle;

use crate::telemetry::entropy;

/// Shares of requests are counted in so many parts.
const ALL: u32 = 1 << 16;

/// How short memory is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Level {
    Enough,
    /// Connections end with their next answer.
    Tight,
    /// New requests are turned away.
    Scarce,
    /// New connections are closed.
    Out,
}

/// The memory of the process, as its connections see it.
#[derive(Debug, Default)]
pub(crate) struct Pressure {
    level: AtomicU8,
    used: AtomicU64,
    /// 0: there is no limit.
    limit: AtomicU64,
}

impl Pressure {
    fn at_least(&self, level: Level) -> bool {
        self.level.load(Ordering::Relaxed) >= level as u8
    }

    /// Connections should not stay for another request.
    pub(crate) fn ends_connections(&self) -> bool {
        self.at_least(Level::Tight)
    }

    /// No connection should come.
    pub(crate) fn closes_connections(&self) -> bool {
        self.at_least(Level::Out)
    }

    /// Level, bytes used and their limit; `None`: nothing is limited.
    pub(crate) fn read(&self) -> Option<(u8, u64, u64)> {
        let limit = self.limit.load(Ordering::Relaxed);
        (limit > 0).then(|| (self.level.load(Ordering::Relaxed), self.used.load(Ordering::Relaxed), limit))
    }

    fn set(&self, used: u64, limit: u64) -> Level {
        let level = memory::level(used, limit);
        self.used.store(used, Ordering::Relaxed);
        self.limit.store(limit, Ordering::Relaxed);
        self.level.store(level as u8, Ordering::Relaxed);
        level
    }
}

/// How much one worker can take.
#[derive(Debug, Default)]
pub(crate) struct Load {
    /// Of [`ALL`] new requests so many are turned away, for either reason.
    shed: AtomicU32,
    /// For its delay alone.
    late: AtomicU32,
    /// Requests so far. Written by the worker alone.
    requests: AtomicU32,
    /// Smoothed, in microseconds.
    delay: AtomicU32,
}

impl Load {
    /// True when a new request should be turned away. Called by its own worker only.
    pub(crate) fn sheds(&self) -> bool {
        self.requests.store(self.requests.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
        match self.shed.load(Ordering::Relaxed) {
            0 => false,
            shed => u32::try_from(entropy() & u64::from(ALL - 1)).is_ok_and(|random| random < shed),
        }
    }

    /// True while nothing is turned away.
    pub(crate) fn is_calm(&self) -> bool {
        self.shed.load(Ordering::Relaxed) == 0
    }

    fn set_late(&self, late: u32, pressure: &Pressure) {
        self.late.store(late, Ordering::Relaxed);
        let shed = if pressure.at_least(Level::Scarce) { ALL } else { late };
        self.shed.store(shed, Ordering::Relaxed);
    }

    /// Smoothed delay in seconds, and the share of new requests that are turned away.
    pub(crate) fn read(&self) -> (f64, f64) {
        let delay = f64::from(self.delay.load(Ordering::Relaxed)) / 1e6;
        (delay, f64::from(self.shed.load(Ordering::Relaxed)) / f64::from(ALL))
    }
}

/// Watches a process and its workers until it is dropped.
#[derive(Debug)]
pub(crate) struct Overload {
    pub(crate) pressure: Arc<Pressure>,
    /// Of each worker.
    pub(crate) loads: Vec<Arc<Load>>,
    tasks: Vec<AbortHandle>,
}

impl Overload {
    /// Watches these workers, and memory from the current runtime. `most`: bytes of memory, if less than what the control
    /// group has should be used.
    pub(crate) fn watch<'a>(workers: impl Iterator<Item = &'a Handle>, most: Option<u64>) -> Self {
        let pressure = Arc::new(Pressure::default());
        let mut tasks = Vec::new();
        let mut loads = Vec::new();
        for worker in workers {
            let load = Arc::new(Load::default());
            tasks.push(worker.spawn(delay::watch(load.clone(), pressure.clone())).abort_handle());
            loads.push(load);
        }
        tasks.push(tokio::spawn(memory::watch(pressure.clone(), loads.clone(), most)).abort_handle());
        Self { pressure, loads, tasks }
    }
}

#[cfg(test)]
impl Overload {
    /// As if these had been found, for ever.
    pub(crate) fn found(used: u64, limit: u64, delay: u32) -> Self {
        let (pressure, load) = (Arc::new(Pressure::default()), Arc::new(Load::default()));
        pressure.set(used, limit);
        load.set_late(ALL / 4, &pressure);
        load.delay.store(delay, Ordering::Relaxed);
        Self { pressure, loads: vec![load], tasks: Vec::new() }
    }
}

impl Drop for Overload {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scarce_memory_turns_every_request_away_and_a_late_worker_some() {
        let (load, pressure) = (Load::default(), Pressure::default());
        let shed = || (0..1000).filter(|_| load.sheds()).count();
        assert_eq!(shed(), 0);
        pressure.set(96, 100);
        load.set_late(0, &pressure);
        assert_eq!(shed(), 1000);
        pressure.set(93, 100);
        load.set_late(ALL / 2, &pressure);
        assert!((300..700).contains(&shed()));
        assert!(pressure.ends_connections() && !pressure.closes_connections());
        load.set_late(0, &pressure);
        assert_eq!(shed(), 0);
    }
}
