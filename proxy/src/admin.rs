//! The admin port: is the process alive, is it ready, what did it count, what does it serve.
//!
//! Everything is read-only, but it names what runs inside: it belongs on a loopback address, and [`serve`] refuses any
//! other unless told that somebody made sure who can reach it.

mod body;
mod controller;
mod pages;
mod server;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use config::{Rejection, Resources};
use parking_lot::Mutex;

pub use self::server::{Admin, Error, Exposure, serve};
use crate::telemetry::Telemetry;

/// What one role of the process tells its admin port.
pub struct Status {
    telemetry: Arc<Telemetry>,
    resources: Box<dyn Fn() -> Resources + Send + Sync>,
    is_applied: AtomicBool,
    is_draining: AtomicBool,
    version: AtomicU64,
    rejections: Mutex<Vec<Rejection>>,
}

impl Status {
    /// The status of a role that starts. `resources`: what it serves, asked for when somebody looks at `/config`, so
    /// that nothing is copied at each change.
    #[must_use]
    pub fn new(
        telemetry: Arc<Telemetry>,
        resources: impl Fn() -> Resources + Send + Sync + 'static,
    ) -> Arc<Self> {
        Arc::new(Self {
            telemetry,
            resources: Box::new(resources),
            is_applied: AtomicBool::new(false),
            is_draining: AtomicBool::new(false),
            version: AtomicU64::new(0),
            rejections: Mutex::default(),
        })
    }

    /// An update is applied and its listeners are open, save those of `rejections`. From the first on the role is
    /// ready. Tells the role's telemetry too.
    pub fn applied(&self, version: u64, rejections: &[Rejection]) {
        self.telemetry.config_applied(version, rejections);
        self.version.store(version, Ordering::Relaxed);
        *self.rejections.lock() = rejections.to_vec();
        self.is_applied.store(true, Ordering::Release);
    }

    /// The role takes no new connections: it is not ready any more.
    pub fn draining(&self) {
        self.is_draining.store(true, Ordering::Release);
    }

    /// Why the role is not ready; `None` when it is.
    #[must_use]
    pub fn unready(&self) -> Option<&'static str> {
        if self.is_draining.load(Ordering::Acquire) {
            return Some("draining");
        }
        (!self.is_applied.load(Ordering::Acquire)).then_some("no configuration is applied yet")
    }

    /// The role, as in logs and metrics.
    #[must_use]
    pub fn role(&self) -> &'static str {
        self.telemetry.role()
    }

    fn version(&self) -> u64 {
        self.version.load(Ordering::Relaxed)
    }
}

impl fmt::Debug for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Status")
            .field("role", &self.role())
            .field("version", &self.version())
            .field("unready", &self.unready())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
